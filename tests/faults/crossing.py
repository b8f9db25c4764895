"""Two at once, brought to the very moment where it matters: between what one reads and what it commits."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import text

from evergreet import delivery, gates, ledger
from evergreet.database import Database
from tests.faults.sink import DEADLINE, until


class Moment:
    """A place in the engine where whoever comes by for the first time says so and waits to be let on."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self._taken = threading.Lock()

    def pass_by(self) -> None:
        """Come by; only the first one waits."""
        if self._taken.acquire(blocking=False):
            self.reached.set()
            assert self.go_on.wait(DEADLINE), "nobody let it go on"

    def wait(self) -> None:
        """Wait until somebody has come by."""
        assert self.reached.wait(DEADLINE), "nobody came by"


def before_the_intent(monkeypatch: pytest.MonkeyPatch) -> Moment:
    """The moment when messages are rendered and their intent has not begun."""
    moment, real = Moment(), ledger.write_intent

    def write_intent(*arguments: Any) -> Any:
        moment.pass_by()
        return real(*arguments)

    monkeypatch.setattr(delivery, "write_intent", write_intent)
    return moment


def after_the_gates(monkeypatch: pytest.MonkeyPatch) -> Moment:
    """The moment when the gates have read and said *go*, and nothing is written."""
    moment, real = Moment(), gates.decide_window

    def decide_window(*arguments: Any) -> Any:
        decisions = real(*arguments)
        moment.pass_by()
        return decisions

    monkeypatch.setattr(ledger, "decide_window", decide_window)
    return moment


def wait_until_blocked(
    database: Database, about_to: threading.Event, *, unless: Callable[[], bool] = lambda: False
) -> None:
    """Wait until somebody waits for a lock; SQLite does not tell, so there it is enough that they are about to."""
    assert about_to.wait(DEADLINE)
    if database.is_sqlite:
        return
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )

    def blocked() -> bool:
        with database.read() as connection:
            return bool(connection.execute(waiting).scalar_one())

    until(lambda: blocked() or unless(), "somebody to wait for a lock")


@contextmanager
def side_by_side() -> Iterator[Callable[..., "Future[Any]"]]:
    """Run functions in threads; what they raise comes out where their result is asked for."""
    with ThreadPoolExecutor(4) as pool:
        yield pool.submit
