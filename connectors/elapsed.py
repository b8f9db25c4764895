"""A clock for time limits."""

import time
from collections.abc import Callable

Clock = Callable[[], float]


def elapsed() -> float:
    """Seconds on a clock that goes on counting while the machine sleeps or the process is stopped."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
