"""The report of a campaign: what became of each step, who converted, and what the campaign added.

It reads the stored versions only, so it needs neither the campaign's file nor Prefect. With `since` it looks at
the enrollments whose cause happened from then on.

Who is compared with whom: `evergreet.conversions`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, select
from sqlmodel import col

from evergreet.balance import Balance
from evergreet.campaign import TRANSACTIONAL
from evergreet.campaigns import State, Version
from evergreet.conversions import GoalFigures, conversions
from evergreet.errors import DataError
from evergreet.lift import Group, Lift, verdict
from models import CampaignVersion, Enrollment, Message


@dataclass(frozen=True, slots=True)
class StepFigures:
    """One step: its messages by state, and by "state: reason" where they were not accepted."""

    key: str
    purpose: str
    balance: Balance = field(default_factory=Balance)
    reasons: Mapping[str, int] = field(default_factory=dict)


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
    goal = conversions(connection, state.id, versions, current, now, since)
    return CampaignReport(
        state.name, state.state, now, since,
        enrollments=sum(count for name, count in counts.items() if name != "excluded"),
        outside_audience=counts.get("excluded", 0),
        steps=_steps(connection, state, current, since),
        goal=goal,
        sentences=tuple(_sentences(goal, current, held=any(version.campaign.holdout for version in versions))),
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


def _sentences(goal: GoalFigures | None, current: Version, *, held: bool) -> Iterable[str]:
    if goal is None:
        yield (
            "The campaign has no goal, so nobody knows who converted: write goal=did(…, within=days(…)) in its file. "
            "It counts for enrollments from then on."
        )
        return
    changed = tuple(_changes(goal))
    yield from changed if goal.even_since else ()  # first, since what follows is uneven then
    yield from _comparison(goal, current, held=held)
    yield from () if goal.even_since else changed
    if goal.window is None:
        yield "The goal has no window (within=…): all that happened after the enrollment counts, up to now."
    elif goal.enrolled.still_open:
        yield (
            f"{goal.enrolled.still_open:,} of {goal.enrolled.contacts:,} contacts may still convert within the goal's "
            "window; all are counted, with what they have done so far."
        )


def _changes(goal: GoalFigures) -> Iterable[str]:
    if goal.compared < goal.enrolled.contacts and (goal.treated.contacts or goal.held_out.contacts):
        yield (
            f"Compared are the {goal.compared:,} of {goal.enrolled.contacts:,} contacts who were enrolled with a "
            f"holdout of {goal.holdout:g}%; at other times more, fewer or none were held out."
        )
    if goal.changed_sides:
        who = "contact was" if goal.changed_sides == 1 else "contacts were"
        yield (
            f"{goal.changed_sides:,} {who} held out at one time and not at another, because EVERGREET_HOLDOUT or its "
            "salt was changed, or contacts were merged: in no group."
        )
    if goal.even_since:
        yield (
            "Their like who came but once are in a group, so the comparison is uneven. Compare what began after the "
            f"change: --since {goal.even_since:%Y-%m-%dT%H:%M:%SZ}."
        )


def _comparison(goal: GoalFigures, current: Version, *, held: bool) -> Iterable[str]:
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
    elif all(step.purpose is TRANSACTIONAL for step in current.campaign.steps):
        yield "All steps are transactional and go to everybody, so nobody is held out and there is no lift to tell."
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
        "holdout": goal.holdout,
        "compared": goal.compared,
        "sent_to": goal.sent_to,
        "changed_sides": goal.changed_sides,
        "even_since": goal.even_since,
        "window_seconds": None if goal.window is None else goal.window.total_seconds(),
        **{name: None if one is None else {**asdict(one), "certain": one.certain} for name, one in lifts.items()},
    }
