"""Silences and anniversaries: whatever is told when, and however often is looked, as a naive count in plain Python."""

import itertools
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, update
from sqlalchemy.event import listen
from sqlmodel import col

from evergreet.audit import audit
from evergreet.broadcasts import confirm
from evergreet.campaign import Campaign, Email, Options, anniversary, broadcast, event, silence
from evergreet.campaigns import due_campaigns, launch, required, stop, version_of
from evergreet.causes import Reach
from evergreet.clock import FrozenClock
from evergreet.clock_causes import Span, add_months, anniversaries, silences
from evergreet.database import Database, ingest_position
from evergreet.durations import hours
from evergreet.enrollment import enroll
from models import CampaignRow, Contact, Enrollment, Event
from tests.conftest import NOW
from tests.story import Story, note

HOUR, A_DAY = timedelta(hours=1), timedelta(days=1)
names = (f"c{number}" for number in itertools.count(1))

quiet = settings(
    max_examples=4,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def launched(database: Database, trigger: Any, at: datetime, **words: Any) -> tuple[Story, Campaign]:
    """A new campaign on a store that may know others already."""
    story = Story(database, FrozenClock(at))
    campaign = Campaign(next(names), trigger, (Email("one", "note"),), topic="news", **words)
    launch(database, campaign, Options(), note, clock=story.clock, actor="test")
    return story, campaign


def looks(story: Story, campaign: Campaign, zone: str = "UTC") -> None:
    """Enroll as of now; the audit of this campaign is clean."""
    with story.database.write() as connection:
        state = required(connection, campaign.name)
        assert state.version_id is not None
        enroll(connection, state, version_of(connection, state.version_id), story.now, zone)
    mine = [one for one in audit(story.database, story.clock) if one.campaign == campaign.name]
    assert [one.findings for one in mine] == [()]


def enrolled(story: Story, campaign: Campaign) -> list[tuple[int, str]]:
    """Who is enrolled, with the occurrence; nobody twice in the same."""
    with story.database.read() as connection:
        rows = connection.execute(
            select(col(Enrollment.contact_id), col(Enrollment.occurrence))
            .join(CampaignRow, col(CampaignRow.id) == col(Enrollment.campaign_id))
            .where(col(CampaignRow.name) == campaign.name)
        ).tuples()
        return sorted(rows)


def retire(story: Story, campaign: Campaign) -> None:
    """Nothing that comes after concerns this campaign."""
    stop(story.database, campaign.name, clock=story.clock, actor="test")


def tells(story: Story, contact: int, name: str, at: datetime, source_id: str, revision: int = 0) -> None:
    """Store an event, or a correction of it."""
    with story.database.write() as connection:
        connection.execute(update(Event).where(col(Event.source_id) == source_id).values(superseded=True))
        connection.execute(
            insert(Event).values(
                contact_id=contact, name=name, occurred_at=at, source="test", source_id=source_id, revision=revision,
                ingested_at=story.now, position=ingest_position(connection), properties={},
            )
        )  # fmt: skip


# Silences. Times lie on whole hours, so that spans of three hours meet their boundaries.

Told = tuple[int, str, int, int | None, int]
"""Whose event of three, which, at what hour, corrected to what hour if at all, and how many hours later told."""


def a_log(chance: Random) -> list[Told]:
    """Draw a log in which every word, hour and delay is equally likely: that is where the faults are."""
    return [
        (
            chance.randrange(3),
            chance.choice(("look", "look", "look", "buy", "buy", "other")),
            chance.randrange(41),
            chance.choice((None, chance.randrange(41))),
            chance.choice((0, 0, 1, 4, 9, 30)),
        )
        for _ in range(chance.randint(6, 18))
    ]


@quiet
@given(chance=st.randoms(use_true_random=True), having=st.booleans())
def test_silences_are_those_that_a_naive_fold_over_all_that_was_told_finds(
    database: Database, chance: Random, having: bool
) -> None:
    log, launch_at = a_log(chance), chance.choice((0, 0, 5, 20))
    gaps = [chance.choice((1, 2, 5, 13)) for _ in range(chance.randint(5, 10))]
    start = NOW
    began = start + launch_at * HOUR
    trigger = silence(hours(3), after=("look",), broken_by=("buy",), having=("buy",) if having else ())
    story, campaign = launched(database, trigger, began)
    people = [story.contact(next(names)) for _ in range(3)]
    moments = sorted({launch_at, *itertools.accumulate(gaps, initial=launch_at), 90})
    waiting = []
    for number, (whose, name, at, moved, late) in enumerate(log):
        source_id = f"{campaign.name}-{number}"
        waiting.append((at + late, number, whose, name, at, source_id, 0))
        if moved is not None:
            waiting.append((max(at, moved) + late + 1, number, whose, name, moved, source_id, 1))
    waiting.sort(key=lambda row: (row[0], row[1], row[6]))
    for moment in moments:
        story.clock.instant = start + moment * HOUR
        while waiting and waiting[0][0] <= moment:
            _, _, whose, name, at, source_id, revision = waiting.pop(0)
            tells(story, people[whose], name, start + at * HOUR, source_id, revision)
        looks(story, campaign)
    found = set(enrolled(story, campaign))
    retire(story, campaign)

    def lasting(whose: int) -> Iterator[str]:
        final = [
            (name, at if moved is None else moved, f"{campaign.name}-{number}")
            for number, (who, name, at, moved, _late) in enumerate(log)
            if who == whose
        ]
        bought = min((at for name, at, _ in final if name == "buy"), default=1_000)
        for name, at, source_id in final:
            ends = at + 3
            broken = any(other in {"look", "buy"} and at < when <= ends for other, when, _ in final)
            if name == "look" and launch_at <= ends < 90 and not broken and (bought <= at or not having):
                yield source_id

    for whose, contact in enumerate(people):
        mine = {name.removeprefix("silence:test:") for each, name in found if each == contact}
        certain = {source_id for source_id in lasting(whose) if alone(log, whose, source_id, campaign.name)}
        assert certain <= mine, "a silence that lasted was missed"
        if all(moved is None and late == 0 for who, _, _, moved, late in log if who == whose):
            assert mine <= set(lasting(whose)) | tied(log, whose, campaign.name), "somebody was not silent"


def alone(log: list[Told], whose: int, source_id: str, prefix: str) -> bool:
    """Whether no other event that counts has the same time: then nobody need say which of them was the last."""
    at = {f"{prefix}-{number}": (moved if moved is not None else when)
          for number, (who, name, when, moved, _) in enumerate(log) if who == whose and name != "other"}  # fmt: skip
    return list(at.values()).count(at[source_id]) == 1


def tied(log: list[Told], whose: int, prefix: str) -> set[str]:
    """The events that share their time with another."""
    return {
        f"{prefix}-{number}"
        for number, (who, name, *_rest) in enumerate(log)
        if who == whose and name != "other" and not alone(log, whose, f"{prefix}-{number}", prefix)
    }


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (("look", "A"), ("look", "B"), ["silence:test:B"]),
        (("look", "A"), ("buy", "B"), []),
        (("buy", "A"), ("look", "B"), []),
    ],
)
def test_of_two_events_at_one_moment_the_one_told_last_counts_but_what_ends_a_silence_in_any_order(
    story: Story, first: tuple[str, str], second: tuple[str, str], expected: list[str]
) -> None:
    story, campaign = launched(story.database, silence(hours(3), after=("look",), broken_by=("buy",)), NOW)
    ana = story.contact("ana")
    for name, source_id in (first, second):
        tells(story, ana, name, NOW, source_id)
    story.clock.advance(4 * HOUR)
    looks(story, campaign)
    assert [name for _, name in enrolled(story, campaign)] == expected


