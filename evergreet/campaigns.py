"""Campaigns as the store knows them: versions, states, and what has something due."""

import hashlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    text,
    true,
    update,
)
from sqlmodel import col

from evergreet.campaign import CAMPAIGN, Campaign, Options, Purpose
from evergreet.causes import Reach
from evergreet.clock import Clock
from evergreet.clock_causes import Span, days_begun, late_silences, silences
from evergreet.database import Database, exclusive, settled_position
from evergreet.errors import EvergreetError
from evergreet.review_messages import check_review_messages
from evergreet.step_checks import check_template
from evergreet.store import insert_ignore
from evergreet.tally import OPEN, add_to_tally
from evergreet.template_sources import TemplateSource, load_template
from models import (
    AuditLog,
    CampaignRow,
    CampaignVersion,
    Chunk,
    ClockStretch,
    Enrollment,
    Event,
    Instant,
    Message,
    Stretch,
    TemplateVersion,
    Transition,
)

LOOK_ANYWAY = timedelta(hours=1)
"""A campaign that follows the clock looks at it at least so often, also when nothing seems due; and each one at what
was ingested, so that the question whether a rare event is among it stays short."""

STOPPED = "campaign_stopped"
"""The reason of what is not sent because somebody stopped its campaign."""

ACTIVE = col(Enrollment.state) == literal_column("'active'")
"""Of enrollments: in the words of their partial index, which SQLite takes only so, and PostgreSQL in kept plans."""

EVERYTHING = 2**62
"""A position that no row has reached."""

