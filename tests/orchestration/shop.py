"""What the tests of runs on Prefect do and look at."""

import asyncio
import itertools
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
from prefect.client.orchestration import PrefectClient, SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import Artifact, FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.states import Cancelling, Scheduled
from sqlalchemy import select
from sqlmodel import col

from evergreet.campaign import Campaign, Options
from evergreet.campaigns import LoadTemplate, State, launch, required, template_loader
from evergreet.clock import DatabaseClock, FrozenClock
from evergreet.database import Database
from evergreet.orchestration.local import LocalPrefect
from models import Message
from tests.orchestration.mailbox import Mailbox
from tests.story import Story

CANARIES = {"database": "canary-of-the-database", "smtp": "canary-of-the-mail-server", "key": "canary-of-the-links"}
"""Secrets that must not show up anywhere."""

SECONDS = 120.0


def until(condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    """Wait for something to come to pass and return it."""
    waiting = threading.Event()
    for _ in range(int(seconds / 0.1)):
        if found := condition():
            return found
        waiting.wait(0.1)
    raise AssertionError(f"within {seconds:.0f} s not: {what}")


@dataclass
class Shop:
    """A running project: its database, its mail server and its Prefect."""

    database: Database
    mailbox: Mailbox
    prefect: LocalPrefect
    home: Path
    counter: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    # ---- what happens in the shop ----

    def launch(self, campaign: Campaign, options: Options | None = None, load: LoadTemplate | None = None) -> None:
        launch(
            self.database, campaign, options or Options(), load or template_loader("templates"),
            clock=DatabaseClock(), actor="test",
        )  # fmt: skip

    def orders(self, count: int, event: str = "order_placed") -> list[str]:
        """Let new customers order something now; return their addresses."""
        story = Story(self.database, FrozenClock(datetime.now(UTC)), counter=self.counter)
        names = [f"customer{next(self.counter)}" for _ in range(count)]
        story.happened(event, *(story.contact(name) for name in names))
        return [f"{name}@example.org" for name in names]

    def state(self, campaign: str) -> State:
        with self.database.read() as connection:
            return required(connection, campaign)

    def messages(self, addresses: list[str]) -> dict[str, str]:
        """The state of each address's message."""
        with self.database.read() as connection:
            rows = connection.execute(
                select(col(Message.address), col(Message.state)).where(col(Message.address).in_(addresses))
            )
            return {str(address): state for address, state in rows.tuples()}

    def arrived(self, addresses: list[str]) -> list[str]:
        """Those of the addresses that got mail, as often as they got it."""
        return sorted(recipient for recipient in list(self.mailbox.recipients) if recipient in addresses)

    # ---- what people do and see in Prefect ----

    def client(self) -> SyncPrefectClient:
        return SyncPrefectClient(api=self.prefect.api)

    def deployment(self, name: str) -> DeploymentResponse:
        with self.client() as client:
            return client.read_deployment_by_name(f"{name}/{name}")

    def start(self, name: str, parameters: dict[str, Any] | None = None) -> UUID:
        """Run a deployment by hand."""
        with self.client() as client:
            run = client.create_flow_run_from_deployment(
                self.deployment(name).id, parameters=parameters, state=Scheduled(scheduled_time=datetime.now(UTC))
            )
        return run.id

    def run(self, name: str, parameters: dict[str, Any] | None = None) -> FlowRun:
        """Run a deployment by hand to its end."""
        return self.ended(self.start(name, parameters))

    def flow_run(self, run: UUID) -> FlowRun:
        with self.client() as client:
            return client.read_flow_run(run)

    def ended(self, run: UUID) -> FlowRun:
        def final() -> FlowRun | None:
            found = self.flow_run(run)
            return found if found.state is not None and found.state.is_final() else None

        ended: FlowRun = until(final, f"run {run} ends (see {self.prefect.worker.log})")
        return ended

    def runs_of(self, name: str) -> list[FlowRun]:
        """All runs of a deployment."""
        deployment = self.deployment(name).id
        with self.client() as client:
            return [run for run in client.read_flow_runs(limit=200) if run.deployment_id == deployment]

    def parts_of(self, run: UUID) -> list[FlowRun]:
        """The runs that a run called."""
        parent = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run]))
        with self.client() as client:
            return client.read_flow_runs(flow_run_filter=parent)

    def pages(self, run: UUID) -> dict[str, Artifact]:
        """The artifacts of a run by key."""
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
        with self.client() as client:
            return {str(artifact.key): artifact for artifact in client.read_artifacts(artifact_filter=mine)}

    def logged(self, run: UUID, sentence: str) -> None:
        """Wait until a run's log has a sentence: the server stores a log some moments after its run has ended."""
        mine = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))

        def lines() -> str:
            with self.client() as client:
                return "\n".join(line.message for line in client.read_logs(log_filter=mine, limit=200))

        until(lambda: sentence in lines(), f"{sentence!r} in the log of the run")

    def pause(self, name: str, paused: bool = True) -> None:
        with self.client() as client:
            deployment = self.deployment(name).id
            client.pause_deployment(deployment) if paused else client.resume_deployment(deployment)

    def triggers(self, enabled: bool) -> None:
        """Switch the event triggers on or off; off, nothing runs but what a test runs."""

        async def switch() -> None:
            async with PrefectClient(api=self.prefect.api) as client:
                for automation in await client.read_automations():
                    act = client.resume_automation if enabled else client.pause_automation
                    await act(automation.id)

        asyncio.run(switch())

    def cancel(self, run: UUID) -> None:
        with self.client() as client:
            client.set_flow_run_state(run, Cancelling())

    def process_of(self, run: UUID) -> psutil.Process:
        """The process a flow run goes on in."""
        children = psutil.Process(self.prefect.worker.process.pid).children(recursive=True)
        found = [child for child in children if child.environ().get("PREFECT__FLOW_RUN_ID") == str(run)]
        assert len(found) == 1, found
        return found[0]

    def kill(self, run: UUID) -> None:
        os.kill(self.process_of(run).pid, signal.SIGKILL)
