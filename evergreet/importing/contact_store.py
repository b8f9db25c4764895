"""Storing contacts: what a file says merged with what is known, in set-based statements per batch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import Column, ColumnElement, Connection, MetaData, Row, Table, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased
from sqlmodel import col

from evergreet.consent import EVERYTHING
from evergreet.database import exclusive, ingest_position
from evergreet.importing.bulk import Same, insert_columns, stage
from evergreet.importing.records import Record
from evergreet.importing.storing import Entry, Outcome, Raced, Setting, suppress_all
from evergreet.importing.values import digest
from evergreet.store import among_texts, by_index, insert_ignore
from models import Consent, Contact, Transition
from models import Table as Models
from models.base import Id

CONTENT = ("email", "address", "phone", "locale", "timezone", "attributes", "created_at")
"""The columns that make a contact's content, and its `content_hash`."""

WRITTEN = (*CONTENT, "told_at", "stage", "stage_since", "content_hash")

CONTACT, CONSENT, TRANSITION = (Models.metadata.tables[name] for name in ("contact", "consent", "transition"))
STAGED = Table(
    "import_change",
    MetaData(),
    Column("id", Id, primary_key=True),
    *(Column(name, CONTACT.c[name].type) for name in (*WRITTEN, "changed_at", "position")),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DELETE ROWS",  # autovacuum does not see temporary tables
)
"""Known contacts as they will be."""

Found: TypeAlias = Row[Any]


class Said(NamedTuple):
    """What a row says to being written to about a topic. Without `at` it may take consent back, and never gives it."""

    granted: bool
    at: datetime | None = None
    source: str = ""
    wording: str = ""


@dataclass(slots=True)
class ContactRow:
    """A row of the file, checked. `changes` has the columns that it gives; an attribute of None is removed.

    With `told_at`, when its values were changed where they come from, a newer value that is known stays.
    """

    record: Record
    source_id: str
    changes: dict[str, Any]
    attributes: dict[str, Any]
    stage: str | None = None
    stage_at: datetime | None = None
    unsubscribed: bool = False
    consents: dict[str, Said] = field(default_factory=dict)
    told_at: datetime | None = None
    warnings: tuple[str, ...] = ()

    def content(self) -> list[Any]:
        """Everything the row says, to be compared with another row of the same id."""
        return [
            {name: str(value) for name, value in self.changes.items()}, self.attributes, self.stage,
            str(self.stage_at), self.unsubscribed,
            {topic: [said.granted, str(said.at), said.source, said.wording] for topic, said in self.consents.items()},
        ]  # fmt: skip


@dataclass(slots=True)
class _Draft:
    """What is to be written for one contact."""

    row: ContactRow
    known: Found | None
    values: dict[str, Any]
    consents: list[dict[str, Any]]
    moved_from: str | None = None
    moved: bool = False


