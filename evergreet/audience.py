"""Conditions compiled to SQL about one contact, for statements that handle many contacts at once.

What each condition means stands in `evergreet.conditions`. Every compiled condition is true or false, never
NULL, so that `~` is exact.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import singledispatch
from operator import eq, ge, gt, le, lt
from typing import Any

from sqlalchemy import (
    BindParameter,
    Boolean,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    String,
    and_,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)

from evergreet.comparisons import (
    DocumentNumber,
    DocumentPresence,
    DocumentText,
    DocumentTruth,
    Number,
    by_code_point,
    by_store,
    in_document,
    same_thing,
    shift,
)
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
    Scalar,
    StageIs,
    Where,
)
from evergreet.consent import agreed
from evergreet.durations import Duration
from models import Instant, Table

__all__ = ["Scope", "compile_condition", "count_audience", "shift"]

COLUMNS = ("email", "phone", "locale", "timezone", "stage")
"""Attributes of a contact that are columns; all others are in the document `attributes`."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a condition is about, and as of when.

    `contact` is the contact table or an alias of it; the compiled condition correlates to it and to whatever
    `now`, `since` and `current_event` refer to. `now` is a bound value or a column. Events count without
    `within` only after `since` (where it is not NULL it must not be later than `now`); `current_event`, the
    id of an event, counts also when its time equals `since`. `window_from_since`: `within` counts from there.
    `cause` is the id of the event that `same(…)` compares with.
    """

    contact: FromClause
    now: ColumnElement[datetime]
    since: ColumnElement[datetime] | None = None
    window_from_since: bool = False
    current_event: ColumnElement[int] | None = None
    cause: ColumnElement[int] | None = None


def compile_condition(condition: Condition, scope: Scope) -> ColumnElement[bool]:
    """Return SQL that is true where the condition holds for `scope.contact`, else false."""
    return _compile(condition, scope)


def count_audience(connection: Connection, condition: Condition, now: datetime) -> int:
    """Count the contacts for whom the condition holds at `now`; erased ones are nobody."""
    contact = _table("contact")
    holds = compile_condition(condition, Scope(contact, literal(now, Instant())))
    counted = select(func.count()).select_from(contact).where(contact.c.erased_at.is_(None), holds)
    return connection.execute(counted).scalar_one()


def _table(name: str) -> FromClause:
    # A fresh alias each time: the statement around may use the same table, and so may a nested condition.
    return Table.metadata.tables[name].alias()


def _events(names: list[str], scope: Scope, *, of_all: bool = False) -> tuple[FromClause, Select[Any]]:
    # Up to now, as they are known now; each condition narrows it further.
    event = _table("event")
    named = event.c.name == names[0] if len(names) == 1 else event.c.name.in_(names)
    found = select(literal(1)).where(
        event.c.contact_id.is_not(None) if of_all else event.c.contact_id == scope.contact.c.id,
        named,
        not_(event.c.superseded),
        event.c.occurred_at <= scope.now,
    )
    return event, found.correlate_except(event)


def _after_since(event: FromClause, scope: Scope) -> ColumnElement[bool]:
    if scope.since is None:
        return true()
    later = event.c.occurred_at > scope.since
    if scope.current_event is None:
        return later
    return or_(later, and_(event.c.id == scope.current_event, event.c.occurred_at == scope.since))


@singledispatch
def _compile(condition: Any, scope: Scope) -> ColumnElement[bool]:
    raise TypeError(f"{condition!r} is not a condition")


@_compile.register
def _did(condition: Did, scope: Scope) -> ColumnElement[bool]:
    return _happened(condition, [condition.event], scope)


def _happened(condition: Did, names: list[str], scope: Scope) -> ColumnElement[bool]:
    _, found = _such_events(condition, names, scope)
    if condition.at_least == 1:
        return exists(found)
    nth = exists(found.limit(1).offset(condition.at_least - 1))  # stops there, where a count would go on
    if not _is_alike_for_all(condition, scope):
        return nth
    event, found = _such_events(condition, names, scope, of_all=True)
    counted = (
        found.with_only_columns(event.c.contact_id)
        .group_by(event.c.contact_id)
        .having(func.count() >= condition.at_least)
        .subquery()
    )
    often = exists(select(literal(1)).where(counted.c.contact_id == scope.contact.c.id).correlate_except(counted))
    return by_store(on_sqlite=nth, on_postgresql=often)


def _such_events(
    condition: Did, names: list[str], scope: Scope, *, of_all: bool = False
) -> tuple[FromClause, Select[Any]]:
    event, found = _events(names, scope, of_all=of_all)
    if condition.within is None:
        found = found.where(_after_since(event, scope))
    elif scope.window_from_since:
        if scope.since is None:
            raise ValueError("a window from `since` needs a `since`")
        found = found.where(
            event.c.occurred_at > scope.since, event.c.occurred_at <= shift(scope.since, condition.within.span)
        )
    else:
        found = found.where(event.c.occurred_at >= shift(scope.now, -condition.within.span))
    if condition.before is not None:
        found = found.where(event.c.occurred_at < literal(condition.before, Instant()))
    return event, found.where(*(_where(where, event, scope) for where in condition.where))


def _is_alike_for_all(condition: Did, scope: Scope) -> bool:
    """Whether which events count does not depend on the row at hand, but for the contact."""
    return (
        isinstance(scope.now, BindParameter)
        and (scope.since is None or (condition.within is not None and not scope.window_from_since))
        and all(where.op != "same" for where in condition.where)
    )


@_compile.register
def _nth(condition: Nth, scope: Scope) -> ColumnElement[bool]:
    event, found = _events([condition.event], scope)
    pick = func.min if condition.which == "first" else func.max
    moment = found.with_only_columns(pick(event.c.occurred_at)).scalar_subquery()
    turning = shift(scope.now, -condition.ago.span)
    return _sure(moment <= turning if condition.op == ">=" else moment > turning)


def _where(where: Where, event: FromClause, scope: Scope) -> ColumnElement[bool]:
    if where.op == "same":
        return _same(where, event, scope)
    return _comparison(where, lambda kind: in_document(kind, event.c.properties, where.name))


def _same(where: Where, event: FromClause, scope: Scope) -> ColumnElement[bool]:
    if scope.cause is None:
        return false()
    cause = _table("event")
    name = str(where.value)
    alike = same_thing(event.c.properties, where.name, cause.c.properties, name)
    return exists(select(literal(1)).where(cause.c.id == scope.cause, _sure(alike)).correlate_except(cause))


@_compile.register
def _attribute(condition: Attribute, scope: Scope) -> ColumnElement[bool]:
    if condition.name not in COLUMNS:
        return _comparison(condition, lambda kind: in_document(kind, scope.contact.c.attributes, condition.name))
    column = scope.contact.c[condition.name]
    if condition.op == "exists":
        return column.is_not(None) if condition.value else column.is_(None)
    return _comparison(condition, lambda kind: by_code_point(column) if kind is DocumentText else None)


def _comparison(asked: Where | Attribute, value_of: Callable[[Any], ColumnElement[Any] | None]) -> ColumnElement[bool]:
    match asked.op:
        case "exists":
            present = value_of(DocumentPresence)
            assert present is not None
            return _sure(present) if asked.value else not_(_sure(present))
        case "!=":
            return not_(_compare(eq, asked.value, value_of))
        case "in":
            assert isinstance(asked.value, tuple)
            return or_(false(), *(_compare(eq, value, value_of) for value in asked.value))
        case op:
            compare = {"==": eq, "<": lt, "<=": le, ">": gt, ">=": ge}[op]
            return _compare(compare, asked.value, value_of)


def _compare(
    compare: Callable[[Any, Any], ColumnElement[bool]],
    value: Scalar | tuple[Scalar, ...],
    value_of: Callable[[Any], ColumnElement[Any] | None],
) -> ColumnElement[bool]:
    if isinstance(value, bool):  # before int: a boolean is not a number here
        stored, bound = value_of(DocumentTruth), literal(value, Boolean())
    elif isinstance(value, str):
        stored, bound = value_of(DocumentText), literal(value, String())
    else:
        stored, bound = value_of(DocumentNumber), literal(value, Number())
    return false() if stored is None else _sure(compare(stored, bound))


@_compile.register
def _stage_is(condition: StageIs, scope: Scope) -> ColumnElement[bool]:
    return _sure(scope.contact.c.stage.in_(condition.stages))


@_compile.register
def _in_stage_for(condition: InStageFor, scope: Scope) -> ColumnElement[bool]:
    return _sure(scope.contact.c.stage_since <= shift(scope.now, -condition.span.span))


@_compile.register
def _in_campaign(condition: InCampaign, scope: Scope) -> ColumnElement[bool]:
    enrollment, campaign = _table("enrollment"), _table("campaign")
    return exists(
        select(literal(1))
        .select_from(enrollment.join(campaign, campaign.c.id == enrollment.c.campaign_id))
        .where(
            enrollment.c.contact_id == scope.contact.c.id,
            enrollment.c.state == "active",
            campaign.c.name == condition.campaign,
        )
        .correlate_except(enrollment, campaign)
    )


@_compile.register
def _got(condition: Got, scope: Scope) -> ColumnElement[bool]:
    message, campaign = _table("message"), _table("campaign")
    found = (
        select(literal(1))
        .select_from(message.join(campaign, campaign.c.id == message.c.campaign_id))
        .where(
            message.c.contact_id == scope.contact.c.id,
            message.c.sent_at.is_not(None),
            message.c.state == "accepted",
            message.c.step_key == condition.step,
            campaign.c.name == condition.campaign,
        )
        .correlate_except(message, campaign)
    )
    if condition.within is not None:
        found = found.where(
            message.c.sent_at >= shift(scope.now, -condition.within.span), message.c.sent_at <= scope.now
        )
    return exists(found)


@_compile.register
def _consented(condition: Consented, scope: Scope) -> ColumnElement[bool]:
    return agreed(scope.contact.c.id, condition.topic)


@_compile.register
def _has_email(condition: HasEmail, scope: Scope) -> ColumnElement[bool]:
    address: ColumnElement[str | None] = scope.contact.c.address
    return address.is_not(None)


@_compile.register
def _all(condition: AllOf, scope: Scope) -> ColumnElement[bool]:
    return and_(true(), *(_compile(part, scope) for part in condition.parts))


@_compile.register
def _any(condition: AnyOf, scope: Scope) -> ColumnElement[bool]:
    # Dids that differ in nothing but the event are one question: a lifecycle asks for any of many names.
    names: dict[tuple[Duration | None, datetime | None], list[str]] = {}
    found = []
    for part in condition.parts:
        if isinstance(part, Did) and part.at_least == 1 and not part.where:
            names.setdefault((part.within, part.before), []).append(part.event)
        else:
            found.append(_compile(part, scope))
    for (within, before), events in names.items():
        found.append(_happened(Did(events[0], within=within, before=before), events, scope))
    return or_(false(), *found)


@_compile.register
def _not(condition: Not, scope: Scope) -> ColumnElement[bool]:
    return not_(_compile(condition.part, scope))


def _sure(doubtful: ColumnElement[bool]) -> ColumnElement[bool]:
    return func.coalesce(doubtful, false(), type_=Boolean())
