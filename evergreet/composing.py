"""From a claimed ledger row to a rendered message: what is read, and what the template sees."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import parseaddr
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, bindparam, case, func, literal, null, select
from sqlalchemy.orm import aliased
from sqlmodel import col

from evergreet.audience import Scope, compile_condition
from evergreet.campaign import MARKETING, Email, Pick, Sms, Step
from evergreet.campaigns import Version, template_source
from evergreet.channels import consent_topic
from evergreet.contracts import EmailMessage, Kind, Mailbox, SmsMessage, Split
from evergreet.feedback.words import DELIVERIES
from evergreet.links import LinkWriter
from evergreet.places import country_of
from evergreet.rendering import MessageContext, Renderer, Surroundings, kind_of
from evergreet.schedule import zone_of
from evergreet.settings import Settings
from evergreet.sms_rendering import SmsRenderer
from evergreet.store import words
from evergreet.tokens import Tokens
from models import Contact, CrmRow, Enrollment, Event, Instant, Message


class Letter(NamedTuple):
    """A planned message with all that its template needs; read before the intent, checked again in it."""

    id: int
    contact_id: int
    changed_at: datetime
    contact: dict[str, Any]
    address: str | None
    source: str
    occurrence: str
    step_key: str
    occurred_at: datetime
    event: dict[str, Any]
    picked: Mapping[str, Mapping[str, Any] | None] = {}
    first: bool = False
    """Whether it may be the first marketing SMS to this number; asked for SMS alone."""
    origin: tuple[str, str] = ("", "")
    """The contact's source, and its id there."""
    record: str = ""
    """Its id in the CRM that is asked about, empty where none is known."""

    @property
    def nth(self) -> int | None:
        """Which anniversary it is, where it is one."""
        if not self.occurrence.startswith("anniversary:"):
            return None
        return int(self.occurrence.split(":")[1])


_CAUSE, _NEWEST = aliased(Event), aliased(Event)
_CORRECTED = (
    select(col(_NEWEST.properties))
    .where(
        col(_NEWEST.source) == col(_CAUSE.source), col(_NEWEST.source_id) == col(_CAUSE.source_id),
        ~col(_NEWEST.superseded),
    )
    .scalar_subquery()
)  # fmt: skip
PLANNED = (
    select(
        col(Message.id), col(Message.contact_id), col(Message.occurrence), col(Message.step_key),
        col(Contact.changed_at), col(Contact.address), col(Contact.email), col(Contact.locale),
        col(Contact.timezone), col(Contact.attributes), col(Contact.source), col(Contact.source_id),
        col(Contact.phone), col(Enrollment.caused_at),
        case((col(_CAUSE.superseded), _CORRECTED), else_=col(_CAUSE.properties)),
    )
    .join(Contact, col(Contact.id) == col(Message.contact_id))
    .join(Enrollment, col(Enrollment.id) == col(Message.enrollment_id))
    .outerjoin(_CAUSE, col(_CAUSE.id) == col(Enrollment.cause_event_id))
    .where(col(Message.chunk_id) == bindparam("chunk"), col(Message.state) == "planned")
    .order_by(col(Message.id))
)  # fmt: skip
"""The planned messages of a chunk, with the newest revision of the event that caused each."""

_NOT_DELIVERED = {DELIVERIES[kind] for kind in (Kind.DROPPED, Kind.BLOCKED, Kind.SOFT_BOUNCED, Kind.HARD_BOUNCED)}
_EARLIER = aliased(Message)
FIRST = ~(
    select(literal(1))
    .where(
        col(_EARLIER.contact_id) == col(Contact.id), col(_EARLIER.sent_at).is_not(None),
        col(_EARLIER.channel) == "sms", col(_EARLIER.purpose) == str(MARKETING),
        col(_EARLIER.address) == col(Contact.phone), col(_EARLIER.state) == "accepted",
        func.coalesce(col(_EARLIER.delivery), "").not_in(words(*sorted(_NOT_DELIVERED))),
    )
    .exists()
)  # fmt: skip
"""Whether nothing that is certain to have left told this number how to opt out. Asked when letters are read: of two
that are on their way at once neither knows of the other, and both say it."""


_NEWEST_RECORD = (
    select(col(CrmRow.source_id))
    .where(
        col(CrmRow.contact_id) == col(Contact.id), col(CrmRow.source) == bindparam("crm"), col(CrmRow.gone_at).is_(None)
    )
    .order_by(col(CrmRow.changed_at).desc(), col(CrmRow.id).desc())
    .limit(1)
    .scalar_subquery()
)  # fmt: skip
RECORD = func.coalesce(_NEWEST_RECORD, case((col(Contact.source) == bindparam("crm"), col(Contact.source_id))))
"""What a contact is called in a CRM: by what was read from it, else where it was imported from there."""


