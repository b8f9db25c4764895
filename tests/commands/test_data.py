"""`evergreet import …` as a person calls it: exit codes, sentences, JSON, progress."""

import json
import os
import pty
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from evergreet.cli import main
from evergreet.database import Database
from evergreet.settings import settings

EVERGREET = [sys.executable, "-c", "from evergreet.cli import main; main()"]
EVENTS = "user,what,when,amount\n" + "".join(
    f"u{number % 3},order_placed,2026-01-0{number % 9 + 1},{number}\n" for number in range(20)
)
MAPS = ("--map", "contact=user", "--map", "name=what", "--map", "occurred_at=when")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


class Evergreet:
    """Calls the command line in this process, as `evergreet` would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> Done:
        self._monkeypatch.setattr(sys, "argv", ["evergreet", "import", *map(str, arguments)])
        settings.cache_clear()
        code: Any = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        return Done(code, *self._capsys.readouterr())

    def json(self, *arguments: str | Path) -> dict[str, Any]:
        """Return the summary of a command that must succeed."""
        done = self(*arguments, "--json")
        assert done.code == 0, done.err
        found: dict[str, Any] = json.loads(done.out)
        return found


@pytest.fixture
def evergreet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Evergreet:
    """The command line."""
    return Evergreet(monkeypatch, capsys)


def test_events_are_imported_and_counted_and_the_second_time_nothing_is_new(
    evergreet: Evergreet, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREET_DATABASE_URL", database_url)
    file = tmp_path / "events.csv"
    file.write_text(EVENTS)
    options = (*MAPS, "--map", "email={user}@example.test", "--timezone", "Europe/Berlin", "--create-contacts")
    done = evergreet("events", file, *options)
    assert done.code == 0
    assert f"events from {file}: read 20 = stored 20 + duplicate 0 + corrected 0 + rejected 0" in done.out
    assert "3 contacts created" in done.out
    summary = evergreet.json("events", file, *options)
    assert (summary["read"], summary["stored"], summary["duplicate"]) == (20, 0, 20)
    assert (summary["rejected"], summary["rejects_file"], summary["encoding"]) == (0, None, "utf-8")


def test_rejected_rows_mean_exit_code_3_and_a_file_beside_the_input(evergreet: Evergreet, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("source_id,email\n1,ann@example.com\n,bob@example.com\n3,broken@\n")
    done = evergreet("contacts", file)
    assert done.code == 3
    assert "read 3 = stored 2 + duplicate 0 + corrected 0 + rejected 1" in done.out
    assert "1 rejected: no source_id" in done.out
    assert "1 × email is not valid and was left out" in done.out
    assert f"{file}.rejects.csv" in done.out
    assert ",bob@example.com" in Path(f"{file}.rejects.csv").read_text()
    done = evergreet("contacts", file, "--strict", "--source", "other")
    assert done.code == 3
    assert "rejected 1 + withheld 2" in done.out
    assert "Nothing was stored" in done.out


def test_suppressions_take_a_default_scope(evergreet: Evergreet, tmp_path: Path) -> None:
    file = tmp_path / "do-not-mail.csv"
    file.write_text("address;why\nann@example.com;complaint\n")
    options = ("--map", "email=address", "--map", "reason=why", "--scope", "marketing", "--source", "old")
    assert evergreet.json("suppressions", file, *options)["stored"] == 1
    with Database("sqlite:///.evergreet/evergreet.db").read() as connection:
        found = connection.exec_driver_sql("SELECT address, scope, reason, source FROM suppression").all()
    assert list(map(tuple, found)) == [("ann@example.com", "marketing", "complaint", "old")]


def test_a_mapping_file_says_it_all_and_the_command_line_goes_before_it(evergreet: Evergreet, tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(EVENTS)
    (tmp_path / "shop.yaml").write_text(
        "source: shop\ntimezone: UTC\ncreate_contacts: true\ntypes: text\n"
        "map: {contact: user, name: what, occurred_at: when}\nset: {shop: berlin}\n"
    )
    options = ("events", tmp_path / "events.csv", "--mapping", tmp_path / "shop.yaml")
    assert evergreet(*options, "--known-contacts").code == 3
    assert evergreet.json(*options)["stored"] == 20
    assert evergreet.json(*options, "--source", "other", "--types", "auto")["stored"] == 20
    with Database("sqlite:///.evergreet/evergreet.db").read() as connection:
        found = connection.exec_driver_sql(
            "SELECT source, json_type(properties, '$.amount'), json_extract(properties, '$.shop'), count(*) "
            "FROM event GROUP BY 1, 2, 3 ORDER BY 1"
        ).all()
    assert list(map(tuple, found)) == [("other", "integer", "berlin", 20), ("shop", "text", "berlin", 20)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("events", "missing.csv"), "missing.csv: there is no such file"),
        (("events", "."), "is a folder"),
        (("events", "events.csv"), "has no column 'name'; it has: user, what, when, amount. Say what happened"),
        (("events", "events.csv", *MAPS), "line 2: occurred_at is '2026-01-01', a time without a zone"),
        (("events", "events.csv", *MAPS, "--timezone", "Mars"), "no such IANA time zone"),
        (("events", "events.csv", "--map", "name=wat"), "has no column 'wat'"),
        (("events", "events.csv", "--map", "name"), "write --map FIELD=COLUMN"),
        (("events", "events.csv", "--mapping", "missing.yaml"), "missing.yaml cannot be read"),
        (("events", "events.csv", "--encoding", "klingon"), "no such text encoding"),
        (("events", "events.csv", *MAPS, "--timezone", "UTC", "--rejects", "no/such/folder.csv"), "there is no folder"),
        (("contacts", "events.csv", "--map", "source_id=user", "--region", "XX"), "no such country code"),
        (("contacts", "events.csv", "--delimiter", "::", "--map", "source_id=user"), "one character"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_exit_code_1(
    arguments: tuple[str, ...], sentence: str, evergreet: Evergreet, tmp_path: Path
) -> None:
    (tmp_path / "events.csv").write_text(EVENTS)
    done = evergreet(*arguments)
    assert (done.code, done.out) == (1, "")
    assert sentence in done.err


def test_a_terminal_gets_a_bar_and_others_get_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from evergreet.importing import progress

    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    with progress.shown_progress("people.csv") as reporter:
        reporter.progress("import", 50, 200)
        reporter.progress("import", 70, None)
    assert capsys.readouterr().err == "import people.csv: 25% read\nimport people.csv: 70 bytes read\n"

    (tmp_path / "people.csv").write_text("source_id\n1\n")
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run(
        [*EVERGREET, "import", "contacts", "people.csv"],
        stderr=theirs,
        stdout=subprocess.PIPE,
        env=environment,
        timeout=60,
        check=False,
    )
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.returncode == 0
    assert "people.csv" in shown
    assert "\x1b[" in shown
