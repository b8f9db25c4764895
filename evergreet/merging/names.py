"""What contacts were called when messages to them got their keys: merging gives them another name."""

from collections import defaultdict
from collections.abc import Collection

from sqlalchemy import Connection, or_, select
from sqlmodel import col

from evergreet.store import among
from models import Contact, ContactMerge


def names_of(connection: Connection, contacts: Collection[int]) -> dict[int, set[str]]:
    """Return by contact the names (`source:id`) of all whom a message of theirs may have been sent to.

    Those are their own, and those of contacts that were merged with them ever, also where that is undone by now. Only
    contacts that took part in a merge are there.
    """
    beside: defaultdict[int, set[int]] = defaultdict(set)
    asked: set[int] = set()
    while new := (set(contacts) | beside.keys()) - asked:
        asked |= new
        merges = connection.execute(
            select(col(ContactMerge.survivor_id), col(ContactMerge.loser_id)).where(
                or_(among(ContactMerge.survivor_id, "ids"), among(ContactMerge.loser_id, "ids")),
            ),
            {"ids": sorted(new)},
        )
        for survivor, loser in merges.tuples():
            if loser is not None:
                beside[survivor].add(loser)
                beside[loser].add(survivor)
    if not beside:
        return {}
    known = connection.execute(
        select(col(Contact.id), col(Contact.source), col(Contact.source_id)).where(among(Contact.id, "ids")),
        {"ids": sorted(beside)},
    )
    names = {row.id: f"{row.source}:{row.source_id}" for row in known}
    return {contact: {names[each] for each in _together(contact, beside)} for contact in contacts if contact in beside}


def _together(contact: int, beside: defaultdict[int, set[int]]) -> set[int]:
    found, new = {contact}, {contact}
    while new := {other for each in new for other in beside[each]} - found:
        found |= new
    return found
