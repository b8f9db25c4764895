"""Take reports out of a mailbox: what is about a message that was sent is stored, then applied, once.

So is that a reader answered; the answer itself stays as it is, unseen, for whoever reads the mailbox.

Anybody can write to the address that bounces go to. So a report counts only where the key it returns is that of a
message that was handed over, and its recipient is the address that message went to: who knows both has had the mail.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any, Protocol

from evergreet.addresses import read_address
from evergreet.clock import Clock
from evergreet.contracts import Kind, ProviderEvent, ReportReader
from evergreet.database import Database
from evergreet.errors import DataError
from evergreet.feedback.applying import Applied, apply_waiting
from evergreet.feedback.placing import rows_sent_to
from evergreet.feedback.storing import store
from evergreet.tokens import Tokens

BATCH = 100
LARGEST = 256 * 1024
"""Octets of a mail that are read; a report comes before what it returns of the mail."""


class Mailbox(Protocol):
    """Where mails come in; `name` is its own for one of them."""

    def mails(self, *, seen: bool) -> Iterator[tuple[str, bytes]]:
        """Return names and beginnings of the mails that nobody has seen yet, or of all."""
        ...

    def mark(self, names: Sequence[str]) -> None:
        """Mark mails as seen."""
        ...


@dataclass(slots=True)
class Taken:
    """What a mailbox held: `others` are no reports and stay as they are, also readers' answers to messages (`replies`).

    `told` counts what reports say of our messages.
    """

    reports: int = 0
    others: int = 0
    told: int = 0
    not_ours: int = 0
    replies: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """What was found."""
        return (
            f"{self.reports:,} reports tell of {self.told:,} of our messages, and of {self.not_ours:,} recipients of "
            f"none; {self.others:,} other mails were left as they are, {self.replies:,} of them answers of readers."
        )


def take(
    database: Database, reader: ReportReader, mailbox: Mailbox, tokens: Tokens, clock: Clock, *, seen: bool = False
) -> tuple[Taken, Applied]:
    """Read the mails that nobody has seen (`seen`: all), store what they tell, and apply it.

    A mail is marked once what it tells is stored: one that is read again tells the same, which is known by its id.
    """
    taken = Taken()
    mails = mailbox.mails(seen=seen)
    while batch := list(islice(mails, BATCH)):
        with database.read() as connection:
            now = clock.now(connection)
        read = [(name, events) for name, mail in batch if (events := reader.read_report(mail, now))]
        reports = [name for name, events in read if events[0].kind is not Kind.REPLIED]
        told = [event for _, events in read for event in events]
        with database.write() as connection:
            rows = rows_sent_to(connection, {pair for event in told if (pair := _named(event)) is not None})
            ours = [replace(event, row=rows[pair]) for event in told if (pair := _named(event)) in rows]
            store(connection, reader.name, ours, now)
        mailbox.mark(reports)
        replies = sum(event.kind is Kind.REPLIED for event in ours)
        taken.reports += len(reports)
        taken.others += len(batch) - len(reports)
        taken.replies += replies
        taken.told += len(ours) - replies
        taken.not_ours += sum(event.kind is not Kind.REPLIED for event in told) - len(ours) + replies
    return taken, apply_waiting(database, tokens, clock)


def _named(event: ProviderEvent) -> tuple[str, str] | None:
    """Return the key and the normalised address that an event names."""
    try:
        return (event.key, read_address(event.address).normalised) if event.key else None
    except DataError:
        return None
