"""Rates: how fast a provider may be asked."""


class Unlimited:
    """A rate limiter that never waits."""

    def acquire(self, count: int) -> None:
        """Let everything through."""
