"""No secret in any repr, error, log, page or machine-readable output: canaries in every secret setting."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings

from evergreet.errors import ConfigurationError, Misconfigured
from evergreet.settings import Settings, settings
from tests.env_example import settings_classes, variable
from tests.test_cli import COMMANDS

CANARY = "canary-7f3a"


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_is_secret(part) for part in getattr(annotation, "__args__", ()))


SECRETS = [
    (kind, name)
    for kind in settings_classes()
    for name, field in kind.model_fields.items()
    if _is_secret(field.annotation)
]


def _value(kind: type[BaseSettings], name: str) -> str:
    """A value that the field accepts, with the canary in it where it must not be seen."""
    if variable(kind, name) == "EVERGREET_DATABASE_URL":
        return f"postgresql://shop:{CANARY}@127.0.0.1:1/shop"
    if variable(kind, name) == "EVERGREET_SHEETS_URL":
        return f"https://docs.google.com/spreadsheets/d/e/{CANARY}/pub?output=csv"
    if name == "secret_keys":
        return json.dumps([f"{CANARY}-old", f"{CANARY}-new"])
    return f"{CANARY}-{name}"


REQUIRED = {
    "EVERGREET_SMTP_HOST": "127.0.0.1",
    "EVERGREET_SES_REGION": "eu-west-1",
    "EVERGREET_TWILIO_ACCOUNT_SID": "AC" + "0a" * 16,
    "EVERGREET_TWILIO_KEY_SID": "SK" + "0a" * 16,
    "EVERGREET_TWILIO_SENDER": "+15557122661",
    "EVERGREET_MAILGUN_DOMAIN": "mg.example.com",
    "EVERGREET_FOLDER_PATH": "crm",
    "EVERGREET_SQL_QUERY": "SELECT 1 AS id",
    "EVERGREET_SALESFORCE_BASE_URL": "https://acme.my.salesforce.com",
    "EVERGREET_SALESFORCE_CLIENT_ID": "3MVG9",
    "EVERGREET_SALESFORCE_USERNAME": "robot@acme.example",
}
"""What has no default and is no secret."""


@pytest.fixture
def canaries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for kind, name in SECRETS:
        monkeypatch.setenv(variable(kind, name), _value(kind, name))
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_there_are_secrets_to_look_for() -> None:
    names = {variable(kind, name) for kind, name in SECRETS}
    assert {"EVERGREET_DATABASE_URL", "EVERGREET_SECRET_KEYS", "EVERGREET_SMTP_PASSWORD"} <= names


def test_every_setting_that_sounds_secret_is_one() -> None:
    telling = ("password", "secret", "token", "api_key", "_key", "credential")
    for kind in settings_classes():
        for name, field in kind.model_fields.items():
            if any(word in name for word in telling):
                assert _is_secret(field.annotation), f"{variable(kind, name)} is not a SecretStr"


@pytest.mark.usefixtures("canaries")
@pytest.mark.parametrize("kind", list(settings_classes()), ids=lambda kind: kind.__name__)
def test_settings_show_no_secret(kind: type[BaseSettings], caplog: pytest.LogCaptureFixture) -> None:
    found = kind()
    with caplog.at_level(logging.DEBUG):
        logging.getLogger(__name__).warning("%s %r", found, found)
    shown = [repr(found), str(found), f"{found}", found.model_dump_json(), str(found.model_dump()), caplog.text]
    assert not [text for text in shown if CANARY in text]


@pytest.mark.parametrize(("kind", "name"), SECRETS, ids=lambda value: getattr(value, "__name__", value))
def test_an_error_about_settings_shows_no_secret(
    kind: type[BaseSettings], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A neighbour is wrong, so that reading fails with the secret at hand."""
    monkeypatch.setenv(variable(kind, name), _value(kind, name))
    numbers = [other for other, field in kind.model_fields.items() if field.annotation in (int, float)]
    bounded = [other for other, field in kind.model_fields.items() if field.annotation is str and field.metadata]
    wrong = (numbers or bounded)[0]
    monkeypatch.setenv(variable(kind, wrong), "many" * 1000)
    with pytest.raises(ValidationError) as raw:
        kind()
    assert CANARY not in str(raw.value)
    if kind is Settings:
        with pytest.raises(ConfigurationError, match=variable(kind, wrong)) as told:
            settings()
        assert CANARY not in str(told.value)


