"""Gates: the rules asked just before sending, with the contacts' rows locked.

One query gathers the facts of a window, pure functions decide. The order is fixed and the first that does
not say *go* gives the reason (DESIGN §5.5). The query is built once for all windows of a step: to put it together
costs more than to ask it.
"""

from collections import Counter, namedtuple
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Connection, Select, String, bindparam, false, literal, null, select, true
from sqlalchemy.orm import aliased
from sqlmodel import col

from evergreet.audience import Scope, compile_condition
from evergreet.campaign import INTERNAL, MARKETING, Campaign, Step
from evergreet.caps import Limit, limits_of, own_places, place_columns, wait_for_place
from evergreet.channels import consent_topic, reached_by, writes_to_contacts
from evergreet.comparisons import DocumentText, in_document
from evergreet.consent import agreed
from evergreet.dormancy import Ending, is_dormant
from evergreet.holdout import holdout_reason
from evergreet.schedule import OpenHours, latest, longest_wait, opening, zone_of
from evergreet.settings import Settings
from evergreet.store import among, given
from evergreet.tokens import Tokens
from models import Contact, Enrollment, Instant, Message, Suppression


@dataclass(frozen=True, slots=True)
class Go:
    """Send it now, to this address of the contact; None where it goes elsewhere."""

    address: str | None


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

NEVER_OPEN = timedelta(hours=6)
"""How long a message waits, while it is in time, for somebody to change hours in which it could never go."""

HASHED = col(Suppression.address).between("hmac", "hmad") & col(Suppression.address).startswith("hmac:")
"""The suppressions of erased people: in the order of any collation they lie between these two, where an index finds."""

ANY_ERASED = select(literal(1)).where(HASHED).exists()
"""Whether there is any: only then the address of each message is hashed."""

_HASHES = given("hashes", address=String())
HASHES = select(col(Suppression.address), col(Suppression.scope)).join(
    _HASHES, _HASHES.c.address == col(Suppression.address)
)


@dataclass(frozen=True)
class Rules:
    """What the gates of one step ask: the definition, the settings that limit, and the keys of erased people.

    `endings` are the campaigns that end mailing, whichever campaign this step is of.
    """

    campaign: Campaign
    step: Step
    settings: Settings
    tokens: Tokens
    endings: tuple[Ending, ...] = ()

    @cached_property
    def marketing(self) -> bool:
        """Whether consent, dormancy, quiet hours and caps apply."""
        return self.step.purpose is MARKETING

    @cached_property
    def reaches(self) -> bool:
        """Whether it goes to the contact: then their address, suppressions and duplicates count."""
        return writes_to_contacts(self.step.channel)

    @cached_property
    def treats(self) -> bool:
        """Whether it is done to bring about the goal: then holdouts and the goal count."""
        return self.step.purpose in (MARKETING, INTERNAL)

    @cached_property
    def topic(self) -> str | None:
        """What the reader of a marketing message must have agreed to."""
        return self.campaign.topic and consent_topic(self.campaign.topic, self.step.channel)

    @cached_property
    def holds_out(self) -> bool:
        """Whether there is a holdout at all, of this campaign or of all."""
        return self.treats and bool(self.settings.holdout or self.campaign.holdout)

    @cached_property
    def hours(self) -> OpenHours | None:
        """When the step may go by the clock where the contact lives; None means always."""
        quiet = (self.settings.quiet_from, self.settings.quiet_until) if self.marketing else (None, None)
        return None if self.step.window is None and None in quiet else OpenHours(self.step.window, *quiet)

    @cached_property
    def limits(self) -> tuple[Limit, ...]:
        """The caps the step is under."""
        return limits_of(self.settings, self.campaign.topic) if self.marketing else ()

    @cached_property
    def lateness(self) -> timedelta:
        """How long after its due time, or the opening after that, a message may still go."""
        return self.step.lateness.span

    @cached_property
    def facts(self) -> Select[Any]:
        """The query for what the gates look at: a row per message of `messages`, as of `now`."""
        return _facts(self)

    @cached_property
    def own_places(self) -> Select[Any]:
        """The query for what is asked of who wants less, as of `now`."""
        return own_places(self.campaign.priority, bindparam("now", type_=Instant()))

    @cached_property
    def fact(self) -> Any:
        """A row of `facts` as a named tuple, which is asked for its fields in a tenth of the time."""
        return namedtuple("Fact", self.facts.selected_columns.keys())


