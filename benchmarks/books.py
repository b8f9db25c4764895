"""The books: what the ledger says was accepted, what the sink got, and what the audit says of both."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlmodel import col

from benchmarks.servers import KEY_SPACE
from benchmarks.sinks import Sink
from evergreet.audit import audit
from evergreet.clock import Clock
from evergreet.composing import message_key
from evergreet.database import Database
from models import Attempt, CampaignRow, Contact, Message


@dataclass(frozen=True, slots=True)
class Books:
    """Figures of both sides, and a sentence for each disagreement."""

    accepted: int
    counted: int
    due: int
    findings: tuple[str, ...]


def disagreements(database: Database, clock: Clock, expected: int, sink: Sink) -> Books:
    """Compare the ledger with the sink and with itself, where `expected` messages should have been accepted."""
    accepted, keys, attempts = _ledger(database)
    counted = sink.counted(accepted)
    findings = []
    if accepted != expected:
        findings.append(f"{expected} messages were due, the ledger says that {accepted} were accepted")
    if counted.messages != accepted:
        findings.append(f"the ledger says that {accepted} were accepted, the sink counted {counted.messages}")
    elif counted.keys is not None and counted.keys != keys:
        findings.append("the sink got as many messages as the ledger says, but not the same ones: some were doubled")
    if attempts != accepted:
        findings.append(f"{attempts} attempts for {accepted} messages")
    audits = audit(database, clock)
    findings += [f"audit of {found.campaign}: {sentence}" for found in audits for sentence in found.findings]
    due = sum(found.due for found in audits)
    if due != accepted:
        findings.append(f"the audit counts {due} due, the ledger {accepted} accepted")
    return Books(accepted, counted.messages, due, tuple(findings))


def _ledger(database: Database) -> tuple[int, int, int]:
    """Return how many messages were accepted, the sum of their keys, and how many attempts there were."""
    with database.read() as connection:
        rows: Iterable[tuple[str, str, str, str, str]] = connection.execution_options(yield_per=5_000).execute(
            select(
                col(CampaignRow.name), col(Message.step_key), col(Message.occurrence), col(Contact.source),
                col(Contact.source_id),
            )
            .join(Contact, col(Contact.id) == col(Message.contact_id))
            .join(CampaignRow, col(CampaignRow.id) == col(Message.campaign_id))
            .where(col(Message.state) == "accepted")
        ).tuples()  # fmt: skip
        accepted = keys = 0
        for campaign, step, occurrence, source, source_id in rows:
            accepted += 1
            keys += int(message_key(campaign, step, occurrence, f"{source}:{source_id}"), 16)
        attempts = connection.execute(select(func.count()).select_from(Attempt)).scalar_one()
    return accepted, keys % KEY_SPACE, attempts
