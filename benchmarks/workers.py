"""A run and its shards on one PostgreSQL, in processes of their own: `python -m benchmarks.workers --n 20000`.

One process enrolls and plans; when the first message could be sent, the others begin to deliver beside it, as shards
do on a work pool. The time is from that moment until the run's report. The exit code is 1 where the books disagree.
"""

import argparse
import os
import resource
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from pydantic import SecretStr

from benchmarks import people
from benchmarks.books import disagreements
from benchmarks.engine import MESSAGES, WARM
from benchmarks.sinks import Null, Sink, open_sink
from benchmarks.stores import Store, open_store
from evergreet.campaigns import launch, template_loader
from evergreet.clock import DatabaseClock
from evergreet.contracts import EmailSender
from evergreet.database import Database
from evergreet.engine import Engine
from evergreet.registry import open_connector
from evergreet.settings import Settings

WORKERS = (1, 2, 4)


def engine_of(database: Database, sender: EmailSender) -> Engine:
    """Return what a worker runs."""
    settings = Settings(_env_file=None, secret_keys=(SecretStr("a key for the benchmark"),))
    return Engine(database, sender, settings, template_loader(MESSAGES), clock=DatabaseClock())


def cpu() -> float:
    """CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def deliver(url: str, kind: str, book: Path, pipe: Pipe) -> None:
    """Be a shard: say when everything is imported, wait for the number of the run, deliver, say what it took."""
    with closing(Database(url)) as database:
        sender = Null(book) if kind == "null" else open_connector(kind)
        assert isinstance(sender, EmailSender)
        engine = engine_of(database, sender)
        with database.read():
            pipe.send("ready")
        run = pipe.recv()
        before = cpu()
        report = engine.deliver(people.CAMPAIGN.name, run)
        pipe.send((sum(report.attempted.values()), cpu() - before))
        sender.close()


def measure(n: int, kind: str, workers: int) -> bool:
    """Run one case and print its line; return whether the books agree."""
    with open_sink(kind) as sink, open_store("postgresql") as store:
        launch(
            store.database, people.CAMPAIGN, people.Picks(), template_loader(MESSAGES), clock=DatabaseClock(),
            actor="bench",
        )  # fmt: skip
        people.store_people(store.database, 0, WARM, datetime.now(UTC))
        engine_of(store.database, sink.sender).run(people.CAMPAIGN, people.Picks())
        people.store_people(store.database, WARM, n, datetime.now(UTC))
        store.settle_down()
        return _measure(n, workers, sink, store)


def _measure(n: int, workers: int, sink: Sink, store: Store) -> bool:
    url = store.database.url.render_as_string(hide_password=False)
    context = get_context("spawn")
    pipes, processes = [], []
    for _ in range(workers - 1):
        here, there = context.Pipe()
        processes.append(context.Process(target=deliver, args=(url, sink.kind, sink.book.path, there)))
        processes[-1].start()
        pipes.append(here)
    for pipe in pipes:
        pipe.recv()
    began: list[float] = []

    def share(run: int, _messages: int) -> None:
        began[:] = [time.perf_counter(), cpu(), store.server_cpu()]
        for pipe in pipes:
            pipe.send(run)

    report = engine_of(store.database, sink.sender).run(people.CAMPAIGN, people.Picks(), share=share)
    wall, own = time.perf_counter() - began[0], cpu() - began[1]
    told = [pipe.recv() for pipe in pipes]
    for process in processes:
        process.join()
    time.sleep(0.5)  # a session of the server that has just ended is in nobody's account for a moment
    server = store.server_cpu() - began[2]
    books = disagreements(store.database, DatabaseClock(), n + WARM, sink)
    shares = [n - sum(one[0] for one in told), *(one[0] for one in told)]
    clients = own + sum(one[1] for one in told)
    findings = [*books.findings]
    if report.attempted != {"accepted": n}:
        findings.append(f"the report counts {report.attempted}")
    print(
        f"| {sink.kind} | {workers} | {n / wall:,.0f} | {clients / n * 1e6:.0f} + {server / n * 1e6:.0f} | "
        f"{', '.join(f'{one / n:.0%}' for one in shares)} | {'; '.join(findings) or 'agree'} |",
        flush=True,
    )
    return not findings


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__)
    asked.add_argument("--n", type=int, default=20_000, help="messages (default: 20000)")
    asked.add_argument("--workers", type=int, action="append", help=f"may be repeated (default: {WORKERS})")
    asked.add_argument(
        "--sink", choices=("null", "sendgrid", "smtp"), action="append", help="(default: null, sendgrid)"
    )
    given = asked.parse_args()
    print(f"{given.n:,} messages, {os.cpu_count()} cores\n")
    print("| sink | workers | messages/s | CPU µs a message: workers + database | shares | books |")
    print("| --- | ---: | ---: | ---: | --- | --- |")
    found = [
        measure(given.n, sink, workers)
        for sink in given.sink or ("null", "sendgrid")
        for workers in given.workers or WORKERS
    ]
    return 0 if all(found) else 1


if __name__ == "__main__":
    sys.exit(main())
