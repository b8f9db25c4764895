"""Who met a trigger by the passing of time: silences that have lasted long enough, and anniversaries.

A campaign looks at each stretch of time once. What is ingested late, with a time that lies before that, is
found by its ingest position instead, so that a late event counts here as well.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    UnaryExpression,
    and_,
    cast,
    column,
    exists,
    false,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
    values,
)
from sqlalchemy import String as Text
from sqlalchemy.orm import aliased
from sqlalchemy.sql.operators import inv
from sqlmodel import col

from evergreet.audience import shift
from evergreet.campaign import AnniversaryTrigger, Campaign, SilenceTrigger
from evergreet.causes import OCCURRENCE_LENGTH, Reach
from evergreet.comparisons import DocumentText, in_document
from evergreet.schedule import at_local, zone_of
from models import Contact, Event, Instant
from models.base import Id

EASTERNMOST = timedelta(hours=14)
"""No clock is further ahead of UTC, so no day begins earlier anywhere."""

OVERLAP = timedelta(days=2)
"""Days looked at again: a contact who moves to another zone may have an anniversary a day earlier than before."""

ROWS_PER_STATEMENT = 500
LAST, FOLLOWING, EARLIER, NEWS, TOLD, NEWER = (
    Event.__table__.alias(name)  # type: ignore[attr-defined]
    for name in ("last_event", "following", "earlier", "news", "told", "newer")
)
RANGES_PER_UNION = 200
"""SQLite joins at most 500 queries in a union."""


def current(event: Any) -> ColumnElement[bool]:
    """Not superseded, in the words of the partial indexes: SQLite takes no other spelling for the same."""
    superseded: Any = event.superseded
    return UnaryExpression(superseded, operator=inv, type_=Boolean())


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, `low` ≤ moment < `high`; what happened before `since` does not count."""

    low: datetime
    high: datetime
    since: datetime


def silences(campaign: Campaign, trigger: SilenceTrigger, span: Span, reach: Reach) -> Select[Any]:
    """Who has been silent for so long, the moment of that within `span`; among what was ingested below `reach.high`."""
    length = trigger.span.span
    return _silent(trigger, campaign.re_entry == "once").where(
        LAST.c.occurred_at >= literal(span.low - length, Instant()),
        LAST.c.occurred_at < literal(span.high - length, Instant()),
        LAST.c.occurred_at >= literal(span.since - length, Instant()),
        LAST.c.position < reach.high,
    )


def late_silences(campaign: Campaign, trigger: SilenceTrigger, before: datetime, reach: Reach) -> Iterator[Select[Any]]:
    """Who turns out, by what was ingested in `reach`, to have been silent for so long already `before` that moment.

    By the last event itself; and by what was told about the contact otherwise: an earlier event that the trigger
    asks for (`having`), or a correction, which may have taken away what broke the silence.
    """
    length = trigger.span.span
    ended = literal(before - length, Instant())
    silent = _silent(trigger, campaign.re_entry == "once").where(
        LAST.c.occurred_at < ended, LAST.c.occurred_at >= literal(reach.since - length, Instant()),
        LAST.c.position < reach.high,
    )  # fmt: skip

    def ingested(row: FromClause) -> ColumnElement[bool]:
        return and_(row.c.position >= reach.low, row.c.position < reach.high)

    yield silent.where(LAST.c.id.in_(select(NEWS.c.id).where(ingested(NEWS))))
    yield silent.where(
        LAST.c.contact_id.in_(  # whose it was before it was corrected, and whose it is
            select(TOLD.c.contact_id)
            .join(NEWER, and_(NEWER.c.source == TOLD.c.source, NEWER.c.source_id == TOLD.c.source_id))
            .where(ingested(NEWER), NEWER.c.revision > 0)
        )
    )
    if trigger.having:
        bought = select(NEWS.c.contact_id).where(
            ingested(NEWS), NEWS.c.name.in_(trigger.having), NEWS.c.occurred_at < ended
        )
        yield silent.where(LAST.c.contact_id.in_(bought))


