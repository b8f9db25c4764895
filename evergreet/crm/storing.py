"""Store what a CRM tells of its contacts, by the rules of an import; in the caller's writing transaction.

Per value the side wins where it was changed last: what the CRM only tells again is passed over, and what has changed
there counts as of the record's own time of change. Where somebody is in their life with us stays ours, unless the
setting names this CRM. An unsubscription goes before an agreement of the same moment. docs/crm.md says it in full.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, delete, insert, or_, select, update
from sqlmodel import col

from evergreet.clock import Clock
from evergreet.consent import EVERYTHING, Withdrawal, withdraw
from evergreet.contracts import CrmContact, Verdict
from evergreet.crm.news import COLUMNS, News, news
from evergreet.crm.people import People, Whose, normalised
from evergreet.database import exclusive, ingest_position
from evergreet.feedback.verdicts import Judgement, carry_out
from evergreet.importing.contact_store import ContactRow
from evergreet.importing.contacts import ContactImport
from evergreet.importing.mapping import Columns as Named
from evergreet.importing.mapping import bind
from evergreet.importing.memory import RowMemory
from evergreet.importing.records import Record
from evergreet.importing.rejects import Rejected
from evergreet.importing.storing import Setting, missing
from evergreet.importing.values import as_text, check_text
from evergreet.merging.values import written
from evergreet.store import among, among_texts, by_index, insert_into
from models import Consent, Contact, ContactAlias, ContactMerge, CrmRow, Suppression

_PLAN = bind(
    Named(), ("source_id", "email", *COLUMNS, "attributes"), ("source_id", "email", *COLUMNS, "attributes"),
    are_text=False, path=Path("what a CRM told"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings say of a CRM: the stages of the lifecycle, and whether it moves contacts between them.

    `ids` are details that are the id of a contact elsewhere, with the source of such ids.
    """

    stages: Collection[str] = ()
    move: bool = False
    ids: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Stored:
    """What became of the records: each is counted in one of `new`, `changed`, `unchanged`, `gone` or `rejected`.

    `joined` are those of `changed` and `unchanged` whose contact was known from elsewhere until now.
    """

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    gone: int = 0
    joined: int = 0
    rejected: list[tuple[str, Rejected]] = field(default_factory=list)
    warnings: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Told:
    """A record that is to be stored."""

    contact: CrmContact
    whose: Whose
    news: News
    row: ContactRow


def store(
    connection: Connection, source: str, contacts: Sequence[CrmContact], rules: Rules, clock: Clock, now: datetime
) -> Stored:
    """Store records of a CRM, which is the source of its contacts' ids; told twice they change nothing."""
    exclusive(connection, f"crm:{source}")
    connection.execute(select(by_index()))
    stored = Stored()
    waiting = _newest(_named(contacts, stored))
    while waiting:  # one round, but for records that the CRM has merged and tells of side by side
        people = People(connection, source, waiting, rules.ids)
        turns: dict[tuple[str, str], tuple[CrmContact, Whose]] = {}
        later = []
        for contact in waiting:
            whose = people.of(contact)
            if (whose.source, whose.source_id) in turns:
                later.append(contact)
            else:
                turns[whose.source, whose.source_id] = (contact, whose)
        _Round(connection, source, rules, clock, now, stored).store(list(turns.values()))
        waiting = later
    return stored


def _named(contacts: Iterable[CrmContact], stored: Stored) -> Iterator[CrmContact]:
    """Yield the records whose ids a store can hold and look for; the others are rejected."""
    for contact in contacts:
        try:
            number = _identifier(contact.id)
        except Rejected as problem:
            stored.rejected.append((contact.id, problem))
            continue
        merged = []
        for other in contact.merged:
            with suppress(Rejected):  # nobody can be known by it
                merged.append(_identifier(other))
        yield replace(contact, id=number, merged=tuple(merged))


def _identifier(written: str) -> str:
    check_text(written)
    number = as_text(written, "id", 255)
    if number is None:
        raise missing("id")
    return number


def _newest(contacts: Iterable[CrmContact]) -> list[CrmContact]:
    """Return each record once, as it was changed last."""
    found: dict[str, CrmContact] = {}
    for contact in contacts:
        if contact.id not in found or found[contact.id].changed_at <= contact.changed_at:
            found[contact.id] = contact
    return list(found.values())


