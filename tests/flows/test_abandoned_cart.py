"""The reminders of a basket left behind, hour by hour: until they buy, and in the daytime."""

from datetime import timedelta

from tests.flows.conftest import Shop

TEN_MINUTES = timedelta(minutes=10)


def test_three_reminders_after_an_hour_a_day_and_three_days(shop: Shop) -> None:
    shop.opens("abandoned-cart", "2026-03-10 08:00")
    ana, ben = shop.customer("ana", "basket"), shop.customer("ben", "basket")
    shop.happened("product_added", ana, ben, at=shop.moment("2026-03-10 09:00"))
    shop.until("2026-03-10 09:20", every=TEN_MINUTES)
    shop.happened("cart_viewed", ana, name="Enamel mug")
    shop.until("2026-03-10 09:40", every=TEN_MINUTES)
    shop.happened("order_placed", ben)  # within the hour: nothing was abandoned
    dan = shop.customer("dan", "basket")
    for name in ("order_placed", "payment_info_entered"):  # in the same minute, told in the wrong order
        shop.happened(name, dan, at=shop.moment("2026-03-10 09:35"))
    assert shop.until("2026-03-10 10:10", every=TEN_MINUTES) == []
    assert shop.until("2026-03-10 10:20", every=TEN_MINUTES) == []  # it has been an hour, and not a moment more
    assert shop.until("2026-03-10 10:21") == ["2026-03-10 10:21 ana reminder"]
    assert shop.until("2026-03-20 10:00") == ["2026-03-11 09:20 ana help", "2026-03-13 09:20 ana last-note"]
    assert shop.letter("ana").to.address == "ana@example.org"
    assert shop.sender.sent[0].subject == "Still in your basket: Enamel mug"
    assert shop.fates() == {"ana": ["reminder accepted", "help accepted", "last-note accepted"]}


def test_buying_ends_it_whenever_it_becomes_known(shop: Shop) -> None:
    shop.opens("abandoned-cart", "2026-03-10 08:00")
    cleo, hal, ivy = (shop.customer(name, "basket") for name in ("cleo", "hal", "ivy"))
    shop.happened("add_to_cart", cleo, hal, at=shop.moment("2026-03-10 09:00"))
    assert shop.until("2026-03-10 10:30", every=TEN_MINUTES) == [
        "2026-03-10 10:10 cleo reminder", "2026-03-10 10:10 hal reminder",
    ]  # fmt: skip
    shop.happened("purchase", hal, at=shop.moment("2026-03-10 09:30"))  # told too late for the first one
    shop.happened("add_to_cart", ivy, at=shop.moment("2026-03-10 08:40"))  # told after its hour was over
    assert shop.until("2026-03-10 12:00", every=TEN_MINUTES) == ["2026-03-10 10:30 ivy reminder"]
    shop.happened("order_completed", cleo)
    assert shop.until("2026-03-11 12:00") == ["2026-03-11 08:40 ivy help"]
    shop.happened("purchase", ivy)
    assert shop.until("2026-03-17 12:00") == []
    assert shop.fates() == {
        "cleo": ["reminder accepted", "help skipped: goal_reached", "last-note skipped: goal_reached"],
        "hal": ["reminder accepted", "help skipped: goal_reached", "last-note skipped: goal_reached"],
        "ivy": ["reminder accepted", "help accepted", "last-note skipped: goal_reached"],
    }


def test_at_night_a_reminder_waits_for_the_morning_where_the_customer_lives(shop: Shop) -> None:
    shop.opens("abandoned-cart", "2026-03-10 08:00")
    dan = shop.customer("dan", "basket")
    luz = shop.customer("luz", "basket", timezone="America/Los_Angeles")
    shop.happened("product_added", luz, at=shop.moment("2026-03-10 09:00"))  # two in the morning there
    shop.happened("product_added", dan, at=shop.moment("2026-03-10 21:30"))
    shop.until("2026-03-10 23:00", every=timedelta(hours=1))
    assert shop.until("2026-03-11 08:00") == ["2026-03-11 08:00 dan reminder"]
    assert shop.until("2026-03-15 20:00") == [
        "2026-03-11 15:00 luz help",
        "2026-03-11 21:30 dan help",
        "2026-03-13 15:00 luz last-note",
        "2026-03-13 21:30 dan last-note",
    ]


def test_after_downtime_one_reminder_goes_and_not_two_at_once(shop: Shop) -> None:
    shop.opens("abandoned-cart", "2026-03-10 08:00")
    ana, ben = shop.customer("ana", "basket"), shop.customer("ben", "basket")
    shop.happened("product_added", ana, at=shop.moment("2026-03-10 09:00"))
    shop.happened("product_added", ben, at=shop.moment("2026-03-10 20:30"))
    shop.clock.instant = shop.moment("2026-03-11 09:15")
    shop.works()
    assert shop.sent() == ["2026-03-11 09:15 ana help", "2026-03-11 09:15 ben reminder"]
    assert shop.fates()["ana"][0] == "reminder skipped: too_late"


def test_a_second_basket_within_three_days_starts_no_second_series(shop: Shop) -> None:
    shop.opens("abandoned-cart", "2026-03-10 08:00")
    eva = shop.customer("eva", "basket")
    shop.happened("product_added", eva, at=shop.moment("2026-03-10 09:00"))
    shop.until("2026-03-10 15:00", every=timedelta(hours=1))
    shop.happened("product_added", eva)
    shop.until("2026-03-14 09:00")
    shop.happened("product_added", eva)
    shop.until("2026-03-20 09:00")
    assert [f"{message.date:%d %H}" for message in shop.sender.sent] == [
        "10 11", "11 09", "13 09", "14 21", "15 09", "17 09",
    ]  # fmt: skip
    assert [(row.state, row.reason) for row in shop.enrollments] == [
        ("finished", ""), ("excluded", "re_entry"), ("finished", ""),
    ]  # fmt: skip


def test_who_is_not_reminded_and_why(shop: Shop) -> None:
    shop.opens("abandoned-cart", "2026-03-10 10:00")
    silent, mute, before, edge = (
        shop.customer(name, *topics, **columns)
        for name, topics, columns in (
            ("silent", [], {}), ("mute", ["basket"], {"address": None}), ("before", ["basket"], {}),
            ("edge", ["basket"], {}),
        )
    )  # fmt: skip
    shop.happened("product_added", silent, mute, at=shop.moment("2026-03-10 10:00"))
    shop.happened("product_added", before, at=shop.moment("2026-03-10 08:59"))  # abandoned before the launch
    shop.happened("product_added", edge, at=shop.moment("2026-03-10 09:00"))  # as the campaign went live
    assert shop.until("2026-03-10 12:00", every=TEN_MINUTES)[0] == "2026-03-10 10:10 edge reminder"
    assert shop.fates()["silent"] == ["reminder skipped: no_consent"]
    assert shop.fates()["mute"] == ["excluded: not_in_audience"]
    assert "before" not in shop.fates()


def test_the_same_moment_worked_twice_and_by_two_engines_reminds_nobody_twice(shop: Shop) -> None:
    shop.opens("abandoned-cart", "2026-03-10 08:00")
    people = [shop.customer(name, "basket") for name in ("ana", "ben")]
    shop.happened("cart", *people, at=shop.moment("2026-03-10 09:00"))
    shop.clock.instant = shop.moment("2026-03-10 10:05")
    assert shop.works_twice() == ["2026-03-10 10:05 ana reminder", "2026-03-10 10:05 ben reminder"]
