"""Write back to a CRM what has changed here: stages, last messages, and what people agreed to.

What was written last stands with each record, so only what differs is written, and whatever ends a push, the next one
goes on. All of it may be written twice with no harm. Notes and tasks, which may not, are not written here: steps of
campaigns hand those over, through the ledger.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, select, union, update
from sqlmodel import col

from evergreet.clock import Clock
from evergreet.contracts import Accepted, CrmSink, Outcome, Push, Reporter
from evergreet.crm.news import said
from evergreet.crm.state import CONSENT, Known, read
from evergreet.database import Database, exclusive, settled_position
from evergreet.errors import EvergreetError, Misconfigured, Permanent, Retryable
from evergreet.patience import Patience
from evergreet.store import among, insert_into
from models import CampaignRow, Contact, CrmRow, Cursor, Message, Transition
from models.base import Id

RECORDS = 100
"""Records that are looked at together."""
OVERLAP = timedelta(hours=1)
"""Messages that were sent so long before the last push are looked at again: they may have been accepted since."""


@dataclass(slots=True)
class Pushed:
    """What was written: pushes that were taken, and those that never will be, with the reasons.

    `more`: it stopped before the end, at its limit.
    """

    sink: str
    records: int = 0
    taken: int = 0
    refused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    more: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """What was written."""
        refused = f", {self.refused:,} refused for good" if self.refused else ""
        rest = " There is more." if self.more else ""
        return f"{self.sink}: {self.taken:,} written back to {self.records:,} records{refused}.{rest}"


def push(
    database: Database,
    sink: CrmSink,
    clock: Clock,
    *,
    limit: int | None = None,
    reporter: Reporter | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> Pushed:
    """Write back what differs from what the CRM was told last; stop behind `limit` records.

    Raises the sink's typed error where it cannot be written to: what was taken is remembered, and the next push goes
    on. The `reporter` is told between batches, and may raise to end the push there.
    """
    done = Pushed(sink.name)
    name = f"crm push:{sink.name}"
    with database.read() as connection:
        now, high = clock.now(connection), settled_position(connection)
        last = connection.execute(select(Cursor).where(col(Cursor.name) == name)).one_or_none()
        rows = list(_rows(connection, sink.name, last))
    patience = Patience(wait)
    for start in range(0, len(rows), RECORDS):
        with database.read() as connection:
            known = read(connection, sink.name, rows[start : start + RECORDS])
        _write(database, sink, [one for one in known if one.pushes()], done, patience)
        if reporter is not None:
            reporter.progress(sink.name, min(start + RECORDS, len(rows)), len(rows))
        if limit is not None and done.records >= limit and start + RECORDS < len(rows):
            done.more = True
            return done
    with database.write() as connection:
        new = insert_into(connection, Cursor).values(name=name, position=high, at=now)
        connection.execute(
            new.on_conflict_do_update(
                index_elements=["name"], set_={each: new.excluded[each] for each in ("position", "at")}
            )
        )
    return done


def _rows(connection: Connection, source: str, last: Any) -> Iterator[int]:
    """Yield the records of whose people something may have changed: all of them, the first time."""
    records = select(col(CrmRow.id)).where(col(CrmRow.source) == source, col(CrmRow.gone_at).is_(None))
    if last is not None:
        campaigns = select(col(CampaignRow.id))
        changed = union(
            select(col(Contact.id)).where(col(Contact.position) >= last.position),
            select(col(Transition.contact_id)).where(col(Transition.position) >= last.position),
            select(col(Message.contact_id)).where(
                col(Message.campaign_id).in_(campaigns), col(Message.sent_at) >= last.at - OVERLAP
            ),
        ).subquery()
        records = records.where(col(CrmRow.contact_id).in_(select(changed.c[0])))
    yield from connection.execute(records.order_by(col(CrmRow.id))).scalars()


def _write(database: Database, sink: CrmSink, known: Sequence[Known], done: Pushed, patience: Patience) -> None:
    """Write all that differs for these records, in batches that the CRM takes, and remember what it took."""
    waiting = [(one, kind, what) for one in known for kind, what in one.pushes().items()]
    done.records += len(known)
    while waiting:
        part, waiting = waiting[: sink.capabilities.batch_limit], waiting[sink.capabilities.batch_limit :]
        outcomes = _handed_over(sink, [what for _, _, what in part])
        settled = [(each, outcome) for each, outcome in zip(part, outcomes, strict=True) if _is_settled(outcome)]
        taken = [(one, kind, isinstance(outcome, Accepted)) for (one, kind, _), outcome in settled]
        _remember(database, sink.name, taken)
        for _, outcome in settled:
            if isinstance(outcome, Permanent):
                done.refused += 1
                done.reasons[outcome.reason] += 1
            else:
                done.taken += 1
        for outcome in outcomes:
            if isinstance(outcome, Misconfigured):
                raise outcome
        again = [(each, outcome) for each, outcome in zip(part, outcomes, strict=True) if not _is_settled(outcome)]
        if again:
            fault = next(outcome for _, outcome in again)
            assert isinstance(fault, Retryable)
            patience.after(fault)
            waiting = [*(each for each, _ in again), *waiting]
        else:
            patience.answered()


def _handed_over(sink: CrmSink, batch: Sequence[Push]) -> Sequence[Outcome]:
    try:
        outcomes: Sequence[Outcome] = sink.push(batch)
    except Retryable as fault:
        return [fault] * len(batch)
    if len(outcomes) != len(batch):
        raise EvergreetError(f"The connector {sink.name} gives {len(outcomes)} outcomes for {len(batch)} pushes.")
    return outcomes


def _is_settled(outcome: Outcome) -> bool:
    return isinstance(outcome, Accepted | Permanent)


_REMEMBER = (
    update(CrmRow)
    .where(col(CrmRow.id) == bindparam("row", type_=Id))
    .values(pushed=bindparam("now_pushed"), told=bindparam("now_told"))
)


def _remember(database: Database, sink: str, settled: Sequence[tuple[Known, str, bool]]) -> None:
    """Keep what stands in the records now: of consent that the CRM took, what it tells next is no news."""
    if not settled:
        return
    with database.write() as connection:
        exclusive(connection, f"crm:{sink}")
        rows = connection.execute(
            select(col(CrmRow.id), col(CrmRow.pushed), col(CrmRow.told)).where(among(CrmRow.id, "rows")),
            {"rows": sorted({one.row for one, _, _ in settled})},
        )
        known = {row.id: ({**(row.pushed or {})}, row.told) for row in rows}
        for one, kind, taken in settled:
            if one.row in known:
                pushed, told = known[one.row]
                pushed[kind] = one.state[kind]
                if taken and kind.startswith(CONSENT):
                    known[one.row] = (pushed, said(told, kind.removeprefix(CONSENT), *one.state[kind]))
        connection.execute(
            _REMEMBER,
            [{"row": row, "now_pushed": pushed, "now_told": told} for row, (pushed, told) in sorted(known.items())],
        )
