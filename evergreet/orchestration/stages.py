"""Moving contacts between stages, and telling Prefect."""

import threading
from collections import Counter
from collections.abc import Mapping

from prefect.deployments.flow_runs import arun_deployment
from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from evergreet.clock import DatabaseClock, elapsed_clock
from evergreet.commands.opening import open_database
from evergreet.lifecycle import lifecycle
from evergreet.orchestration.deployments import deployments_of, under_way
from evergreet.orchestration.runs import failing_in_one_line
from evergreet.orchestration.threads import work_in_thread
from evergreet.settings import settings
from evergreet.stages import StageReport, evaluate_stages

EVENT = "evergreet.stage.entered"
NAME = "stages"


class _Enough(Exception):
    """The evaluation has had its time, or is to end."""


class _Turn:
    """Ends an evaluation between two of its transactions; the next one goes on from there."""

    def __init__(self, seconds: int | None) -> None:
        self._ends = None if seconds is None else elapsed_clock() + seconds
        self._stopping = threading.Event()

    def progress(self, _phase: str, _done: int, _total: int | None) -> None:
        if self._stopping.is_set() or (self._ends is not None and elapsed_clock() >= self._ends):
            raise _Enough

    def stop(self) -> None:
        self._stopping.set()


async def move_stages(max_seconds: int | None = None) -> dict[str, int]:
    """Evaluate the lifecycle and emit one event per stage that contacts entered; return how many entered which.

    After `max_seconds` the rest is left to a run of the deployment `stages`. The events are hints that wake a
    campaign early. They may be lost; the transitions in the ledger are what campaigns go by.
    """
    turn = _Turn(max_seconds)
    try:
        async with failing_in_one_line(NAME, but=_Enough):
            report = await work_in_thread(lambda: _evaluate(turn), turn.stop)
    except _Enough:
        await _hand_over()
        return {}
    tell_prefect(report.entered)
    moved = ", ".join(f"{count} entered {stage}" for stage, count in report.entered.items()) or "nobody moved"
    get_run_logger().info("%s contacts evaluated: %s", report.evaluated, moved)
    return dict(report.entered)


def _evaluate(turn: _Turn) -> StageReport:
    with open_database() as database:
        return evaluate_stages(database, lifecycle(settings().lifecycle), DatabaseClock(), reporter=turn)


def tell_prefect(entered: Mapping[str, int]) -> None:
    """Emit one event per stage, with the count of contacts, never one per contact.

    A stage that stands for others in the lifecycle in use speaks for them as well: triggers in prefect.yaml name
    stages as campaigns do.
    """
    stages = lifecycle(settings().lifecycle)
    counts: Counter[str] = Counter()
    for stage, count in entered.items():
        counts.update(dict.fromkeys((stage, *stages.stage(stage).also), count))
    for stage, count in counts.items():
        emit_event(
            EVENT,
            resource={"prefect.resource.id": f"evergreet.stage.{stage}", "prefect.resource.name": stage},
            related=[{"prefect.resource.id": f"prefect.flow-run.{flow_run.id}", "prefect.resource.role": "cause"}],
            payload={"count": count, "lifecycle": settings().lifecycle},
        )


async def _hand_over() -> None:
    """Leave the rest to a run of its own; where the deployment is missing, the next tick goes on."""
    deployment = (await deployments_of([NAME])).get(NAME)
    if deployment is not None and not await under_way(deployment.id):
        await arun_deployment(deployment.id, timeout=0, as_subflow=False, idempotency_key=f"{NAME} after {flow_run.id}")
    get_run_logger().info("more than a turn's work: a run of the deployment %s goes on with it", NAME)
