"""Store what was posted: one transaction for a whole request, in statements for all of its messages together.

People and events go the way of an import (`ContactImport`, `EventImport`). What somebody did whom nobody knows yet
waits, and becomes an event when they say who they are: campaigns take it in then, as any late event.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, bindparam, delete, select, union_all
from sqlmodel import col

from evergreet.clock import Clock
from evergreet.database import exclusive
from evergreet.importing import contacts, events
from evergreet.importing.bulk import Same, insert_columns
from evergreet.importing.contacts import ContactImport
from evergreet.importing.events import EventImport
from evergreet.importing.mapping import Columns, bind
from evergreet.importing.memory import RowMemory
from evergreet.importing.people import address_or_none
from evergreet.importing.records import Record
from evergreet.importing.rejects import Rejected
from evergreet.importing.storing import Setting
from evergreet.ingest.messages import Message
from evergreet.ingest.people import People
from evergreet.store import among_texts, by_index
from models import Contact, Event, PostedMessage
from models import Table as Models

POSTED = Models.metadata.tables["posted_message"]
PLACE = Path("what was posted")
"""What stands in sentences where an import names its file."""
PERSON = tuple(name for name in contacts.FIELDS if name not in {"stage", "stage_at", "attributes"})
"""What traits may say of a contact; where somebody is in their life with us the lifecycle says."""

EVENT = bind(
    Columns(), ("source_id", "name", "occurred_at", "contact", "properties"), events.FIELDS, are_text=False, path=PLACE
)
"""How `_store_events` writes an event down."""


@dataclass(slots=True)
class _Sorted:
    """What is to be done with a batch: events and traits by contact, and messages that wait."""

    events: list[tuple[Message, str]] = field(default_factory=list)
    traits: dict[str, list[Message]] = field(default_factory=dict)
    waiting: list[Message] = field(default_factory=list)


def store(
    connection: Connection, messages: Sequence[Message], source: str, clock: Clock, now: datetime
) -> dict[str, Rejected]:
    """Store messages in the caller's writing transaction; return why some were not, by their ids.

    `source` is that of the contacts' ids and of the messages' own: what is known by its id is passed over.
    """
    exclusive(connection, f"import:{source}")  # as imports lock: what is looked up stays so until it is stored
    connection.execute(select(by_index()))
    fresh = _fresh(connection, source, messages)
    if not fresh:
        return {}
    people = _people(connection, source, fresh)
    whose = _introduce(people, fresh)
    claimed = _claim(connection, source, {*people.aliases, *people.made})
    work = _sort(people, [*claimed, *fresh], whose)
    if work.traits and work.events:
        _lock(connection, source, {*work.traits, *(contact for _, contact in work.events)})
    memory = RowMemory()
    try:
        setting = Setting(PLACE, source, ZoneInfo("UTC"), now, clock, memory)
        rejected = _store_people(connection, setting, work.traits) | _store_events(connection, setting, work.events)
    finally:
        memory.close()
    people.write(connection, now)
    left = {one.id for one in work.waiting} | rejected.keys()
    told = [one for one in (*claimed, *fresh) if one.kind != "track" and one.id not in left]
    _remember(connection, source, told, work.waiting, now)
    return rejected


_KNOWN = union_all(
    *(
        select(name).where(source == bindparam("source"), among_texts(name, "ids"))
        for source, name in (
            (col(Event.source), col(Event.source_id)),
            (col(PostedMessage.source), col(PostedMessage.message_id)),
        )
    )
)
"""The ids of messages that are stored, as events or without."""


def _fresh(connection: Connection, source: str, messages: Sequence[Message]) -> list[Message]:
    """Return the messages that are new, each id once."""
    by_id: dict[str, Message] = {}
    for message in messages:
        by_id.setdefault(message.id, message)
    for name in connection.execute(_KNOWN, {"source": source, "ids": list(by_id)}).scalars():
        by_id.pop(name, None)
    return list(by_id.values())


def _people(connection: Connection, source: str, messages: Sequence[Message]) -> People:
    """Look up everybody that a batch names."""
    addresses = {address for one in messages if one.kind == "identify" and (address := _address(one))}
    ids = {name for one in messages for name in (one.user, one.other) if name is not None}
    return People.read(connection, source, ids | addresses, addresses)


def _address(message: Message) -> str | None:
    """Return the normalised address that traits give."""
    written = message.content.get("email")
    address = address_or_none(written) if isinstance(written, str) else None
    return address.normalised if address and len(address.normalised) <= 255 else None


def _introduce(people: People, messages: Sequence[Message]) -> dict[str, str]:
    """Learn from a batch who its ids are; return whose the messages are that say so themselves."""
    whose: dict[str, str] = {}
    for one in messages:
        if one.kind == "alias" and one.user and one.other:
            people.rename(one.other, one.user)
    for one in sorted(messages, key=lambda message: message.kind != "identify"):
        if one.kind == "alias":
            continue
        address = _address(one) if one.kind == "identify" else None
        if one.user is not None:
            whose[one.id] = people.of_user(one.user, address)
        elif address is not None:
            whose[one.id] = people.of_address(address)
        else:
            continue
        people.met(one.other, whose[one.id])
    return whose


def _claim(connection: Connection, source: str, names: Collection[str]) -> list[Message]:
    """Take what waits for these ids, the oldest first."""
    if not names:
        return []
    columns = (col(PostedMessage.message_id), col(PostedMessage.kind), col(PostedMessage.anonymous_id),
               col(PostedMessage.at), col(PostedMessage.name), col(PostedMessage.content))  # fmt: skip
    found = connection.execute(
        delete(PostedMessage)
        .where(col(PostedMessage.source) == source, among_texts(col(PostedMessage.anonymous_id), "names"))
        .returning(*columns),
        {"names": sorted(names)},
    )
    waited = [Message(id_, kind, None, other, at, name, content) for id_, kind, other, at, name, content in found]
    return sorted(waited, key=lambda message: (message.at, message.id))


def _sort(people: People, messages: Sequence[Message], whose: dict[str, str]) -> _Sorted:
    work = _Sorted()
    for one in messages:
        if one.kind == "alias":
            continue
        contact = whose.get(one.id) or people.of(one.other)
        if contact is None:
            work.waiting.append(one)
        elif one.kind == "track":
            work.events.append((one, contact))
        else:
            work.traits.setdefault(contact, []).append(one)
    begun = {contact for _, contact in work.events}
    for contact in sorted(people.made - begun):  # of whom nothing is known but the id
        work.traits.setdefault(contact, [])
    return work


def _lock(connection: Connection, source: str, names: Collection[str]) -> None:
    """Lock the contacts of a batch in the order of their ids, as windows do: people and events lock some each."""
    connection.execute(
        select(col(Contact.id))
        .where(col(Contact.source) == source, among_texts(col(Contact.source_id), "names"))
        .order_by(col(Contact.id))
        .with_for_update(key_share=True),
        {"names": sorted(names)},
    )


def _store_people(connection: Connection, setting: Setting, traits: dict[str, list[Message]]) -> dict[str, Rejected]:
    """Store what is known of each contact; of two words on a trait the later counts."""
    if not traits:
        return {}
    told: dict[str, dict[str, Any]] = {}
    for contact, messages in traits.items():
        told[contact] = {key: value for one in messages for key, value in one.content.items()}
        told[contact]["source_id"] = contact
    columns = list(dict.fromkeys(name for values in told.values() for name in values))
    importer = ContactImport(bind(Columns(), columns, PERSON, are_text=False, path=PLACE), setting)
    rejected: dict[str, Rejected] = {}
    rows = []
    for line, (contact, values) in enumerate(told.items()):
        try:
            rows.append(importer.shape(Record(line, "", values)))
        except Rejected as problem:
            rejected |= {one.id: problem for one in traits[contact]}
    importer.store(connection, rows)
    return rejected


def _store_events(
    connection: Connection, setting: Setting, placed: Sequence[tuple[Message, str]]
) -> dict[str, Rejected]:
    """Store events; contacts that nobody has described yet come into being."""
    if not placed:
        return {}
    importer = EventImport(EVENT, setting, create_contacts=True)
    rejected: dict[str, Rejected] = {}
    rows = []
    for line, (one, contact) in enumerate(placed):
        values = {
            "source_id": one.id, "name": one.name, "occurred_at": one.at.isoformat(), "contact": contact,
            "properties": one.content,
        }  # fmt: skip
        try:
            rows.append(importer.shape(Record(line, "", values)))
        except Rejected as problem:
            rejected[one.id] = problem
    outcome = importer.store(connection, rows)
    return rejected | {placed[record.line][0].id: problem for record, problem in outcome.rejected}


def _remember(
    connection: Connection, source: str, told: Sequence[Message], waiting: Sequence[Message], now: datetime
) -> None:
    """Keep what waits, and the ids of what is done and left no event."""
    rows = [(one, None) for one in told] + [(one, one.other) for one in waiting]
    if rows:
        insert_columns(
            connection,
            POSTED,
            {
                "source": Same(source), "message_id": [one.id for one, _ in rows],
                "kind": [one.kind for one, _ in rows], "anonymous_id": [other for _, other in rows],
                "name": [one.name for one, _ in rows], "at": [one.at for one, _ in rows],
                "content": [one.content if other else {} for one, other in rows], "received_at": Same(now),
            },
        )  # fmt: skip
