"""Rates: how fast, and how much a day, a provider may be given."""

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from functools import cache

_ENTRY = re.compile(r"(?P<name>[^\s:;,]+)\s*:(?P<limits>.+)", re.DOTALL)
_SECOND = re.compile(r"(\d{1,7}(?:\.\d{1,3})?)\s*/\s*s")
_DAY = re.compile(r"(\d{1,9})\s*/\s*day")
_WARM_UP = re.compile(r"warm-up\s+(\d{1,9})\s+from\s+(\d{4}-\d{2}-\d{2})")


@dataclass(frozen=True, slots=True)
class Rate:
    """What a provider may be given; None: there is no such limit.

    A warm-up allows `warm_up` messages on the day `since`, twice as many on each day after it, until that is `per_day`.
    """

    per_second: float | None = None
    per_day: int | None = None
    warm_up: int | None = None
    since: date | None = None

    def on(self, day: date) -> int | None:
        """Return how many messages a day allows."""
        if self.per_day is None or self.warm_up is None or self.since is None:
            return self.per_day
        gone = (day - self.since).days
        return 0 if gone < 0 else min(self.warm_up * 2 ** min(gone, 40), self.per_day)

    @property
    def most_together(self) -> int | None:
        """The largest window: what a second allows."""
        return None if self.per_second is None else max(int(self.per_second), 1)


FREE = Rate()


def read_rates(written: str) -> dict[str, Rate]:
    """Read `sendgrid: 100/s, 50000/day, warm-up 500 from 2026-12-01; ses: 14/s`; raises ValueError with a sentence."""
    rates: dict[str, Rate] = {}
    for entry in filter(None, (part.strip() for part in written.split(";"))):
        found = _ENTRY.fullmatch(entry)
        if found is None:
            raise ValueError(f"{entry!r} is no rate: write the connector, a colon and its limits, as in `ses: 14/s`")
        name, rate = found["name"], FREE
        if name in rates:
            raise ValueError(f"{name!r} is named twice; write all its limits behind one colon, with commas")
        for limit in found["limits"].split(","):
            rate = _with(rate, name, limit.strip())
        if rate.warm_up is not None and rate.per_day is None:
            raise ValueError(f"the warm-up of {name!r} needs the limit that it leads to, as in `50000/day`")
        rates[name] = rate
    return rates


def _with(rate: Rate, name: str, limit: str) -> Rate:
    given: Rate | None = None
    if found := _SECOND.fullmatch(limit):
        given = replace(rate, per_second=float(found[1])) if rate.per_second is None and float(found[1]) > 0 else None
    elif found := _DAY.fullmatch(limit):
        given = replace(rate, per_day=int(found[1])) if rate.per_day is None else None
    elif found := _WARM_UP.fullmatch(limit):
        try:
            since = date.fromisoformat(found[2])
        except ValueError:
            raise ValueError(f"{found[2]} is no day (YYYY-MM-DD)") from None
        given = replace(rate, warm_up=int(found[1]), since=since) if rate.warm_up is None and int(found[1]) else None
    if given is None:
        raise ValueError(
            f"{limit!r} is no limit of {name!r}, or there are two of its kind: write `100/s`, `50000/day` or "
            "`warm-up 500 from 2026-12-01`"
        )
    return given


class Unlimited:
    """A rate limiter that never waits."""

    def acquire(self, count: int) -> None:
        """Let everything through."""


class Pace:
    """Lets so many messages a second through, over all threads that ask; one that was idle has a second's worth."""

    def __init__(
        self,
        per_second: float,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self.per_second = per_second
        self._clock = clock
        self._wait = wait
        self._lock = threading.Lock()
        self._taken_to = clock() - 1.0
        """Until when all that may be sent is taken."""

    def acquire(self, count: int) -> None:
        """Block until `count` messages may be sent."""
        with self._lock:
            now = self._clock()
            self._taken_to = max(self._taken_to, now - 1.0) + count / self.per_second
            pause = self._taken_to - now
        if pause > 0:
            self._wait(pause)


@cache
def pace_of(name: str, per_second: float) -> Pace:
    """Return the one pace of a connector in this process."""
    return Pace(per_second)
