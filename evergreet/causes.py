"""Who met a trigger in what was ingested: contact, occurrence, cause and moment, as queries.

Each query yields the same columns (`MET`), which `evergreet.enrollment` turns into rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, String, and_, case, cast, func, literal, null, select
from sqlalchemy.orm import aliased
from sqlmodel import col

from evergreet.campaign import Campaign, EventTrigger, StageTrigger
from evergreet.comparisons import DocumentKey, in_document
from models import Event, Table, Transition
from models.base import Id

MET = ("contact_id", "occurrence", "cause_event_id", "cause_transition_id", "caused_at", "position", "row_id")
OCCURRENCE_LENGTH = 380
PROPERTIES = Table.metadata.tables["event"].c.properties


@dataclass(frozen=True, slots=True)
class Reach:
    """Which ingest positions (`low` ≤ position < `high`) are scanned, for what happened since when."""

    low: int
    high: int
    since: datetime


def by_event(campaign: Campaign, trigger: EventTrigger, reach: Reach) -> Select[Any]:
    """Who met the trigger: contact, occurrence, cause, moment; the first ingested first."""
    return select(
        col(Event.contact_id).label("contact_id"),
        occurrence(campaign).label("occurrence"),
        col(Event.id).label("cause_event_id"),
        cast(null(), Id).label("cause_transition_id"),
        col(Event.occurred_at).label("caused_at"),
        col(Event.position).label("position"),
        col(Event.id).label("row_id"),
    ).where(
        col(Event.position) >= reach.low,
        col(Event.position) < reach.high,
        col(Event.name) == trigger.name,
        col(Event.revision) == 0,
        col(Event.occurred_at) >= reach.since,
        col(Event.contact_id).is_not(None),
    )


def by_stage(campaign: Campaign, trigger: StageTrigger, reach: Reach) -> Select[Any]:
    """Who entered the stage: an occurrence of the event that caused it, or of the move itself."""
    own = literal("transition:") + cast(col(Transition.id), String)
    own_or_cause = occurrence(campaign)
    cause = aliased(Event)  # may be a correction, which is an occurrence of the event as it was first told
    return (
        select(
            col(Transition.contact_id).label("contact_id"),
            (
                own_or_cause
                if campaign.re_entry == "once"
                else case((col(Event.id).is_(None), own), else_=own_or_cause)
            ).label("occurrence"),
            col(Transition.cause_event_id).label("cause_event_id"),
            col(Transition.id).label("cause_transition_id"),
            col(Transition.at).label("caused_at"),
            col(Transition.position).label("position"),
            col(Transition.id).label("row_id"),
        )
        .outerjoin(cause, col(cause.id) == col(Transition.cause_event_id))
        .outerjoin(
            Event,
            and_(
                col(Event.source) == col(cause.source),
                col(Event.source_id) == col(cause.source_id),
                col(Event.revision) == 0,
            ),
        )
        .where(
            col(Transition.position) >= reach.low,
            col(Transition.position) < reach.high,
            col(Transition.to_stage) == trigger.stage,
            col(Transition.at) >= reach.since,
        )
    )


def occurrence(campaign: Campaign) -> ColumnElement[str]:
    """What makes an enrollment unique: the causing event, by its key property where the trigger names one.

    The same for an event and for the transition that it caused; corrections share the source id. What is no key
    (`key_in`) counts as none: the event is an occurrence of its own, so nobody is missed and nobody doubled.
    """
    if campaign.re_entry == "once":
        return literal("once")
    plain = literal("event:") + col(Event.source) + literal(":") + col(Event.source_id)
    keyed = [
        (
            and_(col(Event.name) == trigger.name, key.is_not(None)),
            literal(f"{trigger.thing}:") + key,
        )
        for trigger in campaign.trigger.events
        if trigger.key is not None
        for key in [in_document(DocumentKey, PROPERTIES, trigger.key)]
    ]
    whole = case(*keyed, else_=plain) if keyed else plain
    return func.substr(whole, 1, OCCURRENCE_LENGTH)


def key_in(properties: Mapping[str, Any] | None, name: str | None) -> str | None:
    """Return what a trigger's key reads under its name, as `occurrence` does in SQL: text, or a whole number as text.

    A whole number is one of 64 bits whose value is whole (1.0 is 1). None for anything else, and for a trigger without.
    """
    value = (properties or {}).get(name) if name is not None else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is int and -(2**63) <= value < 2**63:
        return str(value)
    return value if isinstance(value, str) else None
