"""Looking at a message before anyone gets it: a sample or a real contact, on a page for the browser."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from jinja2 import Environment, PackageLoader
from sqlalchemy import Connection, select
from sqlmodel import col

from evergreet.campaign import Campaign, Purpose
from evergreet.campaigns import state_of, version_of
from evergreet.channels import writes_to_contacts
from evergreet.composing import contact_of, picked_for, surroundings_of
from evergreet.errors import DataError, DefinitionError
from evergreet.internal_rendering import InternalRenderer, Record, RenderedInternal
from evergreet.links import LinkWriter
from evergreet.places import country_of
from evergreet.proofreading import faults
from evergreet.rendering import MessageContext, Rendered, Renderer
from evergreet.schedule import zone_of
from evergreet.settings import Settings
from evergreet.sms_rendering import RenderedSms, SmsRenderer
from evergreet.template_sources import load_template, sample_file
from evergreet.tokens import Tokens
from models import Contact, Event

KNOWN = {
    "contact",
    "event",
    "event_name",
    "options",
    "occurred_at",
    "purpose",
    "campaign",
    "step",
    "topic",
    "picked",
    "nth",
}


SAMPLE = Record("3f0c9a6b1d5e4c7f8a2b0d9e6c4f1a73", "order_placed:1042", "shop", "c-17")
"""What a message in a preview is called by other systems."""

AnyRendered: TypeAlias = Rendered | RenderedSms | RenderedInternal


def check_samples(campaign: Campaign, settings: Settings) -> None:
    """Render the sample of every step that does not write to the contact, where its template has one.

    What comes out for it is JSON where it has to be; raises with the file and what to write.
    """
    for step in campaign.steps:
        if not writes_to_contacts(step.channel) and sample_file(settings.templates, step.template).is_file():
            context, _ = read_sample(settings.templates, step.template, settings)
            render(settings, step.template, context)


def read_sample(root: str, name: str, settings: Settings) -> tuple[MessageContext, str | None]:
    """Read a template's preview.json: the sample context, and the name of the event it stands for.

    Raises DefinitionError where it is missing or says what no message has.
    """
    path = sample_file(root, name)
    try:
        sample = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DefinitionError(
            f"Template {name!r} has no sample: create {path} (docs/templates.md shows one)."
        ) from None
    except UnicodeDecodeError:
        raise DefinitionError(f"{path}: this file is not UTF-8; save it as UTF-8.") from None
    except ValueError as error:
        raise DefinitionError(f"{path}: this is not JSON: {error}.") from None
    if not isinstance(sample, dict) or (unknown := sorted(set(sample) - KNOWN)):
        what = f"it has {unknown[0]!r}" if isinstance(sample, dict) else "it is not an object"
        raise DefinitionError(f"{path}: {what}; a sample has: {', '.join(sorted(KNOWN))}.")
    try:
        purpose, occurred_at = Purpose(sample["purpose"]), datetime.fromisoformat(sample["occurred_at"])
        contact, event = dict(sample["contact"]), dict(sample.get("event", {}))
    except (KeyError, ValueError, TypeError) as error:
        raise DefinitionError(
            f"{path}: a sample needs a purpose (transactional, marketing or internal), occurred_at (ISO 8601) and a "
            f"contact; this one has a fault at {error}."
        ) from None
    context = MessageContext(
        contact=contact,
        event=event,
        occurred_at=occurred_at,
        options=sample.get("options", {}),
        locale=contact.get("locale") or settings.default_locale,
        timezone=contact.get("timezone") or settings.default_timezone,
        purpose=purpose,
        campaign=sample.get("campaign", "preview"),
        step=sample.get("step", name.rpartition("/")[2]),
        topic=sample.get("topic"),
        unsubscribe_url=f"{settings.public_url.rstrip('/')}/u/preview" if purpose is Purpose.MARKETING else None,
        picked=sample.get("picked", {}),
        nth=sample.get("nth"),
    )
    return context, sample.get("event_name")


def for_contact(
    connection: Connection,
    contact_id: int,
    sample: MessageContext,
    event_name: str | None,
    settings: Settings,
    now: datetime,
) -> MessageContext:
    """Put a real contact and their newest event in the place of the sample's, and what the campaign has for them.

    Of the events named `event_name` where there is one, also of the business (a product that was launched), else of
    all of theirs; without any the sample's time stays. Options and picks are those of the campaign's current version,
    where the sample names one that is in the ledger. Raises DataError where there is nobody (any more).
    """
    contact = connection.execute(
        select(*Contact.__table__.columns).where(col(Contact.id) == contact_id)  # type: ignore[attr-defined]
    ).one_or_none()
    if contact is None:
        raise DataError(f"There is no contact {contact_id}.")
    if contact.erased_at is not None:
        raise DataError(f"Contact {contact_id} was erased: nothing is written to them, and there is nothing to show.")
    of_business = col(Event.contact_id).is_(None) & (col(Event.name) == (event_name or ""))
    event = connection.execute(
        select(col(Event.properties), col(Event.occurred_at))
        .where((col(Event.contact_id) == contact_id) | of_business, ~col(Event.superseded))
        .order_by((col(Event.name) == (event_name or "")).desc(), col(Event.occurred_at).desc())
        .limit(1)
    ).one_or_none()
    state = state_of(connection, sample.campaign)
    if state is not None and state.version_id is not None:
        version = version_of(connection, state.version_id)
        picks = picked_for(connection, state.id, version.campaign.picks, contact_id, now)
        sample = replace(sample, options=version.options, picked=picks)
    return replace(
        sample,
        contact=contact_of(contact),
        event=event.properties if event else {},
        occurred_at=event.occurred_at if event else sample.occurred_at,
        locale=contact.locale or settings.default_locale,
        timezone=zone_of(contact.timezone, settings.default_timezone, country_of(contact.attributes or {})).key,
    )


def render(settings: Settings, name: str, context: MessageContext) -> AnyRendered:
    """Render a template from its folder; an SMS as the first that somebody gets."""
    source = load_template(settings.templates, name, purpose=context.purpose)
    if not writes_to_contacts(source.channel):
        return InternalRenderer(source, surroundings_of(settings)).render(context, SAMPLE)
    if source.channel == "sms":
        return SmsRenderer(source, surroundings_of(settings)).render(context, first=True)
    return Renderer(source, surroundings_of(settings)).render(context)


@dataclass(frozen=True, slots=True)
class Proof:
    """How large an email's HTML is as it is sent, and what is wrong with it; nothing of either for other messages."""

    size: int = 0
    faults: tuple[str, ...] = ()

    @property
    def kilobytes(self) -> float:
        """The size of the HTML."""
        return self.size / 1024


