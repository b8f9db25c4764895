"""Send beside a campaign's run that has too much for one process; that run starts this."""

from prefect import flow

from evergreet.balance import Report
from evergreet.orchestration.runs import run_shard
from evergreet.orchestration.shards import shard_name


@flow(name="shard", flow_run_name=shard_name)
async def shard(campaign: str, run: int) -> Report:
    """Send what a run of the campaign has planned, until nothing is left.

    Args:
        campaign: The campaign's name.
        run: The number that its run has in the ledger.
    """
    return await run_shard(campaign, run)
