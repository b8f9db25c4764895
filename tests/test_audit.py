"""The audit on ledgers that are in order, however unusual, and on those that are not."""

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import update

from evergreet.audit import audit
from evergreet.campaign import TRANSACTIONAL, Email, event, local
from evergreet.campaigns import version_of
from evergreet.durations import days
from evergreet.enrollment import backfill
from evergreet.settings import Settings
from models import Message
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
