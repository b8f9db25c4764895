"""Move contacts between the stages of the lifecycle, and say so in one Prefect event per stage and batch."""

from prefect import flow

from evergreet.orchestration.runs import run_name
from evergreet.orchestration.stages import move_stages


@flow(name="stages", flow_run_name=run_name)
async def stages() -> dict[str, int]:
    """Evaluate contacts that changed and rules that depend on time; return who entered which stage."""
    return await move_stages()
