"""Settle: what became of a window that was handed over, written in one transaction."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Integer, String, and_, bindparam, case, null, select, update
from sqlmodel import col

from evergreet.campaigns import STOPPED
from evergreet.channels import having
from evergreet.consent import EVERYTHING
from evergreet.contracts import Accepted, Outcome
from evergreet.errors import Misconfigured, Permanent, Retryable
from evergreet.ledger import (
    CONTACTS,
    PROVIDER_ID_LENGTH,
    REASON_LENGTH,
    ClaimedChunk,
    campaign_state,
    expect,
    own,
    storable,
)
from evergreet.settings import Settings
from evergreet.store import among, checked, given, insert_ignore, paired
from evergreet.tally import add_to_tally
from evergreet.worker import Worker
from models import Attempt, Contact, Instant, Message, Suppression
from models.base import Id

Note = Callable[[Connection, datetime], None]

ERASED = "(erased)"
"""Stands for what a provider said of somebody who was erased meanwhile."""
LONGEST_PAUSE = timedelta(days=30)
"""Whatever a provider asks for; a step is too late by then anyway."""


NOW = bindparam("now", type_=Instant())
SENDING = checked(col(Message.state) == "sending", col(Message.chunk_id) == bindparam("chunk"))
"""What must be so of each message of a window."""

# In one statement each: row by row PostgreSQL seeks each message among all of its chunk, and SQLite keeps the pages of
# seven indexes for each row, to be able to undo it.
ACCEPTED = given("accepted", message=Id, attempt=Integer(), name=String())
"""The messages of a window that were accepted, as nearly all are: nothing is written of them that an index has."""

ACCEPT_MESSAGES = (
    update(Message)
    .where(
        paired(Message.id, ACCEPTED.c.message, "messages"), col(Message.attempts) == ACCEPTED.c.attempt, SENDING
    )
    .values(state="accepted", provider_id=ACCEPTED.c.name, changed_at=NOW)
)  # fmt: skip
ACCEPT_ATTEMPTS = (
    update(Attempt)
    .where(
        among(Attempt.message_id, "messages"), col(Attempt.number) == bindparam("attempt"),
        checked(col(Attempt.outcome) == ""),
    )
    .values(outcome="accepted", settled_at=NOW)
)  # fmt: skip

OUTCOMES = given(
    "outcomes", message=Id, attempt=Integer(), becomes=String(), why=String(), again=Instant(), result=String(),
    told=String(),
)  # fmt: skip
"""What became of the others, one each: what the ledger says from now on, and what its attempt says."""

_UNKNOWN = OUTCOMES.c.becomes == "unknown"
_MOVES = and_(OUTCOMES.c.becomes == "planned", OUTCOMES.c.again.is_(None))
"""Planned for another provider at once: it stays in its chunk."""
WRITE_MESSAGES = (
    update(Message)
    .where(
        paired(Message.id, OUTCOMES.c.message, "messages"), col(Message.attempts) == OUTCOMES.c.attempt, SENDING
    )
    .values(
        state=OUTCOMES.c.becomes, reason=OUTCOMES.c.why, not_before=OUTCOMES.c.again,
        chunk_id=case((_MOVES, col(Message.chunk_id)), else_=null()),
        sent_at=case((_UNKNOWN, col(Message.sent_at)), else_=null()),
        unknown_since=case((_UNKNOWN, NOW), else_=null()), changed_at=NOW,
    )
)  # fmt: skip
WRITE_ATTEMPTS = (
    update(Attempt)
    .where(
        paired(Attempt.message_id, OUTCOMES.c.message, "messages"), col(Attempt.number) == OUTCOMES.c.attempt,
        checked(col(Attempt.outcome) == ""),
    )
    .values(outcome=OUTCOMES.c.result, detail=OUTCOMES.c.told, settled_at=NOW)
)  # fmt: skip


def settle(
    worker: Worker,
    chunk: ClaimedChunk,
    attempts: dict[int, int],
    outcomes: dict[int, Outcome],
    settings: Settings,
    moving: Collection[int] = (),
    providers: int = 1,
    note: Note | None = None,
) -> Counter[str]:
    """Write what became of a window, in one transaction: accepted, failed, planned again, or unknown.

    Those that are `moving` are planned for another provider at once; each of so many `providers` may be asked as often
    as the settings say. `note` writes in the same transaction what the provider has shown of itself. Returns counts by
    state, or by what became of the attempt where the message is planned.
    """
    with worker.transaction() as connection:
        own(connection, worker, chunk)
        now = worker.clock.now(connection)
        accepted: list[tuple[int, int, str | None]] = []
        others: list[tuple[Any, ...]] = []
        changes: Counter[tuple[str, str]] = Counter()
        counts: Counter[str] = Counter()
        may_return = any(isinstance(outcome, Retryable | Misconfigured) for outcome in outcomes.values())
        stopped = may_return and campaign_state(connection, chunk) == "stopped"
        erased = _prepare_others(connection, outcomes, now)
        for message, outcome in outcomes.items():
            if isinstance(outcome, Accepted):
                accepted.append((message, attempts[message], storable(outcome.provider_id, PROVIDER_ID_LENGTH)))
                continue
            state, result, reason, again = _judge(outcome, attempts[message], providers, settings, now)
            if message in moving:
                state, again = "planned", None
            detail = reason = ERASED if message in erased else reason  # providers repeat the address
            if state == "planned" and stopped:  # nobody would come back for it
                state, reason, again = "skipped", STOPPED, None
            counts[result if state == "planned" else state] += 1
            why, told = storable(reason, REASON_LENGTH), storable(detail, REASON_LENGTH)
            others.append((message, attempts[message], state, why, again, result, told))
            changes[state, why] += 1
        if note is not None:  # before the messages, as in the intents: both hold what they have until the end
            note(connection, now)
        if accepted:
            _write_accepted(connection, chunk, accepted, now)
            counts["accepted"] = changes["accepted", ""] = len(accepted)
        if others:
            window = {"messages": [row[0] for row in others], "outcomes": others, "now": now}
            found = connection.execute(WRITE_MESSAGES, window | {"chunk": chunk.id}).rowcount
            expect(found, len(others), "Settling a window")
            found = connection.execute(WRITE_ATTEMPTS, window).rowcount
            expect(found, len(others), "Settling the attempts of a window")
        add_to_tally(connection, chunk.campaign_id, changes)
        return counts


def _write_accepted(
    connection: Connection, chunk: ClaimedChunk, rows: list[tuple[int, int, str | None]], now: datetime
) -> None:
    window = {"messages": [row[0] for row in rows], "accepted": rows, "chunk": chunk.id, "now": now}
    expect(connection.execute(ACCEPT_MESSAGES, window).rowcount, len(rows), "Settling a window")
    numbers: defaultdict[int, list[int]] = defaultdict(list)
    for message, number, _ in rows:
        numbers[number].append(message)
    for number, messages in numbers.items():  # nearly always the first of each
        alike = {"messages": messages, "attempt": number, "now": now}
        found = connection.execute(ACCEPT_ATTEMPTS, alike).rowcount
        expect(found, len(messages), "Settling the attempts of a window")


def _judge(
    outcome: Retryable | Permanent | Misconfigured, attempt: int, providers: int, settings: Settings, now: datetime
) -> tuple[str, str, str, datetime | None]:
    """Return the message's state, the attempt's outcome, the reason, and when to try again."""
    if isinstance(outcome, Permanent):
        return "failed", "failed", outcome.reason or "refused", None
    if isinstance(outcome, Retryable) and outcome.accepted != "no":
        return "unknown", "unknown", outcome.reason or "no answer", None
    tried = -(-attempt // providers)  # how often by each
    pause = timedelta(seconds=min(settings.retry_seconds * 2 ** min(tried - 1, 20), settings.retry_max_seconds))
    if isinstance(outcome, Retryable):
        if tried > settings.retries:
            return "failed", "returned", f"gave up after {attempt} attempts: {outcome.reason}", None
        pause = min(max(pause, outcome.retry_after or timedelta(0)), LONGEST_PAUSE)
    return "planned", "returned", outcome.reason, now + pause


def _prepare_others(connection: Connection, outcomes: dict[int, Outcome], now: datetime) -> set[int]:
    """Lock whom the messages went to that were not accepted, and suppress the addresses that do not exist.

    Those whose reader stopped messages with the provider get no marketing any more.

    Return the messages whose contact was erased while they were in hand; an erasure that comes later finds what is
    written. Contacts are locked before messages, as everywhere.
    """
    messages = [message for message, outcome in outcomes.items() if not isinstance(outcome, Accepted)]
    if not messages:
        return set()
    theirs = connection.execute(
        select(col(Message.contact_id)).where(among(Message.id, "messages")), {"messages": messages}
    )
    contacts, suppressed = set(theirs.scalars()), {}
    judged = {
        message: ("all", "hard_bounce") if outcome.address_invalid else ("marketing", EVERYTHING)
        for message in messages
        if isinstance(outcome := outcomes[message], Permanent) and (outcome.address_invalid or outcome.unsubscribed)
    }
    if judged:
        rows = connection.execute(select(col(Message.id), col(Message.address)).where(col(Message.id).in_(judged)))
        suppressed = {address: judged[message] for message, address in rows if address}
        contacts |= set(connection.execute(select(col(Contact.id)).where(having(suppressed))).scalars())
    connection.execute(CONTACTS, {"contacts": sorted(contacts)})
    insert_ignore(
        connection, Suppression,
        [
            {"address": address, "scope": scope, "reason": reason, "source": "send", "at": now}
            for address, (scope, reason) in sorted(suppressed.items())
        ],
    )  # fmt: skip
    erased = connection.execute(
        select(col(Message.id))
        .join(Contact, col(Contact.id) == col(Message.contact_id))
        .where(
            among(Message.id, "messages"),
            checked(col(Contact.erased_at).is_not(None), col(Contact.merged_into).is_(None)),
        ),
        {"messages": messages},
    )
    return set(erased.scalars())
