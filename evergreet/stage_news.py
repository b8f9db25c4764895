"""What is new to a lifecycle since its last evaluation: which contacts, and which of their events.

Both are gathered in temporary tables of the transaction, so that rules can be asked about all of them together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    Select,
    String,
    Table,
    and_,
    case,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    text,
    true,
    union,
    union_all,
)

from evergreet.lifecycle import Lifecycle, Rule
from evergreet.moves import CONTACT, TEMPORARY
from models import Instant
from models import Table as Models
from models.base import Id

EVENT = Models.metadata.tables["event"]

TOUCHED = Table(
    "stage_contact",
    TEMPORARY,
    Column("contact_id", Id, primary_key=True),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DELETE ROWS",
)
"""The contacts that a transaction looks at."""

WORK = Table(
    "stage_event",
    TEMPORARY,
    Column("contact_id", Id, primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("again", Integer, nullable=False),
    Column("name", String(100)),
    Column("moment", Instant(), nullable=False),
    Column("event_id", Id),
    Column("cause_id", Id),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DELETE ROWS",
)
"""What the rules are asked about, per contact in this order: first its new events, then (`again`) as of now."""


@dataclass(frozen=True)
class Stretch:
    """The positions low ≤ p < high, as of now; `ids` bounds the contacts (exclusive, inclusive).

    `previous` is the now of the evaluation before; `came_due` says that an event that was of the future then is
    not any more.
    """

    low: int
    high: int
    now: datetime
    previous: datetime | None
    came_due: bool
    ids: tuple[int, int] | None = None


def gather_contacts(connection: Connection, lifecycle: Lifecycle, stretch: Stretch) -> None:
    """Find the contacts without a stage, with events in the stretch, or whose own data changed."""
    names = _event_names(lifecycle.event_rules)
    found = [
        select(CONTACT.c.id).where(
            CONTACT.c.stage.is_(None), CONTACT.c.erased_at.is_(None), _in_range(CONTACT.c.id, stretch)
        ),
        select(EVENT.c.contact_id).where(
            EVENT.c.contact_id.is_not(None), EVENT.c.name.in_(names),
            _in_range(EVENT.c.contact_id, stretch), _is_new(EVENT, stretch),
        ),
    ]  # fmt: skip
    if any(rule.asks_contact for rule in lifecycle.event_rules):
        found.append(
            select(CONTACT.c.id).where(
                CONTACT.c.position >= stretch.low, CONTACT.c.position < stretch.high,
                _in_range(CONTACT.c.id, stretch),
            )
        )  # fmt: skip
    connection.execute(insert(TOUCHED).from_select(["contact_id"], union(*found)))


def gather_work(connection: Connection, lifecycle: Lifecycle, stretch: Stretch) -> None:
    """Put down, per contact and in order, what the rules are to be asked about."""
    rules = lifecycle.event_rules
    mentioned = _event_names(rules)
    triggers = sorted({name for rule in rules for name in rule.on})
    original = EVENT.alias("original")
    plain = _row(EVENT, EVENT.c.id, true(), stretch).where(EVENT.c.revision == 0, _is_new(EVENT, stretch))
    fresh = original.c.position >= stretch.low
    if stretch.came_due:
        fresh = or_(fresh, EVENT.c.occurred_at > stretch.previous)
    corrected = (
        _row(EVENT, original.c.id, fresh, stretch)
        .join(original, and_(original.c.source == EVENT.c.source, original.c.source_id == EVENT.c.source_id))
        .where(EVENT.c.revision > 0, original.c.revision == 0, _is_new_correction(original, stretch))
    )
    rows = [
        row.where(
            _in_range(EVENT.c.contact_id, stretch),
            EVENT.c.superseded.is_(False),
            EVENT.c.name.in_(mentioned),
            EVENT.c.occurred_at <= stretch.now,
        )
        for row in (plain, corrected)
    ]
    if any(rule.asks_contact for rule in rules):
        now = literal(stretch.now, Instant())
        changed = select(
            CONTACT.c.id.label("contact_id"), null().label("event_id"), null().label("cause_id"),
            null().label("name"), now.label("occurred_at"), literal(1).label("again"),
        ).join(TOUCHED, TOUCHED.c.contact_id == CONTACT.c.id)  # fmt: skip
        rows.append(changed.where(CONTACT.c.position >= stretch.low, CONTACT.c.position < stretch.high))
    row = union_all(*rows).subquery()
    ordinal = func.row_number().over(
        partition_by=row.c.contact_id, order_by=[row.c.again, row.c.occurred_at, row.c.event_id]
    )
    moment = case((row.c.again == 0, row.c.occurred_at), else_=literal(stretch.now, Instant()))
    work = select(row.c.contact_id, ordinal, row.c.again, row.c.name, moment, row.c.event_id, row.c.cause_id).where(
        or_(row.c.again == 1, row.c.name.in_(triggers))
    )
    connection.execute(insert(WORK).from_select([column.name for column in WORK.columns], work))
    if connection.dialect.name == "postgresql":
        connection.execute(text("ANALYZE stage_event"))


def _row(event: Table, cause: ColumnElement[Any], fresh: ColumnElement[bool], stretch: Stretch) -> Select[Any]:
    """One row of work: again (as of now) unless the event is new and not older than the stage."""
    in_order = and_(fresh, event.c.occurred_at >= CONTACT.c.stage_since)
    return (
        select(
            event.c.contact_id, event.c.id.label("event_id"), cause.label("cause_id"),
            event.c.name, event.c.occurred_at, case((in_order, 0), else_=1).label("again"),
        )
        .join(TOUCHED, TOUCHED.c.contact_id == event.c.contact_id)
        .join(CONTACT, CONTACT.c.id == TOUCHED.c.contact_id)
    )  # fmt: skip


def _is_new(event: Any, stretch: Stretch) -> ColumnElement[bool]:
    position = _position(event, stretch)
    new = and_(position >= stretch.low, position < stretch.high)
    return or_(new, _came_due(event, stretch)) if stretch.came_due else new


def _position(event: Any, stretch: Stretch) -> ColumnElement[int]:
    # In a long stretch nearly every position is new: a sum hides the index, so that the contact's own is used.
    position: ColumnElement[int] = event.c.position
    return position if stretch.ids is None else position + 0


def _came_due(event: Any, stretch: Stretch) -> ColumnElement[bool]:
    # Read before, when its time had not come.
    return and_(
        event.c.position < stretch.low,
        event.c.occurred_at > stretch.previous,
        event.c.occurred_at <= stretch.now,
    )


def _is_new_correction(original: Any, stretch: Stretch) -> ColumnElement[bool]:
    """The newest row of a correction counts where it, or the original it replaced already, is in the stretch."""
    position = _position(EVENT, stretch)
    replaced = original.c.position + 0  # found by its source id
    either = or_(position < stretch.high, replaced >= stretch.low)
    new = and_(position >= stretch.low, replaced < stretch.high, either)
    return or_(new, _came_due(EVENT, stretch)) if stretch.came_due else new


def _in_range(contact_id: ColumnElement[int], stretch: Stretch) -> ColumnElement[bool]:
    if stretch.ids is None:
        return true()
    return and_(contact_id > stretch.ids[0], contact_id <= stretch.ids[1])


def _event_names(rules: Sequence[Rule]) -> list[str]:
    return sorted({name for rule in rules for name in rule.event_names})
