"""Broadcasts: a business event, the audience it goes to, and a person's word where that is large.

The audience is frozen in one transaction: who is in it then has an enrollment, and nobody joins later. Above
the campaign's `confirm_above` nothing is enrolled until somebody confirms the count, and after a restore not
either: nobody knows whether what was announced before went out.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, cast, func, insert, literal, null, select, update
from sqlalchemy.orm import aliased
from sqlmodel import col

from evergreet.audience import Scope, compile_condition, shift
from evergreet.campaign import BroadcastOptions, BroadcastTrigger, Options
from evergreet.campaigns import State, Version, hold_off, record, required, version_of
from evergreet.causes import OCCURRENCE_LENGTH, Reach, key_in
from evergreet.clock import Clock
from evergreet.database import Database
from evergreet.errors import EvergreetError
from evergreet.store import insert_select_ignore
from models import Broadcast, CampaignRow, Contact, Enrollment, Event, Instant
from models.base import Id

COLUMNS = (
    "campaign_id", "version_id", "contact_id", "occurrence", "cause_event_id", "cause_transition_id",
    "caused_at", "enrolled_at", "state", "reason", "next_step", "next_due_at",
)  # fmt: skip

NO_WORD = "at most"
"""Begins what stands for somebody's name where a campaign's `confirm_above` let a broadcast go."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """One broadcast as people look at it; `recipients` were counted when the event came in, or frozen."""

    campaign: str
    occurrence: str
    state: str
    recipients: int
    at: datetime
    decided_by: str
    properties: dict[str, Any]

    @property
    def waits(self) -> bool:
        """Whether nobody has decided yet."""
        return self.state == "waiting"

    @property
    def question(self) -> str:
        """What somebody is to decide, with the command that lets it go."""
        command = [
            "evergreet",
            "broadcasts",
            "confirm",
            self.campaign,
            self.occurrence,
            "--recipients",
            self.recipients,
        ]
        return f"{self.recipients:,} recipients of {self.occurrence}; {shlex.join(map(str, command))}"


def announce(connection: Connection, state: State, version: Version, reach: Reach, now: datetime) -> int:
    """Take up the business events ingested in `reach`; return how many contacts were enrolled at once."""
    enrolled = 0
    for trigger in version.campaign.trigger.broadcasts:
        events = connection.execute(
            select(
                col(Event.id), col(Event.source), col(Event.source_id), col(Event.properties), col(Event.occurred_at)
            )
            .where(
                col(Event.position) >= reach.low, col(Event.position) < reach.high, col(Event.name) == trigger.name,
                col(Event.contact_id).is_(None), col(Event.revision) == 0, col(Event.occurred_at) >= reach.since,
            )
            .order_by(col(Event.position), col(Event.id))
        ).all()  # fmt: skip
        for event in events:
            held = state.held_until is not None and event.occurred_at <= state.held_until  # it may have gone out before
            most = -1 if held else version.campaign.confirm_above
            enrolled += _announce(connection, version, occurrence_of(trigger, event), event.id, most, now)
    return enrolled


def occurrence_of(trigger: BroadcastTrigger, event: Any) -> str:
    """Name the occurrence: the event, or the value of the trigger's key in it."""
    value = key_in(event.properties, trigger.key)
    name = f"{trigger.name}:{value}" if value is not None else f"event:{event.source}:{event.source_id}"
    return name[:OCCURRENCE_LENGTH]


def _announce(
    connection: Connection, version: Version, occurrence: str, event_id: int, most: int, now: datetime
) -> int:
    """Freeze the audience of a new occurrence where it is no larger than `most`, else let it wait."""
    known = connection.execute(
        select(col(Broadcast.id)).where(
            col(Broadcast.campaign_id) == version.campaign_id, col(Broadcast.occurrence) == occurrence
        )
    ).one_or_none()
    if known is not None:  # told twice
        return 0
    row_id = connection.execute(
        insert(Broadcast)
        .values(
            campaign_id=version.campaign_id, version_id=version.id, event_id=event_id, occurrence=occurrence,
            counted=count(connection, version, now), at=now,
        )
        .returning(col(Broadcast.id))
    ).scalar_one()  # fmt: skip
    row = connection.execute(select(Broadcast).where(col(Broadcast.id) == row_id)).one()
    if row.counted > most:
        return 0
    return _freeze(connection, version, row, now, f"{NO_WORD} {most}")


def count(connection: Connection, version: Version, now: datetime) -> int:
    """Count whom a broadcast would go to now."""
    contact = Contact.__table__  # type: ignore[attr-defined]
    inside = compile_condition(version.campaign.audience, Scope(contact, literal(now, Instant())))
    return connection.execute(
        select(func.count()).select_from(contact).where(contact.c.erased_at.is_(None), inside)
    ).scalar_one()


