"""Synchronous work beside the event loop of a flow run, ended in order when the run is ended from outside."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from prefect.exceptions import TerminationSignal

T = TypeVar("T")

STOP_SECONDS = 25.0
"""How long a run that is ended waits for what is in hand; Prefect kills a cancelled one after 30."""


async def work_in_thread(
    work: Callable[[], T], request_stop: Callable[[], None], ended: Callable[[], Awaitable[None]] | None = None
) -> T:
    """Run `work` in a thread. When the run is ended meanwhile, stop it, do `ended`, and wait for it.

    A cancellation or SIGTERM reaches the flow as one of two exceptions, depending on where it strikes.
    """
    running = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(running)
    except (asyncio.CancelledError, TerminationSignal):
        request_stop()
        if ended is not None:
            await ended()
        await asyncio.wait({running}, timeout=STOP_SECONDS)
        raise
