"""Resolving unknown messages, as a flow run."""

import asyncio

from prefect.logging import get_run_logger

from evergreet.clock import DatabaseClock
from evergreet.commands.opening import open_database
from evergreet.orchestration.artifacts import bullets, count, leave_page, table
from evergreet.orchestration.runs import failing_in_one_line
from evergreet.reconcile import Reconciled, reconcile
from evergreet.resolutions import Doubts, doubts
from evergreet.sending import opened_for_doubts
from evergreet.settings import settings
from evergreet.wording import moment


async def reconcile_unknown() -> Reconciled:
    """Ask the provider about unknown messages and repeat those whose step opted in; leave a page if there are any."""
    async with failing_in_one_line("reconcile"):
        found, ledger = await asyncio.to_thread(_reconcile)
    if found.resolved or found.unknown:
        await leave_page("reconcile", page(found, ledger))
    get_run_logger().info("%s still unknown; resolved: %s", found.unknown, found.resolved or "none")
    return found


def _reconcile() -> tuple[Reconciled, Doubts]:
    with open_database() as database, opened_for_doubts(database) as (sender, *others):
        found = reconcile(database, sender, settings(), DatabaseClock(), also=others)
        with database.read() as connection:
            return found, doubts(connection)


def page(found: Reconciled, ledger: Doubts) -> str:
    """Write the page of a reconcile run: what it resolved, what is held, and all that was resolved so far."""
    parts = [f"# {count(found.unknown, 'message')} of unknown fate"]
    if found.resolved:
        parts += ["## Resolved", table(("how", "messages"), sorted(found.resolved.items()))]
    if ledger.held:
        held = [
            (f"{one.campaign}, {one.step}, since {moment(one.oldest)}: {one.reason}; {one.ends}", one.messages)
            for one in ledger.held
        ]
        parts += ["## Held", table(("what and why", "messages"), held)]
    if ledger.resolved:
        ended = [(f"{one.campaign}, {one.step}: {one.resolution}", one.messages) for one in ledger.resolved]
        parts += ["## How doubts ended so far", table(("how", "messages"), ended)]
    if found.unknown:
        hint = "`evergreet reconcile`: what can be done about the rest; nothing is sent twice unless you say so"
        parts += ["## Where to look", bullets([hint])]
    return "\n\n".join(parts) + "\n"
