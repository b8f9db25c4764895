"""The lifecycle in numbers: who is in which stage, who went on, and how long it took.

All in the words of the lifecycle that is in use: stages that another one left behind count as what they count as for
its rules (`Lifecycle.counted_as`), so that figures go on where the setting was changed.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Subquery,
    and_,
    case,
    exists,
    func,
    literal,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.types import NullType

from evergreet.lifecycle import Lifecycle
from evergreet.moves import CONTACT
from evergreet.presets.vocabulary import KNOWN
from models import Instant, Table

TRANSITION, EVENT = (Table.metadata.tables[name] for name in ("transition", "event"))


@dataclass(frozen=True, slots=True)
class StageFigures:
    """What became of the contacts of one stage.

    `entered` counts contacts that ever came into it, `converted` those of them that later came into any stage
    further on. `median` is the middle of the visits that have ended; None when none has.
    """

    name: str
    title: str
    now: int
    entered: int
    converted: int
    median: timedelta | None

    @property
    def conversion(self) -> float | None:
        """The share that went on, from 0 to 1; None where nobody came."""
        return self.converted / self.entered if self.entered else None


def stage_counts(connection: Connection) -> dict[str | None, int]:
    """Count contacts per present stage; None for those that no evaluation has seen yet. Erased ones are nobody."""
    counted = (
        select(CONTACT.c.stage, func.count().label("contacts"))
        .where(CONTACT.c.erased_at.is_(None))
        .group_by(CONTACT.c.stage)
    )
    return {row.stage: row.contacts for row in connection.execute(counted)}


def never_seen(connection: Connection, lifecycle: Lifecycle) -> list[str]:
    """Name the events that the rules ask about, that the vocabulary does not know, and that never came."""
    asked = {name for rule in lifecycle.rules for name in rule.event_names} - KNOWN
    return [
        name for name in sorted(asked) if not connection.execute(select(exists().where(EVENT.c.name == name))).scalar()
    ]


def funnel(connection: Connection, lifecycle: Lifecycle, since: datetime | None = None) -> list[StageFigures]:
    """Return the figures per stage in the order of the lifecycle, of moves from `since` on where given."""
    now: Counter[str] = Counter()
    for name, contacts in stage_counts(connection).items():
        if name is not None:
            now[lifecycle.counts_as(name)] += contacts
    found = _visited(connection, lifecycle, since)
    return [
        StageFigures(stage.name, stage.title, now[stage.name], *found.get(stage.name, (0, 0, None)))
        for stage in lifecycle.stages
    ]


def _visits(connection: Connection, lifecycle: Lifecycle) -> Subquery:
    """Every visit of a contact to a stage: when it began and ended, and the furthest stage it came to afterwards.

    In the order of time, not of rows: a merge brings the moves of two contacts together.
    """
    own = {stage.name for stage in lifecycle.stages}
    told = set(connection.execute(select(TRANSITION.c.to_stage).distinct()).scalars())
    moves = TRANSITION if told <= own else _between_stages(lifecycle)
    stage = _counted_as(lifecycle, moves.c.to_stage)
    later: dict[str, Any] = {"partition_by": moves.c.contact_id, "order_by": (moves.c.at, moves.c.id)}
    return select(
        moves.c.contact_id, moves.c.at, stage.label("stage"),
        func.lead(moves.c.at, type_=Instant()).over(**later).label("left_at"),
        func.max(_place(lifecycle, stage)).over(**later, rows=(1, None)).label("furthest"),
    ).subquery()  # fmt: skip


def _between_stages(lifecycle: Lifecycle) -> Subquery:
    """The moves without those between two stages of another lifecycle that count as one here."""
    moves = select(
        TRANSITION,
        func.lag(TRANSITION.c.to_stage)
        .over(partition_by=TRANSITION.c.contact_id, order_by=(TRANSITION.c.at, TRANSITION.c.id))
        .label("before"),
    ).subquery()
    to, before = moves.c.to_stage, moves.c.before
    anew = or_(before.is_(None), before == to, _counted_as(lifecycle, before) != _counted_as(lifecycle, to))
    return select(moves).where(anew).subquery()


def _counted_as(lifecycle: Lifecycle, name: ColumnElement[str]) -> ColumnElement[str]:
    return case(lifecycle.counted_as, value=name, else_=lifecycle.first.name)


def _place(lifecycle: Lifecycle, stage: ColumnElement[str]) -> ColumnElement[int]:
    return case({each.name: literal(place) for place, each in enumerate(lifecycle.stages)}, value=stage)


def _visited(
    connection: Connection, lifecycle: Lifecycle, since: datetime | None
) -> dict[str, tuple[int, int, timedelta | None]]:
    """Return by stage how many entered it, how many of them went on, and the median of the visits that have ended."""
    visits = _visits(connection, lifecycle)
    stage = visits.c.stage
    span = type_coerce(visits.c.left_at.op("-")(visits.c.at), NullType())  # an interval; microseconds on SQLite
    one = select(
        stage, visits.c.contact_id, span.label("span"),
        case((visits.c.furthest > _place(lifecycle, stage), visits.c.contact_id)).label("went_on"),
        func.row_number().over(partition_by=stage, order_by=span.nulls_last()).label("rank"),
        func.count(visits.c.left_at).over(partition_by=stage).label("ended"),
    )  # fmt: skip
    if since is not None:
        one = one.where(visits.c.at >= since)
    ranked = one.subquery()
    middle = case((and_(ranked.c.rank * 2 >= ranked.c.ended, ranked.c.rank * 2 <= ranked.c.ended + 2), ranked.c.span))
    counted = select(
        ranked.c.stage, func.count(ranked.c.contact_id.distinct()), func.count(ranked.c.went_on.distinct()),
        func.min(middle), func.max(middle),
    ).group_by(ranked.c.stage)  # fmt: skip
    return {
        name: (entered, went_on, None if low is None else (_span(low) + _span(high)) / 2)
        for name, entered, went_on, low, high in connection.execute(counted)
    }


def _span(stored: timedelta | int) -> timedelta:
    return stored if isinstance(stored, timedelta) else timedelta(microseconds=stored)
