"""One case in a process of its own: `python -m benchmarks.engine --n 10000 --store sqlite --sink null`.

Contacts enter a stage, a campaign writes to each, and the sink counts. The result is printed as JSON; the exit code
is 1 where the books disagree, and no figure can make it fail.
"""

import argparse
import gc
import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from benchmarks import people
from benchmarks.bare import send_bare
from benchmarks.books import disagreements
from benchmarks.phases import PHASES, REST, Stopwatch
from benchmarks.profiling import Profile
from benchmarks.sinks import SINKS, NoSink, Sink, open_sink
from benchmarks.stores import STORES, Store, open_store
from evergreet.campaigns import launch, template_loader
from evergreet.clock import DatabaseClock
from evergreet.engine import Engine
from evergreet.settings import Settings
from evergreet.template_sources import load_template

MESSAGES = str(Path(__file__).parent / "messages")
WARM = 60
"""Messages before the measured ones: what is compiled or imported once is paid by then, and in the books as well."""


@dataclass(slots=True)
class Result:
    """What a case measured: CPU in µs a message of this process and the database's, memory of this process in MiB."""

    n: int
    store: str
    sink: str
    skipped: str = ""
    what: str = ""
    durability: str = ""
    window: int = 0
    octets: int = 0
    phases: dict[str, float] = field(default_factory=dict)
    server: dict[str, float] = field(default_factory=dict)
    total: float = 0.0
    bare: float = 0.0
    per_second: float = 0.0
    peak_mib: float = 0.0
    accepted: int = 0
    sink_count: int = 0
    due: int = 0
    findings: list[str] = field(default_factory=list)
    profile: str = ""


@dataclass(slots=True)
class Used:
    """CPU seconds, here and in the database's server, and seconds by the clock on the wall."""

    client: float = 0.0
    server: float = 0.0
    wall: float = 0.0

    def per_message(self, count: int) -> float:
        return (self.client + self.server) / count * 1e6


def measure(n: int, store_kind: str, sink_kind: str, *, profile: bool = False) -> Result:
    """Run one case."""
    result = Result(n, store_kind, sink_kind)
    settings = Settings(_env_file=None, secret_keys=(SecretStr("a key for the benchmark"),))
    try:
        with open_sink(sink_kind) as sink, open_store(store_kind) as store:
            _measure(result, settings, sink, store, Profile(n) if profile else None)
    except NoSink as reason:
        result.skipped = str(reason)
    return result


def _measure(result: Result, settings: Settings, sink: Sink, store: Store, profile: Profile | None) -> None:
    clock, load = DatabaseClock(), template_loader(MESSAGES)
    result.what, result.durability = sink.what, store.durability
    result.window = settings.window or sink.sender.capabilities.window
    launch(store.database, people.CAMPAIGN, people.Picks(), load, clock=clock, actor="bench")
    engine = Engine(store.database, sink.sender, settings, load, clock=clock)
    people.store_people(store.database, 0, WARM, datetime.now(UTC))
    engine.run(people.CAMPAIGN, people.Picks())
    people.store_people(store.database, WARM, result.n, datetime.now(UTC))
    store.settle_down()

    watch = Stopwatch(profile)
    with _using(store) as used, watch.running(), profile.statements(watch) if profile else nullcontext():
        engine.run(people.CAMPAIGN, people.Picks())
    result.peak_mib = _peak_mib()
    result.total = used.per_message(result.n)
    result.per_second = result.n / used.wall
    result.server = {phase: watch.server[phase] / result.n / 1e3 for phase in PHASES}
    result.phases = {phase: watch.client[phase] / result.n / 1e3 + result.server[phase] for phase in PHASES}
    result.phases[REST] = result.total - sum(result.phases.values())
    if profile:
        result.profile = profile.told()

    books = disagreements(store.database, clock, result.n + WARM, sink)
    result.accepted, result.sink_count, result.due = books.accepted, books.counted, books.due
    result.findings += books.findings
    store.settle_down()
    source = load_template(MESSAGES, "welcome")
    with _using(store) as used:
        result.octets = send_bare(result.n, source, settings, sink, store)
    result.bare = used.per_message(result.n)
    if sink.kind != "null" and (came := sink.counted(books.counted + result.n).messages) != books.counted + result.n:
        result.findings.append(f"the bare loop sent {result.n}, the sink counted {came - books.counted}")


@contextmanager
def _using(store: Store) -> Iterator[Used]:
    gc.collect()
    used = Used()
    client, server, wall = _cpu(), store.server_cpu(), time.perf_counter()
    yield used
    used.client, used.wall = _cpu() - client, time.perf_counter() - wall
    used.server = store.server_cpu() - server


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak_mib() -> float:
    """The most memory this process has had; on Linux `ru_maxrss` would count what its parent had."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> int:
    asked = argparse.ArgumentParser(description="Measure one case and print it as JSON.")
    asked.add_argument("--n", type=int, default=10_000, help="messages (default: 10000)")
    asked.add_argument("--store", choices=STORES, default="sqlite")
    asked.add_argument("--sink", choices=SINKS, default="null")
    asked.add_argument("--profile", action="store_true", help="say where the time goes; the figures suffer from it")
    given = asked.parse_args()
    result = measure(given.n, given.store, given.sink, profile=given.profile)
    found: dict[str, Any] = asdict(result)
    print(found.pop("profile"), file=sys.stderr, end="")
    print(json.dumps(found, indent=2))
    return 1 if result.findings else 0


if __name__ == "__main__":
    sys.exit(main())
