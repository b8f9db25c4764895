"""The anniversary offer, year by year: at nine on the day of the first order, on the customer's own calendar."""

from datetime import UTC, datetime, timedelta

from models import Enrollment
from tests.flows.conftest import Shop

A_MONTH = timedelta(days=30)


def test_the_day_is_that_of_the_first_order_on_the_customers_calendar(shop: Shop) -> None:
    shop.opens("anniversary-offer", "2026-03-01 10:00")
    nia = shop.customer("nia", "offers")
    kiri = shop.customer("kiri", "offers", timezone="Pacific/Auckland")
    luz = shop.customer("luz", "offers", timezone="America/Los_Angeles")
    shop.happened("order_placed", nia, at=shop.moment("2025-03-10 23:30"))
    shop.happened("order_completed", nia, at=shop.moment("2025-03-14 12:00"))  # only the first counts
    shop.happened("purchase", kiri, at=datetime(2024, 3, 9, 20, tzinfo=UTC))  # the 10th there
    shop.happened("order_placed", luz, at=datetime(2023, 3, 10, 3, tzinfo=UTC))  # the 9th there
    assert shop.until("2026-04-01 00:00") == [
        "2026-03-09 16:00 luz offer",
        "2026-03-09 20:00 kiri offer",
        "2026-03-10 09:00 nia offer",
    ]
    assert shop.letter("luz").subject == "3 years with us: 15% off, as a thank-you"
    assert shop.letter("kiri").subject == "2 years with us: 15% off, as a thank-you"
    assert shop.letter("nia").subject == "A year with us: 15% off, as a thank-you"
    assert "THANKYOU15" in shop.letter("nia").text
    assert sorted(row.occurrence.split(":")[1] for row in shop.enrollments) == ["1", "2", "3"]


def test_who_first_bought_on_29_february_is_thanked_on_the_28th_and_in_leap_years_on_the_29th(shop: Shop) -> None:
    shop.opens("anniversary-offer", "2024-02-20 10:00")
    shop.happened("order_placed", shop.customer("leap", "offers"), at=shop.moment("2020-02-29 12:00"))
    days = []
    for year in (2024, 2025, 2026, 2027, 2028):
        shop.until(f"{year}-02-27 08:00", every=A_MONTH)
        days += shop.until(f"{year}-03-02 08:00")
    assert days == [
        "2024-02-29 09:00 leap offer",
        "2025-02-28 09:00 leap offer",
        "2026-02-28 09:00 leap offer",
        "2027-02-28 09:00 leap offer",
        "2028-02-29 09:00 leap offer",
    ]
    assert shop.letter("leap").subject.startswith("8 years with us")


def test_a_corrected_first_order_does_not_thank_twice_in_a_year(shop: Shop) -> None:
    shop.opens("anniversary-offer", "2026-03-01 10:00")
    nia, ben = shop.customer("nia", "offers"), shop.customer("ben", "offers")
    shop.happened("order_placed", nia, ben, at=shop.moment("2025-03-10 12:00"))
    assert len(shop.until("2026-03-11 10:00")) == 2
    shop.corrected("order_placed", nia, at="2025-03-13 12:00")  # two days ahead, the same first anniversary
    shop.corrected("order_placed", ben, at="2024-03-13 12:00")  # it would be the second one
    assert shop.until("2027-03-09 10:00", every=A_MONTH) == []
    assert shop.fates()["ben"] == ["excluded: re_entry", "offer accepted"]
    assert shop.until("2027-04-09 10:00") == ["2027-03-13 09:00 ben offer", "2027-03-13 09:00 nia offer"]
    assert shop.letter("nia").subject.startswith("2 years")
    assert shop.letter("ben").subject.startswith("3 years")


def test_a_date_that_is_corrected_by_more_than_half_a_year_does_not_thank_twice_in_that_year(shop: Shop) -> None:
    shop.opens("anniversary-offer", "2026-03-09 20:00")
    nia, kiri = shop.customer("nia", "offers"), shop.customer("kiri", "offers", timezone="Pacific/Auckland")
    shop.happened("order_placed", nia, at=shop.moment("2025-03-10 12:00"))
    shop.happened("order_placed", kiri, at=datetime(2025, 3, 10, 12, tzinfo=UTC))  # the 11th there
    days = []
    for look in ("2026-03-11 10:00", "2026-10-12 10:00", "2026-12-31 20:30", "2027-10-12 09:30"):
        shop.clock.instant = shop.moment(look)
        shop.works()
        days.append(shop.sent())
        if len(days) == 1:
            shop.corrected("order_placed", nia, at="2025-10-12 12:00")
            shop.corrected("order_placed", kiri, at=datetime(2024, 12, 31, 12, tzinfo=UTC))  # New Year's Day there
    assert days == [
        ["2026-03-11 10:00 kiri offer", "2026-03-11 10:00 nia offer"],
        [],  # she had the thanks of 2026
        ["2026-12-31 20:30 kiri offer"],
        ["2027-10-12 09:30 nia offer"],
    ]
    assert shop.fates() == {"nia": ["excluded: re_entry", *["offer accepted"] * 2], "kiri": ["offer accepted"] * 2}


