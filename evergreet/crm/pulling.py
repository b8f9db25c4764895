"""Read a CRM page by page: the contacts of a page and the cursor behind it are one transaction.

So a pull may be killed at any moment and the next one goes on, in another process too. A page that is told again
changes nothing, and one that another pull was quicker to store is dropped. Parts of lists are stored before it.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Connection, select
from sqlmodel import col

from evergreet.clock import Clock
from evergreet.contracts import CrmMembers, CrmPage, CrmSource, Reporter
from evergreet.crm.lists import follow
from evergreet.crm.storing import Rules, Stored, store
from evergreet.database import Database, exclusive
from evergreet.errors import EvergreetError, Retryable
from evergreet.importing.rejects import Rejected
from evergreet.importing.storing import Raced
from evergreet.patience import Patience
from evergreet.store import insert_into
from models import CrmCursor

LONGEST_CURSOR = 1000
TRIES = 3
"""How often a page is stored when another program stores the same contacts at the same moment."""

Refuse = Callable[[str, Rejected], None]
"""Is told of each record that cannot be used, by its id."""


@dataclass(slots=True)
class Pulled:
    """What a pull read: records = new + changed + unchanged + gone + rejected.

    `joined` are those whose contact was known from elsewhere. `more`: it stopped before the end, at its limit.
    """

    source: str
    pages: int = 0
    records: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    gone: int = 0
    joined: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    more: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """What was read and what that changed."""
        counts = [
            f"{count:,} {word}"
            for word, count in (
                ("new", self.new), ("changed", self.changed), ("unchanged", self.unchanged),
                ("gone there", self.gone), ("rejected", self.rejected),
            )
            if count
        ]  # fmt: skip
        joined = f"; {self.joined:,} were known from elsewhere" if self.joined else ""
        rest = " There is more." if self.more else ""
        return f"{self.source}: {', '.join(counts) or 'nothing has changed'}{joined}.{rest}"

    def add(self, stored: Stored) -> None:
        """Count what became of a page."""
        self.new += stored.new
        self.changed += stored.changed
        self.unchanged += stored.unchanged
        self.gone += stored.gone
        self.joined += stored.joined
        self.warnings += stored.warnings


def pull(
    database: Database,
    source: CrmSource,
    rules: Rules,
    clock: Clock,
    *,
    from_start: bool = False,
    limit: int | None = None,
    refuse: Refuse = lambda _id, _why: None,
    reporter: Reporter | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> Pulled:
    """Read what has changed in a CRM since the last time, or everything; stop behind `limit` records.

    Raises the connector's typed error where it was not read to its end: the pages before are stored, and the next pull
    goes on behind them. The `reporter` is told between pages, and may raise to end the pull there.
    """
    pulled = Pulled(source.name)
    if from_start:
        with database.write() as connection:
            _advance(connection, source.name, "", clock)
    with database.read() as connection:
        cursor = _cursor(connection, source.name)
    patience = Patience(wait)
    while True:
        try:
            page = source.changed_since(cursor)
        except Retryable as error:
            patience.after(error)
            continue
        patience.answered()
        _check(source.name, page, cursor)
        for part in page.members:
            _follow(database, source.name, part, cursor, clock, pulled)
        after = _store(database, source.name, page, cursor, rules, clock, pulled, refuse)
        if reporter is not None:
            reporter.progress(source.name, pulled.records, None)
        if after == page.cursor and not page.more:
            return pulled
        cursor = after
        if limit is not None and pulled.records >= limit:
            pulled.more = True
            return pulled


def _check(source: str, page: CrmPage, cursor: str) -> None:
    """Refuse a page behind which nobody could go on."""
    if len(page.cursor) > LONGEST_CURSOR:
        raise EvergreetError(f"The connector {source} gives a cursor of more than {LONGEST_CURSOR} characters.")
    if page.more and page.cursor == cursor:
        raise EvergreetError(f"The connector {source} says that there is more, but its cursor does not move.")


def _follow(database: Database, source: str, part: CrmMembers, cursor: str, clock: Clock, pulled: Pulled) -> None:
    """Store a part of a list in transactions of a bounded size; none where another pull has got further meanwhile."""
    more = True
    while more:
        with database.write() as connection:
            exclusive(connection, f"crm:{source}")
            if _cursor(connection, source) != cursor:
                return
            followed = follow(connection, source, part, clock, clock.now(connection))
        pulled.changed += followed.changed
        pulled.records += followed.changed
        more = followed.more


def _store(
    database: Database, source: str, page: CrmPage, cursor: str, rules: Rules, clock: Clock, pulled: Pulled,
    refuse: Refuse,
) -> str:  # fmt: skip
    """Store a page and return where to go on: behind it, or where another pull has got to meanwhile."""
    for attempt in range(1, TRIES + 1):
        try:
            with database.write() as connection:
                exclusive(connection, f"crm:{source}")
                reached = _cursor(connection, source)
                if reached != cursor:
                    return reached
                stored = store(connection, source, page.contacts, rules, clock, clock.now(connection))
                _advance(connection, source, page.cursor, clock)
            break
        except Raced:
            if attempt == TRIES:
                raise
    pulled.pages += 1
    pulled.add(stored)
    rejected = [*((name, Rejected("unreadable", why)) for name, why in page.unreadable), *stored.rejected]
    for name, why in rejected:
        pulled.reasons[why.reason] += 1
        refuse(name, why)
    pulled.rejected += len(rejected)
    pulled.records += stored.new + stored.changed + stored.unchanged + stored.gone + len(rejected)
    return page.cursor


def _cursor(connection: Connection, source: str) -> str:
    found = connection.execute(select(col(CrmCursor.cursor)).where(col(CrmCursor.source) == source)).scalar()
    return found or ""


def _advance(connection: Connection, source: str, cursor: str, clock: Clock) -> None:
    new = insert_into(connection, CrmCursor).values(source=source, cursor=cursor, at=clock.now(connection))
    connection.execute(
        new.on_conflict_do_update(
            index_elements=["source"], set_={name: new.excluded[name] for name in ("cursor", "at")}
        )
    )
