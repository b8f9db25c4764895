"""Prefect on this machine with everything of a project: server, work pool, deployments and a process worker."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.states import Crashed

from evergreet.orchestration.limits import ensure_limits
from evergreet.orchestration.pool import POOL, ensure_pool
from evergreet.orchestration.server import HOST, Child, LocalPrefectError, prefect_environment, running_server

DEPLOY_SECONDS = 180.0


@dataclass(frozen=True)
class LocalPrefect:
    """A running Prefect: where it answers, and the processes behind it."""

    url: str
    environment: dict[str, str]
    server: Child
    worker: Child

    @property
    def api(self) -> str:
        """The address of the API."""
        return f"{self.url}/api"


@contextmanager
def local_prefect(
    project: Path, home: Path, port: int, *, tell: Callable[[str], None], query_seconds: int = 2
) -> Iterator[LocalPrefect]:
    """Run Prefect with the deployments of the project's prefect.yaml until the end of the block.

    `home` keeps the server's data and all logs. The worker asks for new runs every `query_seconds`.
    """
    if not (project / "prefect.yaml").is_file():
        raise LocalPrefectError(f"{project} has no prefect.yaml: start this in the folder of your project.")
    environment = prefect_environment(home, port) | {"PREFECT_WORKER_QUERY_SECONDS": str(query_seconds)}
    logs = home / "logs"
    tell("Starting a Prefect server …")
    with running_server(home, port) as server:
        url = f"http://{HOST}:{port}"
        paused = asyncio.run(_prepare(f"{url}/api"))
        tell("Deploying what prefect.yaml says …")
        command = ["prefect", "--no-prompt", "deploy", "--all"]
        with Child.start("prefect deploy", command, environment, logs / "deploy.log", project) as deploy:
            if deploy.process.wait(DEPLOY_SECONDS) != 0:
                raise LocalPrefectError(f"prefect deploy failed.\n{deploy.last_words()}\nLog: {deploy.log}")
        asyncio.run(_pause(f"{url}/api", paused))
        tell("Starting a worker …")
        command = ["prefect", "worker", "start", "--pool", POOL, "--type", "process", "--name", "local"]
        with Child.start("Prefect worker", command, environment, logs / "worker.log", project) as worker:
            yield LocalPrefect(url, environment, server, worker)


async def _prepare(api: str) -> list[UUID]:
    """Make the pool, settle what an earlier server in this home left behind, and return what is paused.

    No worker is up yet, so a run that is Running has lost its process, and would keep its deployment's
    only slot. Ticks that were missed meanwhile are not made up for: the next one does their work.
    """
    async with PrefectClient(api=api) as client:
        await ensure_pool(client)
        await ensure_limits(client)
        pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL]))
        lost = FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING, StateType.CANCELLING])
        for run in await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=lost)), work_pool_filter=pool
        ):
            await client.set_flow_run_state(
                run.id, Crashed(message="Its process ended with the last server."), force=True
            )
        missed = FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
            next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(before_=datetime.now(UTC)),
        )
        for run in await client.read_flow_runs(flow_run_filter=missed, work_pool_filter=pool):
            if run.auto_scheduled:
                await client.delete_flow_run(run.id)
        return [deployment.id for deployment in await client.read_deployments() if deployment.paused]


async def _pause(api: str, deployments: list[UUID]) -> None:
    """Pause deployments again: Prefect resumes whatever is deployed anew."""
    async with PrefectClient(api=api) as client:
        for deployment in deployments:
            await client.pause_deployment(deployment)
