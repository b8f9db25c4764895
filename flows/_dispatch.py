"""Every minute: run the campaigns that have something due, then move contacts between stages."""

from prefect import flow

from evergreet.orchestration.dispatch import dispatch_due
from evergreet.orchestration.runs import run_name
from flows._stages import stages


@flow(name="dispatch", flow_run_name=run_name)
async def dispatch() -> None:
    """Run every campaign that has something due, transactional ones first and at most 30 seconds each.

    Stages come last: what they set off wakes a campaign through its event trigger, and the next tick would
    find it in any case. So a receipt never waits for the stages.
    """
    tick = await dispatch_due()
    moved = await stages(max_seconds=20, return_state=True)
    tick.conclude(moved)
