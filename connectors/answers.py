"""What answers of providers have in common: JSON, and how long to wait."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

_LONGEST_PAUSE = 86_400
"""Seconds; a pause longer than a day is no time that a provider means."""


def read_answer(content: bytes) -> Any:
    """Return what an answer says in JSON; None where it says nothing that can be read."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return None


def object_answered(content: bytes) -> Mapping[str, Any]:
    """Return the object that an answer is; empty where it is none."""
    found = read_answer(content)
    return found if isinstance(found, dict) else {}


def pause(headers: Mapping[str, str], *names: str) -> timedelta | None:
    """Return how long to wait by the first of these headers that can be read: seconds, or a time of the server's clock.

    At least a second; None where there is none of them, or one that nobody can mean.
    """
    for name in names:
        try:
            seconds = float(headers[name])
        except KeyError:
            continue
        except ValueError:
            try:
                until, now = parsedate_to_datetime(headers[name]), parsedate_to_datetime(headers["date"])
                seconds = (until - now).total_seconds()
            except (KeyError, ValueError, TypeError):
                continue
        if 0 <= seconds <= _LONGEST_PAUSE:
            return timedelta(seconds=max(seconds, 1))
    return None


def server_time(headers: Mapping[str, str]) -> datetime | None:
    """Return what the server's clock said when it answered; None where that cannot be read."""
    try:
        return parsedate_to_datetime(headers.get("date", "")).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
