"""Remove what runs left behind and nothing asks for any more."""

from prefect import flow

from evergreet.orchestration.maintain import maintain_store
from evergreet.orchestration.runs import run_name


@flow(name="maintain", flow_run_name=run_name)
async def maintain() -> None:
    """Remove runs that handed nothing over once they are old, and renew the store's statistics."""
    await maintain_store()
