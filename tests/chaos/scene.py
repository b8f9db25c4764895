"""Where a round plays: its campaigns in their versions, its people, and a clock that can be moved."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import SecretStr
from sqlalchemy import Connection, insert
from sqlmodel import col

from connectors.calling import make_client
from connectors.email.sendgrid import SendGrid
from connectors.email.sendgrid_settings import SendGridSettings
from evergreet.campaign import TRANSACTIONAL, Campaign, Email, Purpose, event
from evergreet.clock import DatabaseClock
from evergreet.contracts import EmailSender
from evergreet.database import ingest_position
from evergreet.durations import days, hours
from evergreet.routing import Provider, Route
from evergreet.template_sources import TemplateSource
from models import Consent, Contact, Event
from tests.faults.shop import SOURCE, Place

BROKEN = replace(SOURCE, hash="b" * 64, sources={**SOURCE.sources, "note/subject.txt": "{{ contact.nowhere }}"})
ORDERED = event("order_placed", key="order_id")


def campaigns(edition: int) -> tuple[Campaign, ...]:
    """The campaigns as their authors have written them by now: each edition is another version."""
    late = days(30 + edition)
    extra = (Email("extra", template="note", after=days(2), lateness=late),) if edition % 2 else ()
    return (
        Campaign(
            name="receipts", trigger=ORDERED,
            steps=(Email("receipt", template="note", purpose=TRANSACTIONAL, lateness=late),),
        ),
        Campaign(
            name="news", topic="news", trigger=ORDERED,
            steps=(
                Email("welcome", template="note", lateness=late),
                Email("follow-up", template="note", after=hours(3), lateness=late, resend_after=hours(1)),
                *extra,
            ),
        ),
    )  # fmt: skip


STEPS = {"receipts/receipt", "news/welcome", "news/follow-up"}
"""What everybody who ordered is due, in any edition."""
REPEATED = {"news/follow-up"}
"""Steps that ask for a repeat of what is unknown."""


@dataclass(frozen=True)
class Jumping:
    """The database's clock, moved by what a file says."""

    file: Path

    def now(self, connection: Connection) -> datetime:
        """Return the moment that it is in this round."""
        return DatabaseClock().now(connection) + self.offset

    @property
    def offset(self) -> timedelta:
        """How far it is moved."""
        return timedelta(seconds=float(self.file.read_text("ascii")))

    def jump(self, by: timedelta) -> None:
        """Move it for all processes at once."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(str((self.offset + by).total_seconds() if self.file.exists() else by.total_seconds()), "ascii")
        fresh.replace(self.file)


@dataclass(frozen=True, kw_only=True)
class Scene(Place):
    """Where a worker works: the database, the provider, the clock, the edition of the campaigns."""

    channel: Literal["smtp", "sendgrid"]
    clock: Jumping
    batch: int
    edition: int = 0
    broken: bool = False
    standby: int = 0
    """The port of a mail server that stands by for SendGrid; 0: none does."""
    blinded: str = ""
    """The name of a rule of the engine that this worker breaks (`tests.chaos.blindness`)."""

    @contextmanager
    def route(self) -> Iterator[Route]:
        """The real connectors, in order; closed at the end."""
        with closing(self.sender()) as first, closing(self.smtp(self.standby)) as second:
            yield Route((Provider(first), Provider(second)) if self.standby else (Provider(first),))

    def sender(self) -> EmailSender:
        """The real connector, of two the first."""
        if self.channel == "smtp":
            return self.smtp()
        settings = SendGridSettings(
            api_key=SecretStr("SG.chaos"), base_url=f"http://127.0.0.1:{self.port}", timeout=self.timeout,
            window=self.window, connections=self.threads,
        )  # fmt: skip
        return SendGrid(settings, make_client(settings.connections))

    def load(self, _name: str, _purpose: Purpose) -> TemplateSource:
        """The template of every step."""
        return BROKEN if self.broken else SOURCE


def order(connection: Connection, names: Sequence[str], now: datetime) -> None:
    """Store contacts who have just ordered and like to get news."""
    position = ingest_position(connection)
    people = [
        {
            "source": "chaos", "source_id": name, "email": address(name), "address": address(name),
            "attributes": {"first_name": name.title(), "city": "Bristol"}, "created_at": now, "changed_at": now,
            "position": position,
        }
        for name in names
    ]  # fmt: skip
    ids = list(connection.execute(insert(Contact).returning(col(Contact.id)), people).scalars())
    consents = [{"contact_id": one, "topic": "news", "granted": True, "at": now, "source": "chaos"} for one in ids]
    connection.execute(insert(Consent), consents)
    connection.execute(
        insert(Event),
        [
            {
                "contact_id": one, "name": "order_placed", "occurred_at": now, "ingested_at": now, "source": "chaos",
                "source_id": f"order-{one}", "position": position, "properties": {"order_id": f"o{one}"},
            }
            for one in ids
        ],
    )  # fmt: skip


def address(name: str) -> str:
    """Where somebody gets mail."""
    return f"{name}@example.org"
