"""The benchmark itself: it finds every phase of the engine, and notices a message that is lost or doubled."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import benchmarks
from benchmarks.books import disagreements
from benchmarks.engine import Result, measure
from benchmarks.phases import PHASES, REST
from benchmarks.sinks import Counted, Sink, open_sink
from benchmarks.table import COLUMNS, table
from evergreet.clock import FrozenClock
from evergreet.contracts import Accepted, EmailMessage, Mailbox
from evergreet.database import Database
from tests.connectors.email.letters import letter
from tests.story import Story

ROOT = Path(benchmarks.__file__).parent.parent


def test_the_command_prints_every_column_and_its_books_agree(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Before\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nafter\n", encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks", "--n", "50", "--store", "sqlite", "--sink", "null"]
    done = subprocess.run(
        [*command, "--write", str(page)], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    heading, _, row = ([cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()[:3])
    assert heading == list(COLUMNS)
    figures = dict(zip(heading, row, strict=True))
    assert figures["N"] == "50"
    assert figures["due = accepted = sink"] == "110", "60 that warm it up, and 50"
    assert all(int(figures[phase]) > 0 for phase in ("enroll", "plan", "take", "render", "gates+intent", "settle"))
    assert "synchronous=FULL" in done.stdout
    written = page.read_text(encoding="utf-8")
    assert done.stdout.strip() in written
    assert "old" not in written
    assert written.startswith("Before\n")
    assert written.endswith("after\n")


def test_a_case_adds_up_to_its_total_and_tells_its_profile() -> None:
    result = measure(50, "sqlite", "null", profile=True)
    assert result.findings == []
    assert set(result.phases) == {*PHASES, REST}
    assert sum(result.phases.values()) == pytest.approx(result.total)
    assert "settle: UPDATE message" in result.profile
    assert "µs a message, profiled" in result.profile


def test_on_postgresql_the_server_counts_as_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    result = measure(50, "postgresql", "null")
    assert result.findings == []
    assert result.durability == "fsync=on synchronous_commit=on"
    assert result.server["settle"] > 0
    assert result.phases["settle"] > result.server["settle"]


def _sent(story: Story, counted: Counted | None = None) -> Sink:
    """Three messages in the ledger, and a sink that got them, or says otherwise."""
    story.happened("order_placed", *story.contacts(3))
    story.run()
    keys = [int(message.key, 16) for message in story.sender.sent]
    truth = Counted(len(keys), sum(keys) % 2**128)
    return Sink("null", "", story.sender, lambda: counted or truth, patience=0)


def test_books_that_agree_have_no_findings(story: Story, database: Database, clock: FrozenClock) -> None:
    story.launch()
    books = disagreements(database, clock, 3, _sent(story))
    assert (books.findings, books.accepted, books.counted, books.due) == ((), 3, 3, 3)


def test_a_lost_message_is_a_finding(story: Story, database: Database, clock: FrozenClock) -> None:
    story.launch()
    books = disagreements(database, clock, 3, _sent(story, Counted(2, 5)))
    assert books.findings == ("the ledger says that 3 were accepted, the sink counted 2",)
    told = table([replace(Result(3, "sqlite", "null"), phases=dict.fromkeys((*PHASES, REST), 1.0), bare=1.0,
                          findings=list(books.findings))])  # fmt: skip
    assert "THE BOOKS DISAGREE: sqlite → null, 3: the ledger says that 3 were accepted" in told


def test_one_lost_and_another_doubled_is_a_finding(story: Story, database: Database, clock: FrozenClock) -> None:
    story.launch()
    books = disagreements(database, clock, 3, _sent(story, Counted(3, 5)))
    assert [finding.endswith("some were doubled") for finding in books.findings] == [True]


def test_a_message_that_was_due_and_not_sent_is_a_finding(story: Story, database: Database, clock: FrozenClock) -> None:
    story.launch()
    books = disagreements(database, clock, 4, _sent(story))
    assert books.findings == ("4 messages were due, the ledger says that 3 were accepted",)


@pytest.mark.parametrize("kind", ["smtp", "sendgrid"])
def test_a_server_counts_what_our_connector_sends(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOST", "PORT", "SECURITY"):  # what a sink sets is gone after the test
        monkeypatch.setenv(f"EVERGREET_SMTP_{name}", "")
    for name in ("API_KEY", "BASE_URL"):
        monkeypatch.setenv(f"EVERGREET_SENDGRID_{name}", "")
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)  # the sink of our own reads what it gets
    keys = [f"{number:032x}" for number in (7, 2**127, 2**127 + 1)]
    with open_sink(kind) as sink:
        outcomes = sink.sender.send([_to(key) for key in keys[:2]]) + sink.sender.send([_to(keys[2])])
        assert all(isinstance(outcome, Accepted) for outcome in outcomes)
        assert sink.counted(3) == Counted(3, 8)


def _to(key: str) -> EmailMessage:
    return letter(key, to=Mailbox(f"c{key[-6:]}@customer.example"), html="<p>.\n.\n</p>")
