"""Store what shops tell of their customers: events, and contacts for those whom nobody knows yet.

A customer is the contact that the shop's id means, else the oldest with their address, whatever it came from, and from
then on the id means that contact. Who is new is a contact of the shop's, who has agreed to nothing unless it says so.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Select, String, bindparam, literal, select, union_all
from sqlmodel import col

from evergreet.clock import Clock
from evergreet.contracts import Customer, CustomerEvent
from evergreet.database import exclusive, ingest_position
from evergreet.importing.bulk import Same, insert_columns
from evergreet.importing.contacts import ContactImport
from evergreet.importing.events import EVENT
from evergreet.importing.mapping import Columns, bind
from evergreet.importing.memory import RowMemory
from evergreet.importing.people import address_or_none
from evergreet.importing.records import Record
from evergreet.importing.rejects import Rejected
from evergreet.importing.storing import Setting
from evergreet.importing.values import as_text, check_json, digest
from evergreet.ingest.storing import PERSON
from evergreet.store import among_texts, by_index, insert_ignore
from models import Contact, ContactAlias, Event

PLACE = Path("what was told")
"""What stands in sentences where an import names its file."""


@dataclass(slots=True)
class _Found:
    """A contact, by its own source and id there; `is_new` until it is stored, with what is to be stored of it."""

    source: str
    source_id: str
    has_address: bool = False
    is_new: bool = False
    told: dict[str, Any] = field(default_factory=dict)


def store(
    connection: Connection, source: str, told: Sequence[CustomerEvent], names: Mapping[str, str], clock: Clock,
    now: datetime,
) -> Counter[str]:  # fmt: skip
    """Store what was told in the caller's writing transaction; return why some of it was not, with counts.

    `source` is that of the events and of the customers' ids. `names` are events' names that are to be called otherwise.
    """
    exclusive(connection, f"import:{source}")  # as imports lock: what is looked up stays so until it is stored
    connection.execute(select(by_index()))
    left: Counter[str] = Counter()
    usable = [each for each in told if _usable(each, left)]
    people = _People(connection, source, usable)
    placed: list[tuple[CustomerEvent, _Found]] = []
    for each in usable:
        contact = people.of(each)
        if contact is None:
            left["no contact"] += 1
            continue
        _tell(contact, each, source, now)
        placed.append((each, contact))
    _store_contacts(connection, [contact for _, contact in placed], clock, now)
    numbers = _numbers(connection, [contact for _, contact in placed])
    people.write(connection, numbers, now)
    fresh: dict[str, tuple[CustomerEvent, _Found]] = {}
    for each, contact in placed:
        if each.name and each.id not in people.by_event:
            fresh.setdefault(each.id, (each, contact))
    _store_events(connection, source, list(fresh.values()), numbers, names, now)
    return left


def _usable(told: CustomerEvent, left: Counter[str]) -> bool:
    """Whether a store can hold it."""
    try:
        as_text(told.id, "id", 255)
        as_text(told.customer.id, "customer", 255)
        for name in ("phone", "locale", "timezone"):
            as_text(told.customer.details.get(name), name, 1000)
        check_json([told.id, told.customer.id, dict(told.properties), dict(told.customer.details)])
    except Rejected as problem:
        left[problem.reason] += 1
        return False
    return True


def _address(customer: Customer) -> str:
    address = address_or_none(customer.email) if customer.email else None
    return address.normalised if address and len(address.normalised) <= 255 else ""


_COLUMNS = (col(Contact.source), col(Contact.source_id), col(Contact.address))
_BY_EVENT = (
    select(col(Event.source_id), *_COLUMNS)
    .join(Contact, col(Contact.id) == col(Event.contact_id))
    .where(col(Event.source) == bindparam("source"), among_texts(col(Event.source_id), "keys"))
)
_OWN: Select[Any] = select(col(Contact.source_id).label("key"), *_COLUMNS, literal(0).label("alias"))
_ALIASED: Select[Any] = select(col(ContactAlias.source_id), *_COLUMNS, literal(1))
_SOURCE = bindparam("source", type_=String)
_BY_ID = union_all(
    _OWN.where(col(Contact.source) == _SOURCE, among_texts(col(Contact.source_id), "keys")),
    _ALIASED.join(Contact, col(Contact.id) == col(ContactAlias.contact_id)).where(
        col(ContactAlias.source) == _SOURCE, among_texts(col(ContactAlias.source_id), "keys")
    ),
)
_BY_ADDRESS: Select[Any] = (
    select(col(Contact.address).label("key"), *_COLUMNS)
    .where(among_texts(col(Contact.address), "keys"))
    .order_by(col(Contact.id).desc())
)


class _People:
    """Whom the customers in a request mean, and what is learned of their ids."""

    def __init__(self, connection: Connection, source: str, told: Sequence[CustomerEvent]) -> None:
        def found(query: Any, keys: set[str]) -> dict[str, _Found]:
            if not keys - {""}:
                return {}
            rows = connection.execute(query, {"source": source, "keys": sorted(keys - {""})}).all()
            # What an alias says goes before what a contact is called itself, the oldest before the younger.
            ordered = sorted(rows, key=lambda row: row.alias) if query is _BY_ID else rows
            return {row[0]: self._once(_Found(row[1], row[2], bool(row[3]))) for row in ordered}

        self._source = source
        self._all: dict[tuple[str, str], _Found] = {}
        self._aliases: dict[str, _Found] = {}
        self.by_event = found(_BY_EVENT, {name for each in told for name in (each.id, each.like)})
        self._by_id = found(_BY_ID, {each.customer.id for each in told} | {_address(each.customer) for each in told})
        self._by_address = found(_BY_ADDRESS, {_address(each.customer) for each in told})

    def _once(self, contact: _Found) -> _Found:
        return self._all.setdefault((contact.source, contact.source_id), contact)

    def of(self, told: CustomerEvent) -> _Found | None:
        """Return whom an event is about: who it was about before, or whom id or address mean; None names nobody."""
        name, address = told.customer.id, _address(told.customer)
        if told.id in self.by_event:
            return self.by_event[told.id]
        if not (name or address):
            return self.by_event.get(told.like)
        contact = self._by_id.get(name) if name else None
        if contact is None:
            contact = self._by_address.get(address) or self._by_id.get(address)
            if contact is not None and name:
                self._aliases[name] = contact
        if contact is None:
            contact = self._once(_Found(self._source, name or address, is_new=True))
        for key, known in ((name, self._by_id), (address, self._by_address)):
            if key:
                known.setdefault(key, contact)
        return contact

    def write(self, connection: Connection, numbers: Mapping[tuple[str, str], int], now: datetime) -> None:
        """Store what ids mean from now on."""
        insert_ignore(
            connection, ContactAlias,
            [
                {"source": self._source, "source_id": name, "contact_id": numbers[contact.source, contact.source_id],
                 "at": now}
                for name, contact in sorted(self._aliases.items())
            ],
        )  # fmt: skip


def _tell(contact: _Found, told: CustomerEvent, source: str, now: datetime) -> None:
    """Note what is to be stored of a contact: all that is known of a new one; of others what they agreed to.

    An address is given to a contact of the shop's that has none, and never changed: shops tell out of order.
    """
    customer, said = told.customer, contact.told
    if contact.is_new:
        said |= {**customer.details, **said}
        said["created_at"] = min(told.at, now).isoformat()
    if customer.email and _address(customer) and not contact.has_address and contact.source == source:
        said["email"] = customer.email
        contact.has_address = True
    if customer.agreement is not None:
        agreed = customer.agreement
        said |= {
            f"consent.{agreed.topic}": agreed.granted, "consent_at": min(agreed.at, now).isoformat(),
            "consent_source": source, "consent_wording": agreed.wording,
        }  # fmt: skip


def _store_contacts(connection: Connection, contacts: Sequence[_Found], clock: Clock, now: datetime) -> None:
    """Store what is told of contacts, by the rules of an import, the contacts of one source together."""
    told = {(one.source, one.source_id): one.told for one in contacts if one.told or one.is_new}
    for source in sorted({source for source, _ in told}):
        records = [{**said, "source_id": name} for (of, name), said in sorted(told.items()) if of == source]
        columns = list(dict.fromkeys(name for said in records for name in said))
        memory = RowMemory()
        try:
            setting = Setting(PLACE, source, ZoneInfo("UTC"), now, clock, memory)
            importer = ContactImport(bind(Columns(), columns, PERSON, are_text=False, path=PLACE), setting)
            rows = [importer.shape(Record(line, "", said)) for line, said in enumerate(records)]
            importer.store(connection, rows)
        finally:
            memory.close()


def _numbers(connection: Connection, contacts: Sequence[_Found]) -> dict[tuple[str, str], int]:
    """Return the contacts' ids, locked in their order as windows lock them."""
    sources = sorted({one.source for one in contacts})
    rows = connection.execute(
        select(col(Contact.source), col(Contact.source_id), col(Contact.id))
        .where(among_texts(col(Contact.source), "sources"), among_texts(col(Contact.source_id), "names"))
        .order_by(col(Contact.id))
        .with_for_update(key_share=True),
        {"sources": sources, "names": sorted({one.source_id for one in contacts})},
    )
    return {(source, name): number for source, name, number in rows.tuples()}


def _store_events(
    connection: Connection, source: str, placed: Sequence[tuple[CustomerEvent, _Found]],
    numbers: Mapping[tuple[str, str], int], names: Mapping[str, str], now: datetime,
) -> None:  # fmt: skip
    if not placed:
        return
    rows = sorted(((numbers[one.source, one.source_id], each) for each, one in placed), key=lambda row: row[0])
    events = [each for _, each in rows]
    times = [min(each.at, now) for each in events]
    called = [names.get(each.name, each.name) for each in events]
    told = [dict(each.properties) for each in events]
    insert_columns(
        connection,
        EVENT,
        {
            "contact_id": [number for number, _ in rows], "name": called, "occurred_at": times, "properties": told,
            "source": Same(source), "source_id": [each.id for each in events], "revision": Same(0),
            "superseded": Same(False),
            "content_hash": [
                digest([name, at.isoformat(), number, properties])
                for (number, _), name, at, properties in zip(rows, called, times, told, strict=True)
            ],
            "ingested_at": Same(now), "position": Same(ingest_position(connection)),
        },
    )  # fmt: skip
