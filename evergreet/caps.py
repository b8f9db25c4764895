"""Caps: at most so many marketing messages per contact in a rolling window, and who is first where places are short.

Email and SMS count alike. A message takes a place while it is `sending`, `accepted` or `unknown` and younger than the
cap's window. A campaign of lower priority leaves room for those before it that wait for the same contact now.

Somebody who asked for less (`contact.spacing_days`) is under a cap of their own beside these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Select, case, func, literal, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import aliased
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel import col

from evergreet.campaign import MARKETING
from evergreet.channels import consent_topic
from evergreet.comparisons import shift
from evergreet.settings import Settings
from evergreet.store import among, words
from models import CampaignRow, CampaignVersion, Contact, Enrollment, Message

FIRST = 1
"""The priority of campaigns that go before all others under a cap: lifecycle; transactional mail is under none."""

COMPETING = timedelta(hours=1)
"""How long a message steps back for others that need the place, before it is asked again."""

SPACINGS = (7, 30)
"""What somebody may ask for: at most one marketing message in any so many days."""

FREQUENCY_CAP = "frequency_cap"
"""The reason of what waits, or does not go, because the places of all messages are taken."""

TOPIC_CAP = "topic_cap"
"""The reason where those of its topic are."""

LESS_OFTEN = "less_often"
"""The reason where the one that its reader asked for is."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `messages` per contact within `span`, of one topic or (None) of all; `reason` says so in the ledger."""

    reason: str
    messages: int
    span: timedelta
    topic: str | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """No place now: ask again at `until`."""

    until: datetime
    reason: str


def limits_of(settings: Settings, topic: str | None) -> tuple[Limit, ...]:
    """Return the caps that a marketing message of this topic is under."""
    limits = []
    if settings.cap is not None:
        limits.append(Limit(FREQUENCY_CAP, settings.cap, timedelta(days=settings.cap_days)))
    if topic is not None and (cap := settings.topic_caps.get(topic)) is not None:
        limits.append(Limit(TOPIC_CAP, cap.messages, timedelta(days=cap.days), topic))
    return tuple(limits)


def place_columns(limits: Sequence[Limit], priority: int, now: ColumnElement[datetime]) -> list[ColumnElement[Any]]:
    """Return what `wait_for_place` reads of a message: per limit the places taken, the oldest, and the rivals."""
    columns: list[ColumnElement[Any]] = []
    for number, limit in enumerate(limits):
        other = aliased(Message)
        taken = [
            col(other.contact_id) == col(Message.contact_id),
            col(other.purpose) == str(MARKETING),
            col(other.sent_at) > shift(now, -limit.span),
        ]
        if limit.topic is not None:
            taken.append(of_topic(other, limit.topic))
        columns += [
            select(func.count()).where(*taken).scalar_subquery().label(f"taken_{number}"),
            select(func.min(col(other.sent_at))).where(*taken).scalar_subquery().label(f"oldest_{number}"),
            (_rivals(limit, priority, now) if priority > FIRST else literal(0)).label(f"rivals_{number}"),
        ]
    return columns


def own_places(priority: int, now: ColumnElement[datetime]) -> Select[Any]:
    """Return the query for what `wait_for_place` reads of messages to contacts who asked for less, a row for each."""
    other = aliased(Message)
    newest = (
        select(func.max(col(other.sent_at)))
        .where(
            col(other.contact_id) == col(Message.contact_id),
            col(other.purpose) == str(MARKETING),
            col(other.sent_at).is_not(None),
        )
        .scalar_subquery()
    )
    rivals: ColumnElement[int] = literal(0)
    if priority > FIRST:
        counts = {days: _rivals(_own_limit(days), priority, now) for days in SPACINGS}
        rivals = case(counts, value=col(Contact.spacing_days), else_=0)
    return (
        select(
            col(Message.id), col(Contact.spacing_days), newest.label("newest"), rivals.label("rivals"),
        )
        .join(Contact, col(Contact.id) == col(Message.contact_id))
        .where(among(Message.id, "messages"), col(Contact.spacing_days).is_not(None))
    )  # fmt: skip


def _own_limit(spacing_days: int) -> Limit:
    """Return the cap of somebody who asked for at most one message in so many days."""
    return Limit(LESS_OFTEN, 1, timedelta(days=spacing_days))


