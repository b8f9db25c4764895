"""Engines that break a rule, each in a worker of its own: a runner that does not see it would be blind."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any, cast

from sqlalchemy import update
from sqlmodel import col

from evergreet import delivery, engine, ledger, ownership, settling, worker
from evergreet.contracts import Outcome
from evergreet.errors import Retryable
from models import Attempt, Chunk, Message


def _replace(owner: Any, name: str, by: Any) -> None:
    """Put something in place of a part of the engine, in this process alone."""
    setattr(owner, name, by)


def _hands_over_before_the_intent() -> None:
    """The connector is called first, and then the gates are asked and the intent is written."""
    real = delivery.Delivery._start

    def start(self: delivery.Delivery, window: delivery.Composed) -> None:
        sender = window.provider.sender
        messages: list[Any] = list(window.messages.values())
        told = delivery.handed(sender, messages)
        said = dict(zip([message.key for message in messages], told, strict=True))

        class Told:
            name, capabilities = sender.name, sender.capabilities

            def send(self, batch: Any) -> list[Outcome]:
                return [said[message.key] for message in batch]

        real(self, replace(window, provider=replace(window.provider, sender=cast(Any, Told()))))
        while self.flying:
            self._land()

    _replace(delivery.Delivery, "_start", start)


def _takes_from_the_living() -> None:
    """Take-over does not ask whether the owner is dead, and nobody checks the epoch."""
    mine: set[tuple[int, int]] = set()
    for kind in (ownership.FileLocks, ownership.AdvisoryLocks):
        acquire, release = kind.acquire, kind.release

        def taken(self: Any, slot: int, acquire: Callable[..., bool] = acquire) -> bool:
            if acquire(self, slot):
                mine.add((id(self), slot))
                return True
            return hasattr(self, "opened")

        def given_back(self: Any, slot: int, release: Callable[..., None] = release) -> None:
            if (id(self), slot) in mine:
                mine.discard((id(self), slot))
                release(self, slot)

        _replace(kind, "acquire", taken)
        _replace(kind, "release", given_back)
    real = worker.Worker.take_over_the_dead

    def take_over(self: worker.Worker) -> int:
        _replace(self.locks, "opened", True)
        return real(self)

    _replace(worker.Worker, "take_over_the_dead", take_over)
    for module in (ledger, settling):
        for name in ("own", "expect"):
            _replace(module, name, lambda *_: None)


def _retries_what_is_unknown() -> None:
    """What a dead worker had in hand is planned again, and so is what the provider has not answered for."""
    real, judge = worker.free_chunks, settling._judge

    def free_chunks(connection: Any, chunks: list[int], now: Any) -> None:
        in_hand = (col(Message.chunk_id).in_(chunks), col(Message.state) == "sending")
        open_attempts = col(Attempt.outcome) == ""
        connection.execute(update(Attempt).where(open_attempts).values(outcome="returned", settled_at=now))
        connection.execute(update(Message).where(*in_hand).values(state="planned", changed_at=now))
        real(connection, chunks, now)

    def judged(outcome: Outcome, *arguments: Any) -> Any:
        certain = Retryable(outcome.reason) if isinstance(outcome, Retryable) else outcome
        return judge(cast(Any, certain), *arguments)

    _replace(worker, "free_chunks", free_chunks)
    _replace(settling, "_judge", judged)


def _loses_chunks() -> None:
    """Every third chunk is taken for done before it was begun."""
    real, claimed = ledger.claim, count()

    def claim(mine: worker.Worker, *arguments: Any) -> Any:
        chunk = real(mine, *arguments)
        if chunk is not None and next(claimed) % 3 == 0:
            with mine.transaction() as connection:
                lost = update(Chunk).where(col(Chunk.id) == chunk.id)
                connection.execute(lost.values(owner_id=None, state="done"))
            return real(mine, *arguments)
        return chunk

    _replace(engine, "claim", claim)


BLINDED: dict[str, Callable[[], None]] = {
    "hands over before the intent": _hands_over_before_the_intent,
    "takes from the living": _takes_from_the_living,
    "retries what is unknown": _retries_what_is_unknown,
    "loses chunks": _loses_chunks,
}
"""Rules that can be broken, by name."""


def install(name: str) -> None:
    """Break a rule in this process; the empty name breaks none."""
    if name:
        BLINDED[name]()
