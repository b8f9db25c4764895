"""Explain: every way in which somebody did not get a message has a sentence."""

from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlmodel import col

from evergreet.broadcasts import cancel, confirm
from evergreet.campaign import (
    TRANSACTIONAL,
    Campaign,
    Email,
    anniversary,
    broadcast,
    event,
    latest,
    local,
    send_window,
    silence,
)
from evergreet.campaigns import pause, required
from evergreet.conditions import attribute, did
from evergreet.consent import choose_spacing, suppress
from evergreet.contracts import Kind
from evergreet.durations import days
from evergreet.errors import EvergreetError, Retryable
from evergreet.explain import explain, find_contacts
from evergreet.importing.one_event import record_event
from evergreet.reasons import REASONS
from evergreet.settings import Cap, Settings
from models import Contact
from tests.feedback.telling import Provider
from tests.story import THANKS, Story

QUIET = Campaign(
    name="quiet",
    trigger=silence(days(60), after=("page_viewed", "login"), broken_by=("order_placed",), having=("order_placed",)),
    steps=(Email("miss-you", template="note", purpose=TRANSACTIONAL, after=days(60), unless=did("page_viewed")),),
)
YEARS = Campaign(
    name="years",
    trigger=anniversary("order_placed"),
    steps=(Email("offer", template="note", purpose=TRANSACTIONAL, at=local(9)),),
)
NEWS = Campaign(
    name="news",
    trigger=broadcast("product_launched", key="product_id"),
    audience=attribute("country") == "DE",
    steps=(Email("news", template="note", purpose=TRANSACTIONAL),),
    confirm_above=1,
)


def why(story: Story, contact: int, name: str = "thanks") -> list[str]:
    with story.database.read() as connection:
        lines = explain(connection, required(connection, name), contact, now=story.now)
        return [f"{line.what} ({line.detail})" if line.detail else line.what for line in lines]


def test_who_got_it_when_and_through_whom(story: Story) -> None:
    ana = story.contact("ana")
    story.launch()
    story.happened("order_placed", ana, order_id="A-1")
    story.run()
    assert why(story, ana) == [
        "enrolled (order_placed:A-1)",
        "receipt: accepted (ana@example.org by recorder, 2026-03-10 12:00 UTC)",
    ]


def test_a_doubt_that_ended_tells_its_history(story: Story) -> None:
    provider = Provider(story)
    ana = story.contact("ana")
    story.launch()
    story.sender.answers["ana@example.org"] = Retryable("cut off", accepted="maybe")
    story.happened("order_placed", ana, order_id="A-1")
    story.run()
    assert why(story, ana)[1:] == ["receipt: unknown (cut off)", "receipt, attempt 1 by recorder: unknown (cut off)"]
    story.clock.advance(timedelta(minutes=5))
    provider.tells(provider.event(Kind.SOFT_BOUNCED, reason="452 full"), provider.event(Kind.OPENED, machine=True))
    assert why(story, ana)[1:] == [
        "receipt: accepted (ana@example.org by recorder, 2026-03-10 12:00 UTC)",
        "receipt, attempt 1 by recorder: accepted (told of by the provider's webhook)",
        "receipt: soft bounced (452 full; recorder)",
        "receipt: opened by a machine (recorder)",
        "receipt: resolved by webhook (the provider told of it)",
    ]


def test_who_was_outside_the_audience(story: Story) -> None:
    german = Campaign(name="thanks", trigger=THANKS.trigger, steps=THANKS.steps, audience=attribute("country") == "DE")
    ana = story.contact("ana")
    story.launch(german)
    story.happened("order_placed", ana, order_id="A-1")
    story.run(german)
    assert why(story, ana) == [
        "not enrolled: not_in_audience (order_placed:A-1; the contact was outside the audience when the trigger was "
        "met; not met: country == DE)"
    ]


def test_who_never_met_a_trigger(story: Story) -> None:
    ana = story.contact("ana")
    story.launch()
    story.run()
    assert why(story, ana) == ["never enrolled (the contact never met a trigger: order_placed)"]


