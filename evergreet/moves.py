"""Moving contacts between stages: many at once, each move a transition row that is never changed again.

The moves of one transaction are first gathered in a temporary table, then written with one INSERT … SELECT
and one UPDATE … FROM, whatever their number.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from sqlalchemy import (
    Column,
    Connection,
    Executable,
    FromClause,
    Integer,
    MetaData,
    String,
    Table,
    and_,
    delete,
    exists,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.schema import CreateTable

from evergreet.database import ingest_position
from evergreet.lifecycle import Lifecycle
from models import Contact, Instant, Transition
from models import Table as Models
from models.base import Id

CONTACT = Models.metadata.tables["contact"]
TEMPORARY = MetaData()

MOVE = Table(
    "stage_move",
    TEMPORARY,
    Column("contact_id", Id, primary_key=True),
    Column("ordinal", Integer),
    Column("to_stage", String(100)),
    Column("at", Instant()),
    Column("cause", String(20)),
    Column("cause_event_id", Id),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DELETE ROWS",  # autovacuum does not see temporary tables
)
"""The moves at hand, at most one per contact. `ordinal` is how far the contact's events were looked at."""


class Moves:
    """Writes the gathered moves of one transaction and counts them."""

    def __init__(self, connection: Connection, now: datetime) -> None:
        self.connection = connection
        self.now = now
        self.entered: Counter[str] = Counter()
        self.moved = 0
        self._position: int | None = None

    def clear(self, *tables: Table) -> None:
        """Empty the temporary tables, and make them where this connection has none yet."""
        for table in (MOVE, *tables):
            self.connection.execute(CreateTable(table, if_not_exists=True))
            self.connection.execute(delete(table))

    def lock(self, ids: FromClause) -> None:
        """Lock the contacts in id order, as everyone does; the statements that follow see them settled."""
        rows = (
            select(CONTACT.c.id)
            .where(CONTACT.c.id.in_(select(ids.c.contact_id)))
            .order_by(CONTACT.c.id)
            .with_for_update(key_share=True)
        )
        self.connection.execute(select(func.count()).select_from(rows.subquery()))

    def apply(self) -> int:
        """Write a transition for each gathered move, and bring the contacts there."""
        counts = self.connection.execute(select(MOVE.c.to_stage, func.count()).group_by(MOVE.c.to_stage)).all()
        if not counts:
            return 0
        if self._position is None:
            self._position = ingest_position(self.connection)
        moves = (
            select(
                CONTACT.c.id, CONTACT.c.stage, MOVE.c.to_stage, MOVE.c.at, MOVE.c.cause, MOVE.c.cause_event_id,
                literal(self.now, Instant()), literal(self._position, Id),
            )
            .join(MOVE, MOVE.c.contact_id == CONTACT.c.id)
            .order_by(MOVE.c.at, CONTACT.c.id)
        )  # fmt: skip
        moved: Executable = insert(Transition).from_select(
            ["contact_id", "from_stage", "to_stage", "at", "cause", "cause_event_id", "recorded_at", "position"],
            moves,
        )
        self.connection.execute(moved)
        self.connection.execute(
            update(Contact)
            .values(stage=MOVE.c.to_stage, stage_since=MOVE.c.at)
            .where(CONTACT.c.id == MOVE.c.contact_id)
        )
        entered = {str(stage): int(count) for stage, count in counts}
        self.entered.update(entered)
        self.moved += sum(entered.values())
        return sum(entered.values())


def set_stage(
    connection: Connection,
    lifecycle: Lifecycle,
    wanted: Mapping[int, str],
    *,
    cause: Literal["import", "crm"],
    at: datetime,
    now: datetime,
) -> int:
    """Bring contacts (by id) to the stages that a file or a CRM says they are in; return how many moved.

    A contact that is there already does not move, nor one whose present stage began after `at`: moves are
    never rewritten. Raises `DefinitionError` when the lifecycle has no such stage, before anything is written.
    """
    for name in set(wanted.values()):
        lifecycle.stage(name)
    if not wanted:
        return 0
    moves = Moves(connection, now)
    moves.clear()
    connection.execute(
        insert(MOVE),
        [{"contact_id": contact, "to_stage": stage, "at": at, "cause": cause} for contact, stage in wanted.items()],
    )
    moves.lock(MOVE)
    elsewhere = and_(CONTACT.c.stage != MOVE.c.to_stage, CONTACT.c.stage_since <= at)
    movable = exists().where(
        CONTACT.c.id == MOVE.c.contact_id,
        CONTACT.c.erased_at.is_(None),
        or_(CONTACT.c.stage.is_(None), elsewhere),
    )
    connection.execute(delete(MOVE).where(not_(movable.correlate(MOVE))))
    return moves.apply()
