"""What the engine is given by whoever runs it."""

from typing import Protocol


class RateLimiter(Protocol):
    """Hands out permission to send; taken once per window."""

    def acquire(self, count: int) -> None:
        """Block until `count` messages may be sent."""
        ...


class Reporter(Protocol):
    """Is told how a run goes along."""

    def progress(self, phase: str, done: int, total: int | None) -> None:
        """Say that `done` of `total` (unknown: None) are through `phase`."""
        ...
