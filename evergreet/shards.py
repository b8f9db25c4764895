"""Shards: runs that deliver, beside another run of a campaign, what that one has enrolled and planned.

They are bound to it by its number in the summary of their own rows. Who gets which chunk is the ledger's affair:
each claims what nobody has.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select
from sqlmodel import col

from evergreet.errors import EvergreetError
from models import Attempt, Run

KEY = "shard_of"


@dataclass(frozen=True, slots=True)
class Shard:
    """One of the runs beside a run: whether it goes on or how it ended, and what it has done so far."""

    id: int
    state: str
    attempted: dict[str, int]

    @property
    def at_work(self) -> bool:
        """Whether it may still have a chunk in hand."""
        return self.state == "running"


def check_run(connection: Connection, campaign_id: int, run_id: int) -> None:
    """Raise EvergreetError where the run that is to be helped is not one of the campaign."""
    campaign_of = select(col(Run.campaign_id)).where(col(Run.id) == run_id)
    if connection.execute(campaign_of).scalar_one_or_none() != campaign_id:
        raise EvergreetError(
            f"The ledger has no run {run_id} of this campaign. Shards are started by the run they belong to; do all "
            "workers use the same EVERGREET_DATABASE_URL?"
        )


def summary_of(run_id: int, attempted: dict[str, int]) -> dict[str, Any]:
    """Return what the row of a shard says of it."""
    return {KEY: run_id, "attempted": attempted}


def shards_of(connection: Connection, campaign_id: int, run_id: int) -> list[Shard]:
    """Return the shards of a run by number; few runs of a campaign are younger than one that goes on."""
    younger = connection.execute(
        select(col(Run.id), col(Run.state), col(Run.summary))
        .where(col(Run.id) > run_id, col(Run.campaign_id) == campaign_id)
        .order_by(col(Run.id))
    )
    return [
        Shard(row.id, row.state, _attempted(connection, row.id, row.state, row.summary["attempted"]))
        for row in younger
        if row.summary.get(KEY) == run_id
    ]


def _attempted(connection: Connection, run_id: int, state: str, noted: dict[str, int]) -> dict[str, int]:
    """Return what a shard noted; the hand-overs of one that died are counted from its attempts."""
    if state != "crashed":
        return noted
    outcomes = select(col(Attempt.outcome), func.count()).where(col(Attempt.run_id) == run_id)
    found = dict(connection.execute(outcomes.group_by(col(Attempt.outcome))).tuples().all())
    return {word: noted[word] for word in ("skipped", "deferred") if word in noted} | found


def together(shards: list[Shard]) -> Counter[str]:
    """Add up what shards did."""
    return sum((Counter(shard.attempted) for shard in shards), Counter())
