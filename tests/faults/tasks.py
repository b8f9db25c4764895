"""What child processes do when they work together, or are stopped on the way."""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import closing
from multiprocessing.connection import Connection as Pipe
from multiprocessing.synchronize import Barrier
from typing import Any

from evergreet import engine, ledger
from evergreet.campaign import Campaign, Options
from evergreet.clock import DatabaseClock
from evergreet.commands.opening import stop_on_signal
from evergreet.composing import Composer
from evergreet.delivery import Delivery
from evergreet.engine import Engine
from tests.faults.children import Boundaries
from tests.faults.shop import Place, note
from tests.faults.sink import DEADLINE
from tests.faults.stores import opened

Speak = Callable[[Any], None]
HANDING_OVER = "handing over"
STOPPING = "stopping"


def run(place: Place, campaign: Campaign, batch_size: int = 1000) -> dict[str, int]:
    """Run the campaign at the present time; return what was done."""
    with opened(place.url) as database:
        sender = place.smtp()
        try:
            running = Engine(database, sender, place.settings, note, clock=DatabaseClock())
            return running.run(campaign, Options(batch_size=batch_size)).attempted
        finally:
            sender.close()


def _replace(owner: Any, name: str, by: Callable[..., Any]) -> None:
    """Put a hook in place of a function, in this process alone."""
    setattr(owner, name, by)


def work(_speak: Speak, place: Place, campaign: Campaign, batch_size: int = 1000) -> dict[str, int]:
    """Run."""
    return run(place, campaign, batch_size)


def work_together(_speak: Speak, place: Place, campaign: Campaign, batch_size: int, barrier: Barrier) -> dict[str, int]:
    """Run beside others; nobody hands over before everybody has claimed a chunk."""
    real, waited = ledger.claim, threading.Event()

    def claim(*arguments: Any) -> Any:
        chunk = real(*arguments)
        if not waited.is_set():
            waited.set()
            assert chunk is not None
            barrier.wait(DEADLINE)
        return chunk

    _replace(engine, "claim", claim)
    return run(place, campaign, batch_size)


def work_until_told(speak: Speak, place: Place, campaign: Campaign, batch_size: int, go: Pipe) -> dict[str, int]:
    """Run, and wait between the first intent and the check of its age until told to go on."""
    real, waited = Delivery._hand_over, threading.Event()

    def hand_over(delivery: Delivery, window: Any) -> Any:
        if not waited.is_set():
            waited.set()
            speak((HANDING_OVER,))
            assert go.poll(DEADLINE)
            go.recv()
        return real(delivery, window)

    _replace(Delivery, "_hand_over", hand_over)
    return run(place, campaign, batch_size)


def work_until_stopped(speak: Speak, place: Place, campaign: Campaign, batch_size: int) -> dict[str, int]:
    """Run as a command does, which a signal ends in order."""
    with opened(place.url) as database, closing(place.smtp()) as sender:
        running = Engine(database, sender, place.settings, note, clock=DatabaseClock())

        def stop() -> None:
            running.request_stop()
            speak((STOPPING,))

        with stop_on_signal(stop):
            return running.run(campaign, Options(batch_size=batch_size)).attempted


def work_until_poisoned(_speak: Speak, place: Place, campaign: Campaign, poison: str) -> dict[str, int]:
    """Run, and die at once when the message of one contact is rendered."""
    real = Composer.compose

    def compose(composer: Composer, letter: Any, now: Any) -> Any:
        if letter.address == poison:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(composer, letter, now)

    _replace(Composer, "compose", compose)
    return run(place, campaign)


def work_and_die(
    speak: Speak, place: Place, campaign: Campaign, batch_size: int, boundaries: Boundaries
) -> dict[str, int]:
    """Run, and die at a boundary if it comes so far."""
    boundaries.dying = lambda label: speak(("killed", label))
    boundaries.install()
    return run(place, campaign, batch_size)
