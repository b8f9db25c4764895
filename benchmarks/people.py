"""Who the messages go to: contacts with an order and the move between stages it caused, stored in bulk."""

from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    String,
    case,
    cast,
    false,
    func,
    insert,
    literal,
    literal_column,
    null,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import SQLModel

from evergreet.campaign import TRANSACTIONAL, Campaign, Email, Options, stage_entered
from evergreet.database import Database, ingest_position
from models import Consent, Contact, Event, Instant, Transition

BATCH = 50_000
STAGE = "purchase"
TOPIC = "news"
NAMES = ("Maya", "Noël", "Zoë", "Chidi", "José", "Anna", "Björn", "Siân", "Oluwaseun", "Li", "Ewa", "Tom", "Ines")
LAST = ("Okafor", "O’Neill", "Müller", "Garcia", "Novák", "Smith", "de Vries", "Rossi", "Kowalska", "Haddad", "Jones")
CITIES = ("leeds", "münchen", "porto", "new york", "kraków", "lyon", "st. ives")
ZONES = ("Europe/London", "Europe/Berlin", "America/New_York", "Europe/Warsaw", None)
LOCALES = ("en_US", "en_US", "en_GB", "en_US", "de_DE", "en_US", "en_GB", None, "en_US", "en_US")
TIERS = ("green", "silver", "gold")
NAMELESS = 20
"""Every so many contacts one has no name: their message has another first line."""


class Picks(Options):
    """What the campaign recommends to everybody."""

    picks: tuple[str, ...] = ("Merino socks, two pairs", "Waxed canvas tote", "Field notes & pencil", "Enamel mug")


CAMPAIGN = Campaign(
    name="bench-welcome",
    topic=TOPIC,
    trigger=stage_entered(STAGE),
    steps=(Email("welcome", template="welcome"),),
    limit_per_day=10_000_000,  # asked for every chunk, as in production, and never reached
)
RECEIPT = Campaign(
    name="bench-receipt",
    trigger=stage_entered(STAGE),
    steps=(Email("receipt", template="welcome", purpose=TRANSACTIONAL),),
    limit_per_day=10_000_000,
)
"""The same message as one that each contact waits for: a window of its own."""


def person(number: int) -> dict[str, Any]:
    """Attributes of a contact."""
    named: dict[str, Any] = {"first_name": NAMES[number % len(NAMES)], "last_name": LAST[number % len(LAST)]}
    if number % NAMELESS == 0:
        named = {"first_name": None, "last_name": None}
    return named | {
        "city": CITIES[number % len(CITIES)], "tier": TIERS[number % len(TIERS)], "points": 10 + number % 5000,
    }  # fmt: skip


def order(number: int) -> dict[str, Any]:
    """Properties of a contact's order."""
    return {"order_id": f"FW-{number:07}", "amount": 12.5 + number % 400, "currency": "GBP"}


def address(number: int) -> str:
    """A contact's address; all differ."""
    return f"customer.{number}@mail{number % 97}.example.org"


def store_people(database: Database, start: int, count: int, now: datetime) -> None:
    """Store contacts `start` … with consent, each with an order that moved them to the stage just now.

    The rows are made where they are stored, some ten thousand in one statement: a million take less than a minute.
    """
    for first in range(start, start + count, BATCH):
        with database.write() as connection:
            _store(connection, first, min(BATCH, start + count - first), now)


def _store(connection: Connection, first: int, count: int, now: datetime) -> None:
    moment = literal(now, Instant())
    position = literal(ingest_position(connection), BigInteger())
    number = _numbers(first, count)
    contact: dict[str, Any] = {
        "id": number + 1, "source": _text("bench"), "source_id": _joined("p", number), "email": _address(number),
        "address": _address(number), "attributes": _document(connection, _person(number)),
        "locale": _one_of(LOCALES, number), "timezone": _one_of(ZONES, number), "content_hash": _text(""),
        "stage": _text(STAGE), "stage_since": moment, "created_at": moment, "changed_at": moment, "position": position,
    }  # fmt: skip
    consent: dict[str, Any] = {
        "contact_id": number + 1, "topic": _text(TOPIC), "granted": true(), "at": moment, "source": _text("bench"),
        "wording": _text("Yes, write to me."),
    }  # fmt: skip
    event: dict[str, Any] = {
        "id": number + 1, "contact_id": number + 1, "name": _text("order_placed"), "occurred_at": moment,
        "source": _text("bench"), "source_id": _joined("o", number), "revision": literal(0), "superseded": false(),
        "ingested_at": moment, "position": position, "properties": _document(connection, _order(number)),
    }  # fmt: skip
    move: dict[str, Any] = {
        "contact_id": number + 1, "from_stage": _text("evaluation"), "to_stage": _text(STAGE), "at": moment,
        "cause": _text("rule"), "cause_event_id": number + 1, "recorded_at": moment, "position": position,
    }  # fmt: skip
    rows: tuple[tuple[type[SQLModel], dict[str, Any]], ...] = (
        (Contact, contact), (Consent, consent), (Event, event), (Transition, move),
    )  # fmt: skip
    for table, columns in rows:
        query = select(*(value.label(name) for name, value in columns.items()))
        connection.execute(insert(table).from_select(list(columns), query))


def _numbers(first: int, count: int) -> ColumnElement[int]:
    """Return the column of a table that has the numbers from `first` on."""
    start = select(literal(first, BigInteger()).label("number")).cte("numbers", recursive=True)
    numbers = start.union_all(select(start.c.number + 1).where(start.c.number < first + count - 1))
    return numbers.c.number


def _text(value: str) -> ColumnElement[str]:
    return literal_column("'{}'".format(value.replace("'", "''")))


def _joined(*parts: str | ColumnElement[Any]) -> ColumnElement[str]:
    texts = (_text(part) if isinstance(part, str) else cast(part, String) for part in parts)
    return reduce(lambda left, right: left.concat(right), texts)


def _one_of(values: Sequence[str | None], number: ColumnElement[int]) -> ColumnElement[Any]:
    """Return the value that a contact of that number has: they take turns."""
    turns = {turn: null() if value is None else _text(value) for turn, value in enumerate(values)}
    return case(turns, value=number % len(values))


def _address(number: ColumnElement[int]) -> ColumnElement[str]:
    return _joined("customer.", number, "@mail", number % 97, ".example.org")


def _person(number: ColumnElement[int]) -> ColumnElement[str]:
    """Return what `person` gives, as JSON."""
    named = _joined(
        '"first_name":"', _one_of(NAMES, number), '","last_name":"', _one_of(LAST, number), '"',
    )  # fmt: skip
    nameless = _text('"first_name":null,"last_name":null')
    return _joined(
        "{", case((number % NAMELESS == 0, nameless), else_=named), ',"city":"', _one_of(CITIES, number), '","tier":"',
        _one_of(TIERS, number), '","points":', number % 5000 + 10, "}",
    )  # fmt: skip


def _order(number: ColumnElement[int]) -> ColumnElement[str]:
    """Return what `order` gives, as JSON."""
    padded = func.substr(cast(number + 10_000_000, String), 2)
    return _joined('{"order_id":"FW-', padded, '","amount":', number % 400 + 12, '.5,"currency":"GBP"}')


def _document(connection: Connection, text: ColumnElement[str]) -> ColumnElement[Any]:
    return text if connection.dialect.name == "sqlite" else cast(text, JSONB)
