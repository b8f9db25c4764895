"""Apply what providers told: delivery, doubts, suppression, consent, and events that conditions can ask for.

A batch is one transaction, and each event has its effect in exactly one. Nothing depends on the order in which events
are told: `message.delivery` only rises, a suppression only grows, and an unsubscription counts from when it was made.
An event that cannot be applied keeps no other from it: its batch is tried in ever smaller parts until it is alone.

Locks: contacts by id, as everywhere, then messages, of which those that a worker has in hand are left for the next
time. Whoever erases somebody holds the contact, so an event either finds the address gone or is emptied with it.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Integer, String, bindparam, case, func, or_, select, update
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError
from sqlmodel import col

from evergreet.channels import having
from evergreet.clock import Clock
from evergreet.contracts import Kind
from evergreet.database import Database, exclusive, ingest_position
from evergreet.errors import DataError, EvergreetError
from evergreet.feedback.doubts import PROOF, Heard, accept
from evergreet.feedback.facts import facts_of
from evergreet.feedback.placing import Place, place
from evergreet.feedback.verdicts import Judgement, carry_out, judgements
from evergreet.feedback.words import DELIVERIES, RANKS
from evergreet.store import among, checked, given, insert_ignore, paired
from evergreet.tokens import Tokens
from models import Contact, Event, Instant, Message, ProviderEvent, Suppression
from models.base import Id

BATCH = 1000
FAILED = "failed"
"""What `result` begins with where an event could not be applied; the name of the error follows."""
TRIED_AGAIN = timedelta(days=7)
"""How long after it came an event that was set aside is tried again by each reconciliation."""

LOG = logging.getLogger("evergreet.feedback")

_OF_THE_STORE = (EvergreetError, OperationalError, InterfaceError, ProgrammingError, MemoryError)
"""Errors that are no event's fault: a lost connection, a lock, a full disk, another schema."""
_RANK = case(RANKS, value=col(Message.delivery), else_=0)
_TOLD = given("told", message=Id, word=String(), rank=Integer())
_WRITE_DELIVERIES = (
    update(Message)
    .where(paired(Message.id, _TOLD.c.message, "messages"), checked(_TOLD.c.rank > _RANK))
    .values(delivery=_TOLD.c.word)
)
_DONE = given("done", event=Id, message=Id, word=String())
_WRITE_DONE = (
    update(ProviderEvent)
    .where(paired(ProviderEvent.id, _DONE.c.event, "events"))
    .values(message_id=_DONE.c.message, result=_DONE.c.word, applied_at=bindparam("now", type_=Instant()))
)
_FREE = (
    select(col(Message.id))
    .where(among(Message.id, "messages"), checked(col(Message.state) != "sending"))
    .order_by(col(Message.id))
    .with_for_update(key_share=True, skip_locked=True)
)


@dataclass(frozen=True, slots=True)
class Applied:
    """How many events were applied, by what came of them, and how many doubts that resolved."""

    results: Counter[str] = field(default_factory=Counter)
    resolved: int = 0
    waiting: int = 0
    """Events of messages that a worker has in hand just now; the next time will see them."""


def apply_waiting(database: Database, tokens: Tokens, clock: Clock, *, set_aside: bool = False) -> Applied:
    """Apply all events that wait, a batch at a time; two that do so at once take turns.

    An event that cannot be applied is set aside; with `set_aside` those that were are tried again while they are young.
    """
    results: Counter[str] = Counter()
    resolved = waiting = after = 0
    size = BATCH
    while True:
        events: Sequence[Any] = ()
        try:
            with database.write() as connection:
                exclusive(connection, "provider events")
                now = clock.now(connection)
                events = _waiting(connection, after, size, now - TRIED_AGAIN if set_aside else None)
                if not events:
                    return Applied(results, resolved, waiting)
                batch = _apply(connection, events, tokens, now)
        except Exception as error:
            if not events or (isinstance(error, _OF_THE_STORE) and not isinstance(error, DataError)):
                raise
            if len(events) > 1:
                size = len(events) // 2
                continue
            batch = _set_aside(database, events[0], error)
        after = events[-1].id
        size = min(2 * size, BATCH)
        results += batch.results
        resolved += batch.resolved
        waiting += batch.waiting


def _waiting(connection: Connection, after: int, most: int, set_aside_since: datetime | None) -> Sequence[Any]:
    columns = (
        ProviderEvent.id, ProviderEvent.connector, ProviderEvent.event_id, ProviderEvent.kind, ProviderEvent.verdict,
        ProviderEvent.at, ProviderEvent.address, ProviderEvent.row, ProviderEvent.key, ProviderEvent.provider_id,
        ProviderEvent.url, ProviderEvent.machine, ProviderEvent.topic,
    )  # fmt: skip
    fresh = col(ProviderEvent.result) == ""
    return connection.execute(
        select(*(col(column) for column in columns))
        .where(
            col(ProviderEvent.applied_at).is_(None), col(ProviderEvent.id) > after,
            fresh if set_aside_since is None else or_(fresh, col(ProviderEvent.received_at) > set_aside_since),
        )
        .order_by(col(ProviderEvent.id))
        .limit(most)
    ).all()  # fmt: skip


