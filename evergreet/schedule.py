"""When a step is due, and when it may go: spans, local times and open hours where the contact lives."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from evergreet.campaign import MARKETING, SendWindow, Step
from evergreet.durations import number
from evergreet.places import zone_of_country

FURTHEST = 15
"""Days ahead in which an opening is looked for: a week, and another where a change of the clock swallows the first."""

INSTANT = timedelta(microseconds=1)
"""The shortest time that there is."""


@lru_cache(maxsize=1024)
def zone_of(name: str | None, default: str, country: str | None = None) -> ZoneInfo:
    """Return the zone of that name; where there is none or an unknown one, that of the country, or the default."""
    for each in (name, zone_of_country(country) if country else None):
        if each:
            try:
                return ZoneInfo(each)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                pass
    return ZoneInfo(default)


def due_time(step: Step, caused_at: datetime, zone: ZoneInfo) -> datetime:
    """Return when a step is due, in UTC.

    Without `at` it is the triggering moment plus `after`. With `at` it is that local time on the day that
    `after` leads to (days are counted on the contact's calendar); where that lies before the triggering
    moment plus a span of hours or minutes, the next day.
    """
    if step.at is None:
        return caused_at + step.after.span
    if step.after.unit == "days":
        earliest = caused_at
        day = caused_at.astimezone(zone).date() + timedelta(days=number(step.after.amount))
    else:
        earliest = caused_at + step.after.span
        day = earliest.astimezone(zone).date()
    due = at_local(day, step.at.time, zone)
    return due if due >= earliest else at_local(day + timedelta(days=1), step.at.time, zone)


def at_local(day: date, at: time, zone: ZoneInfo) -> datetime:
    """Return the moment a wall clock in `zone` shows this day and time, in UTC.

    A time that a change to summer time leaves out is taken as the moment after the gap (02:30 becomes
    03:30); of a time that comes twice in autumn, the first (PEP 495, fold=0).
    """
    return datetime.combine(day, at, tzinfo=zone).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class OpenHours:
    """When a message may go by the clock on the wall: within `window`, and not from `quiet_from` to `quiet_until`.

    Quiet hours go over midnight where they end at the earlier time; where one end is missing, or both are equal,
    there are none.
    """

    window: SendWindow | None = None
    quiet_from: time | None = None
    quiet_until: time | None = None

    def outside_window(self, local: datetime) -> bool:
        """Whether the window is closed at this local time."""
        window = self.window
        if window is None:
            return False
        return local.weekday() not in window.weekdays or not number(window.opens) <= local.hour < number(window.closes)

    def quiet(self, local: datetime) -> bool:
        """Whether it is quiet at this local time."""
        start, end, clock = self.quiet_from, self.quiet_until, local.time()
        if start is None or end is None or start == end:
            return False
        return start <= clock < end if start < end else clock >= start or clock < end

    def open(self, local: datetime) -> bool:
        """Whether a message may go at this local time."""
        return not self.outside_window(local) and not self.quiet(local)

    @property
    def beginnings(self) -> tuple[time, ...]:
        """The times of day at which it may become open."""
        opens = () if self.window is None else (time(number(self.window.opens)),)
        return (time(0), *opens, *(() if self.quiet_until is None else (self.quiet_until,)))

    @property
    def ends(self) -> tuple[time, ...]:
        """The times of day at which it may close."""
        closes = () if self.window is None else (time(number(self.window.closes) % 24),)
        return (time(0), *closes, *(() if self.quiet_from is None else (self.quiet_from,)))


@lru_cache(maxsize=4096)
def opening(moment: datetime, zone: ZoneInfo, hours: OpenHours) -> datetime | None:
    """Return the first moment from `moment` on at which it is open in `zone`, in UTC; None where it never is.

    It follows the wall: what a change of the clock leaves out is not there, what it repeats is there twice.
    """
    if hours.open(local := moment.astimezone(zone)):
        return moment
    turns = _turns(local.date(), range(-1, FURTHEST + 1), zone, hours.beginnings)
    return next((at for at in turns if at > moment and hours.open(at.astimezone(zone))), None)


def longest_wait(step: Step) -> timedelta:
    """Return how much longer than its lateness a step may go after its due time, in whatever hours and zone."""
    if step.window is not None:
        return timedelta(days=2 * FURTHEST)
    return timedelta(days=3) if step.purpose is MARKETING else timedelta(0)


@lru_cache(maxsize=4096)
def latest(due_at: datetime, lateness: timedelta, zone: ZoneInfo, hours: OpenHours) -> datetime:
    """Return the last moment, in UTC, at which what was due at `due_at` is in time, where it may go in these hours.

    To wait for an opening makes nothing late: lateness counts from the first opening, and where it would end while
    it is closed, what was left of it at the closing counts on from the next. Nights before that count in full.
    """
    first = opening(due_at, zone, hours)
    if first is None:
        return due_at + lateness
    end = first + lateness
    again = opening(end, zone, hours)
    if again is None or again == end:
        return end
    turns = _turns(end.astimezone(zone).date(), range(-FURTHEST, 2), zone, hours.ends)
    closed = (at for at in reversed(turns) if at <= end and hours.open((at - INSTANT).astimezone(zone)))
    return again + (end - next(closed, end))


def _turns(today: date, ahead: range, zone: ZoneInfo, times: tuple[time, ...]) -> list[datetime]:
    """Return in order the moments of some days before or after at which a wall clock shows these times, or changes."""
    return sorted({at for days in ahead for at in _turns_of(today + timedelta(days=days), zone, times)})


@lru_cache(maxsize=4096)
def _turns_of(day: date, zone: ZoneInfo, times: tuple[time, ...]) -> frozenset[datetime]:
    walls = (datetime.combine(day, at, tzinfo=zone).replace(fold=fold) for at in times for fold in (0, 1))
    change = _change(at_local(day, time(0), zone), zone)
    return frozenset(wall.astimezone(UTC) for wall in walls) | (frozenset() if change is None else {change})


def _change(start: datetime, zone: ZoneInfo) -> datetime | None:
    """Return the moment within a day of `start` from which the clock in `zone` differs from UTC by another span."""
    before = start.astimezone(zone).utcoffset()
    same, changed = 0, 25 * 3600  # seconds: a day with a change is longer or shorter, two days may overlap
    if (start + timedelta(seconds=changed)).astimezone(zone).utcoffset() == before:
        return None
    while changed - same > 1:
        middle = (same + changed) // 2
        if (start + timedelta(seconds=middle)).astimezone(zone).utcoffset() == before:
            same = middle
        else:
            changed = middle
    return start + timedelta(seconds=changed)
