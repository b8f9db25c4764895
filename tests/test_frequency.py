"""How often and when: caps over all and per topic, who is first, send windows, downtime; and no row is ever lost."""

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert, select, update
from sqlmodel import col

from evergreet.audit import audit
from evergreet.campaign import TRANSACTIONAL, Campaign, Email, Options, broadcast, event, local, send_window
from evergreet.campaigns import pause, resume, stop
from evergreet.caps import COMPETING, Limit, limits_of, wait_for_place
from evergreet.consent import choose_spacing
from evergreet.database import ingest_position
from evergreet.durations import days, hours
from evergreet.settings import Cap, Settings
from models import CampaignRow, Contact, Event, Message
from tests.documents import ROOT, Workplace, blocks
from tests.story import Story

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def lifecycle(name: str, **step: Any) -> Campaign:
    """One marketing email at an event; the campaign is named after the event and its topic."""
    return Campaign(name=name, topic=name, trigger=event(name), steps=(Email("hello", template="note", **step),))


ORDERS, OFFERS = lifecycle("orders"), lifecycle("offers")
NEWS = Campaign(name="news", topic="news", trigger=broadcast("launched"), steps=(Email("hello", template="note"),))
TOPICS = ("orders", "offers", "news")


def given_settings(story: Story, **values: Any) -> None:
    story.settings = Settings(secret_keys=("k",), **values)


def announce(story: Story) -> None:
    """Store a business event: one about no contact."""
    with story.database.write() as connection:
        connection.execute(
            insert(Event).values(
                name="launched", occurred_at=story.now, source="test", source_id=f"b{next(story.counter)}",
                ingested_at=story.now, position=ingest_position(connection), properties={},
            )
        )  # fmt: skip


def told(story: Story, campaign: Campaign) -> list[str]:
    """Say how each message of the campaign stands, in the order they were planned."""
    with story.database.read() as connection:
        rows = connection.execute(
            select(col(Message.state), col(Message.reason))
            .join(CampaignRow, col(CampaignRow.id) == col(Message.campaign_id))
            .where(col(CampaignRow.name) == campaign.name)
            .order_by(col(Message.id))
        )
        return [f"{row.state}: {row.reason}".removesuffix(": ") for row in rows]


def test_which_caps_a_message_is_under() -> None:
    of = Settings(secret_keys=("k",), cap=3, cap_days=7, topic_caps={"offers": Cap(messages=1, days=14)})
    overall, offers = Limit("frequency_cap", 3, 7 * DAY), Limit("topic_cap", 1, 14 * DAY, "offers")
    assert limits_of(of, "offers") == (overall, offers)
    assert limits_of(of, "news") == (overall,)
    assert limits_of(Settings(secret_keys=("k",)), "offers") == ()


def test_a_topic_has_a_cap_of_its_own_over_all_campaigns_and_within_a_window(story: Story) -> None:
    given_settings(story, topic_caps={"offers": Cap(messages=2, days=7)})
    more = Campaign(name="more", topic="offers", trigger=event("more"), steps=OFFERS.steps)
    ana = story.contact("ana", consents=TOPICS)
    for campaign in (ORDERS, OFFERS, more):
        story.launch(campaign)
    story.happened("offers", ana)
    story.run(OFFERS)
    story.happened("orders", ana, ana)
    story.run(ORDERS)
    story.happened("more", ana, ana)
    story.run(more)
    assert told(story, ORDERS) == ["accepted"] * 2, "another topic"
    assert told(story, more) == ["accepted", "skipped: topic_cap"]


def test_a_transactional_message_of_the_topic_takes_no_place(story: Story) -> None:
    given_settings(story, topic_caps={"offers": Cap(messages=1, days=7)}, cap=1)
    both = Campaign(
        name="both", topic="offers", trigger=event("offers"),
        steps=(Email("receipt", template="note", purpose=TRANSACTIONAL), Email("hello", template="note")),
    )  # fmt: skip
    story.launch(both)
    story.happened("offers", story.contact("ana", consents=TOPICS))
    story.run(both)
    assert told(story, both) == ["accepted"] * 2


