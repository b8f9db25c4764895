"""Read back whom a provider does not write to any more: bounces, complaints and unsubscriptions that no webhook told.

Each entry has the effect of the webhook's verdict of that name, from its own time on, so it may be read any number of
times. How far a provider's lists were read is in `cursor`, and moves only when all of them were read to their end.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import Connection, select
from sqlmodel import col

from evergreet.addresses import read_address
from evergreet.clock import Clock
from evergreet.contracts import Suppressed, SuppressionSource
from evergreet.database import Database, exclusive, ingest_position
from evergreet.errors import DataError, Retryable
from evergreet.feedback.verdicts import Judgement, carry_out
from evergreet.patience import Patience
from evergreet.store import insert_into
from evergreet.tokens import Tokens
from models import Contact, Cursor, Suppression

BATCH = 1000
OVERLAP = timedelta(days=1)
"""How much is read again each time: what a provider puts on its lists late, and clocks that differ."""


@dataclass(slots=True)
class Pulled:
    """What a provider's lists said from `since` (None: ever) to `until`, by verdict.

    `new` are addresses suppressed and consents taken back that were not before; `unreadable` are no addresses.
    """

    connector: str
    since: datetime | None
    until: datetime
    read: Counter[str] = field(default_factory=Counter)
    new: int = 0
    unreadable: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """What was read and what that changed."""
        since = f"since {self.since:%Y-%m-%d %H:%M} UTC" if self.since else "from the beginning"
        kinds = ", ".join(f"{count:,} {verdict.replace('_', ' ')}" for verdict, count in sorted(self.read.items()))
        odd = f" {self.unreadable:,} are no addresses." if self.unreadable else ""
        return f"{self.connector}, {since}: {kinds or 'nothing'}; {self.new:,} of what they say is new here.{odd}"


def pull(
    database: Database,
    source: SuppressionSource,
    tokens: Tokens,
    clock: Clock,
    *,
    full: bool = False,
    wait: Callable[[float], None] = time.sleep,
) -> Pulled:
    """Read what came onto a provider's lists since the last time (`full`: ever), and act on it a batch at a time.

    Raises the connector's typed error where the lists were not read to their end: the batches before have their effect,
    and the next time begins where this one did.
    """
    name = f"suppressions:{source.name}"
    with database.read() as connection:
        until = clock.now(connection)
        last = connection.execute(select(col(Cursor.at)).where(col(Cursor.name) == name)).scalar()
    pulled = Pulled(source.name, None if full or last is None else last - OVERLAP, until)
    entries = _patiently(source.suppressions(pulled.since, until), wait)
    while batch := list(islice(entries, BATCH)):
        with database.write() as connection:
            now = clock.now(connection)
            judged = _judgements(batch, source.name, now)
            pulled.new += _act(connection, judged, tokens, now)
        pulled.read.update(entry.verdict.value for entry in batch)
        pulled.unreadable += len(batch) - len(judged)
    with database.write() as connection:
        new = insert_into(connection, Cursor).values(name=name, position=0, at=until)
        connection.execute(
            new.on_conflict_do_update(
                index_elements=["name"], set_={"at": new.excluded["at"]}, where=col(Cursor.at) < new.excluded["at"]
            )
        )
    return pulled


def _patiently(entries: Iterator[Suppressed], wait: Callable[[float], None]) -> Iterator[Suppressed]:
    """Yield the entries; where the provider asks for time or does not answer, ask again, but not for ever."""
    patience = Patience(wait)
    while True:
        try:
            entry = next(entries)
        except StopIteration:
            return
        except Retryable as error:
            patience.after(error)
        else:
            patience.answered()
            yield entry


def _judgements(batch: Sequence[Suppressed], connector: str, now: datetime) -> list[Judgement]:
    """Return what the entries say of addresses; a clock that is ahead decides nothing that somebody does later."""
    judged = []
    for entry in batch:
        try:
            address = read_address(entry.address).normalised
        except DataError:
            continue
        at = min(entry.at, now)
        judged.append(Judgement(0, entry.verdict, at, f"pulled:{connector}", address, entry.topic or None))
    return judged


def _act(connection: Connection, judged: Sequence[Judgement], tokens: Tokens, now: datetime) -> int:
    """Lock everybody with these addresses, in the order of their ids, and carry out what is about nobody erased."""
    exclusive(connection, "provider events")
    addresses = sorted({one.address for one in judged})
    connection.execute(
        select(col(Contact.id))
        .where(col(Contact.address).in_(addresses))
        .order_by(col(Contact.id))
        .with_for_update(key_share=True)
    )
    hashes = {spelled: address for address in addresses for spelled in tokens.address_hashes(address)}
    known = connection.execute(select(col(Suppression.address)).where(col(Suppression.address).in_(list(hashes))))
    erased = {hashes[spelled] for spelled in known.scalars()}
    kept = [one for one in judged if one.address not in erased]
    return carry_out(connection, kept, ingest_position(connection), now)
