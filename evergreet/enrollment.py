"""Enroll: the trigger and the audience as one set-based INSERT … SELECT per trigger, over new stretches.

Every trigger that is met becomes a row, also for those outside the audience (`excluded`), so that nobody
can be missed without a trace. The cursor moves in the same transaction.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    String,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal,
    null,
    select,
    text,
    update,
)
from sqlalchemy.orm import aliased
from sqlmodel import col

from evergreet.audience import Scope, compile_condition, shift
from evergreet.campaign import Campaign, EventTrigger, StageTrigger
from evergreet.campaigns import State, Version, hold_off, record, required
from evergreet.clock import Clock
from evergreet.database import Database, exclusive, settled_position
from evergreet.durations import Duration
from evergreet.errors import EvergreetError
from evergreet.schedule import due_time, zone_of
from evergreet.store import insert_select_ignore
from models import CampaignRow, Contact, Enrollment, Event, Instant, Stretch, Transition
from models.base import Id

COLUMNS = (
    "campaign_id", "version_id", "contact_id", "occurrence", "cause_event_id", "cause_transition_id",
    "caused_at", "enrolled_at", "state", "reason", "next_step", "next_due_at",
)  # fmt: skip
SCHEDULE_BATCH = 5_000
OCCURRENCE_LENGTH = 380


@dataclass(frozen=True, slots=True)
class Reach:
    """Which ingest positions (`low` ≤ position < `high`) are scanned, for what happened since when."""

    low: int
    high: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Enrolled:
    """How many enrollments are new: those in the audience, and those recorded as excluded."""

    active: int = 0
    excluded: int = 0


def enroll(connection: Connection, state: State, version: Version, now: datetime) -> Enrolled:
    """Scan everything ingested since the last time; return what is new.

    One enroller per campaign at a time: the named lock. `state` is read again under it.
    """
    exclusive(connection, f"enroll:{state.name}")
    state = required(connection, state.name)
    high = settled_position(connection)
    if state.state != "live" or state.live_since is None or state.scanned_to is None or high <= state.scanned_to:
        if state.scanned_to is not None and high < state.scanned_to:
            raise EvergreetError(
                f"Campaign {state.name!r} has scanned up to position {state.scanned_to}, but the database has only "
                f"reached {high}: it was restored from a logical backup into a new server. Restore a physical backup "
                "(transaction ids go on), or see docs/operations.md, Restore."
            )
        return Enrolled()
    reach = Reach(state.scanned_to, high, state.live_since)
    new = _insert(connection, version, reach, now)
    _extend(connection, state.id, reach, new.active + new.excluded, now)
    connection.execute(update(CampaignRow).where(col(CampaignRow.id) == state.id).values(scanned_to=high))
    return new


def _extend(connection: Connection, campaign_id: int, reach: Reach, new: int, now: datetime) -> None:
    """Record the stretch; one in which nobody was enrolled grows instead of becoming many."""
    grown = 0
    if new == 0:
        newest = select(func.max(col(Stretch.low))).where(  # of thousands: the index on `low` finds it
            col(Stretch.campaign_id) == campaign_id, text("kind <> 'backfill'")
        )
        grown = connection.execute(
            update(Stretch)
            .where(
                col(Stretch.campaign_id) == campaign_id, col(Stretch.kind) == "scan",
                col(Stretch.low) == newest.scalar_subquery(), col(Stretch.high) == reach.low,
                col(Stretch.since) == reach.since, col(Stretch.enrolled) == 0,
            )
            .values(high=reach.high, at=now)
        ).rowcount  # fmt: skip
    if not grown:
        connection.execute(
            Stretch.__table__.insert().values(  # type: ignore[attr-defined]
                campaign_id=campaign_id, kind="scan", low=reach.low, high=reach.high, since=reach.since,
                enrolled=new, at=now,
            )
        )  # fmt: skip


def backfill(
    database: Database, version: Version, since: datetime, *, clock: Clock, actor: str, confirm: int | None
) -> int:
    """Take history into a live campaign: everything ingested so far that happened since `since`.

    Counts first: without `confirm` nothing is stored and the count is returned; with it, the count must
    still be the same.
    """
    with database.write() as connection:
        hold_off(connection, version.campaign.name)
        now = clock.now(connection)
        state = required(connection, version.campaign.name)
        if state.state != "live" or state.scanned_to is None:
            raise EvergreetError(f"Campaign {state.name!r} is {state.state}: launch it before taking history in.")
        savepoint = connection.begin_nested()
        reach = Reach(0, state.scanned_to, since)
        new = _insert(connection, version, reach, now)
        count = new.active
        if confirm is None:
            savepoint.rollback()
            return count
        if confirm != count:
            raise EvergreetError(
                f"{count} enrollments would be made since {since:%Y-%m-%d %H:%M} UTC, not {confirm}. "
                f"Nothing is stored; look again and confirm with {count}."
            )
        savepoint.commit()
        if reach.low < reach.high:
            connection.execute(
                Stretch.__table__.insert().values(  # type: ignore[attr-defined]
                    campaign_id=state.id,
                    kind="backfill",
                    low=0,
                    high=reach.high,
                    since=since,
                    enrolled=new.active + new.excluded,
                    at=now,
                )
            )
        record(connection, now, actor, "campaign backfill", state.name, since=since.isoformat(), enrolled=count)
        return count


def _insert(connection: Connection, version: Version, reach: Reach, now: datetime) -> Enrolled:
    campaign = version.campaign
    queries = [_by_event(campaign, trigger, reach) for trigger in campaign.trigger.events]
    queries += [_by_stage(campaign, trigger, reach) for trigger in campaign.trigger.stages]
    before = connection.execute(select(func.coalesce(func.max(col(Enrollment.id)), 0))).scalar_one()
    if isinstance(campaign.re_entry, Duration):
        new = sum(_spaced(connection, version, query, campaign.re_entry.span, now) for query in queries)
    else:
        new = sum(
            insert_select_ignore(connection, Enrollment, COLUMNS, _rows(version, query, now)) for query in queries
        )
    if new == 0:
        return Enrolled()
    excluded = connection.execute(
        select(func.count()).where(
            col(Enrollment.id) > before, col(Enrollment.campaign_id) == version.campaign_id,
            col(Enrollment.state) == "excluded",
        )
    ).scalar_one()  # fmt: skip
    return Enrolled(new - excluded, excluded)


def _by_event(campaign: Campaign, trigger: EventTrigger, reach: Reach) -> Select[Any]:
    """Who met the trigger: contact, occurrence, cause, moment; the first ingested first."""
    return select(
        col(Event.contact_id).label("contact_id"),
        _occurrence(campaign).label("occurrence"),
        col(Event.id).label("cause_event_id"),
        cast(null(), Id).label("cause_transition_id"),
        col(Event.occurred_at).label("caused_at"),
        col(Event.position).label("position"),
        col(Event.id).label("row_id"),
    ).where(
        col(Event.position) >= reach.low,
        col(Event.position) < reach.high,
        col(Event.name) == trigger.name,
        col(Event.revision) == 0,
        col(Event.occurred_at) >= reach.since,
        col(Event.contact_id).is_not(None),
    )


def _by_stage(campaign: Campaign, trigger: StageTrigger, reach: Reach) -> Select[Any]:
    own = literal("transition:") + cast(col(Transition.id), String)
    occurrence = _occurrence(campaign)
    cause = aliased(Event)  # may be a correction, which is an occurrence of the event as it was first told
    return (
        select(
            col(Transition.contact_id).label("contact_id"),
            (
                occurrence if campaign.re_entry == "once" else case((col(Event.id).is_(None), own), else_=occurrence)
            ).label("occurrence"),
            col(Transition.cause_event_id).label("cause_event_id"),
            col(Transition.id).label("cause_transition_id"),
            col(Transition.at).label("caused_at"),
            col(Transition.position).label("position"),
            col(Transition.id).label("row_id"),
        )
        .outerjoin(cause, col(cause.id) == col(Transition.cause_event_id))
        .outerjoin(
            Event,
            and_(
                col(Event.source) == col(cause.source),
                col(Event.source_id) == col(cause.source_id),
                col(Event.revision) == 0,
            ),
        )
        .where(
            col(Transition.position) >= reach.low,
            col(Transition.position) < reach.high,
            col(Transition.to_stage) == trigger.stage,
            col(Transition.at) >= reach.since,
        )
    )


def _occurrence(campaign: Campaign) -> ColumnElement[str]:
    """What makes an enrollment unique: the causing event, by its key property where the trigger names one.

    The same for an event and for the transition that it caused; corrections share the source id.
    """
    if campaign.re_entry == "once":
        return literal("once")
    plain = literal("event:") + col(Event.source) + literal(":") + col(Event.source_id)
    keyed = [
        (
            and_(col(Event.name) == trigger.name, key.is_not(None)),
            literal(f"{trigger.name}:") + key,
        )
        for trigger in campaign.trigger.events
        if trigger.key is not None
        for key in [cast(col(Event.properties)[trigger.key].as_string(), String)]
    ]
    whole = case(*keyed, else_=plain) if keyed else plain
    return func.substr(whole, 1, OCCURRENCE_LENGTH)


def _rows(version: Version, query: Select[Any], now: datetime) -> Select[Any]:
    """Turn met triggers into enrollment rows: inside the audience active, outside excluded."""
    met = query.subquery("met")
    contact = Contact.__table__  # type: ignore[attr-defined]
    campaign = version.campaign
    inside = compile_condition(campaign.audience, Scope(contact, literal(now, Instant())))
    first = campaign.steps[0]
    due: ColumnElement[Any] = shift(met.c.caused_at, first.after.span) if first.at is None else cast(null(), Instant())
    return (
        select(
            literal(version.campaign_id), literal(version.id), met.c.contact_id, met.c.occurrence,
            met.c.cause_event_id, met.c.cause_transition_id, met.c.caused_at, literal(now, Instant()),
            case((inside, "active"), else_="excluded"), case((inside, ""), else_="not_in_audience"),
            case((inside, first.key), else_=null()), case((inside, due), else_=null()),
        )
        .select_from(met.join(contact, contact.c.id == met.c.contact_id))
        .order_by(met.c.position, met.c.row_id)
    )  # fmt: skip


def _spaced(connection: Connection, version: Version, query: Select[Any], span: timedelta, now: datetime) -> int:
    """Enroll so that two enrollments of a contact are at least `span` apart, in order of time.

    No unique key can say this; it rests on the one enroller per campaign. Each round takes every contact's
    earliest trigger that is not recorded yet; triggers too close to an enrollment are excluded.
    """
    new = 0
    while True:
        met = query.subquery("candidate")
        known = exists().where(
            col(Enrollment.campaign_id) == version.campaign_id,
            col(Enrollment.contact_id) == met.c.contact_id,
            col(Enrollment.occurrence) == met.c.occurrence,
        )
        order = func.row_number().over(
            partition_by=met.c.contact_id, order_by=(met.c.caused_at, met.c.position, met.c.row_id)
        )
        ranked = select(met, order.label("rank")).where(~known).subquery("ranked")
        earliest = select(*(ranked.c[column.name] for column in met.c)).where(ranked.c.rank == 1)
        one = earliest.subquery("one")
        close = exists().where(
            col(Enrollment.campaign_id) == version.campaign_id,
            col(Enrollment.contact_id) == one.c.contact_id,
            col(Enrollment.state) != "excluded",
            col(Enrollment.caused_at) > shift(one.c.caused_at, -span),
            col(Enrollment.caused_at) < shift(one.c.caused_at, span),
        )
        excluded = select(
            literal(version.campaign_id), literal(version.id), one.c.contact_id, one.c.occurrence,
            one.c.cause_event_id, one.c.cause_transition_id, one.c.caused_at, literal(now, Instant()),
            literal("excluded"), literal("re_entry"), null(), null(),
        ).where(close)  # fmt: skip
        blocked = insert_select_ignore(connection, Enrollment, COLUMNS, excluded)
        taken = insert_select_ignore(connection, Enrollment, COLUMNS, _rows(version, select(one).where(~close), now))
        new += blocked + taken
        if blocked + taken == 0:
            return new


def schedule(connection: Connection, versions: dict[int, Version], campaign_id: int, default_zone: str) -> int:
    """Compute the due time of up to `SCHEDULE_BATCH` enrollments whose next step has a local time; return how many."""
    rows = connection.execute(
        select(
            col(Enrollment.id), col(Enrollment.version_id), col(Enrollment.next_step), col(Enrollment.caused_at),
            col(Contact.timezone),
        )
        .join(Contact, col(Contact.id) == col(Enrollment.contact_id))
        .where(
            col(Enrollment.campaign_id) == campaign_id,
            col(Enrollment.state) == "active",
            col(Enrollment.next_due_at).is_(None),
            col(Enrollment.next_step).is_not(None),
        )
        .order_by(col(Enrollment.id))
        .limit(SCHEDULE_BATCH)
    ).all()  # fmt: skip
    due = []
    for row in rows:
        step = versions[row.version_id].campaign.step(row.next_step)
        zone = zone_of(row.timezone, default_zone)
        if step is not None:
            due.append({"row": row.id, "of": step.key, "due": due_time(step, row.caused_at, zone), "in_zone": zone.key})
    if due:
        table = Enrollment.__table__  # type: ignore[attr-defined]
        connection.execute(
            table.update()
            .where(table.c.id == bindparam("row"), table.c.next_step == bindparam("of"), table.c.next_due_at.is_(None))
            .values(next_due_at=bindparam("due"), zone=bindparam("in_zone")),
            due,
        )
    return len(due)
