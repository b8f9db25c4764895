"""Conditions: small frozen values about one contact, joined with `&`, `|` and `~`.

They are data (JSON and back, `CONDITION`), compiled to SQL by `evergreet.audience`; nothing here knows a
database. What an event condition looks at:

- current rows only (superseded ones are corrections' past) whose time is not after *now*;
- with `within=`: not older than that span before *now*, inclusive: `now - span <= time <= now`; in a goal the
  span is the conversion window instead: `since < time <= since + span`;
- without `within=` where a *since* is given (goals, `unless`, stage rules): `time > since` (see
  `evergreet.audience.Scope`);
- with `before=`: times before that moment, exclusive.

`first` and `last` look at the whole history up to *now*, whatever the *since*. Conditions about the contact
(attributes, consent, enrollments, stage) know no past: they hold or do not hold as things are stored now.
"""

import math
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, TypeAdapter

from evergreet.durations import Duration
from evergreet.errors import DefinitionError

Scalar: TypeAlias = bool | int | float | str
Operator: TypeAlias = Literal["==", "!=", "<", "<=", ">", ">=", "in", "exists", "same"]


class _Joinable:
    """Gives conditions their operators."""

    __slots__ = ()

    def __and__(self, other: "Condition") -> "Condition":
        return AllOf((*_parts(self, AllOf), *_parts(other, AllOf)))

    def __or__(self, other: "Condition") -> "Condition":
        return AnyOf((*_parts(self, AnyOf), *_parts(other, AnyOf)))

    def __invert__(self) -> "Condition":
        return self.part if isinstance(self, Not) else Not(self)  # type: ignore[arg-type]

    def __bool__(self) -> bool:
        raise DefinitionError("a condition has no truth value of its own: join conditions with & | ~, not and/or/not.")


def _parts(condition: Any, joined: "type[AllOf] | type[AnyOf]") -> "tuple[Condition, ...]":
    if not isinstance(condition, _Joinable):
        raise DefinitionError(f"{condition!r} is not a condition.")
    return condition.parts if isinstance(condition, joined) else (condition,)  # type: ignore[return-value]


def _check_comparison(where: str, name: str, op: Operator, value: object) -> None:
    values = value if isinstance(value, tuple) else (value,)
    for each in values:
        if each is None:
            raise DefinitionError(f"{where} {op} None: null equals nothing; write {where}.exists(False).")
        if isinstance(each, (datetime, date)):
            raise DefinitionError(f"{where} {op} {each!r}: properties hold no times; compare text, e.g. '2026-01-31'.")
        if isinstance(each, float) and not math.isfinite(each):
            raise DefinitionError(f"{where} {op} {each}: no property holds such a number.")
    for text in (name, *values):
        if isinstance(text, str) and ("\0" in text or _surrogates(text)):
            raise DefinitionError(f"{where} {op} {text!r}: no stored text holds a NUL or half a surrogate pair.")
    if op == "in" and not isinstance(value, tuple):
        raise DefinitionError(f"{where}: `in` takes a tuple of values; write {where}.is_in(…).")
    if op != "in" and isinstance(value, tuple):
        raise DefinitionError(f"{where} {op} {value!r}: write {where}.is_in(…) to compare with several values.")
    if op == "exists" and not isinstance(value, bool):
        raise DefinitionError(f"{where}.exists({value!r}): write True or False.")
    if op == "same" and not (isinstance(value, str) and value):
        raise DefinitionError(f"{where} same {value!r}: name the property of the causing event it is compared with.")
    if op in {"<", "<=", ">", ">="} and isinstance(value, bool):
        raise DefinitionError(f"{where} {op} {value}: booleans have no order; write == or !=.")


