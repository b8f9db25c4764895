"""The lifecycle in numbers: who is in which stage, who went on, and how long it took."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, case, exists, func, or_, select

from evergreet.lifecycle import Lifecycle
from evergreet.moves import CONTACT
from models import Instant, Table

TRANSITION = Table.metadata.tables["transition"]


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


def funnel(connection: Connection, lifecycle: Lifecycle, since: datetime | None = None) -> list[StageFigures]:
    """Return the figures per stage in the order of the lifecycle, of moves from `since` on where given."""
    counts = stage_counts(connection)
    went_on = _went_on(connection, lifecycle, since)
    medians = _medians(connection, since)
    return [
        StageFigures(
            stage.name,
            stage.title,
            counts.get(stage.name, 0),
            *went_on.get(stage.name, (0, 0)),
            medians.get(stage.name),
        )
        for stage in lifecycle.stages
    ]


def _went_on(connection: Connection, lifecycle: Lifecycle, since: datetime | None) -> dict[str, tuple[int, int]]:
    entry = select(TRANSITION.c.contact_id, TRANSITION.c.to_stage, func.min(TRANSITION.c.id).label("id")).group_by(
        TRANSITION.c.contact_id, TRANSITION.c.to_stage
    )
    if since is not None:
        entry = entry.where(TRANSITION.c.at >= since)
    first = entry.subquery()
    later = TRANSITION.alias()
    names = [stage.name for stage in lifecycle.stages]
    further = or_(
        *((first.c.to_stage == name) & later.c.to_stage.in_(names[place + 1 :]) for place, name in enumerate(names))
    )
    converted = exists().where(later.c.contact_id == first.c.contact_id, later.c.id > first.c.id, further)
    counted = select(first.c.to_stage, func.count(), func.sum(case((converted.correlate(first), 1), else_=0))).group_by(
        first.c.to_stage
    )
    return {stage: (entered, went) for stage, entered, went in connection.execute(counted)}


def _medians(connection: Connection, since: datetime | None) -> dict[str, timedelta]:
    visits = select(
        TRANSITION.c.to_stage,
        TRANSITION.c.at,
        func.lead(TRANSITION.c.at, type_=Instant())
        .over(partition_by=TRANSITION.c.contact_id, order_by=TRANSITION.c.id)
        .label("left_at"),
    ).subquery()
    ended = select(
        visits,
        func.row_number()
        .over(partition_by=visits.c.to_stage, order_by=visits.c.left_at.op("-")(visits.c.at))
        .label("rank"),
        func.count().over(partition_by=visits.c.to_stage).label("size"),
    ).where(visits.c.left_at.is_not(None))
    if since is not None:
        ended = ended.where(visits.c.at >= since)
    ranked = ended.subquery()
    middle = select(ranked.c.to_stage, ranked.c.at, ranked.c.left_at).where(
        ranked.c.rank * 2 >= ranked.c.size, ranked.c.rank * 2 <= ranked.c.size + 2
    )
    spans: dict[str, list[Any]] = {}
    for stage, at, left_at in connection.execute(middle):
        spans.setdefault(stage, []).append(left_at - at)
    return {stage: sum(found, timedelta()) / len(found) for stage, found in spans.items()}