@pytest.mark.parametrize(
    ("cap_days", "topic_days", "reason", "waits"), [(1, 2, "topic_cap", 2 * DAY), (2, 1, "frequency_cap", 2 * DAY)]
)
def test_where_two_caps_are_full_the_one_that_frees_last_counts(
    story: Story, cap_days: int, topic_days: int, reason: str, waits: timedelta
) -> None:
    given_settings(story, cap=1, cap_days=cap_days, topic_caps={"offers": Cap(messages=1, days=topic_days)})
    ana = story.contact("ana", consents=TOPICS)
    story.launch(OFFERS)
    story.happened("offers", ana)
    story.run(OFFERS)
    first = story.now
    story.clock.advance(HOUR)
    story.happened("offers", ana)
    story.run(OFFERS)
    assert told(story, OFFERS) == ["accepted", f"deferred: {reason}"]
    assert story.messages[1].not_before == first + waits
    story.clock.instant = first + waits
    story.run(OFFERS)
    assert told(story, OFFERS) == ["accepted", "accepted"]


def test_a_place_is_free_again_at_the_very_end_of_the_window_and_not_before(story: Story) -> None:
    given_settings(story, cap=2, cap_days=1)
    patient = lifecycle("offers", lateness=days(9))
    ana = story.contact("ana", consents=TOPICS)
    story.launch(patient)
    begun, instant = story.now, timedelta(microseconds=1)
    for _ in range(5):
        story.happened("offers", ana)
        story.run(patient)
        story.clock.advance(HOUR)
    for edge in (24, 25, 48):
        for story.clock.instant in (begun + edge * HOUR - instant, begun + edge * HOUR):
            story.run(patient)
    assert told(story, patient) == ["accepted"] * 5
    assert [(row.sent_at - begun) / HOUR for row in story.messages] == [0, 1, 24, 25, 48]


def test_an_announcement_leaves_the_last_place_to_what_the_contacts_own_life_set_off(story: Story) -> None:
    given_settings(story, cap=1, cap_days=7)
    ana, ben = story.contact("ana", consents=TOPICS), story.contact("ben", consents=TOPICS)
    story.launch(ORDERS)
    story.launch(NEWS)
    story.happened("orders", ana)
    story.run(ORDERS, budget=timedelta(0))  # enrolled, and no more: what is due has no message yet
    assert [row.state for row in story.enrollments] == ["active"]
    announce(story)
    story.run(NEWS)
    assert told(story, NEWS) == ["deferred: priority", "accepted"]
    assert [row.not_before for row in story.messages] == [story.now + COMPETING, None]
    story.run(ORDERS)
    assert told(story, ORDERS) == ["accepted"]
    story.clock.advance(COMPETING)
    story.run(NEWS)
    assert told(story, NEWS) == ["skipped: frequency_cap", "accepted"]
    assert ben != ana


def test_what_waits_as_a_message_keeps_its_place_also_while_it_is_deferred(story: Story) -> None:
    given_settings(story, cap=1, cap_days=7)
    mornings = lifecycle("orders", window=send_window("wed", 9, 12))  # NOW is a Tuesday
    ana = story.contact("ana", consents=TOPICS)
    story.launch(mornings)
    story.launch(NEWS)
    story.happened("orders", ana)
    story.run(mornings)
    announce(story)
    story.run(NEWS)
    assert told(story, mornings) + told(story, NEWS) == ["deferred: send_window", "deferred: priority"]
    for passed in (7, 7, 7, 1):
        story.clock.advance(passed * HOUR)
        story.run(NEWS)
        story.run(mornings)
    assert told(story, mornings) + told(story, NEWS) == ["accepted", "skipped: frequency_cap"]


def test_what_waits_for_longer_than_a_place_is_taken_holds_nobody_up(story: Story) -> None:
    given_settings(story, cap=1, cap_days=1)
    mondays = lifecycle("orders", window=send_window("mon"), lateness=days(7))
    story.launch(mondays)
    story.launch(NEWS)
    story.happened("orders", story.contact("ana", consents=TOPICS))
    story.run(mondays)
    announce(story)
    story.run(NEWS)
    assert told(story, NEWS) == ["accepted"]


def test_a_dry_run_counts_places_over_all_steps_as_the_run_after_it_does(story: Story) -> None:
    given_settings(story, cap=1)
    steps = (Email("hello", template="note"), Email("again", template="note"))
    twice = Campaign(name="orders", topic="orders", trigger=event("orders"), steps=steps)
    story.launch(twice)
    story.happened("orders", story.contact("ana", consents=TOPICS))
    foretold = story.run(twice, Options(dry_run=True))
    assert (foretold.balance.planned, foretold.reasons) == (1, {"skipped: frequency_cap": 1})
    assert story.messages == []
    story.run(twice)
    assert told(story, twice) == ["accepted", "skipped: frequency_cap"]