class ContactStore:
    """Stores batches of contacts of one source. `cause` is that of moves between stages."""

    def __init__(self, setting: Setting, cause: str = "import") -> None:
        self._setting = setting
        self._cause = cause

    def store(self, connection: Connection, rows: Sequence[ContactRow]) -> Outcome:
        """Store a batch; all contacts it touches are locked first, in the order of their ids, as windows do."""
        outcome = Outcome()
        exclusive(connection, f"import:{self._setting.source}")
        connection.execute(select(by_index()))
        now = self._setting.clock.now(connection)
        position = ingest_position(connection)
        known = self._locked(connection, rows)
        consents, stages = self._history(connection, rows, [row.id for row in known.values()])
        drafts: dict[str, _Draft] = {}
        taken: set[int] = set()
        later: list[ContactRow] = []
        suppressions: dict[str, Entry] = {}
        unchanged: set[str] = set()
        for row in rows:
            before = known.get(row.source_id)
            same_row = row.source_id in drafts or row.source_id in unchanged
            if not same_row and before is not None and before.id in taken:  # two ids of one person
                later.append(row)
                continue
            if row.warnings:
                outcome.warnings.update(row.warnings)
            if same_row:
                outcome.duplicate += 1
                continue
            if before is not None and before.erased_at is not None:
                outcome.warnings["contact was erased and stays so"] += 1
                outcome.duplicate += 1
                unchanged.add(row.source_id)
                continue
            if before is not None:
                taken.add(before.id)
            draft = self._draft(row, before, consents, stages, now)
            address = draft.values["address"]
            if row.unsubscribed and address is not None:
                suppressions[address] = Entry(address, "marketing", EVERYTHING, self._setting.source, now)
            elif row.unsubscribed:
                outcome.warnings["unsubscribed, but has no address to suppress"] += 1
            drafts[row.source_id] = draft
        suppressed = suppress_all(connection, suppressions, position, now)
        written = []
        for source_id, draft in drafts.items():
            if draft.known is None:
                outcome.stored += 1
            elif draft.consents or draft.moved or _differs(draft.known, draft.values) or (
                draft.row.unsubscribed and draft.values["address"] in suppressed
            ):  # fmt: skip
                outcome.corrected += 1
            else:
                outcome.duplicate += 1
                continue
            written.append((source_id, draft))
        self._write(connection, dict(written), now, position)
        return outcome + self.store(connection, later) if later else outcome

    def _locked(self, connection: Connection, rows: Sequence[ContactRow]) -> dict[str, Found]:
        ours = (col(Contact.source) == self._setting.source) & among_texts(col(Contact.source_id), "source_ids")
        wanted: list[ColumnElement[bool]] = [ours]
        leaving = [row for row in rows if row.unsubscribed]
        if leaving:
            same = aliased(Contact)
            wanted += [
                col(Contact.address).in_([row.changes["address"] for row in leaving if row.changes.get("address")]),
                col(Contact.address).in_(
                    select(col(same.address)).where(
                        col(same.source) == self._setting.source,
                        col(same.source_id).in_([row.source_id for row in leaving]),
                    )
                ),
            ]
        found = connection.execute(
            select(*Contact.__table__.columns)  # type: ignore[attr-defined]
            .where(or_(*wanted))
            .order_by(col(Contact.id))
            .with_for_update(key_share=True),
            {"source_ids": [row.source_id for row in rows]},
        )
        ours_found = {row.source_id: row for row in found if row.source == self._setting.source}
        merged = {name: row.merged_into for name, row in ours_found.items() if row.merged_into is not None}
        return {**ours_found, **_survivors(connection, merged)} if merged else ours_found

    def _history(
        self, connection: Connection, rows: Sequence[ContactRow], ids: list[int]
    ) -> tuple[dict[tuple[int, str], Found], dict[int, str]]:
        """Return the newest consent per contact and topic, and the stage a file gave each contact last."""
        consents: dict[tuple[int, str], Found] = {}
        stages: dict[int, str] = {}
        topics = sorted({topic for row in rows for topic in row.consents})
        if ids and topics:
            found: Iterable[Found] = connection.execute(
                select(col(Consent.contact_id), col(Consent.topic), col(Consent.granted), col(Consent.at))
                .where(col(Consent.contact_id).in_(ids), col(Consent.topic).in_(topics))
                .order_by(col(Consent.at), col(Consent.id))
            )
            consents = {(row.contact_id, row.topic): row for row in found}
        if ids and any(row.stage for row in rows):
            found = connection.execute(
                select(col(Transition.contact_id), col(Transition.to_stage))
                .where(col(Transition.contact_id).in_(ids), col(Transition.cause) == "import")
                .order_by(col(Transition.id))
            )
            stages = {row.contact_id: row.to_stage for row in found}
        return consents, stages

    def _draft(
        self, row: ContactRow, known: Found | None, consents: dict[tuple[int, str], Found],
        stages: dict[int, str], now: datetime,
    ) -> _Draft:  # fmt: skip
        kept = (*CONTENT, "told_at", "stage", "stage_since")
        values = {name: None if known is None else getattr(known, name) for name in kept}
        changes, given, values["told_at"] = _newer(row, known, now)
        values["created_at"] = values["created_at"] or now
        values.update(changes)
        attributes = {**(values["attributes"] or {}), **given}
        values["attributes"] = {name: value for name, value in attributes.items() if value is not None}
        draft = _Draft(row, known, values, [])
        if self._moves(row, known, stages):
            draft.moved, draft.moved_from = True, values["stage"]
            values["stage"], values["stage_since"] = row.stage, _past(row.stage_at, now)
        for topic, said in row.consents.items():
            newest = None if known is None else consents.get((known.id, topic))
            at = _past(said.at, now)
            if _counts(said.granted, at if said.at else None, newest):
                draft.consents.append(
                    {"topic": topic, "granted": said.granted, "at": at,
                     "source": said.source or self._setting.source, "wording": said.wording}
                )  # fmt: skip
        return draft

    def _moves(self, row: ContactRow, known: Found | None, stages: dict[int, str]) -> bool:
        """Whether the file moves the contact: not when it only repeats what a file said before."""
        if row.stage is None or known is None or row.stage == known.stage:
            return row.stage is not None and known is None
        if row.stage_at is not None:
            return known.stage_since is None or row.stage_at > known.stage_since
        return stages.get(known.id) != row.stage

    def _write(self, connection: Connection, drafts: dict[str, _Draft], now: datetime, position: int) -> None:
        if not drafts:
            return
        new = sorted((source_id, draft) for source_id, draft in drafts.items() if draft.known is None)
        numbered = sorted((draft.known.id, draft) for draft in drafts.values() if draft.known is not None)
        moment = {"changed_at": Same(now), "position": Same(position)}
        if numbered:
            stage(connection, STAGED, {"id": [number for number, _ in numbered], **_columns(numbered), **moment})
            connection.execute(
                update(Contact)
                .values({name: STAGED.c[name] for name in (*WRITTEN, *moment)})
                .where(col(Contact.id) == STAGED.c.id)
            )
        if new:
            source_ids = [source_id for source_id, _ in new]
            ours: dict[str, Any] = {"source": Same(self._setting.source), "source_id": source_ids}
            try:
                insert_columns(connection, CONTACT, {**ours, **_columns(new), **moment})
            except IntegrityError:
                raise Raced(
                    "Another program stored the same contacts at the same moment. Nothing is lost; run it again."
                ) from None
            if any(draft.consents or draft.moved for _, draft in new):
                numbered += self._numbered(connection, dict(new))
        moved = [(number, draft) for number, draft in numbered if draft.moved]
        if moved:
            insert_columns(
                connection,
                TRANSITION,
                {
                    "contact_id": [number for number, _ in moved],
                    "from_stage": [draft.moved_from for _, draft in moved],
                    "to_stage": [draft.values["stage"] for _, draft in moved],
                    "at": [draft.values["stage_since"] for _, draft in moved],
                    "cause": Same(self._cause), "recorded_at": Same(now), "position": Same(position),
                },
            )  # fmt: skip
        consents = [(number, draft, consent) for number, draft in numbered for consent in draft.consents]
        of_new = [(number, consent) for number, draft, consent in consents if draft.known is None]
        if of_new:  # who has just been stored has agreed to nothing yet: no unique rule can know one
            names = ("topic", "granted", "at", "source", "wording")
            told = {name: [consent[name] for _, consent in of_new] for name in names}
            insert_columns(connection, CONSENT, {"contact_id": [number for number, _ in of_new], **told})
        insert_ignore(
            connection,
            Consent,
            [{"contact_id": number, **consent} for number, draft, consent in consents if draft.known is not None],
        )

    def _numbered(self, connection: Connection, new: dict[str, _Draft]) -> list[tuple[int, _Draft]]:
        """Return the ids that contacts have got, in order."""
        found = connection.execute(
            select(col(Contact.id), col(Contact.source_id))
            .where(col(Contact.source) == self._setting.source, among_texts(col(Contact.source_id), "source_ids"))
            .order_by(col(Contact.id)),
            {"source_ids": list(new)},
        )
        return [(number, new[source_id]) for number, source_id in found]


