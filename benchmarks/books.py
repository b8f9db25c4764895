"""The books: what was due, what the ledger says was accepted, and what the sink wrote down, message by message.

All three are compared by name, not by sums, and in a scratch database on disk: a million messages take no more memory
than ten thousand.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

from sqlalchemy import Select, exists, func, select
from sqlmodel import col

from benchmarks.people import STAGE
from benchmarks.sinks import Sink
from evergreet.audit import audit
from evergreet.clock import Clock
from evergreet.composing import message_key
from evergreet.database import Database
from models import Attempt, CampaignRow, Contact, Message, Transition


@dataclass(frozen=True, slots=True)
class Difference:
    """How a sink's book differs from what should be in it, counted in messages."""

    lost: int
    doubled: int
    unasked: int


@dataclass(frozen=True, slots=True)
class Books:
    """Figures of all sides, and a sentence for each disagreement."""

    accepted: int
    counted: int
    due: int
    lost: int
    doubled: int
    findings: tuple[str, ...]


def compare(wanted: Iterable[str], found: Iterable[str]) -> Difference:
    """Compare names that should be there, each once, with names that are."""
    with closing(sqlite3.connect("")) as scratch:  # the empty name is a database in a file that nobody else sees
        for table, names in (("wanted", wanted), ("found", found)):
            scratch.execute(f"CREATE TABLE {table} (name TEXT NOT NULL)")
            scratch.executemany(f"INSERT INTO {table} VALUES (?)", ((name,) for name in names))

        def counted(query: str) -> int:
            return int(scratch.execute(f"SELECT coalesce(sum(n), 0) FROM ({query})").fetchone()[0])

        missing = "SELECT count(*) AS n FROM (SELECT name FROM {} EXCEPT SELECT name FROM {})"
        return Difference(
            lost=counted(missing.format("wanted", "found")),
            doubled=counted("SELECT count(*) - 1 AS n FROM found GROUP BY name HAVING n > 0"),
            unasked=counted(missing.format("found", "wanted")),
        )


def disagreements(database: Database, clock: Clock, expected: int, sink: Sink) -> Books:
    """Compare the ledger with the sink and with itself, where `expected` messages should have been accepted."""
    with database.read() as connection:
        accepted, missed, attempts = (
            connection.execute(query).scalar_one()
            for query in (
                select(func.count()).select_from(Message).where(col(Message.state) == "accepted"),
                _not_accepted(),
                select(func.count()).select_from(Attempt),
            )
        )
    counted = sink.counted(accepted)
    difference = compare(ledger_keys(database), (key for key, _ in sink.book.lines()))
    findings = []
    if accepted != expected:
        findings.append(f"{expected} messages were due, the ledger says that {accepted} were accepted")
    if missed:
        findings.append(f"{missed} contacts entered the stage and have no accepted message")
    if counted != accepted:
        findings.append(f"the ledger says that {accepted} were accepted, the sink counted {counted}")
    if difference != Difference(0, 0, 0):
        findings.append(
            f"message by message: {difference.lost} that were accepted did not come to the sink, {difference.doubled} "
            f"came once more, {difference.unasked} that came are not in the ledger"
        )
    if attempts != accepted:
        findings.append(f"{attempts} attempts for {accepted} messages")
    audits = audit(database, clock)
    findings += [f"audit of {found.campaign}: {sentence}" for found in audits for sentence in found.findings]
    due = sum(found.due for found in audits)
    if due != accepted:
        findings.append(f"the audit counts {due} due, the ledger {accepted} accepted")
    return Books(accepted, counted, due, missed + difference.lost, difference.doubled, tuple(findings))


def _not_accepted() -> Select[tuple[int]]:
    """Count who entered the stage and has no accepted message, without a word of the engine's."""
    sent = exists().where(
        col(Message.contact_id) == col(Transition.contact_id), col(Message.sent_at).is_not(None),  # that has an index
        col(Message.state) == "accepted",
    )  # fmt: skip
    return select(func.count()).select_from(Transition).where(col(Transition.to_stage) == STAGE, ~sent)


def ledger_keys(database: Database) -> Iterator[str]:
    """Give the keys of all accepted messages as the outside world knows them."""
    with database.read() as connection:
        rows = connection.execution_options(yield_per=5_000).execute(
            select(
                col(CampaignRow.name), col(Message.step_key), col(Message.occurrence), col(Contact.source),
                col(Contact.source_id),
            )
            .join(Contact, col(Contact.id) == col(Message.contact_id))
            .join(CampaignRow, col(CampaignRow.id) == col(Message.campaign_id))
            .where(col(Message.state) == "accepted")
        ).tuples()  # fmt: skip
        for campaign, step, occurrence, source, source_id in rows:
            yield message_key(campaign, step, occurrence, f"{source}:{source_id}")
