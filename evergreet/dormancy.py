"""Dormancy: who got the last word of a campaign that ends mailing, and gave no sign of life since."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, false, literal, or_, select
from sqlalchemy.orm import aliased
from sqlmodel import col

from evergreet.campaigns import Version
from evergreet.channels import writes_to_contacts
from models import CampaignRow, CampaignVersion, Enrollment, Event, Instant, Message
from models.base import Id


@dataclass(frozen=True, slots=True)
class Ending:
    """The step after which a campaign ends mailing, its last to the contact, and the events by which one comes back.

    `others` are versions whose last step is another one, with its key: who got that as the last word keeps their peace.
    """

    campaign_id: int
    step_key: str
    events: tuple[str, ...]
    others: tuple[tuple[int, str], ...] = ()


def ending_campaigns(connection: Connection) -> tuple[Ending, ...]:
    """Read what ends mailing: the last step of each such campaign that was ever live.

    The current version says whether it does, and what ends the silence; the last step is that of the version a
    contact went through.
    """
    rows = connection.execute(
        select(CampaignVersion)
        .join(CampaignRow, col(CampaignRow.current_version_id) == col(CampaignVersion.id))
        .where(
            col(CampaignRow.state) != "draft",
            col(CampaignVersion.definition)["campaign"]["ends_mailing"].as_boolean(),
        )
        .order_by(col(CampaignRow.id))
    )
    found = []
    for row in rows.all():
        campaign = Version.read(row).campaign
        key = next(step.key for step in reversed(campaign.steps) if writes_to_contacts(step.channel))
        events = tuple(dict.fromkeys(name for part in campaign.trigger.silences for name in part.broken_by))
        found.append(Ending(row.campaign_id, key, events, _otherwise(connection, row.campaign_id, key)))
    return tuple(found)


def _otherwise(connection: Connection, campaign_id: int, key: str) -> tuple[tuple[int, str], ...]:
    """Return the versions of a campaign whose last step has another key."""
    versions = connection.execute(
        select(col(CampaignVersion.id), col(CampaignVersion.definition)["campaign"]["steps"].label("steps"))
        .where(col(CampaignVersion.campaign_id) == campaign_id)
        .order_by(col(CampaignVersion.id))
    )
    lasts = [
        (row.id, next((one["key"] for one in reversed(row.steps) if writes_to_contacts(one.get("kind", "email"))), ""))
        for row in versions
    ]
    return tuple((version, last) for version, last in lasts if last != key)


def is_dormant(endings: tuple[Ending, ...], contact: Any, now: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Return whether a contact got the last step of one of these and did none of its events since.

    A message that may have arrived counts. Since is since the silence began: who did something meanwhile, of which was
    told too late to stop the last step, was not silent. Whoever came back and falls silent again is not dormant until
    the last step of that next series: the events between the two end what the first one began.
    """
    return or_(
        false(),
        *(_last_words(ending, contact.c.id, now).limit(1).scalar_subquery().is_not(None) for ending in endings),
    )


@dataclass(frozen=True, slots=True)
class LastWord:
    """The message after which a contact gets no marketing."""

    campaign: str
    step: str
    at: datetime


def last_word(connection: Connection, contact_id: int, now: datetime) -> LastWord | None:
    """Return what ended the mailing of a contact; None where nothing did, or they came back."""
    for ending in ending_campaigns(connection):
        ids = _last_words(ending, literal(contact_id, Id), literal(now, Instant()))
        row = connection.execute(
            select(col(CampaignRow.name), col(Message.step_key), col(Message.sent_at))
            .join(CampaignRow, col(CampaignRow.id) == col(Message.campaign_id))
            .where(col(Message.id).in_(ids))
            .limit(1)
        ).one_or_none()
        if row is not None:
            return LastWord(row.name, row.step_key, row.sent_at)
    return None


def _last_words(ending: Ending, contact_id: ColumnElement[int], now: ColumnElement[datetime]) -> Select[Any]:
    """Return the last steps that a contact got and gave no sign of life after the silence before them."""
    last, passage = aliased(Message), aliased(Enrollment)
    came_back = exists().where(
        col(Event.contact_id) == col(last.contact_id),
        col(Event.name).in_(ending.events),
        col(Event.occurred_at) > col(passage.caused_at),
        col(Event.occurred_at) <= now,
        ~col(Event.superseded),
    )
    # One row sought by contact for each message of a window: asked as EXISTS, or by an index of the campaign, a store
    # may walk through all that the campaign ever sent instead.
    lasts = col(last.step_key) == ending.step_key
    if ending.others:
        otherwise = [version for version, _key in ending.others]
        lasts = or_(
            and_(lasts, col(last.version_id).not_in(otherwise)),
            *(and_(col(last.version_id) == version, col(last.step_key) == key) for version, key in ending.others),
        )
    return (
        select(col(last.id))
        .join(passage, col(passage.id) == col(last.enrollment_id))
        .where(
            col(last.contact_id) == contact_id,
            col(last.campaign_id) + 0 == ending.campaign_id,
            lasts,
            col(last.sent_at).is_not(None),
            ~came_back,
        )
    )
