"""Plan: message rows for what is due, cut into chunks; and chunks again for what waited."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    ScalarSelect,
    String,
    case,
    cast,
    false,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.orm import aliased
from sqlmodel import col

from evergreet.audience import shift
from evergreet.campaign import TRANSACTIONAL, CountedFrom, Step
from evergreet.campaigns import State, Version, required
from evergreet.channels import consent_topic, writes_to_contacts
from evergreet.comparisons import DocumentText, in_document, same_thing
from evergreet.database import exclusive
from evergreet.schedule import due_time, longest_wait, zone_of
from evergreet.store import among, checked, insert_select_ignore
from models import CampaignRow, Chunk, Contact, Enrollment, Event, Instant, Message

MESSAGE_COLUMNS = (
    "enrollment_id", "campaign_id", "version_id", "contact_id", "occurrence", "step_key", "channel", "purpose", "topic",
    "due_at", "counted_at", "zone", "state", "reason", "chunk_id", "attempts", "deaths", "sent_at",
    "unknown_since", "changed_at",
)  # fmt: skip
HELD = "held_after_restore"
COUNTED_ANEW = "counted_anew"
LAST = 3
"""The priority of a chunk after those of any campaign."""


def plan_chunk(connection: Connection, state: State, versions: dict[int, Version], now: datetime, size: int) -> int:
    """Plan up to `size` due messages of one step of one version as one chunk; return how many.

    0 means that everything due up to `now` has its row, and the campaign says so (`planned_to`). Two
    planners of a campaign wait for each other.
    """
    exclusive(connection, f"plan:{state.name}")
    due = connection.execute(
        select(col(Enrollment.version_id), col(Enrollment.next_step))
        .where(
            col(Enrollment.campaign_id) == state.id,
            col(Enrollment.next_due_at) <= now,
            col(Enrollment.state) == "active",
        )
        .order_by(col(Enrollment.next_due_at))  # what is due at the same moment comes as the index has it
        .limit(1)
    ).one_or_none()
    if due is None:
        connection.execute(
            update(CampaignRow)
            .where(
                col(CampaignRow.id) == state.id,
                or_(col(CampaignRow.planned_to).is_(None), col(CampaignRow.planned_to) < now),
            )
            .values(planned_to=now)
        )
        return 0
    version = versions[due.version_id]
    step = version.campaign.step(due.next_step)
    assert step is not None
    chunk = new_chunk(connection, version, step, now)
    state = required(connection, state.name)
    held: ColumnElement[bool] = false()
    if state.held_since is not None and state.held_until is not None:
        # What was sent in the span may have been due before it: as long before as the step may be late.
        late = step.lateness.span + longest_wait(step)
        held = col(Enrollment.next_due_at).between(state.held_since - late, state.held_until)
    wanted = (
        col(Enrollment.campaign_id) == state.id,
        col(Enrollment.next_due_at) <= now,
        col(Enrollment.state) == "active",
        col(Enrollment.version_id) == version.id,
        col(Enrollment.next_step) == step.key,
    )
    topic = version.campaign.topic and consent_topic(version.campaign.topic, step.channel)
    rows = (
        select(
            col(Enrollment.id), col(Enrollment.campaign_id), col(Enrollment.version_id), col(Enrollment.contact_id),
            col(Enrollment.occurrence), literal(step.key), literal(step.channel), literal(str(step.purpose)),
            literal(topic, String()), col(Enrollment.next_due_at), col(Enrollment.counted_at),
            col(Enrollment.zone),
            case((held, "unknown"), else_="planned"), case((held, HELD), else_=""),
            case((held, null()), else_=literal(chunk)), literal(0), literal(0),
            case((held, col(Enrollment.next_due_at)), else_=null()),
            case((held, literal(now, Instant())), else_=null()), literal(now, Instant()),
        )
        .where(among(Enrollment.id, "picked"), checked(*wanted))
    )  # fmt: skip
    ids = select(col(Enrollment.id)).where(*wanted).order_by(col(Enrollment.next_due_at)).limit(size)
    picked = connection.execute(ids).scalars().all()
    planned = insert_select_ignore(connection, Message, MESSAGE_COLUMNS, rows, {"picked": picked})
    _advance(connection, version, step, picked)
    return planned


def count_anew(
    connection: Connection, versions: dict[int, Version], campaign_id: int, now: datetime, default_zone: str
) -> int:
    """Move due steps that count from another event than the triggering one, where that is known; return how many.

    Asked when a step is due, and again when a message that had to wait is: the latest such event about the same thing
    counts until the message is sent.
    """
    moved = 0
    for version in versions.values():
        for step in version.campaign.steps:
            if step.counted_from is not None:
                latest = _latest(step.counted_from, now)
                moved += _count_anew(connection, version, step, latest, now)
                moved += _wait_anew(connection, version, step, latest, now, default_zone)
    return moved


def _latest(anchor: CountedFrom, now: datetime) -> ScalarSelect[datetime]:
    """Return when the latest event came that the step of an enrollment is counted from; NULL where none is known."""
    cause: Any = aliased(Event)
    later: Any = aliased(Event)
    alike = same_thing(cause.properties, anchor.same, later.properties, anchor.same)
    return (
        select(func.max(col(later.occurred_at)))
        .select_from(cause)
        .join(later, col(later.contact_id) == col(cause.contact_id))
        .where(
            col(cause.id) == col(Enrollment.cause_event_id), col(later.name) == anchor.event, ~col(later.superseded),
            col(later.occurred_at) <= now, alike,
        )
        .correlate(Enrollment)
        .scalar_subquery()
    )  # fmt: skip


def _count_anew(
    connection: Connection, version: Version, step: Step, latest: ScalarSelect[datetime], now: datetime
) -> int:
    table = Enrollment.__table__  # type: ignore[attr-defined]
    counted = func.coalesce(table.c.counted_at, table.c.caused_at)
    due = shift(latest, step.after.span) if step.at is None else cast(null(), Instant())
    return connection.execute(
        update(Enrollment)
        .where(
            col(Enrollment.campaign_id) == version.campaign_id, col(Enrollment.version_id) == version.id,
            col(Enrollment.state) == "active", col(Enrollment.next_step) == step.key,
            col(Enrollment.next_due_at) <= now, latest > counted,
        )
        .values(counted_at=latest, next_due_at=due, zone=None)
    ).rowcount  # fmt: skip


def _wait_anew(
    connection: Connection,
    version: Version,
    step: Step,
    latest: ScalarSelect[datetime],
    now: datetime,
    default_zone: str,
) -> int:
    """Let messages that would be asked again wait for the time that a later event gives them."""
    rows = connection.execute(
        select(
            col(Message.id), latest.label("counted_at"), col(Contact.timezone),
            in_document(DocumentText, Contact.__table__.c.attributes, "country").label("country"),  # type: ignore[attr-defined]
        )
        .join(Enrollment, col(Enrollment.id) == col(Message.enrollment_id))
        .join(Contact, col(Contact.id) == col(Message.contact_id))
        .where(
            col(Message.campaign_id) == version.campaign_id, col(Message.not_before) <= now,
            col(Message.version_id) == version.id, col(Message.step_key) == step.key,
            latest > func.coalesce(col(Message.counted_at), col(Enrollment.caused_at)),
        )
    ).all()  # fmt: skip
    for row in rows:
        zone = zone_of(row.timezone, default_zone, row.country)
        due = due_time(step, row.counted_at, zone)
        connection.execute(
            update(Message)
            .where(col(Message.id) == row.id, col(Message.not_before) <= now)
            .values(
                counted_at=row.counted_at, due_at=due, zone=None if step.at is None else zone.key, not_before=due,
                state="deferred", reason=COUNTED_ANEW, changed_at=now,
            )
        )  # fmt: skip
    return len(rows)


def new_chunk(connection: Connection, version: Version, step: Step, now: datetime) -> int:
    """Open a chunk for messages of one step of one version; transactional ones are claimed first.

    What customers get goes before what tells our own people and systems: a fault there ends a run.
    """
    order = 0 if step.purpose is TRANSACTIONAL else version.campaign.priority
    return connection.execute(
        insert(Chunk)
        .values(
            campaign_id=version.campaign_id, version_id=version.id, step_key=step.key,
            priority=order if writes_to_contacts(step.channel) else LAST, created_at=now,
        )
        .returning(col(Chunk.id))
    ).scalar_one()  # fmt: skip


def _advance(connection: Connection, version: Version, step: Step, enrollments: Sequence[int]) -> None:
    """Move enrollments on to the step after, or to their end."""
    following = version.campaign.after_step(step.key)
    values: dict[str, Any] = {"next_step": None, "next_due_at": None, "counted_at": None, "zone": None}
    if following is None:
        values["state"] = "finished"
    else:
        values["next_step"] = following.key
        if following.at is None:  # else a local time: `schedule` computes it
            values["next_due_at"] = shift(Enrollment.__table__.c.caused_at, following.after.span)  # type: ignore[attr-defined]
    advance = update(Enrollment).where(among(Enrollment.id, "enrollments")).values(values)
    connection.execute(advance, {"enrollments": enrollments})


def chunk_waiting(connection: Connection, state: State, versions: dict[int, Version], now: datetime, size: int) -> int:
    """Put up to `size` deferred or backed-off messages whose time has come into a chunk; return how many."""
    exclusive(connection, f"plan:{state.name}")
    waiting = (
        col(Message.campaign_id) == state.id,
        col(Message.not_before) <= now,
    )
    first = connection.execute(
        select(col(Message.version_id), col(Message.step_key))
        .where(*waiting)
        .order_by(col(Message.not_before))
        .limit(1)
    ).one_or_none()
    if first is None:
        return 0
    version = versions[first.version_id]
    step = version.campaign.step(first.step_key)
    assert step is not None
    chunk = new_chunk(connection, version, step, now)
    picked = (
        select(col(Message.id))
        .where(*waiting, col(Message.version_id) == version.id, col(Message.step_key) == step.key)
        .order_by(col(Message.not_before))
        .limit(size)
        .scalar_subquery()
    )
    return connection.execute(
        update(Message)
        .where(col(Message.id).in_(picked), *waiting)  # again: somebody may hold them at this moment
        .values(state="planned", reason="", chunk_id=chunk, not_before=None, changed_at=now)
    ).rowcount
