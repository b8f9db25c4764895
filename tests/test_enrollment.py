"""Enrolling: occurrences, re-entry, history on request, and the cursor that never passes over anything."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.event import listen
from sqlmodel import col

from evergreet.audit import audit
from evergreet.campaign import TRANSACTIONAL, Campaign, Email, Options, event, local, stage_entered
from evergreet.campaigns import State, Version, due_campaigns, register, required, version_of
from evergreet.clock import FrozenClock
from evergreet.conditions import attribute, did
from evergreet.database import Database, ingest_position
from evergreet.durations import days
from evergreet.enrollment import backfill, enroll, schedule
from evergreet.errors import EvergreetError
from evergreet.schedule import due_time
from evergreet.settings import Settings
from models import CampaignRow, Enrollment, Event, Stretch, Transition
from tests.story import THANKS, Story, note


def campaign(**words: Any) -> Campaign:
    return Campaign(
        **{
            "name": "thanks",
            "trigger": event("order_placed", key="order_id"),
            "steps": (Email("receipt", template="note", purpose=TRANSACTIONAL),),
            **words,
        }
    )


def occurrences(story: Story) -> list[str]:
    return [row.occurrence for row in story.enrollments if row.state != "excluded"]


def clean(story: Story) -> bool:
    return all(one.clean for one in audit(story.database, story.clock))


def moved(story: Story, contact: int, stage: str, cause_event: int | None, at: datetime | None = None) -> None:
    with story.database.write() as connection:
        connection.execute(
            insert(Transition).values(
                contact_id=contact, to_stage=stage, at=at or story.now, cause="rule" if cause_event else "import",
                cause_event_id=cause_event, recorded_at=story.now, position=ingest_position(connection),
            )
        )  # fmt: skip


def test_two_orders_are_two_occurrences_and_one_order_told_twice_is_one(story: Story) -> None:
    ana = story.contact("ana")
    story.launch()
    story.happened("order_placed", ana, order_id="A-1")
    story.happened("order_placed", ana, order_id="A-1")
    story.happened("order_placed", ana, order_id=2)
    story.run()
    assert occurrences(story) == ["order_placed:A-1", "order_placed:2"]


def test_an_event_without_its_key_is_an_occurrence_of_its_own(story: Story) -> None:
    ana = story.contact("ana")
    story.launch()
    story.happened("order_placed", ana, order_id=None)
    story.run()
    assert occurrences(story) == ["event:test:e2"]


def test_a_correction_never_makes_a_new_occurrence_and_is_what_the_template_sees(story: Story) -> None:
    ana = story.contact("ana")
    story.launch()
    story.happened("order_placed", ana, order_id="A-1")
    with story.database.write() as connection:
        connection.execute(update(Event).values(superseded=True))
        connection.execute(
            insert(Event).values(
                contact_id=ana, name="order_placed", occurred_at=story.now, source="test", source_id="e2", revision=1,
                ingested_at=story.now, position=ingest_position(connection), properties={"order_id": "A-9"},
            )
        )  # fmt: skip
    story.run()
    assert occurrences(story) == ["order_placed:A-1"]


def test_a_stage_and_the_event_that_caused_it_enroll_once(story: Story) -> None:
    both = campaign(trigger=stage_entered("purchase") | event("order_placed", key="order_id"))
    ana = story.contact("ana")
    story.launch(both)
    story.happened("order_placed", ana, order_id="A-1")
    moved(story, ana, "purchase", story.rows(Event)[0].id)
    story.run(both)
    assert occurrences(story) == ["order_placed:A-1"]


def test_a_stage_set_by_a_file_is_an_occurrence_too(story: Story) -> None:
    staged = campaign(trigger=stage_entered("purchase"))
    ana = story.contact("ana")
    story.launch(staged)
    moved(story, ana, "purchase", None)
    moved(story, ana, "bonding", None)
    story.run(staged)
    assert occurrences(story) == ["transition:1"]
    assert story.sender.recipients == ["ana@example.org"]


def test_who_is_outside_the_audience_is_recorded_with_the_reason(story: Story) -> None:
    german = campaign(audience=attribute("country") == "DE")
    ana, ben = story.contact("ana", attributes={"country": "DE", "first_name": "A"}), story.contact("ben")
    story.launch(german)
    story.happened("order_placed", ana, ben)
    report = story.run(german)
    assert (report.enrolled, report.excluded) == (1, 1)
    assert [(row.state, row.reason) for row in story.enrollments] == [("finished", ""), ("excluded", "not_in_audience")]
    assert report.balance.due == 1


def test_once_means_once_in_a_life(story: Story) -> None:
    once = campaign(re_entry="once")
    ana = story.contact("ana")
    story.launch(once)
    story.happened("order_placed", ana, ana)
    story.run(once)
    story.happened("order_placed", ana)
    story.run(once)
    assert occurrences(story) == ["once"]


def test_not_again_within_a_time_counts_from_the_last_enrollment(story: Story) -> None:
    spaced = campaign(re_entry=days(10))
    ana = story.contact("ana")
    start = story.now
    story.launch(spaced)
    for day in (0, 4, 9, 10, 15, 21):
        story.happened("order_placed", ana, at=start + timedelta(days=day), order_id=f"day-{day}")
    story.clock.advance(timedelta(days=30))
    story.run(spaced)
    enrolled = {row.occurrence: row.state for row in story.enrollments}
    assert [name for name, state in enrolled.items() if state != "excluded"] == [
        "order_placed:day-0", "order_placed:day-10", "order_placed:day-21",
    ]  # fmt: skip
    assert len(enrolled) == 6, "the others are recorded as excluded"
    assert {row.reason for row in story.enrollments if row.state == "excluded"} == {"re_entry"}


def test_history_is_counted_first_and_taken_in_only_with_that_count(story: Story) -> None:
    people = story.contacts(3)
    story.happened("order_placed", *people, at=story.now - timedelta(days=1))
    story.happened("order_placed", *people, at=story.now - timedelta(days=40))
    story.launch()
    since = story.now - timedelta(days=30)

    def take(confirm: int | None) -> int:
        with story.database.write() as connection:
            version = register(connection, THANKS, Options(), note, story.now)
        return backfill(story.database, version, since, clock=story.clock, actor="test", confirm=confirm)

    assert take(None) == 3
    assert story.enrollments == []
    with pytest.raises(EvergreetError, match=r"3 enrollments would be made .* not 6"):
        take(6)
    assert story.enrollments == []
    assert take(3) == 3
    assert take(None) == 0, "taken in already"
    assert story.run().enrolled == 0
    assert len(story.sender.sent) == 3


def test_the_cursor_moves_in_the_same_transaction_and_its_stretches_touch(story: Story) -> None:
    story.launch()
    people = story.contacts(2)
    for _ in range(3):
        story.happened("order_placed", *people)
        story.run()
        story.run()  # nothing new
    stretches = [row for row in story.rows(Stretch) if row.enrolled]
    with story.database.read() as connection:
        state = required(connection, "thanks")
    every = sorted(story.rows(Stretch), key=lambda row: row.low)
    assert [row.enrolled for row in stretches] == [2, 2, 2]
    assert every[0].low == state.scanned_from
    assert every[-1].high == state.scanned_to
    assert all(before.high == after.low for before, after in pairwise(every))


def test_empty_stretches_grow_instead_of_becoming_many(story: Story) -> None:
    story.launch()
    for _ in range(5):
        story.contact("ben")
        story.run()
    assert len(story.rows(Stretch)) == 1


def test_a_database_restored_into_a_new_server_is_refused(story: Story) -> None:
    story.launch()
    with story.database.write() as connection:
        connection.execute(update(CampaignRow).values(scanned_to=2**40))
    with pytest.raises(EvergreetError, match="restored from a logical backup"):
        story.run()


def test_due_campaigns_names_only_those_with_something_due_transactional_first(story: Story) -> None:
    mail = campaign(name="a-news", topic="orders", steps=(Email("news", template="note", after=days(1)),))
    urgent = campaign(name="z-receipt")
    idle = campaign(name="idle", trigger=event("never"))
    for each in (mail, urgent, idle):
        story.launch(each)

    def due() -> list[str]:
        with story.database.read() as connection:
            return due_campaigns(connection, story.now)

    assert due() == []
    story.happened("login", story.contact("ben"))
    assert due() == []
    story.happened("order_placed", story.contact("ana", consents=["orders"]))
    assert due() == ["z-receipt", "a-news"]
    story.run(mail)
    story.run(urgent)
    assert due() == []
    story.run(idle)
    story.clock.advance(timedelta(days=1))
    assert due() == ["a-news"]


def test_local_times_use_the_zone_of_each_contact(story: Story) -> None:
    from datetime import UTC, time

    from evergreet.campaign import local

    morning = campaign(topic="orders", steps=(Email("hi", template="note", after=days(1), at=local(time(10))),))
    story.settings = Settings(secret_keys=("k",), default_timezone="Europe/Berlin")
    people = [
        story.contact("aki", timezone="Asia/Tokyo"),
        story.contact("cy", timezone="Pacific/Chatham"),
        story.contact("no", timezone=None),
        story.contact("odd", timezone="Mars/Olympus"),
    ]
    story.launch(morning)
    story.happened("order_placed", *people)
    story.run(morning)
    assert [row.next_due_at for row in story.enrollments] == [
        datetime(2026, 3, 11, 1, 0, tzinfo=UTC),
        datetime(2026, 3, 11, 20, 15, tzinfo=UTC),
        datetime(2026, 3, 11, 9, 0, tzinfo=UTC),
        datetime(2026, 3, 11, 9, 0, tzinfo=UTC),
    ]
    assert [row.zone for row in story.enrollments] == [
        "Asia/Tokyo", "Pacific/Chatham", "Europe/Berlin", "Europe/Berlin",
    ]  # fmt: skip


def test_business_events_enroll_nobody(story: Story) -> None:
    story.launch()
    with story.database.write() as connection:
        connection.execute(
            insert(Event).values(
                contact_id=None, name="order_placed", occurred_at=story.now, source="test", source_id="b1",
                ingested_at=story.now, position=ingest_position(connection), properties={},
            )
        )  # fmt: skip
    assert story.run().enrolled == 0


def test_conditions_of_the_audience_are_asked_when_the_trigger_is_scanned(story: Story) -> None:
    second = campaign(audience=did("order_placed", at_least=2))
    ana, ben = story.contact("ana"), story.contact("ben")
    story.launch(second)
    story.happened("order_placed", ana, ana, ben)
    story.run(second)
    assert story.sender.recipients == ["ana@example.org", "ana@example.org"]


def test_a_version_holds_everything_that_old_enrollments_run_from(story: Story) -> None:
    with story.database.write() as connection:
        version: Version = register(connection, THANKS, Options(), note, story.now)
        again = register(connection, THANKS, Options(batch_size=5), note, story.now)
        state: State = required(connection, "thanks")
    assert version.id == again.id == state.version_id, "what only steers a run is not part of a version"
    assert version.campaign == THANKS
    assert version.templates == {"note": "0" * 64}


def test_once_holds_for_moves_that_no_event_caused(story: Story) -> None:
    vip = campaign(trigger=stage_entered("vip"), re_entry="once")
    story.launch(vip)
    ana = story.contact("ana")
    for _ in range(2):
        moved(story, ana, "vip", None)
        story.run(vip)
        story.clock.advance(timedelta(days=1))
    assert occurrences(story) == ["once"]
    assert clean(story)


def test_a_move_caused_by_a_correction_is_an_occurrence_of_the_event_as_first_told(story: Story) -> None:
    either = campaign(trigger=event("order_placed", key="order_id") | stage_entered("buyer"))
    story.launch(either)
    ana = story.contact("ana")
    story.happened("order_placed", ana, order_id="A-1")
    with story.database.write() as connection:
        told = connection.execute(select(Event)).one()
        connection.execute(update(Event).values(superseded=True))
        correction = connection.execute(
            insert(Event)
            .values(
                contact_id=ana, name="order_placed", occurred_at=told.occurred_at, source=told.source,
                source_id=told.source_id, revision=1, ingested_at=story.now, position=ingest_position(connection),
                properties={"order_id": "A-2"},
            )
            .returning(col(Event.id))
        ).scalar_one()  # fmt: skip
    moved(story, ana, "buyer", correction)
    story.run(either)
    assert occurrences(story) == ["order_placed:A-1"]
    assert clean(story)


def test_a_due_time_is_never_written_to_another_step_than_it_was_counted_for(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker plans the step and moves the enrollment on while this one still counts."""
    steps = tuple(
        Email(key, template="note", purpose=TRANSACTIONAL, after=days(number), at=local(9))
        for number, key in enumerate(("first", "second"), start=1)
    )
    two = campaign(steps=steps)
    story.launch(two)
    story.happened("order_placed", story.contact("ana"))
    with story.database.write() as connection:
        state = required(connection, "thanks")
        assert state.version_id is not None
        version = version_of(connection, state.version_id)
        enroll(connection, state, version, story.now)

        def meanwhile(step: Email, caused_at: datetime, zone: ZoneInfo) -> datetime:
            connection.execute(update(Enrollment).values(next_step="second"))
            return due_time(step, caused_at, zone)

        monkeypatch.setattr("evergreet.enrollment.due_time", meanwhile)
        schedule(connection, {version.id: version}, state.id, "UTC")
    assert [(row.next_step, row.next_due_at) for row in story.enrollments] == [("second", None)]


