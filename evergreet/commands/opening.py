"""How commands open the store, who is at the keyboard, and how they are stopped."""

import getpass
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from types import FrameType

from evergreet.database import Database, check_schema, upgrade
from evergreet.errors import DataError
from evergreet.settings import settings


@contextmanager
def open_database(*, checked: bool = True) -> Iterator[Database]:
    """Open the database of the settings.

    The embedded default is created on first use; any other database is only checked.
    """
    database = Database(settings().database_url.get_secret_value())
    try:
        if checked:
            if database.is_sqlite and not database.exists:
                upgrade(database)
            check_schema(database)
        yield database
    finally:
        database.close()


def actor() -> str:
    """Who runs the command, for the audit log."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (OSError, KeyError):  # a container without a user entry
        return "command line"


def parse_moment(written: str, now: datetime) -> datetime:
    """Read a time (ISO 8601, UTC where it has no zone) or a span before now such as 30d, 12h, 90m; return it in UTC."""
    with suppress(ValueError, OverflowError):
        if span := re.fullmatch(r"(\d+)([dhm])", written.strip()):
            unit = {"d": "days", "h": "hours", "m": "minutes"}[span[2]]
            return now - timedelta(**{unit: int(span[1])})
        moment = datetime.fromisoformat(written.strip())
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    raise DataError(f"{written!r} is not a time: write 2026-01-31, 2026-01-31T09:00:00Z, or a span such as 30d.")


def parse_since(written: str, now: datetime) -> datetime:
    """Read when a span begins that ends now, as `parse_moment` does; refuse what lies in the future."""
    moment = parse_moment(written, now)
    if moment > now:
        raise DataError(f"{written!r} lies in the future: it is {now:%Y-%m-%d %H:%M} UTC now.")
    return moment


@contextmanager
def stop_on_signal(request_stop: Callable[[], None]) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM end a run in order (what is in hand is settled); the second ends it at once."""
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, _frame: FrameType | None) -> None:
        request_stop()
        for each, handler in previous.items():
            signal.signal(each, handler)

    for number in previous:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
