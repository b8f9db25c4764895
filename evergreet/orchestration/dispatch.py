"""One tick: which campaigns have something due, and running them one after the other."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from prefect import State
from prefect.client.orchestration import get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.deployments.flow_runs import arun_deployment
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelled
from pydantic import ValidationError

from evergreet.campaign import Options
from evergreet.campaigns import due_campaigns, states
from evergreet.clock import DatabaseClock, elapsed_clock
from evergreet.commands.opening import open_database
from evergreet.errors import ConfigurationError, EvergreetError
from evergreet.orchestration.artifacts import count, leave_page, mapping_table, one_line
from evergreet.orchestration.deployments import mirror, under_way
from evergreet.orchestration.runs import RunFailed, cause_of, failing_in_one_line, summary
from evergreet.orchestration.stored import stored_flow
from evergreet.registry import CampaignModule, find_campaigns
from evergreet.settings import settings

CAMPAIGN_SECONDS = 30
"""The longest turn of a campaign in a tick."""

TICK_SECONDS = 50
"""What does not begin within this time is left to the campaign's own deployment: the next tick comes in a minute."""

CampaignFlow: TypeAlias = Callable[..., Awaitable[State[Any]]]
"""A campaign's flow, called with `return_state=True`."""


@dataclass
class Tick:
    """What became of each campaign that had something due."""

    outcomes: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def conclude(self, *others: State[Any]) -> None:
        """Fail the run, with the causes in one line, where a campaign or another part of the tick failed."""
        causes = [f"{name}: {cause}" for name, cause in self.failures.items()]
        causes += [cause_of(state) for state in others if not state.is_completed()]
        if causes:
            raise RunFailed(one_line("; ".join(causes)))


async def dispatch_due() -> Tick:
    """Run every campaign that has something due, transactional ones first.

    Campaigns whose deployment is paused are paused in the ledger and so not due. A campaign gets at most 30
    seconds; what is left goes on in a run of its own deployment.
    """
    tick = Tick()
    async with failing_in_one_line("dispatch"):
        await _dispatch(tick)
    return tick


async def _dispatch(tick: Tick) -> None:
    began = elapsed_clock()
    with open_database() as database:
        with database.read() as connection:
            known = [state.name for state in states(connection) if state.state in {"live", "paused"}]
        deployments = await mirror(database, known)
        with database.read() as connection:
            due = due_campaigns(connection, DatabaseClock().now(connection))
    if not due:
        return
    written = find_campaigns(settings().campaigns)
    for name in due:
        left = TICK_SECONDS - (elapsed_clock() - began)
        await _run(tick, name, written.get(name), deployments.get(name), min(CAMPAIGN_SECONDS, int(left)))
    failed = {name: f"**failed**: {cause}" for name, cause in tick.failures.items()}
    page = mapping_table(("campaign", "this tick"), tick.outcomes | failed)
    await leave_page("dispatch", f"# {count(len(due), 'campaign')} had something due\n\n{page}\n")


async def _run(
    tick: Tick, name: str, module: CampaignModule | None, deployment: DeploymentResponse | None, seconds: int
) -> None:
    """Give one campaign its turn; what goes wrong with it does not keep the others from theirs."""
    if seconds < 1 and deployment is not None:
        tick.outcomes[name] = await _hand_over(name, deployment)
        return
    try:
        run, options = await asyncio.to_thread(_flow_of, name, module, deployment)
    except EvergreetError as error:
        tick.failures[name] = str(error)
        return
    turn = options.model_copy(update={"max_seconds": min(max(seconds, 1), options.max_seconds or CAMPAIGN_SECONDS)})
    state = await run(options=turn, return_state=True)
    if state.is_cancelling():
        await _conclude_cancelled(state)
        tick.outcomes[name] = "cancelled in Prefect, so the campaign is paused"
        return
    if not state.is_completed():
        tick.failures[name] = cause_of(state)
        return
    report = await state.aresult()
    tick.outcomes[name] = summary(report)
    if report.more and deployment is not None:
        tick.outcomes[name] += f"; {await _hand_over(name, deployment)}"


async def _conclude_cancelled(state: State[Any]) -> None:
    """Say that a part of the tick is cancelled: a worker does that only for runs with a process of their own."""
    async with get_client() as client:
        if run := state.state_details.flow_run_id:
            await client.set_flow_run_state(run, Cancelled(message="What was in hand is settled."), force=True)


def _flow_of(
    name: str, module: CampaignModule | None, deployment: DeploymentResponse | None
) -> tuple[CampaignFlow, Options]:
    """Return the campaign's flow and the options its deployment gives; from the ledger where its file is gone."""
    if module is None:
        return stored_flow(name)
    given = (deployment.parameters or {}).get("options", {}) if deployment is not None else {}
    try:
        return module.flow, module.options.model_validate(given)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
        raise ConfigurationError(f"the parameters of deployment {name}/{name} cannot be used: {wrong}") from None


async def _hand_over(name: str, deployment: DeploymentResponse) -> str:
    """Leave what is left to a run of the campaign's own deployment, unless one is on its way."""
    if await under_way(deployment.id):
        return "its own run goes on with it"
    # The key makes a repeated tick harmless.
    await arun_deployment(deployment.id, timeout=0, as_subflow=False, idempotency_key=f"{name} after {flow_run.id}")
    get_run_logger().info("%s: more than a tick's work, handed over to its own deployment", name)
    return "its own deployment goes on with it"
