"""What a person may choose about our email: topics, how often, a pause, or none of it at all. SMS ends with STOP."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select
from sqlmodel import col

from evergreet import consent, mailboxes
from evergreet.campaign import MARKETING
from evergreet.channels import SMS_TOPIC
from models import CampaignRow, CampaignVersion, Consent, Contact, Suppression

PAUSES = (7, 30, 90)
"""Days that somebody may pause for."""


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a contact chose so far; `topics` says for each whether they get mail about it, in alphabetical order.

    `spacing_days`: at most one marketing message in so many days; None is as usual.
    `silenced`: the address is suppressed for another cause than its reader's wish, and nothing chosen here changes it.
    """

    contact_id: int
    email: str | None
    locale: str | None
    timezone: str | None
    topics: Mapping[str, bool]
    paused_until: datetime | None
    spacing_days: int | None
    silenced: bool


@dataclass(frozen=True, slots=True)
class Spacing:
    """How often somebody wants to be written to, and the words that stood there."""

    days: int | None
    wording: str


def preferences_of(connection: Connection, contact_id: int, now: datetime) -> Preferences | None:
    """Read what a contact chose about the topics they ever decided on and those of live campaigns.

    None where there is no such contact, or nobody any more. One that was merged is who has taken its place.
    """
    contact_id = mailboxes.standing_for(connection, contact_id)
    contact = connection.execute(
        select(
            col(Contact.email), col(Contact.locale), col(Contact.timezone), col(Contact.paused_until),
            col(Contact.spacing_days), col(Contact.erased_at), col(Suppression.scope), col(Suppression.reason),
        )
        .outerjoin(Suppression, col(Suppression.address) == col(Contact.address))
        .where(col(Contact.id) == contact_id)
    ).one_or_none()  # fmt: skip
    if contact is None or contact.erased_at is not None:
        return None
    decided = connection.execute(
        select(col(Consent.topic), col(Consent.granted))
        .where(col(Consent.contact_id) == contact_id)
        .order_by(col(Consent.at), col(Consent.id))
    )
    chosen = dict.fromkeys(_live_topics(connection), False) | {
        row.topic: row.granted for row in decided if not row.topic.endswith(SMS_TOPIC)
    }
    if contact.scope is not None:
        chosen = dict.fromkeys(chosen, False)
    paused = contact.paused_until if contact.paused_until is not None and contact.paused_until > now else None
    return Preferences(
        contact_id, contact.email, contact.locale, contact.timezone, dict(sorted(chosen.items())), paused,
        contact.spacing_days,
        silenced=contact.scope is not None and contact.reason != consent.EVERYTHING,
    )  # fmt: skip


def _live_topics(connection: Connection) -> set[str]:
    """Return the topics that live campaigns send marketing emails about."""
    rows = connection.execute(
        select(col(CampaignVersion.definition))
        .join(CampaignRow, col(CampaignRow.current_version_id) == col(CampaignVersion.id))
        .where(col(CampaignRow.state) == "live")
    )
    campaigns = [row.definition["campaign"] for row in rows]
    return {
        campaign["topic"]
        for campaign in campaigns
        if campaign["topic"] and any(map(_is_marketing_email, campaign["steps"]))
    }


def _is_marketing_email(step: Mapping[str, Any]) -> bool:
    return step.get("purpose") == str(MARKETING) and step.get("kind", "email") == "email"


def choose(
    connection: Connection,
    before: Preferences,
    topics: Collection[str],
    wordings: Mapping[str, str],
    pause_days: int | None,
    spacing: Spacing | None,
    *,
    at: datetime,
    source: str,
) -> None:
    """Record which of the topics that were shown (`wordings`: what stood there) somebody wants, a pause, how often.

    `pause_days` None leaves a pause as it is, 0 ends it; `spacing` None leaves how often. What they decide holds for
    everybody who has the address.
    """
    contact = before.contact_id
    for topic in sorted(wordings.keys() & before.topics.keys()):
        wanted = topic in topics
        if not wanted:
            consent.unsubscribe(connection, contact, topic, at=at, source=source, wording=wordings[topic])
        elif not before.topics[topic]:
            consent.resubscribe(connection, contact, topic, at=at, source=source, wording=wordings[topic])
    if pause_days is not None and (pause_days or before.paused_until is not None):
        until = at + timedelta(days=pause_days) if pause_days else None
        address = connection.execute(select(col(Contact.address)).where(col(Contact.id) == contact)).scalar_one()
        for each in mailboxes.contacts_of(connection, address) if address is not None else [contact]:
            consent.pause_contact(connection, each, until, at=at)
    if spacing is not None and spacing.days != before.spacing_days:
        consent.choose_spacing(connection, contact, spacing.days, at=at, source=source, wording=spacing.wording)
