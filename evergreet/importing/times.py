"""Times in files: ISO 8601 or a count since 1970, always turned into an aware moment in UTC."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from evergreet.errors import DataError
from evergreet.importing.rejects import Rejected, shown
from models.base import EPOCH

_COUNT = re.compile(r"-?[0-9]{9,}(\.[0-9]+)?")
"""A count since 1970; fewer digits would be a year or a date (20260310), and seconds before 1973."""
_MILLISECONDS_FROM = 100_000_000_000
"""A count from here on is milliseconds: as seconds it would be the year 5138."""

_DAY = timedelta(days=1)
_USUAL = 40
"""Characters of a time; longer texts are not remembered."""


class NaiveTime(DataError):
    """A time says no zone, and nobody said which one is meant."""


def open_zone(name: str) -> ZoneInfo:
    """Return the IANA zone of that name."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise DataError(
            f"--timezone {name}: there is no such IANA time zone; write one such as Europe/Berlin."
        ) from None


def as_time(value: Any, field: str, zone: ZoneInfo | None, now: datetime) -> datetime | None:
    """Read a time; None when there is nothing in the cell.

    Text is ISO 8601, or a count of at least nine digits: seconds (from 100,000,000,000 on: milliseconds)
    since 1970. A time without offset is local time in `zone`: one that occurs twice when clocks go
    back is the first of the two, one that is skipped when they go forward is read with the offset before
    the change (so 02:30 is 03:30). Refused are times before 1970 and more than a day after `now`.

    Raises `NaiveTime` for a time without offset when `zone` is None.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise Rejected("unreadable time", f"{field} is {shown(value)}")
    try:
        text = str(value).strip()
        moment = _read(text, field, zone) if len(text) <= _USUAL else _read.__wrapped__(text, field, zone)
    except (ValueError, OverflowError, ArithmeticError):
        raise Rejected(
            "unreadable time",
            f"{field} is {shown(value)}; write ISO 8601 such as 2026-03-10T12:00:00Z, or seconds since 1970",
        ) from None
    if moment < EPOCH or moment - now > _DAY:
        raise Rejected("time out of range", f"{field} is {shown(value)}, which is before 1970 or in the future")
    return moment


@lru_cache(maxsize=1024)
def _read(text: str, field: str, zone: ZoneInfo | None) -> datetime:
    return _counted(text) if _COUNT.fullmatch(text) else _written(text, field, zone)


def _counted(text: str) -> datetime:
    count = Decimal(text)
    seconds = count / 1000 if abs(count) >= _MILLISECONDS_FROM else count
    return EPOCH + timedelta(microseconds=int(seconds * 1_000_000))


def _written(text: str, field: str, zone: ZoneInfo | None) -> datetime:
    moment = datetime.fromisoformat(text.removesuffix(" UTC") + "+00:00" if text.endswith(" UTC") else text)
    if moment.tzinfo is None:
        if zone is None:
            raise NaiveTime(
                f"{field} is {text!r}, a time without a zone. Say which zone is meant with --timezone, "
                f"e.g. --timezone Europe/Berlin or --timezone UTC."
            )
        moment = moment.replace(tzinfo=zone)
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
