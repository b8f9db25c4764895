"""`evergreet connectors` as a person types it."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar, Self

import pytest
from typer.testing import CliRunner, Result

from evergreet.cli import app
from evergreet.contracts import Capabilities
from evergreet.errors import ConfigurationError, Misconfigured
from evergreet.registry import CONNECTORS, connector_entries
from tests.connectors.email.servers import ScriptedServer, say


def evergreet(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_the_list_names_each_connector_what_it_can_do_and_where_it_comes_from() -> None:
    result = evergreet("connectors")
    assert result.exit_code == 0
    (outbox,) = [line for line in result.output.splitlines() if "outbox (sends email now)" in line]
    assert "can be asked for unknown messages" in outbox
    assert "evergreet 0" in outbox
    (smtp,) = [line for line in result.output.splitlines() if "smtp" in line]
    assert "windows of 50" in smtp
    assert "asked" not in smtp


def test_the_list_for_machines_has_the_capabilities_as_data() -> None:
    rows = {row["name"]: row for row in json.loads(evergreet("connectors", "--json").output)}
    assert {"outbox", "smtp"} <= set(rows)
    assert rows["outbox"]["capabilities"]["find"] is True
    assert rows["outbox"]["in_use"] is True
    assert rows["smtp"]["capabilities"]["find"] is False
    assert rows["smtp"]["class"] == "connectors.email.smtp:Smtp"


def test_a_check_says_what_it_found(tmp_path: Path) -> None:
    result = evergreet("connectors", "check", "outbox")
    assert result.exit_code == 0
    assert result.output == f"Mails are written to {tmp_path}/.evergreet/outbox (Maildir); 0 are there, unread.\n"
    assert json.loads(evergreet("connectors", "check", "outbox", "--json").output)["ok"] is True


def test_a_check_without_settings_names_what_is_missing() -> None:
    result = evergreet("connectors", "check", "smtp", "--json")
    assert result.exit_code == 1
    assert json.loads(result.output) == {
        "name": "smtp", "ok": False, "found": "Connector smtp: EVERGREET_SMTP_HOST is not set.",
    }  # fmt: skip


def test_a_check_that_fails_is_a_sentence_and_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer({"connect": say(b"554 5.7.1 no mail from you\r\n")}) as server:
        monkeypatch.setenv("EVERGREET_SMTP_HOST", "127.0.0.1")
        monkeypatch.setenv("EVERGREET_SMTP_PORT", str(server.port))
        monkeypatch.setenv("EVERGREET_SMTP_SECURITY", "none")
        done = subprocess.run(
            [sys.executable, "-c", "from evergreet.cli import main; main()", "connectors", "check", "smtp"],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"127.0.0.1:{server.port} does not let us in: 554 5.7.1 no mail from you\n"


def test_an_unknown_connector_is_answered_with_those_there_are() -> None:
    error = evergreet("connectors", "check", "pigeon").exception
    assert isinstance(error, ConfigurationError)
    assert f"no connector 'pigeon'; installed are: {', '.join(sorted(connector_entries()))}." in str(error)


@dataclass
class Stranger:
    """A connector from another package."""

    name: ClassVar[str] = "stranger"
    capabilities: ClassVar[Capabilities] = Capabilities(webhooks=True, sandbox=True)
    closed: ClassVar[list[str]] = []

    @classmethod
    def from_environment(cls) -> Self:
        return cls()

    def check(self) -> str:
        raise Misconfigured("The key is not valid.")

    def close(self) -> None:
        self.closed.append("yes")


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def entry(value: str) -> None:
        found = [EntryPoint(name="stranger", value=value, group=CONNECTORS)]
        monkeypatch.setattr("evergreet.registry.entry_points", lambda group: found)

    return entry


def test_a_stranger_connector_is_listed_checked_and_closed(install: Callable[[str], None]) -> None:
    install(f"{__name__}:Stranger")
    listed = evergreet("connectors").output
    assert "reports deliveries, has a sandbox" in listed
    result = evergreet("connectors", "check", "stranger")
    assert isinstance(result.exception, Misconfigured)
    assert Stranger.closed == ["yes"]


def test_a_connector_that_cannot_be_imported_does_not_hide_the_others(install: Callable[[str], None]) -> None:
    install("no_such_package.mail:Mail")
    result = evergreet("connectors")
    assert result.exit_code == 0
    assert "cannot be imported" in result.output
    (row,) = json.loads(evergreet("connectors", "--json").output)
    assert "No module named 'no_such_package'" in row["error"]
    assert row["capabilities"] is None