def test_where_there_is_room_for_all_nobody_steps_back(story: Story) -> None:
    given_settings(story, cap=2, cap_days=7)
    ana = story.contact("ana", consents=TOPICS)
    story.launch(ORDERS)
    story.launch(NEWS)
    story.happened("orders", ana)
    story.run(ORDERS, budget=timedelta(0))
    announce(story)
    story.run(NEWS)
    story.run(ORDERS)
    assert told(story, NEWS) + told(story, ORDERS) == ["accepted"] * 2


@pytest.mark.parametrize("cap", [{"cap": 1}, {"topic_caps": {"news": Cap(messages=1, days=7)}}, {}])
def test_only_what_counts_under_the_cap_competes(story: Story, cap: dict[str, Any]) -> None:
    """A message of another topic takes no place of this topic's cap; without caps nothing competes."""
    given_settings(story, **cap)
    story.launch(ORDERS)
    story.launch(NEWS)
    story.happened("orders", story.contact("ana", consents=TOPICS))
    story.run(ORDERS, budget=timedelta(0))
    announce(story)
    story.run(NEWS)
    assert told(story, NEWS) == (["deferred: priority"] if "cap" in cap else ["accepted"])


@pytest.mark.parametrize("planned", [False, True])
def test_a_rival_of_the_same_topic_competes_under_the_topics_cap(story: Story, planned: bool) -> None:
    given_settings(story, topic_caps={"news": Cap(messages=1, days=7)})
    own = Campaign(
        name="own", topic="news", trigger=event("orders"),
        steps=(Email("hello", template="note", window=send_window("wed")),),
    )  # fmt: skip
    story.launch(own)
    story.launch(NEWS)
    story.happened("orders", story.contact("ana", consents=TOPICS))
    story.run(own, budget=None if planned else timedelta(0))
    assert len(story.messages) == planned
    announce(story)
    story.run(NEWS)
    assert told(story, NEWS) == ["deferred: priority"]


def test_a_receipt_that_is_due_competes_with_nothing(story: Story) -> None:
    given_settings(story, cap=1)
    receipt = Campaign(
        name="receipt", trigger=event("orders"), steps=(Email("receipt", template="note", purpose=TRANSACTIONAL),)
    )
    story.launch(receipt)
    story.launch(NEWS)
    story.happened("orders", story.contact("ana", consents=TOPICS))
    story.run(receipt, budget=timedelta(0))
    announce(story)
    story.run(NEWS)
    assert told(story, NEWS) == ["accepted"]


@pytest.mark.parametrize("halt", [pause, stop])
def test_a_campaign_that_is_not_live_holds_nobody_up(story: Story, halt: Any) -> None:
    given_settings(story, cap=1)
    later = lifecycle("orders", window=send_window("wed"))
    story.launch(later)
    story.launch(NEWS)
    story.happened("orders", story.contact("ana", consents=TOPICS))
    story.run(later)
    halt(story.database, "orders", clock=story.clock, actor="test")
    announce(story)
    story.run(NEWS)
    assert told(story, NEWS) == ["accepted"]


def test_two_of_equal_rank_never_wait_for_each_other(story: Story) -> None:
    given_settings(story, cap=1)
    ana = story.contact("ana", consents=TOPICS)
    for campaign in (ORDERS, OFFERS):
        story.launch(campaign)
        story.happened(campaign.name, ana)
        story.run(campaign, budget=timedelta(0))
    story.run(ORDERS)
    story.run(OFFERS)
    assert told(story, ORDERS) + told(story, OFFERS) == ["accepted", "skipped: frequency_cap"]


def test_who_steps_back_does_so_only_while_the_message_is_in_time(story: Story) -> None:
    given_settings(story, cap=1, cap_days=7)
    impatient = Campaign(
        name="news", topic="news", trigger=broadcast("launched"),
        steps=(Email("hello", template="note", lateness=hours(2)),),
    )  # fmt: skip
    later = lifecycle("orders", window=send_window("wed"))
    story.launch(later)
    story.launch(impatient)
    story.happened("orders", story.contact("ana", consents=TOPICS))
    story.run(later)
    announce(story)
    said = []
    for _ in range(4):
        story.run(impatient)
        said += told(story, impatient)
        story.clock.advance(COMPETING)
    assert said == ["deferred: priority", "deferred: priority", "skipped: priority", "skipped: priority"]


