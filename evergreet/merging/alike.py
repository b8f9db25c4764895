"""Find contacts that are one person, by address or by what their CRM says, and merge them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, exists, func, literal, select, union_all
from sqlalchemy.orm import aliased
from sqlmodel import col

from evergreet.clock import Clock
from evergreet.database import Database
from evergreet.merging.merging import alone, merge
from models import Contact, ContactAlias, ContactMerge, CrmCursor, CrmRow

BATCH = 100
"""Merges in one transaction, which keeps everybody else waiting."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two contacts that are one person, and how that was found."""

    loser: int
    survivor: int
    found_by: str


@dataclass(slots=True)
class Merged:
    """How many contacts were merged, by how that was found."""

    by: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.by.values())


def merge_alike(database: Database, clock: Clock, *, actor: str) -> Merged:
    """Merge all contacts that are found to be one person, a batch at a time; it may be ended at any moment."""
    done = Merged()
    while True:
        with database.read() as connection:
            if not pairs(connection, 1):
                return done
        with database.write() as connection:
            alone(connection)
            now = clock.now(connection)
            for pair in pairs(connection, BATCH):
                merge(connection, pair.loser, pair.survivor, found_by=pair.found_by, actor=actor, now=now)
                done.by[pair.found_by] = done.by.get(pair.found_by, 0) + 1


def pairs(connection: Connection, most: int) -> list[Pair]:
    """Return who is to be merged into whom, each contact in one pair at most."""
    found: list[Pair] = []
    taken: set[int] = set()
    for pair in (*_merged_elsewhere(connection, most), *_of_one_address(connection, most)):
        if len(found) < most and not {pair.loser, pair.survivor} & taken:
            found.append(pair)
            taken |= {pair.loser, pair.survivor}
    return found


def count(connection: Connection) -> int:
    """Return how many contacts would be merged."""
    return len({pair.loser for pair in (*_merged_elsewhere(connection, None), *_of_one_address(connection, None))})


def _apart(contact: Any) -> Any:
    """Say, in a query, whether somebody has undone a merge of this contact: it is not merged by itself again."""
    return exists().where(col(ContactMerge.loser_id) == col(contact.id), col(ContactMerge.undone_at).is_not(None))


def _merged_elsewhere(connection: Connection, most: int | None) -> Iterator[Pair]:
    """Yield the contacts of a CRM whose id means somebody else by now: it has merged the two."""
    survivor: Any = aliased(Contact)
    rows = connection.execute(
        select(col(Contact.id), col(survivor.id))
        .join(ContactAlias, col(ContactAlias.source_id) == col(Contact.source_id))
        .join(survivor, col(survivor.id) == col(ContactAlias.contact_id))
        .where(
            col(ContactAlias.source) == col(Contact.source), col(survivor.id) != col(Contact.id),
            col(Contact.source).in_(select(col(CrmCursor.source))), col(Contact.erased_at).is_(None),
            col(survivor.erased_at).is_(None), ~_apart(Contact),
        )
        .order_by(col(Contact.id))
        .limit(most)
    )  # fmt: skip
    for loser, other in rows.tuples():
        yield Pair(loser, other, "id")


def _of_one_address(connection: Connection, most: int | None) -> Iterator[Pair]:
    """Yield contacts of different sources with one address; the oldest is who is left.

    But where one source has two contacts with it, or a CRM two records, they are two people: nobody can tell whose
    the third one is.
    """
    there = (col(Contact.address).is_not(None), col(Contact.erased_at).is_(None), ~_apart(Contact))
    known = union_all(
        select(col(Contact.address), col(Contact.source), col(Contact.id), literal(1).label("own")).where(*there),
        select(col(Contact.address), col(CrmRow.source), col(Contact.id), literal(0))
        .join(CrmRow, col(CrmRow.contact_id) == col(Contact.id))
        .where(*there, col(CrmRow.gone_at).is_(None), col(CrmRow.source) != col(Contact.source)),
    ).subquery("known")
    groups = (
        select(known.c.address, func.min(known.c.id).label("oldest"))
        .group_by(known.c.address)
        .having(
            func.sum(known.c.own) > 1,
            func.count() == func.count(func.distinct(known.c.source)),
        )
        .subquery("groups")
    )
    rows = connection.execute(
        select(col(Contact.id), groups.c.oldest)
        .join(groups, groups.c.address == col(Contact.address))
        .where(*there, col(Contact.id) != groups.c.oldest)
        .order_by(col(Contact.id))
        .limit(most)
    )
    for loser, oldest in rows.tuples():
        yield Pair(loser, oldest, "address")
