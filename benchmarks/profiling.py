"""Where a run spends its time: Python's own profile of each phase, and every SQL statement with what it costs."""

import cProfile
import io
import pstats
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from sqlalchemy import Engine, event
from sqlalchemy.engine.default import DefaultDialect

from benchmarks.phases import Stopwatch

FUNCTIONS = 14
STATEMENTS = 30


@dataclass(slots=True)
class Cost:
    """What one statement cost in one phase."""

    executions: int = 0
    rows: int = 0
    client: int = 0
    server: int = 0


class Profile:
    """Profiles the threads of a run by phase; a profiled run is slower, and its Python parts more than its SQL."""

    def __init__(self, messages: int) -> None:
        self.messages = messages
        self._profiles: dict[tuple[int, str], cProfile.Profile] = {}
        self._costs: defaultdict[tuple[str, str], Cost] = defaultdict(Cost)
        self._here = threading.local()

    def change(self, phase: str) -> None:
        """Go on profiling this thread for another phase; empty: not at all."""
        running: cProfile.Profile | None = getattr(self._here, "running", None)
        if running is not None:
            running.disable()
        self._here.running = None
        if phase:
            running = self._profiles.setdefault((threading.get_ident(), phase), cProfile.Profile())
            running.enable()
            self._here.running = running

    @contextmanager
    def statements(self, watch: Stopwatch) -> Iterator[None]:
        """Measure every statement inside the block; at its end nothing is profiled any more."""
        begun: list[tuple[int, int]] = []

        def before(*_: Any) -> None:
            begun.append((time.thread_time_ns(), watch.server_now()))

        def add(statement: str, rows: int) -> None:
            client, server = begun.pop()
            cost = self._costs[watch.phase, " ".join(statement.split())]
            cost.executions += 1
            cost.rows += rows
            cost.client += time.thread_time_ns() - client
            cost.server += watch.server_now() - server

        def after(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
            add(statement, len(parameters) if many else 1)

        commit: Any = DefaultDialect.do_commit

        def committing(dialect: DefaultDialect, connection: Any) -> None:
            before()
            commit(dialect, connection)
            add("COMMIT", 1)

        event.listen(Engine, "before_cursor_execute", before)
        event.listen(Engine, "after_cursor_execute", after)
        try:
            with mock.patch.object(DefaultDialect, "do_commit", committing):
                yield
        finally:
            self.change("")
            event.remove(Engine, "before_cursor_execute", before)
            event.remove(Engine, "after_cursor_execute", after)

    def told(self) -> str:
        """Say it all as text: µs a message, the dearest first."""
        out = io.StringIO()
        for phase in dict.fromkeys(phase for _, phase in self._profiles):
            mine = [profile for (_, of), profile in self._profiles.items() if of == phase]
            stats = pstats.Stats(*mine)
            out.write(f"\n{phase}: {stats.total_tt / self.messages * 1e6:.1f} µs a message, profiled\n")  # type: ignore[attr-defined]
            rows = sorted(stats.stats.items(), key=lambda item: -item[1][2])[:FUNCTIONS]  # type: ignore[attr-defined]
            for (file, line, name), (_, calls, own, whole, _) in rows:
                place = f"{'/'.join(file.split('/')[-2:])}:{line} {name}" if line else name
                out.write(
                    f"  own {own / self.messages * 1e6:7.2f}  with callees {whole / self.messages * 1e6:7.2f}  "
                    f"calls {calls / self.messages:7.2f}  {place[:90]}\n"
                )
        out.write("\nstatements: µs a message in the driver, in the server; executions; rows an execution\n")
        costs = sorted(self._costs.items(), key=lambda item: -(item[1].client + item[1].server))
        for (phase, statement), cost in costs[:STATEMENTS]:
            out.write(
                f"  {cost.client / self.messages / 1e3:7.2f} {cost.server / self.messages / 1e3:7.2f} "
                f"{cost.executions:7} {cost.rows / cost.executions:7.0f}  {phase}: {_shortened(statement)}\n"
            )
        return out.getvalue()


def _shortened(statement: str) -> str:
    """Leave out the list of columns: what is read from and how is what tells statements apart."""
    head, _, tail = statement.partition(" FROM ")
    return f"{head[:60]}… FROM {tail}"[:170] if tail and len(head) > 60 else statement[:170]
