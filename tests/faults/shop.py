"""A small shop with every outcome in it: its campaigns, its people, and where a child process works."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import insert, select
from sqlmodel import col

from connectors.email.smtp import Smtp
from connectors.email.smtp_settings import SmtpSettings
from evergreet.campaign import TRANSACTIONAL, Campaign, Email, Purpose, event
from evergreet.conditions import attribute
from evergreet.database import Database, ingest_position
from evergreet.durations import days
from evergreet.settings import Settings
from evergreet.store import insert_ignore
from evergreet.template_sources import TemplateSource
from models import Consent, Contact, Event
from tests.conftest import NOW

SOURCE = TemplateSource(
    name="note",
    hash="f" * 64,
    sources={
        "note/subject.txt": "Hello {{ contact.first_name }}",
        "note/body.html": "<p>Hello {{ contact.first_name }} in {{ contact.city }}</p>"
        "{% if unsubscribe_url %}<a href='{{ unsubscribe_url }}'>Unsubscribe</a>{% endif %}",
    },
)

RECEIPTS = Campaign(
    name="receipts",
    trigger=event("order_placed", key="order_id"),
    steps=(Email("receipt", template="note", purpose=TRANSACTIONAL),),
)
HELLO = Campaign(
    name="hello",
    topic="news",
    trigger=event("signed_up"),
    steps=(
        Email("welcome", template="note"),
        Email("follow-up", template="note", after=days(1), unless=attribute("quiet") == "yes"),
    ),
)
NEWS = Campaign(name="news", topic="news", trigger=event("order_placed"), steps=(Email("welcome", template="note"),))
QUIET = (("quiet_from", time(22)), ("quiet_until", time(8)))
"""Settings under which nobody is disturbed at night."""

LATER = timedelta(days=1, hours=8)
"""Quiet hours and pauses are over then, and the second step is due."""


def note(_name: str, _purpose: Purpose) -> TemplateSource:
    """One small template for every step; it fails for a contact without a city."""
    return SOURCE


@dataclass(frozen=True)
class Place:
    """Where a child works: the database and the mail server."""

    url: str
    port: int
    threads: int = 1
    window: int = 4
    timeout: float = 20
    changes: tuple[tuple[str, Any], ...] = ()

    @cached_property
    def settings(self) -> Settings:
        """The engine's settings."""
        values: dict[str, Any] = {
            "secret_keys": ("a key of tests",), "threads": self.threads, "window": self.window,
            **dict(self.changes),
        }  # fmt: skip
        return Settings(**values)

    def smtp(self, port: int = 0) -> Smtp:
        """The real connector, to this port or the usual one."""
        return Smtp(SmtpSettings(host="127.0.0.1", port=port or self.port, security="none", timeout=self.timeout))


def person(
    connection: Any, name: str, *, consented: bool = True, address: bool = True, city: bool = True, quiet: bool = True,
    timezone: str | None = None,
) -> int:  # fmt: skip
    """Store a contact."""
    written = f"{name}@example.org" if address else None
    attributes = {
        "first_name": name.title(),
        **({"city": "Bristol"} if city else {}),
        **({"quiet": "yes"} if quiet else {}),
    }
    contact = int(
        connection.execute(
            insert(Contact)
            .values(
                source="test", source_id=name, email=written, address=written, timezone=timezone, attributes=attributes,
                created_at=NOW, changed_at=NOW, position=ingest_position(connection),
            )
            .returning(col(Contact.id))
        ).scalar_one()
    )  # fmt: skip
    if consented:
        connection.execute(
            insert(Consent).values(contact_id=contact, topic="news", granted=True, at=NOW, source="test", wording="yes")
        )
    return contact


def happened(database: Database, name: str, people: Sequence[str]) -> None:
    """Store one event for each of these contacts, unless they are there already."""
    with database.write() as connection:
        contacts = (
            connection.execute(
                select(col(Contact.id)).where(col(Contact.source_id).in_(people)).order_by(col(Contact.id))
            )
            .scalars()
            .all()
        )
        position = ingest_position(connection)
        insert_ignore(
            connection, Event,
            [
                {
                    "contact_id": contact, "name": name, "occurred_at": NOW, "ingested_at": NOW, "source": "test",
                    "source_id": f"{name}-{contact}", "properties": {"order_id": f"o{contact}"}, "position": position,
                }
                for contact in contacts
            ],
        )  # fmt: skip


def shoppers(database: Database, count: int) -> None:
    """Store contacts s0@…, s1@… who have just ordered, with all that any template asks for."""
    now = datetime.now(UTC)
    with database.write() as connection:
        position = ingest_position(connection)
        people = [
            {
                "source": "test", "source_id": f"s{number}", "email": f"s{number}@example.org",
                "address": f"s{number}@example.org", "attributes": {"first_name": f"S{number}", "city": "Bristol"},
                "created_at": now, "changed_at": now, "position": position,
            }
            for number in range(count)
        ]  # fmt: skip
        connection.execute(insert(Contact), people)
        ids = connection.execute(select(col(Contact.id)).order_by(col(Contact.id))).scalars().all()
        connection.execute(
            insert(Consent),
            [{"contact_id": one, "topic": "news", "granted": True, "at": now, "source": "test"} for one in ids],
        )
        connection.execute(
            insert(Event),
            [
                {
                    "contact_id": contact, "name": "order_placed", "occurred_at": now, "ingested_at": now,
                    "source": "test", "source_id": f"o{contact}", "position": position,
                    "properties": {"order_id": f"o{contact}", "amount": 20, "currency": "EUR"},
                }
                for contact in ids
            ],
        )  # fmt: skip
