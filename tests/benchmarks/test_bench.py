"""The benchmark itself: it finds every phase of the engine, and notices a message that is lost or doubled."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlmodel import col

import benchmarks
from benchmarks import people, records
from benchmarks.bare import environment
from benchmarks.books import Books, Difference, compare, disagreements
from benchmarks.engine import MESSAGES, Result, measure
from benchmarks.limits import Pieces
from benchmarks.peers.results import Treated
from benchmarks.phases import PHASES, REST
from benchmarks.records import Records
from benchmarks.sinks import Book, Sink, open_sink
from benchmarks.table import COLUMNS, tables
from evergreet.clock import FrozenClock
from evergreet.contracts import Accepted, EmailMessage, Mailbox
from evergreet.database import Database
from evergreet.settings import Settings
from evergreet.template_sources import load_template
from models import Contact, Event
from tests.conftest import NOW
from tests.connectors.email.letters import letter
from tests.story import Story

ROOT = Path(benchmarks.__file__).parent.parent


def test_the_command_writes_a_page_a_picture_and_keeps_what_was_measured_before(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Before\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nafter\n", encoding="utf-8")
    limits = {"render": 1.0, "store": 1.0, "socket": 0.0}
    earlier = Result(7_000_000, "sqlite", "null", phases=dict.fromkeys((*PHASES, REST), 1.0), limits=limits, total=9.0)
    records.write(tmp_path / "page.json", Records([earlier], {"segment": [{"store": "sqlite", "ms": 12.5}]}))
    command = [sys.executable, "-m", "benchmarks", "--n", "50", "--store", "sqlite", "--sink", "null"]
    done = subprocess.run(
        [*command, "--write", str(page)], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()]
    heading, row = rows[2], rows[4]
    assert heading == list(COLUMNS)
    figures = dict(zip(heading, row, strict=True))
    assert figures["N"] == "50"
    assert figures["due = accepted = sink"] == "110", "60 that warm it up, and 50"
    assert (figures["lost"], figures["doubled"]) == ("0", "0")
    assert all(int(figures[phase]) > 0 for phase in ("enroll", "plan", "take", "render", "gates+intent", "settle"))
    assert float(figures["× limit"]) > 1
    assert "synchronous=FULL" in done.stdout
    written = page.read_text(encoding="utf-8")
    assert all(told in written for told in ("7,000,000", "12.50", " 50 |", "](page.svg)"))
    assert "old" not in written
    assert written.startswith("Before\n")
    assert written.endswith("after\n")
    assert "sqlite → null" in (tmp_path / "page.svg").read_text(encoding="utf-8")
    assert [one.n for one in records.read(tmp_path / "page.json").cases] == [50, 7_000_000]


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


def _sent(story: Story, tmp_path: Path, *others: str, lose: int = 0) -> Sink:
    """Three messages in the ledger, and a sink that got them but for the first few, and some others."""
    story.happened("order_placed", *story.contacts(3))
    story.run()
    book = tmp_path / "book"
    keys = [*(message.key for message in story.sender.sent[lose:]), *others]
    book.write_text("".join(f"{key} c@customer.example\n" for key in keys), encoding="utf-8")
    return Sink("null", "", story.sender, Book(book), patience=0)


def test_books_that_agree_have_no_findings(
    story: Story, database: Database, clock: FrozenClock, tmp_path: Path
) -> None:
    story.launch()
    sink = _sent(story, tmp_path)
    books = disagreements(database, clock, 3, sink)
    assert books == Books(accepted=3, counted=3, due=3, lost=0, doubled=0, findings=())
    books = disagreements(database, clock, 4, sink)
    assert books.findings == ("4 messages were due, the ledger says that 3 were accepted",)


def test_a_lost_message_is_a_finding(story: Story, database: Database, clock: FrozenClock, tmp_path: Path) -> None:
    story.launch()
    books = disagreements(database, clock, 3, _sent(story, tmp_path, lose=1))
    assert (books.lost, books.doubled) == (1, 0)
    assert books.findings[0] == "the ledger says that 3 were accepted, the sink counted 2"
    phases = dict.fromkeys((*PHASES, REST), 1.0)
    result = Result(3, "sqlite", "null", phases=phases, findings=list(books.findings))
    result.limits = {"render": 1.0, "store": 1.0, "socket": 0.0}
    assert "THE BOOKS DISAGREE: sqlite → null, 3: the ledger says that 3 were" in tables(Records([result]))


def test_one_lost_and_another_doubled_is_a_finding(
    story: Story, database: Database, clock: FrozenClock, tmp_path: Path
) -> None:
    story.launch()
    sink = _sent(story, tmp_path, lose=1)
    sink.book.path.write_text(sink.book.path.read_text() + f"{story.sender.sent[-1].key} c@customer.example\n")
    books = disagreements(database, clock, 3, sink)
    assert (books.counted, books.lost, books.doubled) == (3, 1, 1)
    assert books.findings == (
        "message by message: 1 that were accepted did not come to the sink, 1 came once more, "
        "0 that came are not in the ledger",
    )


def test_people_are_stored_as_a_bare_loop_has_them(database: Database) -> None:
    people.store_people(database, 15, 30, NOW)
    stored = select(
        col(Contact.id), col(Contact.address), col(Contact.attributes), col(Contact.locale), col(Contact.timezone),
        col(Event.properties),
    ).join(Event, col(Event.contact_id) == col(Contact.id)).order_by(col(Contact.id))  # fmt: skip
    with database.read() as connection:
        rows = [tuple(row) for row in connection.execute(stored)]
    assert rows == [
        (n + 1, people.address(n), people.person(n), people.LOCALES[n % 10], people.ZONES[n % 5], people.order(n))
        for n in range(15, 45)
    ]


def test_pieces_joined_are_what_jinja_gives() -> None:
    settings, source = Settings(_env_file=None), load_template(MESSAGES, "welcome")
    pieces, jinja = Pieces(source, settings), environment(source, settings)
    for number in (0, 1, 2, 17):
        names = {
            "contact": people.person(number), "event": people.order(number), "options": people.Picks().of_version(),
            "occurred_at": datetime.now(UTC), "unsubscribe_url": pieces.values(number)["unsubscribe_url"],
            "language": "en", "direction": "ltr",
        }  # fmt: skip
        whole = (
            jinja.get_template(f"welcome/{part}").render(names) for part in ("subject.txt", "body.html", "body.txt")
        )
        assert pieces.filled(number) == tuple(whole)


@pytest.mark.parametrize("kind", ["smtp", "small smtp", "sendgrid"])
def test_a_server_writes_down_what_our_connector_sends(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOST", "PORT", "SECURITY"):  # what a sink sets is gone after the test
        monkeypatch.setenv(f"EVERGREET_SMTP_{name}", "")
    for name in ("API_KEY", "BASE_URL"):
        monkeypatch.setenv(f"EVERGREET_SENDGRID_{name}", "")
    if kind == "small smtp":
        monkeypatch.setattr(shutil, "which", lambda *_, **__: None)  # as where there is no Postfix
    keys = [f"{number:032x}" for number in (7, 2**127, 2**127 + 1)]
    with open_sink(kind.removeprefix("small ")) as sink:
        outcomes = sink.sender.send([_to(key) for key in keys[:2]]) + sink.sender.send([_to(keys[2])])
        assert all(isinstance(outcome, Accepted) for outcome in outcomes)
        assert sink.counted(3) == 3
        assert sorted(sink.book.lines()) == [(key, f"c{key[-6:]}@customer.example") for key in keys]


def test_others_are_counted_by_who_got_something(tmp_path: Path) -> None:
    assert compare(["a", "b", "c"], ["b", "b", "c", "b", "x"]) == Difference(lost=1, doubled=2, unasked=1)
    treated = [
        Treated("Evergreet", "1", "one runner", "sqlite", 9, 9, 0, 0, cpu=300.0),
        Treated("other", "2", "one runner", "sqlite", 9, 9, 0, 0, cpu=3000.0),
        Treated("other", "2", "killed", "sqlite", 9, 12, 3, 1, kills=4),
    ]
    told = tables(Records(peers=treated))
    assert "3,000 |        10.0" in told
    assert [cell.strip() for cell in told.splitlines()[-1].split("|")[1:8]] == [
        "killed 4 times", "other 2", "sqlite", "9", "12", "3", "1",
    ]  # fmt: skip


def _to(key: str) -> EmailMessage:
    return letter(key, to=Mailbox(f"c{key[-6:]}@customer.example"), html="<p>.\n.\n</p>")
