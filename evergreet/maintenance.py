"""Maintenance: what runs leave behind that says nothing any more is removed, and the store's statistics are renewed.

Only what EXPLAIN shows to cost something goes (docs/operations.md, Maintenance): runs that handed nothing over.
Whatever a message, an attempt, a stretch or an event says stays for good: the audit, caps, conditions and re-entry
read it, and a million of them are sought by index.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, delete, func, select, text
from sqlmodel import col

from evergreet.clock import Clock
from evergreet.database import Database
from evergreet.store import among
from models import Attempt, Run

LOOKED_AT = 50_000
"""Ids looked at in one go."""

REMOVED = 2_000
"""Rows removed in one transaction: nobody waits long for it."""

CHANGED = 0.1
"""The share of a table's rows that may have changed before PostgreSQL's statistics of it are renewed here."""


_STALE = text(
    "SELECT relname FROM pg_stat_user_tables WHERE schemaname = current_schema() "
    "AND n_mod_since_analyze > 1000 + :share * n_live_tup ORDER BY relname"
)
"""Tables of which more has changed than autovacuum may have seen yet."""


@dataclass(frozen=True, slots=True)
class Maintained:
    """What a maintenance removed, or would; `analyzed` names the tables whose statistics were renewed."""

    before: datetime
    runs: int
    analyzed: tuple[str, ...] = ()
    dry_run: bool = False

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was done, a sentence for each kind."""
        verb = "would be removed" if self.dry_run else "removed"
        told = [
            f"{self.runs:,} runs that ended before {self.before:%Y-%m-%d} and handed nothing over: {verb}.",
        ]
        if self.analyzed:
            told.append(f"Statistics renewed: {', '.join(self.analyzed)}.")
        return tuple(told)


def maintain(database: Database, clock: Clock, *, keep_days: int, dry_run: bool = False) -> Maintained:
    """Remove runs older than `keep_days` that handed nothing over, and renew statistics.

    In short transactions, so that it may be ended at any moment and begun again; `dry_run` only counts.
    """
    with database.read() as connection:
        before = clock.now(connection) - timedelta(days=keep_days)
    removed = 0
    for low, high in _ranges(database):
        with database.read() as connection:
            idle = list(connection.execute(_idle_runs(low, high, before)).scalars())
        removed += len(idle)
        for start in range(0, 0 if dry_run else len(idle), REMOVED):
            with database.write() as connection:
                connection.execute(delete(Run).where(among(col(Run.id), "ids")), {"ids": idle[start : start + REMOVED]})
    return Maintained(before, removed, () if dry_run else _analyze(database), dry_run)


def _ranges(database: Database) -> Iterator[tuple[int, int]]:
    """Yield ranges of ids, `low` ≤ id < `high`, over all runs there are now."""
    with database.read() as connection:
        first, last = connection.execute(select(func.min(col(Run.id)), func.max(col(Run.id)))).one()
    if first is not None:
        for low in range(first, last + 1, LOOKED_AT):
            yield low, min(low + LOOKED_AT, last + 1)


def _idle_runs(low: int, high: int, before: datetime) -> Select[tuple[int]]:
    """Runs in the range that ended before that moment and have no attempt: joined, and not asked one by one."""
    busy = select(col(Attempt.run_id)).where(col(Attempt.run_id).between(low, high - 1)).distinct().cte("busy")
    return (
        select(col(Run.id))
        .outerjoin(busy, busy.c.run_id == col(Run.id))
        .where(col(Run.id).between(low, high - 1), col(Run.ended_at) < before, busy.c.run_id.is_(None))
        .order_by(col(Run.id))
    )


def _analyze(database: Database) -> tuple[str, ...]:
    """Renew statistics that are far behind the tables: a plan made for an empty table reads a full one to its end."""
    if database.is_sqlite:
        with database.write() as connection:
            connection.execute(text("PRAGMA optimize"))
        return ()
    with database.read() as connection:
        stale = list(connection.execute(_STALE, {"share": CHANGED}).scalars())
    for table in stale:
        with database.write() as connection:
            connection.execute(text(f"ANALYZE {connection.dialect.identifier_preparer.quote(table)}"))
    return tuple(stale)
