"""The work pool `evergreet`: how a worker starts a flow run on this machine.

Its command runs a flow in one process that ends with its worker (`evergreet.orchestration.process`); Prefect's
default takes two, which stay behind when a worker is killed. `python -m evergreet.orchestration.pool` brings it
to the server of `PREFECT_API_URL`.
"""

import asyncio
import shlex
import sys
from typing import Any

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectAlreadyExists
from prefect.workers.process import ProcessWorker

POOL = "evergreet"


def job_template() -> dict[str, Any]:
    """Return Prefect's template of a process pool with our command as the default."""
    template = ProcessWorker.get_default_base_job_template()
    template["variables"]["properties"]["command"]["default"] = shlex.join(
        [sys.executable, "-m", "evergreet.orchestration.process", "prefect.engine"]
    )
    return template


async def ensure_pool(client: PrefectClient) -> None:
    """Create the pool, or bring its template up to date and open it."""
    try:
        await client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=job_template()))
    except ObjectAlreadyExists:
        await client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=job_template(), is_paused=False))


async def _main() -> None:
    async with get_client() as client:
        await ensure_pool(client)


if __name__ == "__main__":
    asyncio.run(_main())
