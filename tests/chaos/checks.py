"""Both sets of books compared: the ledger with what the provider took, and each with what people decided."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlmodel import col

from evergreet.audit import audit
from evergreet.balance import balance_of
from evergreet.campaigns import states
from evergreet.composing import message_key
from evergreet.database import Database
from models import Attempt, CampaignRow, Contact, Message, WorkerRow
from tests.chaos.decisions import Decisions
from tests.chaos.faults import IN_DOUBT
from tests.chaos.provider import Weather
from tests.chaos.scene import REPEATED, STEPS, Jumping, address
from tests.chaos.workers import BEGUN, Hand

FINAL = {"accepted", "failed", "skipped", "unknown"}
DIED = "the worker died between intent and settle"
LOST_SESSION = ("SIGSTOP", "session ended", "PostgreSQL restarts fast", "PostgreSQL crashes")
SENTENCES = {
    "lost its connection to the database": LOST_SESSION,
    "no longer owns chunk": LOST_SESSION,
    "No connection to the database": LOST_SESSION,
    "was locked by another process": ("locked", "SIGSTOP"),
    "is full": ("disk full",),
    "could not serialize": ("serialization failure",),
    "deadlock detected": ("deadlock",),
    "MemoryError": ("out of memory",),
    "out of memory": ("out of memory",),
    "Cannot allocate memory": ("out of memory",),
    "can't start new thread": ("out of memory",),
    "error return without exception set": ("out of memory",),  # the interpreter could not even make a MemoryError
}
"""What a worker may say at its end, and the faults that explain it."""
SKIPPED = {
    "no_consent": {"unsubscribed"},
    "suppressed": {"suppressed", "erased", "mailbox unknown", "half refused"},
    "erased": {"erased"},
    "no_address": {"erased"},
}
"""Reasons that only a decision of the person or a word of the provider explains."""
FAILED: dict[str, set[str]] = {
    "template: MemoryError": set(),
    "template: ": {"template broken"},
    "poison: ": {"SIGKILL", "out of memory", "PostgreSQL crashes", "PostgreSQL restarts fast", "session ended"},
    "gave up after ": {"429", "429 with Retry-After", "connection reset", "time-out before the body"},
    "": {"5xx", "mailbox unknown", "half refused"},
}
"""How reasons of a failure begin, and the faults that explain them; the last are the provider's own words."""


@dataclass
class Books:
    """What the comparison found."""

    messages: int = 0
    mails: int = 0
    accepted: int = 0
    duplicates: int = 0
    losses: int = 0
    repeats: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    """Attempts that ended in doubt, by the fault that explains them."""
    wrong: list[str] = field(default_factory=list)


@dataclass
class Evidence:
    """All that is known about a round from outside the ledger."""

    taken: Counter[str]
    weather: Weather
    decisions: Decisions
    hands: list[Hand]
    injected: set[str]
    people: list[str]
    perhaps: set[str]


def cause_of_end(hand: Hand, injected: set[str]) -> str | None:
    """Name the fault that a worker's end comes from; empty where it ended in order, None where nothing explains it."""
    said = hand.said
    if said is None or said == BEGUN:  # without a word
        killed = next((kind for kind in ("SIGKILL", "out of memory") if kind in hand.faults), None)
        return "" if killed is None and said is None and hand.asked else killed
    if said[0] == "done":
        return ""
    words = str(said[-1])
    for sentence, kinds in SENTENCES.items():
        if sentence in words:
            struck = [kind for kind in kinds if kind in hand.faults or kind == "deadlock"]
            if found := next((kind for kind in struck if kind in injected), None):
                return found
            if sentence == "was locked by another process":
                return "locked"  # by the other workers
    return None


def compare(database: Database, clock: Jumping, evidence: Evidence) -> Books:
    """Compare everything with everything."""
    books = Books(mails=sum(evidence.taken.values()))
    books.wrong += _audited(database, clock)
    ends = {}
    for hand in evidence.hands:
        cause = cause_of_end(hand, evidence.injected)
        ends[hand.pid] = cause
        if cause is None:
            books.wrong.append(f"worker {hand.pid} ended by itself ({', '.join(hand.faults)}): {hand.said}")
    rows, attempts, pids = _read(database)
    books.messages = len(rows)
    for key in evidence.taken.keys() - rows.keys():
        books.wrong.append(f"a mail that no row knows: {key}")
    for key, row in rows.items():
        name = f"{row['step']} of {row['who']} ({row['state']}: {row['reason']})"
        books.wrong += [f"{name} {what}" for what in _row(books, row, attempts[row["id"]], evidence.taken[key])]
        books.wrong += [f"{name} {what}" for what in _explained(row, evidence)]
        for attempt in attempts[row["id"]]:
            if attempt["outcome"] == "unknown":
                cause = _cause_of_doubt(attempt, row, evidence, ends, pids)
                books.unknown[cause or "unexplained"] += 1
                if cause is None:
                    books.wrong.append(f"{name} is in doubt and no fault explains it: {attempt['detail']}")
    _decided(books, rows, evidence)
    _complete(books, rows, evidence)
    return books


def _audited(database: Database, clock: Jumping) -> Iterator[str]:
    audits = audit(database, clock)
    with database.read() as connection:
        balances = {state.name: balance_of(connection, state.id)[0] for state in states(connection)}
    for one in audits:
        yield from (f"audit of {one.campaign}: {finding}" for finding in one.findings)
        if not one.due == one.in_ledger == balances[one.campaign].due:
            yield f"{one.campaign}: {one.due} due, {one.in_ledger} in the ledger, {balances[one.campaign].due} balanced"