LoadTemplate = Callable[[str, Purpose], TemplateSource]
"""Finds the sources of a template by name and checks that they suit the purpose of the step."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a campaign, as stored: what an enrollment pinned to it runs from.

    `new` says that it was stored just now.
    """

    id: int
    campaign_id: int
    hash: str
    campaign: Campaign
    options: dict[str, Any]
    templates: dict[str, str]
    new: bool = False

    @classmethod
    def read(cls, row: Any) -> "Version":
        """Build from a `campaign_version` row."""
        definition = row.definition
        return cls(
            row.id, row.campaign_id, row.hash, CAMPAIGN.validate_python(definition["campaign"]),
            definition["options"], definition["templates"],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class State:
    """A campaign's row: its state and how far it has scanned."""

    id: int
    name: str
    state: str
    reason: str
    by: str
    live_since: datetime | None
    scanned_from: int | None
    scanned_to: int | None
    version_id: int | None
    held_since: datetime | None
    held_until: datetime | None
    clock_from: datetime | None
    clock_to: datetime | None

    @property
    def not_live(self) -> str:
        """Say why nothing is done for it."""
        return f"the campaign is {self.state}" + (f" ({self.reason})" if self.reason else "")


def template_loader(root: str) -> LoadTemplate:
    """Load templates from a package or folder."""
    return lambda name, purpose: load_template(root, name, purpose=purpose)


def state_of(connection: Connection, name: str) -> State | None:
    """Read the row of a campaign; None when it was never launched or registered."""
    row = connection.execute(select(CampaignRow).where(col(CampaignRow.name) == name)).one_or_none()
    return None if row is None else _state(row)


def states(connection: Connection) -> list[State]:
    """Read all campaigns by name."""
    return [_state(row) for row in connection.execute(select(CampaignRow).order_by(col(CampaignRow.name)))]


def _state(row: Any) -> State:
    return State(
        row.id, row.name, row.state, row.state_reason, row.state_by, row.live_since, row.scanned_from,
        row.scanned_to, row.current_version_id, row.held_since, row.held_until, row.clock_from, row.clock_to,
    )  # fmt: skip


def required(connection: Connection, name: str) -> State:
    """Read the row of a campaign, or say what to do where there is none."""
    state = state_of(connection, name)
    if state is None:
        raise EvergreetError(f"Campaign {name!r} is not in the ledger yet: run `evergreet launch {name}`.")
    return state


def versions_of(connection: Connection, campaign_id: int, known: Collection[int] = ()) -> dict[int, Version]:
    """Read a campaign's versions by id, but those that are known."""
    return {
        row.id: Version.read(row)
        for row in connection.execute(
            select(CampaignVersion).where(
                col(CampaignVersion.campaign_id) == campaign_id, col(CampaignVersion.id).not_in(list(known))
            )
        )
    }


def version_of(connection: Connection, version_id: int) -> Version:
    """Read one version."""
    return Version.read(connection.execute(select(CampaignVersion).where(col(CampaignVersion.id) == version_id)).one())


def template_source(connection: Connection, content: str) -> TemplateSource:
    """Read a template version by its content hash."""
    row = connection.execute(select(TemplateVersion).where(col(TemplateVersion.hash) == content)).one()
    return TemplateSource(row.name, row.hash, row.sources)


def register(
    connection: Connection, campaign: Campaign, options: Options, load: LoadTemplate, now: datetime
) -> Version:
    """Store the campaign's definition with its options and templates as its current version, if it is new."""
    resolved = campaign.resolve(options)
    sources = {step.template: load(step.template, step.purpose) for step in resolved.steps}
    for step in resolved.steps:
        check_template(campaign.name, step, sources[step.template])
    definition = {
        "campaign": CAMPAIGN.dump_python(resolved, mode="json"),
        "options": options.of_version(),
        "templates": {name: source.hash for name, source in sources.items()},
    }
    content = hashlib.sha256(orjson.dumps(definition, option=orjson.OPT_SORT_KEYS)).hexdigest()
    known = (
        select(CampaignVersion)
        .join(CampaignRow, col(CampaignRow.id) == col(CampaignVersion.campaign_id))
        .where(col(CampaignRow.name) == campaign.name, col(CampaignVersion.hash) == content)
    )
    row = connection.execute(known).one_or_none()
    new = row is None
    if row is None:
        check_review_messages(resolved, sources)
        exclusive(connection, f"register:{campaign.name}")
        insert_ignore(connection, CampaignRow, [{"name": campaign.name, "created_at": now}])
        campaign_id = required(connection, campaign.name).id
        insert_ignore(
            connection, TemplateVersion,
            [{"name": s.name, "hash": s.hash, "sources": s.sources, "created_at": now} for s in sources.values()],
        )  # fmt: skip
        insert_ignore(
            connection, CampaignVersion,
            [{"campaign_id": campaign_id, "hash": content, "definition": definition, "created_at": now}],
        )  # fmt: skip
        row = connection.execute(known).one()
    connection.execute(
        update(CampaignRow)
        .where(col(CampaignRow.id) == row.campaign_id, col(CampaignRow.current_version_id).is_distinct_from(row.id))
        .values(current_version_id=row.id, priority=resolved.priority)
    )
    return replace(Version.read(row), new=new)


def record(connection: Connection, now: datetime, actor: str, action: str, subject: str, **detail: Any) -> None:
    """Write a line of the audit log."""
    connection.execute(
        AuditLog.__table__.insert().values(at=now, actor=actor, action=action, subject=subject, detail=detail)  # type: ignore[attr-defined]
    )


def launch(
    database: Database, campaign: Campaign, options: Options, load: LoadTemplate, *, clock: Clock, actor: str
) -> State:
    """Make a campaign live: from now on it enrolls what happens. Live already: nothing changes."""
    with database.write() as connection:
        now = clock.now(connection)
        register(connection, campaign, options, load, now)
        state = _locked(connection, campaign.name)
        if state.state == "live":
            return state
        if state.state == "paused":
            _set_state(connection, state, "live", now, actor, "")
            return required(connection, campaign.name)
        position = settled_position(connection)
        if state.scanned_to is not None and state.scanned_to < position:
            connection.execute(
                Stretch.__table__.insert().values(  # type: ignore[attr-defined]
                    campaign_id=state.id,
                    kind="gap",
                    low=state.scanned_to,
                    high=position,
                    since=now,
                    enrolled=0,
                    at=now,
                )
            )
        if state.clock_to is not None and state.clock_to < now:
            connection.execute(
                ClockStretch.__table__.insert().values(  # type: ignore[attr-defined]
                    campaign_id=state.id, kind="gap", low=state.clock_to, high=now, enrolled=0, at=now
                )
            )
        follows = campaign.trigger.by_clock or state.clock_to is not None
        connection.execute(
            update(CampaignRow)
            .where(col(CampaignRow.id) == state.id)
            .values(
                live_since=now,
                scanned_from=position if state.scanned_from is None else state.scanned_from,
                scanned_to=position if state.scanned_to is None else max(position, state.scanned_to),
                clock_from=now if follows and state.clock_from is None else state.clock_from,
                clock_to=max(now, state.clock_to or now) if follows else None,
            )
        )
        _set_state(connection, state, "live", now, actor, "")
        return required(connection, campaign.name)


def pause(database: Database, name: str, *, clock: Clock, actor: str, reason: str = "") -> State:
    """Stop enrolling and sending until resumed; nothing is dropped. Each window asks before it sends."""
    return _move(database, name, "paused", {"live", "paused"}, clock, actor, reason)


def resume(database: Database, name: str, *, clock: Clock, actor: str) -> State:
    """Go on where the campaign was paused: what happened meanwhile is enrolled, late steps by their lateness."""
    return _move(database, name, "live", {"paused", "live"}, clock, actor, "")


def stop(database: Database, name: str, *, clock: Clock, actor: str) -> State:
    """End a campaign: nobody is enrolled any more, and who is on the way gets nothing more (recorded per row)."""
    with database.write() as connection:
        hold_off(connection, name)
        now = clock.now(connection)
        state = _locked(connection, name)
        if state.state == "stopped":
            return state
        _set_state(connection, state, "stopped", now, actor, "")
        chunks = select(col(Chunk.id)).where(col(Chunk.campaign_id) == state.id, OPEN)
        planned = (
            and_(col(Message.chunk_id).in_(chunks), col(Message.state) == "planned"),
            and_(col(Message.campaign_id) == state.id, col(Message.not_before).is_not(None)),
        )
        skipped = {"state": "skipped", "reason": STOPPED, "chunk_id": None, "not_before": None, "changed_at": now}
        ended = sum(connection.execute(update(Message).where(which).values(skipped)).rowcount for which in planned)
        add_to_tally(connection, state.id, {("skipped", STOPPED): ended})
        connection.execute(
            update(Enrollment)
            .where(col(Enrollment.campaign_id) == state.id, col(Enrollment.state) == "active")
            .values(state="stopped", reason=STOPPED, next_due_at=None)  # `next_step` says how far they came
        )
        connection.execute(
            update(Chunk)
            .where(col(Chunk.campaign_id) == state.id, OPEN, col(Chunk.owner_id).is_(None))
            .values(state="done")
        )
        return required(connection, name)


def hold_off(connection: Connection, name: str) -> None:
    """Let nobody else enroll or plan for a campaign until the end of this writing transaction."""
    exclusive(connection, f"plan:{name}")
    exclusive(connection, f"enroll:{name}")


def _move(database: Database, name: str, to: str, allowed: set[str], clock: Clock, actor: str, reason: str) -> State:
    with database.write() as connection:
        now = clock.now(connection)
        state = _locked(connection, name)
        if state.state not in allowed:
            raise EvergreetError(
                f"Campaign {name!r} is {state.state}; only a {' or '.join(sorted(allowed))} one can become {to}."
                + (f" Run `evergreet launch {name}`." if state.state in {"draft", "stopped"} else "")
            )
        if state.state != to or state.reason != reason:
            _set_state(connection, state, to, now, actor, reason)
        return required(connection, name)


def _locked(connection: Connection, name: str) -> State:
    row = connection.execute(
        select(CampaignRow).where(col(CampaignRow.name) == name).with_for_update(key_share=True)
    ).one_or_none()
    if row is None:
        return required(connection, name)
    return _state(row)


def _set_state(connection: Connection, state: State, to: str, now: datetime, actor: str, reason: str) -> None:
    connection.execute(
        update(CampaignRow)
        .where(col(CampaignRow.id) == state.id)
        .values(state=to, state_reason=reason, state_by=actor[:20])
    )
    record(connection, now, actor, f"campaign {to}", state.name, before=state.state, reason=reason)


def halt(connection: Connection, state: State, now: datetime, reason: str) -> None:
    """Pause a live campaign from inside a run, because a limit or a fault of ours says so."""
    _set_state(connection, state, "paused", now, "engine", reason)


def due_campaigns(connection: Connection, now: datetime, look_anyway: timedelta = LOOK_ANYWAY) -> list[str]:
    """Name the live campaigns that have something to do now, transactional ones first and broadcasts last."""
    rows = connection.execute(
        select(CampaignRow, col(CampaignVersion.definition))
        .join(CampaignVersion, col(CampaignVersion.id) == col(CampaignRow.current_version_id))
        .where(col(CampaignRow.state) == "live")
    ).all()
    if not rows:
        return []
    answers = connection.execute(
        select(*(_something_due(row, row.definition["campaign"], now, look_anyway).label(f"c{row.id}") for row in rows))
    ).one()
    due = [row for row, answer in zip(rows, answers, strict=True) if answer]
    place = {
        row.name: 0 if any(step["purpose"] == "transactional" for step in row.definition["campaign"]["steps"])
        else row.priority
        for row in due
    }  # fmt: skip
    return sorted(place, key=lambda name: (place[name], name))


def _something_due(row: Any, definition: dict[str, Any], now: datetime, look_anyway: timedelta) -> ColumnElement[bool]:
    moment = literal(now, Instant())
    parts = definition["trigger"]["parts"]
    events = [part["name"] for part in parts if part["kind"] in {"event", "broadcast"}]
    stages = [part["stage"] for part in parts if part["kind"] == "stage"]
    return or_(
        exists().where(col(Enrollment.campaign_id) == row.id, col(Enrollment.next_due_at) <= moment),
        exists().where(
            col(Enrollment.campaign_id) == row.id,
            col(Enrollment.next_due_at).is_(None),
            ACTIVE,
        ),
        exists().where(
            col(Message.campaign_id) == row.id,
            col(Message.not_before) <= moment,
        ),
        exists().where(col(Chunk.campaign_id) == row.id, OPEN),
        exists().where(
            and_(col(Event.position) >= row.scanned_to, col(Event.name).in_(events), col(Event.revision) == 0)
        ),
        exists().where(and_(col(Transition.position) >= row.scanned_to, col(Transition.to_stage).in_(stages))),
        *_due_by_clock(row, parts, now, look_anyway),
    )


def _far_behind(row: Any, now: datetime, look_anyway: timedelta) -> ColumnElement[bool]:
    """Whether something was ingested since the campaign looked, and that is long ago: then its cursor moves on."""
    looked = (
        select(col(Stretch.at))
        .where(col(Stretch.campaign_id) == row.id, text("kind <> 'backfill'"))
        .order_by(col(Stretch.low).desc())
        .limit(1)
        .scalar_subquery()
    )
    return and_(
        func.coalesce(looked, literal(row.live_since, Instant())) <= literal(now - look_anyway, Instant()),
        or_(*(exists().where(col(table.position) >= row.scanned_to) for table in (Event, Transition))),
    )


def _due_by_clock(
    row: Any, parts: list[dict[str, Any]], now: datetime, look_anyway: timedelta
) -> Iterator[ColumnElement[bool]]:
    """Yield what asks whether time alone, or what came in late, may have started something."""
    kinds = {part["kind"] for part in parts}
    if kinds.isdisjoint({"silence", "anniversary"}):
        yield _far_behind(row, now, look_anyway)
        return
    if row.clock_to is None or now - row.clock_to >= look_anyway:
        yield true()  # and the stretch that is looked at stays short
        return
    campaign = CAMPAIGN.validate_python(row.definition["campaign"])
    span = Span(row.clock_to, now, row.live_since)
    reach = Reach(row.scanned_to, EVERYTHING, max(row.live_since, row.clock_from))
    for silence in campaign.trigger.silences:
        yield exists(silences(campaign, silence, span, reach))
        yield from (exists(late) for late in late_silences(campaign, silence, row.clock_to, reach))
    for trigger in campaign.trigger.anniversaries:
        yield literal(days_begun(now) > days_begun(row.clock_to))
        yield exists().where(
            col(Event.position) >= row.scanned_to, col(Event.name).in_(trigger.of),
            col(Event.occurred_at) < now - timedelta(days=27 * trigger.months),
        )  # fmt: skip
