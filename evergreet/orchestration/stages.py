"""Moving contacts between stages, and telling Prefect."""

import asyncio
from collections.abc import Mapping

from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from evergreet.clock import DatabaseClock
from evergreet.commands.opening import open_database
from evergreet.lifecycle import lifecycle
from evergreet.orchestration.runs import failing_in_one_line
from evergreet.settings import settings
from evergreet.stages import StageReport, evaluate_stages

EVENT = "evergreet.stage.entered"


async def move_stages() -> dict[str, int]:
    """Evaluate the lifecycle and emit one event per stage that contacts entered; return how many entered which.

    The events are hints that wake a campaign early. They may be lost; the transitions in the ledger are what
    campaigns go by.
    """
    async with failing_in_one_line("stages"):
        report = await asyncio.to_thread(_evaluate)
    tell_prefect(report.entered)
    moved = ", ".join(f"{count} entered {stage}" for stage, count in report.entered.items()) or "nobody moved"
    get_run_logger().info("%s contacts evaluated: %s", report.evaluated, moved)
    return dict(report.entered)


def _evaluate() -> StageReport:
    with open_database() as database:
        return evaluate_stages(database, lifecycle(settings().lifecycle), DatabaseClock())


def tell_prefect(entered: Mapping[str, int]) -> None:
    """Emit one event per stage, with the count of contacts, never one per contact."""
    for stage, count in entered.items():
        emit_event(
            EVENT,
            resource={"prefect.resource.id": f"evergreet.stage.{stage}", "prefect.resource.name": stage},
            related=[{"prefect.resource.id": f"prefect.flow-run.{flow_run.id}", "prefect.resource.role": "cause"}],
            payload={"count": count, "lifecycle": settings().lifecycle},
        )
