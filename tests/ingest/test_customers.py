"""What shops tell of their customers: whom it means, once, and what they agreed to."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlmodel import col

from evergreet.clock import FrozenClock
from evergreet.contracts import Agreement, Customer, CustomerEvent
from evergreet.database import Database
from evergreet.erasure import erase
from evergreet.ingest.customers import store
from evergreet.tokens import Tokens
from models import Consent, Contact, ContactAlias, Event
from tests.conftest import NOW
from tests.contacts import add_consent, add_contact

MAYA = "maya@example.com"


@pytest.fixture
def tell(database: Database, clock: FrozenClock) -> Any:
    """Store what a shop tells in one request."""

    def told(*events: CustomerEvent, source: str = "shop", names: dict[str, str] | None = None) -> Counter[str]:
        with database.write() as connection:
            return store(connection, source, events, names or {}, clock, NOW)

    return told


def order(number: str, customer: Customer, name: str = "order_placed", **properties: Any) -> CustomerEvent:
    return CustomerEvent(f"paid:{number}", name, NOW - timedelta(hours=1), customer, {"order_id": number, **properties})


def rows(database: Database, table: Any) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(select(table.__table__).order_by(col(table.id))))


def test_who_is_new_becomes_a_contact_who_agreed_to_nothing(tell: Any, database: Database) -> None:
    details = {"name": "Maya Okafor", "phone": "+4930901820", "locale": "de-AT", "country": "DE"}
    assert not tell(order("1", Customer("c1", "Maya@Example.com", details), amount=59.8))
    (contact,), (event,) = rows(database, Contact), rows(database, Event)
    assert (contact.source, contact.source_id, contact.email, contact.address) == (
        "shop",
        "c1",
        "Maya@Example.com",
        MAYA,
    )
    assert (contact.phone, contact.locale, contact.created_at) == ("+4930901820", "de_AT", NOW - timedelta(hours=1))
    assert contact.attributes == {"name": "Maya Okafor", "country": "DE"}
    assert (event.contact_id, event.name, event.source_id) == (contact.id, "order_placed", "paid:1")
    assert event.properties == {"order_id": "1", "amount": 59.8}
    assert rows(database, Consent) == []


def test_what_is_told_again_or_by_two_messages_is_one_event(tell: Any, database: Database) -> None:
    for amount in (1, 1, 2):
        tell(order("1", Customer("c1", MAYA), amount=amount), order("1", Customer("c1"), amount=3))
    assert [event.properties["amount"] for event in rows(database, Event)] == [1]
    assert len(rows(database, Contact)) == 1


def test_the_contact_of_another_source_with_the_address_is_meant_and_is_not_changed(
    tell: Any, database: Database
) -> None:
    with database.write() as connection:
        known = add_contact(connection)
    before = rows(database, Contact)
    tell(order("1", Customer("c1", before[0].email, {"name": "M."})), order("2", Customer("c1")))
    tell(order("3", Customer("c1", "other@example.com")))
    assert rows(database, Contact) == before
    assert [event.contact_id for event in rows(database, Event)] == [known] * 3
    assert [(alias.source, alias.source_id, alias.contact_id) for alias in rows(database, ContactAlias)] == [
        ("shop", "c1", known)
    ]


def test_a_guest_who_opens_an_account_later_stays_one_contact(tell: Any, database: Database) -> None:
    tell(order("1", Customer(email=MAYA)))
    tell(order("2", Customer("c1", MAYA)))
    tell(order("3", Customer("c1")), order("4", Customer(email=MAYA)))
    (contact,) = rows(database, Contact)
    assert [event.contact_id for event in rows(database, Event)] == [contact.id] * 4


def test_who_was_told_without_an_address_gets_it_and_it_is_not_changed_after(tell: Any, database: Database) -> None:
    for email in ("", "not an address", MAYA, "other@example.com"):
        tell(order(email or "first", Customer("c1", email)))
    (contact,) = rows(database, Contact)
    assert contact.address == MAYA


def test_an_event_that_names_nobody_is_about_whom_an_earlier_one_was(tell: Any, database: Database) -> None:
    refund = CustomerEvent("refund:1", "order_refunded", NOW, Customer(), like="paid:1")
    assert tell(refund) == {"no contact": 1}
    tell(order("1", Customer("c1", MAYA)))
    assert not tell(refund)
    assert len({event.contact_id for event in rows(database, Event)}) == 1
    assert len(rows(database, Event)) == 2


def test_a_customer_without_an_event_is_a_contact(tell: Any, database: Database) -> None:
    tell(order("1", Customer("c1", MAYA), name=""))
    assert len(rows(database, Contact)) == 1
    assert rows(database, Event) == []


def test_what_names_nobody_or_cannot_be_stored_is_left_out_and_counted(tell: Any, database: Database) -> None:
    left = tell(
        order("1", Customer()), order("2", Customer(email="nobody")), order("3", Customer("c1"), note="\x00"),
        order("4", Customer("c" * 256)), order("5", Customer("c5", details={"phone": "1" * 1001})),
        order("6", Customer("c6", MAYA)),
    )  # fmt: skip
    assert left == {"no contact": 2, "NUL character": 1, "too long": 2}
    assert [event.source_id for event in rows(database, Event)] == ["paid:6"]


def test_an_agreement_counts_from_its_own_time_on(tell: Any, database: Database) -> None:
    with database.write() as connection:
        known = add_contact(connection)
        add_consent(connection, known, "news")
    email = rows(database, Contact)[0].email
    said = [
        Agreement("news", granted=False, at=NOW - timedelta(days=4000)),  # before they agreed: nothing
        Agreement("offers", granted=True, at=NOW - timedelta(days=2), wording="Keep me posted"),
        Agreement("offers", granted=False, at=NOW - timedelta(days=1)),
        Agreement("offers", granted=True, at=NOW - timedelta(days=3)),  # told late
    ]
    for number, agreement in enumerate(said):
        for _ in range(2):
            tell(order(str(number), Customer("c1", email, agreement=agreement)))
    told = [(row.topic, row.granted, row.source, row.wording) for row in rows(database, Consent)[1:]]
    assert told == [("offers", True, "shop", "Keep me posted"), ("offers", False, "shop", "")]


def test_who_is_erased_stays_so_when_it_is_told_again(tell: Any, database: Database) -> None:
    first = order("1", Customer("c1", MAYA, {"name": "Maya"}, Agreement("news", granted=True, at=NOW)))
    guest = order("2", Customer(email="guest@example.com"))
    tell(first, guest)
    with database.write() as connection:
        for row in rows_of(connection):
            erase(connection, row.id, tokens=Tokens(["test-key"]), at=NOW, actor="test")
    tell(first, guest, order("3", Customer("c1", MAYA)))
    contacts = rows(database, Contact)
    assert [contact.address for contact in contacts] == [None, None]
    assert [contact.attributes for contact in contacts] == [{}, {}]


def rows_of(connection: Any) -> list[Any]:
    return list(connection.execute(select(col(Contact.id))))


def test_an_events_name_may_be_called_otherwise(tell: Any, database: Database) -> None:
    tell(order("1", Customer("c1")), names={"order_placed": "order_completed"})
    assert [event.name for event in rows(database, Event)] == ["order_completed"]