def read_letters(
    connection: Connection,
    chunk_id: int,
    picks: Sequence[Pick] = (),
    now: datetime | None = None,
    channel: str = "email",
    crm: str | None = None,
) -> list[Letter]:
    """Read the planned messages of a chunk, with the newest revision of the event that caused each.

    `picks` are asked as of `now`; without any, `now` may be left out. `crm` names the one that tasks go to.
    """
    statement = PLANNED
    if picks and now is not None:
        statement = statement.add_columns(*(_choice(pick, now) for pick in picks))
    if by_sms := channel == "sms":
        statement = statement.add_columns(FIRST)
    if to_crm := channel == "crm":
        statement = statement.add_columns(RECORD)
    rows = connection.execute(statement, {"chunk": chunk_id, **({"crm": crm} if to_crm else {})}).all()
    # Plain tuples: by name each value costs three times as much.
    return [
        Letter(
            id_, contact_id, changed_at, _known_of(contact_id, attributes, email, phone, locale, timezone), address,
            f"{source}:{source_id}", occurrence, step_key, caused_at, properties or {},
            {pick.name: _value(pick, number) for pick, number in zip(picks, chosen, strict=False)} if picks else {},
            by_sms and bool(chosen[-1]), (source, source_id), (chosen[-1] if to_crm else None) or "",
        )
        for (
            id_, contact_id, occurrence, step_key, changed_at, address, email, locale, timezone, attributes, source,
            source_id, phone, caused_at, properties, *chosen,
        ) in rows
    ]  # fmt: skip


def picked_for(
    connection: Connection, campaign_id: int, picks: Sequence[Pick], contact_id: int, now: datetime
) -> dict[str, Mapping[str, Any] | None]:
    """Return what a campaign picks for a contact now; what counts from an enrollment counts from their newest one."""
    if not picks:
        return {}
    chosen = connection.execute(
        select(*(_choice(pick, now) for pick in picks))
        .select_from(Contact)
        .outerjoin(
            Enrollment, (col(Enrollment.contact_id) == col(Contact.id)) & (col(Enrollment.campaign_id) == campaign_id)
        )
        .where(col(Contact.id) == contact_id)
        .order_by(col(Enrollment.id).desc())
        .limit(1)
    ).one()
    return {pick.name: _value(pick, number) for pick, number in zip(picks, chosen, strict=True)}


def _choice(pick: Pick, now: datetime) -> ColumnElement[Any]:
    """Return the number of the first case that holds, NULL where none does."""
    since: ColumnElement[datetime] | None = None if pick.ever else Enrollment.__table__.c.caused_at  # type: ignore[attr-defined]
    cause: ColumnElement[int] = Enrollment.__table__.c.cause_event_id  # type: ignore[attr-defined]
    scope = Scope(Contact.__table__, literal(now, Instant()), since, cause=cause)  # type: ignore[attr-defined]
    return case(
        *((compile_condition(each.when, scope), number) for number, each in enumerate(pick.cases)), else_=null()
    )


def _value(pick: Pick, number: int | None) -> Mapping[str, Any] | None:
    return None if number is None else dict(pick.cases[number].value)


def contact_of(row: Any) -> dict[str, Any]:
    """What a template knows of a contact, from a row of its table."""
    return _known_of(row.id, row.attributes, row.email, row.phone, row.locale, row.timezone)


def _known_of(
    contact_id: int,
    attributes: Mapping[str, Any] | None,
    email: str | None,
    phone: str | None,
    locale: str | None,
    timezone: str | None,
) -> dict[str, Any]:
    """Its attributes and columns."""
    return {
        "first_name": None,
        "last_name": None,
        **(attributes or {}),
        "id": contact_id,
        "email": email,
        "phone": phone,
        "locale": locale,
        "timezone": timezone,
    }


def message_key(campaign: str, step_key: str, occurrence: str, contact: str) -> str:
    """Name a ledger row for the outside world: the same for every attempt, and also after a restore from backup.

    `contact` is its source and source id: row ids may come out differently when rows are made again.
    """
    parts = "\x1f".join((campaign, step_key, occurrence, contact))
    return hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()


