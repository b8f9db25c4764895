"""Who the messages go to: contacts with an order and the move between stages it caused, stored in bulk."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlmodel import col

from evergreet.campaign import Campaign, Email, Options, stage_entered
from evergreet.database import Database, ingest_position
from models import Consent, Contact, Event, Transition

BATCH = 5_000
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
    """Store contacts `start` … with consent, each with an order that moved them to the stage just now."""
    for first in range(start, start + count, BATCH):
        numbers = range(first, min(first + BATCH, start + count))
        with database.write() as connection:
            position = ingest_position(connection)
            connection.execute(insert(Contact), list(_contacts(numbers, now, position)))
            ids = dict(
                connection.execute(
                    select(col(Contact.source_id), col(Contact.id)).where(col(Contact.position) == position)
                )
                .tuples()
                .all()
            )
            connection.execute(
                insert(Consent),
                [{"contact_id": ids[f"p{number}"], "topic": TOPIC, "granted": True, "at": now, "source": "bench",
                  "wording": "Yes, write to me."} for number in numbers],
            )  # fmt: skip
            connection.execute(
                insert(Event),
                [{"contact_id": ids[f"p{number}"], "name": "order_placed", "occurred_at": now, "source": "bench",
                  "source_id": f"o{number}", "ingested_at": now, "position": position, "properties": order(number)}
                 for number in numbers],
            )  # fmt: skip
            causes = connection.execute(
                select(col(Event.contact_id), col(Event.id)).where(col(Event.position) == position)
            )
            connection.execute(
                insert(Transition),
                [{"contact_id": contact, "from_stage": "evaluation", "to_stage": STAGE, "at": now, "cause": "rule",
                  "cause_event_id": event, "recorded_at": now, "position": position} for contact, event in causes],
            )  # fmt: skip


def _contacts(numbers: range, now: datetime, position: int) -> Iterator[dict[str, Any]]:
    for number in numbers:
        yield {
            "source": "bench", "source_id": f"p{number}", "email": address(number), "address": address(number),
            "attributes": person(number), "locale": LOCALES[number % len(LOCALES)],
            "timezone": ZONES[number % len(ZONES)], "stage": STAGE, "stage_since": now, "created_at": now,
            "changed_at": now, "position": position,
        }  # fmt: skip
