"""Circuit breakers: a provider that fails is left alone for a while, by all workers and from run to run.

A row is written when a request fails and when the provider answers again, never for a window that is taken. After so
many failures in a row, or where the provider asks for time, it is out. So it is after as many refusals for good, in the
same words and of nobody's address: else all that waits would be refused and fail. When its pause is over one message
goes there (one over all workers: the row says who was first); what becomes of it ends the pause, or begins one twice as
long.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, delete, select, update
from sqlmodel import col

from evergreet.campaigns import record
from evergreet.clock import Clock
from evergreet.contracts import Accepted, Outcome
from evergreet.database import Database
from evergreet.errors import Misconfigured, Permanent, Retryable
from evergreet.ledger import REASON_LENGTH, storable
from evergreet.settings import Settings
from evergreet.store import insert_into
from evergreet.wording import moment
from models import Breaker as BreakerRow

_ADDRESS = re.compile(r"[^\s<>]+@[^\s<>]+")
LONGEST_WISH = timedelta(days=1)
"""A provider that asks for more time than this is asked again after a day."""


class Late(Retryable):
    """The window was in our own hands for too long: nobody was asked, so it says nothing of a provider."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that nobody in it came through: why, and for how long the provider wants to be left alone.

    A `refusal` is for good, in the same words for all of them: what is said of one message after another is not about
    the messages.
    """

    reason: str
    wish: timedelta | None = None
    fault: bool = False
    refusal: bool = False


@dataclass(frozen=True, slots=True)
class Breaker:
    """How a provider that failed of late stands: it is not asked before `until`.

    Without any of the `pauses` it only asked us to go slower, and everything goes on then.
    """

    connector: str
    failures: int
    pauses: int
    out_since: datetime | None
    until: datetime | None
    fault: bool
    reason: str

    @property
    def out(self) -> bool:
        """Whether it is asked no more, or for one message only."""
        return self.pauses > 0

    @property
    def sentence(self) -> str:
        """Why it is out, since when, and when it is asked again."""
        assert self.until is not None
        assert self.out_since is not None
        whose = "a fault of ours" if self.fault else f"{self.failures} failed in a row"
        return (
            f"out since {moment(self.out_since)} ({whose}), asked again at {moment(self.until)}: "
            f"{self.reason.rstrip('.')}"
        )


def heard(outcomes: Iterable[Outcome]) -> Failure | Literal[True] | None:
    """Say what the outcomes of a window tell of its provider: that it failed, True: that it answers; None: nothing."""
    answers = False
    failed: list[Retryable] = []
    refused: set[str] = set()
    for outcome in outcomes:
        match outcome:
            case Misconfigured():
                return Failure(outcome.reason, fault=True)
            case Permanent(address_invalid=False, unsubscribed=False):
                refused.add(outcome.reason)
            case Accepted() | Permanent():
                answers = True
            case Retryable(for_recipient=True):
                answers = True
            case Retryable() if not isinstance(outcome, Late):
                failed.append(outcome)
    if len(refused) == 1 and not (answers or failed):
        return Failure(refused.pop(), refusal=True)
    if answers or refused:
        return True
    if not failed:
        return None
    wishes = [outcome.retry_after for outcome in failed if outcome.retry_after is not None]
    return Failure(failed[0].reason, max(wishes, default=None))


def read_breakers(connection: Connection) -> dict[str, Breaker]:
    """Return those who failed of late, by connector."""
    return {row.connector: Breaker(*row) for row in connection.execute(select(BreakerRow))}


def fail(
    connection: Connection, connector: str, failure: Failure, settings: Settings, now: datetime, *, probe: bool
) -> Breaker:
    """Note a failed request, `probe` where it was the one message after a pause; return how the provider stands."""
    known = _locked(connection, connector)
    # A row of nobody's is no place for an address, whatever the provider repeats.
    reason = _ADDRESS.sub("(address)", storable(failure.reason, REASON_LENGTH))[:REASON_LENGTH]
    wish = min(failure.wish or timedelta(0), LONGEST_WISH)
    if known.until is not None and known.until > now and not probe:  # begun before it was left alone
        noted = replace(known, reason=reason, until=max(known.until, now + wish))
    else:
        in_a_row = known.failures if reason == known.reason or not failure.refusal else 0
        noted = replace(known, failures=in_a_row + 1, reason=reason, fault=failure.fault)
        grows = noted.failures >= settings.breaker_failures or failure.fault or probe
        pause = min(settings.breaker_seconds * 2 ** min(known.pauses, 20), settings.breaker_max_seconds) if grows else 0
        if grows or failure.wish is not None:
            noted = replace(noted, until=now + max(timedelta(seconds=pause), wish))
        if grows or wish >= timedelta(seconds=settings.breaker_seconds):  # else it only asks us to go slower
            noted = replace(noted, pauses=known.pauses + 1, out_since=known.out_since or now)
            if not known.out:
                record(connection, now, "engine", "provider out", connector, reason=reason)
    columns = ("failures", "pauses", "out_since", "until", "fault", "reason")
    written: dict[str, Any] = {name: getattr(noted, name) for name in columns}
    connection.execute(update(BreakerRow).where(col(BreakerRow.connector) == connector).values(written))
    return noted


def _locked(connection: Connection, connector: str) -> Breaker:
    """Return how a provider stands, locked; in one statement, since an answer may delete the row at any moment."""
    new = insert_into(connection, BreakerRow).values(connector=connector, failures=0, pauses=0, fault=False)
    same = new.on_conflict_do_update(index_elements=["connector"], set_={"connector": new.excluded.connector})
    return Breaker(*connection.execute(same.returning(BreakerRow)).one())


def answer(connection: Connection, known: Breaker, now: datetime) -> None:
    """Note that a provider that had failed answers."""
    forgotten = connection.execute(delete(BreakerRow).where(col(BreakerRow.connector) == known.connector)).rowcount
    if forgotten and known.out:
        record(connection, now, "engine", "provider back", known.connector)


def take_turn(connection: Connection, connector: str, now: datetime, seconds: int) -> bool:
    """Take the one message after a pause: others may in so many seconds. False: somebody else was first."""
    mine = (col(BreakerRow.connector) == connector, col(BreakerRow.until) <= now)
    taken = update(BreakerRow).where(*mine).values(until=now + timedelta(seconds=seconds))
    return connection.execute(taken).rowcount == 1


def ask_again(database: Database, connector: str, *, clock: Clock, actor: str) -> bool:
    """Let a provider that is out be asked from now on, on a person's word; False where it was not out."""
    with database.write() as connection:
        now = clock.now(connection)
        out = (col(BreakerRow.connector) == connector, col(BreakerRow.until).is_not(None))
        if not connection.execute(delete(BreakerRow).where(*out)).rowcount:
            return False
        record(connection, now, actor, "provider asked again", connector)
        return True
