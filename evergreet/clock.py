"""Time as an argument: the database's clock when live, a value in tests and in simulation."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from sqlalchemy import Connection, text


class Clock(Protocol):
    """Tells the time inside a transaction."""

    def now(self, connection: Connection) -> datetime:
        """Return the current time, aware, in UTC."""
        ...


class DatabaseClock:
    """The database's own clock, so that all workers of one database agree."""

    def now(self, connection: Connection) -> datetime:
        """Ask the database; SQLite answers with the clock of this machine, which is its server."""
        if connection.dialect.name == "postgresql":
            answer: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
            return answer.astimezone(UTC)
        return datetime.now(UTC)


class FrozenClock:
    """A clock that stands still until it is moved."""

    def __init__(self, instant: datetime) -> None:
        self.instant = instant

    def now(self, connection: Connection) -> datetime:
        """Return the instant the clock was set to."""
        return self.instant

    def advance(self, by: timedelta) -> None:
        """Move the clock."""
        self.instant += by


def elapsed_clock() -> float:
    """Seconds on a clock that goes on counting while the machine sleeps or the process is stopped."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
