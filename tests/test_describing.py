"""Campaigns in words: every sentence says what the definition says."""

from datetime import time

from evergreet.campaign import (
    Campaign,
    CrmList,
    CrmTask,
    Email,
    Options,
    Sms,
    Webhook,
    anniversary,
    broadcast,
    event,
    latest,
    local,
    pick,
    send_window,
    silence,
    stage_entered,
)
from evergreet.conditions import attribute, did, has_email
from evergreet.describing import describe
from evergreet.durations import EVER, days, hours
from evergreet.presets.vocabulary import PURCHASED, any_of
from evergreet.wording import in_words, one_of


def told(campaign: Campaign) -> list[str]:
    return [f"{word}: {sentence}" for word, sentence in describe(campaign.resolve(Options()))]


def test_what_starts_it_for_whom_and_what_it_sends_when() -> None:
    asks = Campaign(
        "ask", stage_entered("purchase") | event("order_placed", key="order_id"), topic="orders", re_entry="once",
        audience=has_email & (attribute("country") == "DE"), goal=did("login", within=days(3)), holdout=5,
        steps=(
            Email("first", "note"),
            Sms("second", "note", after=days(2), at=local(time(10)), unless=did("refund_requested", within=EVER),
                counted_from=latest("order_delivered", same="order_id"), window=send_window("mon-fri", 9, 18)),
            Webhook("tell", to="warehouse", after=hours(3), window=send_window("tue,sat"), resend_after=hours(1)),
            CrmTask("call", "note", window=send_window("mon-sun", 8, 20)),
            CrmList("leave", to="prospects", member=False),
        ),
        picks=(pick("tip", (~did("app_opened"), {"title": "Our app"}),),),
    )  # fmt: skip
    assert told(asks) == [
        "starts: when the stage purchase is entered",
        "starts: at order_placed, once for each order_id",
        "for: whoever has an email address and country == DE",
        "again: never: once for each contact",
        "first: marketing email note, at the start; at most 2 days late",
        "second: marketing SMS note, 2 days after the latest order_delivered of the same order_id, else the start, "
        "at 10:00 where the contact lives; mon to fri from 9 to 18 o'clock where the contact lives; unless the contact "
        "did refund_requested ever; at most 2 days late",
        "tell: internal webhook to warehouse _base/webhook, 3 hours after the start; tue, sat from 0 to 24 o'clock "
        "where the contact lives; at most 2 days late; again after 1 hour where nobody knows whether it arrived",
        "call: internal task in the CRM note, at the start; every day from 8 to 20 o'clock where the contact lives; "
        "at most 2 days late",
        "leave: internal move off the list prospects of the CRM _base/list, at the start; at most 2 days late",
        "tip 1: Our app, where the contact did not app_opened",
        "until: the goal is reached: did login within 3 days",
        "topic: orders: marketing goes to who agreed to it",
        "holdout: 5 percent get no marketing of it, to compare with",
        "pauses: at more than 100,000 messages in 24 hours",
    ]


def test_what_time_and_the_business_start() -> None:
    steps = (Email("one", "note", after=days(60)),)
    quiet = Campaign(
        "quiet", silence(days(60), after=("login", "visit"), broken_by=("order",), having=("buy",)), steps,
        topic="news", re_entry=days(3), ends_mailing=True, limit_per_day=None,
    )  # fmt: skip
    yearly = Campaign("yearly", anniversary(*PURCHASED) | broadcast("launched", key="product_id"), steps, topic="news")
    assert told(quiet) == [
        "starts: when, for 60 days after login or visit, none of these came, and no order; for whoever did buy before",
        "for: everyone",
        "again: not within 3 days",
        "one: marketing email note, 60 days after the last of these; at most 2 days late",
        "topic: news: marketing goes to who agreed to it",
        "afterwards: who got the last step gets no marketing from any campaign until a sign of life",
    ]
    assert told(yearly)[:2] == [
        "starts: each year on the day of the first order_placed, order_completed or purchase, where the contact lives",
        "starts: at the business event launched, for all at once, once for each product_id",
    ]
    assert "confirmed: by somebody, where it goes to more than 1,000" in told(yearly)
    monthly = Campaign("monthly", anniversary("trial_started", months=3, shift=-7), steps, topic="news")
    assert told(monthly)[0].endswith("every 3 months on the day of the first trial_started, where the contact lives, "
                                     "7 days before it")  # fmt: skip


def test_many_names_are_one_phrase_and_of_very_many_a_few_are_named() -> None:
    assert in_words(any_of(PURCHASED, within=days(7))) == "did order_placed, order_completed or purchase within 7 days"
    assert in_words(did("a") | did("b") | has_email | did("c", within=days(1))) == (
        "did a or b or has an email address or did c within 1 day"
    )
    assert one_of(["a"]) == "a"
    assert one_of("abcdef") == "a, b, c, d, e or f"
    assert one_of("abcdefgh") == "a, b, c, d, e or one of 3 others"
