"""One batch on its way to SendGrid: request by request, and after a refusal the same people in smaller requests."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from connectors.elapsed import Clock
from connectors.email.sendgrid_answers import Answer, Refused, Took, TooLarge
from connectors.email.sendgrid_payload import Request
from evergreet.contracts import Accepted, Outcome
from evergreet.errors import Misconfigured, Permanent, Retryable

MOST_REFUSALS = 200
"""Requests of one batch that may be refused; what is left then is given back. Finding ten bad recipients in a
thousand, where SendGrid names none, takes about seventy."""


@dataclass(slots=True)
class Delivery:
    """Asks for everybody and writes down what became of whom.

    `ask` makes one request; `keys` are the messages' keys and `outcomes` what became of them, both by position in the
    batch. An answer that stands for everybody (our fault, a limit, a doubt, nobody there) is `down`: from then on
    nothing is begun.
    """

    ask: Callable[[Request], Answer]
    keys: Sequence[str]
    outcomes: dict[int, Outcome]
    ends: float
    clock: Clock
    refusals: int = 0
    down: Retryable | Misconfigured | None = None

    def work(self, requests: Sequence[Request]) -> None:
        """Hand the requests over, one after another."""
        todo = list(reversed(requests))
        while todo:
            request = todo.pop()
            todo += reversed(self._settle(request, self._answer(request)))

    def _answer(self, request: Request) -> Answer:
        if self.down is None and self.clock() > self.ends:
            self.down = Retryable("Not begun: the requests before it took too long.", accepted="no")
        if self.down is None and self.refusals >= MOST_REFUSALS:
            self.down = Retryable("Not begun: SendGrid refused so many requests of this batch.", accepted="no")
        if self.down is not None:
            return self.down
        answer = self.ask(request)
        match answer:
            case Refused() | TooLarge():
                self.refusals += 1
            case Retryable(accepted="maybe"):
                self.down = Retryable("Not begun: the request before it ended in doubt.", accepted="no")
            case Retryable() | Misconfigured():
                self.down = answer
        return answer

    def _settle(self, request: Request, answer: Answer) -> list[Request]:
        """Write down what became of whom; return the requests in which the others are asked for again."""
        alone = len(request.recipients) == 1
        match answer:
            case Took():
                named = Accepted(answer.name) if answer.name and not answer.sandboxed else None
                for position, _ in request.recipients:
                    key = self.keys[position]
                    self.outcomes[position] = named or Accepted(f"sandbox:{key}" if answer.sandboxed else key)
            case Refused(named=named) if named:
                for place, refused in named.items():
                    self.outcomes[request.recipients[place].position] = refused
                left = request.without(named)
                return [left] if left.recipients else []
            case Refused() | TooLarge() if alone:
                self.outcomes[request.recipients[0].position] = Permanent(f"{answer.reason}.")
            case TooLarge():
                return request.halves()
            case Refused():
                return self._narrow(request, answer)
            case Retryable() | Misconfigured():
                for recipient in request.recipients:
                    self.outcomes[recipient.position] = answer
        return []

    def _narrow(self, request: Request, refused: Refused) -> list[Request]:
        """Find whom a refusal is about that names nobody: by halves, once three far apart were asked for alone.

        Where those three are refused in the same words, it is about what everybody shares, so it is our fault and
        nobody else needs to be asked for.
        """
        last = len(request.recipients) - 1
        if request.probed or last < 3:
            return request.halves()
        places = (0, last // 2, last)
        probes = [(request.only(place), self._answer(request.only(place))) for place in places]
        if all(isinstance(answer, Refused) and answer.reason == refused.reason for _, answer in probes):
            self.down = Misconfigured(f"{refused.reason}. It says so of the first, the middle and the last recipient.")
            return self._settle(request, self.down)
        for probe, answer in probes:
            self._settle(probe, answer)
        rest = replace(request.without(places), probed=True)
        return [half for half in rest.halves() if half.recipients]
