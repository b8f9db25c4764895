"""Evergreet in the same treatments: `python -m benchmarks.peers.ours prepare|queue|run`, as `shop/runner.py` has it."""

import json
import os
import resource
import sys
import time
from datetime import UTC, datetime

from pydantic import SecretStr
from sqlalchemy import select
from sqlmodel import col

from benchmarks import people
from benchmarks.engine import MESSAGES, WARM
from evergreet.campaigns import launch, template_loader
from evergreet.clock import DatabaseClock
from evergreet.contracts import EmailSender
from evergreet.database import Database, upgrade
from evergreet.engine import Engine
from evergreet.registry import connector_class
from evergreet.settings import Settings
from models import Message


def main() -> None:
    asked, count = sys.argv[1], int(os.environ["BENCH_N"])
    database, clock, load = Database(os.environ["BENCH_DATABASE"]), DatabaseClock(), template_loader(MESSAGES)
    if asked == "prepare":
        upgrade(database)
        launch(database, people.CAMPAIGN, people.Picks(), load, clock=clock, actor="bench")
        if not os.environ.get("BENCH_WARM"):
            people.store_people(database, 0, count, datetime.now(UTC))
    used = (0.0, 0.0)
    if asked == "run":
        used = _run(database, clock, count)
    print(json.dumps({"cpu": used[0], "seconds": used[1], "doubt": _in_doubt(database)}), flush=True)


def _run(database: Database, clock: DatabaseClock, count: int) -> tuple[float, float]:
    sender = connector_class("smtp").from_environment()
    assert isinstance(sender, EmailSender)
    settings = Settings(_env_file=None, secret_keys=(SecretStr("a key for the benchmark"),))
    engine = Engine(database, sender, settings, template_loader(MESSAGES), clock=clock)
    if os.environ.get("BENCH_WARM"):  # some others first: what is imported and compiled once is paid by then
        people.store_people(database, count, WARM, datetime.now(UTC))
        engine.run(people.CAMPAIGN, people.Picks())
        people.store_people(database, 0, count, datetime.now(UTC))
    print("ready", flush=True)
    sys.stdin.readline()
    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    engine.run(people.CAMPAIGN, people.Picks())
    after = resource.getrusage(resource.RUSAGE_SELF)
    sender.close()
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.perf_counter() - begun


def _in_doubt(database: Database) -> list[str]:
    """Return the addresses of messages that are shown as uncertain."""
    with database.read() as connection:
        shown = select(col(Message.address)).where(col(Message.state) == "unknown")
        return [str(address) for address in connection.execute(shown).scalars()]


if __name__ == "__main__":
    main()
