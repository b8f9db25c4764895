"""Writing a batch in requests of so many records each: in halves where one of them is at fault."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from connectors.brake import Brake
from connectors.elapsed import Clock
from evergreet.contracts import Outcome
from evergreet.errors import Misconfigured, Permanent, Retryable

LONGEST = 60.0
"""Seconds after which no request of a batch is begun."""


@dataclass(slots=True)
class Item:
    """A part of a request: what it is called, what it says, and the places of the batch that it is for."""

    name: str
    content: dict[str, Any]
    places: list[int]


Ask: TypeAlias = Callable[[Sequence[Item]], Mapping[str, Outcome]]
"""Makes a request with some items; returns outcomes by name, or raises what holds for all of them."""


def harmless(outcome: Outcome) -> Outcome:
    """Return what became of something that may be written again: where it is in doubt, it is."""
    if isinstance(outcome, Retryable) and outcome.accepted == "maybe":
        return Retryable(f"{outcome.reason} It may be written again.", retry_after=outcome.retry_after)
    return outcome


class Parts:
    """The requests of one batch: none is begun after an answer that stands for everybody, or after a minute."""

    def __init__(self, provider: str, most: int, clock: Clock) -> None:
        self._most = most
        self._brake = Brake(provider, clock() + LONGEST, clock)

    def alone(self, ask: Callable[[], Outcome]) -> Outcome:
        """Ask for one; an error that is raised is its outcome."""
        try:
            return self._brake.reason() or ask()
        except (Permanent, orjson.JSONEncodeError) as fault:
            return _plain(fault)
        except (Retryable, Misconfigured) as fault:
            self._brake.stop_after(fault)
            return fault.with_traceback(None)

    def in_parts(self, items: Sequence[Item], ask: Ask, most: int = 0) -> dict[int, Outcome]:
        """Ask for many, at `most` so many at once; return outcomes by place, of those that `ask` names."""
        outcomes: dict[int, Outcome] = {}
        most = most or self._most
        todo = [items[start : start + most] for start in range(0, len(items), most)]
        while todo:
            part = todo.pop(0)
            try:
                down = self._brake.reason()
                answers = dict.fromkeys((item.name for item in part), down) if down else ask(part)
            except (Permanent, orjson.JSONEncodeError) as fault:
                if len(part) > 1:
                    self._brake.count_refusal()
                    todo[:0] = [part[: len(part) // 2], part[len(part) // 2 :]]
                    continue
                answers = {part[0].name: _plain(fault)}
            except (Retryable, Misconfigured) as fault:
                self._brake.stop_after(fault)
                answers = dict.fromkeys((item.name for item in part), fault.with_traceback(None))
            outcomes |= {place: answers[item.name] for item in part for place in item.places if item.name in answers}
        return outcomes


def _plain(fault: Exception) -> Permanent:
    if isinstance(fault, Permanent):
        return fault.with_traceback(None)
    return Permanent("Half a character stands in a text: it cannot be written in UTF-8.")