@lru_cache(maxsize=64)
def _silent(trigger: SilenceTrigger, once: bool) -> Select[Any]:
    """Who fell silent after an event `LAST`; kept, because writing it down costs more than asking it."""
    broken = exists().where(
        FOLLOWING.c.contact_id == LAST.c.contact_id,
        FOLLOWING.c.name.in_(trigger.broken_by),
        ~FOLLOWING.c.superseded,
        or_(
            FOLLOWING.c.occurred_at > LAST.c.occurred_at,
            and_(
                FOLLOWING.c.occurred_at == LAST.c.occurred_at,
                or_(FOLLOWING.c.id > LAST.c.id, FOLLOWING.c.name.in_(trigger.breakers)),
            ),
        ),
        FOLLOWING.c.occurred_at <= shift(LAST.c.occurred_at, trigger.span.span),
    )
    having: list[ColumnElement[bool]] = []
    if trigger.having:
        having.append(
            exists().where(
                EARLIER.c.contact_id == LAST.c.contact_id, EARLIER.c.name.in_(trigger.having),
                ~EARLIER.c.superseded, EARLIER.c.occurred_at <= LAST.c.occurred_at,
            )
        )  # fmt: skip
    name = literal("silence:") + LAST.c.source + literal(":") + LAST.c.source_id
    return select(
        LAST.c.contact_id,
        (literal("once") if once else func.substr(name, 1, OCCURRENCE_LENGTH)).label("occurrence"),
        LAST.c.id.label("cause_event_id"),
        cast(null(), Id).label("cause_transition_id"),
        LAST.c.occurred_at.label("caused_at"),
        LAST.c.position,
        LAST.c.id.label("row_id"),
    ).where(LAST.c.name.in_(trigger.after), current(LAST.c), LAST.c.contact_id.is_not(None), ~broken, *having)


@dataclass(frozen=True, slots=True)
class Anniversary:
    """One anniversary of one contact, which begins at `at` where they live; `occurrence` names it.

    From `alone_from` to before `alone_until` it is the only one: half a period before and after it, and all of the
    year it lies in (or of what takes its place, with another number of months). What was not corrected is always that.
    """

    contact_id: int
    occurrence: str
    event_id: int
    position: int
    at: datetime
    alone_from: datetime
    alone_until: datetime


def anniversary_name(nth: int, on: date, event: Any) -> str:
    """Name the n-th anniversary of an event: with its month, because a corrected event has the n-th at another time,
    and with the event, because two contacts with one address have each their own."""
    return f"anniversary:{nth}:{on:%Y-%m}:{event.source}:{event.source_id}"[:OCCURRENCE_LENGTH]


def days_begun(moment: datetime) -> date:
    """Return the last day that has begun somewhere on earth."""
    return (moment + EASTERNMOST).astimezone(UTC).date()


def anniversaries(
    connection: Connection, trigger: AnniversaryTrigger, span: Span, default_zone: str
) -> list[Anniversary]:
    """Find the anniversaries whose day begins within `span`, where each contact lives."""
    first, last = days_begun(span.low) - OVERLAP, days_begun(span.high)
    rows = connection.execute(_firsts(trigger).where(_near(connection, trigger, first, last)))
    return [one for row in rows for one in _of_contact(trigger, row, default_zone, first, last, span.since)]


def late_anniversaries(
    connection: Connection, trigger: AnniversaryTrigger, until: datetime, reach: Reach, default_zone: str
) -> list[Anniversary]:
    """Find the anniversaries up to `until` of contacts about whose first events something was ingested in `reach`."""
    touched = select(col(Event.contact_id)).where(
        col(Event.position) >= reach.low, col(Event.position) < reach.high, col(Event.name).in_(trigger.of)
    )
    first, last = reach.since.date() - OVERLAP, days_begun(until)
    rows = connection.execute(_firsts(trigger).where(col(Contact.id).in_(touched)))
    return [one for row in rows for one in _of_contact(trigger, row, default_zone, first, last, reach.since)]


def _firsts(trigger: AnniversaryTrigger) -> Select[Any]:
    """The first event of each contact, with where the contact lives."""
    earlier = aliased(Event)
    before = exists().where(
        col(earlier.contact_id) == col(Event.contact_id), col(earlier.name).in_(trigger.of), ~col(earlier.superseded),
        or_(
            col(earlier.occurred_at) < col(Event.occurred_at),
            and_(col(earlier.occurred_at) == col(Event.occurred_at), col(earlier.id) < col(Event.id)),
        ),
    )  # fmt: skip
    return (
        select(
            col(Event.contact_id), col(Event.id), col(Event.position), col(Event.occurred_at), col(Event.source),
            col(Event.source_id), col(Contact.timezone),
            in_document(DocumentText, Contact.__table__.c.attributes, "country").label("country"),  # type: ignore[attr-defined]
        )
        .join(Contact, col(Contact.id) == col(Event.contact_id))
        .where(col(Event.name).in_(trigger.of), current(Event), col(Contact.erased_at).is_(None), ~before)
    )  # fmt: skip


