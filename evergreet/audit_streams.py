"""What the audit reads of a campaign: streams sorted by contact, brought together one contact at a time.

Nothing is kept: the memory is that of one contact's rows, whatever the size of the campaign. The store sorts, on disk
where it must; each stream is one cursor, all of them in one transaction.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Select, and_, case, exists, func, null, select, union_all
from sqlalchemy.orm import aliased
from sqlmodel import col

from evergreet.campaign import Campaign
from models import Attempt, Chunk, Contact, ContactMerge, Enrollment, Event, Message, Transition

AT_ONCE = 1_000
"""Rows fetched in one go: more would not be faster, and they are held for each stream."""

NOBODY = 0
"""Stands for the contact of messages that belong to no enrollment of their campaign; no contact has this id."""


@dataclass(frozen=True, slots=True)
class OfContact:
    """All rows of one contact that matter to a campaign. A message has a row for each of its attempts.

    `merged_at` is when the contact was merged with another last, or taken apart.
    """

    contact_id: int
    enrollments: Sequence[Any]
    messages: Sequence[Any]
    events: Sequence[Any]
    moves: Sequence[Any]
    contact: Any
    merged_at: datetime | None


def stream(connection: Connection, query: Select[Any]) -> Iterator[Any]:
    """Yield the rows of a query as the store finds them; only some are in memory."""
    for rows in connection.execute(query, execution_options={"yield_per": AT_ONCE}).partitions():
        yield from rows


def by_contact(connection: Connection, campaign_id: int, campaigns: Iterable[Campaign]) -> Iterator[OfContact]:
    """Yield contact by contact what any of these versions of a campaign may speak of."""
    triggers = [campaign.trigger for campaign in campaigns]
    anchors = {step.counted_from for campaign in campaigns for step in campaign.steps if step.counted_from}
    names = {each.name for trigger in triggers for each in trigger.events} | {anchor.event for anchor in anchors}
    for silence in (each for trigger in triggers for each in trigger.silences):
        names |= {*silence.after, *silence.broken_by, *silence.having}
    firsts = {name for trigger in triggers for each in trigger.anniversaries for name in each.of}
    stages = {each.stage for trigger in triggers for each in trigger.stages}
    queries = (
        _enrollments(campaign_id, causes=bool(anchors)),
        _messages(campaign_id),
        _events(names | firsts) if names | firsts else None,
        _moves(stages) if stages else None,
        _contacts() if firsts else None,
        _merges(),
    )
    streams = [() if query is None else stream(connection, query) for query in queries]
    for contact_id, (enrollments, messages, events, moves, contact, merges) in together(*streams):
        yield OfContact(
            contact_id, enrollments, messages, events, moves, contact[0] if contact else None,
            max((row.at for row in merges), default=None),
        )  # fmt: skip


def together(*streams: Iterable[Any]) -> Iterator[tuple[int, list[list[Any]]]]:
    """Merge streams that are sorted by their first column; yield each value of it with its rows in every stream."""
    groups = [groupby(rows, key=itemgetter(0)) for rows in streams]
    heads = [next(group, None) for group in groups]
    while waiting := [head[0] for head in heads if head is not None]:
        first = min(waiting)
        found: list[list[Any]] = []
        for place, head in enumerate(heads):
            if head is None or head[0] != first:
                found.append([])
            else:
                found.append(list(head[1]))
                heads[place] = next(groups[place], None)
        yield first, found


def _enrollments(campaign_id: int, *, causes: bool) -> Select[Any]:
    """The enrollments, with where the contact lives and, where steps are counted from events, what caused them.

    `kept`: it stayed with a contact that was merged, because whoever took its place has the same.
    """
    same = aliased(Enrollment)
    kept = exists().where(
        col(same.contact_id) == col(Contact.merged_into), col(same.campaign_id) == campaign_id,
        col(same.occurrence) == col(Enrollment.occurrence),
    )  # fmt: skip
    query = (
        select(
            col(Enrollment.contact_id), col(Enrollment.id), col(Enrollment.version_id), col(Enrollment.occurrence),
            col(Enrollment.caused_at), col(Enrollment.enrolled_at), col(Enrollment.state), col(Enrollment.next_step),
            col(Enrollment.next_due_at), col(Enrollment.counted_at), col(Enrollment.zone), col(Contact.timezone),
            (col(Event.properties) if causes else null()).label("cause"), kept.label("kept"),
        )
        .outerjoin(Contact, col(Contact.id) == col(Enrollment.contact_id))
        .where(col(Enrollment.campaign_id) == campaign_id)
        .order_by(col(Enrollment.contact_id))
    )  # fmt: skip
    return query.outerjoin(Event, col(Event.id) == col(Enrollment.cause_event_id)) if causes else query


def _messages(campaign_id: int) -> Select[Any]:
    """The messages under the contact of their enrollment, with their chunks, once for each attempt."""
    whose = func.coalesce(col(Enrollment.contact_id), NOBODY)
    return (
        select(
            whose.label("whose"), col(Message.id), col(Message.enrollment_id), col(Message.step_key),
            col(Message.version_id), col(Message.contact_id), col(Message.occurrence), col(Message.due_at),
            col(Message.counted_at), col(Message.zone), col(Message.state), col(Message.attempts),
            col(Message.chunk_id), col(Message.not_before), col(Message.resolution),
            col(Chunk.state).label("chunk_state"), col(Chunk.owner_id), col(Chunk.version_id).label("chunk_version_id"),
            col(Chunk.step_key).label("chunk_step_key"),
            col(Attempt.number), col(Attempt.outcome),
        )
        .select_from(Message)
        .outerjoin(
            Enrollment,
            and_(col(Enrollment.id) == col(Message.enrollment_id), col(Enrollment.campaign_id) == campaign_id),
        )
        .outerjoin(Chunk, and_(col(Chunk.id) == col(Message.chunk_id), col(Chunk.campaign_id) == campaign_id))
        .outerjoin(Attempt, col(Attempt.message_id) == col(Message.id))
        .where(col(Message.campaign_id) == campaign_id)
        .order_by(whose, col(Message.id), col(Attempt.number))
    )  # fmt: skip


def _events(names: set[str]) -> Select[Any]:
    """The events of these names in order of time, superseded ones included."""
    return (
        select(
            col(Event.contact_id), col(Event.id), col(Event.name), col(Event.occurred_at), col(Event.source),
            col(Event.source_id), col(Event.revision), col(Event.superseded), col(Event.position),
            col(Event.properties),
        )
        .where(col(Event.name).in_(names), col(Event.contact_id).is_not(None))
        .order_by(col(Event.contact_id), col(Event.occurred_at), col(Event.id))
    )  # fmt: skip


def _moves(stages: set[str]) -> Select[Any]:
    """The moves into these stages, with their cause as it was first told, where a correction was the cause."""
    cause, told = aliased(Event), aliased(Event)
    corrected = col(cause.revision) > 0

    def first(column: str) -> Any:
        return case((corrected, col(getattr(told, column))), else_=col(getattr(cause, column))).label(column)

    return (
        select(
            col(Transition.contact_id), col(Transition.id), col(Transition.position), col(Transition.to_stage),
            col(Transition.at), first("id").label("event_id"), *map(first, ("name", "source", "source_id")),
            case((corrected, col(told.properties)), else_=col(cause.properties)).label("properties"),
        )
        .outerjoin(cause, col(cause.id) == col(Transition.cause_event_id))
        .outerjoin(
            told,
            and_(
                corrected, col(told.source) == col(cause.source), col(told.source_id) == col(cause.source_id),
                col(told.revision) == 0,
            ),
        )
        .where(col(Transition.to_stage).in_(stages))
        .order_by(col(Transition.contact_id), col(Transition.id))
    )  # fmt: skip


def _merges() -> Select[Any]:
    """When contacts were merged and taken apart, under either of the two."""
    last = func.coalesce(col(ContactMerge.undone_at), col(ContactMerge.at)).label("at")
    both = union_all(
        select(col(ContactMerge.survivor_id).label("whose"), last),
        select(col(ContactMerge.loser_id), last).where(col(ContactMerge.loser_id).is_not(None)),
    ).subquery()
    return select(both.c.whose, both.c.at).order_by(both.c.whose)


def _contacts() -> Select[Any]:
    return select(col(Contact.id), col(Contact.erased_at), col(Contact.changed_at)).order_by(col(Contact.id))
