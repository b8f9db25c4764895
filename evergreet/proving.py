"""Prove a version when it is registered: its messages are made for people who are there, and looked at.

Each message is rendered both ways, as the engine will (static parts kept, what differs filled in) and by Jinja alone,
and compared byte for byte. What fails for a contact now would fail for them later, one ledger row at a time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, Select, literal, null, or_, select, true
from sqlmodel import col

from evergreet.audience import Scope, compile_condition
from evergreet.campaign import MARKETING, Campaign, Step
from evergreet.channels import reached_by, writes_to_contacts
from evergreet.composing import contact_of, surroundings_of
from evergreet.errors import EvergreetError
from evergreet.internal_rendering import InternalRenderer, Record
from evergreet.places import country_of
from evergreet.rendering import MessageContext, Renderer
from evergreet.schedule import zone_of
from evergreet.settings import Settings
from evergreet.sms_rendering import SmsRenderer
from evergreet.store import among
from evergreet.template_sources import TemplateSource
from models import Contact, Event, Instant, Transition

PEOPLE = 20
"""Contacts a step is proved for: those who met the trigger last."""

LOOKED_AT = 200
"""Of so many who met the trigger last those are taken who are in the audience."""

_Person: TypeAlias = tuple[Any, Any]
"""A contact's row, and that of the event that met the trigger, where there was one."""

FindSource: TypeAlias = Callable[[Step], TemplateSource]
"""Finds the sources of a step's template, in the store or in its folder."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of rendering one step for some contacts; `failures` are sentences that name the contact.

    `unlike` counts those for whom the two ways differed: such a template is rendered by Jinja alone.
    """

    step: str
    contacts: int
    failures: tuple[str, ...] = ()
    unlike: int = 0

    def __str__(self) -> str:
        said = f"{self.step}: "
        if not self.contacts:
            return said + "nobody to try it on yet"
        made = self.contacts - len(self.failures)
        said += f"made for {made} of the {self.contacts} contacts it was tried on"
        if self.failures:
            said += f"; not for {self.failures[0]}"
        if self.unlike:
            said += f"; {self.unlike} differed when made the quick way, so all are made by Jinja alone"
        return said

    @property
    def sound(self) -> bool:
        """Whether all of them could be made, and both ways gave the same."""
        return not self.failures and not self.unlike

    @property
    def hopeless(self) -> bool:
        """Whether it could be made for nobody, of more than an odd contact or two."""
        return 2 < self.contacts == len(self.failures)


def prove(
    connection: Connection, campaign: Campaign, options: Mapping[str, Any], source_of: FindSource, settings: Settings,
    now: datetime,
) -> list[Proof]:  # fmt: skip
    """Render every step for up to 20 contacts who met the trigger last and are in the audience; nothing is stored.

    `options` are those of the version. Where a step picks content per contact, the cases take turns.
    """
    people = _people(connection, campaign, now)
    return [_prove(campaign, step, options, source_of(step), settings, people) for step in campaign.steps]


def _prove(
    campaign: Campaign, step: Step, options: Mapping[str, Any], source: TemplateSource, settings: Settings,
    people: Sequence[_Person],
) -> Proof:  # fmt: skip
    if step.channel == "sms":
        return _prove_sms(campaign, step, options, source, settings, [one for one in people if one[0].phone])
    if not writes_to_contacts(step.channel):
        return _prove_internal(campaign, step, options, source, settings, people)
    people = [one for one in people if one[0].address]
    renderer = Renderer(source, surroundings_of(settings))
    failures: list[str] = []
    unlike = 0
    # Twice: what messages have in common is learned from the first ones, and used for those after them.
    contexts = list(_contexts(campaign, step, options, settings, people))
    for again in (False, True):
        for (row, _), context in zip(people, contexts, strict=True):
            try:
                whole, quick = renderer.render_in_full(context), renderer.render(context)
            except EvergreetError as problem:
                if not again:
                    failures.append(f"contact {row.id}: {problem}")
                continue
            unlike += (whole.subject, whole.html, whole.text) != (quick.subject, quick.html, quick.text)
    return Proof(step.key, len(people), tuple(failures), unlike + renderer.differences)


def _prove_sms(
    campaign: Campaign, step: Step, options: Mapping[str, Any], source: TemplateSource, settings: Settings,
    people: Sequence[_Person],
) -> Proof:  # fmt: skip
    renderer = SmsRenderer(source, surroundings_of(settings))
    failures: list[str] = []
    for (row, _), context in zip(people, _contexts(campaign, step, options, settings, people), strict=True):
        try:
            renderer.render(context, first=True)
        except EvergreetError as problem:
            failures.append(f"contact {row.id}: {problem}")
    return Proof(step.key, len(people), tuple(failures))


