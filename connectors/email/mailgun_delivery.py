"""One batch on its way to Mailgun: request by request, and after a refusal the same people in smaller requests."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from connectors.brake import Brake
from connectors.email.mailgun_answers import Answer, Refused, Took
from connectors.email.mailgun_payload import Request
from evergreet.contracts import Accepted, Outcome
from evergreet.errors import Misconfigured, Permanent, Retryable


@dataclass(slots=True)
class Delivery:
    """Asks for everybody and writes down what became of whom, by place in the batch, until the brake is down."""

    ask: Callable[[Request], Answer]
    outcomes: dict[int, Outcome]
    brake: Brake
    sandbox: bool

    def work(self, requests: Sequence[Request]) -> None:
        """Hand the requests over, one after another."""
        todo = list(reversed(requests))
        while todo:
            request = todo.pop()
            todo += reversed(self._settle(request, self._answer(request)))

    def _answer(self, request: Request) -> Answer:
        if (reason := self.brake.reason()) is not None:
            return reason
        answer = self.ask(request)
        match answer:
            case Refused():
                self.brake.count_refusal()
            case Retryable() | Misconfigured():
                self.brake.stop_after(answer)
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
