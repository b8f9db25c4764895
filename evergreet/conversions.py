"""Conversions: who of a campaign's contacts reached its goal, and who of them is compared with whom.

Compared are contacts, each once, by intention to treat. *Held out* is whose marketing message was skipped by the
campaign's holdout; *treated* is whose marketing message passed that gate, whatever became of it afterwards. Who was
stopped before (no consent, say) is in no group, since nobody knows which one they would have been in, and
transactional steps do not count: held-out contacts get them too. Who is held out from all campaigns is a group of
its own, because other campaigns are missing there as well. A contact has converted when the goal of an enrollment's
version holds within its window, counted from what caused the enrollment.

Only enrollments of versions with one and the same holdout are compared. Over a change of it, who came back would be on
both sides and so in no group, but their like who were never held out would be among the treated: more loyal than the
held-out, whatever the campaign does.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, literal, not_, or_, select, true, union_all
from sqlmodel import col

from evergreet.audience import Scope, compile_condition, shift
from evergreet.campaign import INTERNAL, MARKETING
from evergreet.campaigns import Version
from evergreet.conditions import Condition, Did, leaves
from evergreet.lift import NOBODY, Group, Lift, lift
from evergreet.store import words
from models import Contact, ContactMerge, Enrollment, Instant, Message

BEFORE_HOLDOUT = words(
    "erased", "merged", "no_address", "suppressed", "no_consent", "contact_paused", "dormant", "campaign_stopped",
    "provider_limit",
)  # fmt: skip
"""Reasons of gates that come before the holdout (`evergreet.gates`), and of what was stopped or put off before any gate
was asked: they do not say which group a contact is in."""

CAUSE = col(Enrollment.id) == col(Message.enrollment_id)


@dataclass(frozen=True, slots=True)
class GoalFigures:
    """Conversions by contact: of all enrolled, of those treated, of those held out from the campaign and from all.

    `compared` counts the contacts enrolled under one and the same `holdout` (percent); the groups are of them.
    `changed_sides` counts those of them that were in more than one group, because the holdout of the settings was
    changed or because they were merged: they are in none. Enrollments since `even_since` know nothing of such a
    change; None: there was none. `sent_to` counts the treated to whom a marketing message went. `window` is the time
    in which the goal may be reached; None: it never ends.
    """

    enrolled: Group
    treated: Group
    held_out: Group = NOBODY
    held_out_of_all: Group = NOBODY
    holdout: float = 0
    compared: int = 0
    sent_to: int = 0
    changed_sides: int = 0
    even_since: datetime | None = None
    window: timedelta | None = None

    @property
    def lift(self) -> Lift | None:
        """What the campaign adds; None where nobody is held out from it."""
        return lift(self.treated, self.held_out)

    @property
    def lift_of_all(self) -> Lift | None:
        """What it adds together with all other campaigns; None where nobody is held out from all."""
        return lift(self.treated, self.held_out_of_all)


def conversions(
    connection: Connection, campaign_id: int, versions: list[Version], current: Version, now: datetime,
    since: datetime | None = None,
) -> GoalFigures | None:  # fmt: skip
    """Count who converted as of `now`, of enrollments caused since `since`; None where no version has a goal."""
    goals = [version.campaign.goal for version in versions if version.campaign.goal is not None]
    if not goals:
        return None
    holdout = _holdout(versions, current)
    alike = [version.id for version in versions if version.campaign.holdout == holdout or not holdout]
    each = union_all(
        *(_each(version, version.id in alike, now, since) for version in versions if version.campaign.goal is not None)
    ).subquery()
    compared = each.c.compared
    person = (
        select(
            each.c.contact_id, func.max(each.c.converted).label("converted"), func.max(each.c.open).label("open"),
            func.max(compared).label("compared"), func.max(compared * each.c.converted).label("compared_converted"),
            func.max(compared * each.c.open).label("compared_open"),
        )
        .group_by(each.c.contact_id)
        .subquery()
    )  # fmt: skip
    sides = _sides(campaign_id, alike, since).subquery()
    flags = (sides.c.treated, sides.c.held, sides.c.held_from_all)
    rows = connection.execute(
        select(
            *flags, func.sum(sides.c.sent * person.c.compared),
            func.count(), func.sum(person.c.converted), func.sum(person.c.open * (1 - person.c.converted)),
            func.sum(person.c.compared), func.sum(person.c.compared_converted),
            func.sum(person.c.compared_open * (1 - person.c.compared_converted)),
        )
        .select_from(person.outerjoin(sides, sides.c.contact_id == person.c.contact_id))
        .group_by(*flags)
    ).all()  # fmt: skip
    everybody, groups = NOBODY, dict[tuple[bool, ...], Group]()
    for row in rows:  # who has no message yet (NULL) is like who has none that says a side (0)
        side, figures = tuple(bool(flag) for flag in row[:3]), [int(figure) for figure in row[4:]]
        everybody = _together((everybody, Group(*figures[:3])))
        groups[side] = _together((groups.get(side, NOBODY), Group(*figures[3:])))
    changed_sides = sum(group.contacts for side, group in groups.items() if sum(side) > 1)
    return GoalFigures(
        enrolled=everybody,
        treated=groups.get((True, False, False), NOBODY),
        held_out=groups.get((False, True, False), NOBODY),
        held_out_of_all=groups.get((False, False, True), NOBODY),
        holdout=holdout,
        compared=_together(groups.values()).contacts,
        sent_to=sum(int(row[3]) for row in rows if tuple(row[:3]) == (1, 0, 0)),
        changed_sides=changed_sides,
        even_since=_even_since(connection, campaign_id, alike, since) if changed_sides else None,
        window=_longest(goals),
    )


def _holdout(versions: list[Version], current: Version) -> float:
    """Return the percentage that the comparison is about: the present one, or the last there was."""
    newest_last = [*(version.campaign.holdout for version in versions), current.campaign.holdout]
    return next((holdout for holdout in reversed(newest_last) if holdout), 0)


def _each(version: Version, compared: bool, now: datetime, since: datetime | None) -> Select[Any]:
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
            literal(int(compared)).label("compared"),
        )
        .select_from(Enrollment)
        .join(contact, contact.c.id == col(Enrollment.contact_id))
        .where(
            col(Enrollment.campaign_id) == version.campaign_id, _since(since),
            col(Enrollment.version_id) == version.id, col(Enrollment.state) != "excluded",
            contact.c.merged_into.is_(None),  # the other one has this enrollment as well, and is the same person
        )
    )  # fmt: skip


def _since(since: datetime | None) -> ColumnElement[bool]:
    return true() if since is None else col(Enrollment.caused_at) >= since


def _signs() -> dict[str, ColumnElement[bool]]:
    """Say what a marketing message tells of its contact's side.

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
    return {"treated": and_(passed, ~held, ~held_from_all), "held": held, "held_from_all": held_from_all}


