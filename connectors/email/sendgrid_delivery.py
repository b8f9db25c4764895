"""One batch on its way to SendGrid: request by request, and after a refusal the same people in smaller requests."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from connectors.brake import Brake
from connectors.email.sendgrid_answers import Answer, Refused, Took, TooLarge
from connectors.email.sendgrid_payload import Request
from evergreet.contracts import Accepted, Outcome
from evergreet.errors import Misconfigured, Permanent, Retryable


@dataclass(slots=True)
class Delivery:
    """Asks for everybody and writes down what became of whom.

    `ask` makes one request; `keys` are the messages' keys and `outcomes` what became of them, both by position in the
    batch. Once the brake is down nothing is begun.
    """

    ask: Callable[[Request], Answer]
    keys: Sequence[str]
    outcomes: dict[int, Outcome]
    brake: Brake

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
            case Refused() | TooLarge():
                self.brake.count_refusal()
            case Retryable() | Misconfigured():
                self.brake.stop_after(answer)
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
            ours = Misconfigured(f"{refused.reason}. It says so of the first, the middle and the last recipient.")
            self.brake.stop_after(ours)
            return self._settle(request, ours)
        for probe, answer in probes:
            self._settle(probe, answer)
        rest = replace(request.without(places), probed=True)
        return [half for half in rest.halves() if half.recipients]
