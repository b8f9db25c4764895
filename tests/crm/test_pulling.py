"""A CRM is read page by page: resumed where it was, at whatever moment it ended."""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlmodel import col
from typer.testing import CliRunner

from evergreet import patience
from evergreet.cli import app
from evergreet.clock import FrozenClock
from evergreet.contracts import CrmPage
from evergreet.crm import opening, pulling
from evergreet.crm.pulling import Pulled, pull
from evergreet.crm.storing import Rules
from evergreet.database import Database
from evergreet.errors import ConfigurationError, EvergreetError, Misconfigured, Retryable
from evergreet.orchestration import crm as orchestration
from models import Contact, CrmCursor
from tests.crm.crms import Crm, record

PEOPLE = [record(str(number), email=f"p{number}@example.com", size=number) for number in range(5)]


@pytest.fixture
def embedded(sqlite_url: str) -> Database:
    """A database on SQLite, for what does not depend on the store."""
    return Database(sqlite_url)


@pytest.fixture
def read(clock: FrozenClock) -> Callable[..., Pulled]:
    """Read a CRM; nobody waits."""

    def reading(database: Database, crm: Crm, **options: object) -> Pulled:
        return pull(database, crm, Rules(), clock, **{"wait": lambda _: None, **options})  # type: ignore[arg-type]

    return reading


def known(database: Database) -> tuple[int, str | None]:
    """How many contacts there are, and the cursor."""
    with database.read() as connection:
        contacts = connection.execute(select(func.count()).select_from(Contact)).scalar_one()
        return contacts, connection.execute(select(col(CrmCursor.cursor))).scalar()


def test_it_reads_to_the_end_and_goes_on_from_there(database: Database, read: Callable[..., Pulled]) -> None:
    crm = Crm(*PEOPLE)
    first = read(database, crm)
    assert (first.pages, first.records, first.new) == (3, 5, 5)
    assert first.sentence == "acme: 5 new."
    assert known(database) == (5, "5")
    assert read(database, crm).sentence == "acme: nothing has changed."
    crm.changes.append(record("2", email="p2@example.com", size=40))
    again = read(database, crm, from_start=True)
    assert (again.records, again.new, again.changed, again.unchanged) == (6, 0, 1, 5)


class Death(BaseException):
    """The process is no more."""


@pytest.mark.parametrize("place", ["before the commit", "after the commit"])
def test_a_death_at_a_page_loses_nothing_and_stores_nothing_twice(
    database: Database, read: Callable[..., Pulled], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    crm = Crm(*PEOPLE)
    advance = pulling._advance

    def dying(connection, source, cursor, clock) -> None:  # type: ignore[no-untyped-def]
        advance(connection, source, cursor, clock)
        if cursor == "4" and place == "before the commit":
            raise Death

    monkeypatch.setattr(pulling, "_advance", dying)

    class Told:
        def progress(self, _phase: str, done: int, _total: int | None) -> None:
            if done == 4 and place == "after the commit":
                raise Death

    with pytest.raises(Death):
        read(database, crm, reporter=Told())
    assert known(database) == ((2, "2") if place == "before the commit" else (4, "4"))
    monkeypatch.undo()
    rest = read(database, crm)
    assert (rest.new, rest.changed) == ((3, 0) if place == "before the commit" else (1, 0))
    assert known(database) == (5, "5")


def test_a_page_that_another_pull_was_quicker_with_is_dropped(embedded: Database, read: Callable[..., Pulled]) -> None:
    crm = Crm(*PEOPLE)
    slow = Crm(*PEOPLE)
    ask = slow.changed_since

    def beaten(cursor: str) -> CrmPage:
        page = ask(cursor)
        if not cursor:
            read(embedded, crm)
        return page

    slow.changed_since = beaten  # type: ignore[method-assign]
    assert read(embedded, slow).records == 0
    assert slow.asked == ["", "5"]
    assert known(embedded) == (5, "5")


def test_it_waits_where_the_crm_wants_time_and_keeps_what_it_has_where_it_gives_up(
    embedded: Database, read: Callable[..., Pulled]
) -> None:
    crm = Crm(*PEOPLE)
    crm.faults = [Retryable("slow down", retry_after=timedelta(seconds=7)), Retryable("away", accepted="maybe")]
    waited: list[float] = []
    assert read(embedded, crm, limit=2, wait=waited.append).more
    assert waited == [7, 4]
    crm.faults = [Retryable("away")] * (patience.TRIES + 1)
    with pytest.raises(Retryable, match="away"):
        read(embedded, crm)
    crm.faults = [Misconfigured("the key is wrong")]
    with pytest.raises(Misconfigured):
        read(embedded, crm)
    assert known(embedded) == (2, "2")


@pytest.mark.parametrize(
    ("page", "says"), [(CrmPage((), "", True), "does not move"), (CrmPage((), "c" * 1001, False), "1000 characters")]
)
def test_a_cursor_behind_which_nobody_can_go_on_is_refused(
    embedded: Database, read: Callable[..., Pulled], page: CrmPage, says: str
) -> None:
    crm = Crm()
    crm.changed_since = lambda cursor: page  # type: ignore[method-assign]
    with pytest.raises(EvergreetError, match=says):
        read(embedded, crm)


@pytest.fixture
def installed(sqlite_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Crm:
    """A CRM that commands find under its name."""
    crm = Crm(*PEOPLE)
    monkeypatch.setenv("EVERGREET_DATABASE_URL", sqlite_url)
    monkeypatch.setattr(opening, "open_connector", {"acme": crm, "none": object()}.__getitem__)
    monkeypatch.chdir(tmp_path)
    return crm


def test_the_command_tells_what_was_read_and_lists_what_was_refused(installed: Crm, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["crm", "pull", "acme", "--limit", "2"])
    assert (done.exit_code, done.output) == (0, "acme: 2 new. There is more.\n")
    installed.unreadable = [("9", "its birthday is no date")]
    installed.changes.append(record("10", note="NUL \0"))
    done = CliRunner().invoke(app, ["crm", "pull", "acme"])
    assert done.exit_code == 3
    assert "acme: 3 new, 3 rejected." in done.output
    assert "its birthday is no date" in (tmp_path / "acme.rejects.csv").read_text()
    installed.unreadable = []
    assert CliRunner().invoke(app, ["crm", "pull", "acme"]).exit_code == 0  # nothing is new: what was refused stays so
    assert "NUL" in (tmp_path / "acme.rejects.csv").read_text()
    installed.changes.pop()
    assert CliRunner().invoke(app, ["crm", "pull", "acme", "--from-start"]).exit_code == 0
    assert not (tmp_path / "acme.rejects.csv").exists()


def test_the_flow_reads_all_crms_and_fails_for_one_that_cannot_be_read(
    installed: Crm, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def page(*_: object) -> None:
        return None

    def no_crm(name: str) -> Crm:
        if name == "none":
            raise ConfigurationError("no CRM")
        return installed

    monkeypatch.setenv("EVERGREET_CRM", "none, acme")
    monkeypatch.setattr(orchestration, "open_source", no_crm)
    monkeypatch.setattr(orchestration, "get_run_logger", lambda: logging.getLogger("a run"))
    monkeypatch.setattr("evergreet.orchestration.runs.leave_page", page)
    with caplog.at_level(logging.INFO, "a run"), pytest.raises(Exception, match="none: no CRM"):
        asyncio.run(orchestration.read_crms())
    assert [entry.getMessage() for entry in caplog.records if entry.name == "a run"] == ["acme: 5 new."]