def test_asking_what_is_due_reads_no_table_from_end_to_end(sqlite_url: str, clock: FrozenClock) -> None:
    database = Database(sqlite_url)
    story = Story(database, clock)
    story.launch()
    story.happened("order_placed", *story.contacts(500))
    story.run()
    plans: list[str] = []

    def look(connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        if "EXISTS" in statement and not statement.startswith("EXPLAIN"):
            cursor = connection.connection.cursor()
            plans.extend(row[3] for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

    listen(database.engine, "before_cursor_execute", look)
    with database.read() as connection:
        assert due_campaigns(connection, story.now) == []
    database.close()
    assert any("ix_message_waiting" in line for line in plans)
    assert [line for line in plans if line.startswith(("SCAN message", "SCAN enrollment", "SCAN event"))] == []


def test_a_campaign_whose_event_is_rare_moves_its_cursor_on_all_the_same(story: Story) -> None:
    def due(later: timedelta) -> list[str]:
        story.clock.advance(later)
        with story.database.read() as connection:
            return due_campaigns(connection, story.now)

    story.launch()
    ana = story.contact("ana")
    assert due(timedelta(hours=2)) == [], "nothing was told"
    for _ in range(2):
        story.happened("page_viewed", ana)
        assert due(timedelta(hours=1)) == ["thanks"], "else every look reads all that was told since"
        assert story.run().enrolled == 0
        assert due(timedelta(hours=2)) == []
    story.happened("page_viewed", ana)
    story.happened("order_placed", ana)
    assert due(timedelta(0)) == ["thanks"]
    story.run()
    story.happened("page_viewed", ana)
    assert due(timedelta(minutes=59)) == []
    assert due(timedelta(minutes=1)) == ["thanks"]
