"""One case in a process of its own: `python -m benchmarks.engine --n 10000 --store sqlite --sink null`.

Contacts enter a stage, a campaign writes to each, and the sink counts. The result is printed as JSON; the exit code
is 1 where the books disagree, and no figure can make it fail.
"""

import argparse
import json
import statistics
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from benchmarks import people
from benchmarks.bare import send_bare
from benchmarks.books import disagreements
from benchmarks.limits import AT_MOST, limits
from benchmarks.phases import PHASES, REST, Stopwatch
from benchmarks.profiling import Profile
from benchmarks.sinks import SINKS, NoSink, Sink, open_sink
from benchmarks.stores import STORES, Store, open_store
from benchmarks.usage import peak_mib, using
from evergreet.campaigns import launch, template_loader
from evergreet.clock import DatabaseClock
from evergreet.engine import Engine
from evergreet.settings import Settings
from evergreet.template_sources import load_template

MESSAGES = str(Path(__file__).parent / "messages")
CAMPAIGNS = {"marketing": people.CAMPAIGN, "transactional": people.RECEIPT}
IDLE_RUNS, IDLE_SECONDS = 15, 2.0
"""Runs with nothing due, or as many as there is time for: the middle one by the clock and the mean of CPU are told."""
WARM = 60
"""Messages before the measured ones: what is compiled or imported once is paid by then, and in the books as well."""


@dataclass(slots=True)
class Result:
    """What a case measured: CPU in µs a message of this process and the database's, memory of this process in MiB."""

    n: int
    store: str
    sink: str
    purpose: str = "marketing"
    skipped: str = ""
    what: str = ""
    durability: str = ""
    window: int = 0
    octets: int = 0
    phases: dict[str, float] = field(default_factory=dict)
    server: dict[str, float] = field(default_factory=dict)
    total: float = 0.0
    bare: float = 0.0
    limits: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    nothing_due_ms: float = 0.0
    nothing_due_cpu_ms: float = 0.0
    peak_mib: float = 0.0
    accepted: int = 0
    sink_count: int = 0
    due: int = 0
    lost: int = 0
    doubled: int = 0
    findings: list[str] = field(default_factory=list)
    profile: str = ""


def measure(n: int, store_kind: str, sink_kind: str, *, purpose: str = "marketing", profile: bool = False) -> Result:
    """Run one case."""
    result = Result(n, store_kind, sink_kind, purpose)
    settings = Settings(_env_file=None, secret_keys=(SecretStr("a key for the benchmark"),))
    try:
        with open_sink(sink_kind) as sink, open_store(store_kind) as store:
            _measure(result, settings, sink, store, Profile(n) if profile else None)
    except NoSink as reason:
        result.skipped = str(reason)
    return result


def _measure(result: Result, settings: Settings, sink: Sink, store: Store, profile: Profile | None) -> None:
    clock, load, campaign = DatabaseClock(), template_loader(MESSAGES), CAMPAIGNS[result.purpose]
    result.what, result.durability = sink.what, store.durability
    marketing = campaign is people.CAMPAIGN
    result.window = (settings.window or sink.sender.capabilities.window) if marketing else 1
    launch(store.database, campaign, people.Picks(), load, clock=clock, actor="bench")
    engine = Engine(store.database, sink.sender, settings, load, clock=clock)
    people.store_people(store.database, 0, WARM, datetime.now(UTC))
    engine.run(campaign, people.Picks())
    people.store_people(store.database, WARM, result.n, datetime.now(UTC))
    store.settle_down()

    watch = Stopwatch(profile)
    with using(store) as used, watch.running(), profile.statements(watch) if profile else nullcontext():
        engine.run(campaign, people.Picks())
    result.peak_mib = peak_mib()
    result.total, result.seconds = used.per_message(result.n), used.wall
    result.server = {phase: watch.server[phase] / result.n / 1e3 for phase in PHASES}
    result.phases = {phase: watch.client[phase] / result.n / 1e3 + result.server[phase] for phase in PHASES}
    result.phases[REST] = result.total - sum(result.phases.values())
    if profile:
        result.profile = profile.told()

    walls: list[float] = []
    with using(store) as idle:
        while len(walls) < 3 or (len(walls) < IDLE_RUNS and sum(walls) < IDLE_SECONDS):
            begun = time.perf_counter()
            engine.run(campaign, people.Picks())
            walls.append(time.perf_counter() - begun)
    result.nothing_due_ms = statistics.median(walls) * 1e3
    result.nothing_due_cpu_ms = (idle.client + idle.server) / len(walls) * 1e3

    books = disagreements(store.database, clock, result.n + WARM, sink)
    result.accepted, result.sink_count, result.due = books.accepted, books.counted, books.due
    result.lost, result.doubled = books.lost, books.doubled
    result.findings += books.findings
    store.settle_down()
    _measure_bare(result, settings, sink, store)


def _measure_bare(result: Result, settings: Settings, sink: Sink, store: Store) -> None:
    """Measure the bare loop and the bare limits, which send to the same sink and write into the same store."""
    source = load_template(MESSAGES, "welcome")
    count = min(result.n, AT_MOST)
    with using(store) as used:
        result.octets = send_bare(count, source, settings, sink, store)
    result.bare = used.per_message(count)
    if sink.kind != "null" and (came := sink.counted(result.sink_count + count) - result.sink_count) != count:
        result.findings.append(f"the bare loop sent {count}, the sink counted {came}")
    result.limits = asdict(limits(count, source, settings, sink, store))


def main() -> int:
    asked = argparse.ArgumentParser(description="Measure one case and print it as JSON.")
    asked.add_argument("--n", type=int, default=10_000, help="messages (default: 10000)")
    asked.add_argument("--store", choices=STORES, default="sqlite")
    asked.add_argument("--sink", choices=SINKS, default="null")
    asked.add_argument("--purpose", choices=CAMPAIGNS, default="marketing", help="transactional: one a window")
    asked.add_argument("--profile", action="store_true", help="say where the time goes; the figures suffer from it")
    given = asked.parse_args()
    result = measure(given.n, given.store, given.sink, purpose=given.purpose, profile=given.profile)
    found: dict[str, Any] = asdict(result)
    print(found.pop("profile"), file=sys.stderr, end="")
    print(json.dumps(found, indent=2))
    return 1 if result.findings else 0


if __name__ == "__main__":
    sys.exit(main())