def decide_window(
    connection: Connection, rules: Rules, messages: Sequence[int], changed: dict[int, datetime], now: datetime
) -> dict[int, Decision]:
    """Decide a window: message id → decision. `changed` says which state of each contact was rendered.

    The caller holds the locks of the contacts; this runs in a new statement after them.
    """
    rows = [rules.fact._make(row) for row in connection.execute(rules.facts, {"messages": messages, "now": now})]
    erased = _erased(connection, rules, rows) if rows and rows[0].any_erased else {}
    less = _asked_for_less(connection, rules, rows, now)
    sent_here: Counter[int] = Counter()
    taken: set[tuple[str, str]] = set()
    decisions: dict[int, Decision] = {}
    for row in rows:
        if row.changed_at != changed[row.id]:
            decisions[row.id] = Stale()
            continue
        decision = _decide(rules, row, erased, less.get(row.id), sent_here[row.contact_id], taken, now)
        decisions[row.id] = decision
        if isinstance(decision, Go):
            sent_here[row.contact_id] += 1
            if decision.address is not None:
                taken.add((row.occurrence, decision.address))
    return decisions


def _decide(  # noqa: PLR0912 - the list of gates, in the order that is promised
    rules: Rules,
    row: Any,
    erased: Mapping[str, str],
    own: Any,
    sent_here: int,
    taken: set[tuple[str, str]],
    now: datetime,
) -> Decision:
    if row.erased_at is not None:
        return Skip("erased" if row.merged_into is None else "merged")
    if row.passage == "merged":  # the survivor is on the way through another one
        return Skip("merged")
    if rules.reaches and row.address is None:
        return Skip("no_address")
    scopes = (row.suppressed, erased.get(row.address))
    if "all" in scopes or (rules.marketing and "marketing" in scopes):
        return Skip("suppressed")
    if rules.marketing and not row.consented:
        return Skip("no_consent")
    if row.paused_until is not None and row.paused_until > now:
        return _wait(rules, row, row.paused_until, "contact_paused")
    if row.dormant:
        return Skip("dormant")
    if rules.holds_out and (reason := _held_out(rules, row)) is not None:
        return Skip(reason)
    if rules.treats and row.goal:
        return Skip("goal_reached")
    if row.unless:
        return Skip("unless")
    if _late(rules, row, now):
        return Skip("too_late")
    if rules.reaches and (row.duplicate or (row.occurrence, row.address) in taken):
        return Skip("duplicate_address")
    if rules.hours is not None and (closed := _closed(rules, rules.hours, row, now)) is not None:
        return closed
    if (rules.limits or own is not None) and (
        wait := wait_for_place(rules.limits, row, own, sent_here, now)
    ) is not None:
        return _wait(rules, row, wait.until, wait.reason)
    return Go(row.address)


def _held_out(rules: Rules, row: Any) -> str | None:
    return holdout_reason(rules.settings, rules.campaign, row.source, row.source_id)


def _closed(rules: Rules, hours: OpenHours, row: Any, now: datetime) -> Decision | None:
    """Wait for the next moment that is in the step's window and not quiet; where there is none, for other hours."""
    zone = _zone(rules, row)
    until = opening(now, zone, hours)
    if until == now:
        return None
    reason = "send_window" if hours.outside_window(now.astimezone(zone)) else "quiet_hours"
    return _wait(rules, row, now + NEVER_OPEN, "send_window") if until is None else Defer(until, reason)


def _wait(rules: Rules, row: Any, until: datetime, reason: str) -> Decision:
    """Defer where the step would still be in time then, else skip."""
    return Skip(reason) if _late(rules, row, until) else Defer(until, reason)