def _surrogates(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


@dataclass(frozen=True, slots=True)
class Where:
    """A comparison on one property of an event, e.g. `Where("amount", ">=", 50)`.

    Numbers compare with numbers, text with text, booleans with booleans (`==`, `!=` only); a property that
    is missing, null or of another type satisfies nothing except `!=`, which is the exact opposite of `==`.
    `in` takes a tuple; `exists` takes True or False and asks for presence with a value other than null; `same`
    names a property of the causing event that is the same text or number, 17 and "17" alike (it holds for nothing
    where there is no causing event). Text compares exactly and in the order of code points. Integers are exact within
    64 bits; an integer compared with a fraction is exact up to 2**53.
    """

    name: str
    op: Operator
    value: Scalar | tuple[Scalar, ...]

    def __post_init__(self) -> None:
        """Refuse what could not be compared."""
        _check_comparison(f"prop({self.name!r})", self.name, self.op, self.value)


@dataclass(frozen=True, slots=True)
class Did(_Joinable):
    """The contact did `event`, at least so many times, under these circumstances."""

    event: str
    where: tuple[Where, ...] = ()
    within: Duration | None = None
    at_least: int = 1
    before: datetime | None = None
    kind: Literal["did"] = "did"

    def __post_init__(self) -> None:
        """Refuse what could not be counted or placed in time, also when it comes from JSON."""
        if isinstance(self.at_least, int) and self.at_least < 1:
            raise DefinitionError(f"did({self.event!r}, at_least={self.at_least}): write 1 or more, or did_not(…).")
        if isinstance(self.before, datetime) and self.before.tzinfo is None:
            raise DefinitionError(f"did({self.event!r}, before={self.before}): the time has no zone; add tzinfo.")


@dataclass(frozen=True, slots=True)
class Nth(_Joinable):
    """The time of the first or last `event` compared with a span: the event happened, and its time is
    at least (`op=">="`) or less than (`op="<"`) `ago` before now."""

    which: Literal["first", "last"]
    event: str
    op: Literal[">=", "<"]
    ago: Duration
    kind: Literal["nth"] = "nth"


@dataclass(frozen=True, slots=True)
class Attribute(_Joinable):
    """A comparison on a contact attribute, with the rules of `Where`.

    The names email, phone, locale, timezone and stage mean the columns; any other is a free attribute.
    """

    name: str
    op: Operator
    value: Scalar | tuple[Scalar, ...]
    kind: Literal["attribute"] = "attribute"

    def __post_init__(self) -> None:
        """Refuse what could not be compared."""
        if self.op == "same":
            raise DefinitionError(f"attribute({self.name!r}): same(…) compares events, not attributes.")
        _check_comparison(f"attribute({self.name!r})", self.name, self.op, self.value)


@dataclass(frozen=True, slots=True)
class StageIs(_Joinable):
    """The contact is in one of these stages."""

    stages: tuple[str, ...]
    kind: Literal["stage_is"] = "stage_is"


@dataclass(frozen=True, slots=True)
class InStageFor(_Joinable):
    """The contact has been in the present stage for at least this long."""

    span: Duration
    kind: Literal["in_stage_for"] = "in_stage_for"


@dataclass(frozen=True, slots=True)
class InCampaign(_Joinable):
    """The contact has an active enrollment in the campaign."""

    campaign: str
    kind: Literal["in_campaign"] = "in_campaign"


@dataclass(frozen=True, slots=True)
class Got(_Joinable):
    """A message of that step of that campaign was accepted for the contact (`campaign/step`)."""

    campaign: str
    step: str
    within: Duration | None = None
    kind: Literal["got"] = "got"


@dataclass(frozen=True, slots=True)
class Consented(_Joinable):
    """The newest consent row of the contact for the topic grants it."""

    topic: str
    kind: Literal["consented"] = "consented"


@dataclass(frozen=True, slots=True)
class HasEmail(_Joinable):
    """The contact has a usable email address."""

    kind: Literal["has_email"] = "has_email"


@dataclass(frozen=True, slots=True)
class AllOf(_Joinable):
    """All parts hold; with no parts it is true."""

    parts: "tuple[Condition, ...]" = ()
    kind: Literal["all"] = "all"


@dataclass(frozen=True, slots=True)
class AnyOf(_Joinable):
    """At least one part holds; with no parts it is false."""

    parts: "tuple[Condition, ...]" = ()
    kind: Literal["any"] = "any"


@dataclass(frozen=True, slots=True)
class Not(_Joinable):
    """The part does not hold."""

    part: "Condition"
    kind: Literal["not"] = "not"


Condition: TypeAlias = Annotated[
    Did | Nth | Attribute | StageIs | InStageFor | InCampaign | Got | Consented | HasEmail | AllOf | AnyOf | Not,
    Discriminator("kind"),
]

CONDITION: TypeAdapter[Condition] = TypeAdapter(Condition)
"""Turns conditions into JSON and back, checking on the way in."""

everyone = AllOf()
"""Holds for every contact."""

has_email = HasEmail()
"""Holds for contacts with a usable email address."""


@dataclass(frozen=True, slots=True)
class _Moment:
    """The first or last time of an event, waiting for a comparison."""

    which: Literal["first", "last"]
    event: str

    def at_least(self, ago: Duration) -> Nth:
        """Hold when the event happened `ago` or longer before now."""
        return Nth(self.which, self.event, ">=", ago)

    def less_than(self, ago: Duration) -> Nth:
        """Hold when the event happened less than `ago` before now."""
        return Nth(self.which, self.event, "<", ago)


@dataclass(frozen=True, eq=False)
class _Property:
    """A property or attribute waiting for a comparison."""

    make: Any = field(repr=False)
    name: str

    def __eq__(self, value: object) -> Any:
        return self.make(self.name, "==", value)

    def __ne__(self, value: object) -> Any:
        return self.make(self.name, "!=", value)

    def __lt__(self, value: Scalar) -> Any:
        return self.make(self.name, "<", value)

    def __le__(self, value: Scalar) -> Any:
        return self.make(self.name, "<=", value)

    def __gt__(self, value: Scalar) -> Any:
        return self.make(self.name, ">", value)

    def __ge__(self, value: Scalar) -> Any:
        return self.make(self.name, ">=", value)

    def is_in(self, *values: Scalar) -> Any:
        """Hold when the value is one of these."""
        return self.make(self.name, "in", tuple(values))

    def exists(self, present: bool = True) -> Any:
        """Hold when there is (or is not) a value."""
        return self.make(self.name, "exists", present)

    __hash__ = None  # type: ignore[assignment]


def prop(name: str) -> _Property:
    """Compare an event property: `did("order_placed", where=prop("amount") >= 50)`."""
    return _Property(Where, name)


def same(name: str) -> Where:
    """Ask for the same thing as in the causing event: `did("refund_requested", where=same("order_id"))`."""
    return Where(name, "same", name)


def leaves(condition: Condition) -> list[Condition]:
    """Return the conditions that it is joined from, without `&`, `|` and `~`."""
    match condition:
        case AllOf(parts) | AnyOf(parts):
            return [leaf for part in parts for leaf in leaves(part)]
        case Not(part):
            return leaves(part)
        case _:
            return [condition]


def attribute(name: str) -> _Property:
    """Compare a contact attribute: `attribute("country") == "DE"`."""
    return _Property(Attribute, name)


def did(
    event: str,
    *,
    where: Where | tuple[Where, ...] | dict[str, Scalar] = (),
    within: Duration | None = None,
    at_least: int = 1,
    before: datetime | date | None = None,
) -> Did:
    """Hold when the contact did `event` (a mapping as `where` means equality on each name)."""
    if isinstance(before, date) and not isinstance(before, datetime):
        raise DefinitionError(f"did({event!r}, before={before}): give a datetime with a time zone.")
    if isinstance(where, dict):
        where = tuple(Where(name, "==", value) for name, value in where.items())
    elif isinstance(where, Where):
        where = (where,)
    return Did(event, where, within, at_least, before)


def did_not(
    event: str,
    *,
    where: Where | tuple[Where, ...] | dict[str, Scalar] = (),
    within: Duration | None = None,
    at_least: int = 1,
    before: datetime | None = None,
) -> Condition:
    """Hold when `did` with the same words does not."""
    return ~did(event, where=where, within=within, at_least=at_least, before=before)


def first(event: str) -> _Moment:
    """Look at the first time: `first("order_placed").at_least(days(365))`."""
    return _Moment("first", event)


def last(event: str) -> _Moment:
    """Look at the last time: `last("login").less_than(days(3))`."""
    return _Moment("last", event)


def stage_is(*stages: str) -> StageIs:
    """Hold when the contact is in one of these stages."""
    return StageIs(stages)


def in_stage_for(span: Duration) -> InStageFor:
    """Hold when the contact has been in the present stage for at least `span`."""
    return InStageFor(span)


def in_campaign(campaign: str) -> InCampaign:
    """Hold while the contact is on the way through the campaign."""
    return InCampaign(campaign)


def got(step: str, *, within: Duration | None = None) -> Got:
    """Hold when a message of `campaign/step` was accepted for the contact."""
    campaign, slash, key = step.partition("/")
    if not (campaign and slash and key):
        raise DefinitionError(f"got({step!r}): write campaign/step, e.g. got('thank-you/receipt').")
    return Got(campaign, key, within)


def consented(topic: str) -> Consented:
    """Hold when the contact agreed to the topic and has not taken it back."""
    return Consented(topic)