# Anniversaries.

ZONES = ("Pacific/Kiritimati", "Pacific/Auckland", "Asia/Kathmandu", "Europe/London", "America/Los_Angeles", None,
         "Pacific/Niue", "Africa/Cairo")  # fmt: skip
DATES = (date(2020, 2, 29), date(2023, 2, 28), date(2023, 3, 1), date(2024, 2, 29), date(2022, 12, 31),
         date(2021, 1, 1), date(2023, 3, 26), date(2023, 10, 29), date(2024, 5, 31))  # fmt: skip


@quiet
@given(chance=st.randoms(use_true_random=True))
def test_nobody_misses_an_anniversary_that_came_while_live_and_nobody_has_one_twice(
    database: Database, chance: Random
) -> None:
    people = [
        (chance.choice(DATES), chance.randrange(24 * 60), chance.choice(ZONES)) for _ in range(chance.randint(2, 6))
    ]
    launch_on, months, shift = chance.randrange(500), chance.choice((12, 12, 1, 5)), chance.choice((0, 0, -7, 3))
    gaps = [chance.choice((1, 6, 24, 25, 24 * 9, 24 * 100)) for _ in range(chance.randint(5, 14))]
    began = datetime(2024, 6, 1, 7, 30, tzinfo=UTC) + launch_on * A_DAY
    first = f"first-{next(names)}"
    story, campaign = launched(database, anniversary(first, months=months, shift=shift), began)
    contacts: dict[int, tuple[datetime, ZoneInfo]] = {}
    for day, minute, zone in people:
        contact = story.contact(next(names), timezone=zone)
        at = datetime.combine(day, time(), UTC) + minute * timedelta(minutes=1)
        tells(story, contact, first, at, next(names))
        tells(story, contact, first, at + 40 * A_DAY, next(names))
        contacts[contact] = (at, ZoneInfo(zone or "Europe/Berlin"))
    for gap in (0, *gaps):
        story.clock.advance(gap * HOUR)
        looks(story, campaign, "Europe/Berlin")
        looks(story, campaign, "Europe/Berlin")
    found = enrolled(story, campaign)
    retire(story, campaign)
    assert len(found) == len(set(found))
    for contact, (at, home) in contacts.items():
        due, may = set(), set()
        for nth in range(1, 80):
            day = add_months(at.astimezone(home).date(), nth * months) + timedelta(days=shift)
            begins = datetime.combine(day, time(), home).astimezone(UTC)
            if began <= begins <= story.now:
                due.add(f"anniversary:{nth}")
            if began <= begins <= story.now + A_DAY + 2 * HOUR:
                may.add(f"anniversary:{nth}")
        mine = {numbered(name) for each, name in found if each == contact}
        assert due <= mine <= may


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        (date(2024, 2, 29), 12, date(2025, 2, 28)),
        (date(2024, 2, 29), 48, date(2028, 2, 29)),
        (date(2023, 8, 31), 6, date(2024, 2, 29)),
        (date(2023, 12, 31), 2, date(2024, 2, 29)),
        (date(2023, 1, 31), -2, date(2022, 11, 30)),
        (date(2023, 1, 15), 1200, date(2123, 1, 15)),
        (date(9999, 6, 1), 12, date.max),
        (date(1, 1, 1), -12, date.min + timedelta(days=10)),
    ],
)
def test_months_are_added_on_the_calendar_and_end_with_it(day: date, months: int, expected: date) -> None:
    assert add_months(day, months) == expected