def wait_for_place(limits: Sequence[Limit], row: Any, own: Any, sent_here: int, now: datetime) -> Wait | None:
    """Return how long the message has to wait for a place, or None where there is one under every limit.

    `own` is the row of `own_places`, None for who did not ask for less. `sent_here` counts what this window has just
    decided to send to the contact. Where several caps are full, the one
    that frees last is the reason.
    """
    full, competing = [], False
    if own is not None:
        newest = now if sent_here else own.newest
        if newest is not None and (free := newest + _own_limit(own.spacing_days).span) > now:
            full.append(Wait(free, LESS_OFTEN))
        elif own.rivals:
            competing = True
    for number, limit in enumerate(limits):
        taken = getattr(row, f"taken_{number}") + sent_here
        if taken >= limit.messages:
            oldest = getattr(row, f"oldest_{number}")
            full.append(Wait((now if oldest is None else oldest) + limit.span, limit.reason))
        elif taken + getattr(row, f"rivals_{number}") >= limit.messages:
            competing = True
    if full:
        return max(full, key=lambda wait: wait.until)
    return Wait(now + COMPETING, "priority") if competing else None


def _rivals(limit: Limit, priority: int, now: ColumnElement[datetime]) -> ColumnElement[int]:
    """Count the marketing messages of the contact that go first and want a place while this one would take it.

    They are looked up through the contact's enrollments: an index of waiting messages by contact would cost every
    message, and only campaigns of lower priority ask.
    """
    rival, message = aliased(Enrollment), aliased(Message)
    goes_first = (
        col(rival.contact_id) == col(Message.contact_id),
        col(CampaignRow.id) == col(rival.campaign_id),
        col(CampaignRow.state) == "live",
        col(CampaignRow.priority) < priority,
    )
    waiting = [
        col(message.enrollment_id) == col(rival.id),
        col(message.purpose) == str(MARKETING),
        col(message.state).in_(words("planned", "deferred")),
        or_(col(message.not_before).is_(None), col(message.not_before) < shift(now, limit.span)),
    ]
    if limit.topic is not None:
        waiting.append(of_topic(message, limit.topic))
    definition = col(CampaignVersion.definition)["campaign"]
    due = [
        col(rival.state) == "active",
        # Coalesced, so that no store walks through all that is due instead of what this contact has.
        func.coalesce(col(rival.next_due_at), shift(now, COMPETING)) <= now,
        col(CampaignVersion.id) == col(rival.version_id),
        _MarketingStep(definition["steps"], rival.next_step),
    ]
    if limit.topic is not None:
        due.append(definition["topic"].as_string() == limit.topic)
    planned = select(func.count(col(message.id))).where(*goes_first, *waiting).scalar_subquery()
    unplanned = select(func.count(col(rival.id))).where(*goes_first, *due).scalar_subquery()
    return planned + unplanned


def of_topic(message: Any, topic: str) -> ColumnElement[bool]:
    """Say whether a message is of a topic, by any channel."""
    return or_(col(message.topic) == topic, col(message.topic) == consent_topic(topic, "sms"))


class _MarketingStep(FunctionElement[bool]):
    """Whether among the steps of a definition (JSON) the one with that key is marketing."""

    name = "marketing_step"
    inherit_cache = True
    type = Boolean()

    def __init__(self, steps: ColumnElement[Any], key: Any) -> None:
        super().__init__(steps, key)


@compiles(_MarketingStep, "sqlite")
def _marketing_step_on_sqlite(element: _MarketingStep, compiler: SQLCompiler, **kw: Any) -> str:
    steps, key = (compiler.process(part, **kw) for part in element.clauses.clauses)
    return (
        f"EXISTS (SELECT 1 FROM json_each({steps}) AS step WHERE json_extract(step.value, '$.key') = {key} "
        "AND json_extract(step.value, '$.purpose') = 'marketing')"
    )


@compiles(_MarketingStep, "postgresql")
def _marketing_step_on_postgresql(element: _MarketingStep, compiler: SQLCompiler, **kw: Any) -> str:
    steps, key = (compiler.process(part, **kw) for part in element.clauses.clauses)
    return f"({steps}) @> jsonb_build_array(jsonb_build_object('key', {key}, 'purpose', 'marketing'))"
