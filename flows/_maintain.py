"""Remove what runs left behind and nothing asks for any more."""

from prefect import flow

from evergreet.orchestration.maintain import maintain_store
from evergreet.orchestration.runs import run_name


@flow(name="maintain", flow_run_name=run_name)
async def maintain() -> None:
    """Remove runs that handed nothing over once they are old, renew statistics, read back whom the provider drops."""
    await maintain_store()
