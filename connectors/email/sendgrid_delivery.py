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

    `ask` makes one request, `whole` that for one message with its whole content; `keys` are the messages' keys and
    `outcomes` what became of them: all three by position in the batch. Once the brake is down nothing is begun.
    """

    ask: Callable[[Request], Answer]
    whole: Callable[[int], Request | None]
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
        if request.shared and len(request.recipients) == 1:
            # Whoever is left alone has no need of substitutions, and is not refused for what is wrong with them.
            request = self.whole(request.recipients[0].position) or request
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
            case Refused(named=named, apart=apart) if named or apart:
                for place, refused in named.items():
                    self.outcomes[request.recipients[place].position] = refused
                left = request.without(named.keys() | apart)
                if named and not answer.of_addresses:
                    left = self._probed(request, left, answer)
                return [one for one in (left, *(request.only(place) for place in sorted(apart))) if one.recipients]
            case Refused() | TooLarge() if alone:
                self.outcomes[request.recipients[0].position] = Permanent(f"{answer.reason}.")
            case TooLarge():
                return request.halves()
            case Refused():
                return [half for half in self._probed(request, request, answer).halves() if half.recipients]
            case Retryable() | Misconfigured():
                for recipient in request.recipients:
                    self.outcomes[recipient.position] = answer
        return []

    def _probed(self, request: Request, left: Request, refused: Refused) -> Request:
        """Ask for three of those that are left alone, once: return who is left then.

        Where those three, far apart, are refused in the same words, it is about what everybody shares: it is our
        fault, also towards those that were named, and nobody else needs to be asked for.
        """
        last = len(left.recipients) - 1
        if left.probed or last < 3:
            return left
        places = (0, last // 2, last)
        probes = [(left.only(place), self._answer(left.only(place))) for place in places]
        if all(isinstance(answer, Refused) and answer.words == refused.words for _, answer in probes):
            ours = Misconfigured(f"{refused.words}. It says so of the first, the middle and the last recipient.")
            self.brake.stop_after(ours)
            self._settle(request, ours)
            return left.without(range(last + 1))
        for probe, answer in probes:
            self._settle(probe, answer)
        return replace(left.without(places), probed=True)
