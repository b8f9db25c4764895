"""Short words for tests of the engine: contacts and events in, a campaign run, what is in the ledger."""

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from sqlalchemy import func, insert, select
from sqlmodel import col

from evergreet.balance import Report
from evergreet.campaign import TRANSACTIONAL, Campaign, Email, Options, Purpose, event
from evergreet.campaigns import LoadTemplate, launch
from evergreet.clock import FrozenClock
from evergreet.contracts import Accepted, Capabilities, EmailMessage, Found, Outcome
from evergreet.database import Database, ingest_position
from evergreet.engine import Engine
from evergreet.settings import Settings
from evergreet.template_sources import TemplateSource
from models import Attempt, Consent, Contact, Enrollment, Event, Message

TEMPLATE = TemplateSource(
    name="note",
    hash="0" * 64,
    sources={
        "note/subject.txt": "Hello {{ contact.first_name }}",
        "note/body.html": "<p>Hello {{ contact.first_name }}</p>"
        "{% if unsubscribe_url %}<a href='{{ unsubscribe_url }}'>Unsubscribe</a>{% endif %}",
    },
)


def note(_name: str, _purpose: Purpose) -> TemplateSource:
    """One small template for every step."""
    return TEMPLATE


@dataclass
class Recorder:
    """A connector that keeps what it was given; `answers` may say something else than accepted per address."""

    name: ClassVar[str] = "recorder"
    capabilities: ClassVar[Capabilities] = Capabilities(batch_limit=1000, window=50, find=True)
    sent: list[EmailMessage] = field(default_factory=list)
    answers: dict[str, Outcome | Exception] = field(default_factory=dict)
    knows: bool = True
    lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def from_environment(cls) -> Self:
        return cls()

    def check(self) -> str:
        return "It records."

    def close(self) -> None:
        pass

    def send(self, batch: Sequence[EmailMessage]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for message in batch:
            answer = self.answers.get(message.to.address, Accepted(f"r-{message.key}"))
            if isinstance(answer, Exception) and not isinstance(answer, Outcome):
                raise answer
            if isinstance(answer, Accepted):
                with self.lock:
                    self.sent.append(message)
            outcomes.append(answer)
        return outcomes

    def find(self, keys: Sequence[str]) -> dict[str, Found]:
        if not self.knows:
            return {}
        have = {message.key for message in self.sent}
        return {key: Found(key in have, f"r-{key}" if key in have else "") for key in keys}

    @property
    def recipients(self) -> list[str]:
        return sorted(message.to.address for message in self.sent)


THANKS = Campaign(
    name="thanks",
    topic="orders",
    trigger=event("order_placed", key="order_id"),
    steps=(Email("receipt", template="note", purpose=TRANSACTIONAL),),
)


@dataclass
class Story:
    """One database, one clock, one recorder."""

    database: Database
    clock: FrozenClock
    sender: Recorder = field(default_factory=Recorder)
    settings: Settings = field(default_factory=lambda: Settings(secret_keys=("test-key",)))
    counter: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    load: LoadTemplate = note

    @property
    def now(self) -> datetime:
        return self.clock.instant

    def contact(self, name: str, *, address: str | None = "", consents: Sequence[str] = (), **columns: Any) -> int:
        """Store a contact; without `address` it is derived from the name, None means that there is none."""
        address = f"{name}@example.org" if address == "" else address
        with self.database.write() as connection:
            contact_id = connection.execute(
                insert(Contact)
                .values(
                    source=columns.pop("source", "test"), source_id=f"{name}-{next(self.counter)}",
                    email=address, address=address,
                    attributes=columns.pop("attributes", {"first_name": name.title()}),
                    created_at=self.now - timedelta(days=400), changed_at=self.now,
                    position=ingest_position(connection), **columns,
                )
                .returning(col(Contact.id))
            ).scalar_one()  # fmt: skip
            for topic in consents:
                connection.execute(
                    insert(Consent).values(
                        contact_id=contact_id, topic=topic, granted=True, at=self.now, source="test", wording="yes"
                    )
                )
        return contact_id

    def contacts(self, count: int, *, consents: Sequence[str] = ()) -> list[int]:
        """Store many contacts with addresses c0@…, c1@… at once."""
        with self.database.write() as connection:
            position = ingest_position(connection)
            start = next(self.counter)
            connection.execute(
                insert(Contact),
                [
                    {
                        "source": "test", "source_id": f"c{start}-{index}", "email": f"c{index}@example.org",
                        "address": f"c{index}@example.org", "attributes": {"first_name": f"C{index}"},
                        "created_at": self.now, "changed_at": self.now, "position": position,
                    }
                    for index in range(count)
                ],
            )  # fmt: skip
            ids = list(
                connection.execute(
                    select(col(Contact.id)).where(col(Contact.source_id).like(f"c{start}-%")).order_by(col(Contact.id))
                ).scalars()
            )
            rows = [
                {
                    "contact_id": contact,
                    "topic": topic,
                    "granted": True,
                    "at": self.now,
                    "source": "test",
                    "wording": "",
                }
                for contact in ids
                for topic in consents
            ]
            if rows:
                connection.execute(insert(Consent), rows)
        return ids

    def happened(self, name: str, /, *contacts: int, at: datetime | None = None, **properties: Any) -> None:
        """Store one event for each contact; `order_id` is made up where it is not given."""
        with self.database.write() as connection:
            position = ingest_position(connection)
            connection.execute(
                insert(Event),
                [
                    {
                        "contact_id": contact, "name": name, "occurred_at": at or self.now, "source": "test",
                        "source_id": (number := f"e{next(self.counter)}"), "ingested_at": self.now,
                        "position": position, "properties": {"order_id": number, **properties},
                    }
                    for contact in contacts
                ],
            )  # fmt: skip

    def announces(self, name: str, number: str, /, **properties: Any) -> None:
        """Store a fact about the business."""
        with self.database.write() as connection:
            connection.execute(
                insert(Event).values(
                    contact_id=None,
                    name=name,
                    occurred_at=self.now,
                    source="test",
                    source_id=number,
                    ingested_at=self.now,
                    position=ingest_position(connection),
                    properties=properties,
                )
            )

    def launch(self, campaign: Campaign = THANKS, options: Options | None = None) -> None:
        launch(self.database, campaign, options or Options(), self.load, clock=self.clock, actor="test")

    def engine(self) -> Engine:
        return Engine(self.database, self.sender, self.settings, self.load, clock=self.clock)

    def run(self, campaign: Campaign = THANKS, options: Options | None = None, **arguments: Any) -> Report:
        return self.engine().run(campaign, options or Options(), **arguments)

    def states(self) -> dict[str, int]:
        """Count messages by "state" or "state: reason"."""
        with self.database.read() as connection:
            rows = connection.execute(
                select(col(Message.state), col(Message.reason), func.count()).group_by(
                    col(Message.state), col(Message.reason)
                )
            )
            return {f"{state}: {reason}" if reason else state: count for state, reason, count in rows}

    def rows(self, table: type[Any]) -> list[Any]:
        """Return all rows of a table."""
        with self.database.read() as connection:
            return list(connection.execute(select(table).order_by(table.id)).all())

    @property
    def enrollments(self) -> list[Any]:
        return self.rows(Enrollment)

    @property
    def messages(self) -> list[Any]:
        return self.rows(Message)

    @property
    def attempts(self) -> list[Any]:
        return self.rows(Attempt)
