"""Which part of a run costs what: the engine's own functions, wrapped from outside while a run is measured.

A stopwatch always runs for exactly one phase of the engine's thread: what one phase calls of another counts for
the other. Hand-overs run in threads of their own and are read there. It reads CPU clocks (`time.thread_time_ns`),
so waiting costs nothing; on Linux the server process behind the worker's connection is read as well.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, Protocol
from unittest import mock

import psutil

from evergreet import delivery, engine
from evergreet.worker import Worker

PHASES = ("enroll", "plan", "take", "render", "gates+intent", "hand-over", "settle")
REST = "rest"
"""What is none of these: opening the worker and the templates, threads, waiting, the report."""

MEASURED: tuple[tuple[Any, str, str], ...] = (
    (engine._CampaignRun, "_enroll", "enroll"),
    (engine._CampaignRun, "_plan", "plan"),
    (engine, "claim", "take"),
    (engine, "read_letters", "take"),
    (engine, "release", "take"),
    (delivery.Delivery, "_composed", "render"),
    (delivery.Delivery, "_ask_limiter", REST),
    (delivery, "take_in_hand", "gates+intent"),
    (delivery, "write_intent", "gates+intent"),
    (delivery, "settle", "settle"),
    (delivery.Delivery, "_hand_over", "hand-over"),
)


class Watcher(Protocol):
    """Is told when the phase of a thread changes."""

    def change(self, phase: str) -> None:
        """From now on this thread works for `phase`."""
        ...


class Stopwatch:
    """CPU nanoseconds by phase: of this process (`client`), and of the server process of the worker (`server`)."""

    def __init__(self, watcher: Watcher | None = None) -> None:
        self.client: Counter[str] = Counter()
        self.server: Counter[str] = Counter()
        self.phase = REST
        self._watcher = watcher
        self._owner = threading.get_ident()
        self._lock = threading.Lock()
        self._backend: int | None = None
        self._backend_pid = 0
        self._begun = self._served = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure the engine inside the block."""
        with ExitStack() as patches:
            for place, name, phase in MEASURED:
                if not hasattr(place, name):
                    raise LookupError(f"{place.__name__} has no {name} any more: say in benchmarks/phases.py what has.")
                patches.enter_context(mock.patch.object(place, name, self._wrapped(getattr(place, name), phase)))
            patches.enter_context(mock.patch.object(Worker, "_register", self._registering(Worker._register)))
            self._begun = time.thread_time_ns()
            if self._watcher:
                self._watcher.change(REST)
            yield
            self._turn(REST)
        if self._backend is not None:
            os.close(self._backend)
        # A server counts a process among its own only once that has ended and is buried.
        ends = time.monotonic() + 5
        while self._backend_pid and psutil.pid_exists(self._backend_pid) and time.monotonic() < ends:
            time.sleep(0.01)

    def server_now(self) -> int:
        """CPU nanoseconds of the server process so far; 0 where it cannot be known."""
        if self._backend is None:
            return 0
        try:
            return int(os.pread(self._backend, 64, 0).split()[0])
        except ProcessLookupError:  # it has ended; the last thing it did stands under `rest`
            return self._served

    def _turn(self, phase: str) -> str:
        """Read the clocks for the phase that ends, and begin another; return the one that ended."""
        now, served = time.thread_time_ns(), self.server_now()
        before = self.phase
        self.client[before] += now - self._begun
        self.server[before] += served - self._served
        self.phase, self._begun, self._served = phase, now, served
        if self._watcher:
            self._watcher.change(phase)
        return before

    def _wrapped(self, function: Callable[..., Any], phase: str) -> Callable[..., Any]:
        @wraps(function)
        def measured(*arguments: Any, **named: Any) -> Any:
            if threading.get_ident() != self._owner:
                return self._beside(function, phase, arguments, named)
            before = self._turn(phase)
            try:
                return function(*arguments, **named)
            finally:
                self._turn(before)

        return measured

    def _beside(self, function: Callable[..., Any], phase: str, arguments: Any, named: Any) -> Any:
        begun = time.thread_time_ns()
        if self._watcher:
            self._watcher.change(phase)
        try:
            return function(*arguments, **named)
        finally:
            if self._watcher:
                self._watcher.change("")
            with self._lock:
                self.client[phase] += time.thread_time_ns() - begun

    def _registering(self, function: Callable[[Worker], None]) -> Callable[[Worker], None]:
        """Find the server process of the worker's connection as soon as there is one."""

        @wraps(function)
        def found(worker: Worker) -> None:
            function(worker)
            if worker.connection.dialect.name == "postgresql":
                driver: Any = worker.connection.connection.driver_connection
                self._backend_pid = driver.info.backend_pid
                try:
                    self._backend = os.open(f"/proc/{self._backend_pid}/schedstat", os.O_RDONLY)
                except OSError:
                    return  # not Linux: all of the server stands under `rest`
                self._served = self.server_now()

        return found
