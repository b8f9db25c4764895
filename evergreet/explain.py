"""Explain: who got what of a campaign, and why somebody did not."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, bindparam, false, func, literal, select, union
from sqlmodel import col

from evergreet.audience import Scope, compile_condition
from evergreet.campaign import MARKETING, Campaign, Step
from evergreet.campaigns import State, version_of
from evergreet.caps import FREQUENCY_CAP, LESS_OFTEN, TOPIC_CAP, of_topic
from evergreet.conditions import AllOf, Condition
from evergreet.dormancy import last_word
from evergreet.errors import EvergreetError
from evergreet.explain_clock import Line, anniversary_lines, broadcast_lines, silence_lines
from evergreet.explain_history import history
from evergreet.merging.showing import merges
from evergreet.reasons import explained
from evergreet.steps import place_of
from evergreet.wording import in_words, moment
from models import CampaignRow, Contact, Enrollment, Event, FrequencyChoice, Instant, Message, Suppression, Transition

CAPS = (FREQUENCY_CAP, TOPIC_CAP, LESS_OFTEN)
"""The reasons of what found no place."""

LATEST = 3
"""So many of the messages that took the places are named."""

__all__ = ["Line", "explain", "find_contacts", "row_id"]


def row_id(written: str) -> int | None:
    """Read the id of a row; None where it can be none, such as the number of an order with thirty digits."""
    word = written.strip()
    return int(word) if re.fullmatch("[0-9]{1,18}", word) else None


def find_contacts(connection: Connection, written: str) -> list[Any]:
    """Find contacts by address, id, or source id, whoever has taken their place; raises where there is none."""
    word, number = written.strip(), row_id(written)
    which = (  # each by an index of its own
        col(Contact.address) == word.casefold(),
        col(Contact.phone) == word,
        col(Contact.source).in_(list(_sources(connection))) & (col(Contact.source_id) == word),
        false() if number is None else col(Contact.id) == number,
    )
    who = func.coalesce(col(Contact.merged_into), col(Contact.id)).label("id")
    ids = union(*(select(who).where(one) for one in which)).subquery()
    found = connection.execute(
        select(Contact).where(col(Contact.id).in_(select(ids.c.id))).order_by(col(Contact.id)).limit(20)
    ).all()
    if not found:
        raise EvergreetError(
            f"There is no contact {written!r}; give an address, a phone number (+49…), an id or the id in its source."
        )
    return list(found)


def _sources(connection: Connection) -> Iterator[str]:
    """Yield what contacts come from, by the index from one to the next: contacts are many, sources few."""
    last = ""
    while (source := connection.execute(_NEXT_SOURCE, {"last": last}).scalar_one()) is not None:
        yield source
        last = source


_NEXT_SOURCE = select(func.min(col(Contact.source))).where(col(Contact.source) > bindparam("last"))


@dataclass(frozen=True, slots=True)
class _Question:
    """Who asks about whom, as of when; `campaign` is the current version, `held` as for `explain`."""

    connection: Connection
    state: State
    contact: Any
    campaign: Campaign
    now: datetime
    zone: str
    held: Mapping[tuple[str, str], str]


def explain(
    connection: Connection,
    state: State,
    contact_id: int,
    *,
    now: datetime,
    zone: str = "UTC",
    held: Mapping[tuple[str, str], str] | None = None,
) -> list[Line]:
    """Say what the campaign did for a contact: enrollments and their messages, and what did not or will happen.

    `zone` is that of contacts whose own is not known, `held` what nothing goes by now (`evergreet.sending.held`).
    """
    if state.version_id is None or state.live_since is None:
        return [Line(None, f"never enrolled: the campaign is {state.state} and was never live")]
    contact = connection.execute(select(Contact).where(col(Contact.id) == contact_id)).one()
    asked = _Question(
        connection, state, contact, version_of(connection, state.version_id).campaign, now, zone, held or {}
    )
    enrollments = connection.execute(
        select(Enrollment)
        .where(col(Enrollment.campaign_id) == state.id, col(Enrollment.contact_id) == contact_id)
        .order_by(col(Enrollment.caused_at))
    ).all()
    lines = [line for row in enrollments for line in _passage(asked, row)]
    by_clock = list(_by_clock(asked, {row.occurrence for row in enrollments}))
    missed = [] if enrollments else list(_missed(asked))
    together = [Line(one.at, f"merge {one.id}", one.sentence) for one in merges(connection, [contact_id])]
    return [*together, *_said(asked), *([*lines, *missed, *by_clock] or [_never(asked)])]


def _said(asked: _Question) -> Iterator[Line]:
    """Tell why the contact may not be written to at all, or not now, and whether they asked for less."""
    suppressions = asked.connection.execute(
        select(Suppression)
        .where(col(Suppression.address).in_([asked.contact.address, asked.contact.phone]))
        .order_by(col(Suppression.at))
    )
    for row in suppressions:
        what = "suppressed" if row.scope == "all" else "suppressed for marketing"
        yield Line(row.at, what, f"{row.address}: {row.reason}, told by {row.source}")
    choice = asked.connection.execute(
        select(FrequencyChoice)
        .where(col(FrequencyChoice.contact_id) == asked.contact.id)
        .order_by(col(FrequencyChoice.id).desc())
        .limit(1)
    ).one_or_none()
    if choice is not None and choice.spacing_days is not None:
        span = f"at most one marketing message in {choice.spacing_days} days"
        yield Line(choice.at, "asked for less", f"{span}, told by {choice.source}")
    if (last := last_word(asked.connection, asked.contact.id, asked.now)) is not None:
        said = f"{last.campaign}/{last.step} was the last word; no campaign writes until they give a sign of life"
        yield Line(last.at, "no marketing", said)


def _passage(asked: _Question, row: Any) -> Iterator[Line]:
    """Tell one enrollment: its messages, and what is still to come."""
    if row.state == "excluded":
        yield Line(row.caused_at, f"not enrolled: {row.reason}", f"{row.occurrence}; {_excluded(asked, row)}")
        return
    campaign = version_of(asked.connection, row.version_id).campaign
    yield Line(row.caused_at, "enrolled", row.occurrence)
    messages = asked.connection.execute(
        select(Message).where(col(Message.enrollment_id) == row.id).order_by(col(Message.due_at))
    ).all()
    for message in messages:
        step = campaign.step(message.step_key)
        detail = "; ".join(filter(None, (_detail(asked, message, step), _counted(step, message))))
        yield Line(message.due_at, f"{message.step_key}: {message.state}", detail)
        yield from history(asked.connection, message)
    if row.state == "active" and row.next_step is not None:
        yield Line(row.next_due_at or row.caused_at, f"{row.next_step}: not due yet", _coming(campaign, row))
    elif row.state == "stopped":
        yield Line(row.enrolled_at, "stopped", explained(row.reason))


def _detail(asked: _Question, message: Any, step: Step | None) -> str:
    to = place_of(step)
    if message.state == "accepted":
        where = to or ("the team" if message.channel == "crm" else message.address)
        return f"{where} by {message.provider}, {moment(message.sent_at)}"
    reason = explained(message.reason).rstrip(".") if message.reason else ""
    places = _places(asked, message) if message.reason in CAPS else ""
    out = asked.held.get((message.channel, "")) or asked.held.get((message.channel, to), "")
    again = f"asked again at {moment(message.not_before)}" if message.not_before else ""
    asked_at = f"asked at {moment(message.changed_at)}" if message.reason == "too_late" else ""
    return "; ".join(filter(None, (reason, places, asked_at, again, out if message.state == "planned" else "")))


def _places(asked: _Question, message: Any) -> str:
    """Name the last messages that had taken the places under a cap when it was asked."""
    wanted = [
        col(Message.contact_id) == asked.contact.id, col(Message.purpose) == str(MARKETING),
        col(Message.sent_at) <= message.changed_at, col(Message.id) != message.id,
    ]  # fmt: skip
    if message.reason == TOPIC_CAP and asked.campaign.topic is not None:
        wanted.append(of_topic(Message, asked.campaign.topic))
    rows = asked.connection.execute(
        select(col(CampaignRow.name), col(Message.step_key), col(Message.sent_at))
        .join(CampaignRow, col(CampaignRow.id) == col(Message.campaign_id))
        .where(*wanted)
        .order_by(col(Message.sent_at).desc())
        .limit(LATEST + 1)
    ).all()
    named = [f"{row.name} {row.step_key} of {moment(row.sent_at)}" for row in rows[:LATEST]]
    return f"the last: {', '.join(named)}{' and others' if len(rows) > LATEST else ''}" if named else ""


def _counted(step: Step | None, row: Any) -> str:
    if step is None or step.counted_from is None:
        return ""
    if row.counted_at is None:
        return f"counted from the triggering moment: no {step.counted_from.event} was known"
    return f"counted from {step.counted_from.event} of {moment(row.counted_at)}"


def _coming(campaign: Campaign, row: Any) -> str:
    """Say where the time of the next step comes from."""
    step = campaign.step(row.next_step)
    parts = [] if row.next_due_at else ["being scheduled"]
    if row.next_due_at and row.zone:
        parts.append(f"{row.next_due_at.astimezone(ZoneInfo(row.zone)):%Y-%m-%d %H:%M} in {row.zone}")
    if step is not None and step.counted_from is not None:
        if row.counted_at is not None:
            parts.append(_counted(step, row))
        else:
            anchor = step.counted_from
            parts.append(
                f"counted from the triggering moment; from {anchor.event} of the same {anchor.same} once that is known"
            )
    if step is not None and step.unless is not None:
        parts.append(f"unless: {in_words(step.unless)}")
    return "; ".join(parts)


def _excluded(asked: _Question, row: Any) -> str:
    said = explained(row.reason).partition(": ")[2]
    if row.reason != "not_in_audience":
        return said
    audience = version_of(asked.connection, row.version_id).campaign.audience
    unmet = _unmet(asked, audience, row.enrolled_at)
    return f"{said}; {unmet}"


def _unmet(asked: _Question, audience: Condition, at: datetime) -> str:
    """Name the parts of the audience that the contact does not meet, as far as is known today."""
    contact = Contact.__table__  # type: ignore[attr-defined]
    scope = Scope(contact, literal(at, Instant()))
    parts = audience.parts if isinstance(audience, AllOf) else (audience,)
    if not parts:
        return "by what is known today they were inside"
    answers = asked.connection.execute(
        select(*(compile_condition(part, scope).label(f"p{number}") for number, part in enumerate(parts))).where(
            contact.c.id == asked.contact.id
        )
    ).one()
    unmet = [in_words(part) for part, holds in zip(parts, answers, strict=True) if not holds]
    return f"not met: {'; '.join(unmet)}" if unmet else "by what is known today they were inside"


def _by_clock(asked: _Question, known: set[str]) -> Iterator[Line]:
    """Tell what time brings, or did not bring: silences, anniversaries, broadcasts."""
    trigger = asked.campaign.trigger
    for silence in trigger.silences:
        yield from silence_lines(asked.connection, asked.state, asked.contact, silence, known, asked.now)
    for each in trigger.anniversaries:
        yield from anniversary_lines(asked.connection, asked.state, asked.contact, each, known, asked.now, asked.zone)
    if trigger.broadcasts:
        yield from broadcast_lines(
            asked.connection, asked.state, asked.contact, known,
            lambda at: _unmet(asked, asked.campaign.audience, at),
        )  # fmt: skip


def _missed(asked: _Question) -> Iterator[Line]:
    """Name the events and stages that the contact met and why they did not count."""
    connection, state, trigger = asked.connection, asked.state, asked.campaign.trigger
    assert state.live_since is not None
    events = connection.execute(
        select(col(Event.name), col(Event.occurred_at), col(Event.position), col(Event.revision))
        .where(col(Event.contact_id) == asked.contact.id, col(Event.name).in_([part.name for part in trigger.events]))
        .order_by(col(Event.occurred_at))
    ).all()
    moves = connection.execute(
        select(col(Transition.to_stage), col(Transition.at), col(Transition.position))
        .where(
            col(Transition.contact_id) == asked.contact.id,
            col(Transition.to_stage).in_([part.stage for part in trigger.stages]),
        )
        .order_by(col(Transition.at))
    ).all()
    met = [(row.occurred_at, row.name, row.position, row.revision) for row in events]
    met += [(row.at, f"entered {row.to_stage}", row.position, 0) for row in moves]
    for at, what, position, revision in sorted(met):
        if revision > 0:
            why = "a correction never makes a new occurrence"
        elif at < state.live_since:
            why = f"before the campaign went live ({moment(state.live_since)})"
        elif state.scanned_to is not None and position >= state.scanned_to:
            why = "arrived after the last run; the next one will see it"
        else:
            why = "passed over while the campaign was stopped"
        yield Line(at, f"{what}: did not enroll", why)


def _never(asked: _Question) -> Line:
    trigger = asked.campaign.trigger
    names = [part.name for part in trigger.events] + [f"entering {part.stage}" for part in trigger.stages]
    names += [f"a business event {part.name}" for part in trigger.broadcasts]
    since = asked.state.live_since
    return Line(since, "never enrolled", f"the contact never met a trigger: {' or '.join(names)}")
