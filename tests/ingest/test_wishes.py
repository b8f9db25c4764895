"""What customers ask of a shop about their data: who is meant is erased, or noted for somebody to answer; once."""

from collections import Counter
from typing import Any

import pytest
from sqlalchemy import insert, select

from evergreet.contracts import Customer, CustomerEvent, Wish
from evergreet.database import Database
from evergreet.ingest.wishes import carry_out
from evergreet.tokens import Tokens
from models import AuditLog, Contact, ContactAlias, Suppression
from tests.conftest import NOW
from tests.contacts import add_contact

MAYA = "maya@example.com"
TOKENS = Tokens(["test-key"])


def asks(wish: Wish, customer: Customer) -> CustomerEvent:
    return CustomerEvent(f"{wish}:1", "", NOW, customer, wish=wish)


def told(database: Database, *wishes: CustomerEvent) -> Counter[str]:
    with database.write() as connection:
        return carry_out(connection, "shop", wishes, TOKENS, NOW)


def read(database: Database, table: Any) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(select(table).order_by(table.id)))


@pytest.fixture
def people(database: Database) -> list[int]:
    """Two with one address, of whom the shop knows the second by an id of its own, and a third."""
    with database.write() as connection:
        ids = [add_contact(connection, address) for address in (MAYA, MAYA, "ada@example.com")]
        connection.execute(insert(ContactAlias).values(source="shop", source_id="191167", contact_id=ids[1], at=NOW))
    return ids


def test_who_is_known_by_the_shops_id_is_erased_alone(database: Database, people: list[int]) -> None:
    for _ in range(2):
        assert not told(database, asks(Wish.FORGET, Customer("191167", MAYA)))
    assert [row.erased_at for row in read(database, Contact)] == [None, NOW, None]
    assert [(row.reason, row.address) for row in read(database, Suppression)] == [
        ("erased", TOKENS.address_hashes(MAYA)[-1])
    ]
    assert [(row.actor, row.action) for row in read(database, AuditLog)] == [("webhook:shop", "erase")]


def test_who_is_known_by_address_only_is_everybody_who_has_it(database: Database, people: list[int]) -> None:
    assert not told(database, asks(Wish.FORGET, Customer("7", "Maya@Example.com")))
    assert [row.erased_at for row in read(database, Contact)] == [NOW, NOW, None]


def test_whom_nobody_knows_is_counted(database: Database, people: list[int]) -> None:
    strangers = [Customer("7"), Customer(email="x@example.com"), Customer(email="no address"), Customer("7", "")]
    assert told(database, *(asks(wish, one) for wish in (Wish.FORGET, Wish.TELL) for one in strangers)) == {
        "no contact": 8
    }
    assert read(database, AuditLog) == []


def test_who_asks_for_their_data_is_noted_once_and_not_changed(
    database: Database, people: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    before = read(database, Contact)
    for _ in range(2):
        told(database, asks(Wish.TELL, Customer("191167", MAYA)))
    assert [(row.action, row.subject) for row in read(database, AuditLog)] == [
        ("data_request", f"contact {people[1]}, tell:1")
    ]
    assert read(database, Contact) == before
    assert caplog.text.count("asks by shop") == 1
    assert MAYA not in caplog.text
