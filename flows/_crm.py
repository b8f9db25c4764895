"""Read the contacts that have changed in CRMs."""

from prefect import flow

from evergreet.orchestration.crm import read_crms
from evergreet.orchestration.runs import run_name


@flow(name="crm", flow_run_name=run_name)
async def crm() -> None:
    """Read each CRM of the settings from where the last run got to."""
    await read_crms()
