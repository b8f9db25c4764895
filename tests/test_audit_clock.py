"""What follows the clock, and broadcasts: the audit is clean on a true ledger and names what is taken out of it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import insert, text

from evergreet.audit import audit, audit_campaign
from evergreet.broadcasts import confirm
from evergreet.campaign import Campaign, Email, anniversary, broadcast, event, latest, silence, stage_entered
from evergreet.campaigns import Version, required, states, stop, version_of
from evergreet.conditions import consented
from evergreet.database import ingest_position
from evergreet.durations import days, hours
from evergreet.enrollment import backfill
from models import Event, Transition
from tests.story import Story
from tests.test_clock_causes import tells

A_DAY, HOUR = timedelta(days=1), timedelta(hours=1)
QUIET = Campaign(
    "quiet", silence(hours(3), after=("look",), broken_by=("buy",)), (Email("hello", "note"),), topic="news"
)
YEARLY = Campaign("yearly", anniversary("first"), (Email("hello", "note"),), topic="news")
LAUNCHED = Campaign(
    "launched", broadcast("launch", key="id"), (Email("new", "note"),), topic="news", audience=consented("news"),
    confirm_above=2,
)  # fmt: skip
ASKED = Campaign(
    "asked", event("order", key="order_id"),
    (Email("ask", "note", after=days(2), counted_from=latest("delivery", same="order_id"), lateness=days(30)),),
    topic="news",
)  # fmt: skip
ALL = (QUIET, YEARLY, LAUNCHED, ASKED)


def findings(story: Story) -> list[str]:
    return [finding for one in audit(story.database, story.clock) for finding in one.findings]


@pytest.fixture
def ledger(story: Story) -> Story:
    """Three days of everything: in order, with enrollments by the clock in several stretches."""
    for campaign in ALL:
        story.launch(campaign)
    ana, ben = story.contact("ana", consents=["news"]), story.contact("ben", consents=["news"])
    story.happened("first", ana, at=story.now + 20 * A_DAY - 365 * A_DAY)
    story.happened("first", ben, at=story.now + 21 * A_DAY - 365 * A_DAY)
    for number, who in enumerate((ana, ben, ana)):
        story.happened("look", who)
        story.happened("order", who, order_id=number)
        story.happened("delivery", who, order_id=number, at=story.now + HOUR)
        story.clock.advance(10 * HOUR)
        works(story)
    story.announces("launch", "tent", id="tent")
    works(story)
    story.contact("cleo", consents=["news"])
    story.announces("launch", "lamp", id="lamp")
    works(story)
    assert confirm(story.database, "launched", "launch:lamp", 3, clock=story.clock, actor="test") == 3
    for _ in range(6):
        story.clock.advance(4 * A_DAY)
        works(story)
    assert findings(story) == []
    assert len(story.enrollments) == 3 + 2 + (2 + 3) + 3
    return story


def works(story: Story) -> None:
    for campaign in ALL:
        story.run(campaign)


def of(campaign: str) -> str:
    return f"campaign_id = (SELECT id FROM campaign WHERE name = '{campaign}')"


def one(table: str, which: str, *, last: bool = False) -> str:
    return f"id = (SELECT id FROM {table} WHERE {which} ORDER BY id {'DESC' if last else 'ASC'} LIMIT 1)"


def gone(table: str, which: str, *, last: bool = False) -> str:
    return f"DELETE FROM {table} WHERE {one(table, which, last=last)}"


FROZEN = f"{of('launched')} AND state = 'frozen'"
MUTATIONS = {
    "the first silence": (gone("enrollment", of("quiet")), "triggers without an enrollment"),
    "the last silence": (gone("enrollment", of("quiet"), last=True), "triggers without an enrollment"),
    "an anniversary": (gone("enrollment", of("yearly")), "triggers without an enrollment"),
    "the last anniversary": (gone("enrollment", of("yearly"), last=True), "triggers without an enrollment"),
    "who was in a broadcast": (gone("enrollment", of("launched")), "broadcasts and their audiences disagree"),
    "who was in a confirmed one": (
        gone("enrollment", of("launched"), last=True), "broadcasts and their audiences disagree",
    ),
    "the first stretch of the clock": (gone("clock_stretch", of("quiet")), "stretches of the clock are missing"),
    "the last stretch of the clock": (
        gone("clock_stretch", of("yearly"), last=True), "stretches of the clock are missing",
    ),
    "how many a stretch enrolled": (
        f"UPDATE clock_stretch SET enrolled = enrolled + 1 WHERE {one('clock_stretch', of('quiet'))}",
        "enrollments that stretches counted otherwise",
    ),
    "where the clock stands": (
        "UPDATE campaign SET clock_to = clock_from WHERE name = 'quiet'", "stretches of the clock are missing",
    ),
    "a broadcast": (gone("broadcast", FROZEN), "enrollments outside every scanned stretch"),
    "how many a broadcast froze": (
        f"UPDATE broadcast SET frozen = frozen - 1 WHERE {one('broadcast', FROZEN)}",
        "broadcasts and their audiences disagree",
    ),
    "when somebody joined a broadcast": (
        "UPDATE enrollment SET caused_at = (SELECT min(caused_at) FROM enrollment) WHERE "
        + one("enrollment", of("launched"), last=True),
        "broadcasts and their audiences disagree",
    ),
    "when a step was counted from": (
        f"UPDATE message SET counted_at = (SELECT max(at) FROM broadcast) WHERE {one('message', of('asked'))}",
        "steps counted from a moment that no event tells",
    ),
    "whether a step was counted anew": (
        f"UPDATE message SET counted_at = NULL WHERE {one('message', of('asked'))}",
        "messages with another due time than their step",
    ),
    "the event that a silence began with": (
        gone("event", "name = 'look'"), "enrollments outside every scanned stretch",
    ),
    "the event whose anniversary it is": (
        gone("event", "name = 'first'"), "enrollments outside every scanned stretch",
    ),
    "the delivery that a step was counted from": (
        gone("event", "name = 'delivery'"), "steps counted from a moment that no event tells",
    ),
}  # fmt: skip


def test_the_audit_names_what_is_missing_or_changed(ledger: Story) -> None:
    """Each in a transaction of its own that is rolled back, on one ledger."""
    for what, (statement, finding) in MUTATIONS.items():
        found = mutated(ledger, statement)
        assert [sentence for sentence in found if sentence.startswith(finding)], f"{what}: {found}"
    assert findings(ledger) == []


def mutated(story: Story, statement: str) -> list[str]:
    """What the audit finds with this change."""
    with story.database.engine.connect() as connection:
        if story.database.is_sqlite:
            connection.connection.driver_connection.execute("PRAGMA foreign_keys = OFF")  # type: ignore[union-attr]
            connection.execution_options(evergreet_write=True)
        else:
            connection.execute(text("SET session_replication_role = replica"))
        count = connection.execute(text(statement)).rowcount
        assert count == 1, f"{count} rows changed: {statement}"
        found = [
            sentence
            for state in states(connection)
            for sentence in audit_campaign(connection, state, story.now).findings
        ]
        connection.rollback()
    return found


def test_history_taken_in_by_the_clock_is_explained(story: Story) -> None:
    ana = story.contact("ana", consents=["news"])
    tells(story, ana, "look", story.now - 5 * A_DAY, "l-1")
    tells(story, ana, "look", story.now - 2 * A_DAY, "l-2")
    tells(story, ana, "first", story.now - 367 * A_DAY, "f-1")
    for campaign, count in ((QUIET, 1), (YEARLY, 1)):
        story.launch(campaign)
        story.clock.advance(HOUR)
        story.run(campaign)
        version = version_of_current(story, campaign.name)
        since = story.now - 4 * A_DAY
        for confirm_count in (None, count):
            assert count == backfill(
                story.database, version, since, clock=story.clock, actor="test", confirm=confirm_count
            )
        story.run(campaign)
        assert findings(story) == []
    assert len(story.enrollments) == 2


def test_what_a_campaign_slept_through_while_stopped_is_neither_enrolled_nor_missed(story: Story) -> None:
    ana = story.contact("ana", consents=["news"])
    story.launch(QUIET)
    story.clock.advance(A_DAY)
    story.run(QUIET)
    stop(story.database, "quiet", clock=story.clock, actor="test")
    story.happened("look", ana)
    story.clock.advance(A_DAY)
    story.launch(QUIET)
    story.run(QUIET)
    assert story.enrollments == []
    assert findings(story) == []
    story.happened("look", ana)
    story.clock.advance(A_DAY)
    story.run(QUIET)
    assert len(story.enrollments) == 1
    assert findings(story) == []


def test_a_campaign_that_begins_to_follow_the_clock_in_a_new_version_is_in_order(story: Story) -> None:
    ana = story.contact("ana", consents=["news"])
    first = replace(QUIET, trigger=event("look"))
    story.launch(first)
    story.happened("look", ana)
    story.run(first)
    for _ in range(3):
        story.clock.advance(2 * HOUR)
        story.run(QUIET)
        assert findings(story) == []
    story.happened("look", ana)
    story.clock.advance(4 * HOUR)
    story.run(QUIET)
    assert [row.occurrence.partition(":")[0] for row in story.enrollments] == ["event", "silence", "silence"]
    assert findings(story) == []


def version_of_current(story: Story, name: str) -> Version:
    with story.database.read() as connection:
        current = required(connection, name).version_id
        assert current is not None
        return version_of(connection, current)


def test_a_broadcast_that_a_later_version_writes_about_was_not_missed_before(story: Story) -> None:
    story.launch(LAUNCHED)
    story.announces("sale", "s-1")
    story.announces("launch", "p-1", id="tent")
    story.run(LAUNCHED)
    story.clock.advance(HOUR)
    story.run(replace(LAUNCHED, trigger=LAUNCHED.trigger | broadcast("sale")))
    assert findings(story) == []
    with story.database.write() as connection:
        connection.execute(text("DELETE FROM broadcast"))
    assert findings(story) != [], "both write about a launch"


def test_history_repeats_no_broadcast_and_the_audit_asks_for_none(story: Story) -> None:
    mixed = replace(LAUNCHED, trigger=LAUNCHED.trigger | event("look"))
    story.announces("launch", "p-1", id="tent")
    story.happened("look", story.contact("ana", consents=["news"]))
    story.clock.advance(HOUR)
    story.launch(mixed)
    story.run(mixed)
    story.clock.advance(HOUR)
    version = version_of_current(story, "launched")
    backfill(story.database, version, story.now - A_DAY, clock=story.clock, actor="test", confirm=1)
    assert findings(story) == []
    story.run(mixed)
    assert findings(story) == []


def test_two_events_with_one_endless_key_are_one_broadcast(story: Story) -> None:
    story.launch(LAUNCHED)
    for number in ("p-1", "p-2"):
        story.announces("launch", number, id="x" * 500)
    story.run(LAUNCHED)
    assert findings(story) == []


def test_what_a_silence_would_have_met_before_the_campaign_followed_the_clock_is_no_late_event(story: Story) -> None:
    ana = story.contact("ana", consents=["news"])
    first = replace(QUIET, trigger=event("buy"))
    story.launch(first)
    began = story.now
    story.clock.advance(A_DAY)
    story.run(QUIET)
    story.clock.advance(HOUR)
    story.run(QUIET)
    story.happened("look", ana, at=began + HOUR)
    story.happened("look", ana, at=story.now - 2 * HOUR)  # its silence lasts from now on, and is met
    story.run(QUIET)
    assert story.enrollments == []
    assert findings(story) == []
    story.clock.advance(2 * HOUR)
    story.run(QUIET)
    assert len(story.enrollments) == 1
    assert findings(story) == []


def test_a_step_is_counted_from_what_a_stage_s_event_is_about_and_from_no_list(story: Story) -> None:
    staged = replace(
        ASKED, trigger=stage_entered("purchase"), steps=(*ASKED.steps, Email("two", "note", after=days(9)))
    )
    ana = story.contact("ana", consents=["news"])
    story.launch(staged)
    story.happened("order", ana, order_id=7)
    (order,) = story.rows(Event)
    with story.database.write() as connection:
        connection.execute(
            insert(Transition).values(
                contact_id=ana, to_stage="purchase", at=story.now, cause="rule", cause_event_id=order.id,
                recorded_at=story.now, position=ingest_position(connection),
            )
        )  # fmt: skip
    story.clock.advance(A_DAY)
    story.happened("delivery", ana, order_id=7)
    story.happened("delivery", ana, order_id=["7"])
    for _ in range(4):
        story.clock.advance(A_DAY)
        story.run(staged)
        assert findings(story) == []
    (message,) = story.messages
    assert message.due_at - order.occurred_at == 3 * A_DAY


def test_a_message_that_waits_is_counted_anew_from_what_became_known(story: Story) -> None:
    ana = story.contact("ana", consents=["news"], paused_until=story.now + 3 * A_DAY)
    story.launch(ASKED)
    story.happened("order", ana, order_id=7)
    (order,) = story.rows(Event)
    for expected in ({}, {"deferred: contact_paused": 1}, {"deferred: counted_anew": 1}, {"accepted": 1}):
        story.run(ASKED)
        assert story.states() == expected
        assert findings(story) == []
        if "deferred: contact_paused" in expected:
            story.happened("delivery", ana, order_id="7")  # in words here, a number there
        story.clock.advance(A_DAY if expected else 2 * A_DAY)
    (message,) = story.messages
    assert message.due_at - order.occurred_at == 4 * A_DAY
