"""Explain: who got what of a campaign, and why somebody did not."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, or_, select
from sqlmodel import col

from evergreet.campaigns import State, version_of
from evergreet.errors import EvergreetError
from models import Contact, Enrollment, Event, Message, Transition


@dataclass(frozen=True, slots=True)
class Line:
    """One fact about a contact and a campaign, in order of time."""

    at: datetime | None
    what: str
    detail: str = ""


def find_contacts(connection: Connection, written: str) -> list[Any]:
    """Find contacts by address, id, or source id; raises where there is none."""
    which = [col(Contact.address) == written.strip().casefold(), col(Contact.source_id) == written.strip()]
    if written.strip().isdigit():
        which.append(col(Contact.id) == int(written))
    found = connection.execute(select(Contact).where(or_(*which)).order_by(col(Contact.id)).limit(20)).all()
    if not found:
        raise EvergreetError(f"There is no contact {written!r}; give an address, an id or the id in its source.")
    return list(found)


def explain(connection: Connection, state: State, contact_id: int) -> list[Line]:
    """Say what the campaign did for a contact: enrollments and their messages, or why there are none."""
    enrollments = connection.execute(
        select(Enrollment)
        .where(col(Enrollment.campaign_id) == state.id, col(Enrollment.contact_id) == contact_id)
        .order_by(col(Enrollment.caused_at))
    ).all()
    if not enrollments:
        return _never(connection, state, contact_id)
    lines = []
    for row in enrollments:
        if row.state == "excluded":
            lines.append(Line(row.caused_at, f"not enrolled: {row.reason}", row.occurrence))
            continue
        lines.append(Line(row.caused_at, "enrolled", row.occurrence))
        messages = connection.execute(
            select(Message).where(col(Message.enrollment_id) == row.id).order_by(col(Message.due_at))
        ).all()
        lines += [
            Line(message.due_at, f"{message.step_key}: {message.state}", _detail(message)) for message in messages
        ]
        if row.state == "active" and row.next_step is not None:
            when = row.next_due_at or row.caused_at
            lines.append(Line(when, f"{row.next_step}: not due yet", "" if row.next_due_at else "being scheduled"))
        elif row.state == "stopped":
            lines.append(Line(row.enrolled_at, "stopped", row.reason))
    return lines


def _detail(message: Any) -> str:
    if message.state == "accepted":
        return f"{message.address} by {message.provider}, {message.sent_at:%Y-%m-%d %H:%M} UTC"
    until = f", again at {message.not_before:%Y-%m-%d %H:%M} UTC" if message.not_before else ""
    return f"{message.reason}{until}"


def _never(connection: Connection, state: State, contact_id: int) -> list[Line]:
    """Name the triggers that the contact met and why they did not count, or say that there were none."""
    if state.version_id is None or state.live_since is None:
        return [Line(None, f"never enrolled: the campaign is {state.state} and was never live")]
    trigger = version_of(connection, state.version_id).campaign.trigger
    events = connection.execute(
        select(col(Event.name), col(Event.occurred_at), col(Event.position), col(Event.revision))
        .where(col(Event.contact_id) == contact_id, col(Event.name).in_([part.name for part in trigger.events]))
        .order_by(col(Event.occurred_at))
    ).all()
    moves = connection.execute(
        select(col(Transition.to_stage), col(Transition.at), col(Transition.position))
        .where(
            col(Transition.contact_id) == contact_id, col(Transition.to_stage).in_([p.stage for p in trigger.stages])
        )
        .order_by(col(Transition.at))
    ).all()
    met = [(row.occurred_at, row.name, row.position, row.revision) for row in events]
    met += [(row.at, f"entered {row.to_stage}", row.position, 0) for row in moves]
    lines = []
    for at, what, position, revision in sorted(met):
        if revision > 0:
            why = "a correction never makes a new occurrence"
        elif at < state.live_since:
            why = f"before the campaign went live ({state.live_since:%Y-%m-%d %H:%M} UTC)"
        elif state.scanned_to is not None and position >= state.scanned_to:
            why = "arrived after the last run; the next one will see it"
        else:
            why = "passed over while the campaign was stopped"
        lines.append(Line(at, f"{what}: did not enroll", why))
    names = [part.name for part in trigger.events] + [f"entering {part.stage}" for part in trigger.stages]
    return lines or [Line(state.live_since, "never enrolled", f"the contact never met a trigger: {' or '.join(names)}")]
