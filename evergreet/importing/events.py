"""Events from a file: new ones, replays, and corrections of what was stored under the same id.

An event without an id gets one: the digest of its content and its ordinal among equal rows of the file, so
that the same file twice changes nothing and two equal rows stay two.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    String,
    Table,
    and_,
    bindparam,
    case,
    func,
    literal,
    select,
    true,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlmodel import col

from evergreet.addresses import Address
from evergreet.database import exclusive, ingest_position
from evergreet.importing.bulk import Same, insert_columns, stage
from evergreet.importing.mapping import Plan
from evergreet.importing.people import address_or_none
from evergreet.importing.records import Record
from evergreet.importing.rejects import Rejected, shown
from evergreet.importing.storing import Outcome, Raced, Setting, missing
from evergreet.importing.times import as_time
from evergreet.importing.values import as_object, as_text, digest
from evergreet.store import among, among_texts, by_index, insert_into
from models import Contact, Event, Instant
from models import Table as Models
from models.base import Json

EVENT = Models.metadata.tables["event"]
STAGED = Table(
    "import_contact",
    MetaData(),
    Column("source_id", String(255)),
    Column("email", String(320)),
    Column("address", String(320)),
    Column("created_at", Instant(), nullable=False),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DELETE ROWS",  # autovacuum does not see temporary tables
)
"""Contacts that a batch of events creates, or that begin earlier than was known."""

FIELDS = ("source_id", "name", "occurred_at", "contact", "email", "properties")


class Who(NamedTuple):
    """The contact an event is about: by id in its source or, without one, by address."""

    source_id: str | None
    address: str | None


@dataclass(slots=True)
class EventRow:
    """A row of the file, checked. `who` is None for an event about the business."""

    record: Record
    source_id: str
    name: str
    occurred_at: datetime
    properties: dict[str, Any]
    who: Who | None
    address: Address | None
    content_hash: str
    warnings: tuple[str, ...]


@dataclass(slots=True)
class _History:
    """The revisions of one event: what is stored, and what this batch adds."""

    hashes: set[str] = field(default_factory=set)
    current_hash: str = ""
    revision: int = -1
    stored_current: int | None = None
    draft: "_Draft | None" = None


@dataclass(slots=True)
class _Draft:
    """A row to be written."""

    row: EventRow
    contact_id: int | None
    revision: int = 0
    superseded: bool = False


class _Known(NamedTuple):
    """A contact that is stored. `began`: of one made from events only, which begins with the earliest of them."""

    id: int
    source_id: str
    began: datetime | None


_REVISIONS = select(
    col(Event.id), col(Event.source_id), col(Event.revision), col(Event.content_hash), col(Event.superseded)
).where(col(Event.source) == bindparam("source"), among_texts(col(Event.source_id), "source_ids"))
_OURS = col(Contact.source) == bindparam("source")
_MADE = and_(_OURS, col(Contact.content_hash) == "", col(Contact.erased_at).is_(None))
_WHO = func.coalesce(col(Contact.merged_into), col(Contact.id))
"""Who has taken the place of a contact that was merged, else the contact."""
_FOUND = (_WHO.label("id"), col(Contact.source_id), case((_MADE, col(Contact.created_at))).label("began"))
_BY_ID = select(*_FOUND).where(_OURS, among_texts(col(Contact.source_id), "names"))
_BY_ADDRESS = (
    select(*_FOUND, col(Contact.address))
    .where(among_texts(col(Contact.address), "addresses"))
    .order_by(_OURS.asc(), col(Contact.id).desc())
)
"""Statements that are built once: a batch that is posted is small, and building them cost more than asking."""


class EventImport:
    """Reads and stores events; unique by source, source id and revision."""

    def __init__(
        self, plan: Plan, setting: Setting, *, contact_source: str | None = None, create_contacts: bool = False
    ) -> None:
        self._plan = plan
        self._setting = setting
        self._contact_source = contact_source or setting.source
        self._create = create_contacts
        self._business = not (plan.has("contact") or plan.has("email"))
        self._has_id = plan.has("source_id")
        self._read = {name: plan.reader(name) for name in FIELDS}

    def shape(self, record: Record) -> EventRow:
        """Check one record; raises Rejected for one that cannot be used."""
        values, plan, read = record.values, self._plan, self._read
        name = as_text(read["name"](values), "name", 100)
        if name is None:
            raise missing("name")
        occurred_at = as_time(read["occurred_at"](values), "occurred_at", self._setting.zone, self._setting.now)
        if occurred_at is None:
            raise missing("occurred_at")
        rest = plan.rest(values)
        if plan.has("properties"):
            rest |= as_object(read["properties"](values), "properties")
        properties = {key: value for key, value in rest.items() if value is not None}
        who, address, warnings = self._who(values)
        reference = (
            None if who is None else [self._contact_source if who.source_id else "", who.source_id or who.address]
        )
        content = digest([name, occurred_at.isoformat(), reference, properties])
        source_id = as_text(read["source_id"](values), "source_id", 255)
        if source_id is None:
            if self._has_id:
                raise missing("source_id")
            source_id = f"content:{content}:{self._setting.memory.ordinal(content)}"
        return EventRow(record, source_id, name, occurred_at, properties, who, address, content, warnings)

    def _who(self, values: dict[str, Any]) -> tuple[Who | None, Address | None, tuple[str, ...]]:
        plan = self._plan
        if self._business or not (plan.holds(values, "contact") or plan.holds(values, "email")):
            return None, None, ()
        contact = as_text(self._read["contact"](values), "contact", 255)
        email = as_text(self._read["email"](values), "email", 1000)
        address = address_or_none(email) if email else None
        if contact is not None:
            return (
                Who(contact, None),
                address,
                ("email is not valid and was left out",) if email and not address else (),
            )
        if email is None:
            raise Rejected("no contact", "the contact is empty; an event about the business has no such column")
        if address is None:
            raise Rejected(
                "invalid email", f"email is {shown(email)}, and there is nothing else to know the contact by"
            )
        return Who(None, address.normalised), address, ()

    def store(self, connection: Connection, rows: Sequence[EventRow]) -> Outcome:
        """Store a batch in the caller's writing transaction. Raises Raced when another program was quicker."""
        outcome = Outcome()
        for source in sorted({self._setting.source, self._contact_source}):
            exclusive(connection, f"import:{source}")
        connection.execute(select(by_index()))
        histories = self._histories(connection, rows)
        fresh = [row for row in rows if row.content_hash not in histories[row.source_id].hashes]
        outcome.duplicate = len(rows) - len(fresh)
        if outcome.duplicate:
            outcome.warnings["equal to an older revision of its event, and left as it is"] = sum(
                row.content_hash in history.hashes and row.content_hash != history.current_hash
                for row, history in ((row, histories[row.source_id]) for row in rows)
            )
        if not fresh:
            return outcome
        now = self._setting.clock.now(connection)
        position = ingest_position(connection)
        contacts = self._contacts(connection, fresh, outcome, now, position)
        drafts: list[_Draft] = []
        superseded: list[int] = []
        for row in fresh:
            history = histories[row.source_id]
            if row.content_hash in history.hashes:
                outcome.duplicate += 1
                continue
            contact = None if row.who is None else contacts.get(row.who)
            if contact is None and row.who is not None:
                outcome.rejected.append((row.record, _unknown(row.who)))
                continue
            if row.warnings:
                outcome.warnings.update(row.warnings)
            if history.revision < 0:
                outcome.stored += 1
            else:
                outcome.corrected += 1
                _supersede(history, superseded)
            drafts.append(_revise(history, row, contact.id if contact else None))
        self._write(connection, drafts, superseded, now, position)
        return outcome

    def _histories(self, connection: Connection, rows: Sequence[EventRow]) -> dict[str, _History]:
        histories = {row.source_id: _History() for row in rows}
        for number, source_id, revision, content_hash, superseded in connection.execute(
            _REVISIONS, {"source": self._setting.source, "source_ids": list(histories)}
        ):
            history = histories[source_id]
            history.hashes.add(content_hash)
            history.revision = max(history.revision, revision)
            if not superseded:
                history.stored_current, history.current_hash = number, content_hash
        return histories

    def _contacts(
        self, connection: Connection, rows: Sequence[EventRow], outcome: Outcome, now: datetime, position: int
    ) -> dict[Who, _Known]:
        """Find the contacts of these rows; create the unknown ones where that is wanted."""
        whose = {row.who for row in rows if row.who is not None}
        known = self._find(connection, whose)
        begins: dict[str, datetime] = {}
        addresses: dict[str, Address] = {}
        for row in rows:
            if row.who is None:
                continue
            found = known.get(row.who)
            if found is not None:
                if found.began is None or found.began <= row.occurred_at:
                    continue
                source_id = found.source_id
            elif self._create:
                source_id = row.who.source_id or str(row.who.address)
                if len(source_id) > 255:
                    continue
                if row.address:
                    addresses.setdefault(source_id, row.address)
            else:
                continue
            begins[source_id] = min(row.occurred_at, begins.get(source_id, row.occurred_at))
        if not begins:
            return known
        outcome.contacts_created += len(begins.keys() - {contact.source_id for contact in known.values()})
        if known:
            connection.execute(
                select(col(Contact.id))
                .where(among(col(Contact.id), "ids"))
                .order_by(col(Contact.id))
                .with_for_update(key_share=True),
                {"ids": sorted({contact.id for contact in known.values()})},
            )
        source_ids = sorted(begins)
        written = [addresses.get(source_id) for source_id in source_ids]
        stage(
            connection,
            STAGED,
            {
                "source_id": source_ids, "created_at": [begins[source_id] for source_id in source_ids],
                "email": [address and address.written for address in written],
                "address": [address and address.normalised for address in written],
            },
        )  # fmt: skip
        insert = insert_into(connection, Contact)
        earlier = insert.excluded["created_at"] < col(Contact.created_at)
        drafts = {
            "source": literal(self._contact_source), "source_id": STAGED.c.source_id, "attributes": literal({}, Json),
            "content_hash": literal(""), "email": STAGED.c.email, "address": STAGED.c.address,
            "created_at": STAGED.c.created_at, "changed_at": literal(now, Instant()), "position": literal(position),
        }  # fmt: skip
        connection.execute(
            # `true()`: SQLite would else read the ON of the conflict as that of a join
            insert.from_select(list(drafts), select(*drafts.values()).where(true()).order_by(STAGED.c.source_id))
            .on_conflict_do_update(
                index_elements=["source", "source_id"],
                set_={"created_at": case((earlier, insert.excluded["created_at"]), else_=col(Contact.created_at))},
            )
        )  # fmt: skip
        return self._find(connection, whose)

    def _find(self, connection: Connection, whose: Collection[Who]) -> dict[Who, _Known]:
        """Look contacts up: by id in their source; by address the oldest of that source, else the oldest of any.

        A contact that was created for an address has the address as its id, and is found by that as well.
        """
        names = [who.source_id or str(who.address) for who in whose]
        by_id = {
            source_id: _Known(number, source_id, since)
            for number, source_id, since in connection.execute(_BY_ID, {"source": self._contact_source, "names": names})
        }
        addresses = [who.address for who in whose if who.address]
        by_address: dict[str | None, _Known] = {}
        if addresses:
            found = connection.execute(_BY_ADDRESS, {"source": self._contact_source, "addresses": addresses})
            by_address = {address: _Known(number, source_id, since) for number, source_id, since, address in found}
        known = {}
        for who in whose:
            contact = by_id.get(who.source_id) if who.source_id else None
            if who.address:
                contact = by_address.get(who.address) or by_id.get(who.address)
            if contact is not None:
                known[who] = contact
        return known

    def _write(
        self, connection: Connection, drafts: list[_Draft], superseded: list[int], now: datetime, position: int
    ) -> None:
        if not drafts:
            return
        if superseded:
            connection.execute(
                update(Event).where(among(col(Event.id), "ids")).values(superseded=True), {"ids": superseded}
            )
        # The foreign key locks contacts in the order of the rows: the order of ids, as everybody locks them.
        drafts.sort(key=_contact_id)
        rows = [draft.row for draft in drafts]
        try:
            insert_columns(
                connection,
                EVENT,
                {
                    "contact_id": [draft.contact_id for draft in drafts], "name": [row.name for row in rows],
                    "occurred_at": [row.occurred_at for row in rows], "properties": [row.properties for row in rows],
                    "source": Same(self._setting.source), "source_id": [row.source_id for row in rows],
                    "revision": [draft.revision for draft in drafts],
                    "superseded": [draft.superseded for draft in drafts],
                    "content_hash": [row.content_hash for row in rows],
                    "ingested_at": Same(now), "position": Same(position),
                },
            )  # fmt: skip
        except IntegrityError:
            raise Raced(
                "Another program stored the same events at the same moment. Nothing is lost; run it again."
            ) from None


def _contact_id(draft: _Draft) -> int:
    return draft.contact_id or 0


def _supersede(history: _History, superseded: list[int]) -> None:
    if history.draft is not None:
        history.draft.superseded = True
    elif history.stored_current is not None:
        superseded.append(history.stored_current)


def _revise(history: _History, row: EventRow, contact_id: int | None) -> _Draft:
    history.revision += 1
    history.hashes.add(row.content_hash)
    history.draft = _Draft(row, contact_id, history.revision)
    return history.draft


def _unknown(who: Who) -> Rejected:
    name = f"with the id {shown(who.source_id)}" if who.source_id else f"with the address {shown(who.address)}"
    return Rejected("unknown contact", f"there is no contact {name}; import contacts first, or say --create-contacts")
