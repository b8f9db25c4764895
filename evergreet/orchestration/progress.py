"""What a run shows while it works."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID

from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.logging import get_run_logger

SECONDS = 2.0
"""How often the progress artifact is brought up to date: each update is a request to the Prefect server."""


class Progress:
    """Takes the engine's word from its thread and shows it from the event loop.

    The engine never waits for the Prefect server: it leaves the newest numbers here, and the loop writes
    them to the one artifact that it keeps up to date.
    """

    def __init__(self) -> None:
        self._latest: tuple[str, int, int | None] | None = None

    def progress(self, phase: str, done: int, total: int | None) -> None:
        """Note where the engine is."""
        self._latest = (phase, done, total)

    @asynccontextmanager
    async def shown(self, key: str, look: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Keep the artifact `key` up to date during the block, and `look` around as often."""
        artifact = await acreate_progress_artifact(0.0, key=key, description="starting")
        showing = asyncio.create_task(self._show(artifact, look))
        try:
            yield
        finally:
            showing.cancel()
            await asyncio.wait({showing})
        await aupdate_progress_artifact(artifact, 100.0, description=self._words("done"))

    async def _show(self, artifact: UUID, look: Callable[[], Awaitable[None]]) -> None:
        shown = None
        while True:
            await asyncio.sleep(SECONDS)
            try:
                await look()
                if self._latest != shown:
                    shown = self._latest
                    await aupdate_progress_artifact(artifact, self._percent(), description=self._words("working"))
            except Exception as error:  # sending does not depend on what is shown; the next round may succeed
                get_run_logger().warning("Prefect did not answer: %s", error)

    def _percent(self) -> float:
        _, done, total = self._latest or ("", 0, None)
        return min(100.0, 100.0 * done / total) if total else 0.0

    def _words(self, otherwise: str) -> str:
        if self._latest is None:
            return otherwise
        phase, done, total = self._latest
        return f"{phase}: {done:,}" + (f" of {total:,}" if total is not None else "")