def test_who_met_it_before_the_campaign_went_live(story: Story) -> None:
    ana = story.contact("ana")
    story.happened("order_placed", ana, at=story.now - timedelta(days=1))
    story.launch()
    story.run()
    assert why(story, ana) == ["order_placed: did not enroll (before the campaign went live (2026-03-10 12:00 UTC))"]


def test_who_is_waiting_for_the_next_run_or_the_next_step(story: Story) -> None:
    later = Campaign(
        name="thanks", topic="orders", trigger=THANKS.trigger,
        steps=(*THANKS.steps, Email("check-in", template="note", after=days(7))),
    )  # fmt: skip
    ana = story.contact("ana")
    story.launch(later)
    story.happened("order_placed", ana, order_id="A-1")
    assert why(story, ana) == ["order_placed: did not enroll (arrived after the last run; the next one will see it)"]
    story.run(later)
    assert why(story, ana)[-1] == "check-in: not due yet"


def test_a_skip_says_its_reason(story: Story) -> None:
    ana = story.contact("ana", address=None)
    story.launch()
    story.happened("order_placed", ana, order_id="A-1")
    story.run()
    assert why(story, ana)[-1] == f"receipt: skipped (no_address: {REASONS['no_address']})"


def test_what_the_person_said_is_told_with_who_told_it(story: Story) -> None:
    ana = story.contact("ana", address="ana@example.org")
    story.launch()
    with story.database.write() as connection:
        choose_spacing(connection, ana, 30, wording="At most once a month", at=story.now, source="preferences")
        suppress(
            connection, "ana@example.org", scope="marketing", reason="unsubscribed", source="crm:acme", at=story.now
        )
    assert why(story, ana)[:2] == [
        "suppressed for marketing (ana@example.org: unsubscribed, told by crm:acme)",
        "asked for less (at most one marketing message in 30 days, told by preferences)",
    ]
    with story.database.write() as connection:
        choose_spacing(connection, ana, None, wording="As usual", at=story.now, source="preferences")
    assert "asked for less" not in "".join(why(story, ana))


def test_a_campaign_that_was_never_live_says_so(story: Story) -> None:
    ana = story.contact("ana")
    story.run()
    assert why(story, ana) == ["never enrolled: the campaign is draft and was never live"]
    with pytest.raises(EvergreetError, match="is draft; only a live or paused one"):
        pause(story.database, "thanks", clock=story.clock, actor="test")


def test_contacts_are_found_by_address_id_and_source_id(story: Story) -> None:
    ana = story.contact("ana")
    with story.database.read() as connection:
        for written in ("ANA@example.org", str(ana), "ana-1"):
            assert [row.id for row in find_contacts(connection, written)] == [ana]
        with pytest.raises(EvergreetError, match="There is no contact 'nobody'"):
            find_contacts(connection, "nobody")


def test_a_silence_that_lasts_says_since_when_and_until_when(story: Story) -> None:
    ana = story.contact("ana")
    story.launch(QUIET)
    assert why(story, ana, "quiet") == ["no silence (the contact never did page_viewed or login)"]
    story.happened("order_placed", ana, at=story.now - timedelta(days=20))
    story.happened("page_viewed", ana, at=story.now - timedelta(days=9))
    story.run(QUIET)
    assert why(story, ana, "quiet") == [
        "silent (last sign of life 2026-03-01 12:00 UTC page_viewed; 60 days end on 2026-04-30 12:00 UTC)"
    ]
    story.clock.advance(timedelta(days=55))
    assert "ended on 2026-04-30 12:00 UTC; the next run will see it" in why(story, ana, "quiet")[0]
    story.run(QUIET)
    enrolled, message = why(story, ana, "quiet")
    assert enrolled == "enrolled (silence:test:e3)"
    assert message.startswith("miss-you: skipped (too_late")
    story.happened("order_placed", ana)
    assert why(story, ana, "quiet")[-1] == "came back (order_placed 2026-05-04 12:00 UTC)"