def test_an_earlier_order_told_late_moves_the_day_and_what_passed_while_live_is_caught_up(shop: Shop) -> None:
    shop.opens("anniversary-offer", "2026-03-01 10:00")
    nia, ben, cleo = (shop.customer(name, "offers") for name in ("nia", "ben", "cleo"))
    shop.happened("order_placed", nia, at=shop.moment("2025-08-01 12:00"))
    shop.until("2026-03-10 15:00")
    shop.happened("order_placed", nia, at=shop.moment("2025-03-10 12:00"))  # this very day
    shop.happened("order_placed", ben, at=shop.moment("2025-03-06 12:00"))  # four days ago: too late to be true
    shop.happened("order_placed", cleo, at=shop.moment("2025-02-27 12:00"))  # before the campaign went live
    assert shop.until("2026-12-31 10:00", every=A_MONTH) == ["2026-03-10 15:00 nia offer"]
    assert shop.fates() == {"nia": ["offer accepted"], "ben": ["offer skipped: too_late"]}


def test_moving_to_another_zone_the_day_before_neither_misses_the_day_nor_doubles_it(shop: Shop) -> None:
    shop.opens("anniversary-offer", "2026-03-01 10:00")
    first = datetime(2025, 3, 9, 20, tzinfo=UTC)  # the 10th in Auckland, the 9th in Honolulu
    west, east, later = (
        shop.customer(name, "offers", timezone=zone)
        for name, zone in (
            ("west", "Pacific/Auckland"), ("east", "Pacific/Honolulu"), ("later", "Pacific/Auckland"),
        )
    )  # fmt: skip
    shop.happened("order_placed", west, east, later, at=first)
    shop.until(datetime(2026, 3, 8, 12, tzinfo=UTC))
    shop.changed(west, timezone="Pacific/Honolulu")
    shop.changed(east, timezone="Pacific/Auckland")
    shop.until(datetime(2026, 3, 9, 12, tzinfo=UTC))  # the day has begun in Auckland
    shop.changed(later, timezone="Pacific/Honolulu")
    shop.until("2026-04-01 00:00")
    assert sorted(message.to.address for message in shop.sender.sent) == [
        "east@example.org", "later@example.org", "west@example.org",
    ]  # fmt: skip
    when = {message.to.address[:4]: message.date for message in shop.sender.sent}
    assert when["west"] == datetime(2026, 3, 9, 19, tzinfo=UTC), "nine in Honolulu, on the 9th"
    assert when["east"] == datetime(2026, 3, 9, 19, tzinfo=UTC), "the hour was set before the move"
    assert when["late"] == datetime(2026, 3, 9, 20, tzinfo=UTC), "nine in Auckland, on the 10th"
    assert {row.occurrence.split(":")[1] for row in shop.rows(Enrollment)} == {"1"}


def test_who_is_not_thanked_and_why(shop: Shop) -> None:
    shop.opens("anniversary-offer", "2026-03-10 11:00")
    today, silent, mute, quick, anon = (
        shop.customer(name, *topics, **columns)
        for name, topics, columns in (
            ("today", ["offers"], {}), ("silent", [], {}), ("mute", ["offers"], {"address": None}),
            ("quick", ["offers"], {}), ("anon", ["offers"], {"attributes": {}}),
        )
    )  # fmt: skip
    shop.happened("order_placed", today, at=shop.moment("2025-03-10 12:00"))  # begun before the launch
    shop.happened("order_placed", silent, mute, quick, anon, at=shop.moment("2025-03-11 12:00"))
    shop.until("2026-03-11 07:00")
    shop.happened("order_placed", quick, at=shop.moment("2026-03-11 07:00"))
    assert shop.until("2026-03-12 10:00") == ["2026-03-11 09:00 anon offer"]
    assert shop.fates() == {
        "silent": ["offer skipped: no_consent"], "mute": ["excluded: not_in_audience"],
        "quick": ["offer skipped: goal_reached"], "anon": ["offer accepted"],
    }  # fmt: skip


def test_the_same_moment_worked_twice_and_by_two_engines_thanks_nobody_twice(shop: Shop) -> None:
    shop.opens("anniversary-offer", "2026-03-01 10:00")
    buyers = [shop.customer(name, "offers") for name in ("ana", "ben")]
    shop.happened("order_placed", *buyers, at=shop.moment("2024-03-10 15:00"))
    shop.clock.instant = shop.moment("2026-03-10 09:00")
    assert shop.works_twice() == ["2026-03-10 09:00 ana offer", "2026-03-10 09:00 ben offer"]
