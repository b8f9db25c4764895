"""Resolving unknown messages, as a flow run."""

import asyncio

from prefect.logging import get_run_logger

from evergreet.clock import DatabaseClock
from evergreet.commands.opening import open_database
from evergreet.orchestration.artifacts import bullets, count, leave_page, table
from evergreet.orchestration.opening import opened_sender
from evergreet.orchestration.runs import failing_in_one_line
from evergreet.reconcile import Reconciled, reconcile
from evergreet.settings import settings


async def reconcile_unknown() -> Reconciled:
    """Ask the provider about unknown messages and repeat those whose step opted in; leave a page if there are any."""
    async with failing_in_one_line("reconcile"):
        found = await asyncio.to_thread(_reconcile)
    if found.resolved or found.unknown:
        await leave_page("reconcile", page(found))
    get_run_logger().info("%s still unknown; resolved: %s", found.unknown, found.resolved or "none")
    return found


def _reconcile() -> Reconciled:
    with open_database() as database, opened_sender() as sender:
        return reconcile(database, sender, settings(), DatabaseClock())


def page(found: Reconciled) -> str:
    """Write the page of a reconcile run."""
    parts = [f"# {count(found.unknown, 'message')} of unknown fate"]
    if found.resolved:
        parts += ["## Resolved", table(("how", "messages"), sorted(found.resolved.items()))]
    if found.unknown:
        hint = "`evergreet reconcile`: what can be done about the rest; nothing is sent twice unless you say so"
        parts += ["## Where to look", bullets([hint])]
    return "\n\n".join(parts) + "\n"