def _freeze(connection: Connection, version: Version, row: Any, now: datetime, decided_by: str) -> int:
    contact = Contact.__table__  # type: ignore[attr-defined]
    moment = literal(now, Instant())
    first = version.campaign.steps[0]
    due = shift(moment, first.after.span) if first.at is None else cast(null(), Instant())
    audience = (
        select(
            literal(version.campaign_id, Id), literal(version.id, Id), contact.c.id, literal(row.occurrence),
            literal(row.event_id, Id), cast(null(), Id), moment, moment, literal("active"), literal(""),
            literal(first.key), due,
        )
        .where(
            contact.c.erased_at.is_(None),
            compile_condition(version.campaign.audience, Scope(contact, moment)),
        )
        .order_by(contact.c.id)
    )  # fmt: skip
    frozen = insert_select_ignore(connection, Enrollment, COLUMNS, audience)
    connection.execute(
        update(Broadcast)
        .where(col(Broadcast.id) == row.id)
        .values(state="frozen", version_id=version.id, frozen=frozen, frozen_at=now, decided_by=decided_by)
    )
    return frozen


def announcements(connection: Connection, campaign: str | None = None) -> list[Announcement]:
    """List the broadcasts, the newest first, with what their event says now: a correction is what will be written."""
    told = aliased(Event)
    query = (
        select(Broadcast, col(CampaignRow.name), col(Event.properties))
        .join(CampaignRow, col(CampaignRow.id) == col(Broadcast.campaign_id))
        .join(told, col(told.id) == col(Broadcast.event_id))
        .join(Event, and_(col(Event.source) == col(told.source), col(Event.source_id) == col(told.source_id)))
        .where(~col(Event.superseded))
        .order_by(col(Broadcast.id).desc())
    )
    if campaign is not None:
        query = query.where(col(CampaignRow.id) == required(connection, campaign).id)
    return [
        Announcement(
            row.name, row.occurrence, row.state, row.counted if row.frozen is None else row.frozen, row.at,
            row.decided_by, row.properties,
        )
        for row in connection.execute(query)
    ]  # fmt: skip


def waiting_for_a_word(found: Sequence[Announcement]) -> str | None:
    """Say in a sentence which of these broadcasts wait for somebody's word; None where none does."""
    waiting = [one for one in found if one.waits]
    if not waiting:
        return None
    count = "1 broadcast waits" if len(waiting) == 1 else f"{len(waiting)} broadcasts wait"
    return f"{count} for your word: " + "; or ".join(one.question for one in waiting)


def confirm(database: Database, campaign: str, occurrence: str, recipients: int, *, clock: Clock, actor: str) -> int:
    """Freeze the audience of a waiting broadcast, if it is no larger than what was agreed to; return its size."""
    with database.write() as connection:
        version, row, now = _waiting(connection, campaign, occurrence, clock)
        about = connection.execute(select(col(Event.name)).where(col(Event.id) == row.event_id)).scalar_one()
        if about not in {trigger.name for trigger in version.campaign.trigger.broadcasts}:
            raise EvergreetError(
                f"{campaign} does not write about {about!r} any more: its definition has changed since. Cancel it with "
                f"`evergreet broadcasts cancel {shlex.join((campaign, occurrence))}`."
            )
        found = count(connection, version, now)
        if found > recipients:
            raise EvergreetError(
                f"{campaign} {occurrence} would go to {found} contacts now, more than the {recipients} confirmed. "
                f"Nothing is sent; look again, and confirm with {found}."
            )
        frozen = _freeze(connection, version, row, now, actor)
        record(connection, now, actor, "broadcast confirmed", campaign, occurrence=occurrence, recipients=frozen)
        return frozen


def give_word(database: Database, campaign: str, options: Options, *, clock: Clock, actor: str) -> None:
    """Confirm the broadcast that the options of a run name, if they name one."""
    if isinstance(options, BroadcastOptions) and options.recipients is not None and not options.dry_run:
        confirm(database, campaign, options.confirm, options.recipients, clock=clock, actor=actor)


def cancel(database: Database, campaign: str, occurrence: str, *, clock: Clock, actor: str) -> None:
    """Let a waiting broadcast go to nobody, for good."""
    with database.write() as connection:
        _version, row, now = _waiting(connection, campaign, occurrence, clock)
        connection.execute(
            update(Broadcast).where(col(Broadcast.id) == row.id).values(state="cancelled", decided_by=actor)
        )
        record(connection, now, actor, "broadcast cancelled", campaign, occurrence=occurrence)


def _became(row: Any, campaign: str) -> str:
    if row.state != "frozen":
        return f"it is {row.state} ({row.decided_by})"
    who = "their number needed no word" if row.decided_by.startswith(NO_WORD) else f"confirmed by {row.decided_by}"
    return (
        f"it is frozen and goes to {row.frozen:,} contacts ({who}). `evergreet pause {campaign}` holds what has not "
        "left yet"
    )


def _waiting(connection: Connection, campaign: str, occurrence: str, clock: Clock) -> tuple[Version, Any, datetime]:
    hold_off(connection, campaign)
    state = required(connection, campaign)
    row = connection.execute(
        select(Broadcast).where(col(Broadcast.campaign_id) == state.id, col(Broadcast.occurrence) == occurrence)
    ).one_or_none()
    if row is None:
        raise EvergreetError(f"{campaign} has no broadcast {occurrence!r}: `evergreet broadcasts` lists them.")
    if row.state != "waiting":
        raise EvergreetError(f"{campaign} {occurrence} does not wait any more: {_became(row, campaign)}.")
    if state.state != "live":
        raise EvergreetError(f"Campaign {campaign!r} is {state.state}; only a live one can send.")
    assert state.version_id is not None
    return version_of(connection, state.version_id), row, clock.now(connection)