def test_erased_contacts_have_no_anniversaries(story: Story) -> None:
    story, campaign = launched(story.database, anniversary("order_placed"), NOW)
    ana = story.contact("ana")
    tells(story, ana, "order_placed", NOW - 364 * A_DAY, "o-1")
    with story.database.write() as connection:
        connection.execute(update(Contact).values(erased_at=story.now))
    story.clock.advance(5 * A_DAY)
    looks(story, campaign)
    assert enrolled(story, campaign) == []


def test_an_anniversary_of_a_month_is_at_least_half_a_month_after_the_last(story: Story) -> None:
    story, campaign = launched(story.database, anniversary("order_placed", months=1), NOW)
    ana = story.contact("ana")
    tells(story, ana, "order_placed", NOW - 20 * A_DAY, "o-1")
    story.clock.advance(12 * A_DAY)
    looks(story, campaign)
    tells(story, ana, "order_placed", NOW - 41 * A_DAY, "o-1", 1)  # ten days earlier in the month: number two comes now
    story.clock.advance(20 * A_DAY)
    looks(story, campaign)
    assert [numbered(name) for _, name in enrolled(story, campaign)] == ["anniversary:1", "anniversary:2"]
    assert sorted((numbered(row.occurrence), row.state) for row in story.enrollments)[0] == ("anniversary:1", "active")


def test_two_contacts_with_one_address_have_each_their_own_anniversary(story: Story) -> None:
    story, campaign = launched(story.database, anniversary("order_placed"), NOW)
    for name, ago in (("ana", 300), ("ben", 100)):
        contact = story.contact(name, address="both@example.org", consents=("news",))
        tells(story, contact, "order_placed", NOW - ago * A_DAY, f"order of {name}")
    for days in (65, 1, 199, 1):
        story.clock.advance(days * A_DAY)
        looks(story, campaign)
        story.run(campaign)
    assert story.states() == {"accepted": 2}


