"""The report of a campaign: what became of each step, who converted, and what the campaign added.

It reads the stored versions only, so it needs neither the campaign's file nor Prefect. With `since` it looks at
the enrollments whose cause happened from then on.

Who is compared: contacts, each once, by intention to treat. *Held out* is whose marketing message was skipped by the
campaign's holdout; *treated* is whose marketing message passed that gate, whatever became of it afterwards. Who was
stopped before (no consent, say) is in no group, since nobody knows which one they would have been in, and
transactional steps do not count: held-out contacts get them too. Who is held out from all campaigns is a group of
its own, because other campaigns are missing there as well. A contact has converted when the goal of an enrollment's
version holds within its window, counted from what caused the enrollment.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, literal, not_, or_, select, true, union_all
from sqlmodel import col

from evergreet.audience import Scope, compile_condition, shift
from evergreet.balance import Balance
from evergreet.campaign import INTERNAL, MARKETING
from evergreet.campaigns import State, Version
from evergreet.conditions import Condition, Did, leaves
from evergreet.errors import DataError
from evergreet.lift import NOBODY, Group, Lift, lift, verdict
from evergreet.store import words
from models import CampaignVersion, Contact, Enrollment, Instant, Message

BEFORE_HOLDOUT = words(
    "erased", "no_address", "suppressed", "no_consent", "contact_paused", "dormant", "campaign_stopped"
)
"""Reasons of gates that come before the holdout (`evergreet.gates`): they do not say which group a contact is in."""


@dataclass(frozen=True, slots=True)
class StepFigures:
    """One step: its messages by state, and by "state: reason" where they were not accepted."""

    key: str
    purpose: str
    balance: Balance = field(default_factory=Balance)
    reasons: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GoalFigures:
    """Conversions by contact: of all enrolled, of those treated, of those held out from the campaign and from all.

    `changed_sides` counts contacts that were in more than one of these groups, because the holdout was changed:
    they are in none. `sent_to` counts the treated to whom a marketing message went. `window` is the time in which the
    goal may be reached; None: it never ends.
    """

    enrolled: Group
    treated: Group
    held_out: Group = NOBODY
    held_out_of_all: Group = NOBODY
    sent_to: int = 0
    changed_sides: int = 0
    window: timedelta | None = None

    @property
    def lift(self) -> Lift | None:
        """What the campaign adds; None where nobody is held out from it."""
        return lift(self.treated, self.held_out)

    @property
    def lift_of_all(self) -> Lift | None:
        """What it adds together with all other campaigns; None where nobody is held out from all."""
        return lift(self.treated, self.held_out_of_all)


@dataclass(frozen=True, slots=True)
class CampaignReport:
    """The figures of a campaign as of `now`, and in `sentences` what they mean."""

    campaign: str
    state: str
    now: datetime
    since: datetime | None
    enrollments: int
    outside_audience: int
    steps: tuple[StepFigures, ...]
    goal: GoalFigures | None
    sentences: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the report for machines; a figure that cannot be told is null."""
        steps = [{**asdict(one), "balance": one.balance.as_dict()} for one in self.steps]
        return {**asdict(self), "steps": steps, "goal": _goal_dict(self.goal)}


def report(connection: Connection, state: State, now: datetime, since: datetime | None = None) -> CampaignReport:
    """Count a campaign's messages and conversions as of `now`; raises DataError where it has no version yet."""
    versions = [
        Version.read(row)
        for row in connection.execute(
            select(CampaignVersion)
            .where(col(CampaignVersion.campaign_id) == state.id)
            .order_by(col(CampaignVersion.id))
        )
    ]
    if not versions:
        raise DataError(f"Campaign {state.name!r} was never launched: run `evergreet launch {state.name}`.")
    current = next((version for version in versions if version.id == state.version_id), versions[-1])
    counts = dict(
        connection.execute(
            select(col(Enrollment.state), func.count()).where(_mine(state, since)).group_by(col(Enrollment.state))
        )
        .tuples()
        .all()
    )
    goal = _goal(connection, state, versions, now, since)
    return CampaignReport(
        state.name, state.state, now, since,
        enrollments=sum(count for name, count in counts.items() if name != "excluded"),
        outside_audience=counts.get("excluded", 0),
        steps=_steps(connection, state, current, since),
        goal=goal,
        sentences=tuple(_sentences(goal, held=any(version.campaign.holdout for version in versions))),
    )  # fmt: skip


def _mine(state: State, since: datetime | None) -> ColumnElement[bool]:
    mine = col(Enrollment.campaign_id) == state.id
    return mine if since is None else and_(mine, col(Enrollment.caused_at) >= since)


