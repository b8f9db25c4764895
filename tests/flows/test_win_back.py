"""The win-back, week by week: two emails to customers who fell silent, then none until they come back."""

from datetime import timedelta

from evergreet.campaign import Campaign, Email, event
from evergreet.campaigns import required
from evergreet.explain import explain
from tests.flows.conftest import Shop

A_WEEK = timedelta(days=7)


def test_two_emails_after_sixty_silent_days_then_silence_until_they_come_back(shop: Shop) -> None:
    shop.opens("win-back", "2026-01-01 10:00")
    ana = shop.customer("ana", "offers")
    shop.happened("order_placed", ana, at=shop.moment("2026-01-05 12:00"))
    assert shop.until("2026-03-06 12:00", every=A_WEEK) == [], "it has been sixty days, and not a moment more"
    assert shop.until("2026-03-06 12:01") == ["2026-03-06 12:01 ana we-miss-you"]
    assert shop.until("2026-03-30 10:00", every=A_WEEK) == ["2026-03-20 12:00 ana last-word"]
    assert "WELCOMEBACK" in shop.sender.sent[0].text

    news = restock(shop, ana)
    assert shop.fates()["ana"][2:] == ["news skipped: dormant"], "no marketing from any campaign"
    assert shop.until("2026-05-01 10:00", every=A_WEEK) == []
    shop.happened("page_viewed", ana)  # she is back
    restock(shop, ana, news)
    assert shop.fates()["ana"][3:] == ["news accepted"]
    shop.sent()
    assert shop.until("2026-06-30 10:01", every=A_WEEK) == ["2026-06-30 10:01 ana we-miss-you"]
    assert shop.until("2026-07-20 10:00", every=A_WEEK) == ["2026-07-14 10:00 ana last-word"]


def restock(shop: Shop, contact: int, campaign: Campaign | None = None) -> Campaign:
    """Let another campaign write, once per event."""
    if campaign is None:
        campaign = Campaign(
            "restock", event("back_in_stock"), (Email("news", "abandoned_cart/reminder"),), topic="offers"
        )
        shop.launch(campaign)
    shop.happened("back_in_stock", contact)
    shop.run(campaign)
    return campaign


def test_after_days_without_a_worker_both_letters_go_and_not_at_once(shop: Shop) -> None:
    shop.opens("win-back", "2026-01-01 10:00")
    shop.happened("order_placed", shop.customer("ana", "offers"), at=shop.moment("2026-01-05 12:00"))
    shop.until("2026-03-01 12:00", every=A_WEEK)
    shop.clock.instant = shop.moment("2026-03-12 12:00")  # six days after the first was due
    assert shop.until("2026-04-01 12:00", every=A_WEEK) == [
        "2026-03-12 12:00 ana we-miss-you", "2026-03-20 12:00 ana last-word",
    ]  # fmt: skip


def test_a_sign_of_life_on_day_59_starts_the_sixty_days_again(shop: Shop) -> None:
    shop.opens("win-back", "2026-01-01 10:00")
    ben, dan = shop.customer("ben", "offers"), shop.customer("dan", "offers")
    shop.happened("order_placed", ben, dan, at=shop.moment("2026-01-05 12:00"))
    shop.until("2026-03-05 12:00", every=A_WEEK)
    shop.happened("login", ben)
    assert shop.until("2026-03-06 13:00") == ["2026-03-06 13:00 dan we-miss-you"]
    shop.until("2026-03-10 12:00")
    shop.happened("product_viewed", dan)  # came back after the first email
    assert shop.until("2026-05-04 13:00", every=A_WEEK) == [], "sixty times 24 hours, over a change of the clock"
    assert shop.until("2026-05-04 13:01") == ["2026-05-04 13:01 ben we-miss-you"]
    assert shop.fates()["dan"] == ["we-miss-you accepted", "last-word skipped: unless"]


