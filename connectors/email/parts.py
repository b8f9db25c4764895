"""Handing a batch over in requests, and what was refused as a whole in smaller ones."""

from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

from evergreet.contracts import EmailMessage, Outcome, Request
from evergreet.errors import Misconfigured, Permanent, Refused, Retryable

Prepare: TypeAlias = Callable[[Sequence[EmailMessage]], tuple[list[Request], dict[int, Outcome]]]
"""As `RepeatableSender.prepare`."""
Written = TypeVar("Written")


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
    batch: Sequence[EmailMessage], prepare: Prepare, ask: Callable[[bytes, int], list[Outcome]]
) -> list[Outcome]:
    """Hand the messages over; an answer that stands for everybody ends the batch.

    `ask` makes a request for so many messages; one that raises `Refused` was not accepted, and is asked for in halves.
    """
    todo: list[tuple[int, ...]] = [tuple(range(len(batch)))]
    outcomes: dict[int, Outcome] = {}
    down = False
    while todo:
        places = todo.pop()
        requests, refused = prepare([batch[place] for place in places])
        outcomes |= {places[place]: outcome for place, outcome in refused.items()}
        halves: list[tuple[int, ...]] = []
        for request in requests:
            inside = tuple(places[place] for place in request.places)
            if down:
                outcomes |= dict.fromkeys(inside, Retryable("Not begun: the request before it was not taken."))
                continue
            try:
                answers = ask(request.body, len(inside))
            except Refused:
                half = len(inside) // 2
                halves += [inside[:half], inside[half:]]
                continue
            outcomes |= dict(zip(inside, answers, strict=True))
            down = all(isinstance(answer, Retryable | Misconfigured) for answer in answers)
        todo += reversed(halves)
    return [outcomes[place] for place in range(len(batch))]