def _near(connection: Connection, trigger: AnniversaryTrigger, first: date, last: date) -> ColumnElement[bool]:
    """Narrow by the index to events around the days whose anniversaries these are, whichever the zone."""
    found = [  # one by one: then the index knows the first of each
        connection.execute(select(func.min(col(Event.occurred_at))).where(col(Event.name) == name, current(Event)))
        for name in trigger.of
    ]
    oldest = min((at for rows in found if (at := rows.scalar_one()) is not None), default=None)
    ranges: list[Select[Any]] = []
    nth = 1
    while oldest is not None:
        begin, end = (
            add_months(day - timedelta(days=trigger.shift), -nth * trigger.months) for day in (first, last)
        )  # a month's end is shorter or longer by up to three days, and zones differ by up to two
        low, high = (datetime.combine(day, time(), UTC) for day in (begin - timedelta(days=5), end + timedelta(days=6)))
        if high < oldest:
            break
        ranges.append(
            select(col(Event.id)).where(
                col(Event.name).in_(trigger.of), current(Event), col(Event.occurred_at).between(low, high)
            )
        )
        nth += 1
    parts = [ranges[start : start + RANGES_PER_UNION] for start in range(0, len(ranges), RANGES_PER_UNION)]
    return or_(false(), *(col(Event.id).in_(union_all(*part)) for part in parts))


def _of_contact(
    trigger: AnniversaryTrigger, row: Any, default_zone: str, first: date, last: date, since: datetime
) -> Iterator[Anniversary]:
    zone = zone_of(row.timezone, default_zone, row.country)
    day = row.occurred_at.astimezone(zone).date()
    shifted = timedelta(days=trigger.shift)
    months = (first.year - day.year) * 12 + first.month - day.month
    nth = max(1, (months - 1) // trigger.months - 1)
    half = timedelta(days=15 * trigger.months)
    while (on := add_months(day, nth * trigger.months) + shifted) <= last:
        begins = at_local(on, time(), zone)
        if on >= first and begins >= since:
            year = (on - shifted).replace(day=1)
            year = add_months(year, -((year.year * 12 + year.month - 1) % trigger.months))
            ends = add_months(year, trigger.months)
            low, high = (at_local(each + shifted, time(), zone) for each in (year, ends))
            yield Anniversary(
                row.contact_id, anniversary_name(nth, on, row), row.id, row.position, begins,
                min(begins - half, low), max(begins + half, high),
            )  # fmt: skip
        nth += 1


def add_months(day: date, months: int) -> date:
    """Return the same day so many months later (or earlier), the month's last where it has no such day."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        return date.max if year > 0 else date.min + timedelta(days=10)
    for last in range(day.day, 27, -1):
        try:
            return date(year, month + 1, last)
        except ValueError:
            continue
    return date(year, month + 1, day.day)


def met_anniversaries(campaign: Campaign, found: Sequence[Anniversary]) -> Iterator[Select[Any]]:
    """Yield the anniversaries as queries with the columns of all triggers and their bounds, some hundred rows each."""
    once = campaign.re_entry == "once"
    for start in range(0, len(found), ROWS_PER_STATEMENT):
        rows = [
            (
                one.contact_id,
                "once" if once else one.occurrence,
                one.event_id,
                one.at,
                one.position,
                one.alone_from,
                one.alone_until,
            )
            for one in found[start : start + ROWS_PER_STATEMENT]
        ]
        table = (
            values(
                column("contact_id", Id), column("occurrence", Text), column("cause_event_id", Id),
                column("caused_at", Instant()), column("position", Id), column("alone_from", Instant()),
                column("alone_until", Instant()), name="anniversary",
            )
            .data(rows)
            .cte(nesting=True)  # before the INSERT instead of inside, SQLite counts no rows
        )  # fmt: skip
        yield select(
            table.c.contact_id, table.c.occurrence, table.c.cause_event_id,
            cast(null(), Id).label("cause_transition_id"), table.c.caused_at, table.c.position,
            table.c.cause_event_id.label("row_id"), table.c.alone_from, table.c.alone_until,
        )  # fmt: skip