class _Row:
    """What the query told of one message under one limit."""

    def __init__(self, taken: int, oldest: datetime | None, rivals: int) -> None:
        self.taken_0, self.oldest_0, self.rivals_0 = taken, oldest, rivals


@pytest.mark.parametrize(
    ("taken", "sent_here", "rivals", "reason"),
    [
        (0, 0, 0, None), (2, 0, 0, None), (3, 0, 0, "cap"), (2, 1, 0, "cap"), (0, 3, 0, "cap"), (5, 0, 0, "cap"),
        (2, 0, 1, "priority"), (1, 1, 1, "priority"), (0, 0, 3, "priority"), (0, 0, 2, None), (3, 0, 3, "cap"),
    ],
)  # fmt: skip
def test_a_place_is_counted_exactly(taken: int, sent_here: int, rivals: int, reason: str | None) -> None:
    now = datetime(2026, 3, 10, tzinfo=UTC)
    oldest = now - 2 * DAY if taken else None
    wait = wait_for_place([Limit("cap", 3, 7 * DAY)], _Row(taken, oldest, rivals), None, sent_here, now)
    assert (wait and wait.reason) == reason
    if wait is not None and reason == "cap":
        assert wait.until == (oldest or now) + 7 * DAY
    elif wait is not None:
        assert wait.until == now + COMPETING


def asked_for(story: Story, contact: int, days: int | None) -> None:
    with story.database.write() as connection:
        assert choose_spacing(connection, contact, days, at=story.now, source="preferences", wording="Less")


def test_who_asked_for_less_gets_one_marketing_message_in_so_many_days_and_every_receipt(story: Story) -> None:
    receipt = Email("receipt", template="note", purpose=TRANSACTIONAL)
    hello = Email("hello", template="note", lateness=days(9))
    both = Campaign(name="both", topic="orders", trigger=event("orders"), steps=(receipt, hello))
    ana, ben = story.contact("ana", consents=TOPICS), story.contact("ben", consents=TOPICS)
    asked_for(story, ana, 7)
    story.launch(both)
    story.launch(OFFERS)
    for _ in range(2):
        story.happened("orders", ana, ben)
        story.run(both)
    first = story.now
    waiting = [row for row in story.messages if row.state == "deferred"]
    assert [(row.contact_id, row.reason, row.not_before) for row in waiting] == [(ana, "less_often", first + 7 * DAY)]
    assert story.states() == {"accepted": 7, "deferred: less_often": 1}
    story.clock.advance(6 * DAY)
    story.happened("offers", ana, ben)
    story.run(OFFERS)
    assert sorted(told(story, OFFERS)) == ["accepted", "deferred: less_often"], "whatever the campaign"
    story.clock.advance(DAY)
    story.run(both)
    story.run(OFFERS)
    assert sorted(told(story, OFFERS)) == ["accepted", "skipped: less_often"]
    asked_for(story, ana, None)
    story.happened("offers", ana, ana)
    story.run(OFFERS)
    assert told(story, OFFERS).count("accepted") == 3, "as usual again, there is no cap"


def test_within_one_window_only_one_goes_to_who_asked_for_less(story: Story) -> None:
    given_settings(story, cap=5)
    ana = story.contact("ana", consents=TOPICS)
    asked_for(story, ana, 30)
    story.launch(OFFERS)
    story.happened("offers", ana, ana, ana)
    story.run(OFFERS)
    assert told(story, OFFERS) == ["accepted", "skipped: less_often", "skipped: less_often"]


def test_an_announcement_leaves_the_only_place_of_who_asked_for_less_to_what_goes_first(story: Story) -> None:
    ana, ben = story.contact("ana", consents=TOPICS), story.contact("ben", consents=TOPICS)
    asked_for(story, ana, 30)
    story.launch(ORDERS)
    story.launch(NEWS)
    story.happened("orders", ana, ben)
    story.run(ORDERS, budget=timedelta(0))
    announce(story)
    story.run(NEWS)
    assert told(story, NEWS) == ["deferred: priority", "accepted"]


