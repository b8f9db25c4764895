"""Who is on the lists of a CRM: each is an attribute, true of whoever is on it, that nobody else has.

A list is told in parts, in the order of its ids, and each says who is on it between two of them. So a part is compared
with what is known of that stretch, and only what differs is written: half a million members are never in memory, and
where nothing has changed nothing is written.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Select, delete, exists, not_, select
from sqlalchemy.orm import aliased
from sqlmodel import col

from evergreet.clock import Clock
from evergreet.contracts import CrmMembers
from evergreet.database import exclusive
from evergreet.importing.contact_store import ContactRow, ContactStore
from evergreet.importing.memory import RowMemory
from evergreet.importing.records import Record
from evergreet.importing.storing import Setting
from evergreet.store import among, among_texts, by_index, checked, insert_ignore
from models import Contact, CrmMember, CrmRow

MOST = 1000
"""Members that are taken off a list in one transaction."""


_WHOSE: Select[Any] = (
    select(
        col(CrmRow.id).label("row"), col(CrmRow.source_id).label("number"), col(CrmRow.gone_at),
        col(Contact.id), col(Contact.source), col(Contact.source_id), col(Contact.attributes),
    )
    .join(Contact, col(Contact.id) == col(CrmRow.contact_id))
    .where(col(Contact.erased_at).is_(None))
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Followed:
    """How many contacts a part of a list changed, and whether there is more of it to follow."""

    changed: int
    more: bool


def follow(connection: Connection, source: str, part: CrmMembers, clock: Clock, now: datetime) -> Followed:
    """Store what a part of a list says, in a transaction that has the CRM's lock; told again it is no news."""
    connection.execute(select(by_index()))
    ours = (col(CrmMember.source) == source, col(CrmMember.list) == part.list)
    stretch = [*ours, col(CrmMember.number) > part.after]
    if part.upto is not None:
        stretch.append(col(CrmMember.number) <= part.upto)
    told = {"told": sorted(part.members)}
    known = select(col(CrmMember.number)).where(*ours, among(CrmMember.number, "told"))
    new = sorted(set(part.members) - set(connection.execute(known, told).scalars()))
    left = connection.execute(
        select(col(CrmMember.number), col(CrmMember.row_id))
        .where(*stretch, not_(among(CrmMember.number, "told")))
        .order_by(col(CrmMember.number))
        .limit(MOST),
        told,
    ).all()
    joined = _people(connection, source, [str(number) for number in new])
    insert_ignore(
        connection, CrmMember,
        [{"source": source, "list": part.list, "number": int(row.number), "row_id": row.row} for row in joined],
    )  # fmt: skip
    leaving = _off(connection, source, part.list, {row.row_id: row.number for row in left})
    values = {row.id: (row, None) for row in leaving} | {row.id: (row, True) for row in joined}
    changed = _tell(connection, part.list, list(values.values()), clock, now)
    return Followed(changed, len(left) == MOST)


def _people(connection: Connection, source: str, numbers: Sequence[str]) -> Sequence[Any]:
    """Return whom these records are about, of those that are known here, but those who were erased."""
    if not numbers:
        return ()
    return connection.execute(
        _WHOSE.where(col(CrmRow.source) == source, among_texts(col(CrmRow.source_id), "numbers")),
        {"numbers": list(numbers)},
    ).all()


def _off(connection: Connection, source: str, name: str, left: Mapping[int, int]) -> Sequence[Any]:
    """Take records off a list; return those of whose people none is on it any more.

    Somebody whose record its CRM has merged into another has not left: the other is expected on the list in its place.
    Who was a contact of their own until then, and is not merged here yet, leaves it: the other comes by itself.
    """
    if not left:
        return ()
    rows = connection.execute(_WHOSE.where(among(CrmRow.id, "rows")), {"rows": sorted(left)}).all()
    rows = [row for row in rows if name in (row.attributes or {})]
    merged_into = aliased(CrmRow)
    heirs = connection.execute(
        select(col(merged_into.id), col(merged_into.source_id))
        .join(CrmRow, col(CrmRow.contact_id) == col(merged_into.contact_id))
        .where(
            among(CrmRow.id, "rows"), checked(col(merged_into.source) == source, col(merged_into.gone_at).is_(None))
        ),
        {"rows": [row.row for row in rows if row.gone_at is not None]},
    ).all()
    ours = (col(CrmMember.source) == source, col(CrmMember.list) == name)
    connection.execute(
        delete(CrmMember).where(*ours, among(CrmMember.number, "numbers")), {"numbers": sorted(left.values())}
    )
    insert_ignore(
        connection, CrmMember,
        [{"source": source, "list": name, "number": int(row.source_id), "row_id": row.id} for row in heirs],
    )  # fmt: skip
    still = set(
        connection.execute(
            select(col(CrmRow.contact_id))
            .join(CrmMember, col(CrmMember.row_id) == col(CrmRow.id))
            .where(among(CrmRow.contact_id, "contacts"), checked(*ours)),
            {"contacts": sorted({row.id for row in rows})},
        ).scalars()
    )
    lives = exists().where(
        col(CrmRow.contact_id) == col(Contact.id), checked(col(CrmRow.source) == source, col(CrmRow.gone_at).is_(None))
    )
    moved = connection.execute(
        select(col(Contact.id), col(Contact.source), col(Contact.source_id), col(Contact.attributes)).where(
            col(Contact.source) == source, among_texts(col(Contact.source_id), "numbers"),
            col(Contact.erased_at).is_(None), not_(lives),
        ),
        {"numbers": [str(number) for number in left.values()]},
    ).all()  # fmt: skip
    return [row for row in rows if row.id not in still] + [row for row in moved if name in (row.attributes or {})]


def _tell(
    connection: Connection, name: str, people: Sequence[tuple[Any, bool | None]], clock: Clock, now: datetime
) -> int:
    """Store the attribute of each; return how many contacts it changes."""
    if not people:
        return 0
    by_source: dict[str, dict[str, ContactRow]] = {}
    for row, is_on in people:
        told = ContactRow(Record(0, "", {}), row.source_id, {}, {name: is_on}, told_at=now)
        by_source.setdefault(row.source, {})[row.source_id] = told
    for source in sorted(by_source):
        exclusive(connection, f"import:{source}")
    ids = sorted(row.id for row, _ in people)
    connection.execute(
        select(col(Contact.id))
        .where(among(Contact.id, "ids"))
        .order_by(col(Contact.id))
        .with_for_update(key_share=True),
        {"ids": ids},
    )
    with closing(RowMemory()) as memory:
        return sum(
            ContactStore(Setting(Path("a list"), source, ZoneInfo("UTC"), now, clock, memory), "crm")
            .store(connection, list(rows.values()))
            .corrected
            for source, rows in sorted(by_source.items())
        )