def _set_aside(database: Database, event: Any, error: Exception) -> Applied:
    """Mark an event that cannot be applied; what the error says may name a person and is not repeated."""
    name = type(error).__name__
    LOG.error(
        "Event %s of %s (provider_event %d, %s) cannot be applied and is set aside: %s. `evergreet reconcile` tries it "
        "again.", event.event_id, event.connector, event.id, event.kind, name,
    )  # fmt: skip
    with database.write() as connection:
        connection.execute(
            update(ProviderEvent)
            .where(col(ProviderEvent.id) == event.id, col(ProviderEvent.applied_at).is_(None))
            .values(result=f"{FAILED}: {name}"[:30])
        )
    return Applied(Counter([FAILED]))


def _apply(connection: Connection, events: Sequence[Any], tokens: Tokens, now: datetime) -> Applied:
    places = place(connection, events)
    judged = judgements(events, places)
    erased = _lock_contacts(connection, judged, places)
    free = set(connection.execute(_FREE, {"messages": sorted({p.message_id for p in places.values()})}).scalars())
    ready = [event for event in events if event.id not in places or places[event.id].message_id in free]
    gone = _forgotten(connection, ready, places, erased, tokens)
    told = [event for event in ready if event.id not in gone]
    position = ingest_position(connection)
    _write_deliveries(connection, ready, places)
    carry_out(connection, [one for one in judged if one.event_id in {event.id for event in told}], position, now)
    _write_facts(connection, facts_of(told, places), position, now)
    _finish(connection, ready, gone, places, now)
    resolved = accept(connection, _heard(ready, places), now)
    return Applied(Counter(_result(event, places, gone) for event in ready), resolved, len(events) - len(ready))


def _lock_contacts(connection: Connection, judged: Sequence[Judgement], places: Mapping[int, Place]) -> set[int]:
    """Lock everybody these events may change, in the order of their ids; return those who were erased."""
    rows = connection.execute(
        select(col(Contact.id), col(Contact.erased_at))
        .where(
            or_(
                among(Contact.id, "contacts"),
                having(one.address for one in judged),
            )
        )
        .order_by(col(Contact.id))
        .with_for_update(key_share=True),
        {"contacts": sorted({p.contact_id for p in places.values()})},
    )
    return {row.id for row in rows if row.erased_at is not None}


def _forgotten(
    connection: Connection, events: Sequence[Any], places: Mapping[int, Place], erased: set[int], tokens: Tokens
) -> set[int]:
    """Return the events about people who were erased, by their contact or by the hash of their address.

    Asked once the contacts are locked: an erasure that was quicker is seen.
    """
    hashes = {
        event.id: tokens.address_hashes(event.address.casefold())
        for event in events
        if event.id not in places and event.address
    }
    wanted = {one for each in hashes.values() for one in each}
    known = set(
        connection.execute(select(col(Suppression.address)).where(col(Suppression.address).in_(wanted))).scalars()
    )
    by_address = {number for number, each in hashes.items() if known.intersection(each)}
    return by_address | {event.id for event in events if event.id in places and places[event.id].contact_id in erased}


def _write_deliveries(connection: Connection, events: Sequence[Any], places: Mapping[int, Place]) -> None:
    highest: dict[int, str] = {}
    for event in events:
        word = DELIVERIES.get(Kind(event.kind))
        if word is not None and event.id in places:
            message = places[event.id].message_id
            highest[message] = max(highest.get(message, word), word, key=RANKS.__getitem__)
    if highest:
        told = [(message, word, RANKS[word]) for message, word in highest.items()]
        connection.execute(_WRITE_DELIVERIES, {"messages": list(highest), "told": told})


def _write_facts(connection: Connection, facts: list[dict[str, Any]], position: int, now: datetime) -> None:
    """Store the events; in the order of the contacts, whom the foreign key locks."""
    facts.sort(key=lambda fact: fact["contact_id"])
    insert_ignore(connection, Event, [{**fact, "ingested_at": now, "position": position} for fact in facts])


def _finish(
    connection: Connection, events: Sequence[Any], gone: set[int], places: Mapping[int, Place], now: datetime
) -> None:
    if gone:
        connection.execute(
            update(ProviderEvent)
            .where(among(ProviderEvent.id, "gone"))
            .values(address="", reason="", url="", payload={}),
            {"gone": sorted(gone)},
        )  # fmt: skip
    done = [
        (event.id, places[event.id].message_id if event.id in places else None, _result(event, places, gone))
        for event in events
    ]
    if done:
        connection.execute(_WRITE_DONE, {"events": [event.id for event in events], "done": done, "now": now})


def _result(event: Any, places: Mapping[int, Place], gone: set[int]) -> str:
    """Name what came of an event."""
    if event.id in gone:
        return "erased"
    if event.kind == Kind.UNKNOWN:
        return "unknown_word"
    if event.id in places:
        return "applied"
    return "no_such_row" if event.key else "not_ours"


def _heard(events: Sequence[Any], places: Mapping[int, Place]) -> list[Heard]:
    """Return the messages that these events prove to have been taken, with the provider's name for them."""
    names: dict[int, str] = {}
    for event in events:
        if event.id in places and event.kind in PROOF:
            message = places[event.id].message_id
            names[message] = names.get(message) or event.provider_id
    return [Heard(message, name) for message, name in names.items()]


def count_set_aside(connection: Connection) -> int:
    """Return how many events could not be applied."""
    return connection.execute(
        select(func.count())
        .select_from(ProviderEvent)
        .where(col(ProviderEvent.applied_at).is_(None), col(ProviderEvent.result) != "")
    ).scalar_one()