def test_a_window_holds_until_it_opens_where_the_contact_lives(story: Story) -> None:
    office = lifecycle("orders", window=send_window("wed-fri", 9, 17))
    zones: list[tuple[dict[str, Any], datetime]] = [
        ({"timezone": "Asia/Tokyo"}, datetime(2026, 3, 11, 0, tzinfo=UTC)),
        ({"attributes": {"country": "de"}}, datetime(2026, 3, 11, 8, tzinfo=UTC)),
        ({"timezone": "Asia/Kathmandu", "attributes": {"country": "DE"}}, datetime(2026, 3, 11, 3, 15, tzinfo=UTC)),
        ({"attributes": {"country": "Atlantis"}}, datetime(2026, 3, 11, 13, tzinfo=UTC)),
        ({"attributes": {"country": 7}}, datetime(2026, 3, 11, 13, tzinfo=UTC)),
    ]
    given_settings(story, default_timezone="America/New_York")
    story.launch(office)
    for number, (place, _) in enumerate(zones):
        story.happened("orders", story.contact(f"c{number}", consents=TOPICS, **place))
    story.run(office)
    assert told(story, office) == ["deferred: send_window"] * len(zones)
    assert [row.not_before for row in story.messages] == [opens for _, opens in zones]
    for opens in sorted(opens for _, opens in zones):
        story.clock.instant = opens
        story.run(office)
    assert told(story, office) == ["accepted"] * len(zones)


def test_a_window_that_was_asked_for_holds_a_receipt_too_and_quiet_hours_do_not(story: Story) -> None:
    given_settings(story, quiet_from=time(8), quiet_until=time(20))
    receipt = Campaign(
        name="receipt", trigger=event("orders"),
        steps=(
            Email("receipt", template="note", purpose=TRANSACTIONAL),
            Email("papers", template="note", purpose=TRANSACTIONAL, window=send_window("thu", 10, 11)),
        ),
    )  # fmt: skip
    story.launch(receipt)
    story.happened("orders", story.contact("ana"))
    story.run(receipt)
    assert told(story, receipt) == ["accepted", "deferred: send_window"]
    assert story.messages[1].not_before == datetime(2026, 3, 12, 10, tzinfo=UTC)


NIGHT = {"quiet_from": time(21), "quiet_until": time(8)}


@pytest.mark.parametrize(
    ("due", "asked", "said"),
    [
        pytest.param((10, 23), [(10, 23), (11, 8)], "accepted", id="due while it is quiet: in time when that ends"),
        pytest.param((10, 23), [(11, 10)], "accepted", id="and as long after that as the step may be late"),
        pytest.param((10, 23), [(10, 23), (11, 10, 1)], "skipped: too_late", id="but not longer"),
        pytest.param(
            (10, 20, 59), [(10, 21), (11, 9)], "accepted", id="due just before, by a worker that is just late"
        ),
        pytest.param((10, 20), [(10, 21, 30), (11, 9)], "accepted", id="what is left at nine is left at eight"),
        pytest.param((10, 20), [(10, 21, 30), (11, 9, 1)], "skipped: too_late", id="and no more than that"),
        pytest.param((10, 13), [(10, 15, 1)], "skipped: too_late", id="by day it is late as ever"),
        pytest.param((10, 13), [(11, 8)], "skipped: too_late", id="a night later all the more"),
    ],
)
def test_waiting_for_the_end_of_quiet_hours_makes_nothing_late(
    one_store: Story, due: tuple[int, ...], asked: list[tuple[int, ...]], said: str
) -> None:
    """A step that may be two hours late, and eleven quiet ones."""
    given_settings(one_store, **NIGHT)
    impatient = lifecycle("orders", lateness=hours(2))
    one_store.launch(impatient)
    one_store.clock.instant = datetime(2026, 3, *due, tzinfo=UTC)  # type: ignore[misc,arg-type]
    one_store.happened("orders", one_store.contact("ana", consents=TOPICS))
    for moment in asked:
        one_store.clock.instant = datetime(2026, 3, *moment, tzinfo=UTC)  # type: ignore[misc,arg-type]
        one_store.run(impatient)
    assert told(one_store, impatient) == [said]


