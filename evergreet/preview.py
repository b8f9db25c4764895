"""Looking at a message before anyone gets it: a sample or a real contact, on a page for the browser."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from sqlalchemy import Connection, select
from sqlmodel import col

from evergreet.campaign import Purpose
from evergreet.composing import contact_of, surroundings_of
from evergreet.errors import DataError, DefinitionError
from evergreet.places import country_of
from evergreet.rendering import MessageContext, Rendered, Renderer
from evergreet.schedule import zone_of
from evergreet.settings import Settings
from evergreet.sms_rendering import RenderedSms, SmsRenderer
from evergreet.template_sources import load_template, template_root
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


def read_sample(root: str, name: str, settings: Settings) -> tuple[MessageContext, str | None]:
    """Read a template's preview.json: the sample context, and the name of the event it stands for.

    Raises DefinitionError where it is missing or says what no message has.
    """
    path = template_root(root) / name / "preview.json"
    try:
        sample = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DefinitionError(
            f"Template {name!r} has no sample: create {path} (docs/templates.md shows one)."
        ) from None
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
            f"{path}: a sample needs a purpose (transactional or marketing), occurred_at (ISO 8601) and a contact; "
            f"this one has a fault at {error}."
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
    connection: Connection, contact_id: int, sample: MessageContext, event_name: str | None, settings: Settings
) -> MessageContext:
    """Put a real contact and their newest event in the place of the sample's.

    Of the events named `event_name` where there is one, also of the business (a product that was launched), else of
    all of theirs; without any the sample's time stays.
    """
    contact = connection.execute(
        select(*Contact.__table__.columns).where(col(Contact.id) == contact_id)  # type: ignore[attr-defined]
    ).one_or_none()
    if contact is None:
        raise DataError(f"There is no contact {contact_id}.")
    of_business = col(Event.contact_id).is_(None) & (col(Event.name) == (event_name or ""))
    event = connection.execute(
        select(col(Event.properties), col(Event.occurred_at))
        .where((col(Event.contact_id) == contact_id) | of_business, ~col(Event.superseded))
        .order_by((col(Event.name) == (event_name or "")).desc(), col(Event.occurred_at).desc())
        .limit(1)
    ).one_or_none()
    return replace(
        sample,
        contact=contact_of(contact),
        event=event.properties if event else {},
        occurred_at=event.occurred_at if event else sample.occurred_at,
        locale=contact.locale or settings.default_locale,
        timezone=zone_of(contact.timezone, settings.default_timezone, country_of(contact.attributes or {})).key,
    )


def render(settings: Settings, name: str, context: MessageContext) -> Rendered | RenderedSms:
    """Render a template from its folder; an SMS as the first that somebody gets."""
    source = load_template(settings.templates, name, purpose=context.purpose)
    if source.channel == "sms":
        return SmsRenderer(source, surroundings_of(settings)).render(context, first=True)
    return Renderer(source, surroundings_of(settings)).render(context)


def write_preview(folder: Path, name: str, context: MessageContext, rendered: Rendered | RenderedSms) -> Path:
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
        "kilobytes": len(rendered.html.encode()) / 1024 if isinstance(rendered, Rendered) else 0,
    }
    shown = "preview.html" if isinstance(rendered, Rendered) else "preview_sms.html"
    page.write_text(environment.get_template(shown).render(values), encoding="utf-8")
    return page
