"""Handing a batch over in requests, and what was refused as a whole in smaller ones."""

from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

from connectors.elapsed import Clock, elapsed
from evergreet.contracts import EmailMessage, Outcome, Request
from evergreet.errors import Misconfigured, Permanent, Refused, Retryable

Prepare: TypeAlias = Callable[[Sequence[EmailMessage]], tuple[list[Request], dict[int, Outcome]]]
"""As `RepeatableSender.prepare`."""
Written = TypeVar("Written")
LONGEST = 60.0
"""Seconds after which no request of a batch is begun: who unsubscribes meanwhile is not written to."""


def write_each(
    batch: Sequence[EmailMessage], write: Callable[[EmailMessage], Written]
) -> tuple[dict[int, Written], dict[int, Outcome]]:
    """Write messages; return by place what was written, and the errors of what cannot be sent as it is."""
    written: dict[int, Written] = {}
    refused: dict[int, Outcome] = {}
    for place, message in enumerate(batch):
        try:
            written[place] = write(message)
        except (Permanent, Misconfigured) as fault:
            fault.__context__ = None
            refused[place] = fault.with_traceback(None)
    return written, refused


def hand_over_in_parts(
    batch: Sequence[EmailMessage],
    prepare: Prepare,
    ask: Callable[[bytes, int], list[Outcome]],
    clock: Clock = elapsed,
) -> list[Outcome]:
    """Hand the messages over; an answer that stands for everybody ends the batch.

    `ask` makes a request for so many messages; one that raises `Refused` was not accepted, and is asked for in halves.
    The first, the middle and the last message of the first such are asked for alone before: where all three are refused
    in the same words it is about what everybody shares, our fault. After `LONGEST` seconds nothing more is begun.
    """
    todo: list[tuple[int, ...]] = [tuple(range(len(batch)))]
    outcomes: dict[int, Outcome] = {}
    alone: tuple[int, ...] = ()
    down: Retryable | Misconfigured | None = None
    ends = clock() + LONGEST
    while todo:
        places = todo.pop()
        requests, refused = prepare([batch[place] for place in places])
        outcomes |= {places[place]: outcome for place, outcome in refused.items()}
        parts: list[tuple[int, ...]] = []
        for request in requests:
            inside = tuple(places[place] for place in request.places)
            if down is None and clock() > ends:
                down = Retryable("Not begun: the requests before it took too long.")
            if down is not None:
                outcomes |= dict.fromkeys(inside, down)
                continue
            try:
                answers = ask(request.body, len(inside))
            except Refused:
                if len(inside) > 3 and not alone:
                    alone = (inside[0], inside[len(inside) // 2], inside[-1])
                    parts += [(place,) for place in alone]
                    inside = tuple(place for place in inside if place not in alone)
                half = len(inside) // 2
                parts += filter(None, (inside[:half], inside[half:]))
                continue
            outcomes |= dict(zip(inside, answers, strict=True))
            if all(isinstance(answer, Retryable | Misconfigured) for answer in answers):
                down = Retryable("Not begun: the request before it was not taken.")
            elif inside == alone[-1:] and (ours := _same_of_all([outcomes[place] for place in alone])) is not None:
                down = ours
                outcomes |= dict.fromkeys(alone, ours)
        todo += reversed(parts)
    return [outcomes[place] for place in range(len(batch))]


def _same_of_all(told: Sequence[Outcome]) -> Misconfigured | None:
    """Return what stands for everybody where all of these were refused in the same words."""
    reasons = {outcome.reason if isinstance(outcome, Permanent) else "" for outcome in told}
    if len(reasons) != 1 or reasons == {""}:
        return None
    return Misconfigured(f"{reasons.pop().rstrip('.')}. It says so of the first, the middle and the last message.")