def proofread(settings: Settings, name: str, context: MessageContext, rendered: AnyRendered) -> Proof:
    """Look a rendered message over; its links are counted as they go out, led over the page that counts clicks."""
    if not isinstance(rendered, Rendered):
        return Proof()
    html = rendered.html
    if context.purpose is Purpose.MARKETING:
        html = LinkWriter(settings, Tokens(["preview"]), context.campaign, context.step).in_html(html, 1, "0" * 32)
    size = len(html.encode())
    source = load_template(settings.templates, name, purpose=context.purpose)
    return Proof(size, tuple(faults(source, surroundings_of(settings), context, size)))


def write_preview(folder: Path, name: str, context: MessageContext, rendered: AnyRendered, proof: Proof) -> Path:
    """Write the message's parts, and a page that shows it (an email in both widths); return the page."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(rendered, Rendered):
        (folder / "message.html").write_text(rendered.html, encoding="utf-8")
    (folder / "message.txt").write_text(rendered.text, encoding="utf-8")
    environment = Environment(loader=PackageLoader("evergreet", "web/pages"), autoescape=True)
    page = folder / "preview.html"
    values: Mapping[str, Any] = {
        "name": name,
        "rendered": rendered,
        "context": context,
        "proof": proof,
    }
    pages = {Rendered: "preview.html", RenderedSms: "preview_sms.html", RenderedInternal: "preview_internal.html"}
    page.write_text(environment.get_template(pages[type(rendered)]).render(values), encoding="utf-8")
    return page
