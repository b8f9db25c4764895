"""Maintenance and reading back what providers suppress, as a flow run."""

import asyncio

from prefect.logging import get_run_logger

from evergreet.clock import DatabaseClock
from evergreet.commands.opening import open_database
from evergreet.contracts import SuppressionSource
from evergreet.errors import ConfigurationError, ConnectorError
from evergreet.feedback.pulling import Pulled, pull
from evergreet.maintenance import Maintained
from evergreet.maintenance import maintain as tidy_up
from evergreet.orchestration.runs import failing_in_one_line
from evergreet.sending import opened_senders
from evergreet.settings import settings
from evergreet.tokens import Tokens


async def maintain_store() -> Maintained:
    """Remove what says nothing any more, read back whom the provider suppresses, and log a sentence for each."""
    async with failing_in_one_line("maintain"):
        found = await asyncio.to_thread(_maintain)
    for sentence in found.sentences:
        get_run_logger().info(sentence)
    try:
        pulled = await asyncio.to_thread(pull_suppressions)
    except (ConfigurationError, ConnectorError) as error:  # the store is in order all the same
        get_run_logger().warning("The provider's suppressions were not read to their end: %s", error)
    else:
        for one in pulled:
            get_run_logger().info(one.sentence)
    return found


def pull_suppressions() -> list[Pulled]:
    """Read back whom the providers that send email do not write to any more, where they can be asked."""
    with open_database() as database, opened_senders() as senders:
        return [
            pull(database, sender, Tokens(settings().signing_keys), DatabaseClock())
            for sender in senders.email.senders
            if isinstance(sender, SuppressionSource)
        ]


def _maintain() -> Maintained:
    with open_database() as database:
        return tidy_up(
            database, DatabaseClock(), keep_days=settings().keep_runs_days,
            keep_payload_days=settings().keep_payloads_days, keep_posted_days=settings().keep_posted_days,
        )  # fmt: skip
