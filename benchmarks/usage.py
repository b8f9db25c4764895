"""What a piece of work used: CPU here and in the database's server, and time by the clock on the wall."""

import gc
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.stores import Store


@dataclass(slots=True)
class Used:
    """CPU seconds, of this process and of the database's server, and seconds by the clock on the wall."""

    client: float = 0.0
    server: float = 0.0
    wall: float = 0.0

    def per_message(self, count: int) -> float:
        """Return the CPU time of both in µs a message."""
        return (self.client + self.server) / count * 1e6


@contextmanager
def using(store: Store) -> Iterator[Used]:
    """Measure the block; what is yielded is filled in at its end."""
    gc.collect()
    used = Used()
    client, server, wall = _cpu(), store.server_cpu(), time.perf_counter()
    yield used
    used.client, used.wall = _cpu() - client, time.perf_counter() - wall
    used.server = store.server_cpu() - server


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_mib() -> float:
    """Return the most memory this process has had; on Linux `ru_maxrss` would count what its parent had."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
