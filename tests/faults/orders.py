"""Customers who have just ordered, and what is in the ledger when a run has come to its end in spite of all."""

from collections import Counter
from datetime import UTC, datetime

from evergreet.clock import FrozenClock
from tests.faults.sink import Sink
from tests.faults.stores import opened
from tests.faults.typed import Type
from tests.story import Story

ORDERS = 40


def shop(url: str, type_in: Type, orders: int = ORDERS) -> None:
    """A live campaign, and customers who have just ordered."""
    assert type_in("launch", "thank-you").code == 0
    with opened(url) as database:
        story = Story(database, FrozenClock(datetime.now(UTC)))
        contacts = story.contacts(orders)
        story.happened("order_placed", *contacts, at=datetime.now(UTC), amount=20, currency="EUR")


def states(url: str) -> dict[str, int]:
    with opened(url) as database:
        return Story(database, FrozenClock(datetime.now(UTC))).states()


def finishes(url: str, type_in: Type, sink: Sink, orders: int = ORDERS) -> dict[str, int]:
    """Run once more, now that there is nothing in the way; return the states. Nobody is missing or has two mails."""
    ran = type_in("run", "thank-you", "--json")
    assert ran.code == 0, ran.err
    audited = type_in("audit")
    assert audited.code == 0, audited.out
    found = states(url)
    assert sum(found.values()) == orders
    assert all(state == "accepted" or state.startswith("unknown: ") for state in found)
    assert max(Counter(sink.recipients).values()) == 1
    assert found["accepted"] <= len(sink.mails) <= orders
    return found