def test_a_silence_that_was_broken_does_not_count_or_came_too_early_says_so(story: Story) -> None:
    ana, ben, cleo = story.contact("ana"), story.contact("ben"), story.contact("cleo")
    story.happened("login", ana, at=story.now - timedelta(days=9))
    story.happened("order_placed", ana, at=story.now - timedelta(days=2))
    story.happened("login", ben, at=story.now - timedelta(days=9))
    story.happened("order_placed", cleo, at=story.now - timedelta(days=90))
    story.happened("login", cleo, at=story.now - timedelta(days=80))
    story.launch(QUIET)
    story.run(QUIET)
    assert why(story, ana, "quiet") == [
        "no silence (login 2026-03-01 12:00 UTC, broken by order_placed 2026-03-08 12:00 UTC, within 60 days)"
    ]
    assert why(story, ben, "quiet") == [
        "silence does not count (last sign of life 2026-03-01 12:00 UTC login, and never before order_placed)"
    ]
    assert why(story, cleo, "quiet") == [
        "silence: did not enroll (last sign of life 2025-12-20 12:00 UTC login; 60 days ended on "
        "2026-02-18 12:00 UTC; before the campaign went live (2026-03-10 12:00 UTC))"
    ]


def test_an_anniversary_says_when_the_next_one_is_where_they_live(story: Story) -> None:
    ana = story.contact("ana", timezone="Pacific/Auckland")
    story.launch(YEARS)
    assert why(story, ana, "years") == ["no anniversary (the contact never did order_placed)"]
    story.happened("order_placed", ana, at=story.now - timedelta(days=400))
    story.run(YEARS)
    past, coming = why(story, ana, "years")
    assert past == (
        "1st anniversary: did not enroll (of order_placed on 2025-02-04; "
        "before the campaign went live (2026-03-10 12:00 UTC))"
    )
    assert coming == "2nd anniversary (of order_placed on 2025-02-04; begins on 2027-02-04 in Pacific/Auckland)"
    story.clock.advance(timedelta(days=330))
    story.run(YEARS)
    assert why(story, ana, "years")[:2] == [
        "enrolled (anniversary:2:2027-02:test:e2)",
        "offer: not due yet (2027-02-04 09:00 in Pacific/Auckland)",
    ]


def test_who_is_not_in_a_broadcast_learns_why(story: Story) -> None:
    german = {"country": "DE"}
    ana, ben = story.contact("ana"), story.contact("ben", attributes=german)
    story.contact("cleo", attributes=german)
    story.launch(NEWS)
    story.run(NEWS)
    assert why(story, ana, "news") == [
        "never enrolled (the contact never met a trigger: a business event product_launched)"
    ]

    def announced(product: str) -> None:
        record_event(
            story.database, "product_launched", {"product_id": product}, contact=None, source="shop", source_id=product,
            at=None, clock=story.clock,
        )  # fmt: skip
        story.run(NEWS)

    announced("P-1")
    waits = "broadcast product_launched:P-1: waits (for somebody's word: 2 recipients (`evergreet broadcasts`))"
    assert why(story, ana, "news") == why(story, ben, "news") == [waits]
    confirm(story.database, "news", "product_launched:P-1", 2, clock=story.clock, actor="maria")
    announced("P-2")
    cancel(story.database, "news", "product_launched:P-2", clock=story.clock, actor="maria")
    story.clock.advance(timedelta(days=1))
    late = story.contact("late", attributes=german)
    with story.database.write() as connection:
        connection.execute(update(Contact).where(col(Contact.id) == late).values(created_at=story.now))
    assert why(story, ben, "news") == [
        "enrolled (product_launched:P-1)", "news: accepted (ben@example.org by recorder, 2026-03-10 12:00 UTC)",
        "broadcast product_launched:P-2: cancelled (by maria; nobody got it)",
    ]  # fmt: skip
    outside = "broadcast product_launched:P-1: not in its frozen audience"
    assert why(story, ana, "news")[0] == f"{outside} (not met: country == DE)"
    assert why(story, late, "news")[0] == f"{outside} (they joined later (2026-03-11 12:00 UTC))"


