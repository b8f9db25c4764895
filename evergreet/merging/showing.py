"""Show merges: whom they made one person, how that was found, and what they moved."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, or_, select
from sqlmodel import col

from models import ContactMerge

_FOUND = {
    "address": "they have one address",
    "id": "their CRM says so",
    "hand": "somebody said so",
}


@dataclass(frozen=True, slots=True)
class Merge:
    """One merge. `loser` is None for a record of a CRM that was no contact before; `moved` counts rows by table."""

    id: int
    at: datetime
    survivor: int
    loser: int | None
    source: str
    source_id: str
    found_by: str
    actor: str
    changed: tuple[str, ...]
    moved: dict[str, int]
    undone_at: datetime | None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """Who was merged into whom, and why."""
        who = f"{self.source} {self.source_id}" + ("" if self.loser is None else f" (contact {self.loser})")
        undone = f"; undone {self.undone_at:%Y-%m-%d %H:%M} UTC" if self.undone_at else ""
        return f"{who} is contact {self.survivor}: {_FOUND[self.found_by]}{undone}"


def merges(connection: Connection, contacts: Sequence[int] | None = None, most: int = 100) -> list[Merge]:
    """Return the newest merges, or those that these contacts took part in."""
    query = select(ContactMerge).order_by(col(ContactMerge.id).desc()).limit(most)
    if contacts is not None:
        query = query.where(or_(col(ContactMerge.survivor_id).in_(contacts), col(ContactMerge.loser_id).in_(contacts)))
    return [
        Merge(
            row.id, row.at, row.survivor_id, row.loser_id, row.source, row.source_id, row.found_by, row.actor,
            tuple(sorted(name for name in row.after.keys() - {"told_at"} if row.after[name] != row.before.get(name))),
            {table: len(ids) for table, ids in row.moved.items() if ids}, row.undone_at,
        )
        for row in connection.execute(query)
    ]  # fmt: skip
