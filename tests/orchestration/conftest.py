"""One real Prefect server with worker, one PostgreSQL database and one SMTP server for the tests of a module."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from evergreet.database import Database, parse_url
from evergreet.orchestration.local import local_prefect
from evergreet.orchestration.server import free_port
from tests.conftest import _administer, _named
from tests.orchestration.mailbox import Mailbox
from tests.orchestration.shop import CANARIES, Shop

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shop(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A project folder with everything deployed; its schedules are off, so that a test decides when a tick comes."""
    folder = tmp_path_factory.mktemp("shop")
    unscheduled(folder)
    name = f"shop_{uuid.uuid4().hex[:12]}"
    _administer(_named(postgres_url, "postgres"), f"CREATE DATABASE {name} TEMPLATE {parse_url(postgres_url).database}")
    url = parse_url(_named(postgres_url, name)).set(password=CANARIES["database"]).render_as_string(hide_password=False)
    mailbox = Mailbox("sender", CANARIES["smtp"])
    mailbox.start()
    database = Database(url)
    surroundings = {
        "EVERGREET_DATABASE_URL": url,
        "EVERGREET_DATA_DIR": str(folder / ".evergreet"),
        "EVERGREET_SECRET_KEYS": f'["{CANARIES["key"]}"]',
        "EVERGREET_SHARD_SIZE": "30",
        "EVERGREET_SHARDS": "3",
        "EVERGREET_EMAIL": "smtp",
        "EVERGREET_SMTP_HOST": "127.0.0.1",
        "EVERGREET_SMTP_PORT": str(mailbox.port),
        "EVERGREET_SMTP_SECURITY": "none",
        "EVERGREET_SMTP_TIMEOUT": "240",  # what a test holds is in doubt only long after
        "EVERGREET_SMTP_USERNAME": "sender",
        "EVERGREET_SMTP_PASSWORD": CANARIES["smtp"],
    }
    home = folder / "prefect"
    with environment(surroundings), local_prefect(folder, home, free_port(), tell=_quiet, query_seconds=1) as prefect:
        opened = Shop(database, mailbox, prefect, home)
        opened.triggers(False)
        yield opened
    database.close()
    mailbox.stop()
    _administer(_named(postgres_url, "postgres"), f"DROP DATABASE {name} WITH (FORCE)")


def unscheduled(folder: Path) -> None:
    """Copy the project's prefect.yaml into a folder, with every schedule switched off."""
    document = yaml.safe_load((PROJECT / "prefect.yaml").read_text(encoding="utf-8"))
    for deployment in document["deployments"]:
        for schedule in deployment.get("schedules", []):
            schedule["active"] = False
    (folder / "prefect.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")


@contextmanager
def environment(surroundings: dict[str, str]) -> Iterator[None]:
    """Let child processes that are started in the block see these variables."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("EVERGREET_", "PREFECT_"))]:
            patch.delenv(name)
        for name, value in surroundings.items():
            patch.setenv(name, value)
        yield


_quiet: Callable[[str], None] = lambda _line: None  # noqa: E731
