"""Asking again where an outside system wants time or does not answer, but not for ever."""

from collections.abc import Callable
from datetime import timedelta

from evergreet.errors import Retryable

TRIES = 5
"""How often it is asked again for what did not come, and then gives up."""
MOST_TRIES = 50
"""How often in all."""
LONGEST_PAUSE = timedelta(minutes=2)
"""A system that wants to be left alone for longer is left for the next time."""


class Patience:
    """Counts how often something was asked for in vain; `wait` is given seconds."""

    def __init__(self, wait: Callable[[float], None]) -> None:
        self._wait = wait
        self._in_a_row = self._in_all = 0

    def after(self, error: Retryable) -> None:
        """Wait as long as was asked for, or ever longer; raise the error where that is too much."""
        self._in_a_row, self._in_all = self._in_a_row + 1, self._in_all + 1
        pause = error.retry_after or timedelta(seconds=2**self._in_a_row)
        if self._in_a_row > TRIES or self._in_all > MOST_TRIES or pause > LONGEST_PAUSE:
            raise error
        self._wait(pause.total_seconds())

    def answered(self) -> None:
        """Begin counting anew: it has answered."""
        self._in_a_row = 0
