"""The audit of what follows the clock, and of broadcasts: recomputed row by row in plain Python."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from sqlalchemy import Connection, and_, select
from sqlmodel import col

from evergreet.campaign import AnniversaryTrigger, Campaign, SilenceTrigger, Step
from evergreet.campaigns import State
from evergreet.causes import OCCURRENCE_LENGTH
from evergreet.clock_causes import add_months, anniversary_name, days_begun
from models import Broadcast, ClockStretch, Contact, Enrollment, Event


@dataclass(frozen=True, slots=True)
class Met:
    """A trigger that was met, as the audit reads it.

    `covered`: an enrollment for it is explained. `certain`: there must be one, of this occurrence or one of `others`.
    """

    contact_id: int
    occurrence: str
    covered: bool
    certain: bool
    others: tuple[str, ...] = ()


class ClockStretches:
    """The stretches of time a campaign looked at."""

    def __init__(self, connection: Connection, state: State) -> None:
        self.rows = connection.execute(
            select(ClockStretch).where(col(ClockStretch.campaign_id) == state.id).order_by(col(ClockStretch.low))
        ).all()
        self.state = state

    @property
    def enrolled(self) -> int:
        """How many enrollments they counted."""
        return sum(row.enrolled for row in self.rows)

    def gaps(self) -> Iterator[str]:
        """Yield where they do not follow each other from where the campaign began to where its clock stands."""
        at = self.state.clock_from
        for row in self.rows:
            if row.kind == "backfill":
                continue
            if at is None or row.low != at:
                yield f"between {at} and {row.low}"
            at = row.high
        if at != self.state.clock_to:
            yield f"between {at} and {self.state.clock_to}"

    def cover(self, moment: datetime) -> bool:
        """Whether that moment was looked at."""
        return any(row.low <= moment < row.high for row in self.rows if row.kind != "gap")

    def cover_for_certain(self, moment: datetime) -> bool:
        """Whether it was looked at since the campaign was last launched: then what comes late counts as well."""
        state = self.state
        live = (
            state.live_since is not None and state.clock_to is not None and state.live_since <= moment < state.clock_to
        )
        return live and self.cover(moment)


def silences(connection: Connection, campaign: Campaign, trigger: SilenceTrigger, state: State,
             stretches: ClockStretches) -> Iterator[Met]:  # fmt: skip
    """Yield every event after which a silence may have lasted.

    Certain where nothing broke it as known now, once all that is known of the contact was scanned.
    """
    names = {*trigger.after, *trigger.broken_by, *trigger.having}
    span = trigger.span.span
    for events in _by_contact(connection, names):
        current = [row for row in events if not row.superseded]
        current_names = {(row.source, row.source_id) for row in current}
        known = state.scanned_to is not None and all(
            row.position < state.scanned_to and (row.source, row.source_id) in current_names for row in events
        )
        breaking = [row.occurred_at for row in current if row.name in trigger.broken_by]
        having = min((row.occurred_at for row in current if row.name in trigger.having), default=None)
        for row in events:
            if row.name not in trigger.after:
                continue
            end = row.occurred_at + span
            occurrence = "once" if campaign.re_entry == "once" else f"silence:{row.source}:{row.source_id}"
            unbroken = not row.superseded and _place_after(current, row, breaking, trigger) > end
            ripe = not trigger.having or (having is not None and having <= row.occurred_at)
            certain = unbroken and ripe and known and stretches.cover_for_certain(end)
            yield Met(row.contact_id, occurrence[:OCCURRENCE_LENGTH], stretches.cover(end), certain)


def _place_after(current: Sequence[Any], row: Any, breaking: Sequence[datetime], trigger: SilenceTrigger) -> datetime:
    """Return when the silence after a row was broken; the end of time where it never was."""
    at = bisect_right(breaking, row.occurred_at)
    following = breaking[at] if at < len(breaking) else datetime.max.replace(tzinfo=UTC)
    same_moment = any(
        other.occurred_at == row.occurred_at and other.id > row.id and other.name in trigger.broken_by
        for other in current
    )
    return row.occurred_at if same_moment else following


def anniversaries(connection: Connection, campaign: Campaign, trigger: AnniversaryTrigger, state: State,
                  stretches: ClockStretches) -> Iterator[Met]:  # fmt: skip
    """Yield every anniversary of every first event, revisions included; certain where nothing about it changed."""
    if state.clock_to is None or state.live_since is None:
        return
    contacts = {
        row.id: row
        for row in connection.execute(select(col(Contact.id), col(Contact.erased_at), col(Contact.changed_at)))
    }
    last = days_begun(state.clock_to)
    looked = [(row.low, row.high) for row in stretches.rows if row.kind != "gap"]
    looked.append((state.live_since, state.clock_to))  # days that had begun when it went live, told after that
    for events in _by_contact(connection, set(trigger.of)):
        first = min(
            (row for row in events if not row.superseded), key=lambda row: (row.occurred_at, row.id), default=None
        )
        once_told = all(row.revision == 0 and not row.superseded for row in events)
        for row in events:
            contact = contacts[row.contact_id]
            nth = 1
            while True:
                on = add_months(row.occurred_at.date(), nth * trigger.months) + timedelta(days=trigger.shift)
                if on > last + timedelta(days=2):
                    break
                about = datetime.combine(on, time(12), UTC)
                # The first may be a day earlier or later where the contact lives; a month's end makes up to four of it.
                days = {(on + timedelta(days=apart)).replace(day=1) for apart in (-5, 0, 5)}
                near = any(_days(about, low) >= -3 and _days(about, high) <= 3 for low, high in looked)
                # Two days on each side: the day begins and ends elsewhere, and the first may be a day apart in UTC.
                inside = state.live_since + timedelta(days=3) <= about <= state.clock_to - timedelta(days=3)
                certain = (
                    first is not None and row.id == first.id and once_told and inside and near
                    and contact.erased_at is None and contact.changed_at < about - timedelta(days=4)
                    and state.scanned_to is not None and row.position < state.scanned_to
                )  # fmt: skip
                once = campaign.re_entry == "once"
                names = ["once"] if once else [anniversary_name(nth, day, row) for day in days]
                for name in names:
                    yield Met(row.contact_id, name, near, certain, tuple(names))
                nth += 1


def _days(moment: datetime, other: datetime) -> float:
    return (moment - other) / timedelta(days=1)


def broadcasts(
    connection: Connection, campaigns: set[Campaign], state: State, enrollments: Sequence[Any], cover: Any
) -> tuple[int, set[tuple[int, str]], Iterator[str]]:
    """Compare the frozen audiences with their enrollments; return their sizes, who is explained, and faults.

    That an event was taken up is asked where every version writes about it; `cover` says whether it was scanned.
    """
    rows = connection.execute(select(Broadcast).where(col(Broadcast.campaign_id) == state.id)).all()
    members: defaultdict[str, list[Any]] = defaultdict(list)
    for row in enrollments:
        members[row.occurrence].append(row)
    frozen = [row for row in rows if row.state == "frozen"]
    explained = {
        (member.contact_id, row.occurrence)
        for row in frozen
        for member in members[row.occurrence]
        if member.caused_at == row.frozen_at
    }

    def faults() -> Iterator[str]:
        for row in frozen:
            found = len([member for member in members[row.occurrence] if member.caused_at == row.frozen_at])
            if found != row.frozen:
                yield f"{row.occurrence}: {row.frozen} frozen, {found} enrolled"
        known = {row.event_id for row in rows}
        occurrences = {row.occurrence for row in rows}
        names = [{trigger.name for trigger in campaign.trigger.broadcasts} for campaign in campaigns]
        always = set.intersection(*names) if names else set()
        for trigger in {trigger for campaign in campaigns for trigger in campaign.trigger.broadcasts}:
            if trigger.name not in always:
                continue
            for event in connection.execute(
                select(Event).where(
                    col(Event.name) == trigger.name, col(Event.contact_id).is_(None), col(Event.revision) == 0
                )
            ):
                told = event.id in known or any(
                    f"{trigger.name}:{value}"[:OCCURRENCE_LENGTH] in occurrences for value in _key(event, trigger)
                )
                if not told and cover(event.position, event.occurred_at):
                    yield f"{event.source}:{event.source_id} was never taken up"

    return sum(row.frozen or 0 for row in rows), explained, faults()


def _key(event: Any, trigger: Any) -> list[Any]:
    value = (event.properties or {}).get(trigger.key) if trigger.key is not None else None
    return [] if value is None else [value]


def _by_contact(connection: Connection, names: set[str]) -> Iterator[list[Any]]:
    """Yield the events of these names, superseded ones included, contact by contact in order of time."""
    mine: list[Any] = []
    for row in connection.execute(
        select(
            col(Event.id), col(Event.contact_id), col(Event.name), col(Event.occurred_at), col(Event.source),
            col(Event.source_id), col(Event.revision), col(Event.superseded), col(Event.position),
        )
        .where(col(Event.name).in_(names), col(Event.contact_id).is_not(None))
        .order_by(col(Event.contact_id), col(Event.occurred_at), col(Event.id))
    ):  # fmt: skip
        if mine and mine[0].contact_id != row.contact_id:
            yield mine
            mine = []
        mine.append(row)
    if mine:
        yield mine


class Anchors:
    """The events that steps may be counted from (`counted_from`), by contact, name and what they are about."""

    def __init__(self, connection: Connection, campaigns: set[Campaign], state: State) -> None:
        anchors = {step.counted_from for campaign in campaigns for step in campaign.steps if step.counted_from}
        self.times: defaultdict[tuple[int, str, str, str], set[datetime]] = defaultdict(set)
        self.causes: dict[int, dict[str, Any]] = {}
        if not anchors:
            return
        causes = select(col(Event.id), col(Event.properties)).join(
            Enrollment, and_(col(Enrollment.cause_event_id) == col(Event.id), col(Enrollment.campaign_id) == state.id)
        )
        for row in connection.execute(causes):
            self.causes[row.id] = row.properties
        for row in connection.execute(select(Event).where(col(Event.name).in_({anchor.event for anchor in anchors}))):
            for anchor in anchors:
                if anchor.event == row.name:
                    about = _thing(row.properties.get(anchor.same))
                    self.times[row.contact_id, row.name, anchor.same, about].add(row.occurred_at)

    def check(
        self, enrollment: Any, step: Step, counted_at: datetime | None, found: Callable[[str, str], None]
    ) -> None:
        """Some revision of such an event has the time that a step was counted from, if it was."""
        if counted_at is None:
            return
        known: set[datetime] = set()
        if anchor := step.counted_from:
            about = _thing(self.causes.get(enrollment.cause_event_id, {}).get(anchor.same))
            known = self.times[enrollment.contact_id, anchor.event, anchor.same, about]
        if counted_at not in known:
            found("steps counted from a moment that no event tells", f"enrollment {enrollment.id} {step.key}")


def _thing(value: Any) -> str:
    """Spell what an event is about so that it compares as `same` does: text with text, number with number."""
    return str(float(value)) if isinstance(value, (int, float)) else repr(value)
