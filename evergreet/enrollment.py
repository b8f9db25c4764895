"""Enroll: the trigger and the audience as one set-based INSERT … SELECT per trigger, over what is new.

Every trigger that is met becomes a row, also for those outside the audience (`excluded`), so that nobody
can be missed without a trace. The cursors, of ingestion and of the clock, move in the same transaction.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    String,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    null,
    or_,
    select,
    text,
    update,
)
from sqlmodel import col

from evergreet.audience import Scope, compile_condition, shift
from evergreet.broadcasts import announce
from evergreet.campaign import AnniversaryTrigger, Trigger
from evergreet.campaigns import ACTIVE, State, Version, hold_off, record, required
from evergreet.causes import Reach, by_event, by_stage
from evergreet.clock import Clock
from evergreet.clock_causes import Span, anniversaries, late_anniversaries, late_silences, met_anniversaries, silences
from evergreet.comparisons import DocumentText, in_document
from evergreet.database import Database, exclusive, settled_position
from evergreet.durations import Duration
from evergreet.errors import EvergreetError
from evergreet.schedule import due_time, zone_of
from evergreet.store import checked, given, insert_select_ignore, paired
from models import CampaignRow, ClockStretch, Contact, Enrollment, Instant, Stretch
from models.base import Id

COLUMNS = (
    "campaign_id", "version_id", "contact_id", "occurrence", "cause_event_id", "cause_transition_id",
    "caused_at", "enrolled_at", "state", "reason", "next_step", "next_due_at",
)  # fmt: skip
SCHEDULE_BATCH = 5_000
_Met: TypeAlias = tuple[Trigger, Select[Any]]
"""A trigger, and who met it."""
COUNTRY = in_document(DocumentText, Contact.__table__.c.attributes, "country")  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Enrolled:
    """How many enrollments are new: those in the audience, and those recorded as excluded."""

    active: int = 0
    excluded: int = 0


@dataclass(frozen=True, slots=True)
class _New:
    """How many rows are new, by the cursor they were found by, and the sum as people read it."""

    by_position: int
    by_clock: int
    enrolled: Enrolled


def enroll(connection: Connection, state: State, version: Version, now: datetime, zone: str = "UTC") -> Enrolled:
    """Scan everything ingested since the last time, and the time that has passed; return what is new.

    One enroller per campaign at a time: the named lock. `state` is read again under it. `zone` is that of
    contacts whose own is not known.
    """
    exclusive(connection, f"enroll:{state.name}")
    state = required(connection, state.name)
    high = settled_position(connection)
    if state.scanned_to is not None and high < state.scanned_to:
        raise EvergreetError(
            f"Campaign {state.name!r} has scanned up to position {state.scanned_to}, but the database has only "
            f"reached {high}: it was restored from a logical backup into a new server. Restore a physical backup "
            "(transaction ids go on), or see docs/operations.md, Restore."
        )
    if state.state != "live" or state.live_since is None or state.scanned_to is None:
        return Enrolled()
    reach = Reach(state.scanned_to, high, state.live_since)
    span = _time_passed(connection, state, version, now)
    if reach.low == reach.high and span is None:
        return Enrolled()
    new = _insert(connection, version, reach, span, _followed(state), now, zone)
    announced = announce(connection, state, version, reach, now)
    if reach.low < reach.high:
        _extend(connection, state.id, reach, new.by_position, now)
        connection.execute(update(CampaignRow).where(col(CampaignRow.id) == state.id).values(scanned_to=high))
    if span is not None:
        _extend_clock(connection, state.id, span, new.by_clock, now)
        connection.execute(update(CampaignRow).where(col(CampaignRow.id) == state.id).values(clock_to=span.high))
    return Enrolled(new.enrolled.active + announced, new.enrolled.excluded)


def _time_passed(connection: Connection, state: State, version: Version, now: datetime) -> Span | None:
    """Return the stretch of time to look at, where the version has triggers that follow the clock."""
    if not version.campaign.trigger.by_clock:
        return None
    if state.clock_to is None:  # it follows the clock from now on: what lasted before is taken as it is
        connection.execute(
            update(CampaignRow).where(col(CampaignRow.id) == state.id).values(clock_from=now, clock_to=now)
        )
        return None
    assert state.live_since is not None
    return Span(state.clock_to, now, state.live_since) if now > state.clock_to else None


def _followed(state: State) -> Span | None:
    """Return the time that was followed since the campaign went live: what comes late counts where it belongs there."""
    if state.clock_from is None or state.clock_to is None or state.live_since is None:
        return None
    since = max(state.live_since, state.clock_from)  # a trigger that was added later began to count then
    return Span(since, state.clock_to, since)


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


def _extend_clock(connection: Connection, campaign_id: int, span: Span, new: int, now: datetime) -> None:
    """Record the stretch of time, as `_extend` does for positions."""
    grown = 0
    if new == 0:
        newest = select(func.max(col(ClockStretch.low))).where(
            col(ClockStretch.campaign_id) == campaign_id, text("kind <> 'backfill'")
        )
        grown = connection.execute(
            update(ClockStretch)
            .where(
                col(ClockStretch.campaign_id) == campaign_id, col(ClockStretch.kind) == "scan",
                col(ClockStretch.low) == newest.scalar_subquery(), col(ClockStretch.high) == span.low,
                col(ClockStretch.enrolled) == 0,
            )
            .values(high=span.high, at=now)
        ).rowcount  # fmt: skip
    if not grown:
        connection.execute(
            ClockStretch.__table__.insert().values(  # type: ignore[attr-defined]
                campaign_id=campaign_id, kind="scan", low=span.low, high=span.high, enrolled=new, at=now
            )
        )


def backfill(
    database: Database, version: Version, since: datetime, *, clock: Clock, actor: str, confirm: int | None,
    zone: str = "UTC",
) -> int:  # fmt: skip
    """Take history into a live campaign: everything ingested so far that happened since `since`.

    Counts first: without `confirm` nothing is stored and the count is returned; with it, the count must
    still be the same. Broadcasts of the past are not repeated.
    """
    with database.write() as connection:
        hold_off(connection, version.campaign.name)
        now = clock.now(connection)
        state = required(connection, version.campaign.name)
        if state.state != "live" or state.scanned_to is None:
            raise EvergreetError(f"Campaign {state.name!r} is {state.state}: launch it before taking history in.")
        savepoint = connection.begin_nested()
        reach = Reach(0, state.scanned_to, since)
        span = None
        if version.campaign.trigger.by_clock and state.clock_to is not None and since < state.clock_to:
            span = Span(since, state.clock_to, since)
        new = _insert(connection, version, reach, span, None, now, zone)
        count = new.enrolled.active
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
                    campaign_id=state.id, kind="backfill", low=0, high=reach.high, since=since,
                    enrolled=new.by_position, at=now,
                )
            )  # fmt: skip
        if span is not None:
            connection.execute(
                ClockStretch.__table__.insert().values(  # type: ignore[attr-defined]
                    campaign_id=state.id, kind="backfill", low=span.low, high=span.high, enrolled=new.by_clock, at=now
                )
            )
        record(connection, now, actor, "campaign backfill", state.name, since=since.isoformat(), enrolled=count)
        return count


def _insert(
    connection: Connection,
    version: Version,
    reach: Reach,
    span: Span | None,
    followed: Span | None,
    now: datetime,
    zone: str,
) -> _New:
    """Enroll by both cursors; `followed` is the time that was looked at before, for what comes late."""
    before = connection.execute(select(func.coalesce(func.max(col(Enrollment.id)), 0))).scalar_one()
    by_clock = sum(_take(connection, version, met, now) for met in _by_clock(connection, version, reach, span, zone))
    by_position = sum(
        _take(connection, version, met, now) for met in _by_position(connection, version, reach, followed, zone)
    )
    new = by_position + by_clock
    if new == 0:
        return _New(0, 0, Enrolled())
    excluded = connection.execute(
        select(func.count()).where(
            col(Enrollment.id) > before,
            checked(col(Enrollment.campaign_id) == version.campaign_id, col(Enrollment.state) == "excluded"),
        )
    ).scalar_one()  # fmt: skip
    return _New(by_position, by_clock, Enrolled(new - excluded, excluded))


def _by_position(
    connection: Connection, version: Version, reach: Reach, followed: Span | None, zone: str
) -> Iterator[_Met]:
    """Yield who met the triggers by what was ingested in `reach`."""
    campaign = version.campaign
    if reach.low == reach.high:
        return
    for event in campaign.trigger.events:
        yield event, by_event(campaign, event, reach)
    for stage in campaign.trigger.stages:
        yield stage, by_stage(campaign, stage, reach)
    if followed is not None:
        late = Reach(reach.low, reach.high, followed.since)
        for silence in campaign.trigger.silences:
            for query in late_silences(campaign, silence, followed.high, late):
                yield silence, query
        for trigger in campaign.trigger.anniversaries:
            found = late_anniversaries(connection, trigger, followed.high, late, zone)
            for query in met_anniversaries(campaign, found):
                yield trigger, query


def _by_clock(connection: Connection, version: Version, reach: Reach, span: Span | None, zone: str) -> Iterator[_Met]:
    """Yield who met the triggers by the passing of the time in `span`."""
    campaign = version.campaign
    if span is None:
        return
    for silence in campaign.trigger.silences:
        yield silence, silences(campaign, silence, span, reach)
    for trigger in campaign.trigger.anniversaries:
        for query in met_anniversaries(campaign, anniversaries(connection, trigger, span, zone)):
            yield trigger, query


def _take(connection: Connection, version: Version, met: _Met, now: datetime) -> int:
    """Enroll who met a trigger; return how many rows are new."""
    trigger, query = met
    re_entry = version.campaign.re_entry
    span = re_entry.span if isinstance(re_entry, Duration) else None
    if span is None and (re_entry == "once" or not isinstance(trigger, AnniversaryTrigger)):
        return insert_select_ignore(connection, Enrollment, COLUMNS, _rows(version, query, now))
    return _spaced(connection, version, query, span, now)


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


def _spaced(connection: Connection, version: Version, query: Select[Any], span: timedelta | None, now: datetime) -> int:
    """Enroll so that two enrollments of a contact are at least `span` apart, in order of time.

    Anniversaries are alone among themselves within their bounds: when the date of the first event is corrected, the
    next one would otherwise follow too soon.
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
            or_(*_too_near(one, span)),
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


