"""Who is at work: owners of chunks, whether they are alive, and what they hold."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select
from sqlmodel import col

from evergreet.clock import Clock
from evergreet.database import Database
from evergreet.ownership import held_slots
from models import Attempt, Chunk, Message, WorkerRow


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker that has not signed off.

    `alive`: its lock is held by a living process. `stalled`: alive, owns chunks, and has neither begun nor
    settled anything for the given time. A dead one's chunks are taken over by the next run.
    """

    id: int
    slot: int
    host: str
    pid: int
    started_at: datetime
    alive: bool
    stalled: bool
    chunks: int
    highest_epoch: int
    in_hand: int
    last_sign: datetime | None

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for machines."""
        return asdict(self)


def workers(database: Database, clock: Clock, *, silence_seconds: int) -> list[WorkerView]:
    """List the workers that have not signed off, on either store."""
    with database.read() as connection:
        now = clock.now(connection)
        rows = connection.execute(
            select(WorkerRow).where(col(WorkerRow.ended_at).is_(None)).order_by(col(WorkerRow.id))
        ).all()
        newest = {row.slot: row.id for row in rows}
        facts = {row.id: _facts(connection, row.id) for row in rows}
    held = held_slots(database, set(newest))
    views = []
    for row in rows:
        chunks, epoch, in_hand, last_sign = facts[row.id]
        alive = row.slot in held and newest[row.slot] == row.id
        silent = (now - (last_sign or row.started_at)).total_seconds() > silence_seconds
        views.append(
            WorkerView(
                row.id, row.slot, row.host, row.pid, row.started_at, alive, alive and chunks > 0 and silent,
                chunks, epoch, in_hand, last_sign,
            )
        )  # fmt: skip
    return views


def _facts(connection: Connection, worker_id: int) -> tuple[int, int, int, datetime | None]:
    chunks, epoch = connection.execute(
        select(func.count(), func.coalesce(func.max(col(Chunk.epoch)), 0)).where(
            col(Chunk.owner_id) == worker_id, col(Chunk.state) == "open"
        )
    ).one()
    in_hand = connection.execute(
        select(func.count())
        .select_from(Message)
        .join(Chunk, col(Chunk.id) == col(Message.chunk_id))
        .where(col(Chunk.owner_id) == worker_id, col(Message.state) == "sending")
    ).scalar_one()
    begun, settled = connection.execute(
        select(func.max(col(Attempt.started_at)), func.max(col(Attempt.settled_at))).where(
            col(Attempt.worker_id) == worker_id
        )
    ).one()
    signs = [sign for sign in (begun, settled) if sign is not None]
    return chunks, epoch, in_hand, max(signs) if signs else None
