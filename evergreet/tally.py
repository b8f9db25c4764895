"""Tallies: how many messages of a campaign came to each settled state, known without counting them.

A ledger is mostly settled rows, and every run says how its campaign stands. So whoever settles messages, or makes
settled ones open again, adds to the tally in the same transaction: rows are only ever added, so nobody waits for
anybody. Those that are open are few or about to be worked on, and are counted; partial indexes have just them.
`evergreet audit` compares the tally with the rows.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, func, insert, literal_column, select, union_all
from sqlmodel import col

from evergreet.database import exclusive
from evergreet.store import among_found, by_index
from models import Chunk, Message, Tally

SETTLED = ("accepted", "skipped", "failed")
"""States that a message does not leave by itself."""

SPARE = 300
"""How many rows a campaign's tally may have beyond one for each state and reason."""

OPEN = col(Chunk.state) == literal_column("'open'")
"""Of chunks: in the words of their partial index, which SQLite takes only so."""

COLUMNS = ("campaign_id", "state", "reason", "messages")


def add_to_tally(connection: Connection, campaign_id: int, changes: Mapping[tuple[str, str], int]) -> None:
    """Say that so many messages more (or fewer) are in a state for a reason; open states are passed over."""
    rows = [
        {"campaign_id": campaign_id, "state": state, "reason": reason, "messages": messages}
        for (state, reason), messages in changes.items()
        if state in SETTLED and messages
    ]
    if rows:
        connection.execute(insert(Tally), rows)


def tidy(connection: Connection, campaign_id: int, spare: int = SPARE) -> None:
    """Write one row for each state and reason, where there are many more."""
    each = (
        select(func.count().label("rows"))
        .where(col(Tally.campaign_id) == campaign_id)
        .group_by(col(Tally.state), col(Tally.reason))
        .subquery()
    )
    rows, needed = connection.execute(select(func.coalesce(func.sum(each.c.rows), 0), func.count())).one()
    if rows - needed > spare:
        summed = func.sum(Tally.messages)
        kinds = (col(Tally.campaign_id), col(Tally.state), col(Tally.reason))
        _replace(
            connection, campaign_id,
            select(*kinds, summed).where(col(Tally.campaign_id) == campaign_id).group_by(*kinds).having(summed != 0),
        )  # fmt: skip


def recount(connection: Connection, campaign_id: int) -> None:
    """Tally a campaign anew from its rows: for what a person asks for, at a time."""
    kinds = (col(Message.campaign_id), col(Message.state), col(Message.reason))
    mine = (col(Message.campaign_id) == campaign_id, col(Message.state).in_(SETTLED))
    _replace(connection, campaign_id, select(*kinds, func.count()).where(*mine).group_by(*kinds))


def _replace(connection: Connection, campaign_id: int, rows: Select[Any]) -> None:
    """Put these rows in the place of a campaign's tally.

    On PostgreSQL in one statement, whose parts all see the same moment: what others add meanwhile is neither in the
    rows nor among the replaced. The named lock lets nobody else replace them in that moment.
    """
    exclusive(connection, f"tally:{campaign_id}")
    mine = col(Tally.campaign_id) == campaign_id
    new = insert(Tally).from_select(list(COLUMNS), rows)
    if connection.dialect.name == "postgresql":
        connection.execute(new.add_cte(delete(Tally).where(mine).returning(col(Tally.id)).cte("replaced")))
        return
    last = connection.execute(select(func.coalesce(func.max(col(Tally.id)), 0))).scalar_one()
    connection.execute(new)
    connection.execute(delete(Tally).where(mine, col(Tally.id) <= last))


def settled_messages(campaign_id: int, state: str) -> Select[tuple[int]]:
    """Return the query for how many messages of a campaign are in a settled state."""
    return select(func.coalesce(func.sum(Tally.messages), 0)).where(
        col(Tally.campaign_id) == campaign_id, col(Tally.state) == state
    )


def count_by_state(connection: Connection, campaign_id: int) -> dict[tuple[str, str], int]:
    """Say how many messages of a campaign there are by state and reason, as of one moment."""
    tallied = (
        select(col(Tally.state), col(Tally.reason), func.sum(Tally.messages))
        .where(col(Tally.campaign_id) == campaign_id)
        .group_by(col(Tally.state), col(Tally.reason))
    )
    kinds = (col(Message.state), col(Message.reason))
    counted = (
        select(*kinds, func.count()).where(which, col(Message.state).not_in(SETTLED)).group_by(*kinds)
        for which in _open(campaign_id)
    )
    counts: Counter[tuple[str, str]] = Counter()
    connection.execute(select(by_index()))  # what is open is a small part, whatever old statistics say
    for state, reason, messages in connection.execute(union_all(tallied, *counted)):
        counts[state, reason] += int(messages)
    return {kind: messages for kind, messages in counts.items() if messages}


def count_planned(connection: Connection, campaign_id: int) -> int:
    """Count the messages of a campaign that are planned in a chunk: what a run may send."""
    in_chunk, *_ = _open(campaign_id)
    connection.execute(select(by_index()))
    return connection.execute(select(func.count()).where(in_chunk, col(Message.state) == "planned")).scalar_one()


def _open(campaign_id: int) -> tuple[ColumnElement[bool], ...]:
    """Return where the open messages of a campaign are, each in one place: in a chunk, waiting, or unknown."""
    mine = col(Message.campaign_id) == campaign_id
    chunks = select(col(Chunk.id)).where(col(Chunk.campaign_id) == campaign_id, OPEN)
    return (
        among_found(Message.chunk_id, chunks),
        and_(mine, col(Message.not_before).is_not(None)),
        and_(mine, col(Message.unknown_since).is_not(None)),
    )
