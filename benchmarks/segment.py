"""A segment as our conditions and as SQL by hand, side by side: `python -m benchmarks.segment [CONTACTS EVENTS]`.

Who bought in the last 30 days, not in the last 7, and logged in fewer than 3 times in 30 days. Prints a JSON with
CPU milliseconds of client and server (the least of some runs) and their ratio for both stores, and what it cost to
import the files before: CPU µs a row of client and server, and seconds in all. Fails when both do not give the same
people, or a row was not stored.
"""

import json
import sys
import tempfile
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, bindparam, literal, select, text

from benchmarks.large import UNTIL, Files, write_files
from benchmarks.stores import STORES, Store, open_store
from benchmarks.usage import using
from evergreet.audience import Scope, compile_condition
from evergreet.clock import DatabaseClock
from evergreet.conditions import did
from evergreet.durations import days
from evergreet.importing import contacts, events
from evergreet.importing.run import Job, run_import
from models import Instant
from models import Table as Models

RUNS = 3
SEGMENT = (
    did("order_placed", within=days(30))
    & ~did("order_placed", within=days(7))
    & ~did("login", within=days(30), at_least=3)
)
BY_HAND = text("""
    SELECT bought.contact_id FROM (
        SELECT contact_id FROM event
        WHERE name = 'order_placed' AND NOT superseded AND occurred_at >= :month AND occurred_at <= :now
        AND contact_id IS NOT NULL GROUP BY contact_id HAVING max(occurred_at) < :week
    ) AS bought
    LEFT JOIN (
        SELECT contact_id, count(*) AS times FROM event
        WHERE name = 'login' AND NOT superseded AND occurred_at >= :month AND occurred_at <= :now
        AND contact_id IS NOT NULL GROUP BY contact_id
    ) AS logins ON logins.contact_id = bought.contact_id
    WHERE coalesce(logins.times, 0) < 3
""").bindparams(*(bindparam(name, type_=Instant()) for name in ("month", "week", "now")))


def compiled(now: datetime) -> Select[tuple[int]]:
    """Return the segment as Evergreet asks for it."""
    contact = Models.metadata.tables["contact"]
    return select(contact.c.id).where(compile_condition(SEGMENT, Scope(contact, literal(now, Instant()))))


def measure(store: Store) -> dict[str, Any]:
    """Ask both and compare."""
    moments = {"month": UNTIL - days(30).span, "week": UNTIL - days(7).span, "now": UNTIL}
    with store.database.read() as connection:
        ours, by_us = _asked(store, connection, compiled(UNTIL), {})
        theirs, by_hand = _asked(store, connection, BY_HAND, moments)
    if ours != theirs:
        sys.exit(f"{store.kind}: {len(ours)} people by conditions, {len(theirs)} by hand; they must be the same.")
    return {
        "store": store.kind, "people": len(ours), "conditions_cpu_ms": round(by_us * 1e3, 1),
        "by_hand_cpu_ms": round(by_hand * 1e3, 1), "ratio": round(by_us / by_hand, 2),
    }  # fmt: skip


def _asked(store: Store, connection: Connection, query: Any, parameters: dict[str, Any]) -> tuple[set[int], float]:
    best = float("inf")
    for _ in range(RUNS):
        begun = time.process_time() + store.server_cpu()
        found = set(connection.execute(query, parameters).scalars())
        best = min(best, time.process_time() + store.server_cpu() - begun)
    return found, best


def _load(store: Store, files: Files) -> dict[str, float]:
    costs: dict[str, float] = {}
    for name, path, kind, fields in (
        ("contact", files.contacts, contacts.ContactImport, contacts.FIELDS),
        ("event", files.events, events.EventImport, events.FIELDS),
    ):
        with using(store) as used:
            done = run_import(
                store.database, Job(path), partial(kind), fields=fields, required={}, clock=DatabaseClock()
            )
        if done.read != done.stored:
            sys.exit(f"{store.kind}: {path.name} was not imported whole: {done}.")
        costs |= {f"import_µs_a_{name}": round(used.per_message(done.read), 1), f"{name}s_s": round(used.wall)}
    return costs


def main() -> None:
    people, log = (int(number) for number in sys.argv[1:] or ("100000", "1000000"))
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder), people, log)
        for kind in STORES:
            with open_store(kind) as store:
                costs = _load(store, files)
                store.settle_down()
                measured.append({"contacts": people, "events": log, **measure(store), **costs})
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()
