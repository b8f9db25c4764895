"""Explain what time brings, or did not bring, to one contact: silences, anniversaries, broadcasts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from sqlalchemy import Connection, and_, or_, select
from sqlmodel import col

from evergreet.campaign import AnniversaryTrigger, SilenceTrigger
from evergreet.campaigns import State
from evergreet.causes import OCCURRENCE_LENGTH
from evergreet.clock_causes import add_months
from evergreet.schedule import at_local, zone_of
from evergreet.wording import moment, one_of, ordinal, span_in_words
from models import Broadcast, Event

LOOKED_BACK = 20
"""Broadcasts that are spoken of; older ones are in `evergreet broadcasts`."""


@dataclass(frozen=True, slots=True)
class Line:
    """One fact about a contact and a campaign, in order of time."""

    at: datetime | None
    what: str
    detail: str = ""


def silence_lines(
    connection: Connection, state: State, contact: Any, trigger: SilenceTrigger, known: set[str], now: datetime
) -> Iterator[Line]:
    """Say how the contact's present silence stands: since when, until when, and what broke it."""
    span = span_in_words(trigger.span)
    last = _event(connection, contact.id, trigger.after, newest=True)
    if last is None:
        yield Line(state.live_since, "no silence", f"the contact never did {one_of(trigger.after)}")
        return
    over = last.occurred_at + trigger.span.span
    said = f"last sign of life {moment(last.occurred_at)} {last.name}"
    broken = _event(connection, contact.id, trigger.broken_by, after=last, breakers=trigger.breakers)
    if f"silence:{last.source}:{last.source_id}"[:OCCURRENCE_LENGTH] in known or "once" in known:
        if broken is not None:
            yield Line(broken.occurred_at, "came back", f"{broken.name} {moment(broken.occurred_at)}")
        return
    if broken is not None and broken.occurred_at <= over:
        yield Line(
            broken.occurred_at, "no silence",
            f"{last.name} {moment(last.occurred_at)}, broken by {broken.name} {moment(broken.occurred_at)}, "
            f"within {span}",
        )  # fmt: skip
    elif trigger.having and not _did_before(connection, contact.id, trigger.having, last):
        yield Line(over, "silence does not count", f"{said}, and never before {one_of(trigger.having)}")
    elif over > now:
        yield Line(over, "silent", f"{said}; {span} end on {moment(over)}")
    else:
        yield Line(
            over, "silence: did not enroll", f"{said}; {span} ended on {moment(over)}; {_why(state, over, last)}"
        )


def _why(state: State, at: datetime, cause: Any) -> str:
    """Say why what fell due by the clock at that moment made no enrollment."""
    assert state.live_since is not None
    if at < state.live_since:
        return f"before the campaign went live ({moment(state.live_since)})"
    looked = state.clock_to is not None and at < state.clock_to
    seen = state.scanned_to is None or cause.position < state.scanned_to
    return "passed over while the campaign was stopped" if looked and seen else "the next run will see it"


def anniversary_lines(
    connection: Connection,
    state: State,
    contact: Any,
    trigger: AnniversaryTrigger,
    known: set[str],
    now: datetime,
    default_zone: str,
) -> Iterator[Line]:
    """Say which anniversary comes next, and why the last one made no enrollment where it did not."""
    first = _event(connection, contact.id, trigger.of, newest=False)
    if first is None:
        yield Line(state.live_since, "no anniversary", f"the contact never did {one_of(trigger.of)}")
        return
    if "once" in known:
        return
    country = contact.attributes.get("country")
    zone = zone_of(contact.timezone, default_zone, country if isinstance(country, str) else None)
    day = first.occurred_at.astimezone(zone).date()

    def begins(nth: int) -> datetime:
        return at_local(add_months(day, nth * trigger.months) + timedelta(days=trigger.shift), time(), zone)

    nth = 1
    while begins(nth) <= now:
        nth += 1
    of = f"of {first.name} on {day}"
    if nth > 1 and not any(name.startswith(f"anniversary:{nth - 1}:") for name in known):
        why = _why(state, begins(nth - 1), first)
        yield Line(begins(nth - 1), f"{ordinal(nth - 1)} anniversary: did not enroll", f"{of}; {why}")
    on = begins(nth).astimezone(zone)
    yield Line(begins(nth), f"{ordinal(nth)} anniversary", f"{of}; begins on {on:%Y-%m-%d} in {zone.key}")


def broadcast_lines(
    connection: Connection, state: State, contact: Any, known: set[str], unmet: Callable[[datetime], str]
) -> Iterator[Line]:
    """Say of each broadcast that did not enroll the contact why; `unmet` names what they did not meet at a time."""
    rows = connection.execute(
        select(Broadcast)
        .where(col(Broadcast.campaign_id) == state.id, col(Broadcast.occurrence).not_in(known))
        .order_by(col(Broadcast.id).desc())
        .limit(LOOKED_BACK)
    ).all()
    for row in reversed(rows):
        what = f"broadcast {row.occurrence}"
        if row.state == "waiting":
            yield Line(
                row.at, f"{what}: waits", f"for somebody's word: {row.counted:,} recipients (`evergreet broadcasts`)"
            )
        elif row.state == "cancelled":
            yield Line(row.at, f"{what}: cancelled", f"by {row.decided_by}; nobody got it")
        elif contact.created_at > row.frozen_at:
            joined = f"they joined later ({moment(contact.created_at)})"
            yield Line(row.frozen_at, f"{what}: not in its frozen audience", joined)
        else:
            yield Line(row.frozen_at, f"{what}: not in its frozen audience", unmet(row.frozen_at))


def _event(
    connection: Connection,
    contact_id: int,
    names: tuple[str, ...],
    *,
    newest: bool = False,
    after: Any = None,
    breakers: tuple[str, ...] = (),
) -> Any:
    """Return the contact's first (or newest) event of these names, after another one where given; None if none."""
    query = select(Event).where(col(Event.contact_id) == contact_id, col(Event.name).in_(names), ~col(Event.superseded))
    if after is not None:
        query = query.where(_follows(after, breakers))
    order = (col(Event.occurred_at), col(Event.id))
    return connection.execute(
        query.order_by(*(each.desc() if newest else each for each in order)).limit(1)
    ).one_or_none()


def _follows(one: Any, breakers: tuple[str, ...]) -> Any:
    return or_(
        col(Event.occurred_at) > one.occurred_at,
        and_(col(Event.occurred_at) == one.occurred_at, or_(col(Event.id) > one.id, col(Event.name).in_(breakers))),
    )


def _did_before(connection: Connection, contact_id: int, names: tuple[str, ...], last: Any) -> bool:
    first = _event(connection, contact_id, names)
    return first is not None and first.occurred_at <= last.occurred_at
