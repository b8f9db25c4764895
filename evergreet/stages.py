"""Evaluating a lifecycle: events and the passing of time move contacts between stages.

An evaluation reads the stretch of ingest positions that no evaluation has read yet. For each contact its new
events are looked at in the order of their times; the first one at which a rule holds moves the contact, and
so on from there. All contacts are handled together: a round is a handful of statements and finds each
contact's next move, so there are as many rounds as the busiest contact has moves. Then a sweep asks the rules
that depend on time alone.

- A *late* event (older than the present stage) and a correction never rewrite. They let the rules that
  mention the event be asked once more, as of now, when everything in order has been handled; such a rule
  needs an event of its `on` after the contact came into its stage, which the late event itself is not.
  The move is dated now. A move caused by a correction names the original event as its cause.
- A change of a contact's own data asks the rules that mention such data once more in the same way.
- An event of the future is looked at when its time has come.

A long stretch (a first import) is handled in several transactions, by ranges of contact ids; how far it got is
stored with them, so that an evaluation that was ended goes on where it was. Two evaluations at once take turns.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    text,
    true,
    union_all,
    update,
)

from evergreet.audience import Scope, compile_condition
from evergreet.clock import Clock
from evergreet.conditions import AnyOf, did
from evergreet.contracts import Reporter
from evergreet.database import Database, exclusive, settled_position
from evergreet.lifecycle import Lifecycle, Rule
from evergreet.moves import CONTACT, MOVE, Moves
from evergreet.stage_news import EVENT, TOUCHED, WORK, Stretch, gather_contacts, gather_work
from evergreet.store import by_index
from models import Cursor, Instant
from models import Table as Models

CURSOR = Models.metadata.tables["cursor"]

READ, UNTIL, CONTACTS, AHEAD = "stages", "stages:until", "stages:contacts", "stages:ahead"
"""Cursors: positions below it were read · the end of the stretch at hand and its now · the contacts of it that
are done, by id · the time of the next event of the future."""

ROWS_PER_CONTACT = 20
"""A stretch of at most `batch` times as many rows is handled in one transaction."""


@dataclass
class StageReport:
    """What an evaluation did: contacts looked at, moves made, and how many entered each stage."""

    entered: dict[str, int] = field(default_factory=dict)
    moved: int = 0
    evaluated: int = 0
    cursor: int = 0

    def add(self, moves: Moves) -> None:
        """Count the moves of one transaction."""
        self.entered = dict(Counter(self.entered) + moves.entered)
        self.moved += moves.moved


def evaluate_stages(
    database: Database, lifecycle: Lifecycle, clock: Clock, *, batch: int = 2000, reporter: Reporter | None = None
) -> StageReport:
    """Move the contacts that new events, changed data or the passing of time move; return what was done.

    At most `batch` contacts (and their new events) go into one transaction of a long stretch; the `reporter` is
    told between transactions, and may raise to end the evaluation there.
    """
    report = StageReport()
    done = False
    while not done:
        with database.write() as connection:
            exclusive(connection, READ)
            connection.execute(select(by_index()))
            done = _read_on(connection, lifecycle, clock, batch, report)
        if reporter:
            reporter.progress("stages", report.evaluated, None)
    if lifecycle.time_rules:
        _sweep(database, lifecycle, clock, batch, report, reporter)
    return report


def _read_on(connection: Connection, lifecycle: Lifecycle, clock: Clock, batch: int, report: StageReport) -> bool:
    """Handle the next part of the stretch in this transaction; say whether the stretch is done."""
    cursors = {row.name: row for row in connection.execute(select(CURSOR).where(CURSOR.c.name.like("stages%")))}
    low, previous = (cursors[READ].position, cursors[READ].at) if READ in cursors else (0, None)
    until, ahead = cursors.get(UNTIL), cursors.get(AHEAD)
    now = until.at if until else clock.now(connection)
    stretch = Stretch(
        low=low,
        high=until.position if until else settled_position(connection),
        now=now,
        previous=previous,
        came_due=ahead is not None and ahead.at <= now,
    )
    if until is None and _is_short(connection, stretch, batch * ROWS_PER_CONTACT):
        _evaluate(connection, lifecycle, stretch, report)
        return _close(connection, stretch, report)
    if until is None and connection.dialect.name == "postgresql":
        # Most events are new: by what it knew before, it would read all of a name for each contact's few.
        connection.execute(text("ANALYZE contact, event"))
    after = cursors[CONTACTS].position if CONTACTS in cursors else 0
    following = select(CONTACT.c.id).where(CONTACT.c.id > after).order_by(CONTACT.c.id).limit(batch).subquery()
    last = connection.execute(select(func.max(following.c.id))).scalar_one()
    if last is None:
        return _close(connection, stretch, report)
    _evaluate(connection, lifecycle, replace(stretch, ids=(after, last)), report)
    _store(connection, UNTIL, stretch.high, stretch.now)
    _store(connection, CONTACTS, last, stretch.now)
    return False


def _is_short(connection: Connection, stretch: Stretch, limit: int) -> bool:
    rows = union_all(
        *(
            select(literal(1))
            .where(table.c.position >= stretch.low, table.c.position < stretch.high)
            .limit(limit)
            .subquery()
            .select()
            for table in (EVENT, CONTACT)
        )
    )
    return connection.execute(select(func.count()).select_from(rows.subquery())).scalar_one() < limit


def _close(connection: Connection, stretch: Stretch, report: StageReport) -> bool:
    """Advance the cursor, and remember when the next event of the future comes due."""
    future = select(func.min(EVENT.c.occurred_at)).where(
        EVENT.c.position < stretch.high, EVENT.c.occurred_at > stretch.now
    )
    if not stretch.came_due:  # what was known before is still to come: only the new ones are to be looked through
        future = future.where(EVENT.c.position >= stretch.low)
    known = connection.execute(select(CURSOR.c.at).where(CURSOR.c.name == AHEAD, CURSOR.c.at > stretch.now)).scalar()
    found = [at for at in (known, connection.execute(future).scalar_one()) if at is not None]
    finished = [UNTIL, CONTACTS]
    if found:
        _store(connection, AHEAD, stretch.high, min(found))
    else:
        finished.append(AHEAD)
    _store(connection, READ, stretch.high, stretch.now)
    connection.execute(delete(CURSOR).where(CURSOR.c.name.in_(finished)))
    report.cursor = stretch.high
    return True


def _store(connection: Connection, name: str, position: int, at: datetime) -> None:
    changed = connection.execute(update(CURSOR).where(CURSOR.c.name == name).values(position=position, at=at)).rowcount
    if not changed:
        connection.execute(insert(Cursor).values(name=name, position=position, at=at))


def _evaluate(connection: Connection, lifecycle: Lifecycle, stretch: Stretch, report: StageReport) -> None:
    moves = Moves(connection, stretch.now)
    moves.clear(TOUCHED, WORK)
    gather_contacts(connection, lifecycle, stretch)
    _lock_touched(moves)
    report.evaluated += connection.execute(select(func.count()).select_from(TOUCHED)).scalar_one()
    _begin(connection, lifecycle, stretch)
    moves.apply()
    gather_work(connection, lifecycle, stretch)
    _follow(connection, lifecycle, moves)
    report.add(moves)


def _lock_touched(moves: Moves) -> None:
    moves.lock(TOUCHED)
    erased = exists().where(CONTACT.c.id == TOUCHED.c.contact_id, CONTACT.c.erased_at.is_not(None))
    moves.connection.execute(delete(TOUCHED).where(erased.correlate(TOUCHED)))


def _begin(connection: Connection, lifecycle: Lifecycle, stretch: Stretch) -> None:
    """Let contacts without a stage begin in the first one, at their earliest event."""
    event = EVENT.alias()
    earliest = (
        select(func.min(event.c.occurred_at))
        .where(event.c.contact_id == CONTACT.c.id, event.c.superseded.is_(False), event.c.occurred_at <= stretch.now)
        .correlate(CONTACT)
        .scalar_subquery()
    )
    begun = (
        select(
            CONTACT.c.id,
            literal(lifecycle.first.name),
            func.coalesce(earliest, CONTACT.c.created_at),
            literal("created"),
        )
        .join(TOUCHED, TOUCHED.c.contact_id == CONTACT.c.id)
        .where(CONTACT.c.stage.is_(None))
    )
    connection.execute(insert(MOVE).from_select(["contact_id", "to_stage", "at", "cause"], begun))


def _follow(connection: Connection, lifecycle: Lifecycle, moves: Moves) -> None:
    """Round by round, bring each contact to the next of its events at which a rule holds, and move it."""
    connection.execute(delete(MOVE))
    waiting = select(WORK.c.contact_id, literal(0)).distinct()
    connection.execute(insert(MOVE).from_select(["contact_id", "ordinal"], waiting))
    stage = _asked_at_events(lifecycle)
    following = (
        select(WORK.c.ordinal)
        .join(CONTACT, CONTACT.c.id == WORK.c.contact_id)
        .where(WORK.c.contact_id == MOVE.c.contact_id, WORK.c.ordinal > MOVE.c.ordinal, stage.is_not(None))
        .order_by(WORK.c.ordinal)
        .limit(1)
        .correlate(MOVE)
    )
    decided = (
        update(MOVE)
        .values(to_stage=stage, at=WORK.c.moment, cause="rule", cause_event_id=WORK.c.cause_id)
        .where(
            WORK.c.contact_id == MOVE.c.contact_id,
            WORK.c.ordinal == MOVE.c.ordinal,
            CONTACT.c.id == MOVE.c.contact_id,
        )
    )
    moved = 1
    while moved:
        connection.execute(update(MOVE).values(ordinal=following.scalar_subquery()))
        connection.execute(delete(MOVE).where(MOVE.c.ordinal.is_(None)))
        connection.execute(decided)
        moved = moves.apply()


def _asked_at_events(lifecycle: Lifecycle) -> ColumnElement[Any]:
    """Return the stage that a row of work moves its contact to, or NULL."""
    scope = Scope(
        CONTACT,
        now=WORK.c.moment,
        since=CONTACT.c.stage_since,
        current_event=case((WORK.c.again == 0, WORK.c.event_id)),
    )
    before = replace(scope, current_event=None)
    verdicts = []
    for rule in lifecycle.event_rules:
        mentions: ColumnElement[bool] = WORK.c.name.in_(sorted(rule.event_names))
        if rule.asks_contact:
            mentions = or_(mentions, WORK.c.name.is_(None))
        happened = compile_condition(AnyOf(tuple(did(name) for name in rule.on)), before)
        asked = or_(and_(WORK.c.again == 0, WORK.c.name.in_(rule.on)), and_(WORK.c.again == 1, mentions, happened))
        verdicts.append((and_(_leaves(lifecycle, rule), asked, compile_condition(rule.when, scope)), literal(rule.to)))
    return case(*verdicts) if verdicts else null()


def _leaves(lifecycle: Lifecycle, rule: Rule) -> ColumnElement[bool]:
    """Say whether a contact is where the rule moves from.

    A stage that only another lifecycle has (the setting was changed) counts as what stands for it, else as the first.
    """
    if rule.from_ is None:
        return CONTACT.c.stage != rule.to
    counted_as = lifecycle.counted_as
    named = CONTACT.c.stage.in_([name for name, stage in counted_as.items() if stage in rule.from_])
    if lifecycle.first.name not in rule.from_:
        return named
    return or_(named, CONTACT.c.stage.not_in(counted_as))


def _sweep(
    database: Database, lifecycle: Lifecycle, clock: Clock, batch: int, report: StageReport, reporter: Reporter | None
) -> None:
    """Ask the rules without events as of now; a move may let the next rule hold, once per stage at most."""
    with database.read() as connection:
        now = clock.now(connection)
    scope = Scope(CONTACT, literal(now, Instant()), since=CONTACT.c.stage_since)
    stage = case(
        *(
            (and_(_leaves(lifecycle, rule), compile_condition(rule.when, scope)), literal(rule.to))
            for rule in lifecycle.time_rules
        )
    )
    holds = and_(CONTACT.c.erased_at.is_(None), CONTACT.c.stage_since <= now, stage.is_not(None))
    leaving = select(CONTACT.c.id, stage, literal(now, Instant()), literal("time")).where(
        CONTACT.c.id.in_(select(TOUCHED.c.contact_id)), holds
    )
    only: ColumnElement[bool] = true()
    for _ in lifecycle.stages:
        before = report.moved
        after, ids = 0, [0] * batch
        while len(ids) == batch:
            due = select(CONTACT.c.id).where(CONTACT.c.id > after, only, holds).order_by(CONTACT.c.id).limit(batch)
            with database.read() as connection:  # mostly nobody is due: looking takes no lock
                connection.execute(select(by_index()))
                ids = list(connection.execute(due).scalars())
            if ids:
                _move_in_time(database, ids, leaving, now, report)
                after = ids[-1]
            if reporter:
                reporter.progress("stages", report.evaluated, None)
        if report.moved == before:
            return
        only = CONTACT.c.stage_since == now  # whom this sweep moved: another rule may hold for them now


def _move_in_time(
    database: Database, ids: Sequence[int], leaving: Select[Any], now: datetime, report: StageReport
) -> None:
    with database.write() as connection:
        exclusive(connection, READ)
        connection.execute(select(by_index()))
        moves = Moves(connection, now)
        moves.clear(TOUCHED)
        connection.execute(insert(TOUCHED), [{"contact_id": one} for one in ids])
        _lock_touched(moves)  # from here on nobody else moves them: those who are still due go
        connection.execute(insert(MOVE).from_select(["contact_id", "to_stage", "at", "cause"], leaving))
        moves.apply()
        report.add(moves)