def _messages(query: Select[Any], state: State, since: datetime | None) -> Select[Any]:
    query = query.select_from(Message).where(col(Message.campaign_id) == state.id)
    if since is None:
        return query
    return query.join(Enrollment, col(Enrollment.id) == col(Message.enrollment_id)).where(_mine(state, since))


def _steps(connection: Connection, state: State, current: Version, since: datetime | None) -> tuple[StepFigures, ...]:
    """Count each step's messages: those of the current version in its order, then steps that only older ones had."""
    columns = (col(Message.step_key), col(Message.purpose), col(Message.state), col(Message.reason))
    purposes = {step.key: str(step.purpose) for step in current.campaign.steps}
    states: dict[str, dict[str, int]] = {key: {} for key in purposes}
    reasons: dict[str, dict[str, int]] = {key: {} for key in purposes}
    counted = _messages(select(*columns, func.count()), state, since).group_by(*columns)
    for key, purpose, of_message, reason, count in connection.execute(counted.order_by(*columns)).tuples():
        purposes.setdefault(key, purpose)
        mine = states.setdefault(key, {})
        mine[of_message] = mine.get(of_message, 0) + count
        if reason:
            named = reasons.setdefault(key, {})
            named[f"{of_message}: {reason}"] = named.get(f"{of_message}: {reason}", 0) + count
    return tuple(
        StepFigures(key, purpose, Balance(**states[key]), _largest_first(reasons.get(key, {})))
        for key, purpose in purposes.items()
    )


