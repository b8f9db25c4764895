"""The lifecycle in numbers: who is in which stage, who went on, and how long it took.

All in the words of the lifecycle that is in use: stages that another one left behind count as what they count as for
its rules (`Lifecycle.counted_as`), so that figures go on where the setting was changed.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Subquery, case, exists, func, literal, or_, select

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
    visits = _visits(lifecycle)
    went_on = _went_on(connection, lifecycle, visits, since)
    medians = _medians(connection, visits, since)
    return [
        StageFigures(
            stage.name, stage.title, now[stage.name], *went_on.get(stage.name, (0, 0)), medians.get(stage.name)
        )
        for stage in lifecycle.stages
    ]


def _visits(lifecycle: Lifecycle) -> Subquery:
    """Every visit of a contact to a stage: when it began and ended, and the furthest stage it came to afterwards.

    In the order of time, not of rows: a merge brings the moves of two contacts together.
    """
    moves = select(
        TRANSITION.c.id, TRANSITION.c.contact_id, TRANSITION.c.at, TRANSITION.c.to_stage,
        func.lag(TRANSITION.c.to_stage)
        .over(partition_by=TRANSITION.c.contact_id, order_by=(TRANSITION.c.at, TRANSITION.c.id))
        .label("before"),
    ).subquery()  # fmt: skip
    stage = _counted_as(lifecycle, moves.c.to_stage)
    later: dict[str, Any] = {"partition_by": moves.c.contact_id, "order_by": (moves.c.at, moves.c.id)}
    begins = or_(
        moves.c.before.is_(None),
        moves.c.before == moves.c.to_stage,  # a rule may enter a stage anew
        _counted_as(lifecycle, moves.c.before) != stage,
    )
    return (
        select(
            moves.c.contact_id, moves.c.at, stage.label("stage"),
            func.lead(moves.c.at, type_=Instant()).over(**later).label("left_at"),
            func.max(_place(lifecycle, stage)).over(**later, rows=(1, None)).label("furthest"),
        )
        .where(begins)
        .subquery()
    )  # fmt: skip


def _counted_as(lifecycle: Lifecycle, name: ColumnElement[str]) -> ColumnElement[str]:
    return case(lifecycle.counted_as, value=name, else_=lifecycle.first.name)


def _place(lifecycle: Lifecycle, stage: ColumnElement[str]) -> ColumnElement[int]:
    return case({each.name: literal(place) for place, each in enumerate(lifecycle.stages)}, value=stage)


def _went_on(
    connection: Connection, lifecycle: Lifecycle, visits: Subquery, since: datetime | None
) -> dict[str, tuple[int, int]]:
    further = case((visits.c.furthest > _place(lifecycle, visits.c.stage), visits.c.contact_id))
    counted = select(
        visits.c.stage, func.count(visits.c.contact_id.distinct()), func.count(further.distinct())
    ).group_by(visits.c.stage)
    if since is not None:
        counted = counted.where(visits.c.at >= since)
    return {stage: (entered, went) for stage, entered, went in connection.execute(counted)}


def _medians(connection: Connection, visits: Subquery, since: datetime | None) -> dict[str, timedelta]:
    ended = select(
        visits,
        func.row_number()
        .over(partition_by=visits.c.stage, order_by=visits.c.left_at.op("-")(visits.c.at))
        .label("rank"),
        func.count().over(partition_by=visits.c.stage).label("size"),
    ).where(visits.c.left_at.is_not(None))
    if since is not None:
        ended = ended.where(visits.c.at >= since)
    ranked = ended.subquery()
    middle = select(ranked.c.stage, ranked.c.at, ranked.c.left_at).where(
        ranked.c.rank * 2 >= ranked.c.size, ranked.c.rank * 2 <= ranked.c.size + 2
    )
    spans: dict[str, list[timedelta]] = {}
    for stage, at, left_at in connection.execute(middle):
        spans.setdefault(stage, []).append(left_at - at)
    return {stage: sum(found, timedelta()) / len(found) for stage, found in spans.items()}
