"""One batch on its way to Mailgun: request by request, and after a refusal the same people in smaller requests."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from connectors.elapsed import Clock
from connectors.email.mailgun_answers import Answer, Refused, Took
from connectors.email.mailgun_payload import Request
from evergreet.contracts import Accepted, Outcome
from evergreet.errors import Misconfigured, Permanent, Retryable

MOST_REFUSALS = 200
"""Requests of one batch that may be refused; what is left then is given back."""


@dataclass(slots=True)
class Delivery:
    """Asks for everybody and writes down what became of whom, by place in the batch.

    An answer that stands for everybody (our fault, a limit, a doubt, nobody there) is `down`: from then on nothing is
    begun.
    """

    ask: Callable[[Request], Answer]
    outcomes: dict[int, Outcome]
    ends: float
    clock: Clock
    sandbox: bool
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
            self.down = Retryable("Not begun: Mailgun refused so many requests of this batch.", accepted="no")
        if self.down is not None:
            return self.down
        answer = self.ask(request)
        match answer:
            case Refused():
                self.refusals += 1
            case Retryable(accepted="maybe"):
                self.down = Retryable("Not begun: the request before it ended in doubt.", accepted="no")
            case Retryable() | Misconfigured():
                self.down = answer
        return answer

    def _settle(self, request: Request, answer: Answer) -> list[Request]:
        """Write down what became of whom; return the requests in which the others are asked for again."""
        places = [recipient.place for recipient in request.recipients]
        match answer:
            case Took(name):
                self.outcomes |= dict.fromkeys(places, Accepted(f"sandbox:{name}" if self.sandbox else name))
            case Refused(named=named) if named:
                refused = {places[at]: outcome for at, outcome in named.items()}
                self.outcomes |= refused
                left = request.without(refused)
                return [left] if left.recipients else []
            case Refused(reason=reason):
                if len(places) > 1:
                    return request.halves()
                self.outcomes[places[0]] = Permanent(f"{reason}.")
            case Retryable() | Misconfigured():
                self.outcomes |= dict.fromkeys(places, answer)
        return []
