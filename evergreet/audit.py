"""The audit: recompute what was due, independently of the engine, and compare both ways.

It reads events, transitions, versions and stretches in plain Python, one contact at a time (`audit_streams`), and
shares no query with `enrollment` or `planning`; only the meaning of a due time (`schedule.due_time`) is the same. Each
finding is a sentence; a clean audit has none.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, text
from sqlmodel import col

from evergreet.audit_clock import Anchors, Broadcasts, met_by_clock
from evergreet.audit_rows import tallied_otherwise, without_reference
from evergreet.audit_scans import ClockStretches, read_scans
from evergreet.audit_streams import OfContact, by_contact
from evergreet.campaign import Campaign, Step, Trigger
from evergreet.campaigns import State, Version, required, states
from evergreet.causes import OCCURRENCE_LENGTH, key_in
from evergreet.clock import Clock
from evergreet.database import Database
from evergreet.schedule import due_time, zone_of
from models import CampaignRow, CampaignVersion

SAMPLE = 5


@dataclass(frozen=True, slots=True)
class Audit:
    """What the audit of one campaign found: due messages as recomputed and as in the ledger, and the findings.

    `waiting` counts steps whose time has come and that no run has planned yet.
    """

    campaign: str
    enrollments: int
    due: int
    in_ledger: int
    waiting: int = 0
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


def audit(database: Database, clock: Clock, campaign: str | None = None) -> list[Audit]:
    """Audit every campaign, or the one of that name, in one snapshot; memory does not grow with the ledger.

    Raises EvergreetError where no campaign has that name.
    """
    with database.read() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            connection.execute(text("SET LOCAL cursor_tuple_fraction = 1"))  # all rows are wanted, not the first soon
        now = clock.now(connection)
        which = states(connection) if campaign is None else [required(connection, campaign)]
        return [audit_campaign(connection, state, now) for state in which]


def audit_campaign(connection: Connection, state: State, now: datetime) -> Audit:
    """Audit one campaign in the transaction of the connection."""
    return _Examination(connection, state, now).result()


@dataclass(frozen=True, slots=True)
class _Reading:
    """Versions with the same triggers, which name occurrences alike; `campaign` is one of them."""

    campaign: Campaign
    versions: frozenset[int]


class _Examination:
    """One pass over a campaign's contacts."""

    def __init__(self, connection: Connection, state: State, now: datetime) -> None:
        self.connection, self.state, self.now = connection, state, now
        self.findings = _Findings()
        rows = connection.execute(select(CampaignVersion).where(col(CampaignVersion.campaign_id) == state.id)).all()
        self.versions = {row.id: Version.read(row) for row in rows}
        self.campaigns = list(dict.fromkeys(version.campaign for version in self.versions.values()))
        self.readings = _readings(self.versions)
        self.alike = len(self.readings) == 1
        self.always = _always(self.readings)
        self.by_clock = [one.campaign for one in self.readings if one.campaign.trigger.by_clock]
        self.anchors = {step.counted_from for one in self.campaigns for step in one.steps if step.counted_from}
        self.scans = read_scans(connection, state, rows, alike=self.alike)
        self.clock = ClockStretches(connection, state)
        self.broadcasts = Broadcasts(connection, state)
        self.planned_to = connection.execute(
            select(col(CampaignRow.planned_to)).where(col(CampaignRow.id) == state.id)
        ).scalar_one()
        self.enrollments = self.messages = self.due = self.waiting = 0

    def result(self) -> Audit:
        """Look at everything once."""
        add = self.findings.add
        for gap in self.scans.gaps:
            add("stretches of the cursor are missing", gap)
        for gap in self.clock.gaps:
            add("stretches of the clock are missing", gap)
        for rows in by_contact(self.connection, self.state.id, self.campaigns):
            self._check_triggers(rows)
            self._check_due(rows)
        for fault in self.broadcasts.faults(self.connection, self.campaigns, self.scans):
            add("broadcasts and their audiences disagree", fault)
        for what in tallied_otherwise(self.connection, self.state.id):
            add("messages that the tally counts otherwise", what)
        for what in without_reference(self.connection, self.state.id):
            add("rows that refer to what is not there", what)
        counted = self.scans.enrolled + self.clock.enrolled + self.broadcasts.enrolled
        if counted != self.enrollments:
            add("enrollments that stretches counted otherwise", f"{counted} counted, {self.enrollments} there")
        return Audit(
            self.state.name, self.enrollments, self.due, self.messages, self.waiting, self.findings.sentences()
        )

    def _check_triggers(self, rows: OfContact) -> None:
        """Everything that met a trigger in a scanned stretch has its enrollment, and no enrollment is without cause."""
        have = {row.occurrence for row in rows.enrollments}
        explained: set[str] = set()
        for position, at, names in self._met(rows):
            for scan in self.scans.over(position, at):
                explained.update(name for name in names if name is not None)
                by = [
                    name
                    for name, reading in zip(names, self.readings, strict=True)
                    if self.alike or not reading.versions.isdisjoint(scan.versions)
                ]
                if by and None not in by and have.isdisjoint(by):
                    self.findings.add("triggers without an enrollment", f"contact {rows.contact_id} {by[0]}")
                    break
        for campaign in self.by_clock:
            for met in met_by_clock(campaign, self.always, self.state, self.clock, rows):
                if met.covered:
                    explained.update(met.names)
                    if met.certain and have.isdisjoint(met.names):
                        what = f"contact {rows.contact_id} {met.names[0]}"
                        self.findings.add("triggers without an enrollment", what)
        for row in rows.enrollments:
            self.enrollments += 1
            if not self.broadcasts.explain(row) and row.occurrence not in explained and not row.kept:
                self.findings.add("enrollments outside every scanned stretch", f"enrollment {row.id} {row.occurrence}")

    def _met(self, rows: OfContact) -> Iterator[tuple[int, datetime, list[str | None]]]:
        """Yield what may have met a trigger by being ingested: where, when, and its occurrence in each reading."""
        for event in rows.events:
            if event.revision == 0:
                yield event.position, event.occurred_at, [_of_event(one.campaign, event) for one in self.readings]
        for move in rows.moves:
            yield move.position, move.at, [_of_move(one.campaign, move) for one in self.readings]

    def _check_due(self, rows: OfContact) -> None:
        """Every step that was due has one message with the right due time, and no message stands for anything else."""
        add = self.findings.add
        ledger = self._ledger(rows)
        repeated = {row.id: (row.version_id, row.contact_id, row.occurrence) for row in rows.enrollments}
        for message in ledger.values():  # else it would go to somebody else
            if (message.version_id, message.contact_id, message.occurrence) != repeated.get(message.enrollment_id):
                add("messages that do not fit their enrollment", f"message {message.id}")
        anchors = Anchors(self.anchors, rows.events)
        for row in rows.enrollments:
            if row.version_id not in self.versions:
                add("enrollments of a version that is not there", f"enrollment {row.id}")
            elif row.state != "excluded":
                self._check_steps(row, ledger, anchors)
        for message in ledger.values():
            add("messages without an enrolled step", f"message {message.id}")

    def _check_steps(self, row: Any, ledger: dict[tuple[int, str], Any], anchors: Anchors) -> None:
        """Take an enrollment's messages out of `ledger`, step by step."""
        add = self.findings.add
        passed = True
        for step in self.versions[row.version_id].campaign.steps:
            message = ledger.pop((row.id, step.key), None)
            is_next = step.key == row.next_step
            passed = passed and not is_next
            counted_at = message.counted_at if message is not None else row.counted_at if is_next else None
            if counted_at is not None and not row.kept and not anchors.tell(row, step, counted_at):
                add("steps counted from a moment that no event tells", f"enrollment {row.id} {step.key}")
            at = _due(step, row, message, counted_at)
            if message is not None:
                self.due += 1
                if message.due_at != at:
                    add("messages with another due time than their step", f"message {message.id}")
                if not passed:
                    add("messages for steps that were not reached", f"message {message.id}")
            elif passed:
                self.due += 1
                add("due steps without a message", f"enrollment {row.id} {step.key}")
            elif is_next and row.state == "active" and row.next_due_at is not None:
                self._check_coming(row, step, at)

    def _check_coming(self, row: Any, step: Step, at: datetime) -> None:
        """The next step of an enrollment waits for its time, or for the next run."""
        if row.next_due_at != at and (row.zone is not None or step.at is None):
            self.findings.add("enrollments with another due time than their step", f"enrollment {row.id} {step.key}")
        elif self.planned_to is not None and at <= self.planned_to and row.enrolled_at <= self.planned_to:
            self.due += 1
            self.findings.add("due steps without a message", f"enrollment {row.id} {step.key}")
        elif at <= self.now:
            self.waiting += 1

    def _ledger(self, rows: OfContact) -> dict[tuple[int, str], Any]:
        """Return the messages by enrollment and step; the states of each agree with its attempts and its chunk."""
        found: dict[tuple[int, str], Any] = {}
        tries: list[Any] = []
        for place, row in enumerate(rows.messages, start=1):
            if row.number is not None:
                tries.append(row)
            if place == len(rows.messages) or rows.messages[place].id != row.id:
                self.messages += 1
                found[row.enrollment_id, row.step_key] = row
                self._check_state(row, tries)
                tries = []
        return found

    def _check_state(self, row: Any, tries: Sequence[Any]) -> None:
        """State, attempts and chunk of a message agree with each other."""
        add = self.findings.add
        outcomes = [attempt.outcome for attempt in tries]
        if [attempt.number for attempt in tries] != list(range(1, row.attempts + 1)):
            add("messages whose attempts are not all there", f"message {row.id}")
        if outcomes.count("accepted") > 1:
            add("messages accepted more than once", f"message {row.id}")
        # By asking or by being told; the attempt may be lost (restore).
        found = row.state == "accepted" and row.resolution in {"found", "webhook", "repeated"}
        if (row.state == "accepted") != ("accepted" in outcomes) and not found:
            add("messages and attempts that disagree on accepted", f"message {row.id}")
        if (row.state == "sending") != ("" in outcomes):
            add("messages and attempts that disagree on sending", f"message {row.id}")
        to_go = row.state in {"planned", "sending"} and row.chunk_id is not None
        if to_go and row.chunk_state is None:
            add("messages in a chunk that is not there", f"message {row.id}")
        elif to_go and (row.chunk_version_id, row.chunk_step_key) != (row.version_id, row.step_key):
            add("messages in a chunk of another step, by which they would be made", f"message {row.id}")
        elif row.state == "sending" and row.owner_id is None:
            add("messages in hand without an owner", f"message {row.id}")
        elif row.state == "planned" and row.chunk_id is None and row.not_before is None:
            add("planned messages that no worker will find", f"message {row.id}")
        elif row.state == "planned" and row.chunk_id is not None and row.chunk_state != "open":
            add("planned messages in a chunk that is done", f"message {row.id}")
        elif row.state == "deferred" and row.not_before is None:
            add("deferred messages without a time", f"message {row.id}")


