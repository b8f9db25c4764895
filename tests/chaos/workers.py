"""Workers: processes that run the campaigns again and again, and those who start, watch and bury them."""

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from signal import SIGCONT, SIGKILL, SIGTERM
from typing import Any

from evergreet import database as stores
from evergreet.campaign import Options
from evergreet.commands.opening import stop_on_signal
from evergreet.engine import Engine
from tests.chaos import blindness
from tests.chaos.scene import Scene, campaigns
from tests.faults.children import Child, start
from tests.faults.sink import until
from tests.faults.stores import opened

BUSY_SECONDS = 2.0
"""How long a worker waits for the lock of SQLite."""
IDLE_SECONDS = 0.3
BEGUN = ("begun",)
"""The first word of a worker: from now on it ends in order when it is asked to."""


def work(speak: Callable[[Any], None], scene: Scene) -> dict[str, int]:
    """Run the campaigns again and again, until asked to stop; return what was attempted."""
    stores.BUSY_SECONDS = BUSY_SECONDS
    blindness.install(scene.blinded)
    ended = threading.Event()
    attempted: Counter[str] = Counter()
    with opened(scene.url) as database, scene.route() as route:
        engine = Engine(database, route, scene.settings, scene.load, clock=scene.clock)

        def stop() -> None:
            ended.set()
            engine.request_stop()

        with stop_on_signal(stop):
            speak(BEGUN)
            while not ended.is_set():
                done = Counter[str]()
                for campaign in campaigns(scene.edition):
                    done.update(engine.run(campaign, Options(batch_size=scene.batch)).attempted)
                attempted.update(done)
                if not done:
                    ended.wait(IDLE_SECONDS)
    return dict(attempted)


@dataclass
class Hand:
    """A worker, what struck it, and its last word."""

    child: Child
    pid: int
    faults: list[str] = field(default_factory=list)
    asked: bool = False
    said: tuple[Any, ...] | None = None
    gone: bool = False

    def look(self) -> bool:
        """See whether it is at work still."""
        if self.gone:
            return False
        try:
            while self.child.pipe.poll(0):
                self.said = self.child.pipe.recv()
        except (EOFError, OSError):
            self.gone = True
            self.child.close()
        return not self.gone

    def ask_to_stop(self) -> None:
        """Send SIGTERM, once; before its first word it ends at once, with nothing begun."""
        if self.asked:
            return
        self.asked = True
        with suppress(ProcessLookupError):
            self.child.signal(SIGTERM)


@dataclass
class Crew:
    """The workers of a round, those that have ended among them."""

    scene: Scene
    hands: list[Hand] = field(default_factory=list)

    @property
    def at_work(self) -> list[Hand]:
        """Those who live."""
        return [hand for hand in self.hands if hand.look()]

    def fill_up(self, count: int) -> None:
        """Start workers until so many are at work."""
        for _ in range(count - len(self.at_work)):
            self.begin()

    def begin(self, fault: str = "") -> Hand:
        """Start one; it may have come with a fault."""
        child = start(work, self.scene)
        self.hands.append(Hand(child, child.pid, [fault] if fault else []))
        return self.hands[-1]

    def strike(self, kind: str) -> None:
        """Note a fault that strikes all who are at work."""
        for hand in self.at_work:
            hand.faults.append(kind)

    def dismiss(self) -> None:
        """Ask everybody to stop, and wait until all have."""
        for hand in self.at_work:
            hand.ask_to_stop()
        until(lambda: not self.at_work, "the workers to stop")

    def end(self) -> None:
        """See to it that nobody is left."""
        for hand in self.at_work:
            for number in (SIGCONT, SIGKILL):
                hand.child.signal(number)
            until(lambda hand=hand: not hand.look(), "a killed worker to end")  # type: ignore[misc]
