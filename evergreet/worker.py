"""A worker: one process, one slot, one connection on which every intent and settle runs."""

import os
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, Row, bindparam, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlmodel import col

from evergreet.clock import Clock
from evergreet.database import Database, told, writing
from evergreet.errors import OwnershipLost
from evergreet.ownership import AdvisoryLocks, FileLocks, SlotLocks, own_slot, refuse_pooler
from evergreet.tally import OPEN, add_to_tally
from models import Attempt, Chunk, Message, Run, WorkerRow

POISON = "poison: in hand when its worker died"
DEATHS_TO_POISON = 2
"""A message that was in hand at this many deaths of a process is `failed(poison)`."""


class Worker:
    """The owner of chunks. Lost connection means lost ownership: it never reconnects and goes on."""

    def __init__(self, connection: Connection, locks: SlotLocks, slot: int, clock: Clock) -> None:
        self.connection = connection
        self.locks = locks
        self.slot = slot
        self.clock = clock
        self.id = 0
        self.counted: dict[int, int] = {}
        """By campaign: what its limit counted when it last asked each row, less what it can count without."""

    @classmethod
    @contextmanager
    def open(cls, database: Database, clock: Clock, *, silence_seconds: int = 300) -> Iterator[Self]:
        """Take a slot, register, and end whatever dead workers left behind."""
        engine = database.single(
            idle_session_timeout=f"{silence_seconds}s",
            idle_in_transaction_session_timeout=f"{silence_seconds}s",
        )
        with told(database), engine.connect() as connection:
            locks: SlotLocks
            if database.is_sqlite:
                locks = FileLocks(Path(str(database.url.database)))
            else:
                refuse_pooler(connection)
                locks = AdvisoryLocks(connection)
            slot = own_slot(locks)
            worker = cls(connection, locks, slot, clock)
            try:
                worker._register()
                worker.take_over_the_dead()
                yield worker
                worker._sign_off()
            finally:
                if not connection.invalidated:  # a server lets go of a closed session only a moment later
                    with suppress(DBAPIError):
                        locks.release(slot)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Run a block as one writing transaction on the worker's own connection."""
        if self.connection.closed or self.connection.invalidated:
            raise OwnershipLost(f"Worker {self.id} lost its connection to the database, and with it what it owned.")
        try:
            with writing(self.connection):
                yield self.connection
        except DBAPIError as error:
            if error.connection_invalidated:
                raise OwnershipLost(
                    f"Worker {self.id} lost its connection to the database, and with it what it owned."
                ) from error
            raise

    def ping(self) -> None:
        """Show the server that this session is alive while hand-overs take their time."""
        with self.transaction() as connection:
            connection.execute(text("SELECT 1"))

    def acquit(self) -> None:
        """Say that the message in hand is not to blame for the end of this worker: it ends by an error, alive."""
        with self.transaction() as connection:
            connection.execute(update(Chunk).where(col(Chunk.owner_id) == self.id).values(in_hand=None))

    def _register(self) -> None:
        with self.transaction() as connection:
            self.id = connection.execute(
                insert(WorkerRow)
                .values(
                    slot=self.slot,
                    host=socket.gethostname(),
                    pid=os.getpid(),
                    started_at=self.clock.now(connection),
                )
                .returning(col(WorkerRow.id))
            ).scalar_one()

    def _sign_off(self) -> None:
        with self.transaction() as connection:
            connection.execute(
                update(WorkerRow)
                .where(col(WorkerRow.id) == self.id)
                .values(ended_at=self.clock.now(connection), end="done")
            )

    def take_over_the_dead(self) -> int:
        """End every worker that is dead but not signed off; return how many.

        One transaction each: with the dead owner's lock taken, its epochs rise, what it was sending becomes
        `unknown`, and its chunks are free again.
        """
        with self.transaction() as connection:
            rows = connection.execute(
                select(col(WorkerRow.id), col(WorkerRow.slot))
                .where(col(WorkerRow.ended_at).is_(None), col(WorkerRow.id) != self.id)
                .order_by(col(WorkerRow.id))
            ).all()
            newest_of = select(col(WorkerRow.slot), func.max(col(WorkerRow.id))).group_by(col(WorkerRow.slot))
            newest = dict(connection.execute(newest_of.where(col(WorkerRow.ended_at).is_(None))).tuples().all())
        ended = 0
        for row in rows:
            if newest.get(row.slot) != row.id:  # its slot has a newer worker: the process is gone
                ended += self._take_over(row)
            elif self.locks.acquire(row.slot):
                try:
                    ended += self._take_over(row)
                finally:
                    self.locks.release(row.slot)
        return ended

    def _take_over(self, dead: Row[tuple[int, int]]) -> int:
        with self.transaction() as connection:
            now = self.clock.now(connection)
            ended = connection.execute(
                update(WorkerRow)
                .where(col(WorkerRow.id) == dead.id, col(WorkerRow.ended_at).is_(None))
                .values(ended_at=now, end="died")
            ).rowcount
            if not ended:
                return 0  # somebody else was faster
            connection.execute(
                update(Run)
                .where(col(Run.worker_id) == dead.id, col(Run.ended_at).is_(None))
                .values(ended_at=now, state="crashed")
            )
            chunks = connection.execute(
                select(col(Chunk.id), col(Chunk.in_hand))
                .where(col(Chunk.owner_id) == dead.id, OPEN)
                .order_by(col(Chunk.id))
                .with_for_update(key_share=True)
            ).all()
            if chunks:
                _count_deaths(
                    connection, {chunk.in_hand: chunk.id for chunk in chunks if chunk.in_hand is not None}, now
                )
                free_chunks(connection, [chunk.id for chunk in chunks], now)
            return 1