def _late(rules: Rules, row: Any, at: datetime) -> bool:
    """Whether a message that goes then is later than its step may be."""
    if (late_by := at - row.due_at) <= rules.lateness:
        return False
    if rules.hours is None or late_by > rules.lateness + longest_wait(rules.step):
        return True
    return at > latest(row.due_at, rules.lateness, _zone(rules, row), rules.hours)


def _zone(rules: Rules, row: Any) -> ZoneInfo:
    return zone_of(row.timezone, rules.settings.default_timezone, row.country)


def _erased(connection: Connection, rules: Rules, rows: Sequence[Any]) -> dict[str, str]:
    """Return the scope of the suppression of each address of which only the hash is left."""
    addresses = {row.address for row in rows if row.address is not None}
    spelled = {name: address for address in addresses for name in rules.tokens.address_hashes(address)}
    found: dict[str, str] = {}
    for name, scope in connection.execute(HASHES, {"hashes": [(name,) for name in spelled]}):
        address = spelled[name]
        found[address] = "all" if "all" in (scope, found.get(address)) else scope
    return found


def _asked_for_less(connection: Connection, rules: Rules, rows: Sequence[Any], now: datetime) -> dict[int, Any]:
    """Return what there is to know of the marketing messages to who asked for less; asked only where there is one."""
    messages = [row.id for row in rows if row.spacing_days is not None] if rules.marketing else []
    if not messages:
        return {}
    return {row.id: row for row in connection.execute(rules.own_places, {"messages": messages, "now": now})}


def _facts(rules: Rules) -> Select[Any]:
    moment: ColumnElement[datetime] = bindparam("now", type_=Instant())
    contact = Contact.__table__  # type: ignore[attr-defined]
    address = reached_by(rules.step.channel)
    since: ColumnElement[datetime] = Enrollment.__table__.c.caused_at  # type: ignore[attr-defined]
    cause: ColumnElement[int] = Enrollment.__table__.c.cause_event_id  # type: ignore[attr-defined]
    goal: ColumnElement[bool] = false()
    if rules.campaign.goal is not None:
        goal = compile_condition(
            rules.campaign.goal, Scope(contact, moment, since, window_from_since=True, cause=cause)
        )
    unless: ColumnElement[bool] = false()
    if rules.step.unless is not None:
        unless = compile_condition(rules.step.unless, Scope(contact, moment, since, cause=cause))
    other = aliased(Message)
    duplicate: ColumnElement[bool] = (
        select(literal(1))
        .where(
            col(other.campaign_id) == col(Message.campaign_id),
            col(other.occurrence) == col(Message.occurrence),
            col(other.step_key) == col(Message.step_key),
            col(other.address) == address,
            col(other.id) != col(Message.id),
            col(other.sent_at).is_not(None),
        )
        .exists()
    )
    dormant: ColumnElement[bool] = false()
    if rules.marketing and rules.endings:
        dormant = is_dormant(rules.endings, contact, moment)
    country: ColumnElement[Any] = null()
    if rules.hours is not None:
        country = in_document(DocumentText, contact.c.attributes, "country")
    suppressed = select(col(Suppression.scope)).where(col(Suppression.address) == address).scalar_subquery()
    origin = (contact.c.source, contact.c.source_id) if rules.holds_out else ()
    return (
        select(
            col(Message.id), col(Message.contact_id), col(Message.occurrence), col(Message.due_at),
            col(Enrollment.reason).label("passage"), address.label("address"), contact.c.erased_at,
            contact.c.merged_into, contact.c.paused_until,
            contact.c.timezone, contact.c.changed_at, contact.c.spacing_days,
            (agreed(contact.c.id, rules.topic) if rules.marketing else true()).label("consented"),
            country.label("country"), dormant.label("dormant"), *origin,
            suppressed.label("suppressed"), ANY_ERASED.label("any_erased"),
            goal.label("goal"), unless.label("unless"), duplicate.label("duplicate"),
            *place_columns(rules.limits, rules.campaign.priority, moment),
        )
        .select_from(Message)
        .join(contact, contact.c.id == col(Message.contact_id))
        .join(Enrollment, col(Enrollment.id) == col(Message.enrollment_id))
        .where(among(Message.id, "messages"))
        .order_by(col(Message.id))
    )  # fmt: skip
