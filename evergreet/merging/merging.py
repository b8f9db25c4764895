"""Merge two contacts into one: what either did, was sent and said is the survivor's from then on.

Everything that refers to the other contact is pointed to the survivor in one transaction, and the ids of these rows are
kept, so that a merge can be undone exactly. An enrollment of which the survivor has the same stays where it is and is
stopped, and one that its campaign would not have begun so soon beside the survivor's is stopped as well: nobody gets
twice what either got. The other contact stays as an empty row that says who has taken its place.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, exists, func, insert, or_, select, update
from sqlalchemy.orm import aliased
from sqlmodel import col

from evergreet.campaigns import hold_off, states, version_of
from evergreet.consent import ABOUT_ADDRESSES, EVERYTHING, Withdrawal, newest_consents, withdraw
from evergreet.database import exclusive, ingest_position
from evergreet.durations import Duration
from evergreet.errors import DataError
from evergreet.importing.storing import Entry, suppress_all
from evergreet.merging.values import joined, written
from evergreet.store import among, insert_into
from models import (
    AuditLog,
    Consent,
    Contact,
    ContactAlias,
    ContactMerge,
    CrmRow,
    Enrollment,
    Event,
    FrequencyChoice,
    Message,
    Suppression,
    Transition,
)

MERGED = "merged"
"""The reason of an enrollment that the survivor has as well."""
MOVING = (Event, Transition, FrequencyChoice, ContactAlias, CrmRow)
"""What moves as a whole."""


def alone(connection: Connection) -> None:
    """Let nobody enroll, plan, move stages or store anything meanwhile: whom they look up may be merged by then."""
    for state in sorted(states(connection), key=lambda one: one.name):
        hold_off(connection, state.name)
    exclusive(connection, "provider events")
    for source in sorted(_sources(connection, CrmRow)):
        exclusive(connection, f"crm:{source}")
    for source in sorted({*_sources(connection, Contact), *_sources(connection, Event)}):
        exclusive(connection, f"import:{source}")
    exclusive(connection, "stages")


def _sources(connection: Connection, table: Any) -> Iterator[str]:
    """Yield the sources of a table, by the index from one to the next: rows are many, sources few."""
    following = select(func.min(col(table.source))).where(col(table.source) > bindparam("last"))
    last = ""
    while (source := connection.execute(following, {"last": last}).scalar_one()) is not None:
        yield source
        last = source


def merge(connection: Connection, loser_id: int, survivor_id: int, *, found_by: str, actor: str, now: datetime) -> int:
    """Merge a contact into another in a transaction that is `alone`; return the number of the merge.

    Raises DataError where one of them is not there, erased, or merged already.
    """
    loser, survivor = lock(connection, [loser_id, survivor_id])
    position = ingest_position(connection)
    merge_id = connection.execute(
        insert(ContactMerge)
        .values(survivor_id=survivor_id, loser_id=loser_id, source=loser.source, source_id=loser.source_id,
                found_by=found_by, actor=actor, at=now, before=written(survivor), loser=written(loser))
        .returning(col(ContactMerge.id))
    ).scalar_one()  # fmt: skip
    refused = _refused(connection, loser_id) | _refused(connection, survivor_id)
    moved: dict[str, Any] = {table.__tablename__: _move(connection, table, loser_id, survivor_id) for table in MOVING}
    moved["consent"] = _move_consents(connection, loser_id, survivor_id)
    too_near = _too_near(connection, loser_id, survivor_id)
    moved["enrollment"] = _move_enrollments(connection, loser_id, survivor_id)
    moved["stopped"] = _stop(connection, loser_id, too_near)
    _point(connection, loser, survivor_id, now)
    values = joined(survivor, loser)
    connection.execute(
        update(Contact).where(col(Contact.id) == survivor_id).values(values | {"changed_at": now, "position": position})
    )
    connection.execute(
        update(Contact)
        .where(col(Contact.id) == loser_id)
        .values(email=None, address=None, phone=None, locale=None, timezone=None, attributes={}, told_at=None,
                content_hash="", stage=None, stage_since=None, paused_until=None, spacing_days=None,
                erased_at=now, merged_into=survivor_id, changed_at=now, position=position)
    )  # fmt: skip
    still = _refused(connection, survivor_id)
    withdraw(
        connection, [Withdrawal(survivor_id, topic, False, now, "merge") for topic in sorted(refused - still)], at=now
    )
    _stop_mailing(connection, (survivor, loser), values["address"], merge_id, position, now)
    after = connection.execute(select(Contact).where(col(Contact.id) == survivor_id)).one()
    connection.execute(
        update(ContactMerge).where(col(ContactMerge.id) == merge_id).values(moved=moved, after=written(after))
    )
    connection.execute(
        insert(AuditLog).values(
            at=now, actor=actor, action="merge", subject=f"contact {loser_id}",
            detail={"into": survivor_id, "merge": merge_id},
        )
    )  # fmt: skip
    return merge_id


def lock(connection: Connection, ids: list[int]) -> list[Any]:
    """Lock these contacts, and all that share an address with one of them; return them in the order given."""
    theirs = select(col(Contact.address)).where(col(Contact.id).in_(ids))
    rows = connection.execute(
        select(Contact)
        .where(or_(col(Contact.id).in_(ids), col(Contact.address).in_(theirs)))
        .order_by(col(Contact.id))
        .with_for_update(key_share=True)
    ).all()
    known = {row.id: row for row in rows}
    for number in ids:
        row = known.get(number)
        if row is None:
            raise DataError(f"There is no contact {number}.")
        if row.merged_into is not None:
            raise DataError(f"Contact {number} is merged into {row.merged_into} already.")
        if row.erased_at is not None:
            raise DataError(f"Contact {number} was erased.")
    if len(set(ids)) < len(ids):
        raise DataError(f"Contact {ids[0]} cannot be merged with itself.")
    return [known[number] for number in ids]


def _refused(connection: Connection, contact: int) -> set[str]:
    """Return the topics to which a contact's newest word is a no."""
    return {topic for topic, row in newest_consents(connection, contact).items() if not row.granted}


