"""The request for a review, day by day: every buyer alike, two weeks after the delivery, once per order."""

import pytest

from evergreet.errors import DefinitionError
from tests.flows.conftest import Shop


def test_two_weeks_after_the_delivery_or_after_the_order_where_none_is_known(shop: Shop) -> None:
    shop.opens("review-request", "2026-03-01 10:00")
    ana, ben, cleo, dan = (shop.customer(name, "reviews") for name in ("ana", "ben", "cleo", "dan"))
    for number, buyer in enumerate((ana, ben, cleo, dan)):
        shop.happened("order_placed", buyer, at=shop.moment("2026-03-02 15:00"), order_id=number)
    shop.until("2026-03-05 10:00")
    shop.happened("order_delivered", ana, order_id="0")  # a number there, and text here
    shop.happened("order_delivered", cleo, order_id="another")
    shop.until("2026-03-15 10:00")
    shop.happened("order_delivered", dan, at=shop.moment("2026-03-12 18:00"), order_id=3)  # three days late

    assert shop.until("2026-03-16 22:00") == [
        "2026-03-16 10:00 ben request", "2026-03-16 10:00 cleo request",
    ]  # fmt: skip
    assert shop.until("2026-03-19 22:00") == ["2026-03-19 10:00 ana request"]
    shop.happened("order_delivered", ben, at=shop.moment("2026-03-19 12:00"), order_id=1)  # after he was asked
    assert shop.until("2026-04-30 10:00") == ["2026-03-26 10:00 dan request"]
    assert "https://www.fernway.example/reviews/new" in shop.letter("dan").text
    assert len(shop.messages) == 4


def test_a_corrected_delivery_moves_the_request_and_never_asks_again(shop: Shop) -> None:
    shop.opens("review-request", "2026-03-01 10:00")
    eva, fay = shop.customer("eva", "reviews"), shop.customer("fay", "reviews")
    shop.happened("order_placed", eva, fay, at=shop.moment("2026-03-02 15:00"), order_id="B-1")
    shop.happened("order_delivered", eva, at=shop.moment("2026-03-05 12:00"), order_id="B-1")
    shop.happened("order_delivered", fay, at=shop.moment("2026-03-08 12:00"), order_id="B-1")
    shop.until("2026-03-18 10:00")
    shop.corrected("order_delivered", eva, at="2026-03-08 12:00")
    shop.corrected("order_delivered", fay, at="2026-03-04 12:00")  # a time that was counted from is not taken back
    assert shop.until("2026-03-23 10:00") == [
        "2026-03-22 10:00 eva request", "2026-03-22 10:00 fay request",
    ]  # fmt: skip
    shop.corrected("order_delivered", eva, at="2026-03-15 12:00")
    shop.happened("order_delivered", fay, order_id="B-1")
    shop.happened("order_placed", eva, order_id="B-1")  # the order told again, by another system
    assert shop.until("2026-05-01 10:00") == []
    assert len(shop.messages) == 2


def test_a_delivery_that_is_told_while_the_request_waits_moves_it(shop: Shop) -> None:
    shop.opens("review-request", "2026-03-01 10:00")
    ana, ben = shop.customer("ana", "reviews"), shop.customer("ben", "reviews")
    shop.happened("order_placed", ana, ben, at=shop.moment("2026-03-02 15:00"), order_id="F-1")
    for contact in (ana, ben):
        shop.changed(contact, paused_until=shop.moment("2026-03-17 10:00"))
    assert shop.until("2026-03-16 11:00") == []
    assert shop.fates()["ana"] == ["request deferred: contact_paused"]
    shop.happened("order_delivered", ana, at=shop.moment("2026-03-14 11:00"), order_id="F-1")
    assert shop.until("2026-03-27 10:00") == ["2026-03-17 10:00 ben request"]
    assert shop.fates()["ana"] == ["request deferred: counted_anew"]
    assert shop.until("2026-04-20 10:00") == ["2026-03-28 10:00 ana request"]


