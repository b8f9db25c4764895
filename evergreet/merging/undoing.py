"""Undo a merge: both are as they were, and what came since stays with the survivor, as nobody can tell whose it was.

But for three things. What was changed of the survivor since stays changed. Enrollments that followed from what the
other one did go with it. And whoever said no to something since, said so for both.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, exists, insert, or_, select, update
from sqlalchemy.orm import aliased
from sqlmodel import col

from evergreet.clock import Clock
from evergreet.consent import Withdrawal, withdraw
from evergreet.contracts import CrmContact
from evergreet.crm.storing import Rules, store
from evergreet.database import ingest_position
from evergreet.errors import DataError
from evergreet.merging.merging import MOVING, hand_over, lock
from evergreet.merging.values import read, taken_back, written
from evergreet.store import among
from models import (
    AuditLog,
    CampaignRow,
    Consent,
    Contact,
    ContactAlias,
    ContactMerge,
    CrmMember,
    CrmRow,
    Enrollment,
    Suppression,
)


def undo(connection: Connection, merge_id: int, *, actor: str, clock: Clock, now: datetime) -> int:
    """Undo a merge in a transaction that is `alone`; return the contact that is one of its own again.

    Raises DataError where that cannot be done: it is undone, the person was erased, or the survivor is itself merged.
    """
    merge = connection.execute(select(ContactMerge).where(col(ContactMerge.id) == merge_id)).one_or_none()
    if merge is None:
        raise DataError(f"There is no merge {merge_id}; `evergreet contacts merges` lists them.")
    if merge.undone_at is not None:
        raise DataError(f"Merge {merge_id} was undone on {merge.undone_at:%Y-%m-%d %H:%M} UTC.")
    (survivor,) = lock(connection, [merge.survivor_id])
    values = taken_back(written(survivor), merge.before, merge.after)
    position = ingest_position(connection)
    connection.execute(
        update(Contact).where(col(Contact.id) == survivor.id).values(values | {"changed_at": now, "position": position})
    )
    connection.execute(delete(Suppression).where(col(Suppression.source) == f"merge:{merge_id}"))
    if merge.loser_id is None:
        contact = _apart(connection, merge, position, clock, now)
    else:
        contact = merge.loser_id
        _move_back(connection, merge, position, now)
    done = {"undone_at": now, "loser_id": contact}
    connection.execute(update(ContactMerge).where(col(ContactMerge.id) == merge_id).values(done))
    connection.execute(
        insert(AuditLog).values(
            at=now, actor=actor, action="unmerge", subject=f"contact {contact}",
            detail={"from": merge.survivor_id, "merge": merge_id},
        )
    )  # fmt: skip
    return contact


def _move_back(connection: Connection, merge: Any, position: int, now: datetime) -> None:
    loser, survivor, moved = merge.loser_id, merge.survivor_id, merge.moved
    connection.execute(
        update(Contact)
        .where(col(Contact.id) == loser)
        .values(read(merge.loser) | {"erased_at": None, "merged_into": None, "changed_at": now, "position": position})
    )
    _unpoint(connection, merge)
    created = col(Consent.contact_id) == survivor, col(Consent.source) == "merge", col(Consent.at) == merge.at
    connection.execute(delete(Consent).where(*created))
    for table in (*MOVING, Consent):
        ids = moved[table.__tablename__]
        connection.execute(update(table).where(among(table.id, "ids")).values(contact_id=loser), {"ids": ids})
    for enrollment, due in moved["stopped"]:
        _go_on(connection, enrollment, None if due is None else datetime.fromisoformat(due))
    same = aliased(Enrollment)
    has = exists().where(
        col(same.contact_id) == loser, col(same.campaign_id) == col(Enrollment.campaign_id),
        col(same.occurrence) == col(Enrollment.occurrence),
    )  # fmt: skip
    followed = or_(
        among(Enrollment.id, "enrollments"),
        (col(Enrollment.contact_id) == survivor)
        & ~has
        & or_(among(Enrollment.cause_event_id, "events"), among(Enrollment.cause_transition_id, "transitions")),
    )
    back = connection.execute(
        update(Enrollment).where(followed).values(contact_id=loser).returning(col(Enrollment.id)),
        {"enrollments": moved["enrollment"], "events": moved["event"], "transitions": moved["transition"]},
    ).scalars()
    hand_over(connection, sorted(back), loser)
    refused = connection.execute(
        select(col(Consent.topic)).where(
            col(Consent.contact_id) == survivor, ~col(Consent.granted), col(Consent.at) > merge.at
        )
    ).scalars()
    withdraw(connection, [Withdrawal(loser, topic, False, now, "unmerge") for topic in sorted(set(refused))], at=now)


def _go_on(connection: Connection, enrollment: int, due: datetime | None) -> None:
    """Let an enrollment that was stopped go on; its campaign has not planned it, if it is due by now."""
    campaign = connection.execute(
        update(Enrollment)
        .where(col(Enrollment.id) == enrollment)
        .values(state="active", reason="", next_due_at=due)
        .returning(col(Enrollment.campaign_id))
    ).scalar_one()
    if due is not None:
        connection.execute(
            update(CampaignRow)
            .where(col(CampaignRow.id) == campaign, col(CampaignRow.planned_to) >= due)
            .values(planned_to=due - timedelta(microseconds=1))
        )


def _unpoint(connection: Connection, merge: Any) -> None:
    """Let the other one's id mean itself again, and those be merged into it who were."""
    connection.execute(
        delete(ContactAlias).where(
            col(ContactAlias.source) == merge.source, col(ContactAlias.source_id) == merge.source_id
        )
    )
    own = select(col(ContactMerge.loser_id)).where(
        col(ContactMerge.survivor_id) == merge.loser_id, col(ContactMerge.undone_at).is_(None)
    )
    connection.execute(
        update(Contact)
        .where(col(Contact.id).in_(own), col(Contact.merged_into) == merge.survivor_id)
        .values(merged_into=merge.loser_id)
    )


def _apart(connection: Connection, merge: Any, position: int, clock: Clock, now: datetime) -> int:
    """Make a contact of a record of a CRM that was found to be about somebody known, as its CRM has it."""
    record = connection.execute(
        select(CrmRow).where(col(CrmRow.source) == merge.source, col(CrmRow.source_id) == merge.source_id)
    ).one_or_none()
    if record is None or record.contact_id != merge.survivor_id:
        raise DataError(
            f"Record {merge.source_id} of {merge.source} is not about contact {merge.survivor_id} any more."
        )
    contact = connection.execute(
        insert(Contact)
        .values(source=merge.source, source_id=merge.source_id, attributes={}, created_at=record.changed_at,
                changed_at=now, position=position)
        .returning(col(Contact.id))
    ).scalar_one()  # fmt: skip
    _unpoint(connection, merge)
    connection.execute(delete(CrmMember).where(col(CrmMember.row_id) == record.id))  # its lists are told anew
    connection.execute(update(CrmRow).where(col(CrmRow.id) == record.id).values(contact_id=contact, told={}))
    said = f"crm:{merge.source}"
    connection.execute(
        update(Consent)
        .where(col(Consent.contact_id) == merge.survivor_id, col(Consent.source) == said)
        .values(contact_id=contact)
    )
    told = record.told
    known = CrmContact(
        merge.source_id, record.changed_at, told.get("email", ""), told.get("details") or {},
        unsubscribed=told.get("unsubscribed", False),
    )  # fmt: skip
    store(connection, merge.source, [known], Rules(), clock, now)
    return contact
