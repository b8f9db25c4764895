"""The same work by Evergreet and by others: by one runner, by two at once, and by one that is killed and restarted.

Every runner is a process, all send to the same SMTP sink, and what came is counted by recipient in the sink's book.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import people
from benchmarks.books import compare
from benchmarks.peers import environments
from benchmarks.peers.results import TREATMENTS, Treated
from benchmarks.sinks import PATIENCE_SECONDS, Book, smtp_server
from benchmarks.stores import Store, open_store
from evergreet import __version__

ONE, TWO, HOSTS, KILLED = TREATMENTS
OURS = "Evergreet"
KILLS = 4
SEED = 4
ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True, slots=True)
class Scene:
    """One sender with an empty store, contacts that have entered the stage, and a sink."""

    who: str
    store: Store
    n: int
    folder: Path
    port: int
    book: Book
    warm: bool

    def start(self, part: str, *, host: str = "a") -> "subprocess.Popen[str]":
        """Start a process for a part of the work; `host` is where it has its locks that are files."""
        peer = self.who != OURS
        environment = {name: value for name, value in os.environ.items() if not name.startswith("EVERGREET_")}
        environment |= {
            "BENCH_N": str(self.n), "BENCH_WARM": "1" if self.warm else "", "BENCH_PEER": self.who,
            "BENCH_PEOPLE": str(self.folder / "people"), "BENCH_LOCK": str(self.folder / f"lock-of-{host}"),
            "BENCH_SMTP_PORT": str(self.port),
        }  # fmt: skip
        if peer:
            environment.pop("PYTHONPATH", None)
            environment["DJANGO_SETTINGS_MODULE"] = "shop.settings"
            environment["BENCH_DATABASE"] = json.dumps(_django(self.store, self.folder))
            command = [str(environments.python(self.who)), "-m", "shop.runner", part]
        else:
            environment["BENCH_DATABASE"] = self.store.database.url.render_as_string(hide_password=False)
            environment |= {
                "EVERGREET_SMTP_HOST": "127.0.0.1", "EVERGREET_SMTP_PORT": str(self.port),
                "EVERGREET_SMTP_SECURITY": "none",
            }  # fmt: skip
            command = [sys.executable, "-m", "benchmarks.peers.ours", part]
        with (self.folder / "said").open("a", encoding="utf-8") as said:
            return subprocess.Popen(
                command, cwd=environments.HERE if peer else ROOT, env=environment, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said,
            )  # fmt: skip

    def do(self, part: str) -> dict[str, Any]:
        """Do a part of the work to its end; raises RuntimeError where it cannot be done."""
        said = self.ended(self.start(part))
        if said is None:
            print((self.folder / "said").read_text(), file=sys.stderr)
            raise RuntimeError(f"{self.who} on {self.store.kind} could not {part}; what it said stands above.")
        return said

    def ended(self, running: "subprocess.Popen[str]") -> dict[str, Any] | None:
        """Wait for a process and return what it says of itself; None for one that broke off."""
        said, _ = running.communicate()
        lines = said.splitlines()
        if running.returncode or not lines:
            return None
        found: dict[str, Any] = json.loads(lines[-1])
        return found

    def readied(self, *hosts: str) -> "list[subprocess.Popen[str]]":
        """Start runners and return when all are ready to go."""
        runners = [self.start("run", host=host) for host in hosts]
        for running in runners:
            assert running.stdout is not None
            running.stdout.readline()
        return runners


def all_of(n: int, stores: Sequence[str]) -> list[Treated]:
    """Put every sender through every treatment on every store."""
    found = []
    for store in stores:
        for who in (OURS, *environments.PEERS):
            for treatment in TREATMENTS:
                if treatment == HOSTS and store == "sqlite":
                    continue  # a file has one host
                print(f"{who} on {store}, {n:,}: {treatment} …", end=" ", file=sys.stderr, flush=True)
                found.append(treat(who, store, n, treatment))
                one = found[-1]
                said = f"{one.came:,} came, {one.doubled:,} doubled, {one.missing:,} missing, {one.doubt:,} in doubt"
                print(said, file=sys.stderr)
    return found


def treat(who: str, store_kind: str, n: int, treatment: str) -> Treated:
    """Put one sender through one treatment."""
    with _scene(who, store_kind, n, warm=treatment == ONE) as scene:
        scene.do("prepare")
        served = scene.store.server_cpu()
        queued = scene.do("queue")
        hosts = {TWO: ("a", "a"), HOSTS: ("a", "b")}.get(treatment, ("a",))
        kills = _killed(scene) if treatment == KILLED else 0
        runners = scene.readied(*hosts)
        for running in runners:
            _go(running)
        ended = [scene.ended(running) for running in runners]
        said = [one for one in ended if one]
        served = scene.store.server_cpu() - served
        result = Treated(
            who, __version__ if who == OURS else environments.version(who), treatment, store_kind, n,
            kills=kills, broke=ended.count(None),
            cpu=(queued["cpu"] + sum(one["cpu"] for one in said) + served) / n * 1e6,
            seconds=queued["seconds"] + max((one["seconds"] for one in said), default=0.0),
        )  # fmt: skip
        _count(result, scene, said[-1]["doubt"] if said else ())
        return result


def _count(result: Treated, scene: Scene, doubt: Sequence[str]) -> None:
    """Count what came, by recipient, once no more comes."""
    _settled(scene.book)
    wanted = {people.address(number) for number in range(scene.n)}
    came = [recipient for _, recipient in scene.book.lines() if recipient in wanted]
    difference = compare(wanted - set(doubt), came)
    result.came, result.doubled, result.missing = len(came), difference.doubled, difference.lost
    result.doubt = len(doubt)


def _settled(book: Book) -> None:
    """Wait until a sink has written down what it has got."""
    count, since = book.count(), time.monotonic()
    while time.monotonic() - since < 0.5:
        time.sleep(0.05)
        if (now := book.count()) != count:
            count, since = now, time.monotonic()


def _killed(scene: Scene) -> int:
    """Start a runner and kill it in the midst of its work, some times at moments that are always the same."""
    chance = random.Random(SEED)
    kills = 0
    for _ in range(KILLS):
        aim = scene.book.count() + chance.randint(1, scene.n // (KILLS + 1))
        (running,) = scene.readied("a")
        _go(running)
        ends = time.monotonic() + PATIENCE_SECONDS
        while scene.book.count() < aim and running.poll() is None and time.monotonic() < ends:
            time.sleep(0.001)
        if running.poll() is None:
            running.send_signal(signal.SIGKILL)
            kills += 1
        running.communicate()
    return kills


def _go(running: "subprocess.Popen[str]") -> None:
    assert running.stdin is not None
    running.stdin.write("go\n")
    running.stdin.flush()


@contextmanager
def _scene(who: str, store_kind: str, n: int, *, warm: bool) -> Iterator[Scene]:
    with open_store(store_kind) as store, tempfile.TemporaryDirectory(prefix="evergreet-peer-") as name:
        folder = Path(name)
        if who != OURS:
            _write_people(folder / "people", n)
        book = folder / "book"
        book.touch()
        with smtp_server(book) as (port, _):
            yield Scene(who, store, n, folder, port, Book(book), warm)


def _write_people(path: Path, n: int) -> None:
    """Write the customers that a project stores: the same contacts, with what their message says."""
    now = datetime.now(UTC).isoformat()
    with path.open("w", encoding="utf-8") as file:
        for number in range(n):
            person, order = people.person(number), people.order(number)
            customer: Mapping[str, Any] = {
                "email": people.address(number), "first_name": person["first_name"], "city": person["city"],
                "tier": person["tier"], "points": person["points"], "stage": people.STAGE,
                "order_id": order["order_id"], "amount": order["amount"], "ordered_at": now,
            }  # fmt: skip
            file.write(json.dumps(customer) + "\n")


def _django(store: Store, folder: Path) -> dict[str, Any]:
    """Return the store as Django's settings have it; on SQLite a file of its own."""
    url = store.database.url
    if store.kind == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "peer.db"), "OPTIONS": {"timeout": 30}}
    host = url.host or url.query.get("host", "")
    return {
        "ENGINE": "django.db.backends.postgresql", "NAME": url.database, "USER": url.username or "",
        "PASSWORD": url.password or "", "HOST": host, "PORT": str(url.port or ""),
    }  # fmt: skip
