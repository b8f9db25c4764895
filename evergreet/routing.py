"""Routes: which providers send for a channel, and who of them is asked first for a message.

A route is a list in order. Without weights the first one sends and the others stand by. Those with weights share the
messages by a hash of the message's key, which is the same for every attempt and every worker; all others stand by.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from typing import Self

from evergreet.channels import AnySender
from evergreet.contracts import RateLimiter
from evergreet.rates import FREE, Rate, Unlimited

_PART = re.compile(r"(?P<name>[^\s,]+)(?:\s+(?P<weight>\S+))?")
LARGEST_WEIGHT = 1_000_000


@dataclass(frozen=True, slots=True)
class Named:
    """A connector as a setting names it; `weight` is its share of the messages, None where it stands by."""

    name: str
    weight: int | None = None


def read_route(written: str) -> tuple[Named, ...]:
    """Read `sendgrid, ses` or `sendgrid 80, ses 20, smtp`; raises ValueError with a sentence."""
    named: list[Named] = []
    for part in written.split(","):
        found = _PART.fullmatch(part.strip())
        if found is None:
            raise ValueError(
                f"{written!r} is no list of connectors: write their names with commas between them, each with a "
                "weight or without, as in `sendgrid, ses` or `sendgrid 80, ses 20`"
            )
        name, weight = found["name"], found["weight"]
        if any(each.name == name for each in named):
            raise ValueError(f"{name!r} is named twice")
        if weight is None:
            named.append(Named(name))
            continue
        if not (weight.isascii() and weight.isdecimal()) or not 0 < int(weight) <= LARGEST_WEIGHT:
            raise ValueError(f"the weight of {name!r} is {weight!r}; write a whole number from 1 on, such as 80")
        if named and named[-1].weight is None:
            raise ValueError(
                f"{named[-1].name!r} has no weight and {name!r} behind it has one: those that share the messages come "
                "first, those that stand by after them"
            )
        named.append(Named(name, int(weight)))
    return tuple(named)


@dataclass(frozen=True, slots=True)
class Provider:
    """One connector of a route: its share, what paces it (the `limiter` per second), and what a day allows (`rate`).

    `to` is the one of its destinations that is meant, if it has some.
    """

    sender: AnySender
    weight: int | None = None
    limiter: RateLimiter = field(default_factory=Unlimited)
    rate: Rate = FREE
    to: str = ""

    @property
    def name(self) -> str:
        """The name of its connector."""
        return self.sender.name

    @property
    def peer(self) -> str:
        """What is out when it fails: the connector, or one destination of it, as in `webhook:warehouse`."""
        return f"{self.name}:{self.to}" if self.to else self.name


@dataclass(frozen=True)
class Route:
    """The providers of a channel, in the order of the setting."""

    providers: tuple[Provider, ...]

    @classmethod
    def of(cls, sender: AnySender, limiter: RateLimiter | None = None) -> Self:
        """Make a route of one provider."""
        return cls((Provider(sender, limiter=limiter or Unlimited()),))

    def towards(self, to: str) -> Self:
        """Return the route to one destination: one that fails says nothing of the others."""
        return replace(self, providers=tuple(replace(provider, to=to) for provider in self.providers))

    @property
    def senders(self) -> tuple[AnySender, ...]:
        """The connectors, in order."""
        return tuple(provider.sender for provider in self.providers)

    @property
    def channel(self) -> str:
        """What they all send."""
        return self.providers[0].sender.capabilities.channel

    @property
    def single(self) -> bool:
        """Whether there is nobody to choose between."""
        return len(self.providers) == 1

    @property
    def shared(self) -> bool:
        """Whether it takes the key of a message to say who is asked first."""
        return len(self._bounds) > 1

    def order(self, key: str) -> Sequence[Provider]:
        """Return who is asked for the message of this key (`message_key`), one after the other."""
        if not self.shared:
            return self.providers
        return self._orders[bisect_right(self._bounds, int(key[:12], 16) % self._bounds[-1])]

    @cached_property
    def _bounds(self) -> list[int]:
        """Where the share of each weighted provider ends."""
        return list(accumulate(provider.weight for provider in self.providers if provider.weight is not None))

    @cached_property
    def _orders(self) -> list[tuple[Provider, ...]]:
        """Who is asked, by who is first: then the others as they stand in the setting."""
        return [
            (first, *(other for other in self.providers if other is not first))
            for first in self.providers[: len(self._bounds)]
        ]
