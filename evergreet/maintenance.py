"""Maintenance: what runs leave behind that says nothing any more is removed, and the store's statistics are renewed.

Only what EXPLAIN shows to cost something goes (docs/operations.md, Maintenance): runs that handed nothing over; and
what is large or names people and is read by nothing: the payloads of providers' old events, stored requests that may
not be repeated any more, messages that were posted and nobody has said whom they are about. Whatever a message of the
ledger, an attempt, a stretch or an event says stays for good: the audit, caps, conditions and re-entry read it, and a
million of them are sought by index. A provider's event keeps its row: told
again it is known.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, String, cast, delete, func, select, text, update
from sqlmodel import col

from evergreet.clock import Clock
from evergreet.database import Database
from evergreet.store import among
from models import Attempt, PostedMessage, ProviderEvent, Run, StoredRequest

LOOKED_AT = 50_000
"""Ids looked at in one go."""

REMOVED = 2_000
"""Rows removed or emptied in one transaction: nobody waits long for it."""

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
    told_before: datetime
    payloads: int
    requests: int
    posted_before: datetime
    posted: int
    analyzed: tuple[str, ...] = ()
    dry_run: bool = False

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was done, a sentence for each kind."""
        would = "would be " if self.dry_run else ""
        told = [
            f"{self.runs:,} runs that ended before {self.before:%Y-%m-%d} and handed nothing over: {would}removed.",
            f"{self.payloads:,} payloads of providers' events told before {self.told_before:%Y-%m-%d}: {would}emptied.",
            f"{self.requests:,} stored requests whose keys have ended: {would}removed.",
            f"{self.posted:,} messages posted before {self.posted_before:%Y-%m-%d} without an event: {would}removed.",
        ]
        if self.analyzed:
            told.append(f"Statistics renewed: {', '.join(self.analyzed)}.")
        return tuple(told)


def maintain(
    database: Database, clock: Clock, *, keep_days: int, keep_payload_days: int, keep_posted_days: int,
    dry_run: bool = False,
) -> Maintained:  # fmt: skip
    """Remove runs older than `keep_days` that handed nothing over and requests that have ended, and renew statistics.

    Payloads of providers' events that were applied are emptied `keep_payload_days` after they were told. What was
    posted and became no event, as nobody has said whom it is about, goes after `keep_posted_days`. In short
    transactions, so that it may be ended at any moment and begun again; `dry_run` only counts.
    """
    with database.read() as connection:
        now = clock.now(connection)
    before, told_before = now - timedelta(days=keep_days), now - timedelta(days=keep_payload_days)
    removed = 0
    for low, high in _ranges(database, Run):
        with database.read() as connection:
            idle = list(connection.execute(_idle_runs(low, high, before)).scalars())
        removed += len(idle)
        for start in range(0, 0 if dry_run else len(idle), REMOVED):
            with database.write() as connection:
                connection.execute(delete(Run).where(among(col(Run.id), "ids")), {"ids": idle[start : start + REMOVED]})
    payloads = _empty_payloads(database, told_before, dry_run=dry_run)
    requests = _remove(database, StoredRequest, col(StoredRequest.ends_at) <= now, dry_run=dry_run)
    posted_before = now - timedelta(days=keep_posted_days)
    posted = _remove(database, PostedMessage, col(PostedMessage.received_at) < posted_before, dry_run=dry_run)
    analyzed = () if dry_run else _analyze(database)
    return Maintained(
        before, removed, told_before, payloads, requests, posted_before, posted, analyzed, dry_run
    )  # fmt: skip


def _empty_payloads(database: Database, before: datetime, *, dry_run: bool) -> int:
    """Empty the payloads of events that were told before that moment and applied; return how many."""
    emptied = 0
    for low, high in _ranges(database, ProviderEvent):
        with database.read() as connection:
            full = list(
                connection.execute(
                    select(col(ProviderEvent.id))
                    .where(
                        col(ProviderEvent.id).between(low, high - 1), col(ProviderEvent.received_at) < before,
                        col(ProviderEvent.applied_at).is_not(None), cast(ProviderEvent.payload, String) != "{}",
                    )
                    .order_by(col(ProviderEvent.id))
                ).scalars()
            )  # fmt: skip
        emptied += len(full)
        for start in range(0, 0 if dry_run else len(full), REMOVED):
            with database.write() as connection:
                connection.execute(
                    update(ProviderEvent).where(among(ProviderEvent.id, "ids")).values(payload={}),
                    {"ids": full[start : start + REMOVED]},
                )
    return emptied


def _remove(
    database: Database, table: type[StoredRequest | PostedMessage], ended: ColumnElement[bool], *, dry_run: bool
) -> int:
    """Remove the rows that have ended; return how many."""
    if dry_run:
        with database.read() as connection:
            return connection.execute(select(func.count()).select_from(table).where(ended)).scalar_one()
    removed = 0
    some = select(col(table.id)).where(ended).order_by(col(table.id)).limit(REMOVED).scalar_subquery()
    while True:
        with database.write() as connection:
            count = connection.execute(delete(table).where(col(table.id).in_(some))).rowcount
        removed += count
        if count < REMOVED:
            return removed


def _ranges(database: Database, table: type[Run | ProviderEvent]) -> Iterator[tuple[int, int]]:
    """Yield ranges of ids, `low` ≤ id < `high`, over all rows of a table there are now."""
    with database.read() as connection:
        first, last = connection.execute(select(func.min(table.id), func.max(table.id))).one()
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