def test_the_unhappy_are_asked_like_everyone_and_only_who_wrote_about_this_order_is_not(shop: Shop) -> None:
    shop.opens("review-request", "2026-03-01 10:00", days_after=7, hour=18)
    names = ("gus", "hal", "ivy", "one-star", "never")
    gus, hal, ivy, angry, never = (shop.customer(name, "reviews") for name in names)
    shop.happened("order_placed", gus, hal, ivy, angry, never, at=shop.moment("2026-03-02 09:00"), order_id="C-1")
    shop.until("2026-03-06 10:00")
    shop.happened("refund_requested", gus, order_id="C-1")
    shop.happened("support_ticket_opened", gus)
    shop.happened("order_cancelled", gus, order_id="B-2")  # of another order
    shop.happened("order_cancelled", never, order_id="C-1")  # so that there is nothing to review
    shop.happened("review_submitted", hal, order_id="C-1", rating=5)
    shop.happened("review_submitted", angry, order_id="C-1", rating=1)
    shop.happened("review_submitted", ivy, order_id="A-7", rating=2)  # of another order
    others = [
        shop.customer("silent"), shop.customer("mute", "reviews", address=None),
        shop.customer("anon", "reviews", attributes={}), shop.customer("kiri", "reviews", timezone="Asia/Tokyo"),
    ]  # fmt: skip
    shop.happened("order_placed", *others, at=shop.moment("2026-03-02 09:00"), order_id="C-1")
    assert shop.until("2026-03-31 10:00") == [
        "2026-03-09 09:00 kiri request",
        "2026-03-09 18:00 anon request",
        "2026-03-09 18:00 gus request",
        "2026-03-09 18:00 ivy request",
    ]
    assert shop.letter("anon").subject == "How did your order turn out?"
    told = shop.fates()
    assert told["hal"] == told["one-star"] == ["request skipped: goal_reached"], "whatever it said"
    assert told["never"] == ["request skipped: unless"]
    assert told["silent"] == ["request skipped: no_consent"]
    assert told["mute"] == ["excluded: not_in_audience"]


def test_a_site_that_forbids_asking_is_refused_in_the_form(shop: Shop) -> None:
    shop.opens("review-request", "2026-03-01 10:00")
    shop.options = shop.options.model_copy(update={"review_url": "https://www.yelp.co.uk/writeareview"})
    with pytest.raises(DefinitionError, match="Yelp asks businesses not to ask"):
        shop.works()
    assert shop.messages == []


def test_the_same_moment_worked_twice_and_by_two_engines_asks_nobody_twice(shop: Shop) -> None:
    shop.opens("review-request", "2026-03-01 10:00")
    buyers = [shop.customer(name, "reviews") for name in ("ana", "ben")]
    shop.happened("order_placed", *buyers, at=shop.moment("2026-03-02 15:00"), order_id="D-1")
    shop.happened("order_delivered", buyers[0], at=shop.moment("2026-03-02 16:00"), order_id="D-1")
    shop.clock.instant = shop.moment("2026-03-16 10:00")
    assert shop.works_twice() == ["2026-03-16 10:00 ana request", "2026-03-16 10:00 ben request"]


def test_an_order_is_an_order_by_whichever_name_it_is_told_and_once_by_several(shop: Shop) -> None:
    shop.opens("review-request", "2026-03-01 10:00")
    ana, ben, cleo = (shop.customer(name, "reviews") for name in ("ana", "ben", "cleo"))
    shop.happened("order_completed", ana, at=shop.moment("2026-03-02 15:00"), order_id="E-1")
    shop.happened("purchase", ben, at=shop.moment("2026-03-02 16:00"), order_id="E-2")
    for name in ("order_completed", "order_placed"):  # a shop and its analytics tell the same one
        shop.happened(name, cleo, at=shop.moment("2026-03-02 17:00"), order_id="E-3")
    shop.until("2026-03-04 10:00")
    shop.happened("product_reviewed", ben, order_id="E-2", rating=1)
    assert shop.until("2026-03-20 10:00") == ["2026-03-16 10:00 ana request", "2026-03-16 10:00 cleo request"]
    assert sorted(row.occurrence for row in shop.enrollments) == [f"order_placed:E-{each}" for each in (1, 2, 3)]
