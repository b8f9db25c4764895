"""Times that providers tell, in UTC; one that cannot be read, or cannot be true, is the time at which we were told."""

from datetime import UTC, datetime
from typing import Any

_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def from_seconds(written: Any, otherwise: datetime) -> datetime:
    """Read seconds since 1970, as a number or as a text."""
    try:
        seconds = float(written)
    except (TypeError, ValueError, OverflowError):
        return otherwise
    return datetime.fromtimestamp(seconds, UTC) if _FIRST.timestamp() < seconds < _LAST.timestamp() else otherwise


def from_text(written: str, otherwise: datetime) -> datetime:
    """Read ISO 8601; without an offset it is UTC."""
    try:
        moment = datetime.fromisoformat(written)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return otherwise
    return moment if _FIRST < moment < _LAST else otherwise