class _Round:
    """Stores records that are about different contacts."""

    def __init__(
        self, connection: Connection, source: str, rules: Rules, clock: Clock, now: datetime, stored: Stored
    ) -> None:
        self._connection = connection
        self._source = source
        self._rules = rules
        self._clock = clock
        self._now = now
        self._stored = stored
        self._refused: list[tuple[CrmContact, Whose]] = []
        """Records that cannot be used but for one thing: whoever they are about has left."""

    def store(self, turns: Sequence[tuple[CrmContact, Whose]]) -> None:
        told: list[_Told] = []
        gone: list[tuple[CrmContact, Whose]] = []
        with ExitStack() as stack:
            importers = {
                source: self._importer(source, stack.enter_context(closing(RowMemory())))
                for source in sorted({whose.source for _, whose in turns})
            }
            for contact, whose in turns:
                if whose.record is not None and contact.changed_at < whose.record.changed_at:
                    self._stored.unchanged += 1  # a page that was made before what is known
                elif contact.deleted:
                    gone.append((contact, whose))
                else:
                    told += self._shaped(contact, whose, importers[whose.source])
            self._lock(told, gone)
            joined = {int(one.whose.id or 0): one for one in told if one.whose.by and not one.whose.erased}
            before = self._values(joined)
            self._store_contacts(told, importers)
        self._meet(told)
        self._note(joined, before, self._values(joined))
        self._number(told)
        self._unsubscribe(told)
        self._remember(told)
        self._let_go(gone)

    def _importer(self, source: str, memory: RowMemory) -> ContactImport:
        setting = Setting(Path("what a CRM told"), source, ZoneInfo("UTC"), self._now, self._clock, memory)
        return ContactImport(_PLAN, setting, cause="crm")

    def _shaped(self, contact: CrmContact, whose: Whose, importer: ContactImport) -> Iterable[_Told]:
        try:
            told = news(contact, {} if whose.record is None else whose.record.told, self._source)
            values = {"source_id": whose.source_id, **told.columns, "attributes": told.attributes}
            if told.email is not None:
                values["email"] = told.email
            if whose.id is not None:  # when its CRM has heard of somebody says nothing about a contact that is known
                values.pop("created_at", None)
            row = importer.shape(Record(0, "", values))
        except Rejected as problem:
            self._stored.rejected.append((contact.id, problem))
            if contact.unsubscribed and not (whose.record is not None and whose.record.told.get("unsubscribed")):
                self._refused.append((contact, whose))
            return
        row.told_at = min(contact.changed_at, self._now)
        row.consents = told.consents
        if told.stage is not None and self._rules.move:
            if told.stage in self._rules.stages:
                row.stage, row.stage_at = told.stage, row.told_at
            else:
                row.warnings = (*row.warnings, f"stage {told.stage} is none of the lifecycle and moved nobody")
        yield _Told(contact, whose, told, row)

    def _lock(self, told: Sequence[_Told], gone: Sequence[tuple[CrmContact, Whose]]) -> None:
        """Lock all contacts of the round, and who has the addresses of those who leave, in the order of their ids."""
        for source in sorted({one.whose.source for one in told}):
            exclusive(self._connection, f"import:{source}")
        ids = {whose.id for whose in (*(one.whose for one in told), *(whose for _, whose in gone)) if whose.id}
        leaving = {address for one in told if one.news.unsubscribed for address in _addresses(one.contact, one.whose)}
        leaving |= {address for left in self._refused for address in _addresses(*left)}
        self._connection.execute(
            select(col(Contact.id))
            .where(or_(among(Contact.id, "ids"), among_texts(col(Contact.address), "addresses")))
            .order_by(col(Contact.id))
            .with_for_update(key_share=True),
            {"ids": sorted(ids), "addresses": sorted(leaving)},
        )

    def _store_contacts(self, told: Sequence[_Told], importers: dict[str, ContactImport]) -> None:
        for source, importer in importers.items():
            rows = [one.row for one in told if one.whose.source == source]
            if not rows:
                continue
            outcome = importer.store(self._connection, rows)
            self._stored.new += outcome.stored
            self._stored.changed += outcome.corrected
            self._stored.unchanged += outcome.duplicate
            self._stored.warnings += outcome.warnings

    def _values(self, joined: Collection[int]) -> dict[int, dict[str, Any]]:
        if not joined:
            return {}
        rows = self._connection.execute(select(Contact).where(among(Contact.id, "ids")), {"ids": sorted(joined)})
        return {row.id: written(row) for row in rows}

    def _note(
        self, joined: dict[int, _Told], before: dict[int, dict[str, Any]], after: dict[int, dict[str, Any]]
    ) -> None:
        """Leave a row for each record that turned out to be about somebody known, by which that can be undone."""
        if joined:
            self._connection.execute(
                insert(ContactMerge),
                [
                    {"survivor_id": number, "source": self._source, "source_id": one.contact.id,
                     "found_by": one.whose.by, "actor": f"crm:{self._source}", "at": self._now,
                     "before": before[number], "after": after[number], "loser": {}, "moved": {}}
                    for number, one in sorted(joined.items())
                ],
            )  # fmt: skip

    def _meet(self, told: Sequence[_Told]) -> None:
        """Let a push look at those who are known and whose record is not, or is back: what they said is news there."""
        met = [
            one.whose.id
            for one in told
            if one.whose.id is not None and (one.whose.record is None or one.whose.record.gone_at is not None)
        ]
        if met:
            position = ingest_position(self._connection)
            self._connection.execute(
                update(Contact).where(among(Contact.id, "ids")).values(position=position), {"ids": sorted(met)}
            )

    def _number(self, told: Sequence[_Told]) -> None:
        """Learn the ids of those who are new."""
        new = {one.whose.source_id: one.whose for one in told if one.whose.id is None}
        if not new:
            return
        rows = self._connection.execute(
            select(col(Contact.source_id), col(Contact.id)).where(
                col(Contact.source) == self._source, among_texts(col(Contact.source_id), "names")
            ),
            {"names": sorted(new)},
        )
        for name, number in rows.tuples():
            new[name].id = number

    def _unsubscribe(self, told: Sequence[_Told]) -> None:
        """Stop marketing to those who left, from when their record was changed; let go of it where they came back.

        Who agreed to something here after that stays on. Coming back takes back what this CRM said and nothing else.
        """
        source = f"crm:{self._source}"
        leaving = [(contact, whose, contact.changed_at) for contact, whose in self._refused]
        for one in told:
            if one.news.unsubscribed and _addresses(one.contact, one.whose):
                leaving.append((one.contact, one.whose, one.news.left_at))
            elif one.news.unsubscribed:
                one.news.told["unsubscribed"] = False  # so that it is news once there is an address
                self._stored.warnings["unsubscribed, but has no address to suppress"] += 1
        judged = [
            Judgement(0, Verdict.UNSUBSCRIBED, min(at, self._now), source, address, None)
            for contact, whose, at in leaving
            if not whose.erased
            for address in _addresses(contact, whose)
        ]
        position = ingest_position(self._connection)
        carry_out(self._connection, judged, position, self._now)
        for one in told:
            if one.news.unsubscribed is False and (addresses := _addresses(one.contact, one.whose)):
                self._connection.execute(
                    delete(Suppression).where(
                        col(Suppression.address).in_(addresses), col(Suppression.scope) == "marketing",
                        col(Suppression.reason) == EVERYTHING, col(Suppression.source) == source,
                        col(Suppression.at) < one.contact.changed_at,
                    )
                )  # fmt: skip

    def _remember(self, told: Sequence[_Told]) -> None:
        """Keep what each record said, and which ids mean whom from now on."""
        rows: list[dict[str, Any]] = []
        aliases: list[tuple[str, int | None]] = []
        for one in told:
            number, changed_at = one.whose.id, min(one.contact.changed_at, self._now)
            if one.whose.by:
                self._stored.joined += 1
                aliases.append((one.contact.id, number))
            row = {"source": self._source, "source_id": one.contact.id, "contact_id": number, "changed_at": changed_at}
            rows.append({**row, "told": {} if one.whose.erased else one.news.told, "gone_at": None})
            for merged in one.contact.merged:
                if merged != one.contact.id:
                    aliases.append((merged, number))
                    rows.append({**row, "source_id": merged, "told": {}, "gone_at": changed_at})
        self._write(CrmRow, rows, ("contact_id", "changed_at", "told", "gone_at"))
        named = [
            {"source": self._source, "source_id": name, "contact_id": number, "at": self._now}
            for name, number in dict(aliases).items()
        ]
        self._write(ContactAlias, named, ("contact_id", "at"))

    def _write(self, table: Any, rows: Sequence[dict[str, Any]], changing: Sequence[str]) -> None:
        if rows:
            new = insert_into(self._connection, table)
            self._connection.execute(
                new.on_conflict_do_update(
                    index_elements=["source", "source_id"], set_={name: new.excluded[name] for name in changing}
                ),
                sorted(rows, key=lambda row: str(row["source_id"])),
            )

    def _let_go(self, gone: Sequence[tuple[CrmContact, Whose]]) -> None:
        """Of records that are deleted there: take back what their CRM said they agreed to; the person stays."""
        there = [(contact, whose) for contact, whose in gone if whose.record is not None and not whose.record.gone_at]
        known = {int(whose.id or 0): contact for contact, whose in there}
        self._stored.gone += len(known)
        self._stored.unchanged += len(gone) - len(known)  # of whom nothing was known here
        if not known:
            return
        source = f"crm:{self._source}"
        agreed = self._connection.execute(
            select(col(Consent.contact_id), col(Consent.topic), col(Consent.source), col(Consent.granted))
            .where(among(Consent.contact_id, "contacts"))
            .order_by(col(Consent.at), col(Consent.id)),
            {"contacts": sorted(known)},
        )
        newest = {(row.contact_id, row.topic): row for row in agreed}
        withdrawals = [
            Withdrawal(number, topic, False, min(known[number].changed_at, self._now), source)
            for (number, topic), row in newest.items()
            if row.granted and row.source == source
        ]
        withdraw(self._connection, withdrawals, at=self._now)
        self._write(
            CrmRow,
            [
                {"source": self._source, "source_id": contact.id, "contact_id": number, "told": {},
                 "changed_at": min(contact.changed_at, self._now), "gone_at": self._now}
                for number, contact in known.items()
            ],
            ("changed_at", "told", "gone_at"),
        )  # fmt: skip


def _addresses(contact: CrmContact, whose: Whose) -> list[str]:
    """Return where a record's person is reached: at the address that it tells, and at the one that is known here."""
    return sorted({normalised(contact.email), whose.address or ""} - {""})