class Composer:
    """Renders the emails of one step of one version; templates come from the store, never from files."""

    def __init__(
        self, connection: Connection, version: Version, step: Email, settings: Settings, tokens: Tokens
    ) -> None:
        self.version = version
        self.step = step
        self.settings = settings
        self.tokens = tokens
        self.template = version.templates[step.template]
        self.renderer = Renderer(template_source(connection, self.template), surroundings_of(settings))
        self.sender = mailbox(settings.sender)
        self.reply_to = mailbox(settings.reply_to) if settings.reply_to else None
        # What is the same for all of them is worked out once: a message costs what differs in it.
        self._name, self._topic = version.campaign.name, version.campaign.topic
        self._locale, self._timezone = settings.default_locale, settings.default_timezone
        self._links = f"{settings.public_url.rstrip('/')}/u/"
        self._kind = kind_of(step.purpose, self._name, step.key, self._topic, version.options)
        writer = LinkWriter(settings, tokens, self._name, step.key)
        self._writer = writer if writer.active and step.purpose is MARKETING else None
        self._headers = {"Feedback-ID": f"{step.key}:{self._name}:{step.purpose}:evergreet"}

    def compose(self, letter: Letter, now: datetime) -> EmailMessage:
        """Render one message; raises `RenderError` where the template and this contact do not go together."""
        contact, purpose, topic = letter.contact, self.step.purpose, self._topic
        headers, unsubscribe, left = dict(self._headers), None, ""
        if purpose is MARKETING and topic is not None:
            left = topic
            unsubscribe = self._links + self.tokens.sign_unsubscribe(letter.contact_id, topic)
            headers["List-Unsubscribe"] = f"<{unsubscribe}>"  # RFC 8058: one HTTPS address, one click
            headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        locale = contact["locale"] or self._locale
        timezone = zone_of(contact["timezone"], self._timezone, country_of(contact)).key
        key = message_key(self._name, letter.step_key, letter.occurrence, letter.source)
        to = Mailbox(letter.address or "", display_name(contact))
        known = self.renderer.split(
            self._kind,
            (contact, letter.event, letter.occurred_at, locale, timezone, unsubscribe, letter.picked, letter.nth),
        )
        if known is not None and (tracked := self._written(known[1], letter.id, key)) is not None:
            subject, split = known[0], tracked
            return EmailMessage.of_split(
                split, key=key, to=to, sender=self.sender, subject=subject, date=now, template=self.template,
                reply_to=self.reply_to, headers=headers, row=letter.id, topic=left,
            )  # fmt: skip
        rendered = self.renderer.render(
            MessageContext(
                contact=contact, event=letter.event, occurred_at=letter.occurred_at,
                options=self.version.options, locale=locale, timezone=timezone, purpose=purpose,
                campaign=self._name, step=self.step.key, topic=topic,
                unsubscribe_url=unsubscribe, picked=letter.picked, nth=letter.nth,
            )
        )  # fmt: skip
        html, whole = rendered.html, rendered.split
        if self._writer is not None:
            whole = whole and self._written(whole, letter.id, key)
            html = self._writer.in_html(html, letter.id, key) if whole is None else whole.part("html")
        return EmailMessage(
            key=key, to=to, sender=self.sender, reply_to=self.reply_to, subject=rendered.subject, html=html,
            text=rendered.text, date=now, template=self.template, headers=headers, split=whole,
            row=letter.id, topic=left,
        )  # fmt: skip

    def _written(self, split: Split, row: int, key: str) -> Split | None:
        """Return the message with its links written anew, where they are; None where it cannot be split."""
        return split if self._writer is None else self._writer.in_split(split, row, key)


class SmsComposer:
    """Renders the SMS of one step of one version; templates come from the store, never from files."""

    def __init__(self, connection: Connection, version: Version, step: Sms, settings: Settings, tokens: Tokens) -> None:
        self.version = version
        self.step = step
        self.settings = settings
        self.tokens = tokens
        self.template = version.templates[step.template]
        self.renderer = SmsRenderer(template_source(connection, self.template), surroundings_of(settings))

    def compose(self, letter: Letter, now: datetime) -> SmsMessage:
        """Render one message; raises `RenderError` where the template and this contact do not go together."""
        campaign, step, settings = self.version.campaign, self.step, self.settings
        topic, unsubscribe = "", None
        if step.purpose is MARKETING and campaign.topic is not None:
            topic = consent_topic(campaign.topic, step.channel)
            unsubscribe = (
                f"{settings.public_url.rstrip('/')}/u/{self.tokens.sign_unsubscribe(letter.contact_id, topic)}"
            )
        context = context_of(self.version, step, letter, settings, unsubscribe)
        rendered = self.renderer.render(context, first=letter.first)
        key = message_key(campaign.name, letter.step_key, letter.occurrence, letter.source)
        return SmsMessage(key, letter.contact["phone"] or "", rendered.text, now, self.template, letter.id, topic)


def context_of(
    version: Version, step: Step, letter: Letter, settings: Settings, unsubscribe: str | None = None
) -> MessageContext:
    """Return what the template of a step may speak about, for one message of it."""
    contact = letter.contact
    return MessageContext(
        contact=contact, event=letter.event, occurred_at=letter.occurred_at, options=version.options,
        locale=contact["locale"] or settings.default_locale,
        timezone=zone_of(contact["timezone"], settings.default_timezone, country_of(contact)).key,
        purpose=step.purpose, campaign=version.campaign.name, step=step.key, topic=version.campaign.topic,
        unsubscribe_url=unsubscribe, picked=letter.picked, nth=letter.nth,
    )  # fmt: skip


def mailbox(written: str) -> Mailbox:
    """Read `Name <address>`."""
    name, address = parseaddr(written)
    return Mailbox(address, name)


def display_name(contact: Mapping[str, Any]) -> str:
    """The name to write before the address; empty where there is none."""
    names: Sequence[Any] = (contact.get("first_name"), contact.get("last_name"))
    return " ".join(str(name).strip() for name in names if name)


def surroundings_of(settings: Settings) -> Surroundings:
    """What every message of this installation says about its sender."""
    return Surroundings(company=settings.company, postal_address=settings.postal_address, site_url=settings.site_url)
