"""Addresses that an old tool knew not to write to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select
from sqlmodel import col

from evergreet.addresses import read_address
from evergreet.database import exclusive, ingest_position
from evergreet.errors import DataError
from evergreet.importing.mapping import Plan
from evergreet.importing.records import Record
from evergreet.importing.rejects import Rejected
from evergreet.importing.storing import Entry, Outcome, Setting, missing, one_of, suppress_all
from evergreet.importing.times import as_time
from evergreet.importing.values import as_text
from models import Contact

FIELDS = ("email", "scope", "reason", "at")
SCOPES = ("all", "marketing")


@dataclass(slots=True)
class SuppressionRow:
    """A row of the file, checked; `at` is None when the file gives no time."""

    record: Record
    address: str
    scope: str
    reason: str
    at: datetime | None


class SuppressionImport:
    """Reads and stores suppressions; unique by address, and they only grow."""

    def __init__(self, plan: Plan, setting: Setting, *, scope: str = "all") -> None:
        self._plan = plan
        self._setting = setting
        self._scope = scope

    def shape(self, record: Record) -> SuppressionRow:
        """Check one record; raises Rejected for one that cannot be used."""
        values, plan = record.values, self._plan
        email = as_text(plan.get(values, "email"), "email", 1000)
        if email is None:
            raise missing("email")
        try:
            address = read_address(email).normalised
        except DataError as error:
            raise Rejected("invalid email", str(error)) from None
        return SuppressionRow(
            record, address,
            scope=one_of(as_text(plan.get(values, "scope"), "scope", 100) or self._scope, "scope", SCOPES),
            reason=as_text(plan.get(values, "reason"), "reason", 100) or "imported",
            at=as_time(plan.get(values, "at"), "at", self._setting.zone, self._setting.now),
        )  # fmt: skip

    def store(self, connection: Connection, rows: Sequence[SuppressionRow]) -> Outcome:
        """Store a batch in the caller's writing transaction, with the contacts of these addresses locked."""
        outcome = Outcome()
        exclusive(connection, "import:suppressions")
        now = self._setting.clock.now(connection)
        connection.execute(
            select(col(Contact.id))
            .where(col(Contact.address).in_([row.address for row in rows]))
            .order_by(col(Contact.id))
            .with_for_update(key_share=True)
        )
        entries: dict[str, Entry] = {}
        for row in rows:
            if row.address in entries and (entries[row.address].scope == "all" or row.scope == "marketing"):
                continue
            entries[row.address] = Entry(row.address, row.scope, row.reason, self._setting.source, row.at or now)
        changed = suppress_all(connection, entries, ingest_position(connection), now)
        for verdict in changed.values():
            setattr(outcome, verdict, getattr(outcome, verdict) + 1)
        outcome.duplicate = len(rows) - len(changed)
        return outcome
