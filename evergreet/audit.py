"""The audit: recompute what was due, independently of the engine, and compare both ways.

It reads events, transitions, versions and stretches row by row in plain Python and shares no query with
`enrollment` or `planning`; only the meaning of a due time (`schedule.due_time`) is the same. Each finding
is a sentence; a clean audit has none.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, select, text
from sqlalchemy.orm import aliased
from sqlmodel import col

from evergreet.audit_clock import Anchors, ClockStretches, Met, anniversaries, broadcasts, silences
from evergreet.campaign import Campaign
from evergreet.campaigns import State, Version, states
from evergreet.causes import OCCURRENCE_LENGTH
from evergreet.clock import Clock
from evergreet.database import Database
from evergreet.schedule import due_time, zone_of
from models import (
    Attempt,
    CampaignRow,
    CampaignVersion,
    Chunk,
    Contact,
    Enrollment,
    Event,
    Message,
    Stretch,
    Transition,
)

SAMPLE = 5
REPEATED = ("campaign_id", "version_id", "contact_id", "occurrence")
"""What a message repeats of its enrollment."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What the audit of one campaign found: due messages as recomputed and as in the ledger, and the findings."""

    campaign: str
    enrollments: int
    due: int
    in_ledger: int
    findings: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether everything adds up."""
        return not self.findings and self.due == self.in_ledger


@dataclass(slots=True)
class _Findings:
    """Findings by kind: the first few named, all counted."""

    samples: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, what: str) -> None:
        self.counts[kind] += 1
        if len(self.samples[kind]) < SAMPLE:
            self.samples[kind].append(what)

    def sentences(self) -> tuple[str, ...]:
        return tuple(
            f"{kind} ({count}): {', '.join(self.samples[kind])}{', …' if count > SAMPLE else ''}"
            for kind, count in self.counts.items()
        )


def audit(database: Database, clock: Clock) -> list[Audit]:
    """Audit every campaign in one snapshot."""
    with database.read() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        return [_audit(connection, state) for state in states(connection)]


def _audit(connection: Connection, state: State) -> Audit:
    findings = _Findings()
    versions = {
        row.id: Version.read(row)
        for row in connection.execute(select(CampaignVersion).where(col(CampaignVersion.campaign_id) == state.id))
    }
    enrollments = connection.execute(select(Enrollment).where(col(Enrollment.campaign_id) == state.id)).all()
    messages = connection.execute(select(Message).where(col(Message.campaign_id) == state.id)).all()
    stretches = connection.execute(
        select(Stretch).where(col(Stretch.campaign_id) == state.id).order_by(col(Stretch.low))
    ).all()
    _check_stretches(state, stretches, findings)
    for row in enrollments:
        if row.version_id not in versions:
            findings.add("enrollments of a version that is not there", f"enrollment {row.id}")
    clock = ClockStretches(connection, state)
    for gap in clock.gaps():
        findings.add("stretches of the clock are missing", gap)
    campaigns = {version.campaign for version in versions.values()}
    frozen, announced, faults = broadcasts(connection, campaigns, state, enrollments, _Scans(stretches).ran_over)
    for fault in faults:
        findings.add("broadcasts and their audiences disagree", fault)
    counted = sum(stretch.enrolled for stretch in stretches) + clock.enrolled + frozen
    if counted != len(enrollments):
        findings.add("enrollments that stretches counted otherwise", f"{counted} counted, {len(enrollments)} there")
    met = [*_met(connection, campaigns, _Scans(stretches)), *_met_by_clock(connection, campaigns, state, clock)]
    _check_triggers(met, announced, enrollments, findings)
    due = _check_due(connection, state, versions, enrollments, messages, findings)
    _check_states(connection, state, messages, findings)
    return Audit(state.name, len(enrollments), due, len(messages), findings.sentences())


def _check_stretches(state: State, stretches: Sequence[Any], findings: _Findings) -> None:
    """The scanned stretches are contiguous from where the campaign began to where its cursor stands."""
    at = state.scanned_from
    for stretch in stretches:
        if stretch.kind == "backfill":
            continue
        if at is None or stretch.low != at:
            findings.add("stretches of the cursor are missing", f"between {at} and {stretch.low}")
        at = stretch.high
    if at != state.scanned_to:
        findings.add("stretches of the cursor are missing", f"between {at} and {state.scanned_to}")


def _check_triggers(
    met: Sequence[Met], announced: set[tuple[int, str]], enrollments: Sequence[Any], findings: _Findings
) -> None:
    """Everything that met a trigger in a scanned stretch has its enrollment, and no enrollment is without cause."""
    have = {(row.contact_id, row.occurrence): row for row in enrollments}
    explained = set(announced)
    for one in met:
        if one.covered:
            explained.add((one.contact_id, one.occurrence))
            if one.certain and not any((one.contact_id, name) in have for name in (one.occurrence, *one.others)):
                findings.add("triggers without an enrollment", f"contact {one.contact_id} {one.occurrence}")
    for key, row in have.items():
        if key not in explained:
            findings.add("enrollments outside every scanned stretch", f"enrollment {row.id} {row.occurrence}")


def _met_by_clock(
    connection: Connection, campaigns: set[Campaign], state: State, clock: ClockStretches
) -> Iterator[Met]:
    """Yield what met a trigger by the passing of time; certain only where all versions have the same triggers."""
    certain = _alike(campaigns)
    for campaign in campaigns:
        for silence in campaign.trigger.silences:
            for one in silences(connection, campaign, silence, state, clock):
                yield replace(one, certain=one.certain and certain)
        for trigger in campaign.trigger.anniversaries:
            for one in anniversaries(connection, campaign, trigger, state, clock):
                yield replace(one, certain=one.certain and certain)


def _alike(campaigns: set[Campaign]) -> bool:
    return len({(campaign.trigger, campaign.re_entry == "once") for campaign in campaigns}) == 1


def _met(connection: Connection, campaigns: set[Campaign], scans: "_Scans") -> Iterator[Met]:
    """Yield every trigger that was met, as each version of the campaign reads it.

    `certain` is false where versions differ in their triggers: then nobody can tell from a stretch alone
    which of them scanned it.
    """
    certain = _alike(campaigns)
    for campaign in campaigns:
        names = {trigger.name for trigger in campaign.trigger.events}
        stages = {trigger.stage for trigger in campaign.trigger.stages}
        if names:
            for event in connection.execute(
                select(Event).where(col(Event.name).in_(names), col(Event.contact_id).is_not(None))
            ):
                if event.revision == 0:
                    covered = scans.cover(event.position, event.occurred_at)
                    yield Met(event.contact_id, _occurrence(campaign, event), covered, certain)
        if stages:
            cause = aliased(Event)
            rows: Sequence[Any] = connection.execute(
                select(Transition, Event)
                .outerjoin(cause, col(cause.id) == col(Transition.cause_event_id))
                .outerjoin(
                    Event,  # as it was first told, where a correction was the cause
                    and_(
                        col(Event.source) == col(cause.source), col(Event.source_id) == col(cause.source_id),
                        col(Event.revision) == 0,
                    ),
                )
                .where(col(Transition.to_stage).in_(stages))
                .with_only_columns(
                    col(Transition.id), col(Transition.contact_id), col(Transition.position), col(Transition.at),
                    col(Event.id).label("event_id"), col(Event.name), col(Event.source), col(Event.source_id),
                    col(Event.properties), maintain_column_froms=True,
                )
            ).all()  # fmt: skip
            for row in rows:
                if row.event_id is None and campaign.re_entry != "once":
                    occurrence = f"transition:{row.id}"
                else:
                    occurrence = _occurrence(campaign, row)
                yield Met(row.contact_id, occurrence, scans.cover(row.position, row.at), certain)


class _Scans:
    """The stretches that were scanned: one after another, and those of history across them."""

    def __init__(self, stretches: Sequence[Any]) -> None:
        self.running = [stretch for stretch in stretches if stretch.kind == "scan"]
        self.history = [stretch for stretch in stretches if stretch.kind == "backfill"]

    def cover(self, position: int, at: datetime) -> bool:
        """Whether what was ingested at that position, and happened then, was seen."""
        return self.ran_over(position, at) or any(_holds(stretch, position, at) for stretch in self.history)

    def ran_over(self, position: int, at: datetime) -> bool:
        """Whether a run saw it: history that is taken in later repeats no broadcast."""
        last = bisect_right(self.running, position, key=lambda stretch: stretch.low)
        return last > 0 and _holds(self.running[last - 1], position, at)


def _holds(stretch: Any, position: int, at: datetime) -> bool:
    return bool(stretch.low <= position < stretch.high and at >= stretch.since)


def _occurrence(campaign: Campaign, event: Any) -> str:
    if campaign.re_entry == "once":
        return "once"
    for trigger in campaign.trigger.events:
        if trigger.name == event.name and trigger.key is not None:
            value = (event.properties or {}).get(trigger.key)
            if value is not None:
                return f"{event.name}:{value}"[:OCCURRENCE_LENGTH]
    return f"event:{event.source}:{event.source_id}"[:OCCURRENCE_LENGTH]


def _check_due(
    connection: Connection,
    state: State,
    versions: dict[int, Version],
    enrollments: Sequence[Any],
    messages: Sequence[Any],
    findings: _Findings,
) -> int:
    """Every step that was due has one message with the right due time, and no message stands for anything else."""
    planned_to = connection.execute(
        select(col(CampaignRow.planned_to)).where(col(CampaignRow.id) == state.id)
    ).scalar_one()
    ledger: dict[tuple[int, str], Any] = {(row.enrollment_id, row.step_key): row for row in messages}
    timezones = dict(connection.execute(select(col(Contact.id), col(Contact.timezone))).tuples().all())
    anchors = Anchors(connection, {version.campaign for version in versions.values()}, state)
    due = 0
    seen: set[tuple[int, str]] = set()
    for row in enrollments:
        if row.state == "excluded" or row.version_id not in versions:
            continue
        passed = True
        for step in versions[row.version_id].campaign.steps:
            key = (row.id, step.key)
            message = ledger.get(key)
            if step.key == row.next_step:
                passed = False
            zone_name = message.zone if message is not None else row.zone or timezones.get(row.contact_id)
            waits_for = row.counted_at if step.key == row.next_step else None
            counted_at = message.counted_at if message is not None else waits_for
            anchors.check(row, step, counted_at, findings.add)
            at = due_time(step, counted_at or row.caused_at, zone_of(zone_name, "UTC"))
            if message is not None:
                due += 1
                seen.add(key)
                if message.due_at != at:
                    findings.add("messages with another due time than their step", f"message {message.id}")
                if not passed:
                    findings.add("messages for steps that were not reached", f"message {message.id}")
            elif passed:
                due += 1
                findings.add("due steps without a message", f"enrollment {row.id} {step.key}")
            elif (
                row.state == "active" and step.key == row.next_step
                and row.next_due_at is not None and row.next_due_at != at and (row.zone is not None or step.at is None)
            ):  # fmt: skip
                findings.add("enrollments with another due time than their step", f"enrollment {row.id} {step.key}")
            elif (
                row.state == "active" and step.key == row.next_step and row.next_due_at is not None
                and planned_to is not None and at <= planned_to and row.enrolled_at <= planned_to
            ):  # fmt: skip
                due += 1
                findings.add("due steps without a message", f"enrollment {row.id} {step.key}")
    _check_repeats(enrollments, messages, findings)
    for key, message in ledger.items():
        if key not in seen:
            findings.add("messages without an enrolled step", f"message {message.id}")
    return due


def _check_repeats(enrollments: Sequence[Any], messages: Sequence[Any], findings: _Findings) -> None:
    """What a message repeats of its enrollment is still the same: else it would go to somebody else."""
    repeated = {row.id: tuple(getattr(row, name) for name in REPEATED) for row in enrollments}
    for message in messages:
        if tuple(getattr(message, name) for name in REPEATED) != repeated.get(message.enrollment_id):
            findings.add("messages that do not fit their enrollment", f"message {message.id}")


def _check_states(connection: Connection, state: State, messages: Sequence[Any], findings: _Findings) -> None:
    """States, attempts and chunks agree with each other."""
    attempts: defaultdict[int, list[Any]] = defaultdict(list)
    for attempt in connection.execute(
        select(col(Attempt.message_id), col(Attempt.number), col(Attempt.outcome))
        .join(Message, col(Message.id) == col(Attempt.message_id))
        .where(col(Message.campaign_id) == state.id)
        .order_by(col(Attempt.number))
    ):
        attempts[attempt.message_id].append(attempt)
    chunks = {row.id: row for row in connection.execute(select(Chunk).where(col(Chunk.campaign_id) == state.id))}
    for row in messages:
        tries = attempts.get(row.id, [])
        outcomes = [attempt.outcome for attempt in tries]
        if [attempt.number for attempt in tries] != list(range(1, row.attempts + 1)):
            findings.add("messages whose attempts are not all there", f"message {row.id}")
        if outcomes.count("accepted") > 1:
            findings.add("messages accepted more than once", f"message {row.id}")
        found = row.state == "accepted" and row.resolution == "found"  # by asking; the attempt may be lost (restore)
        if (row.state == "accepted") != ("accepted" in outcomes) and not found:
            findings.add("messages and attempts that disagree on accepted", f"message {row.id}")
        if (row.state == "sending") != ("" in outcomes):
            findings.add("messages and attempts that disagree on sending", f"message {row.id}")
        if row.chunk_id is not None and row.chunk_id not in chunks:
            findings.add("messages in a chunk that is not there", f"message {row.id}")
            continue
        if row.state == "sending" and (row.chunk_id is None or chunks[row.chunk_id].owner_id is None):
            findings.add("messages in hand without an owner", f"message {row.id}")
        if row.state == "planned" and row.chunk_id is None and row.not_before is None:
            findings.add("planned messages that no worker will find", f"message {row.id}")
        if row.state == "planned" and row.chunk_id is not None and chunks[row.chunk_id].state != "open":
            findings.add("planned messages in a chunk that is done", f"message {row.id}")
        if row.state == "deferred" and row.not_before is None:
            findings.add("deferred messages without a time", f"message {row.id}")