def _largest_first(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _goal(
    connection: Connection, state: State, versions: list[Version], now: datetime, since: datetime | None
) -> GoalFigures | None:
    asked = [_conversions(state, version, now, since) for version in versions if version.campaign.goal is not None]
    if not asked:
        return None
    each = union_all(*asked).subquery()
    person = (
        select(each.c.contact_id, func.max(each.c.converted).label("converted"), func.max(each.c.open).label("open"))
        .group_by(each.c.contact_id)
        .subquery()
    )
    sides = _sides(state, since).subquery()
    flags = (sides.c.treated, sides.c.held, sides.c.held_from_all)
    rows = connection.execute(
        select(*flags, func.sum(sides.c.sent), func.count(), func.sum(person.c.converted), func.sum(person.c.open))
        .select_from(person.outerjoin(sides, sides.c.contact_id == person.c.contact_id))
        .group_by(*flags)
    ).all()
    groups: dict[tuple[bool, ...], Group] = {}
    for row in rows:  # who has no message yet (NULL) is like who has none that says a side (0)
        side = tuple(bool(flag) for flag in row[:3])
        groups[side] = _together((groups.get(side, NOBODY), Group(*(int(figure) for figure in row[4:]))))
    return GoalFigures(
        enrolled=_together(groups.values()),
        treated=groups.get((True, False, False), NOBODY),
        held_out=groups.get((False, True, False), NOBODY),
        held_out_of_all=groups.get((False, False, True), NOBODY),
        sent_to=sum(int(row[3]) for row in rows if tuple(row[:3]) == (1, 0, 0)),
        changed_sides=sum(group.contacts for side, group in groups.items() if sum(side) > 1),
        window=_longest(version.campaign.goal for version in versions if version.campaign.goal is not None),
    )


def _conversions(state: State, version: Version, now: datetime, since: datetime | None) -> Select[Any]:
    """Say of each enrollment of a version whether it has reached the goal, and whether it still may."""
    goal = version.campaign.goal
    assert goal is not None
    contact = Contact.__table__  # type: ignore[attr-defined]
    caused_at: ColumnElement[datetime] = Enrollment.__table__.c.caused_at  # type: ignore[attr-defined]
    cause: ColumnElement[int] = Enrollment.__table__.c.cause_event_id  # type: ignore[attr-defined]
    moment = literal(now, Instant())
    reached = compile_condition(goal, Scope(contact, moment, caused_at, window_from_since=True, cause=cause))
    window = window_of(goal)
    still_open = true() if window is None else shift(caused_at, window) > moment
    return (
        select(
            col(Enrollment.contact_id),
            case((reached, 1), else_=0).label("converted"),
            case((still_open, 1), else_=0).label("open"),
        )
        .select_from(Enrollment)
        .join(contact, contact.c.id == col(Enrollment.contact_id))
        .where(_mine(state, since), col(Enrollment.version_id) == version.id, col(Enrollment.state) != "excluded")
    )


def _sides(state: State, since: datetime | None) -> Select[Any]:
    """Say of each contact whether a marketing message of theirs was held out, and whether one passed that gate.

    What our own people and systems are told for the goal, such as to call somebody, counts as one.
    """
    held, held_from_all = (
        and_(col(Message.state) == "skipped", col(Message.reason) == reason) for reason in ("holdout", "global_holdout")
    )
    passed = or_(
        col(Message.attempts) > 0,
        col(Message.state).in_(words("accepted", "sending")),
        # A message that killed its worker before the gates were asked says nothing; neither does one that a
        # restore marked unknown: these have no attempt.
        and_(col(Message.state) == "failed", not_(col(Message.reason).like("poison%"))),
        and_(col(Message.state).in_(words("skipped", "deferred")), col(Message.reason).not_in(BEFORE_HOLDOUT)),
    )
    found = select(
        col(Message.contact_id),
        func.max(case((held, 1), else_=0)).label("held"),
        func.max(case((held_from_all, 1), else_=0)).label("held_from_all"),
        func.max(case((or_(held, held_from_all), 0), (passed, 1), else_=0)).label("treated"),
        func.max(case((and_(col(Message.sent_at).is_not(None), passed), 1), else_=0)).label("sent"),
    )
    return (
        _messages(found, state, since)
        .where(col(Message.purpose).in_(words(str(MARKETING), str(INTERNAL))))
        .group_by(col(Message.contact_id))
    )  # fmt: skip


def window_of(goal: Condition) -> timedelta | None:
    """Return the time after which the goal cannot be reached any more; None where it may always be."""
    spans = [part.within.span if isinstance(part, Did) and part.within is not None else None for part in leaves(goal)]
    known = [span for span in spans if span is not None]
    return max(known) if known and len(known) == len(spans) else None


def _longest(goals: Iterable[Condition]) -> timedelta | None:
    windows = [window_of(goal) for goal in goals]
    known = [window for window in windows if window is not None]
    return max(known) if len(known) == len(windows) else None


def _together(groups: Iterable[Group]) -> Group:
    found = list(groups)
    return Group(*(sum(getattr(one, name) for one in found) for name in ("contacts", "converted", "still_open")))


def _sentences(goal: GoalFigures | None, *, held: bool) -> Iterable[str]:
    if goal is None:
        yield (
            "The campaign has no goal, so nobody knows who converted: write goal=did(…, within=days(…)) in its file. "
            "It counts for enrollments from then on."
        )
        return
    yield from _comparison(goal, held=held)
    if goal.changed_sides:
        who = "contact was" if goal.changed_sides == 1 else "contacts were"
        yield (
            f"{goal.changed_sides:,} {who} held out at one time and not at another, because the holdout was changed: "
            "in no group."
        )
    if goal.window is None:
        yield "The goal has no window (within=…): all that happened after the enrollment counts, up to now."
    elif goal.enrolled.still_open:
        yield (
            f"{goal.enrolled.still_open:,} of {goal.enrolled.contacts:,} contacts may still convert within the goal's "
            "window; all are counted, with what they have done so far."
        )


def _comparison(goal: GoalFigures, *, held: bool) -> Iterable[str]:
    found = {"those held out from it": goal.lift, "those held out from all marketing": goal.lift_of_all}
    for others, one in found.items():
        if one is not None:
            yield verdict(one, others)
            if one.relative is None and goal.treated.converted:
                yield f"None of {others} has converted, so there is no relative lift."
    if any(found.values()):
        if goal.sent_to < goal.treated.contacts:
            yield (
                f"Of the {goal.treated.contacts:,} contacts with the campaign {goal.sent_to:,} were sent a message of "
                "it; all are compared, since nobody knows who of the held-out would have been."
            )
        return
    if goal.held_out.contacts or goal.held_out_of_all.contacts:
        yield "Nobody has come through to a marketing message yet, so there is nothing to compare the held-out with."
    elif held:
        yield "Nobody has been held out yet, so the lift cannot be told."
    else:
        yield (
            "Nobody is held out, so the lift cannot be told: write holdout=10 (percent) in the campaign's file, or set "
            "EVERGREET_HOLDOUT for all campaigns."
        )


def _goal_dict(goal: GoalFigures | None) -> dict[str, Any] | None:
    if goal is None:
        return None
    groups: dict[str, Group] = {
        name: getattr(goal, name) for name in ("enrolled", "treated", "held_out", "held_out_of_all")
    }
    lifts: dict[str, Lift | None] = {"lift": goal.lift, "lift_of_all": goal.lift_of_all}
    return {
        **{name: {**asdict(one), "rate": one.rate, "interval": one.interval} for name, one in groups.items()},
        "sent_to": goal.sent_to,
        "changed_sides": goal.changed_sides,
        "window_seconds": None if goal.window is None else goal.window.total_seconds(),
        **{name: None if one is None else {**asdict(one), "certain": one.certain} for name, one in lifts.items()},
    }