def _read(database: Database) -> tuple[dict[str, Any], defaultdict[int, list[Any]], dict[int, int]]:
    """Return messages by the key they have outside, attempts by message, and the processes of workers."""
    with database.read() as connection:
        found = connection.execute(
            select(
                col(Message.id), col(Message.step_key), col(Message.occurrence), col(Message.state),
                col(Message.reason), col(Message.attempts), col(CampaignRow.name), col(Contact.source),
                col(Contact.source_id),
            )
            .join(CampaignRow, col(CampaignRow.id) == col(Message.campaign_id))
            .join(Contact, col(Contact.id) == col(Message.contact_id))
        )  # fmt: skip
        rows = {
            message_key(row.name, row.step_key, row.occurrence, f"{row.source}:{row.source_id}"): {
                "id": row.id, "who": row.source_id, "step": f"{row.name}/{row.step_key}", "state": row.state,
                "reason": row.reason, "attempts": row.attempts,
            }
            for row in found
        }  # fmt: skip
        attempts: defaultdict[int, list[Any]] = defaultdict(list)
        for one in connection.execute(select(Attempt).order_by(col(Attempt.message_id), col(Attempt.number))):
            attempts[one.message_id].append({"outcome": one.outcome, "detail": one.detail, "worker": one.worker_id})
        pids = dict(connection.execute(select(col(WorkerRow.id), col(WorkerRow.pid))).tuples().all())
    return rows, attempts, pids


def _row(books: Books, row: Any, attempts: list[Any], copies: int) -> Iterator[str]:
    """Compare one row and its attempts with the copies that the provider took."""
    outcomes = Counter(attempt["outcome"] for attempt in attempts)
    repeats = sum(attempt["outcome"] == "unknown" for attempt in attempts[:-1])
    books.accepted += row["state"] == "accepted"
    books.repeats += repeats
    if row["state"] not in FINAL:
        yield "has not come to an end"
    if len(attempts) != row["attempts"]:
        yield f"counts {row['attempts']} attempts and has {len(attempts)}"
    if repeats and row["step"] not in REPEATED:
        yield "was repeated although nobody asked for it"
    if copies > 1 + repeats:
        books.duplicates += copies - 1 - repeats
        yield f"was sent {copies} times with {repeats} repeats"
    if copies < outcomes["accepted"]:
        books.losses += 1
        yield "was accepted and never sent"
    if copies > outcomes["accepted"] + outcomes["unknown"]:
        yield f"was sent {copies} times, and its attempts know of {outcomes['accepted'] + outcomes['unknown']}"
    if row["state"] != "accepted" and not row["reason"]:
        yield "has no reason"


def _explained(row: Any, evidence: Evidence) -> Iterator[str]:
    """Ask for the fault behind each message that was not sent."""
    struck = evidence.decisions.tried.get(row["who"], set()) | set(evidence.weather.struck[address(row["who"])])
    reason = row["reason"]
    if row["state"] == "skipped" and not SKIPPED.get(reason, set()) & struck:
        yield "is skipped without a cause"
    if row["state"] == "failed":
        known = next(kinds for start, kinds in FAILED.items() if reason.startswith(start))
        if not known & (struck if known & set(evidence.weather.fates) else evidence.injected):
            yield "has failed without a cause"


def _cause_of_doubt(
    attempt: Any, row: Any, evidence: Evidence, ends: dict[int, str | None], pids: dict[int, int]
) -> str | None:
    """Name the fault after which nobody knew whether the provider had it."""
    if attempt["detail"] == DIED:
        return ends.get(pids[attempt["worker"]]) or None
    if "MemoryError" in attempt["detail"]:
        hand = next(hand for hand in evidence.hands if hand.pid == pids[attempt["worker"]])
        return next((kind for kind in hand.faults if kind == "out of memory"), None)
    return next((kind for kind in evidence.weather.struck[address(row["who"])] if kind in IN_DOUBT), None)


def _decided(books: Books, rows: dict[str, Any], evidence: Evidence) -> None:
    """Nobody who decided before a window is in it: there is no attempt after those that the decision saw."""
    for key, row in rows.items():
        kind, seen = evidence.decisions.made.get(row["who"], ("", {}))
        if not kind or (kind == "unsubscribed" and row["step"] == "receipts/receipt"):
            continue
        before = seen.get(row["id"], 0)
        if row["attempts"] > before or evidence.taken[key] > before:
            books.wrong.append(
                f"{row['step']} of {row['who']}, {kind} after {before} attempts, has {row['attempts']} and was sent "
                f"{evidence.taken[key]} times"
            )


def _complete(books: Books, rows: dict[str, Any], evidence: Evidence) -> None:
    """Everybody who ordered has a row for each step."""
    there: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows.values():
        there[row["who"]].add(row["step"])
    for name in evidence.people:
        if missing := STEPS - there[name]:
            books.losses += len(missing)
            books.wrong.append(f"{name} ordered and is missing from the ledger: {', '.join(sorted(missing))}")
    for name in there.keys() - set(evidence.people) - evidence.perhaps:
        books.wrong.append(f"{name} is in the ledger and never ordered")
