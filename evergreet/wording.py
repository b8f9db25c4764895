"""Conditions, spans and moments in words, for people who ask why."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from typing import Any

from evergreet.conditions import (
    AllOf,
    AnyOf,
    Attribute,
    Condition,
    Consented,
    Did,
    Got,
    HasEmail,
    InCampaign,
    InStageFor,
    Not,
    Nth,
    StageIs,
    Where,
)
from evergreet.durations import EVER, Duration

MANY = 6
"""So many names are told; of more, all but one of them."""


def in_words(condition: Condition) -> str:
    """Say what a condition asks for."""
    match condition:
        case HasEmail():
            return "has an email address"
        case Consented(topic):
            return f"agreed to the topic {topic}"
        case InCampaign(campaign):
            return f"is on the way through {campaign}"
        case StageIs(stages):
            return f"is in the stage {' or '.join(stages)}"
        case InStageFor(span):
            return f"has been in the stage for {span_in_words(span)}"
        case Got(campaign, step, within):
            return f"got {campaign}/{step}" + (f" within {span_in_words(within)}" if within else "")
        case Attribute():
            return _compared(condition)
        case Nth(which, event, op, ago):
            return f"{which} {event} {'at least' if op == '>=' else 'less than'} {span_in_words(ago)} ago"
        case Did():
            return _did(condition)
        case Not(part):
            return f"did not {_did(part).removeprefix('did ')}" if isinstance(part, Did) else f"not ({in_words(part)})"
        case AllOf(parts):
            return " and ".join(map(_bracketed, parts)) or "everyone"
        case AnyOf(parts):
            return " or ".join(_together(parts)) or "nobody"


def _together(parts: Sequence[Condition]) -> Iterator[str]:
    """Say each part, and what differs in the event alone in one: did a, b or c within 30 days."""
    for _, found in groupby(parts, key=_circumstances):
        alike = list(found)
        dids = [part for part in alike if isinstance(part, Did)]
        if len(dids) > 1:
            yield _did(replace(dids[0], event=one_of([part.event for part in dids])))
        else:
            yield from map(_bracketed, alike)


def _circumstances(part: Condition) -> tuple[Any, ...]:
    return (part.where, part.within, part.at_least, part.before) if isinstance(part, Did) else (part,)


def one_of(names: Sequence[str]) -> str:
    """Name a few, and count the rest of many: a, b or c."""
    if len(names) > MANY:
        return f"{', '.join(names[: MANY - 1])} or one of {len(names) - MANY + 1} others"
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _did(condition: Did) -> str:
    often = f" {condition.at_least} times" if condition.at_least > 1 else ""
    where = f" with {' and '.join(map(_compared, condition.where))}" if condition.where else ""
    within = f" within {span_in_words(condition.within)}" if condition.within else ""
    within = " ever" if condition.within == EVER else within
    before = f" before {moment(condition.before)}" if condition.before else ""
    return f"did {condition.event}{often}{where}{within}{before}"


def _compared(one: Where | Attribute) -> str:
    if one.op == "same":
        return f"the same {one.name}"
    if one.op == "exists":
        return f"{'a' if one.value else 'no'} {one.name}"
    value = ", ".join(map(str, one.value)) if isinstance(one.value, tuple) else one.value
    return f"{one.name} {one.op} {value}"


def _bracketed(part: Condition) -> str:
    return f"({in_words(part)})" if isinstance(part, AllOf | AnyOf) else in_words(part)


def span_in_words(span: Duration) -> str:
    """Write a span: 1 day, 60 days."""
    return f"1 {span.unit.removesuffix('s')}" if span.amount == 1 else f"{span.amount} {span.unit}"


def moment(at: datetime) -> str:
    """Write a moment: 2026-03-10 12:00 UTC."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def ordinal(number: int) -> str:
    """Write an ordinal: 1st, 2nd, 11th."""
    ending = "th" if number % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