def _prove_internal(
    campaign: Campaign, step: Step, options: Mapping[str, Any], source: TemplateSource, settings: Settings,
    people: Sequence[_Person],
) -> Proof:  # fmt: skip
    renderer = InternalRenderer(source, surroundings_of(settings))
    failures: list[str] = []
    for (row, _), context in zip(people, _contexts(campaign, step, options, settings, people), strict=True):
        try:
            renderer.render(context, Record("0" * 32, "sample", row.source, row.source_id))
        except EvergreetError as problem:
            failures.append(f"contact {row.id}: {problem}")
    return Proof(step.key, len(people), tuple(failures))


def _contexts(
    campaign: Campaign, step: Step, options: Mapping[str, Any], settings: Settings, people: Sequence[_Person]
) -> Iterator[MessageContext]:
    for number, (row, event) in enumerate(people):
        contact = contact_of(row)
        yield MessageContext(
            contact=contact, event=event.properties if event else {},
            occurred_at=event.occurred_at if event else row.changed_at,
            options=options, locale=row.locale or settings.default_locale,
            timezone=zone_of(row.timezone, settings.default_timezone, country_of(contact)).key,
            purpose=step.purpose, campaign=campaign.name, step=step.key, topic=campaign.topic,
            unsubscribe_url=f"{settings.public_url.rstrip('/')}/u/sample" if step.purpose is MARKETING else None,
            picked={pick.name: dict(pick.cases[number % len(pick.cases)].value) for pick in campaign.picks},
            nth=1 + number if campaign.trigger.anniversaries else None,
        )  # fmt: skip


def _people(connection: Connection, campaign: Campaign, now: datetime) -> list[_Person]:
    """Find who met the trigger last, with the event that did it; the newest contacts for a broadcast."""
    found: dict[int, int | None] = {}
    for query in _met_last(campaign):
        for contact, event in connection.execute(query.limit(LOOKED_AT)):
            found.setdefault(contact, event)
    contact = Contact.__table__  # type: ignore[attr-defined]
    rows = connection.execute(
        select(*contact.columns)
        .where(
            among(contact.c.id, "found"), contact.c.erased_at.is_(None),
            _reached(campaign),
            compile_condition(campaign.audience, Scope(contact, literal(now, Instant()))),
        )
        .order_by(contact.c.id.desc())
        .limit(PEOPLE),
        {"found": list(found)},
    ).all()  # fmt: skip
    causes = [event for row in rows if (event := found[row.id]) is not None]
    events = {
        event.id: event
        for event in connection.execute(
            select(col(Event.id), col(Event.properties), col(Event.occurred_at)).where(among(Event.id, "causes")),
            {"causes": causes},
        )
    }
    return [(row, events.get(found[row.id] or 0)) for row in rows]


def _reached(campaign: Campaign) -> ColumnElement[bool]:
    """Return whether any step of the campaign is for a contact: by the address that its channel writes to."""
    channels = sorted({step.channel for step in campaign.steps})
    if not all(writes_to_contacts(channel) for channel in channels):
        return true()
    return or_(*(reached_by(channel).is_not(None) for channel in channels))


def _met_last(campaign: Campaign) -> Iterator[Select[Any]]:
    """Yield queries for contacts, with the event that made each meet a trigger; the last ones first."""
    trigger = campaign.trigger
    names = [
        *(part.name for part in trigger.events),
        *(name for part in trigger.silences for name in part.after),
        *(name for part in trigger.anniversaries for name in part.of),
    ]
    for name in names:
        yield (
            select(col(Event.contact_id), col(Event.id))
            .where(col(Event.name) == name, ~col(Event.superseded), col(Event.contact_id).is_not(None))
            .order_by(col(Event.occurred_at).desc())
        )
    for stage in trigger.stages:
        entered = (
            select(col(Transition.cause_event_id))
            .where(col(Transition.contact_id) == col(Contact.id), col(Transition.to_stage) == stage.stage)
            .order_by(col(Transition.id).desc())
            .limit(1)
            .correlate(Contact)
            .scalar_subquery()
        )
        yield (
            select(col(Contact.id), entered)
            .where(col(Contact.stage) == stage.stage)
            .order_by(col(Contact.stage_since).desc())
        )
    for launched in trigger.broadcasts:
        newest = (
            select(col(Event.id))
            .where(col(Event.name) == launched.name, ~col(Event.superseded), col(Event.contact_id).is_(None))
            .order_by(col(Event.occurred_at).desc())
            .limit(1)
            .scalar_subquery()
        )
        yield select(col(Contact.id), newest).where(newest.is_not(null())).order_by(col(Contact.id).desc())