@pytest.mark.parametrize(("away", "said"), [(DAY, "accepted"), (9 * DAY, "accepted"), (16 * DAY, "skipped: too_late")])
def test_a_window_once_a_week_needs_no_longer_lateness(one_store: Story, away: timedelta, said: str) -> None:
    """Due on a Tuesday, to go on Mondays from nine to five: a day of lateness is two Mondays and more than one."""
    mondays = lifecycle("orders", window=send_window("mon", 9, 17), lateness=days(1))
    one_store.launch(mondays)
    one_store.happened("orders", one_store.contact("ana", consents=TOPICS))
    one_store.run(mondays)
    assert told(one_store, mondays) == ["deferred: send_window"]
    one_store.clock.advance(away)
    while told(one_store, mondays)[0].startswith("deferred"):
        one_store.run(mondays)
        one_store.clock.advance(DAY)
    assert told(one_store, mondays) == [said]


def test_a_zone_that_changes_while_a_message_waits_counts_from_then_on(one_store: Story) -> None:
    given_settings(one_store, **NIGHT)
    impatient = lifecycle("orders", lateness=hours(12))
    ana = one_store.contact("ana", timezone="Europe/Berlin", consents=TOPICS)
    one_store.launch(impatient)
    one_store.clock.instant = datetime(2026, 3, 10, 22, tzinfo=UTC)
    one_store.happened("orders", ana)
    one_store.run(impatient)
    with one_store.database.write() as connection:
        connection.execute(update(Contact).where(col(Contact.id) == ana).values(timezone="America/New_York"))
    for hour in (7, 12):  # eight in Berlin, and in New York
        assert told(one_store, impatient) == ["deferred: quiet_hours"]
        one_store.clock.instant = datetime(2026, 3, 11, hour, tzinfo=UTC)
        one_store.run(impatient)
    assert told(one_store, impatient) == ["accepted"]


def test_a_window_that_is_wholly_quiet_waits_for_other_hours_and_never_for_ever(story: Story) -> None:
    """Somebody has changed the quiet hours: the run says so, receipts go, and the rest waits while it is in time."""
    receipt = Email("receipt", template="note", purpose=TRANSACTIONAL)
    late = Email("late", template="note", window=send_window("mon-sun", 22, 24), lateness=days(1))
    campaign = Campaign(name="orders", topic="orders", trigger=event("orders"), steps=(receipt, late))
    ana = story.contact("ana", consents=TOPICS)
    story.launch(campaign)
    given_settings(story, **NIGHT)
    story.happened("orders", ana)
    (warning,) = story.run(campaign).warnings
    assert warning.startswith(
        "Campaign 'orders', step 'late': it would never go. All of its window, 22:00 to 24:00, is "
    )
    assert told(story, campaign) == ["accepted", "deferred: send_window"]
    given_settings(story)
    story.clock.instant = datetime(2026, 3, 10, 22, tzinfo=UTC)
    assert story.run(campaign).warnings == ()
    assert told(story, campaign) == ["accepted", "accepted"]
    given_settings(story, **NIGHT)
    story.happened("orders", ana)
    for _ in range(6):
        story.run(campaign)
        story.clock.advance(6 * HOUR)
    assert told(story, campaign)[2:] == ["accepted", "skipped: send_window"]


@pytest.mark.parametrize(("step", "said"), [({}, "skipped: too_late"), ({"lateness": days(5)}, "accepted")])
def test_after_three_days_of_downtime_the_lateness_budget_decides(story: Story, step: Any, said: str) -> None:
    campaign = lifecycle("orders", after=days(1), at=local(time(10)), **step)
    story.launch(campaign)
    for number, zone in enumerate(("Europe/Berlin", "Pacific/Chatham", "America/New_York")):
        story.happened("orders", story.contact(f"c{number}", timezone=zone, consents=TOPICS))
    story.run(campaign)
    story.clock.advance(timedelta(days=4, hours=12))
    story.run(campaign)
    assert told(story, campaign) == [said] * 3
    assert [found for found in audit(story.database, story.clock) if not found.clean] == []


