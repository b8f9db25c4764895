"""Move contacts between the stages of the lifecycle, and say so in one Prefect event per stage."""

from prefect import flow

from evergreet.orchestration.runs import run_name
from evergreet.orchestration.stages import move_stages


@flow(name="stages", flow_run_name=run_name)
async def stages(max_seconds: int | None = None) -> dict[str, int]:
    """Evaluate contacts that changed and rules that depend on time; return who entered which stage.

    Args:
        max_seconds: Leave the rest to a run of its own after so many seconds; empty: until all is done.
    """
    return await move_stages(max_seconds)