def test_who_is_not_written_to_and_why(shop: Shop) -> None:
    shop.opens("win-back", "2026-01-01 10:00")
    looker, gone, quiet, silent, mute, night = (
        shop.customer(name, *topics, **columns)
        for name, topics, columns in (
            ("looker", ["offers"], {}), ("gone", ["offers"], {}), ("quiet", ["offers"], {}), ("silent", [], {}),
            ("mute", ["offers"], {"address": None}), ("night", ["offers"], {"attributes": {}}),
        )
    )  # fmt: skip
    shop.happened("page_viewed", looker, at=shop.moment("2026-01-02 12:00"))  # never bought
    shop.happened("order_placed", gone, at=shop.moment("2025-10-01 12:00"))  # silent long before the launch
    shop.happened("order_placed", quiet, at=shop.moment("2025-11-20 12:00"))  # sixty days are over on 19 January
    shop.happened("order_placed", silent, mute, at=shop.moment("2026-01-02 12:00"))
    shop.happened("order_placed", night, at=shop.moment("2026-01-02 23:00"))
    shop.until("2026-01-19 12:00", every=A_WEEK)
    assert shop.until("2026-01-19 13:00") == ["2026-01-19 13:00 quiet we-miss-you"]
    assert shop.until("2026-03-04 08:00", every=timedelta(days=1)) == ["2026-02-02 12:00 quiet last-word"]
    assert shop.until("2026-03-15 12:00") == ["2026-03-04 09:00 night we-miss-you"], "not at eleven at night"
    assert shop.letter("night").subject == "It has been a while"
    assert shop.fates()["silent"] == ["we-miss-you skipped: no_consent"]
    assert shop.fates()["mute"] == ["excluded: not_in_audience"]
    assert {"looker", "gone"}.isdisjoint(shop.fates())


def test_an_order_told_late_makes_a_customer_of_who_seemed_to_look_around(shop: Shop) -> None:
    """The silence was there already; that she had bought before it becomes known when it is over."""
    shop.opens("win-back", "2026-01-01 10:00")
    eva = shop.customer("eva", "offers")
    shop.happened("page_viewed", eva, at=shop.moment("2026-01-10 12:00"))
    shop.until("2026-03-12 12:00", every=A_WEEK)  # the sixty days ended yesterday
    shop.happened("order_placed", eva, at=shop.moment("2026-01-05 12:00"))  # from the till of a shop
    assert shop.until("2026-03-13 12:00") == ["2026-03-12 12:00 eva we-miss-you"]


def test_an_order_told_after_the_last_word_lets_other_campaigns_write_again(shop: Shop) -> None:
    """She bought two weeks before the last word; the till told it ten days after. So she was not silent."""
    shop.opens("win-back", "2026-01-01 10:00")
    ana, ben = shop.customer("ana", "offers"), shop.customer("ben", "offers")
    shop.happened("order_placed", ana, ben, at=shop.moment("2026-01-05 12:00"))
    shop.until("2026-03-06 12:01", every=A_WEEK)
    assert len(shop.until("2026-03-30 10:00", every=A_WEEK)) == 2
    shop.happened("purchase", ana, at=shop.moment("2026-03-19 12:00"))
    news = restock(shop, ana)
    restock(shop, ben, news)
    assert (shop.fates()["ana"][2:], shop.fates()["ben"][2:]) == (["news accepted"], ["news skipped: dormant"])
    with shop.database.read() as connection:
        told = {
            name: [line for line in explain(connection, required(connection, "restock"), one, now=shop.now)
                   if line.what == "no marketing"]
            for name, one in (("ana", ana), ("ben", ben))
        }  # fmt: skip
    assert told["ana"] == []
    assert [line.detail.partition(";")[0] for line in told["ben"]] == ["win-back/last-word was the last word"]


def test_a_sign_of_life_that_is_taken_back_leaves_the_silence(shop: Shop) -> None:
    """What broke the silence is corrected to another day, after the sixty days are over."""
    shop.opens("win-back", "2026-01-01 10:00")
    fay = shop.customer("fay", "offers")
    shop.happened("order_placed", fay, at=shop.moment("2026-01-05 12:00"))
    shop.happened("login", fay, at=shop.moment("2026-01-20 12:00"))
    shop.until("2026-03-07 12:00", every=A_WEEK)
    shop.corrected("login", fay, at="2026-01-04 12:00")
    assert shop.until("2026-03-08 12:00") == ["2026-03-07 12:00 fay we-miss-you"]


def test_the_same_moment_worked_twice_and_by_two_engines_writes_to_nobody_twice(shop: Shop) -> None:
    shop.opens("win-back", "2026-01-01 10:00")
    people = [shop.customer(name, "offers") for name in ("ana", "ben")]
    shop.happened("purchase", *people, at=shop.moment("2026-01-05 12:00"))
    shop.clock.instant = shop.moment("2026-03-06 12:05")
    assert shop.works_twice() == ["2026-03-06 12:05 ana we-miss-you", "2026-03-06 12:05 ben we-miss-you"]
