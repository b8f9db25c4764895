"""When a step is due: spans from the triggering moment, and local times where the contact lives."""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from evergreet.campaign import Email
from evergreet.durations import number


@lru_cache(maxsize=1024)
def zone_of(name: str | None, default: str) -> ZoneInfo:
    """Return the zone of that name, or the default where a contact has none or an unknown one."""
    if name:
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass
    return ZoneInfo(default)


def due_time(step: Email, caused_at: datetime, zone: ZoneInfo) -> datetime:
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


def quiet_until(moment: datetime, zone: ZoneInfo, start: time | None, end: time | None) -> datetime | None:
    """Return when quiet hours end, if `moment` lies in them: from local `start` to local `end`, over midnight
    where `end` is the earlier."""
    if start is None or end is None or start == end:
        return None
    local = moment.astimezone(zone)
    clock = local.time()
    quiet = start <= clock < end if start < end else clock >= start or clock < end
    if not quiet:
        return None
    over = local.date() if clock < end else local.date() + timedelta(days=1)
    until = at_local(over, end, zone)
    # Where the clock is set back, the wall shows the quiet hour twice: never defer into the past.
    return until if until > moment else moment + timedelta(hours=1)
