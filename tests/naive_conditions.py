"""What conditions mean, once more and independently: plain Python over one contact's history."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import ge, gt, le, lt
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


@dataclass
class Happened:
    id: int
    name: str
    at: datetime
    properties: dict[str, Any] = field(default_factory=dict)
    superseded: bool = False


@dataclass
class History:
    id: int
    stage: str | None = None
    stage_since: datetime | None = None
    email: str | None = None
    address: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    events: list[Happened] = field(default_factory=list)
    consents: list[tuple[str, datetime, bool]] = field(default_factory=list)
    enrollments: list[tuple[str, str]] = field(default_factory=list)
    messages: list[tuple[str, str, str, datetime | None]] = field(default_factory=list)


@dataclass
class View:
    """As of when, and since when: what `evergreet.audience.Scope` says in SQL."""

    now: datetime
    by_since: bool = False
    window_from_since: bool = False
    current_event: int | None = None


ORDERS: dict[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}


def holds(condition: Condition, one: History, view: View) -> bool:  # noqa: PLR0912 - one case per word
    match condition:
        case AllOf(parts):
            return all(holds(part, one, view) for part in parts)
        case AnyOf(parts):
            return any(holds(part, one, view) for part in parts)
        case Not(part):
            return not holds(part, one, view)
        case Did():
            return sum(_counts(condition, event, one, view) for event in one.events) >= condition.at_least
        case Nth(which, name, op, ago):
            times = sorted(e.at for e in one.events if e.name == name and not e.superseded and e.at <= view.now)
            if not times:
                return False
            age = view.now - (times[0] if which == "first" else times[-1])
            return age >= ago.span if op == ">=" else age < ago.span
        case Attribute(name):
            columns = {"email": one.email, "stage": one.stage, "phone": None, "locale": None, "timezone": None}
            return compares(condition, {**one.attributes, **columns})
        case StageIs(stages):
            return one.stage in stages
        case InStageFor(span):
            return one.stage_since is not None and view.now - one.stage_since >= span.span
        case InCampaign(campaign):
            return (campaign, "active") in one.enrollments
        case Got(campaign, step, within):
            return any(
                (campaign, step, "accepted") == message[:3]
                and (within is None or (message[3] is not None and view.now - within.span <= message[3] <= view.now))
                for message in one.messages
            )
        case Consented(topic):
            rows = [(at, index, granted) for index, (name, at, granted) in enumerate(one.consents) if name == topic]
            return max(rows)[2] if rows else False
        case HasEmail():
            return one.address is not None
    raise AssertionError(condition)


def _counts(did: Did, event: Happened, one: History, view: View) -> bool:
    if event.superseded or event.name != did.event or event.at > view.now:
        return False
    if did.before is not None and event.at >= did.before:
        return False
    since = None if one.stage_since is None else one.stage_since.astimezone(UTC)  # sums are in wall time
    if did.within is not None and not view.window_from_since:
        if event.at < view.now - did.within.span:
            return False
    elif did.within is not None:
        if since is None or not since < event.at <= since + did.within.span:
            return False
    elif view.by_since:
        current = event.id == view.current_event and event.at == since
        if since is None or not (event.at > since or current):
            return False
    return all(compares(where, event.properties) for where in did.where)


def compares(asked: Where | Attribute, values: dict[str, Any]) -> bool:
    value = values.get(asked.name)
    match asked.op:
        case "exists":
            return (value is not None) == asked.value
        case "==":
            return _equal(value, asked.value)
        case "!=":
            return not _equal(value, asked.value)
        case "in":
            assert isinstance(asked.value, tuple)
            return any(_equal(value, each) for each in asked.value)
        case op:
            return _kind(value) == _kind(asked.value) and ORDERS[op](value, asked.value)


def _equal(value: Any, asked: Any) -> bool:
    return _kind(value) == _kind(asked) and bool(value == asked)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return {int: "number", float: "number", str: "text"}.get(type(value), f"nothing to compare: {value!r}")
