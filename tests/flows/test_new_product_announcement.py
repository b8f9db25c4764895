"""The announcement of a product: an audience frozen once, counted, and confirmed where it is large."""

from dataclasses import replace

import pytest
from sqlalchemy import insert

from evergreet.broadcasts import Announcement, announcements, cancel, confirm
from evergreet.campaigns import due_campaigns
from evergreet.errors import EvergreetError
from models import Consent
from tests.flows.conftest import Shop

NAME, TENT = "new-product-announcement", "product_launched:tent"


def test_a_product_is_announced_once_to_those_who_are_there_and_agreed(shop: Shop) -> None:
    shop.opens(NAME, "2026-03-13 08:00")  # a Friday
    for name, topics in (("ana", ["news"]), ("ben", ["news"]), ("cleo", ["offers"]), ("dan", [])):
        shop.customer(name, *topics)
    shop.customer("luz", "news", timezone="America/Los_Angeles")
    shop.customer("kiri", "news", timezone="Pacific/Auckland")
    shop.customer("mute", "news", address=None)
    shop.clock.instant = shop.moment("2026-03-13 17:30")
    shop.announces("product_launched", "p-1", product_id="tent", name="Fell 2 tent", path="/tents/fell-2")
    assert shop.until("2026-03-13 17:30") == [
        "2026-03-13 17:30 ana announcement", "2026-03-13 17:30 ben announcement",
        "2026-03-13 17:30 luz announcement",
    ]  # fmt: skip

    shop.customer("late", "news")  # joined after the freeze
    shop.announces("product_launched", "p-1-again", product_id="tent", name="Fell 2 tent")  # told twice
    assert shop.until("2026-03-16 12:00") == ["2026-03-15 20:00 kiri announcement"]  # nine on Monday there
    assert shop.letter("ana").subject == "New: Fell 2 tent"
    assert "https://www.fernway.example/tents/fell-2" in shop.letter("ana").text
    assert [(each.occurrence, each.state, each.recipients) for each in told(shop)] == [(TENT, "frozen", 4)]

    shop.announces("product_launched", "p-2", product_id="lamp", name="Head lamp")
    assert len(shop.until("2026-03-17 12:00")) == 5, "also who joined since"
    assert [each.recipients for each in told(shop)] == [5, 4]


def test_above_the_limit_nobody_gets_it_before_somebody_confirms_the_count(shop: Shop) -> None:
    shop.opens(NAME, "2026-03-11 10:00")
    shop.contacts(1_001, consents=["news"])
    shop.announces("product_launched", "p-1", product_id="tent", name="Fell 2 tent")
    assert shop.until("2026-03-11 10:30") == []
    assert [(each.state, each.recipients) for each in told(shop)] == [("waiting", 1_001)]
    assert shop.enrollments == []
    with shop.database.read() as connection:
        assert due_campaigns(connection, shop.now) == [], "it waits for a person, not for the next run"

    with pytest.raises(EvergreetError, match="would go to 1001 contacts now, more than the 1000 confirmed"):
        confirm(shop.database, NAME, TENT, 1_000, clock=shop.clock, actor="mo")
    assert shop.until("2026-03-11 11:00") == []
    assert confirm(shop.database, NAME, TENT, 1_001, clock=shop.clock, actor="mo") == 1_001
    shop.contacts(3, consents=["news"])  # they join after the freeze
    assert len(shop.until("2026-03-11 12:00")) == 1_001
    assert [(each.state, each.recipients, each.decided_by) for each in told(shop)] == [("frozen", 1_001, "mo")]
    with pytest.raises(EvergreetError, match="does not wait any more: it is frozen"):
        confirm(shop.database, NAME, TENT, 1_001, clock=shop.clock, actor="mo")


def test_who_unsubscribed_between_the_count_and_the_word_is_not_in_it(shop: Shop) -> None:
    shop.opens(NAME, "2026-03-11 10:00")
    shop.campaign = replace(shop.campaign, confirm_above=1)
    ana, ben = shop.customer("ana", "news"), shop.customer("ben", "news")
    shop.announces("product_launched", "p-1", product_id="tent", name="Fell 2 tent")
    shop.until("2026-03-11 10:30")
    says_no(shop, ben)
    assert confirm(shop.database, NAME, TENT, 2, clock=shop.clock, actor="mo") == 1
    says_no(shop, ana)  # after the freeze: the gate asks again
    assert shop.until("2026-03-11 12:00") == []
    assert shop.fates() == {"ana": ["announcement skipped: no_consent"]}


def test_a_broadcast_that_is_cancelled_goes_to_nobody_for_good(shop: Shop) -> None:
    shop.opens(NAME, "2026-03-11 10:00")
    shop.campaign = replace(shop.campaign, confirm_above=0)
    shop.customer("ana", "news")
    shop.announces("product_launched", "p-1", product_id="tent")
    shop.until("2026-03-11 10:30")
    cancel(shop.database, NAME, TENT, clock=shop.clock, actor="mo")
    shop.announces("product_launched", "p-1-again", product_id="tent")
    assert shop.until("2026-03-12 12:00") == []
    with pytest.raises(EvergreetError, match="it is cancelled"):
        confirm(shop.database, NAME, TENT, 5, clock=shop.clock, actor="mo")
    with pytest.raises(EvergreetError, match="has no broadcast 'product_launched:lamp'"):
        cancel(shop.database, NAME, "product_launched:lamp", clock=shop.clock, actor="mo")


def test_products_launched_before_the_campaign_and_those_who_bought_meanwhile(shop: Shop) -> None:
    shop.opens(NAME, "2026-03-14 10:00")  # a Saturday
    ana, _ben = shop.customer("ana", "news"), shop.customer("ben", "news", attributes={})
    shop.announces("product_launched", "p-1", product_id="tent")
    shop.until("2026-03-14 12:00")
    shop.happened("order_placed", ana)
    assert shop.until("2026-03-16 12:00") == ["2026-03-16 09:00 ben announcement"]
    assert shop.letter("ben").subject == "Something new in the shop"
    assert shop.fates()["ana"] == ["announcement skipped: goal_reached"]


def test_the_same_moment_worked_twice_and_by_two_engines_announces_once(shop: Shop) -> None:
    shop.opens(NAME, "2026-03-11 10:00")
    shop.customer("ana", "news")
    shop.customer("ben", "news")
    shop.announces("product_launched", "p-1", product_id="tent", name="Fell 2 tent")
    assert shop.works_twice() == ["2026-03-11 10:00 ana announcement", "2026-03-11 10:00 ben announcement"]


def says_no(shop: Shop, contact: int) -> None:
    with shop.database.write() as connection:
        connection.execute(
            insert(Consent).values(
                contact_id=contact, topic="news", granted=False, at=shop.now, source="test", wording=""
            )
        )


def told(shop: Shop) -> list[Announcement]:
    with shop.database.read() as connection:
        return announcements(connection, NAME)