def _move(connection: Connection, table: Any, loser: int, survivor: int) -> list[int]:
    moving = update(table).where(col(table.contact_id) == loser).values(contact_id=survivor)
    return sorted(connection.execute(moving.returning(col(table.id))).scalars())


def _move_consents(connection: Connection, loser: int, survivor: int) -> list[int]:
    """Move what the other one said, but for the very words that the survivor said as well."""
    same = aliased(Consent)
    said = exists().where(
        col(same.contact_id) == survivor,
        *(col(getattr(same, name)) == col(getattr(Consent, name)) for name in ("topic", "at", "granted", "source")),
    )
    moving = update(Consent).where(col(Consent.contact_id) == loser, ~said).values(contact_id=survivor)
    return sorted(connection.execute(moving.returning(col(Consent.id))).scalars())


def _move_enrollments(connection: Connection, loser: int, survivor: int) -> list[int]:
    """Move the enrollments that the survivor does not have as well, with their messages."""
    same = aliased(Enrollment)
    has = exists().where(
        col(same.contact_id) == survivor, col(same.campaign_id) == col(Enrollment.campaign_id),
        col(same.occurrence) == col(Enrollment.occurrence),
    )  # fmt: skip
    moving = update(Enrollment).where(col(Enrollment.contact_id) == loser, ~has).values(contact_id=survivor)
    moved = sorted(connection.execute(moving.returning(col(Enrollment.id))).scalars())
    hand_over(connection, moved, survivor)
    return moved


def hand_over(connection: Connection, enrollments: list[int], contact: int) -> None:
    """Let the messages of these enrollments be a contact's."""
    connection.execute(
        update(Message).where(among(Message.enrollment_id, "enrollments")).values(contact_id=contact),
        {"enrollments": enrollments},
    )


def _too_near(connection: Connection, loser: int, survivor: int) -> list[int]:
    """Return the loser's enrollments that their campaign (`re_entry`) would not have begun beside the survivor's."""
    going = connection.execute(
        select(Enrollment).where(col(Enrollment.contact_id) == loser, col(Enrollment.state) == "active")
    ).all()
    found = []
    for row in going:
        apart = version_of(connection, row.version_id).campaign.re_entry
        if isinstance(apart, Duration):
            begun = select(col(Enrollment.id)).where(
                col(Enrollment.contact_id) == survivor, col(Enrollment.campaign_id) == row.campaign_id,
                col(Enrollment.state).in_(["active", "finished"]),
                col(Enrollment.caused_at) > row.caused_at - apart.span,
                col(Enrollment.caused_at) < row.caused_at + apart.span,
            )  # fmt: skip
            if connection.execute(begun.limit(1)).first():
                found.append(row.id)
    return found


def _stop(connection: Connection, loser: int, too_near: list[int]) -> list[list[Any]]:
    """Stop the enrollments that stay, and these; return them with the times at which they would have gone on."""
    going = (
        or_(col(Enrollment.contact_id) == loser, among(Enrollment.id, "near")),
        col(Enrollment.state) == "active",
    )
    near = {"near": too_near}
    rows = connection.execute(select(col(Enrollment.id), col(Enrollment.next_due_at)).where(*going), near).all()
    connection.execute(update(Enrollment).where(*going).values(state="stopped", reason=MERGED, next_due_at=None), near)
    return [[row.id, None if row.next_due_at is None else row.next_due_at.isoformat()] for row in rows]


def _point(connection: Connection, loser: Any, survivor: int, now: datetime) -> None:
    """Let the other one's id mean the survivor, and whoever was merged into the other one be the survivor's."""
    connection.execute(update(Contact).where(col(Contact.merged_into) == loser.id).values(merged_into=survivor))
    new = insert_into(connection, ContactAlias).values(
        source=loser.source, source_id=loser.source_id, contact_id=survivor, at=now
    )
    connection.execute(
        new.on_conflict_do_update(
            index_elements=["source", "source_id"], set_={name: new.excluded[name] for name in ("contact_id", "at")}
        )
    )


def _stop_mailing(
    connection: Connection, both: tuple[Any, Any], address: str | None, merge_id: int, position: int, now: datetime
) -> None:
    """Where one of two addresses gets no marketing for a reason of its reader's, the one that is left gets none."""
    addresses = {row.address for row in both if row.address} - {address}
    if address is None or not addresses:
        return
    wanted = select(col(Suppression.id)).where(
        col(Suppression.address).in_(addresses), col(Suppression.reason).not_in(ABOUT_ADDRESSES)
    )
    if connection.execute(wanted.limit(1)).first():
        entry = Entry(address, "marketing", EVERYTHING, f"merge:{merge_id}", now)
        suppress_all(connection, {address: entry}, position, now)
