"""Events posted to a real `evergreet serve`, in batches of a hundred: `python -m benchmarks.ingest [SECONDS]`.

`wrk` posts what Segment's client for Node would, by four connections, about people the store knows. Prints a JSON with
events a second, and CPU µs of the server's process and of the store beside those of the bare store: the same rows, a
hundred a transaction, by the driver. Fails when an event that was answered with 200 is not in the store.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import func, select
from sqlmodel import col

from benchmarks.large import UNTIL, write_files
from benchmarks.stores import STORES, Store, open_store
from benchmarks.usage import using
from evergreet.clock import DatabaseClock
from evergreet.importing import contacts
from evergreet.importing.run import Job, run_import
from models import Event

SECONDS = 10
CONTACTS = 10_000
CONNECTIONS = 4
BATCH = 100
BARE = 200
"""Transactions of the bare store."""
KEY = "the-write-key-of-the-bench"
TABLE = """CREATE TABLE bare_event (contact_id BIGINT NOT NULL, name TEXT NOT NULL, occurred_at TEXT NOT NULL,
    properties TEXT NOT NULL, source TEXT NOT NULL, source_id TEXT NOT NULL, UNIQUE (source, source_id))"""
PROPERTIES = '{"order_id":"1001","total":59.8,"currency":"EUR","products":[{"sku":"tent-2","quantity":1,"price":59.8}]}'


def measure(store: Store, seconds: int) -> dict[str, Any]:
    """Post for some seconds, after one of warming up."""
    with tempfile.TemporaryDirectory() as folder:
        people = write_files(Path(folder), CONTACTS, 1).contacts
        run_import(
            store.database, Job(people), partial(contacts.ContactImport), fields=contacts.FIELDS, required={},
            clock=DatabaseClock(),
        )  # fmt: skip
    store.settle_down()
    bare = _bare(store)
    with _serving(store) as (server, port):
        answered = _posted(port, 1, "warming-up")["requests"]
        before, client, other = _stored(store), _cpu(server), store.server_cpu()
        told = _posted(port, seconds, "measured")
        ours, theirs = _cpu(server) - client, store.server_cpu() - other
    events = _stored(store) - before
    answered += told["requests"]
    if told["refused"] or told["broken"] or _stored(store) < answered * BATCH:
        sys.exit(f"{store.kind}: {answered:,} requests, {_stored(store):,} events, {told}: something was lost.")
    per_event = (ours + theirs) / events * 1e6
    return {
        "store": store.kind, "events": events, "events_a_second": round(events / told["seconds"]),
        "half_answered_in_ms": told["p50"], "p99_ms": told["p99"], "CPU_µs_an_event": round(per_event, 1),
        "of_it_the_store's_server": round(theirs / events * 1e6, 1), "bare_store": round(bare, 1),
        "×_bare": round(per_event / bare, 1),
    }  # fmt: skip


def _bare(store: Store) -> float:
    """Return CPU µs an event where rows are only written: COPY where there is one, else one INSERT for all of them."""
    rows = [
        [(1, "order_completed", UNTIL.isoformat(), PROPERTIES, "bare", f"node-1-{batch:06}{number:06}")
         for number in range(BATCH)] for batch in range(BARE)
    ]  # fmt: skip
    with store.database.write() as connection:
        connection.exec_driver_sql(TABLE)
    with using(store) as used:
        for batch in rows:
            with store.database.write() as connection:
                driver: Any = connection.connection.driver_connection
                if store.kind == "sqlite":
                    driver.executemany("INSERT INTO bare_event VALUES (?, ?, ?, ?, ?, ?)", batch)
                else:
                    with driver.cursor() as cursor, cursor.copy("COPY bare_event FROM STDIN") as copy:
                        for row in batch:
                            copy.write_row(row)
    return used.per_message(BARE * BATCH)


@contextmanager
def _serving(store: Store) -> Iterator[tuple[psutil.Process, int]]:
    """Run `evergreet serve` on a free port."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("EVERGREET_")}
        environment |= {
            "EVERGREET_DATABASE_URL": store.database.url.render_as_string(hide_password=False),
            "EVERGREET_SECRET_KEYS": '["the signing key of the bench"]', "EVERGREET_WRITE_KEYS": KEY,
        }  # fmt: skip
        command = [str(Path(sys.executable).parent / "evergreet"), "serve", "--port", "0"]
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )  # fmt: skip
        try:
            assert process.stderr is not None
            said = ""
            while not (found := re.search(r"running on http://[\d.]+:(\d+)", said)):
                said = process.stderr.readline()
                if not said:
                    sys.exit(f"evergreet serve ended with {process.wait()}.")
            yield psutil.Process(process.pid), int(found[1])
        finally:
            process.terminate()
            process.communicate(timeout=30)


def _posted(port: int, seconds: int, run: str) -> dict[str, Any]:
    """Let wrk post for so long; the messages of another run have other ids."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(Path(__file__).with_suffix(".lua"))]
    command += [f"http://127.0.0.1:{port}", "--", KEY, str(CONTACTS), run]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _stored(store: Store) -> int:
    with store.database.read() as connection:
        return connection.execute(
            select(func.count()).select_from(Event).where(col(Event.source) == "import")
        ).scalar_one()


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    if not shutil.which("wrk"):
        print("Left out: events posted over HTTP; wrk is not installed here.", file=sys.stderr)
    measured = []
    for kind in STORES if shutil.which("wrk") else ():
        with open_store(kind) as store:
            measured.append(measure(store, seconds))
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()
