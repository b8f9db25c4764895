"""Events from a file: new ones, replays, and corrections of what was stored under the same id.

An event without an id gets one: the digest of its content and its ordinal among equal rows of the file, so
that the same file twice changes nothing and two equal rows stay two.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, select, update
from sqlmodel import col

from evergreet.addresses import Address
from evergreet.database import exclusive, ingest_position
from evergreet.importing.mapping import Plan
from evergreet.importing.people import address_or_none
from evergreet.importing.records import Record
from evergreet.importing.rejects import Rejected, shown
from evergreet.importing.storing import Outcome, Raced, Setting, missing
from evergreet.importing.times import as_time
from evergreet.importing.values import as_object, as_text, digest
from evergreet.store import insert_into
from models import Contact, Event

FIELDS = ("source_id", "name", "occurred_at", "contact", "email", "properties")


@dataclass(frozen=True, slots=True)
class Who:
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
    draft: dict[str, Any] | None = None


@dataclass(slots=True)
class _Known:
    """A contact that is stored. `drifts`: made from events only, so it begins with the earliest of them."""

    id: int
    source_id: str
    created_at: datetime
    drifts: bool


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

    def shape(self, record: Record) -> EventRow:
        """Check one record; raises Rejected for one that cannot be used."""
        values, plan = record.values, self._plan
        name = as_text(plan.get(values, "name"), "name", 100)
        if name is None:
            raise missing("name")
        occurred_at = as_time(plan.get(values, "occurred_at"), "occurred_at", self._setting.zone, self._setting.now)
        if occurred_at is None:
            raise missing("occurred_at")
        rest = {**plan.rest(values), **as_object(plan.get(values, "properties"), "properties")}
        properties = {key: value for key, value in rest.items() if value is not None}
        who, address, warnings = self._who(values)
        reference = (
            None if who is None else [self._contact_source if who.source_id else "", who.source_id or who.address]
        )
        content = digest([name, occurred_at.isoformat(), reference, properties])
        source_id = as_text(plan.get(values, "source_id"), "source_id", 255)
        if source_id is None:
            if plan.has("source_id"):
                raise missing("source_id")
            source_id = f"content:{content}:{self._setting.memory.ordinal(content)}"
        return EventRow(record, source_id, name, occurred_at, properties, who, address, content, warnings)

    def _who(self, values: dict[str, Any]) -> tuple[Who | None, Address | None, tuple[str, ...]]:
        plan = self._plan
        if self._business or not (plan.holds(values, "contact") or plan.holds(values, "email")):
            return None, None, ()
        contact = as_text(plan.get(values, "contact"), "contact", 255)
        email = as_text(plan.get(values, "email"), "email", 1000)
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
        histories = self._histories(connection, rows)
        fresh = [row for row in rows if row.content_hash not in histories[row.source_id].hashes]
        outcome.duplicate = len(rows) - len(fresh)
        outcome.warnings["equal to an older revision of its event, and left as it is"] = sum(
            row.content_hash in history.hashes and row.content_hash != history.current_hash
            for row, history in ((row, histories[row.source_id]) for row in rows)
        )
        if not fresh:
            return outcome
        now = self._setting.clock.now(connection)
        position = ingest_position(connection)
        contacts = self._contacts(connection, fresh, outcome, now, position)
        drafts: list[dict[str, Any]] = []
        superseded: list[int] = []
        for row in fresh:
            history = histories[row.source_id]
            if row.content_hash in history.hashes:
                outcome.duplicate += 1
                continue
            if row.who is not None and row.who not in contacts:
                outcome.rejected.append((row.record, _unknown(row.who)))
                continue
            outcome.warnings.update(row.warnings)
            if history.revision < 0:
                outcome.stored += 1
            else:
                outcome.corrected += 1
                _supersede(history, superseded)
            drafts.append(_revise(history, row, contacts[row.who].id if row.who else None))
        self._write(connection, drafts, superseded, now, position)
        return outcome

    def _histories(self, connection: Connection, rows: Sequence[EventRow]) -> dict[str, _History]:
        histories = {row.source_id: _History() for row in rows}
        columns = (
            col(Event.id),
            col(Event.source_id),
            col(Event.revision),
            col(Event.content_hash),
            col(Event.superseded),
        )
        for found in connection.execute(
            select(*columns).where(col(Event.source) == self._setting.source, col(Event.source_id).in_(list(histories)))
        ):
            history = histories[found.source_id]
            history.hashes.add(found.content_hash)
            history.revision = max(history.revision, found.revision)
            if not found.superseded:
                history.stored_current, history.current_hash = found.id, found.content_hash
        return histories

    def _contacts(
        self, connection: Connection, rows: Sequence[EventRow], outcome: Outcome, now: datetime, position: int
    ) -> dict[Who, _Known]:
        """Find the contacts of these rows; create the unknown ones where that is wanted."""
        whose: dict[Who, list[EventRow]] = {}
        for row in rows:
            if row.who is not None:
                whose.setdefault(row.who, []).append(row)
        known = self._find(connection, whose)
        drafts: dict[str, dict[str, Any]] = {}
        for who, theirs in whose.items():
            begins = min(row.occurred_at for row in theirs)
            found = known.get(who)
            if found is not None and found.drifts and begins < found.created_at:
                drafts[found.source_id] = self._new(found.source_id, None, begins, now, position)
            elif found is None and self._create:
                address = next((row.address for row in theirs if row.address), None)
                source_id = who.source_id or str(who.address)
                if len(source_id) <= 255:
                    drafts[source_id] = self._new(source_id, address, begins, now, position)
                    outcome.contacts_created += 1
        if not drafts:
            return known
        if known:
            ids = sorted({contact.id for contact in known.values()})
            connection.execute(
                select(col(Contact.id))
                .where(col(Contact.id).in_(ids))
                .order_by(col(Contact.id))
                .with_for_update(key_share=True)
            )
        statement = insert_into(connection, Contact)
        earlier = statement.excluded["created_at"] < col(Contact.created_at)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["source", "source_id"],
                set_={"created_at": case((earlier, statement.excluded["created_at"]), else_=col(Contact.created_at))},
            ),
            [drafts[source_id] for source_id in sorted(drafts)],
        )
        return self._find(connection, whose)

    def _new(
        self, source_id: str, address: Address | None, begins: datetime, now: datetime, position: int
    ) -> dict[str, Any]:
        return {
            "source": self._contact_source, "source_id": source_id, "attributes": {}, "content_hash": "",
            "email": address.written if address else None, "address": address.normalised if address else None,
            "created_at": begins, "changed_at": now, "position": position,
        }  # fmt: skip

    def _find(self, connection: Connection, whose: dict[Who, list[EventRow]]) -> dict[Who, _Known]:
        """Look contacts up: by id in their source; by address the oldest of that source, else the oldest of any.

        A contact that was created for an address has the address as its id, and is found by that as well.
        """
        columns = (col(Contact.id), col(Contact.source), col(Contact.source_id), col(Contact.address),
                   col(Contact.created_at), col(Contact.content_hash), col(Contact.erased_at))  # fmt: skip
        names = [who.source_id or str(who.address) for who in whose]
        found: dict[Who, _Known] = {}
        for row in connection.execute(
            select(*columns).where(col(Contact.source) == self._contact_source, col(Contact.source_id).in_(names))
        ):
            contact = self._known(row)
            found[Who(row.source_id, None)] = contact
            found[Who(None, row.source_id)] = contact
        addresses = [who.address for who in whose if who.address]
        if addresses:
            by_address = connection.execute(
                select(*columns)
                .where(col(Contact.address).in_(addresses))
                .order_by((col(Contact.source) == self._contact_source).asc(), col(Contact.id).desc())
            )
            for row in by_address:
                found[Who(None, row.address)] = self._known(row)
        return {who: contact for who, contact in found.items() if who in whose}

    def _known(self, row: Any) -> _Known:
        ours = row.source == self._contact_source
        return _Known(row.id, row.source_id, row.created_at, ours and not row.content_hash and row.erased_at is None)

    def _write(
        self, connection: Connection, drafts: list[dict[str, Any]], superseded: list[int], now: datetime, position: int
    ) -> None:
        if not drafts:
            return
        if superseded:
            connection.execute(update(Event).where(col(Event.id).in_(superseded)).values(superseded=True))
        # The foreign key locks contacts in the order of the rows: the order of ids, as everybody locks them.
        drafts.sort(key=lambda draft: draft["contact_id"] or 0)
        rows = [{**draft, "source": self._setting.source, "ingested_at": now, "position": position} for draft in drafts]
        written = connection.execute(
            insert_into(connection, Event).on_conflict_do_nothing().returning(col(Event.id)), rows
        ).all()
        if len(written) != len(rows):
            raise Raced("Another program stored the same events at the same moment. Nothing is lost; run it again.")


def _supersede(history: _History, superseded: list[int]) -> None:
    if history.draft is not None:
        history.draft["superseded"] = True
    elif history.stored_current is not None:
        superseded.append(history.stored_current)


def _revise(history: _History, row: EventRow, contact_id: int | None) -> dict[str, Any]:
    history.revision += 1
    history.hashes.add(row.content_hash)
    history.draft = {
        "contact_id": contact_id, "name": row.name, "occurred_at": row.occurred_at,
        "properties": row.properties, "source_id": row.source_id, "revision": history.revision,
        "superseded": False, "content_hash": row.content_hash,
    }  # fmt: skip
    return history.draft


def _unknown(who: Who) -> Rejected:
    name = f"with the id {shown(who.source_id)}" if who.source_id else f"with the address {shown(who.address)}"
    return Rejected("unknown contact", f"there is no contact {name}; import contacts first, or say --create-contacts")
