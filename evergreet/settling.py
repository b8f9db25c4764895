"""Settle: what became of a window that was handed over, written in one transaction."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Integer, String, bindparam, select, update
from sqlmodel import col

from evergreet.contracts import Accepted, Outcome
from evergreet.errors import Misconfigured, Permanent, Retryable
from evergreet.ledger import REASON_LENGTH, ClaimedChunk, campaign_state, expect, own, storable
from evergreet.settings import Settings
from evergreet.store import checked, given, insert_ignore, paired
from evergreet.worker import Worker
from models import Attempt, Contact, Instant, Message, Suppression
from models.base import Id

PROVIDER_ID_LENGTH = 998
LONGEST_PAUSE = timedelta(days=30)
"""Whatever a provider asks for; a step is too late by then anyway."""


OUTCOMES = given(
    "outcomes", message=Id, attempt=Integer(), becomes=String(), why=String(), again=Instant(), name=String(),
    result=String(), told=String(),
)  # fmt: skip
"""What became of the messages of a window, one each: what the ledger says from now on, and what its attempt says."""

# In one statement each: row by row PostgreSQL seeks each message among all of its chunk, and SQLite keeps the pages of
# seven indexes for each row, to be able to undo it.
WRITE_MESSAGES = (
    update(Message)
    .where(
        paired(Message.id, OUTCOMES.c.message, "messages"), col(Message.attempts) == OUTCOMES.c.attempt,
        checked(col(Message.state) == "sending", col(Message.chunk_id) == bindparam("chunk")),
    )
    .values(
        state=OUTCOMES.c.becomes, reason=OUTCOMES.c.why, not_before=OUTCOMES.c.again, provider_id=OUTCOMES.c.name,
        chunk_id=None, changed_at=bindparam("now", type_=Instant()),
    )
)  # fmt: skip
WRITE_ATTEMPTS = (
    update(Attempt)
    .where(
        paired(Attempt.message_id, OUTCOMES.c.message, "messages"), col(Attempt.number) == OUTCOMES.c.attempt,
        checked(col(Attempt.outcome) == ""),
    )
    .values(outcome=OUTCOMES.c.result, detail=OUTCOMES.c.told, settled_at=bindparam("now", type_=Instant()))
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a window: counts by state, and the sentence of a fault of ours."""

    counts: Counter[str]
    misconfigured: str | None = None


def settle(
    worker: Worker,
    chunk: ClaimedChunk,
    attempts: dict[int, int],
    outcomes: dict[int, Outcome],
    settings: Settings,
) -> Settled:
    """Write what became of a window, in one transaction: accepted, failed, planned again, or unknown."""
    with worker.transaction() as connection:
        own(connection, worker, chunk)
        now = worker.clock.now(connection)
        rows: list[tuple[Any, ...]] = []
        invalid: list[int] = []
        counts: Counter[str] = Counter()
        misconfigured = None
        may_return = any(isinstance(outcome, Retryable | Misconfigured) for outcome in outcomes.values())
        stopped = may_return and campaign_state(connection, chunk) == "stopped"
        for message, outcome in outcomes.items():
            state, result, reason, again, provider_id = _judge(outcome, attempts[message], settings, now)
            detail = reason
            if state == "planned" and stopped:  # nobody would come back for it
                state, reason, again = "skipped", "campaign_stopped", None
            counts[result if state == "planned" else state] += 1
            if isinstance(outcome, Misconfigured):
                misconfigured = outcome.reason
            if isinstance(outcome, Permanent) and outcome.address_invalid:
                invalid.append(message)
            name = None if provider_id is None else storable(provider_id, PROVIDER_ID_LENGTH)
            why, told = storable(reason, REASON_LENGTH), storable(detail, REASON_LENGTH)
            rows.append((message, attempts[message], state, why, again, name, result, told))
        _suppress_bounced(connection, invalid, now)
        window = {"messages": list(outcomes), "outcomes": rows, "now": now}
        found = connection.execute(WRITE_MESSAGES, window | {"chunk": chunk.id}).rowcount
        expect(found, len(rows), "Settling a window")
        found = connection.execute(WRITE_ATTEMPTS, window).rowcount
        expect(found, len(rows), "Settling the attempts of a window")
        return Settled(counts, misconfigured)


def _judge(
    outcome: Outcome, attempt: int, settings: Settings, now: datetime
) -> tuple[str, str, str, datetime | None, str | None]:
    """Return the message's state, the attempt's outcome, the reason, when to try again, and the provider's id."""
    if isinstance(outcome, Accepted):
        return "accepted", "accepted", "", None, outcome.provider_id
    if isinstance(outcome, Permanent):
        return "failed", "failed", outcome.reason or "refused", None, None
    if isinstance(outcome, Retryable) and outcome.accepted != "no":
        return "unknown", "unknown", outcome.reason or "no answer", None, None
    pause = timedelta(seconds=min(settings.retry_seconds * 2 ** min(attempt - 1, 20), settings.retry_max_seconds))
    if isinstance(outcome, Retryable):
        if attempt > settings.retries:
            return "failed", "returned", f"gave up after {attempt} attempts: {outcome.reason}", None, None
        pause = min(max(pause, outcome.retry_after or timedelta(0)), LONGEST_PAUSE)
    return "planned", "returned", outcome.reason, now + pause, None


def _suppress_bounced(connection: Connection, messages: list[int], now: datetime) -> None:
    """Suppress addresses that the provider says do not exist; contacts are locked before messages, as everywhere."""
    if not messages:
        return
    bounced = connection.execute(
        select(col(Message.address)).where(col(Message.id).in_(messages)).order_by(col(Message.address))
    ).scalars()
    addresses = sorted({address for address in bounced if address})
    connection.execute(
        select(col(Contact.id))
        .where(col(Contact.address).in_(addresses))
        .order_by(col(Contact.id))
        .with_for_update(key_share=True)
    )
    insert_ignore(
        connection, Suppression,
        [{"address": a, "scope": "all", "reason": "hard_bounce", "source": "send", "at": now} for a in addresses],
    )  # fmt: skip