def _messages(query: Select[Any], campaign_id: int, versions: Collection[int]) -> Select[Any]:
    """Ask, by contact, about the messages of these versions that tell of a side."""
    return (
        query.select_from(Message)
        .where(
            col(Message.campaign_id) == campaign_id, col(Message.version_id).in_(versions),
            col(Message.purpose).in_(words(str(MARKETING), str(INTERNAL))),
        )
        .group_by(col(Message.contact_id))
    )  # fmt: skip


def _sides(campaign_id: int, versions: Collection[int], since: datetime | None) -> Select[Any]:
    """Say of each contact whether a marketing message of theirs was held out, and whether one passed that gate.

    Where what happened since `since` does not tell, what was before does: who has unsubscribed because of the campaign
    is stopped before the holdout from then on, and would be missing among the treated only.
    """
    signs, lately = _signs(), _since(since)

    def any_of(condition: ColumnElement[bool]) -> ColumnElement[int]:
        return func.max(case((condition, 1), else_=0))

    told = any_of(and_(lately, or_(*signs.values()))) == 1
    flags = (
        case((told, any_of(and_(lately, sign))), else_=any_of(sign)).label(name) for name, sign in signs.items()
    )  # fmt: skip
    sent = any_of(and_(lately, col(Message.sent_at).is_not(None), signs["treated"])).label("sent")
    query = _messages(select(col(Message.contact_id), *flags, sent), campaign_id, versions)
    return query if since is None else query.join(Enrollment, CAUSE)


def _even_since(
    connection: Connection, campaign_id: int, versions: Collection[int], since: datetime | None
) -> datetime | None:
    """Return the time after which nobody changed sides, but for those who were merged."""
    signs = _signs()
    held = or_(signs["held"], signs["held_from_all"])
    last = {
        name: func.max(case((and_(_since(since), sign), col(Enrollment.caused_at)))).label(name)
        for name, sign in (("treated", signs["treated"]), ("held", held))
    }
    both = (
        _messages(select(*last.values()), campaign_id, versions)
        .join(Enrollment, CAUSE)
        .where(col(Message.contact_id).not_in(select(col(ContactMerge.survivor_id))))
        .subquery()
    )
    earlier = case((both.c.treated < both.c.held, both.c.treated), else_=both.c.held)
    found: datetime | None = connection.execute(
        select(func.max(earlier, type_=Instant())).where(both.c.treated.is_not(None), both.c.held.is_not(None))
    ).scalar_one()
    return None if found is None else found.replace(microsecond=0) + timedelta(seconds=1)


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
