"""The audit on ledgers that are in order, however unusual, and on those that are not."""

import tracemalloc
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import delete, select, update
from sqlmodel import col

from evergreet import audit_streams
from evergreet.audit import audit, audit_campaign
from evergreet.audit_streams import together
from evergreet.campaign import TRANSACTIONAL, Email, event, local
from evergreet.campaigns import states, version_of
from evergreet.durations import days
from evergreet.enrollment import backfill
from evergreet.settings import Settings
from models import Attempt, Enrollment, Message
from tests.story import THANKS, Story


def findings(story: Story) -> list[str]:
    return [finding for one in audit(story.database, story.clock) for finding in one.findings]


def test_a_step_that_waits_for_the_one_before_it_is_not_missed(story: Story) -> None:
    """The second step's hour is the earlier one: it is due only once the first has had its turn."""
    ten = Email("ten", template="note", purpose=TRANSACTIONAL, after=days(1), at=local(10))
    nine = Email("nine", template="note", purpose=TRANSACTIONAL, after=days(1), at=local(9))
    both = replace(THANKS, steps=(ten, nine))
    story.launch(both)
    story.happened("order_placed", story.contact("ana"))
    for _ in range(30):
        story.run(both)
        assert findings(story) == []
        story.clock.advance(timedelta(hours=1))
    assert story.states() == {"accepted": 2}


def test_a_default_time_zone_far_from_utc_is_no_finding(story: Story) -> None:
    story.settings = Settings(secret_keys=("test-key",), default_timezone="Pacific/Auckland")
    later = Email("later", template="note", purpose=TRANSACTIONAL, after=days(1), at=local(9))
    both = replace(THANKS, steps=(*THANKS.steps, later))
    story.launch(both)
    story.happened("order_placed", story.contact("ana"))
    for _ in range(16):
        story.run(both)
        assert findings(story) == []
        story.clock.advance(timedelta(hours=3))
    assert story.states() == {"accepted": 2}


def test_many_stretches_history_and_another_trigger_are_no_finding(story: Story) -> None:
    before = story.contact("before")
    story.happened("order_placed", before, at=story.now - timedelta(hours=1))
    story.launch()
    for name in ("ana", "ben", "cleo"):
        story.clock.advance(timedelta(hours=1))
        story.happened("order_placed", story.contact(name))
        story.run()
    with story.database.read() as connection:
        version = version_of(connection, story.messages[0].version_id)
    history = story.now - timedelta(days=1)
    assert backfill(story.database, version, history, clock=story.clock, actor="test", confirm=1) == 1
    wider = replace(THANKS, trigger=THANKS.trigger | event("gift_sent"))
    story.happened("gift_sent", before)
    story.run(wider)
    assert findings(story) == []
    assert len(story.messages) == 5


def test_a_message_that_would_go_to_somebody_else_is_found(story: Story) -> None:
    story.launch()
    ana, ben = story.contacts(2)
    story.happened("order_placed", ana)
    story.run()
    with story.database.write() as connection:
        connection.execute(update(Message).values(contact_id=ben))
    assert findings(story) == ["messages that do not fit their enrollment (1): message 1"]


WIDER = replace(THANKS, trigger=THANKS.trigger | event("gift_sent"))


@pytest.fixture
def widened(story: Story) -> tuple[Story, list[int]]:
    """Two ordered under the first version; three ordered, and two sent a gift, under one with another trigger."""
    people = story.contacts(7)
    story.launch()
    story.happened("order_placed", *people[:2])
    story.run()
    story.clock.advance(timedelta(hours=1))
    story.happened("gift_sent", people[0])  # nothing asks for it yet
    story.run()
    story.clock.advance(timedelta(hours=1))
    story.happened("order_placed", *people[2:5])
    story.happened("gift_sent", *people[5:])
    story.run(WIDER)
    assert findings(story) == []
    return story, people


def test_after_a_trigger_has_changed_each_single_enrollment_is_missed(widened: tuple[Story, list[int]]) -> None:
    story, people = widened
    for who in people:
        with story.database.engine.connect() as connection:
            connection.execution_options(evergreet_write=True)
            mine = select(col(Message.id)).where(col(Message.contact_id) == who)
            connection.execute(delete(Attempt).where(col(Attempt.message_id).in_(mine)))
            connection.execute(delete(Message).where(col(Message.contact_id) == who))
            connection.execute(delete(Enrollment).where(col(Enrollment.contact_id) == who))
            (state,) = states(connection)
            found = audit_campaign(connection, state, story.now).findings
            connection.rollback()
        assert found[0].startswith(f"triggers without an enrollment (1): contact {who} ")


def test_what_only_a_later_version_asks_for_is_not_missed_where_nobody_knows_who_scanned(story: Story) -> None:
    """A stretch without enrollments, scanned when both versions were there: either may have been at work."""
    (ana,) = story.contacts(1)
    story.launch()
    story.run(WIDER)
    story.clock.advance(timedelta(hours=1))
    story.happened("gift_sent", ana)
    story.run()
    assert story.enrollments == []
    assert findings(story) == []


def test_a_step_whose_time_has_come_waits_for_the_next_run(story: Story) -> None:
    later = replace(THANKS, steps=(replace(THANKS.steps[0], after=days(1)),))
    story.launch(later)
    story.happened("order_placed", *story.contacts(2))
    story.run(later)
    assert [one.waiting for one in audit(story.database, story.clock)] == [0]
    story.clock.advance(timedelta(days=2))
    (before,) = audit(story.database, story.clock)
    assert (before.due, before.waiting, before.clean) == (0, 2, True)
    story.run(later)
    (after,) = audit(story.database, story.clock)
    assert (after.due, after.waiting, after.clean) == (2, 0, True)


def test_streams_are_merged_contact_by_contact() -> None:
    merged = together([(1, "a"), (1, "b"), (4, "c")], [], [(2, "x"), (4, "y")])
    assert list(merged) == [
        (1, [[(1, "a"), (1, "b")], [], []]),
        (2, [[], [], [(2, "x")]]),
        (4, [[(4, "c")], [], [(4, "y")]]),
    ]


def test_rows_that_come_one_by_one_are_the_same_ledger(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_streams, "AT_ONCE", 1)
    story.launch()
    story.happened("order_placed", *story.contacts(3))
    story.run()
    assert [(one.due, one.in_ledger, one.findings) for one in audit(story.database, story.clock)] == [(3, 3, ())]


def test_memory_does_not_grow_with_the_ledger(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_streams, "AT_ONCE", 50)
    story.launch()

    def peak_with(more: int) -> int:
        story.happened("order_placed", *story.contacts(more))
        story.run()
        tracemalloc.start()
        try:
            assert findings(story) == []
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak_with(10)  # what is compiled once is paid
    few = peak_with(100)
    assert peak_with(1000) < 1.5 * few