def _readings(versions: dict[int, Version]) -> list[_Reading]:
    """Group the versions by what decides whom they enroll, and under which name."""
    groups: defaultdict[Any, list[Version]] = defaultdict(list)
    for version in versions.values():
        groups[version.campaign.trigger, version.campaign.re_entry == "once"].append(version)
    return [_Reading(group[0].campaign, frozenset(version.id for version in group)) for group in groups.values()]


def _always(readings: Sequence[_Reading]) -> frozenset[Trigger]:
    """Return the triggers that all versions have and name alike: who met one was enrolled, whichever version ran."""
    if len({reading.campaign.re_entry == "once" for reading in readings}) != 1:
        return frozenset()
    return frozenset.intersection(*(frozenset(reading.campaign.trigger.parts) for reading in readings))


def _of_event(campaign: Campaign, event: Any) -> str | None:
    if not any(trigger.name == event.name for trigger in campaign.trigger.events):
        return None
    return _occurrence(campaign, event)


def _of_move(campaign: Campaign, move: Any) -> str | None:
    if not any(trigger.stage == move.to_stage for trigger in campaign.trigger.stages):
        return None
    if move.event_id is None and campaign.re_entry != "once":
        return f"transition:{move.id}"
    return _occurrence(campaign, move)


def _occurrence(campaign: Campaign, event: Any) -> str:
    if campaign.re_entry == "once":
        return "once"
    for trigger in campaign.trigger.events:
        if trigger.name == event.name and (value := key_in(event.properties, trigger.key)) is not None:
            return f"{trigger.thing}:{value}"[:OCCURRENCE_LENGTH]
    return f"event:{event.source}:{event.source_id}"[:OCCURRENCE_LENGTH]


def _due(step: Step, row: Any, message: Any, counted_at: datetime | None) -> datetime:
    zone = (None if message is None else message.zone) or row.zone or row.timezone
    return due_time(step, counted_at or row.caused_at, zone_of(zone, "UTC"))
