"""What the three imports share when they store: the setting they run in, and what came of a batch."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select, update
from sqlmodel import col

from evergreet.channels import having
from evergreet.clock import Clock
from evergreet.consent import outweighs
from evergreet.errors import EvergreetError
from evergreet.importing.memory import RowMemory
from evergreet.importing.records import Record
from evergreet.importing.rejects import Rejected, shown
from evergreet.store import insert_into
from models import Contact, Suppression


class Raced(EvergreetError):
    """Another program stored the same rows at the same moment; the batch is rolled back and tried again."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and when an import runs. `now` is the database's time at its beginning."""

    path: Path
    source: str
    zone: ZoneInfo | None
    now: datetime
    clock: Clock
    memory: RowMemory


@dataclass(slots=True)
class Outcome:
    """What came of a batch."""

    stored: int = 0
    duplicate: int = 0
    corrected: int = 0
    contacts_created: int = 0
    rejected: list[tuple[Record, Rejected]] = field(default_factory=list)
    warnings: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(
            self.stored + other.stored, self.duplicate + other.duplicate, self.corrected + other.corrected,
            self.contacts_created + other.contacts_created, [*self.rejected, *other.rejected],
            self.warnings + other.warnings,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One address that may not be written to."""

    address: str
    scope: str
    reason: str
    source: str
    at: datetime


def suppress_all(connection: Connection, entries: dict[str, Entry], position: int, now: datetime) -> dict[str, str]:
    """Store suppressions by address; return `stored` or `corrected` for each that is new or grew.

    A suppression only grows: `marketing` does not replace `all`. The contacts with these addresses must be
    locked, in the order of their ids, as in `evergreet.consent`.
    """
    if not entries:
        return {}
    known = {
        row.address: row
        for row in connection.execute(
            select(col(Suppression.address), col(Suppression.scope), col(Suppression.source)).where(
                col(Suppression.address).in_(list(entries))
            )
        )
    }
    changed = {
        address: "corrected" if address in known else "stored"
        for address, entry in entries.items()
        if address not in known or outweighs(entry, known[address])
    }
    if changed:
        statement = insert_into(connection, Suppression)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["address"],
                set_={name: statement.excluded[name] for name in ("scope", "reason", "source", "at")},
                where=outweighs(statement.excluded, Suppression),
            ),
            [_as_row(entries[address]) for address in sorted(changed)],
        )
        connection.execute(update(Contact).where(having(changed)).values(changed_at=now, position=position))
    return changed


def _as_row(entry: Entry) -> dict[str, Any]:
    return {
        "address": entry.address, "scope": entry.scope, "reason": entry.reason,
        "source": entry.source, "at": entry.at,
    }  # fmt: skip


def missing(field_name: str) -> Rejected:
    """Return the reject of a row that lacks a field."""
    return Rejected(f"no {field_name}", f"{field_name} is empty")


def one_of(value: str, field_name: str, allowed: tuple[str, ...]) -> str:
    """Return the value when it is one of the words allowed."""
    if value.lower() not in allowed:
        raise Rejected(f"unknown {field_name}", f"{field_name} is {shown(value)}; write {' or '.join(allowed)}")
    return value.lower()
