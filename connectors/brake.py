"""When nothing more of a batch is begun: time, refusals, or an answer that stands for everybody."""

from dataclasses import dataclass

from connectors.elapsed import Clock
from evergreet.errors import Misconfigured, Retryable

MOST_REFUSALS = 200
"""Requests of one batch that may be refused; what is left then is given back. Finding ten bad recipients in a
thousand, where a provider names none, takes about seventy."""


@dataclass(slots=True)
class Brake:
    """Is told each answer of a provider, and says why nothing more may be begun; `ends` is a time of the clock.

    An answer that stands for everybody (our fault, a limit, a doubt, nobody there) is `down`: from then on nothing is
    begun.
    """

    provider: str
    ends: float
    clock: Clock
    refusals: int = 0
    down: Retryable | Misconfigured | None = None

    def reason(self) -> Retryable | Misconfigured | None:
        """Return why the next request is not begun; None where it may be."""
        if self.down is None and self.clock() > self.ends:
            self.down = Retryable("Not begun: the requests before it took too long.", accepted="no")
        if self.down is None and self.refusals >= MOST_REFUSALS:
            self.down = Retryable(f"Not begun: {self.provider} refused so many requests of this batch.", accepted="no")
        return self.down

    def count_refusal(self) -> None:
        """Count a request that was refused: others may be taken."""
        self.refusals += 1

    def stop_after(self, answer: Retryable | Misconfigured) -> None:
        """Begin nothing after an answer that stands for everybody."""
        in_doubt = isinstance(answer, Retryable) and answer.accepted == "maybe"
        self.down = Retryable("Not begun: the request before it ended in doubt.", accepted="no") if in_doubt else answer