def test_an_event_corrected_by_a_year_still_has_its_next_anniversary(story: Story) -> None:
    story, campaign = launched(story.database, anniversary("order_placed"), NOW)
    ana = story.contact("ana")
    tells(story, ana, "order_placed", NOW - 725 * A_DAY, "o-1")
    story.clock.advance(20 * A_DAY)
    looks(story, campaign)
    tells(story, ana, "order_placed", NOW - 340 * A_DAY, "o-1", 1)  # a year later than was told
    for _ in range(22):
        story.clock.advance(20 * A_DAY)
        looks(story, campaign)
    active = [numbered(row.occurrence) for row in story.enrollments if row.state == "active"]
    assert active == ["anniversary:2", "anniversary:2"], "the first, twenty days later, would be too close"


# What the dispatcher asks.

ASKING = {
    "silence": silence(hours(3), after=("look",), broken_by=("buy",), having=("first",)),
    "anniversary": anniversary("first"),
    "broadcast": broadcast("launch"),
}


def numbered(name: str) -> str:
    """Return which anniversary it is, without its month and event; other occurrences as they are."""
    return ":".join(name.split(":")[:2]) if name.startswith("anniversary:") else name


def is_due(story: Story) -> bool:
    with story.database.read() as connection:
        return bool(due_campaigns(connection, story.now))


def test_a_silence_is_due_when_it_has_lasted_and_once_an_hour(story: Story) -> None:
    story, campaign = launched(story.database, silence(hours(3), after=("look",), broken_by=("buy",)), NOW)
    ana, ben = story.contact("ana"), story.contact("ben")
    story.clock.instant = NOW + timedelta(minutes=10)
    tells(story, ana, "look", NOW - 2 * HOUR, "a")
    tells(story, ben, "look", NOW - 2 * HOUR, "b")
    tells(story, ben, "buy", NOW - HOUR, "c")
    looks(story, campaign)
    for minute, due in ((20, False), (59, False), (60, False), (61, True)):
        story.clock.instant = NOW + timedelta(minutes=minute)
        assert is_due(story) is due
    looks(story, campaign)
    assert [who for who, _ in enrolled(story, campaign)] == [ana]
    story.run(campaign)
    assert not is_due(story)
    tells(story, ben, "look", NOW - 150 * timedelta(minutes=1), "late")  # broken by the purchase
    assert not is_due(story)
    tells(story, ben, "look", NOW - 10 * timedelta(minutes=1), "d")
    assert not is_due(story)
    story.clock.instant = NOW + timedelta(minutes=121)
    assert is_due(story), "an hour after the last look"
    story.run(campaign)
    assert not is_due(story)


def test_a_silence_told_late_or_by_a_correction_is_due_at_once(story: Story) -> None:
    story, campaign = launched(story.database, silence(hours(3), after=("look",), having=("buy",)), NOW)
    ana, ben, cem = (story.contact(name) for name in ("ana", "ben", "cem"))
    tells(story, cem, "look", NOW - HOUR, "e")
    tells(story, cem, "look", NOW, "f")
    tells(story, cem, "buy", NOW - 9 * HOUR, "g")
    tells(story, ben, "look", NOW - HOUR, "b")
    story.clock.advance(5 * HOUR)
    story.run(campaign)
    assert not is_due(story)
    tells(story, ben, "buy", NOW - 2 * HOUR, "a")
    assert is_due(story), "what came before is told now"
    story.run(campaign)
    assert not is_due(story)
    tells(story, cem, "look", NOW - 8 * HOUR, "f", 1)
    assert is_due(story), "nothing broke it after all"
    story.run(campaign)
    assert not is_due(story)
    assert {who for who, _ in enrolled(story, campaign)} == {ben, cem}
    assert ana not in {who for who, _ in enrolled(story, campaign)}


def test_an_anniversary_is_due_when_a_day_has_begun_and_when_an_old_event_is_told(story: Story) -> None:
    story, campaign = launched(story.database, anniversary("first"), NOW)  # noon: the day begins at ten, in the east
    story.run(campaign)
    for minutes, due in ((0, False), (59, False), (60, True)):
        story.clock.instant = NOW + timedelta(minutes=minutes)
        assert is_due(story) is due
    story.clock.instant = NOW.replace(hour=9, minute=30) + A_DAY
    story.run(campaign)
    story.clock.instant = NOW.replace(hour=9, minute=59) + A_DAY
    assert not is_due(story)
    tells(story, story.contact("ana"), "first", NOW - A_DAY, "new")
    assert not is_due(story), "its first anniversary is a year away"
    tells(story, story.contact("ben"), "first", NOW - 400 * A_DAY, "old")
    assert is_due(story)
    story.run(campaign)
    assert not is_due(story)
    story.clock.instant = NOW.replace(hour=10) + A_DAY
    assert is_due(story)