def free_chunks(connection: Connection, chunks: list[int], now: datetime) -> None:
    """Raise the epoch of chunks whose owner died; what was being sent becomes unknown."""
    leave_in_doubt(connection, chunks, "the worker died between intent and settle", now)
    connection.execute(
        update(Chunk)
        .where(col(Chunk.id).in_(chunks))
        .values(owner_id=None, epoch=Chunk.epoch + 1, deaths=Chunk.deaths + 1, in_hand=None)
    )


def leave_in_doubt(connection: Connection, chunks: list[int], reason: str, now: datetime) -> None:
    """Make unknown what chunks say is being sent, though nobody has it in hand."""
    in_doubt = (
        select(col(Message.id))
        .where(col(Message.chunk_id).in_(chunks), col(Message.state) == "sending")
        .scalar_subquery()
    )
    connection.execute(
        update(Attempt)
        .where(col(Attempt.message_id).in_(in_doubt), col(Attempt.outcome) == "")
        .values(outcome="unknown", detail=reason, settled_at=now)
    )
    connection.execute(
        update(Message)
        .where(col(Message.chunk_id).in_(chunks), col(Message.state) == "sending")
        .values(state="unknown", reason=reason, chunk_id=None, unknown_since=now, changed_at=now)
    )


def _count_deaths(connection: Connection, in_hand: dict[int, int], now: datetime) -> None:
    """Count a death for each message that was in hand, by its chunk; one that has left it since was in nobody's."""
    if not in_hand:
        return
    blamed = (col(Message.id).in_(in_hand), col(Message.chunk_id).in_(sorted(in_hand.values())))
    connection.execute(
        update(Message).where(*blamed, col(Message.state).in_(("planned", "sending"))).values(deaths=Message.deaths + 1)
    )
    poisoned = connection.execute(
        update(Message)
        .where(
            *blamed,
            col(Message.state) == "planned",
            Message.deaths >= bindparam("limit"),
        )
        .values(state="failed", reason=POISON, chunk_id=None, changed_at=now)
        .returning(col(Message.campaign_id)),
        {"limit": DEATHS_TO_POISON},
    ).scalars()
    for campaign, count in Counter(poisoned).items():
        add_to_tally(connection, campaign, {("failed", POISON): count})
