"""The onboarding nudges, day by day: the next open milestone, until the checklist is complete."""

from sqlalchemy import insert

from evergreet.database import ingest_position
from models import Event, Transition
from tests.flows.conftest import Shop

FIRST, SECOND, THIRD = "profile_completed", "product_added_to_wishlist", "newsletter_subscribed"


def test_each_nudge_leads_to_the_next_open_milestone_until_the_list_is_complete(shop: Shop) -> None:
    shop.opens("onboarding-nudges", "2026-03-10 08:00")
    nia, ben, cleo, dan = (shop.customer(name, "onboarding") for name in ("nia", "ben", "cleo", "dan"))
    shop.happened(FIRST, dan, at=shop.moment("2026-03-01 12:00"))  # before he opened an account
    shop.happened("account_created", nia, ben, cleo, dan, at=shop.moment("2026-03-10 09:30"))

    assert shop.until("2026-03-11 09:59") == []
    assert shop.until("2026-03-11 10:00") == [
        "2026-03-11 10:00 ben day-1", "2026-03-11 10:00 cleo day-1", "2026-03-11 10:00 dan day-1",
        "2026-03-11 10:00 nia day-1",
    ]  # fmt: skip
    assert shop.letter("nia").subject == "A good place to start: Complete your profile"
    assert "https://www.fernway.example/account" in shop.letter("nia").text
    assert shop.letter("dan").subject == "A good place to start: Start a wish list"

    shop.happened(SECOND, ben)  # not the first on the list
    shop.happened(FIRST, cleo)
    shop.happened(SECOND, cleo)
    shop.happened(SECOND, dan)
    assert len(shop.until("2026-03-13 10:00")) == 4
    assert shop.letter("ben").subject == "Next on your list: Complete your profile"
    assert shop.letter("cleo").subject == "Next on your list: Choose what we write about"

    shop.happened(THIRD, cleo)  # all three since she came: the goal
    shop.happened(THIRD, dan)  # all three, one of them before he came: nothing is left to say
    assert shop.until("2026-03-17 10:00") == [
        "2026-03-17 10:00 ben day-7", "2026-03-17 10:00 nia day-7",
    ]  # fmt: skip
    assert shop.letter("nia").subject == "Still open: Complete your profile"
    assert shop.fates()["cleo"] == ["day-1 accepted", "day-3 accepted", "day-7 skipped: goal_reached"]
    assert shop.fates()["dan"] == ["day-1 accepted", "day-3 accepted", "day-7 skipped: unless"]
    assert {row.state for row in shop.enrollments} == {"finished"}


def test_everybody_is_nudged_at_ten_on_their_own_clock_and_only_with_consent_and_address(shop: Shop) -> None:
    shop.opens("onboarding-nudges", "2026-03-10 08:00")
    people = [
        shop.customer("kiri", "onboarding", timezone="Pacific/Auckland"),
        shop.customer("luz", "onboarding", timezone="America/Los_Angeles"),
        shop.customer("emil", "onboarding", timezone=None, attributes={"country": "DE"}),
        shop.customer("news", "news"),
        shop.customer("mute", "onboarding", address=None),
    ]
    shop.happened("account_created", *people, at=shop.moment("2026-03-10 09:00"))  # 22:00 in Auckland, 02:00 in LA
    assert shop.until("2026-03-12 12:00") == [
        "2026-03-10 21:00 kiri day-1",
        "2026-03-11 09:00 emil day-1",
        "2026-03-11 17:00 luz day-1",
    ]
    assert shop.letter("emil").subject == "A good place to start: Complete your profile", "without a name"
    assert "Emil" not in shop.letter("emil").text
    assert shop.fates()["news"] == ["day-1 skipped: no_consent"]
    assert shop.fates()["mute"] == ["excluded: not_in_audience"]


def test_after_downtime_one_nudge_goes_and_not_two_at_once(shop: Shop) -> None:
    shop.opens("onboarding-nudges", "2026-03-26 08:00")
    shop.happened("account_created", shop.customer("nia", "onboarding"), at=shop.moment("2026-03-27 09:30"))
    shop.works()
    shop.clock.instant = shop.moment("2026-03-30 10:30")  # day 3; with the change of the clock two days are 47 hours
    shop.works()
    assert shop.sent() == ["2026-03-30 10:30 nia day-3"]
    assert shop.fates()["nia"] == ["day-1 skipped: too_late", "day-3 accepted"]


def test_nobody_is_led_through_the_list_twice_by_account_or_by_stage(shop: Shop) -> None:
    shop.opens("onboarding-nudges", "2026-03-10 08:00", hour=9)
    nia = shop.customer("nia", "onboarding")
    shop.happened("signed_up", nia, at=shop.moment("2026-03-10 08:30"))
    shop.until("2026-03-10 12:00")
    stage = shop.campaign.trigger.stages[0].stage
    with shop.database.write() as connection:
        cause = shop.rows(Event)[0].id
        for moved_by in (cause, None):
            connection.execute(
                insert(Transition).values(
                    contact_id=nia, to_stage=stage, at=shop.now, cause="rule" if moved_by else "import",
                    cause_event_id=moved_by, recorded_at=shop.now, position=ingest_position(connection),
                )
            )  # fmt: skip
    shop.happened("account_created", nia)
    assert shop.until("2026-03-20 12:00") == [
        "2026-03-11 09:00 nia day-1", "2026-03-13 09:00 nia day-3", "2026-03-17 09:00 nia day-7",
    ]  # fmt: skip
    assert [row.occurrence for row in shop.enrollments] == ["once"]


def test_the_same_moment_worked_twice_and_by_two_engines_sends_nothing_twice(shop: Shop) -> None:
    shop.opens("onboarding-nudges", "2026-03-10 08:00")
    shop.happened("account_created", *(shop.customer(name, "onboarding") for name in ("nia", "ben")))
    shop.works()
    shop.clock.instant = shop.moment("2026-03-11 10:00")
    assert shop.works_twice() == ["2026-03-11 10:00 ben day-1", "2026-03-11 10:00 nia day-1"]