def test_a_step_says_what_it_is_counted_from(story: Story) -> None:
    review = Campaign(
        name="thanks",
        trigger=event("order_placed", key="order_id"),
        steps=(
            Email(
                "ask", template="note", purpose=TRANSACTIONAL, after=days(14),
                counted_from=latest("order_delivered", same="order_id"),
            ),
        ),
    )  # fmt: skip
    ana = story.contact("ana")
    story.launch(review)
    story.happened("order_placed", ana, order_id="A-1")
    story.run(review)
    assert why(story, ana)[-1] == (
        "ask: not due yet (counted from the triggering moment; from order_delivered of the same order_id once that is "
        "known)"
    )
    story.happened("order_delivered", ana, at=story.now + timedelta(days=3), order_id="A-1")
    story.clock.advance(timedelta(days=14))
    story.run(review)
    assert why(story, ana)[-1] == "ask: not due yet (counted from order_delivered of 2026-03-13 12:00 UTC)"
    story.clock.advance(timedelta(days=3))
    story.run(review)
    assert why(story, ana)[-1].endswith("; counted from order_delivered of 2026-03-13 12:00 UTC)")


def test_a_deferred_message_says_why_and_until_when(story: Story) -> None:
    tuesday_only = Campaign(
        name="thanks", topic="orders", trigger=THANKS.trigger,
        steps=(Email("offer", template="note", window=send_window("wed", 9, 18), lateness=days(9)),),
    )  # fmt: skip
    story.settings = Settings(secret_keys=("test-key",), topic_caps={"orders": Cap(messages=1, days=7)})
    ana = story.contact("ana", consents=["orders"])
    story.launch(tuesday_only)
    story.happened("order_placed", ana, order_id="A-1")
    story.happened("order_placed", ana, order_id="A-2")
    story.run(tuesday_only)
    assert why(story, ana)[-1] == (
        "offer: deferred (send_window: the step's window is closed where the contact lives; "
        "asked again at 2026-03-11 09:00 UTC)"
    )
    story.clock.advance(timedelta(hours=22))
    story.run(tuesday_only)
    assert why(story, ana)[-1] == (
        "offer: deferred (topic_cap: the contact got as many messages of this topic as EVERGREET_TOPIC_CAPS allows; "
        "the last: thanks offer of 2026-03-11 10:00 UTC; asked again at 2026-03-18 10:00 UTC)"
    )
    story.clock.advance(timedelta(days=60))
    story.run(tuesday_only)
    assert why(story, ana)[-1] == (
        "offer: skipped (too_late: it would have gone later than the step's `lateness` allows; "
        "asked at 2026-05-10 10:00 UTC)"
    )


def test_a_cap_names_the_last_that_took_its_places(story: Story) -> None:
    news = Campaign(name="news", topic="news", trigger=event("told"), steps=(Email("hello", template="note"),))
    offers = Campaign(name="offers", topic="offers", trigger=event("asked"), steps=(Email("offer", template="note"),))
    story.settings = Settings(secret_keys=("test-key",), cap=4)
    ana, ben = (story.contact(name, consents=["news", "offers"]) for name in ("ana", "ben"))
    for campaign in (news, offers, THANKS):
        story.launch(campaign)
    for _ in range(4):
        story.happened("told", ana, ben)
        story.run(news)
        story.clock.advance(timedelta(hours=1))
    story.happened("order_placed", ana)
    story.run()  # a receipt takes no place
    story.happened("asked", ana)
    story.run(offers)
    last = ", ".join(f"news hello of 2026-03-10 {hour}:00 UTC" for hour in (15, 14, 13))
    assert why(story, ana, "offers")[-1].endswith(f"as EVERGREET_CAP allows; the last: {last} and others)")