@pytest.mark.parametrize(
    "change", [datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)], ids=["spring", "autumn"]
)
@pytest.mark.parametrize(("late_by", "said"), [(timedelta(0), "accepted"), (timedelta(minutes=1), "skipped: too_late")])
def test_a_lateness_of_days_is_of_24_hours_also_when_the_clock_is_changed(
    one_store: Story, change: datetime, late_by: timedelta, said: str
) -> None:
    """Nine in the evening before the change, two days of lateness: the wall shows another hour when they are over."""
    one_store.clock.instant = change - timedelta(hours=12)
    campaign = lifecycle("orders", at=local(time(21)))
    one_store.launch(campaign)
    one_store.happened("orders", one_store.contact("ana", timezone="Europe/Berlin", consents=TOPICS))
    one_store.run(campaign)
    [due_at] = [row.next_due_at for row in one_store.enrollments]
    assert due_at.astimezone(ZoneInfo("Europe/Berlin")).hour == 21
    assert due_at < change < due_at + timedelta(days=2)
    one_store.clock.instant = due_at + timedelta(days=2) + late_by
    one_store.run(campaign)
    assert told(one_store, campaign) == [said]


def test_whatever_defers_a_message_every_due_step_ends_as_one_row_with_a_reason(story: Story) -> None:
    """Ten days over a change of the clock: caps, windows, quiet hours and rivals, with a worker that is often away.

    On one store it is spring and on the other autumn: which clock is changed, no store knows.
    """
    start, between_runs = datetime(2026, 3, 27, 13, tzinfo=UTC), timedelta(hours=11, minutes=41)
    if story.database.is_sqlite:
        start = datetime(2026, 10, 23, 13, tzinfo=UTC)
    story.clock.instant = start
    given_settings(
        story, cap=2, cap_days=3, topic_caps={"news": Cap(messages=1, days=5)}, quiet_from=time(21), quiet_until=time(8)
    )
    orders = lifecycle("orders", window=send_window("mon-fri", 6, 22), lateness=days(4))
    zones = ("Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", None)
    people = [story.contact(f"c{number}", timezone=zone, consents=TOPICS) for number, zone in enumerate(zones)]
    campaigns = (NEWS, orders, OFFERS)
    for campaign in campaigns:
        story.launch(campaign)
    ends = start + timedelta(days=10)
    events = 0
    while story.now < ends:
        if story.now < start + timedelta(days=3):
            story.happened("orders", *people)
            story.happened("offers", *people[:2])
            announce(story)
            events += 1
        for campaign in campaigns:
            story.run(campaign)
        _check_rules(story)
        story.clock.advance(between_runs)
    for row in story.messages:
        assert row.state in {"accepted", "skipped"}, (row.state, row.reason)
    assert len(story.messages) == len(story.enrollments) == events * (len(people) * 2 + 2)
    assert {row.reason for row in story.messages} >= {"frequency_cap"}
    assert sum(row.state == "accepted" for row in story.messages) >= 2 * len(people)
    assert [found for found in audit(story.database, story.clock) if not found.clean] == []


def _check_rules(story: Story) -> None:
    """Recount every cap over every window there ever was, and look at nothing but the rows."""
    sent = [(row.contact_id, row.topic, row.sent_at) for row in story.messages if row.sent_at is not None]
    for contact, _, at in sent:
        assert sum(1 for who, _, other in sent if who == contact and at - 3 * DAY < other <= at) <= 2
        topic = [1 for who, what, other in sent if (who, what) == (contact, "news") and at - 5 * DAY < other <= at]
        assert len(topic) <= 1
    waiting = [row for row in story.messages if row.state == "deferred"]
    assert all(row.not_before > story.now and row.reason and row.chunk_id is None for row in waiting)


def test_after_a_pause_of_the_campaign_what_waits_is_asked_again(story: Story) -> None:
    later = lifecycle("orders", window=send_window("wed"))
    story.launch(later)
    story.happened("orders", story.contact("ana", consents=TOPICS))
    story.run(later)
    pause(story.database, "orders", clock=story.clock, actor="test", reason="test")
    story.clock.advance(DAY)
    assert story.run(later).halted
    resume(story.database, "orders", clock=story.clock, actor="test")
    story.run(later)
    assert told(story, later) == ["accepted"]


def test_every_code_block_of_the_page_runs(tmp_path: Path) -> None:
    workplace = Workplace(tmp_path, str)
    found = list(blocks(ROOT / "docs" / "frequency.md"))
    assert [block.kind for block in found] == ["dotenv", "python"]
    for block in found:
        workplace.run(block)
