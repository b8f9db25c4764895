"""Transactions that commit in another order than they began: no event is missed, and the audit is not misled."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, insert

from evergreet import engine, enrollment
from evergreet.audit import audit
from evergreet.clock import FrozenClock
from evergreet.database import Database, ingest_position
from models import Event
from tests.conftest import NOW
from tests.faults.crossing import Moment, side_by_side, wait_until_blocked
from tests.story import Story


@pytest.fixture
def story(fresh_postgres_url: str, clock: FrozenClock) -> Iterator[Story]:
    """PostgreSQL only: SQLite lets one transaction write at a time, so they commit in the order they began."""
    database = Database(fresh_postgres_url)
    yield Story(database, clock)
    database.close()


def clean(story: Story) -> bool:
    return all(one.clean for one in audit(story.database, story.clock))


def order(connection: Connection, contact: int, source_id: str) -> None:
    connection.execute(
        insert(Event).values(
            contact_id=contact, name="order_placed", occurred_at=NOW, ingested_at=NOW, source="test",
            source_id=source_id, properties={"order_id": source_id}, position=ingest_position(connection),
        )
    )  # fmt: skip


def test_no_event_is_missed_when_two_importers_commit_in_reverse_order(story: Story) -> None:
    ana, ben = story.contacts(2)
    story.launch()
    with story.database.write() as earlier:
        order(earlier, ana, "earlier")
        with story.database.write() as later:
            order(later, ben, "later")
        assert story.run().enrolled == 0  # the cursor waits for the older transaction
        assert clean(story)
    assert story.run().enrolled == 2
    assert story.sender.recipients == ["c0@example.org", "c1@example.org"]
    assert clean(story)


def test_an_importer_that_began_before_a_run_and_commits_after_it_is_not_missed(story: Story) -> None:
    ana, ben, cem = story.contacts(3)
    story.launch()
    with story.database.write() as connection:
        order(connection, ben, "first")
    with story.database.write() as open_still:
        order(open_still, ana, "open still")
        assert story.run().enrolled == 1
        with story.database.write() as connection:
            order(connection, cem, "last")
        assert story.run().enrolled == 0
    assert story.run().enrolled == 2
    assert len(story.sender.recipients) == len(set(story.sender.recipients)) == 3
    assert clean(story)


def test_an_importer_that_is_rolled_back_holds_nobody_up(story: Story) -> None:
    ana, ben = story.contacts(2)
    story.launch()
    with story.database.engine.begin() as earlier:
        order(earlier, ana, "earlier")
        with story.database.write() as later:
            order(later, ben, "later")
        earlier.rollback()
    assert story.run().enrolled == 1
    assert story.sender.recipients == ["c1@example.org"]
    assert clean(story)


class Death(Exception):
    """What a run dies of here."""


def test_a_planner_never_says_that_it_is_done_up_to_a_moment_in_which_another_run_enrolls(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run is about to plan while another has enrolled and not committed; that one dies before it plans."""
    ana = story.contact("ana")
    story.launch()
    plans, enrolls = Moment(), Moment()
    real_exclusive, real_extend, real_schedule = engine.exclusive, enrollment._extend, engine.schedule  # type: ignore[attr-defined]
    dying: list[int] = []

    def exclusive(*arguments: Any) -> None:
        plans.pass_by()
        real_exclusive(*arguments)

    def extend(*arguments: Any) -> None:
        real_extend(*arguments)
        enrolls.pass_by()
        dying.append(threading.get_ident())

    def schedule(*arguments: Any) -> Any:
        if threading.get_ident() in dying:
            raise Death
        return real_schedule(*arguments)

    with monkeypatch.context() as patched, side_by_side() as begin:
        patched.setattr(engine, "exclusive", exclusive)
        patched.setattr(engine, "schedule", schedule)
        planner = begin(story.run)
        plans.wait()
        patched.setattr(enrollment, "_extend", extend)
        story.happened("order_placed", ana)
        enroller = begin(story.run)
        enrolls.wait()
        story.clock.advance(timedelta(minutes=1))
        plans.go_on.set()
        wait_until_blocked(story.database, plans.go_on, unless=planner.done)
        enrolls.go_on.set()
        with pytest.raises(Death):
            enroller.result()
        planner.result()
    assert clean(story)
    story.run()
    assert story.sender.recipients == ["ana@example.org"]
    assert clean(story)
