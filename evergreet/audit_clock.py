"""The audit of what follows the clock, and of broadcasts: recomputed contact by contact in plain Python."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

from sqlalchemy import Connection, select
from sqlmodel import col

from evergreet.audit_scans import ClockStretches, Scans
from evergreet.audit_streams import OfContact
from evergreet.campaign import AnniversaryTrigger, Campaign, CountedFrom, SilenceTrigger, Step, Trigger
from evergreet.campaigns import State
from evergreet.causes import OCCURRENCE_LENGTH, key_in
from evergreet.clock_causes import add_months, anniversary_name, days_begun
from models import Broadcast, Event


@dataclass(frozen=True, slots=True)
class Met:
    """A trigger that the passing of time met, as the audit reads it.

    `covered`: an enrollment for it is explained. `certain`: there must be one, of one of its `names`.
    """

    names: tuple[str, ...]
    covered: bool
    certain: bool


def met_by_clock(
    campaign: Campaign, always: Container[Trigger], state: State, clock: ClockStretches, rows: OfContact
) -> Iterator[Met]:
    """Yield what the passing of time met of a campaign's triggers for one contact.

    Only those that every version `always` had are certain: nobody can tell which version looked at a stretch of time.
    """
    for silence in campaign.trigger.silences:
        for met in _silences(campaign, silence, state, clock, rows):
            yield met if silence in always else replace(met, certain=False)
    for each in campaign.trigger.anniversaries:
        for met in _anniversaries(campaign, each, state, clock, rows):
            yield met if each in always else replace(met, certain=False)


def _silences(
    campaign: Campaign, trigger: SilenceTrigger, state: State, clock: ClockStretches, rows: OfContact
) -> Iterator[Met]:
    """Yield every event after which a silence may have lasted.

    Certain where nothing broke it as known now, once all that is known of the contact was scanned.
    """
    names = {*trigger.after, *trigger.broken_by, *trigger.having}
    span = trigger.span.span
    events = [row for row in rows.events if row.name in names]
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
        unbroken = not row.superseded and _broken_at(current, row, breaking, trigger) > end
        ripe = not trigger.having or (having is not None and having <= row.occurred_at)
        # What made it ripe may have been somebody else's until they were merged.
        as_now = not trigger.having or rows.merged_at is None or end > rows.merged_at
        certain = unbroken and ripe and known and as_now and clock.cover_for_certain(end)
        yield Met((occurrence[:OCCURRENCE_LENGTH],), clock.cover(end), certain)


def _broken_at(current: Sequence[Any], row: Any, breaking: Sequence[datetime], trigger: SilenceTrigger) -> datetime:
    """Return when the silence after a row was broken; the end of time where it never was."""
    at = bisect_right(breaking, row.occurred_at)
    following = breaking[at] if at < len(breaking) else datetime.max.replace(tzinfo=UTC)
    same_moment = any(
        other.occurred_at == row.occurred_at
        and (other.name in trigger.breakers or (other.name in trigger.after and other.id > row.id))
        for other in current
    )
    return row.occurred_at if same_moment else following


def _anniversaries(
    campaign: Campaign, trigger: AnniversaryTrigger, state: State, clock: ClockStretches, rows: OfContact
) -> Iterator[Met]:
    """Yield every anniversary of every first event, revisions included; certain where nothing about it changed."""
    if state.clock_to is None or state.live_since is None:
        return
    contact, events = rows.contact, [row for row in rows.events if row.name in trigger.of]
    last = days_begun(state.clock_to)
    looked = [
        *clock.looked,
        (state.live_since, state.clock_to),
    ]  # and days that had begun when it went live, told later
    first = min((row for row in events if not row.superseded), key=lambda row: (row.occurred_at, row.id), default=None)
    once_told = all(row.revision == 0 and not row.superseded for row in events)
    for row in events:
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
            names = ("once",) if once else tuple(anniversary_name(nth, day, row) for day in days)
            yield Met(names, near, certain)
            nth += 1


def _days(moment: datetime, other: datetime) -> float:
    return (moment - other) / timedelta(days=1)


class Broadcasts:
    """The broadcasts of a campaign and how many of their frozen audiences were found enrolled."""

    def __init__(self, connection: Connection, state: State) -> None:
        self.rows = connection.execute(select(Broadcast).where(col(Broadcast.campaign_id) == state.id)).all()
        self.frozen_at = {row.occurrence: row.frozen_at for row in self.rows if row.state == "frozen"}
        self.found: Counter[str] = Counter()

    @property
    def enrolled(self) -> int:
        """How many enrollments they counted."""
        return sum(row.frozen or 0 for row in self.rows)

    def explain(self, enrollment: Any) -> bool:
        """Whether an enrollment belongs to a frozen audience; it is counted."""
        if self.frozen_at.get(enrollment.occurrence) != enrollment.caused_at:
            return False
        self.found[enrollment.occurrence] += 1
        return True

    def faults(self, connection: Connection, campaigns: Sequence[Campaign], scans: Scans) -> Iterator[str]:
        """Yield where audiences and enrollments differ, once all are counted, and what was never taken up.

        That an event was taken up is asked where every version writes about it.
        """
        for row in self.rows:
            if row.state == "frozen" and (found := self.found[row.occurrence]) != row.frozen:
                yield f"{row.occurrence}: {row.frozen} frozen, {found} enrolled"
        known = {row.event_id for row in self.rows}
        occurrences = {row.occurrence for row in self.rows}
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
                value = key_in(event.properties, trigger.key)
                told = event.id in known or (
                    value is not None and f"{trigger.name}:{value}"[:OCCURRENCE_LENGTH] in occurrences
                )
                if not told and scans.ran_over(event.position, event.occurred_at) is not None:
                    yield f"{event.source}:{event.source_id} was never taken up"


class Anchors:
    """The events of a contact that steps may be counted from (`counted_from`), by name and what they are about."""

    def __init__(self, anchors: Iterable[CountedFrom], events: Sequence[Any]) -> None:
        self.times: defaultdict[tuple[str, str, str], set[datetime]] = defaultdict(set)
        for anchor in anchors:
            for row in events:
                if row.name == anchor.event:
                    about = _thing(row.properties.get(anchor.same))
                    self.times[row.name, anchor.same, about].add(row.occurred_at)

    def tell(self, enrollment: Any, step: Step, counted_at: datetime) -> bool:
        """Whether some revision of such an event has the time that a step was counted from."""
        anchor = step.counted_from
        if anchor is None:
            return False
        about = _thing((enrollment.cause or {}).get(anchor.same))
        return counted_at in self.times[anchor.event, anchor.same, about]


def _thing(value: Any) -> str:
    """Spell what an event is about so that it compares as `same` does: 17 and "17" are one, and 1.5 is a number."""
    return key_in({"same": value}, "same") or repr(float(value) if isinstance(value, int) else value)
