"""Deployments and campaigns: a campaign's own deployment has its name, and its pause is the campaign's pause.

The ledger's row is what every window of a run asks before it sends (DESIGN §5), so what an operator says in
Prefect is mirrored into it. Only a pause that came from Prefect is taken back from there.
"""

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import DeploymentResponse

from evergreet import campaigns
from evergreet.clock import DatabaseClock
from evergreet.commands.opening import open_database
from evergreet.database import Database

ACTOR = "prefect"
"""Who paused a campaign, where its deployment says so."""

PAUSED = "its deployment is paused in Prefect; resume it there"
UNDER_WAY = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


async def deployments_of(names: Sequence[str]) -> dict[str, DeploymentResponse]:
    """Read the campaigns' own deployments by campaign name; a campaign that is not deployed is missing."""
    if not names:
        return {}
    own = FlowFilter(name=FlowFilterName(any_=list(names)))
    async with get_client() as client:
        flows = {flow.id: flow.name for flow in await client.read_flows(flow_filter=own)}
        found = await client.read_deployments(
            flow_filter=own, deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=list(names)))
        )
    return {deployment.name: deployment for deployment in found if flows.get(deployment.flow_id) == deployment.name}


async def under_way(deployment: UUID) -> bool:
    """Say whether a run of the deployment is going on or waiting to begin."""
    async with get_client() as client:
        return bool(
            await client.read_flow_runs(
                flow_run_filter=FlowRunFilter(
                    deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
                    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNDER_WAY)),
                ),
                limit=1,
            )
        )


async def mirror(database: Database, names: Sequence[str]) -> dict[str, DeploymentResponse]:
    """Bring what Prefect says about the campaigns' deployments into the ledger; return the deployments."""
    deployments = await deployments_of(names)
    paused = {name: bool(deployment.paused) for name, deployment in deployments.items()}
    await asyncio.to_thread(mirror_pauses, database, paused)
    return deployments


def mirror_pauses(database: Database, paused: Mapping[str, bool]) -> None:
    """Pause live campaigns whose deployment is paused, and resume those that were paused for that alone."""
    with database.read() as connection:
        states = campaigns.states(connection)
    for state in states:
        if state.name not in paused:
            continue
        if paused[state.name] and state.state == "live":
            campaigns.pause(database, state.name, clock=DatabaseClock(), actor=ACTOR, reason=PAUSED)
        elif not paused[state.name] and state.state == "paused" and state.by == ACTOR:
            campaigns.resume(database, state.name, clock=DatabaseClock(), actor=ACTOR)


async def mirror_cancellation(name: str, run: str) -> None:
    """Pause a campaign because somebody cancelled its run in Prefect, and show it by pausing its deployment.

    Without that, the next tick would send what the cancelled run was stopped from sending.
    """
    reason = f"run {run!r} was cancelled in Prefect; resume the deployment there to go on"
    actor = ACTOR
    deployment = (await deployments_of([name])).get(name)
    if deployment is None:
        actor, reason = "prefect run", f"run {run!r} was cancelled in Prefect; `evergreet resume {name}` goes on"
    else:
        async with get_client() as client:
            await client.pause_deployment(deployment.id)
    with open_database() as database:
        with database.read() as connection:
            state = campaigns.state_of(connection, name)
        if state is not None and state.state == "live":
            campaigns.pause(database, name, clock=DatabaseClock(), actor=actor, reason=reason)
