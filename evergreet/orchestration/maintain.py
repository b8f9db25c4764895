"""Maintenance, as a flow run."""

import asyncio

from prefect.logging import get_run_logger

from evergreet.clock import DatabaseClock
from evergreet.commands.opening import open_database
from evergreet.maintenance import Maintained
from evergreet.maintenance import maintain as tidy_up
from evergreet.orchestration.runs import failing_in_one_line
from evergreet.settings import settings


async def maintain_store() -> Maintained:
    """Remove what says nothing any more, and log a sentence for each kind."""
    async with failing_in_one_line("maintain"):
        found = await asyncio.to_thread(_maintain)
    for sentence in found.sentences:
        get_run_logger().info(sentence)
    return found


def _maintain() -> Maintained:
    with open_database() as database:
        return tidy_up(
            database, DatabaseClock(), keep_days=settings().keep_runs_days,
            keep_payload_days=settings().keep_payloads_days,
        )  # fmt: skip