def test_a_secret_of_the_wrong_shape_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREET_SECRET_KEYS", f"{CANARY}-not-a-list")
    with pytest.raises(ConfigurationError, match="is not JSON, such as") as told:
        settings()
    assert CANARY not in str(told.value)


def test_a_url_that_cannot_be_read_is_not_repeated() -> None:
    from evergreet.database import parse_url

    for url in (
        f"{CANARY}://",
        f"mysql://u:{CANARY}@h/d",
        f"postgresql://u:{CANARY}@[::1/d",
        f"sqlite://u:{CANARY}@h/",
    ):
        with pytest.raises(ConfigurationError) as told:
            parse_url(url)
        assert CANARY not in str(told.value)


@pytest.mark.usefixtures("canaries")
def test_a_failing_smtp_server_is_named_without_the_password(caplog: pytest.LogCaptureFixture) -> None:
    from connectors.email.smtp import Smtp

    with caplog.at_level(logging.DEBUG):
        connector = Smtp.from_environment()
        with pytest.raises(Exception, match=r"\S") as told:
            connector.check()
        connector.close()
    assert CANARY not in f"{told.value!r} {told.value} {connector!r} {caplog.text}"


def test_wrong_smtp_settings_are_named_without_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    from connectors.email.smtp import Smtp

    monkeypatch.setenv("EVERGREET_SMTP_HOST", "mail.example.com")
    monkeypatch.setenv("EVERGREET_SMTP_PASSWORD", CANARY)
    with pytest.raises(Misconfigured) as told:
        Smtp.from_environment()
    assert CANARY not in str(told.value)


def _reading() -> list[tuple[str, ...]]:
    """Commands with --json that need no argument."""
    return [
        path for path, command in COMMANDS.items()
        if any(parameter.name == "json" for parameter in command.params)
        and not any(parameter.required for parameter in command.params)
    ]  # fmt: skip


ELSEWHERE = [["bounces"], ["suppressions", "pull"]]
"""Commands that look at something which is not here: a mailbox, a provider's lists."""

ASK_ALL = """
import json, sys, traceback
from typer.testing import CliRunner
from evergreet.cli import app
for path in json.loads(sys.argv[1]):
    done = CliRunner().invoke(app, path)
    told = "".join(traceback.format_exception(done.exception)) if done.exception else ""
    print(json.dumps([path, done.exit_code, done.output, told]))
"""


@pytest.mark.parametrize("store", ["reachable", "unreachable"])
def test_commands_print_no_secret(store: str, sqlite_url: str) -> None:
    """All of them in one process; where one fails, not even its traceback has the secret."""
    canaries = {variable(kind, name): _value(kind, name) for kind, name in SECRETS}
    canaries |= REQUIRED
    if store == "reachable":
        canaries["EVERGREET_DATABASE_URL"] = sqlite_url
    asked = [[*path, "--json"] for path in _reading()] + [["db", "check"], ["db", "upgrade"]]
    done = subprocess.run(
        [sys.executable, "-c", ASK_ALL, json.dumps(asked)],
        env={**os.environ, **canaries}, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert CANARY not in done.stdout + done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [path for path, *_ in answers] == asked
    for path, code, output, told in answers:
        if store == "reachable" and path[:-1] not in ELSEWHERE:
            assert code == 0, (path, told)
            if "--json" in path:
                json.loads(output)
    if store == "unreachable":
        assert sum("No connection to the database" in told for *_, told in answers) > 3


STORY = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from evergreet.cli import app

def run(command):
    app(command.split(), standalone_mode=False)

Path("contacts.csv").write_text("source_id,email\\n1,ana@example.org\\n")
run("import contacts contacts.csv")
run("launch thank-you")
now = datetime.now(UTC).isoformat()
Path("events.csv").write_text(f"source_id,contact,name,occurred_at,order_id\\n1,1,order_placed,{now},7\\n")
run("import events events.csv")
run("run thank-you --json")
run("explain thank-you ana@example.org --json")
run("audit --json")
"""


def test_a_campaign_leaves_no_secret_in_its_output_its_database_or_its_mails(tmp_path: Path) -> None:
    canaries = {variable(kind, name): _value(kind, name) for kind, name in SECRETS}
    canaries["EVERGREET_DATABASE_URL"] = f"sqlite:///{tmp_path}/evergreet.db"
    done = subprocess.run(
        [sys.executable, "-c", STORY],
        env={**os.environ, **canaries}, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert CANARY not in done.stdout + done.stderr
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in left if path.suffix == ".eml"]
    assert not [path for path in left if CANARY.encode() in path.read_bytes()]
