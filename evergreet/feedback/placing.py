"""Which ledger row a provider's event is about: by id, verified by its key; by the key alone after a restore.

What a reader writes names no row. An answer by mail names the mail by its provider's name, and counts from the address
that it went to; an SMS is about the newest that its number got before.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, literal_column, null, select, update
from sqlmodel import col

from evergreet.channels import having, is_number, read_destination
from evergreet.composing import message_key
from evergreet.contracts import Kind
from evergreet.errors import DataError
from evergreet.merging.names import names_of
from evergreet.store import among, given, paired
from models import CampaignRow, Contact, Message, ProviderEvent
from models.base import Id

PAGE = 5000
ANSWERED = timedelta(days=30)
"""How long after a message what its reader writes counts as an answer to it."""
UNKNOWN = col(Message.unknown_since).is_not(None)

_UNPLACED = and_(col(ProviderEvent.message_id).is_(None), col(ProviderEvent.key) != literal_column("''"))
_FOUND = given("found", event=Id, message=Id)
_PLACE = (
    update(ProviderEvent)
    .where(paired(ProviderEvent.id, _FOUND.c.event, "events"))
    .values(row=_FOUND.c.message, applied_at=null(), result="")
)


@dataclass(frozen=True, slots=True)
class Place:
    """A ledger row, as far as applying an event needs it; `contact_id` is who has taken their place by now."""

    message_id: int
    contact_id: int
    campaign: str
    step_key: str
    occurrence: str
    topic: str | None
    address: str | None
    key: str
    channel: str


def _places(which: ColumnElement[bool]) -> Select[Any]:
    return (
        select(
            col(Message.id), func.coalesce(col(Contact.merged_into), col(Contact.id)).label("contact_id"),
            col(Message.step_key), col(Message.topic), col(Message.address), col(Message.channel),
            col(Message.occurrence), col(Message.sent_at), col(Message.provider), col(Message.provider_id),
            col(CampaignRow.name), col(Contact.source), col(Contact.source_id),
        )
        .join(CampaignRow, col(CampaignRow.id) == col(Message.campaign_id))
        .join(Contact, col(Contact.id) == col(Message.contact_id))
        .where(which)
        .order_by(col(Message.id))
    )  # fmt: skip


_BY_ID = _places(among(Message.id, "rows"))


def place(connection: Connection, events: Sequence[Any]) -> dict[int, Place]:
    """Return the places of events by the event's id; who has none is missing.

    A key that fits no row of that id is looked for among the unknown rows: the ledger was restored from a backup, and
    the row was made again.
    """
    known = {p.message_id: p for p in read_places(connection, {event.row for event in events if event.row})}
    found = _answered(connection, events)
    strays: dict[str, list[int]] = {}
    former = _former_keys(connection, [known[e.row] for e in events if e.row in known and known[e.row].key != e.key])
    for event in events:
        row = known.get(event.row)
        if row is not None and (row.key == event.key or event.key in former.get(row.message_id, ())):
            found[event.id] = row
        elif event.key:
            strays.setdefault(event.key, []).append(event.id)
    for row in unknown_places(connection) if strays else ():
        found |= dict.fromkeys(strays.pop(row.key, ()), row)
        if not strays:
            break
    return found


def _answered(connection: Connection, events: Sequence[Any]) -> dict[int, Place]:
    """Return the places of what readers wrote, in the 30 days before they did."""
    written: dict[int, tuple[str, Any]] = {}
    for event in events:
        if event.kind in (Kind.REPLIED, Kind.UNSUBSCRIBED) and event.address and not event.key:
            with suppress(DataError):
                written[event.id] = read_destination(event.address), event
    if not written:
        return {}
    addresses = {address for address, _ in written.values()}
    rows = connection.execute(
        _places(
            and_(
                col(Message.contact_id).in_(select(col(Contact.id)).where(having(addresses))),
                col(Message.sent_at) > min(event.at for _, event in written.values()) - ANSWERED,
                col(Message.state) == "accepted", col(Message.address).in_(sorted(addresses)),
            )
        )
    ).all()  # fmt: skip
    found: dict[int, Place] = {}
    for number, (address, event) in written.items():
        before = [
            row
            for row in rows
            if row.address == address
            and event.at - ANSWERED < row.sent_at <= event.at
            and (is_number(address) or (row.provider, row.provider_id) == (event.connector, event.provider_id))
        ]
        if before:
            found[number] = _place(max(before, key=lambda row: row.sent_at))
    return found


def _former_keys(connection: Connection, places: Sequence[Place]) -> dict[int, set[str]]:
    """Return the keys that messages may have under the names of who was merged with their contacts."""
    names = names_of(connection, {one.contact_id for one in places}) if places else {}
    return {
        one.message_id: {
            message_key(one.campaign, one.step_key, one.occurrence, name) for name in names.get(one.contact_id, ())
        }
        for one in places
    }


def read_places(connection: Connection, rows: Iterable[int]) -> list[Place]:
    """Return the places of ledger rows by id."""
    return [_place(row) for row in connection.execute(_BY_ID, {"rows": sorted(rows)})]


def rows_sent_to(connection: Connection, named: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Return the ids of rows that were handed over, by key and normalised address, as far as there are such."""
    addresses = sorted({address for _, address in named})
    owners = select(col(Contact.id)).where(col(Contact.address).in_(addresses))
    sent = and_(
        col(Message.contact_id).in_(owners), col(Message.sent_at).is_not(None), col(Message.address).in_(addresses)
    )
    found = map(_place, connection.execute(_places(sent)) if named else ())
    return {pair: row.message_id for row in found if (pair := (row.key, row.address or "")) in named}


def unknown_places(connection: Connection) -> Iterator[Place]:
    """Go through all rows whose fate is unknown, a page at a time."""
    after = 0
    while page := connection.execute(_places(UNKNOWN & (col(Message.id) > after)).limit(PAGE)).all():
        after = page[-1].id
        yield from map(_place, page)


def _place(row: Any) -> Place:
    key = message_key(row.name, row.step_key, row.occurrence, f"{row.source}:{row.source_id}")
    return Place(
        row.id, row.contact_id, row.name, row.step_key, row.occurrence, row.topic, row.address, key, row.channel
    )  # fmt: skip


def place_later(connection: Connection) -> int:
    """Let events be applied anew that found no row, where an unknown row has their key by now; return how many.

    After a restore the event may be there before the row is made again.
    """
    if connection.execute(select(col(ProviderEvent.id)).where(_UNPLACED).limit(1)).first() is None:
        return 0
    found: list[tuple[int, int]] = []
    places = unknown_places(connection)
    while page := {place.key: place.message_id for place in islice(places, PAGE)}:
        events = connection.execute(
            select(col(ProviderEvent.id), col(ProviderEvent.key)).where(
                _UNPLACED, col(ProviderEvent.key).in_(page), col(ProviderEvent.applied_at).is_not(None)
            )
        )
        found += [(event.id, page[event.key]) for event in events]
    if found:
        connection.execute(_PLACE, {"events": [event for event, _ in found], "found": found})
    return len(found)