def _survivors(connection: Connection, merged: Mapping[str, int]) -> dict[str, Found]:
    """Lock and return who has taken the place of contacts that were merged, with all who have their addresses."""
    survivors = list(merged.values())
    addresses = select(col(Contact.address)).where(col(Contact.id).in_(survivors))
    found = connection.execute(
        select(*Contact.__table__.columns)  # type: ignore[attr-defined]
        .where(or_(col(Contact.id).in_(survivors), col(Contact.address).in_(addresses)))
        .order_by(col(Contact.id))
        .with_for_update(key_share=True)
    )
    by_id = {row.id: row for row in found}
    return {name: by_id[survivor] for name, survivor in merged.items()}


def _columns(drafts: Sequence[tuple[Any, _Draft]]) -> dict[str, list[Any]]:
    values = [draft.values for _, draft in drafts]
    kept = {name: [each[name] for each in values] for name in WRITTEN if name != "content_hash"}
    return {**kept, "content_hash": [content_hash(each) for each in values]}


def _newer(
    row: ContactRow, known: Found | None, now: datetime
) -> tuple[dict[str, Any], dict[str, Any], dict[str, str] | None]:
    """Return the columns and attributes of a row that count, and when each of the contact's values was changed."""
    at = row.told_at
    if known is None:
        names = () if at is None else (*row.changes, *(f".{name}" for name in row.attributes))
        return row.changes, row.attributes, dict.fromkeys(names, (at or now).isoformat()) or None
    times: dict[str, str] = dict(known.told_at or {})

    def counts(name: str, value: Any, before: Any) -> bool:
        if at is None and value == before:
            return True
        said = datetime.fromisoformat(times[name]) if name in times else None
        if said is None and before is not None:
            said = known.created_at
        if at is not None and said is not None and at < said:
            return False
        times[name] = (at or now).isoformat()
        return True

    stored = known.attributes or {}
    changes = {name: value for name, value in row.changes.items() if counts(name, value, getattr(known, name))}
    given = {name: value for name, value in row.attributes.items() if counts(f".{name}", value, stored.get(name))}
    return changes, given, times or known.told_at


def _past(at: datetime | None, now: datetime) -> datetime:
    """Return the time a file gives, or now; a consent of tomorrow would outlive a withdrawal of today."""
    return now if at is None else min(at, now)


def _counts(granted: bool, at: datetime | None, newest: Found | None) -> bool:
    """Whether a consent in a file changes what is known.

    A statement with a time counts when it is newer than what is known, and a no of the same moment. One without a time
    may take consent back, but never gives it again to somebody who took it back: the file may be older than that.
    """
    if newest is None:
        return True
    if newest.granted == granted:
        return False
    return not granted if at is None or at == newest.at else bool(at > newest.at)


def _differs(known: Found, values: dict[str, Any]) -> bool:
    if known.told_at != values["told_at"]:
        return True
    return content_hash({name: getattr(known, name) for name in CONTENT}) != content_hash(values)


def content_hash(values: Mapping[str, Any]) -> str:
    """Return the digest of a contact's content, by which one that changes nothing is known."""
    return digest([values[name].isoformat() if name == "created_at" else values[name] for name in CONTENT])