def test_a_broadcast_is_due_when_a_product_is_launched_and_not_while_it_waits(story: Story) -> None:
    story, campaign = launched(story.database, broadcast("launch"), NOW, confirm_above=0)
    story.contact("ana", consents=["news"])
    story.clock.advance(9 * HOUR)
    assert not is_due(story), "no clock is followed"
    story.announces("launch", "p-1")
    assert is_due(story)
    story.run(campaign)
    assert not is_due(story)
    confirm(story.database, campaign.name, "event:test:p-1", 1, clock=story.clock, actor="test")
    assert is_due(story)
    story.run(campaign)
    assert not is_due(story)


@pytest.mark.parametrize("kind", ASKING)
def test_asking_what_is_due_reads_no_table_from_end_to_end(kind: str, sqlite_url: str) -> None:
    database = Database(sqlite_url)
    story, campaign = launched(database, ASKING[kind], NOW)
    people = story.contacts(300, consents=["news"])
    for name, ago in (("first", 400), ("look", 5), ("look", 3), ("launch", 2)):
        story.happened(name, *people, at=NOW - ago * A_DAY)
    story.clock.advance(HOUR)
    story.run(campaign)
    story.clock.advance(timedelta(minutes=5))
    plans: list[str] = []

    def look(connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        if "event" in statement and not statement.startswith("EXPLAIN"):
            cursor = connection.connection.cursor()
            plans.extend(row[3] for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

    listen(database.engine, "before_cursor_execute", look)
    assert not is_due(story)
    database.close()
    assert any("ix_message_waiting" in line for line in plans)
    tables = tuple(f"SCAN {table}" for table in ("message", "enrollment", "event", "contact", "consent"))
    assert [line for line in plans if line.startswith(tables)] == []
    assert [line for line in plans if line.endswith("ix_event_position (position<?)")] == [], "that is all of it"


def test_a_look_at_the_clock_reads_only_the_events_of_its_days(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    story = Story(database, FrozenClock(NOW))
    story.happened("first", *story.contacts(2), at=NOW - 800 * A_DAY)
    plans: list[str] = []

    def look(connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        if statement.startswith("SELECT"):
            cursor = connection.connection.cursor()
            plans.extend(row[3] for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

    listen(database.engine, "before_cursor_execute", look)
    span, reach = Span(NOW, NOW + A_DAY, NOW), Reach(1, 2, NOW)
    with database.read() as connection:
        quiet_ones = ASKING["silence"].silences[0]
        connection.execute(
            silences(Campaign("c", ASKING["silence"], (Email("one", "note"),), topic="t"), quiet_ones, span, reach)
        )
        anniversaries(connection, ASKING["anniversary"].anniversaries[0], span, "UTC")
    database.close()
    events = [line for line in plans if "event" in line and "contact_id=?" not in line]
    assert len(events) >= 3
    assert all("INDEX ix_event_name_occurred_at (name=?" in line for line in events), events
    assert sum("occurred_at>? AND occurred_at<?" in line for line in events) >= 2, events


def test_anniversaries_keep_apart_from_each_other_and_from_nothing_else(story: Story) -> None:
    story, campaign = launched(story.database, event("look") | anniversary("first"), NOW)
    ana = story.contact("ana")
    tells(story, ana, "first", NOW - 360 * A_DAY, "first")
    for number in range(3):
        tells(story, ana, "look", story.now, f"look-{number}")
        looks(story, campaign)
        story.clock.advance(5 * A_DAY)
    looks(story, campaign)
    tells(story, ana, "first", NOW - 700 * A_DAY, "first", 1)  # the second one follows in weeks
    story.clock.advance(30 * A_DAY)
    looks(story, campaign)
    assert [(numbered(row.occurrence), row.state) for row in story.enrollments] == [
        ("event:test:look-0", "active"), ("anniversary:1", "active"), ("event:test:look-1", "active"),
        ("event:test:look-2", "active"), ("anniversary:2", "excluded"),
    ]  # fmt: skip
