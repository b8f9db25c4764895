"""One run of a campaign as a Prefect flow run: what every campaign file calls."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

from prefect import State
from prefect.client.orchestration import get_client
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from evergreet import campaigns
from evergreet.balance import Report
from evergreet.broadcasts import announcements, give_word, waiting_for_a_word
from evergreet.campaign import Campaign, Options
from evergreet.commands.opening import open_database
from evergreet.database import Database
from evergreet.engine import Engine
from evergreet.errors import ConnectorError, EvergreetError
from evergreet.life_stages import in_lifecycle
from evergreet.lifecycle import lifecycle
from evergreet.orchestration.artifacts import campaign_page, failure_page, leave_page, one_line
from evergreet.orchestration.deployments import mirror, mirror_cancellation
from evergreet.orchestration.limits import limiters
from evergreet.orchestration.progress import Progress
from evergreet.orchestration.shards import Sharing
from evergreet.orchestration.threads import work_in_thread
from evergreet.sending import opened_senders
from evergreet.settings import settings


class RunFailed(Exception):
    """A flow run failed; the message is its cause in one line."""


def cause_of(state: State[Any]) -> str:
    """Return the cause in one line of a run that did not complete, without Prefect's words around it."""
    message = state.message or str(state.name)
    return one_line(message.removeprefix(f"Flow run encountered an exception: {RunFailed.__name__}: "))


def run_name() -> str:
    """Name a run by its flow and the moment it was asked for: `thank-you 2026-03-10 12:00:07 UTC`."""
    return f"{flow_run.flow_name} {flow_run.scheduled_start_time:%Y-%m-%d %H:%M:%S} UTC"


@asynccontextmanager
async def failing_in_one_line(name: str, *, but: type[Exception] | tuple[()] = ()) -> AsyncIterator[None]:
    """Let the run fail with a cause in one line and leave a page that names it; `but` is no failure.

    What a person can mend is a sentence already; of a fault of ours, the log keeps the traceback.
    """
    try:
        yield
    except but:
        raise
    except Exception as error:
        expected = isinstance(error, EvergreetError | ConnectorError)
        cause = one_line(str(error) if expected else f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
        await leave_page(name, failure_page(name, cause))
        raise RunFailed(cause) from (None if expected else error)


async def run_campaign(campaign: Campaign, options: Options, *, load: campaigns.LoadTemplate | None = None) -> Report:
    """Run a campaign once, from inside a flow: enroll, plan and send what is due now.

    Leaves a page with the balance and keeps a progress artifact while it works. A cancellation of the run, or
    a paused deployment, pauses the campaign. Raises RunFailed, with the cause in one line, when something that
    a person must mend kept it from sending. `load` finds templates elsewhere than the settings say.
    """
    async with failing_in_one_line(campaign.name):
        report, waiting, fault = await _run(in_lifecycle(campaign, lifecycle(settings().lifecycle)), options, load)
    await leave_page(campaign.name, campaign_page(report, waiting))
    for provider, said in report.providers.items():
        get_run_logger().warning("%s cannot be asked: %s", provider, one_line(said))
    if fault:
        raise RunFailed(fault)
    get_run_logger().info("%s", summary(report))
    return report


async def run_shard(name: str, run: int) -> Report:
    """Deliver beside the campaign's run of that number, from inside a flow of its own.

    The page and the progress are that run's. Raises RunFailed as `run_campaign` does. A cancellation ends this shard
    alone; the campaign's own run is what to cancel to pause the campaign.
    """
    async with failing_in_one_line("shard"):
        paced = await limiters()
        with open_database() as database, opened_senders(paced) as senders:
            load = campaigns.template_loader(settings().templates)
            engine = Engine(database, senders.email, settings(), load, others=senders.others)
            report = await work_in_thread(partial(engine.deliver, name, run), engine.request_stop)
            fault = _fault(database, report)
    if fault:
        raise RunFailed(fault)
    get_run_logger().info("%s", summary(report))
    return report


def summary(report: Report) -> str:
    """Say in a line what a run did."""
    did = ", ".join(f"{count} {outcome}" for outcome, count in sorted(report.attempted.items())) or "nothing sent"
    left = "; work is left" if report.more else ""
    out = f"; {' and '.join(report.providers)} cannot be asked now" if report.providers else ""
    return f"{report.campaign}: {report.enrolled} enrolled, {report.planned} planned, {did}{left}{out}"


async def _run(
    campaign: Campaign, options: Options, load: campaigns.LoadTemplate | None
) -> tuple[Report, str | None, str | None]:
    """Return the report, what waits for somebody's word, and the fault that kept the engine from going on."""
    budget = None if options.max_seconds is None else timedelta(seconds=options.max_seconds)
    paced = await limiters()
    progress, sharing = Progress(), Sharing(campaign.name)
    with open_database() as database, opened_senders(paced) as senders:
        load = load or campaigns.template_loader(settings().templates)
        engine = Engine(database, senders.email, settings(), load, reporter=progress, others=senders.others)
        await mirror(database, [campaign.name])
        give_word(database, campaign.name, options, clock=engine.clock, actor=f"the run {flow_run.name}")
        # One process at a time writes to SQLite, and a run with a time of its own, as in a tick, ends at that time.
        share = None if database.is_sqlite or budget is not None else sharing.from_thread()

        async def look() -> None:
            if await _being_cancelled():
                engine.request_stop()
                await mirror_cancellation(campaign.name, str(flow_run.name))

        async with progress.shown(f"{campaign.name}-progress", look):
            work = partial(engine.run, campaign, options, budget=budget, share=share)
            report = await work_in_thread(work, engine.request_stop, look)
        await sharing.call_off()
        with database.read() as connection:
            state = campaigns.state_of(connection, campaign.name)  # none after the rehearsal of a new campaign
            waiting = None if state is None else waiting_for_a_word(announcements(connection, campaign.name))
        return report, waiting, _fault(database, report)


def _fault(database: Database, report: Report) -> str | None:
    """Return what kept a run from going on; that somebody paused the campaign is what a person wanted."""
    with database.read() as connection:
        state = campaigns.state_of(connection, report.campaign)
    faulty = report.halted and state is not None and (state.state == "live" or state.by == "engine")
    return one_line(f"halted: {report.halted}") if faulty else None


async def _being_cancelled() -> bool:
    """Say whether somebody cancels this run; a process that is merely told to end is not being cancelled."""
    async with get_client() as client:
        run = await client.read_flow_run(flow_run.id)
    return run.state is not None and (run.state.is_cancelling() or run.state.is_cancelled())
