"""One run and its shards on one, two and four Prefect workers: `python -m benchmarks.prefect_workers --n 8000`.

Everything is as in production: a Prefect server, its work pool, this project's deployments, workers with one run each
at a time, PostgreSQL, SMTP. A run of the deployment `thank-you` finds as many receipts due, and shares them out. The
time is that of the run as the server tells it. The exit code is 1 where the books disagree.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.states import Scheduled
from sqlalchemy import func, select
from sqlmodel import col

from benchmarks import people
from benchmarks.books import Difference, compare, ledger_keys
from benchmarks.sinks import Sink, open_sink
from benchmarks.stores import Store, open_store
from evergreet.audit import audit
from evergreet.campaigns import launch, template_loader
from evergreet.clock import DatabaseClock
from evergreet.orchestration.local import LocalPrefect, local_prefect
from evergreet.orchestration.pool import POOL
from evergreet.orchestration.server import Child, free_port
from flows.thank_you import Options, campaign
from models import Message

WORKERS = (1, 2, 4)
PROJECT = Path(__file__).parent.parent
PATIENCE_SECONDS = 900.0
SHARDS = 4


@contextmanager
def workers(prefect: LocalPrefect, count: int, logs: Path) -> Iterator[None]:
    """Have so many workers, each with one run at a time, in the place of the one that was there."""
    prefect.worker.stop()
    with ExitStack() as stack:
        for number in range(1, count + 1):
            name = f"worker-{number}"
            command = [
                "prefect",
                "worker",
                "start",
                "--pool",
                POOL,
                "--type",
                "process",
                "--name",
                name,
                "--limit",
                "1",
            ]
            stack.enter_context(Child.start(name, command, prefect.environment, logs / f"{name}.log", PROJECT))
        yield


def measure(n: int, count: int) -> bool:
    """Run one case and print its line; return whether the books agree."""
    with open_sink("smtp") as sink, open_store("postgresql") as store, tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        launch(
            store.database, campaign, Options(), template_loader(str(PROJECT / "templates")), clock=DatabaseClock(),
            actor="bench",
        )  # fmt: skip
        people.store_people(store.database, 0, n, datetime.now(UTC))
        store.settle_down()
        os.environ |= {
            "EVERGREET_DATABASE_URL": store.database.url.render_as_string(hide_password=False),
            "EVERGREET_DATA_DIR": str(home / "data"), "EVERGREET_SECRET_KEYS": '["a key for the benchmark"]',
            "EVERGREET_EMAIL": "smtp", "EVERGREET_SHARD_SIZE": str(-(-n // SHARDS)), "EVERGREET_SHARDS": str(SHARDS),
        }  # fmt: skip
        with (
            local_prefect(PROJECT, home, free_port(), tell=lambda _line: None, query_seconds=1) as prefect,
            SyncPrefectClient(api=prefect.api) as client,
        ):
            pause_all(client)
            with workers(prefect, count, home / "logs"):
                run, shards = until_ended(client, start(client))
        findings = list(disagreements(n, sink, store))
        seconds = run.total_run_time.total_seconds()
        states = Counter(str(shard.state.name if shard.state else "?").lower() for shard in shards)
        print(
            f"| {count} | {seconds:.0f} | {n / seconds:,.0f} | {run.state.name if run.state else '?'} | "
            f"{', '.join(f'{times} {state}' for state, times in states.items())} | {'; '.join(findings) or 'agree'} |",
            flush=True,
        )
        return not findings


def pause_all(client: SyncPrefectClient) -> None:
    """Leave the worker to the run that is measured: no ticks beside it."""
    for deployment in client.read_deployments():
        for schedule in client.read_deployment_schedules(deployment.id):
            client.update_deployment_schedule(deployment.id, schedule.id, active=False)


def start(client: SyncPrefectClient) -> UUID:
    """Run the campaign's deployment by hand."""
    deployment = client.read_deployment_by_name(f"{campaign.name}/{campaign.name}")
    now = datetime.now(UTC)
    return client.create_flow_run_from_deployment(deployment.id, state=Scheduled(scheduled_time=now)).id


def until_ended(client: SyncPrefectClient, run: UUID) -> tuple[FlowRun, list[FlowRun]]:
    """Wait for a run and its shards to end, and return them."""
    mine = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run]))
    ends = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < ends:
        whole, shards = client.read_flow_run(run), client.read_flow_runs(flow_run_filter=mine)
        if all(one.state is not None and one.state.is_final() for one in (whole, *shards)):
            return whole, shards
        time.sleep(0.5)
    raise SystemExit(f"The run has not ended within {PATIENCE_SECONDS:.0f} s.")


def disagreements(n: int, sink: Sink, store: Store) -> Iterator[str]:
    """Compare the ledger with the book of the sink, name by name, and ask the audit."""
    with store.database.read() as connection:
        query = select(func.count()).select_from(Message).where(col(Message.state) == "accepted")
        accepted = connection.execute(query).scalar_one()
    sink.counted(n)
    if accepted != n:
        yield f"{n} receipts were due, {accepted} were accepted"
    difference = compare(ledger_keys(store.database), (key for key, _ in sink.book.lines()))
    if difference != Difference(0, 0, 0):
        yield f"{difference.lost} lost, {difference.doubled} doubled, {difference.unasked} that nobody asked for"
    for found in audit(store.database, DatabaseClock()):
        yield from found.findings


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m benchmarks.prefect_workers", description=__doc__)
    asked.add_argument("--n", type=int, default=8_000, help="receipts (default: 8000)")
    asked.add_argument("--workers", type=int, action="append", help=f"may be repeated (default: {WORKERS})")
    given = asked.parse_args()
    print(f"{given.n:,} receipts, {SHARDS} runs at most, {os.cpu_count()} cores\n")
    print("| workers | seconds | receipts/s | run | shards | books |")
    print("| ---: | ---: | ---: | --- | --- | --- |")
    found = [measure(given.n, count) for count in given.workers or WORKERS]
    return 0 if all(found) else 1


if __name__ == "__main__":
    sys.exit(main())
