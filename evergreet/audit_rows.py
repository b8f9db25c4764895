"""What the audit asks of all rows of a campaign at once: its tally, and that what they refer to is there."""

from collections.abc import Iterator

from sqlalchemy import Connection, exists, func, literal, select, union_all
from sqlmodel import col

from evergreet.tally import SETTLED
from models import Attempt, Contact, Enrollment, Event, Message, Run, Tally, Transition, WorkerRow


def tallied_otherwise(connection: Connection, campaign_id: int) -> Iterator[str]:
    """Yield each settled state and reason of which the tally says another number than there are messages."""
    kinds = (col(Message.state), col(Message.reason))
    rows = union_all(
        select(*kinds, func.count().label("there"), literal(0).label("told"))
        .where(col(Message.campaign_id) == campaign_id, col(Message.state).in_(SETTLED))
        .group_by(*kinds),
        select(col(Tally.state), col(Tally.reason), literal(0), col(Tally.messages)).where(
            col(Tally.campaign_id) == campaign_id
        ),
    ).subquery()
    there, told = func.sum(rows.c.there), func.sum(rows.c.told)
    for row in connection.execute(
        select(rows.c.state, rows.c.reason, there, told).group_by(rows.c.state, rows.c.reason).having(there != told)
    ):
        yield f"{' '.join(filter(None, row[:2]))}: {row[2]} there, {row[3]} tallied"


def without_reference(connection: Connection, campaign_id: int) -> Iterator[str]:
    """Yield what foreign keys would refuse, had the tables of the ledger any: each would cost every row a look-up."""
    enrollments = select(Enrollment).where(col(Enrollment.campaign_id) == campaign_id)
    attempts = (
        select(Attempt)
        .join(Message, col(Message.id) == col(Attempt.message_id))
        .where(col(Message.campaign_id) == campaign_id)
    )
    for what, table, rows, key, of in (
        ("enrollment", Enrollment, enrollments, Enrollment.contact_id, Contact),
        ("enrollment", Enrollment, enrollments, Enrollment.cause_event_id, Event),
        ("enrollment", Enrollment, enrollments, Enrollment.cause_transition_id, Transition),
        ("attempt", Attempt, attempts, Attempt.run_id, Run),
        ("attempt", Attempt, attempts, Attempt.worker_id, WorkerRow),
    ):
        there = exists().where(col(of.id) == col(key))
        found = rows.with_only_columns(col(table.id), maintain_column_froms=True).where(col(key).is_not(None), ~there)
        for row in connection.execute(found).scalars():
            yield f"{what} {row} ({of.__tablename__})"
