"""How each fault of workers, stores, clocks, campaigns and people is injected; the provider has its own weather."""

import random
import resource
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from signal import SIGCONT, SIGKILL, SIGSTOP

import psutil
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import col

from evergreet.database import Database, parse_url
from evergreet.errors import EvergreetError
from evergreet.tokens import Tokens
from models import Contact, WorkerRow
from tests.chaos.decisions import DECISIONS, Decisions
from tests.chaos.faults import Log
from tests.chaos.scene import order
from tests.chaos.servers import PostgresServer, Server
from tests.chaos.workers import BUSY_SECONDS, Crew, Hand
from tests.faults.disks import fill
from tests.faults.sink import until

CONFLICT = (
    "CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF random() < 0.1 THEN "
    "RAISE EXCEPTION 'could not serialize access due to concurrent update' USING ERRCODE = '40001'; "
    "END IF; RETURN NEW; END $$",
    "CREATE TRIGGER conflict BEFORE UPDATE ON message FOR EACH ROW EXECUTE FUNCTION conflict()",
)


@dataclass
class Injector:
    """Injects faults into one round."""

    server: Server
    database: Database
    crew: Crew
    chance: random.Random
    log: Log
    decisions: Decisions
    people: list[str] = field(default_factory=list)
    """Who has ordered for certain."""
    perhaps: set[str] = field(default_factory=set)
    """Whose order was being stored when a fault struck."""
    resolved: Counter[str] = field(default_factory=Counter)
    """How what was unknown was resolved meanwhile."""

    def deck(self) -> list[str]:
        """Return what this store and this machine can be struck by, some of it more than once."""
        kinds = ["SIGKILL"] * 3 + ["SIGTERM", "out of memory", "SIGSTOP", "SIGSTOP", "definition changed"]
        kinds += ["template broken", "clock forward", "clock forward", "clock backward", *DECISIONS]
        if isinstance(self.server, PostgresServer):
            kinds += [
                "session ended",
                "PostgreSQL restarts fast",
                "PostgreSQL crashes",
                "deadlock",
                "serialization failure",
            ]
            kinds += ["importer overtaken"]
        else:
            kinds += ["locked"]
        if self.server.disk is not None:
            kinds += ["disk full"]
        return kinds

    def inject(self, kind: str) -> None:
        """Inject it; without a worker to strike it is left out."""
        acts: dict[str, Callable[[], str | None]] = {
            "SIGKILL": self._kill, "SIGTERM": self._terminate, "out of memory": self._starve, "SIGSTOP": self._stop,
            "session ended": self._end_session, "PostgreSQL restarts fast": self._restart,
            "PostgreSQL crashes": self._crash, "deadlock": self._deadlock, "serialization failure": self._roll_back,
            "importer overtaken": self._overtake, "locked": self._lock, "disk full": self._fill,
            "clock forward": lambda: self._jump(self.chance.uniform(1, 30) * 3600),
            "clock backward": lambda: self._jump(-self.chance.uniform(1, 20) * 60),
            "definition changed": self._redefine, "template broken": self._break_template,
            **{decision: self._deciding(decision) for decision in DECISIONS},
        }  # fmt: skip
        if (about := acts[kind]()) is not None:
            self.log.record(kind, about)

    def orders(self, names: Sequence[str]) -> None:
        """Store some orders, whatever happens meanwhile."""
        self.perhaps.update(names)
        with suppress(EvergreetError, DBAPIError), self.database.write() as connection:
            order(connection, names, self.crew.scene.clock.now(connection))
        self._look_for(names)

    def _look_for(self, names: Sequence[str]) -> None:
        """See who is there: a COMMIT whose answer was lost may have happened."""
        with suppress(EvergreetError, DBAPIError), self.database.read() as connection:
            there = connection.execute(select(col(Contact.source_id)).where(col(Contact.source_id).in_(names)))
            self.people += [name for name in there.scalars() if name not in self.people]

    def _victim(self, kind: str) -> Hand | None:
        at_work = self.crew.at_work
        if not at_work:
            return None
        hand = self.chance.choice(at_work)
        hand.faults.append(kind)
        return hand

    def _kill(self) -> str | None:
        if (hand := self._victim("SIGKILL")) is None:
            return None
        hand.child.signal(SIGKILL)
        return f"worker {hand.pid}"

    def _terminate(self) -> str | None:
        if (hand := self._victim("SIGTERM")) is None:
            return None
        hand.ask_to_stop()
        return f"worker {hand.pid}"

    def _starve(self) -> str | None:
        if (hand := self._victim("out of memory")) is None:
            return None
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            now = psutil.Process(hand.pid).memory_info().vms
            resource.prlimit(hand.pid, resource.RLIMIT_AS, (now + (64 << 10), now + (64 << 10)))
            _wait(lambda: not hand.look(), 0.7)
            if hand.look():
                hand.child.signal(SIGKILL)
        return f"worker {hand.pid}"

    def _stop(self) -> str | None:
        if (hand := self._victim("SIGSTOP")) is None:
            return None
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            hand.child.signal(SIGSTOP)
            until(lambda: hand.child.stopped() or not hand.look(), "a worker to stop")
            ended = self._end_sessions_of(hand)
            _wait(lambda: ended and not self._slots(hand), 1.0)
            hand.child.signal(SIGCONT)
        return f"worker {hand.pid}{', taken over' if ended and not self._slots(hand) else ''}"

    def _slots(self, hand: Hand) -> list[int]:
        """The slots that a process has by the ledger."""
        here = select(col(WorkerRow.slot)).where(col(WorkerRow.pid) == hand.pid, col(WorkerRow.ended_at).is_(None))
        with self.database.read() as connection:
            return list(connection.execute(here).scalars())

    def _end_sessions_of(self, hand: Hand) -> int:
        if not isinstance(self.server, PostgresServer):
            return 0
        url = self.crew.scene.url
        return sum(self.server.end_session(url, slot) for slot in self._slots(hand))

    def _end_session(self) -> str | None:
        if (hand := self._victim("session ended")) is None or not self._end_sessions_of(hand):
            return None
        return f"worker {hand.pid}"

    def _restart(self) -> str:
        return self._down("PostgreSQL restarts fast", "fast")

    def _crash(self) -> str:
        return self._down("PostgreSQL crashes", "immediate")

    def _down(self, kind: str, mode: str) -> str:
        assert isinstance(self.server, PostgresServer)
        self.crew.strike(kind)
        self.server.restart("fast" if mode == "fast" else "immediate")
        return f"{len(self.crew.hands)} workers"

    def _deadlock(self) -> str:
        """Lock the newest contacts one by one, from the last to the first; windows go from the first to the last."""
        ended = "nobody was ended"
        newest = select(col(Contact.id)).order_by(col(Contact.id).desc()).limit(25)
        try:
            with self.database.write() as connection:
                for contact in connection.execute(newest).scalars().all():
                    locked = select(col(Contact.id)).where(col(Contact.id) == contact)
                    connection.execute(locked.with_for_update())
                    time.sleep(0.01)
        except (EvergreetError, DBAPIError):
            ended = "the other side was ended"
        return ended

    def _roll_back(self) -> str:
        """Let the store refuse some of what workers write, as it does when transactions are in each other's way."""
        for statement in CONFLICT:
            with self.database.write() as connection:
                connection.execute(text(statement))
        self.crew.strike("serialization failure")
        _wait(lambda: not self.crew.at_work, 0.5)
        with self.database.write() as connection:
            connection.execute(text("DROP FUNCTION conflict CASCADE"))
        return f"{len(self.crew.hands)} workers"

    def _overtake(self) -> str:
        early, late = (f"{self.chance.randrange(10**9):09}{side}" for side in "ab")
        self.perhaps |= {early, late}
        with suppress(EvergreetError, DBAPIError), self.database.write() as slow:
            order(slow, [early], self.crew.scene.clock.now(slow))
            with self.database.write() as quick:
                order(quick, [late], self.crew.scene.clock.now(quick))
            time.sleep(0.2)  # for as long somebody may look: it is what this fault is about
        self._look_for([early, late])
        return f"{early} after {late}"

    def _lock(self) -> str:
        path = str(parse_url(self.crew.scene.url).database)
        with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as other:
            other.execute("BEGIN IMMEDIATE")
            self.crew.strike("locked")
            time.sleep(BUSY_SECONDS + 0.3)
            other.execute("ROLLBACK")
        return f"{len(self.crew.hands)} workers"

    def _fill(self) -> str:
        assert self.server.disk is not None
        self.crew.strike("disk full")
        filler = fill(self.server.disk, 0)
        try:
            _wait(lambda: not self.crew.at_work, 0.7)
        finally:
            filler.unlink()
        return f"{len(self.crew.hands)} workers"

    def _jump(self, seconds: float) -> str:
        self.crew.scene.clock.jump(timedelta(seconds=seconds))
        return f"{seconds / 60:+.0f} minutes"

    def _redefine(self) -> str:
        self._terminate()
        self.crew.scene = replace(self.crew.scene, edition=self.crew.scene.edition + 1)
        return f"edition {self.crew.scene.edition}, worker {self.crew.begin().pid}"

    def _break_template(self) -> str:
        sane = self.crew.scene
        self.crew.scene = replace(sane, broken=True)
        hand = self.crew.begin()
        self.crew.scene = sane
        _wait(lambda: not hand.look(), 0.7)
        if hand.look():
            hand.ask_to_stop()
        return f"worker {hand.pid}"

    def _deciding(self, kind: str) -> Callable[[], str | None]:
        def decide() -> str | None:
            if not self.people:
                return None
            name = self.chance.choice(self.people[-60:])
            if name in self.decisions.tried:
                return None
            held = self.decisions.decide(
                self.database, self.crew.scene.clock, Tokens(self.crew.scene.settings.signing_keys), name, kind
            )
            return f"{name}{'' if held else ', perhaps'}"

        return decide


def _wait(condition: Callable[[], object], seconds: float) -> None:
    """Wait for a condition, and not longer."""
    ends = time.monotonic() + seconds
    over = threading.Event()
    while not condition() and time.monotonic() < ends:
        over.wait(0.01)
