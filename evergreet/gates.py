"""Gates: the rules asked just before sending, with the contacts' rows locked.

One query gathers the facts of a window, pure functions decide. The order is fixed and the first that does
not say *go* gives the reason (DESIGN §5.5).
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, false, func, literal, select, true
from sqlalchemy.orm import aliased
from sqlmodel import col

from evergreet.audience import Scope, compile_condition
from evergreet.campaign import MARKETING, Campaign, Email
from evergreet.schedule import quiet_until, zone_of
from evergreet.settings import Settings
from evergreet.store import words
from evergreet.tokens import Tokens
from models import Consent, Contact, Enrollment, Instant, Message, Suppression

OCCUPIED = words("sending", "accepted", "unknown")
"""States in which a message may have reached its reader."""


@dataclass(frozen=True, slots=True)
class Go:
    """Send it now, to this address."""

    address: str


@dataclass(frozen=True, slots=True)
class Skip:
    """Never send it, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Defer:
    """Ask again at `until`."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Stale:
    """The contact changed since the message was rendered: render it again."""


Decision: TypeAlias = Go | Skip | Defer | Stale


@dataclass(frozen=True, slots=True)
class Rules:
    """What the gates of one step ask: the definition, the settings that limit, and the keys of erased people."""

    campaign: Campaign
    step: Email
    settings: Settings
    tokens: Tokens

    @property
    def marketing(self) -> bool:
        """Whether consent, holdout, goal, quiet hours and caps apply."""
        return self.step.purpose is MARKETING


def decide_window(
    connection: Connection, rules: Rules, messages: Sequence[int], changed: dict[int, datetime], now: datetime
) -> dict[int, Decision]:
    """Decide a window: message id → decision. `changed` says which state of each contact was rendered.

    The caller holds the locks of the contacts; this runs in a new statement after them.
    """
    rows = connection.execute(_facts(rules, messages, now)).all()
    suppressed = _suppressed(connection, rules, {row.address for row in rows if row.address})
    sent_here: Counter[int] = Counter()
    taken: set[tuple[str, str]] = set()
    decisions: dict[int, Decision] = {}
    for row in rows:
        if row.changed_at != changed[row.id]:
            decisions[row.id] = Stale()
            continue
        decision = _decide(rules, row, suppressed, sent_here[row.contact_id], taken, now)
        decisions[row.id] = decision
        if isinstance(decision, Go):
            sent_here[row.contact_id] += 1
            taken.add((row.occurrence, decision.address))
    return decisions


def _decide(  # noqa: PLR0912 - the list of gates, in the order that is promised
    rules: Rules,
    row: Any,
    suppressed: dict[str, str],
    sent_here: int,
    taken: set[tuple[str, str]],
    now: datetime,
) -> Decision:
    settings, step = rules.settings, rules.step
    if row.erased_at is not None:
        return Skip("erased")
    if row.address is None:
        return Skip("no_address")
    scope = suppressed.get(row.address)
    if scope == "all" or (scope == "marketing" and rules.marketing):
        return Skip("suppressed")
    if rules.marketing and not row.consented:
        return Skip("no_consent")
    late = step.lateness.span
    if row.paused_until is not None and row.paused_until > now:
        return _wait(row.paused_until, "contact_paused", row.due_at, late)
    if rules.marketing and held_out(rules.campaign, row.contact_id):
        return Skip("holdout")
    if rules.marketing and row.goal:
        return Skip("goal_reached")
    if row.unless:
        return Skip("unless")
    if now - row.due_at > late:
        return Skip("too_late")
    if row.duplicate or (row.occurrence, row.address) in taken:
        return Skip("duplicate_address")
    if rules.marketing:
        zone = zone_of(row.timezone, settings.default_timezone)
        if (until := quiet_until(now, zone, settings.quiet_from, settings.quiet_until)) is not None:
            return Defer(until, "quiet_hours")
        if settings.cap is not None and row.recent + sent_here >= settings.cap:
            frees = (row.oldest if row.oldest is not None else now) + timedelta(days=settings.cap_days)
            return _wait(frees, "frequency_cap", row.due_at, late)
    return Go(row.address)


def _wait(until: datetime, reason: str, due_at: datetime, lateness: timedelta) -> Decision:
    """Defer where the step would still be in time then, else skip."""
    return Defer(until, reason) if until - due_at <= lateness else Skip(reason)


def held_out(campaign: Campaign, contact_id: int) -> bool:
    """Whether a contact is in the campaign's holdout: a stable choice by hash of contact and campaign."""
    if campaign.holdout == 0:
        return False
    digest = hashlib.blake2b(f"{campaign.name}:{contact_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % 100 < campaign.holdout


def _suppressed(connection: Connection, rules: Rules, addresses: set[str]) -> dict[str, str]:
    """Return the scope of the suppression of each address, also where only the hash of an erased one is left."""
    spelled = {name: address for address in addresses for name in (address, *rules.tokens.address_hashes(address))}
    if not spelled:
        return {}
    found: dict[str, str] = {}
    for name, scope in connection.execute(
        select(col(Suppression.address), col(Suppression.scope)).where(col(Suppression.address).in_(spelled))
    ):
        address = spelled[name]
        found[address] = "all" if "all" in (scope, found.get(address)) else scope
    return found


def _facts(rules: Rules, messages: Sequence[int], now: datetime) -> Any:
    moment = literal(now, Instant())
    contact = Contact.__table__  # type: ignore[attr-defined]
    since: ColumnElement[datetime] = Enrollment.__table__.c.caused_at  # type: ignore[attr-defined]
    goal: ColumnElement[bool] = false()
    if rules.campaign.goal is not None:
        goal = compile_condition(rules.campaign.goal, Scope(contact, moment, since, window_from_since=True))
    unless: ColumnElement[bool] = false()
    if rules.step.unless is not None:
        unless = compile_condition(rules.step.unless, Scope(contact, moment, since))
    other = aliased(Message)
    duplicate = (
        select(literal(1))
        .where(
            col(other.campaign_id) == col(Message.campaign_id),
            col(other.occurrence) == col(Message.occurrence),
            col(other.step_key) == col(Message.step_key),
            col(other.address) == contact.c.address,
            col(other.id) != col(Message.id),
            col(other.state).in_(OCCUPIED),
        )
        .exists()
    )
    recent: ColumnElement[Any] = literal(0)
    oldest: ColumnElement[Any] = literal(None, Instant())
    if rules.settings.cap is not None and rules.marketing:
        counted = (
            col(other.contact_id) == col(Message.contact_id),
            col(other.id) != col(Message.id),
            col(other.purpose) == str(MARKETING),
            col(other.state).in_(OCCUPIED),
            col(other.sent_at) > now - timedelta(days=rules.settings.cap_days),
        )
        recent = select(func.count()).where(*counted).scalar_subquery()
        oldest = select(func.min(col(other.sent_at))).where(*counted).scalar_subquery()
    return (
        select(
            col(Message.id), col(Message.contact_id), col(Message.occurrence), col(Message.due_at),
            contact.c.address, contact.c.erased_at, contact.c.paused_until, contact.c.timezone, contact.c.changed_at,
            (_consented(rules.campaign.topic, contact) if rules.marketing else true()).label("consented"),
            goal.label("goal"), unless.label("unless"), duplicate.label("duplicate"),
            recent.label("recent"), oldest.label("oldest"),
        )
        .select_from(Message)
        .join(contact, contact.c.id == col(Message.contact_id))
        .join(Enrollment, col(Enrollment.id) == col(Message.enrollment_id))
        .where(col(Message.id).in_(messages))
        .order_by(col(Message.id))
    )  # fmt: skip


def _consented(topic: str | None, contact: Any) -> ColumnElement[bool]:
    newest = (
        select(col(Consent.granted))
        .where(col(Consent.contact_id) == contact.c.id, col(Consent.topic) == topic)
        .order_by(col(Consent.at).desc(), col(Consent.id).desc())
        .limit(1)
        .scalar_subquery()
    )
    return func.coalesce(newest, false())
