"""Ask the provider what became of messages whose fate is unknown."""

from prefect import flow

from evergreet.orchestration.reconcile import reconcile_unknown
from evergreet.orchestration.runs import run_name


@flow(name="reconcile", flow_run_name=run_name)
async def reconcile() -> None:
    """Resolve what can be resolved with certainty; the rest stays visible as unknown."""
    await reconcile_unknown()