def _too_near(one: FromClause, span: timedelta | None) -> Iterator[ColumnElement[bool]]:
    """Yield what makes an enrollment one beside which another may not begin."""
    at = col(Enrollment.caused_at)
    if span is not None:
        yield and_(at > shift(one.c.caused_at, -span), at < shift(one.c.caused_at, span))
    if "alone_from" in one.c:
        theirs = col(Enrollment.occurrence).startswith("anniversary:")
        yield and_(theirs, at >= one.c.alone_from, at < one.c.alone_until)


_DUE = given("due", enrollment=Id, step=String(), at=Instant(), zone=String())
_SCHEDULE = (
    update(Enrollment)
    .where(
        paired(Enrollment.id, _DUE.c.enrollment, "enrollments"),
        checked(col(Enrollment.next_step) == _DUE.c.step, col(Enrollment.next_due_at).is_(None)),
    )
    .values(next_due_at=_DUE.c.at, zone=_DUE.c.zone)
)


def schedule(connection: Connection, versions: dict[int, Version], campaign_id: int, default_zone: str) -> int:
    """Compute the due time of up to `SCHEDULE_BATCH` enrollments whose next step has a local time; return how many."""
    rows = connection.execute(
        select(
            col(Enrollment.id), col(Enrollment.version_id), col(Enrollment.next_step), col(Enrollment.caused_at),
            col(Enrollment.counted_at), col(Contact.timezone), COUNTRY.label("country"),
        )
        .join(Contact, col(Contact.id) == col(Enrollment.contact_id))
        .where(
            col(Enrollment.campaign_id) == campaign_id,
            ACTIVE,
            col(Enrollment.next_due_at).is_(None),
            col(Enrollment.next_step).is_not(None),
        )
        .order_by(col(Enrollment.id))
        .limit(SCHEDULE_BATCH)
    ).all()  # fmt: skip
    due = []
    for row in rows:
        step = versions[row.version_id].campaign.step(row.next_step)
        zone = zone_of(row.timezone, default_zone, row.country)
        if step is not None:
            due_at = due_time(step, row.counted_at or row.caused_at, zone)
            due.append((row.id, step.key, due_at, zone.key))
    if due:
        connection.execute(_SCHEDULE, {"enrollments": [row[0] for row in due], "due": due})
    return len(due)
