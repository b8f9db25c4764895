"""A campaign's run that has too much for one process: runs of the deployment `shard` deliver beside it."""

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.context import FlowRunContext
from prefect.deployments.flow_runs import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelled

from evergreet.settings import settings

DEPLOYMENT = "shard/shard"


def shard_name() -> str:
    """Name a shard by its campaign and the moment it was asked for: `thank-you, shard 2026-03-10 12:00:07 UTC`."""
    return f"{flow_run.parameters['campaign']}, shard {flow_run.scheduled_start_time:%Y-%m-%d %H:%M:%S} UTC"


def shards_for(messages: int, size: int, most: int) -> int:
    """Return how many runs are to deliver beside the first one: together one per `size` messages, `most` at most."""
    if size == 0:
        return 0
    return min(-(-messages // size), most) - 1 if messages else 0


class Sharing:
    """Starts the shards of a run when the engine knows how much there is, and calls off those that came too late."""

    def __init__(self, campaign: str) -> None:
        self.campaign = campaign
        self.started: list[UUID] = []

    def from_thread(self) -> Callable[[int, int], None]:
        """Return what the engine calls from its thread; the runs are started on this loop, as parts of this run."""
        loop, context = asyncio.get_running_loop(), copy_context()

        def share(run: int, messages: int) -> None:
            context.run(asyncio.run_coroutine_threadsafe, self._start(run, messages), loop).result()

        return share

    async def _start(self, run: int, messages: int) -> None:
        """Start shards. Where that fails the run goes on alone: they make it quicker, and nothing depends on them."""
        context = FlowRunContext.get()
        if context is None or context.flow_run is None or context.flow_run.deployment_id is None:
            return  # a run that no worker started: nobody says that workers have the same database
        count = shards_for(messages, settings().shard_size, settings().shards)
        try:
            for number in range(1, count + 1):
                # The key makes a run that Prefect begins anew harmless.
                key = f"shard {number} of {context.flow_run.id}"
                started = await arun_deployment(
                    DEPLOYMENT, parameters={"campaign": self.campaign, "run": run}, timeout=0, idempotency_key=key,
                    tags=["evergreet", self.campaign],
                )  # fmt: skip
                self.started.append(started.id)
        except ObjectNotFound:
            get_run_logger().warning(
                "This run goes on alone: the server has no deployment %s. `evergreet prefect-yaml --write` adds it to "
                "prefect.yaml, `prefect deploy --name shard` brings it to the server.", DEPLOYMENT
            )  # fmt: skip
        except Exception as error:
            get_run_logger().warning("This run goes on without all of its shards: %s", error)
        if self.started:
            get_run_logger().info("%s messages: %s shards deliver beside this run", f"{messages:,}", len(self.started))

    async def call_off(self) -> None:
        """Cancel shards that wait for a worker still: there is nothing left for them."""
        if not self.started:
            return
        async with get_client() as client:
            mine = FlowRunFilter(id=FlowRunFilterId(any_=self.started))
            for run in await client.read_flow_runs(flow_run_filter=mine):
                if run.state is not None and run.state.is_scheduled():
                    await client.set_flow_run_state(run.id, Cancelled(message="All was sent before it began."))
