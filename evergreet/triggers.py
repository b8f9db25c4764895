"""What starts an enrollment, and what makes each one an occurrence of its own.

`event` and `stage_entered` follow what is ingested; `silence` and `anniversary` follow the clock; `broadcast`
takes a whole audience at once. Triggers are joined with `|`.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from evergreet.durations import Duration
from evergreet.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class EventTrigger:
    """Starts an enrollment for each event of that name; with `key`, one per value of that property.

    A value is text or a whole number (of 64 bits; 17, 17.0 and "17" are one). An event with anything else there, or
    with nothing, starts an enrollment of its own, as without `key`.

    `like` is another name for the same thing: a value told under both starts one enrollment.
    """

    name: str
    key: str | None = None
    like: str | None = None
    kind: Literal["event"] = "event"

    @property
    def thing(self) -> str:
        """The name under which its values are counted."""
        return self.like or self.name


@dataclass(frozen=True, slots=True)
class StageTrigger:
    """Starts an enrollment when a contact enters the stage; a move caused by event E is E's occurrence."""

    stage: str
    kind: Literal["stage"] = "stage"


@dataclass(frozen=True, slots=True)
class SilenceTrigger:
    """Starts an enrollment when, for `span` after one of `after`, the contact did none of `broken_by`.

    The occurrence is the event that was the last; the triggering moment is its time, so a step `after=` counts
    from there. Of two of `after` at one moment the one told last is the last. What else breaks a silence does so at
    that moment too, whichever was told first: who bought in the minute of the last look into the cart left none.
    With `having`, only contacts who did one of these at or before that event.
    """

    span: Duration
    after: tuple[str, ...]
    broken_by: tuple[str, ...]
    having: tuple[str, ...] = ()
    kind: Literal["silence"] = "silence"

    @property
    def breakers(self) -> tuple[str, ...]:
        """What breaks a silence and begins none."""
        return tuple(name for name in self.broken_by if name not in self.after)

    def __post_init__(self) -> None:
        """Refuse what could not be told from noise."""
        if not self.after:
            raise DefinitionError("silence(…): name at least one event after which it may fall silent.")
        if isinstance(self.span.amount, int) and self.span.amount == 0:
            raise DefinitionError("silence(…): a silence of no length is never broken; write silence(days(60), …).")


@dataclass(frozen=True, slots=True)
class AnniversaryTrigger:
    """Starts an enrollment on each anniversary of the contact's first event named in `of`, on their calendar.

    The n-th comes n times `months` after the day of the first event, counted where the contact lives; 29 February
    becomes 28 February where there is none. `shift` moves it by so many local days. The occurrence is the n-th of
    that event in that month. Two of a contact are at least half their period apart and, with 12 months, not in one
    year: whoever was thanked is not thanked again when the first event's date is corrected.
    """

    of: tuple[str, ...]
    months: int = 12
    shift: int = 0
    kind: Literal["anniversary"] = "anniversary"

    def __post_init__(self) -> None:
        """Refuse what has no anniversaries."""
        if not self.of:
            raise DefinitionError("anniversary(…): name the event whose first time is remembered.")
        if not 1 <= self.months <= 1200:
            raise DefinitionError(f"anniversary(…, months={self.months}): write 1 to 1200; 12 is every year.")
        if abs(self.shift) > 14 * self.months:
            raise DefinitionError(f"anniversary(…, shift={self.shift}): less than half the way to the next one.")


@dataclass(frozen=True, slots=True)
class BroadcastTrigger:
    """Takes the whole audience once for each business event of that name (an event without a contact).

    With `key`, once per value of that property, read as an `EventTrigger` reads it. The audience is frozen in one
    transaction.
    """

    name: str
    key: str | None = None
    kind: Literal["broadcast"] = "broadcast"


Trigger: TypeAlias = EventTrigger | StageTrigger | SilenceTrigger | AnniversaryTrigger | BroadcastTrigger


@dataclass(frozen=True, slots=True)
class Triggers:
    """What starts an enrollment: any of these, once per cause."""

    parts: tuple[Trigger, ...]

    def __or__(self, other: "Triggers") -> "Triggers":
        return Triggers((*self.parts, *other.parts))

    @property
    def events(self) -> tuple[EventTrigger, ...]:
        """The event triggers among them."""
        return tuple(part for part in self.parts if isinstance(part, EventTrigger))

    @property
    def stages(self) -> tuple[StageTrigger, ...]:
        """The stage triggers among them."""
        return tuple(part for part in self.parts if isinstance(part, StageTrigger))

    @property
    def silences(self) -> tuple[SilenceTrigger, ...]:
        """The silence triggers among them."""
        return tuple(part for part in self.parts if isinstance(part, SilenceTrigger))

    @property
    def anniversaries(self) -> tuple[AnniversaryTrigger, ...]:
        """The anniversary triggers among them."""
        return tuple(part for part in self.parts if isinstance(part, AnniversaryTrigger))

    @property
    def by_clock(self) -> bool:
        """Whether time alone may start an enrollment."""
        return bool(self.silences or self.anniversaries)

    @property
    def broadcasts(self) -> tuple[BroadcastTrigger, ...]:
        """The broadcast triggers among them."""
        return tuple(part for part in self.parts if isinstance(part, BroadcastTrigger))


def names_of(trigger: Trigger) -> tuple[str, ...]:
    """Return the events of a contact that a trigger asks for."""
    match trigger:
        case EventTrigger(name=name):
            return (name,)
        case SilenceTrigger(after=after, broken_by=broken_by, having=having):
            return (*after, *broken_by, *having)
        case AnniversaryTrigger(of=of):
            return of
        case _:
            return ()


def event(name: str, *others: str, key: str | None = None) -> Triggers:
    """Start an enrollment for each `name` event; with `key`, one per value of that property.

    `others` are names of the same thing: with `key`, a value that is told under several starts one enrollment.
    """
    return Triggers((EventTrigger(name, key), *(EventTrigger(other, key, name) for other in others)))


def stage_entered(stage: str) -> Triggers:
    """Start an enrollment when a contact enters the stage."""
    return Triggers((StageTrigger(stage),))


def silence(
    span: Duration, *, after: tuple[str, ...], broken_by: tuple[str, ...] = (), having: tuple[str, ...] = ()
) -> Triggers:
    """Start an enrollment when a contact falls silent: `silence(days(60), after=ACTIVITY, having=PURCHASED)`.

    What breaks the silence is any of `after` and `broken_by`.
    """
    return Triggers((SilenceTrigger(span, after, tuple(dict.fromkeys((*after, *broken_by))), having),))


def anniversary(*of: str, months: int = 12, shift: int = 0) -> Triggers:
    """Start an enrollment on each anniversary of the first of these events: `anniversary("order_placed")`."""
    return Triggers((AnniversaryTrigger(of, months, shift),))


def broadcast(name: str, *, key: str | None = None) -> Triggers:
    """Write to the whole audience once for each business event: `broadcast("product_launched", key="product_id")`."""
    return Triggers((BroadcastTrigger(name, key),))
