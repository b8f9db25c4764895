"""Dormancy: who got the last word of a campaign that ends mailing, and gave no sign of life since."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, exists, false, or_, select
from sqlalchemy.orm import aliased
from sqlmodel import col

from evergreet.campaigns import Version
from evergreet.caps import OCCUPIED
from models import CampaignRow, CampaignVersion, Event, Message


@dataclass(frozen=True, slots=True)
class Ending:
    """The step after which a campaign ends mailing, and the events by which a contact comes back."""

    campaign_id: int
    step_key: str
    events: tuple[str, ...]


def ending_campaigns(connection: Connection) -> tuple[Ending, ...]:
    """Read what ends mailing: the last step of each such campaign that was ever live, by its current version."""
    rows = connection.execute(
        select(CampaignVersion)
        .join(CampaignRow, col(CampaignRow.current_version_id) == col(CampaignVersion.id))
        .where(
            col(CampaignRow.state) != "draft",
            col(CampaignVersion.definition)["campaign"]["ends_mailing"].as_boolean(),
        )
        .order_by(col(CampaignRow.id))
    )
    campaigns = [(row.campaign_id, Version.read(row).campaign) for row in rows]
    return tuple(
        Ending(
            campaign_id,
            campaign.steps[-1].key,
            tuple(dict.fromkeys(name for part in campaign.trigger.silences for name in part.broken_by)),
        )
        for campaign_id, campaign in campaigns
    )


def is_dormant(endings: tuple[Ending, ...], contact: Any, now: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Return whether a contact got the last step of one of these and did none of its events since.

    A message that may have arrived counts. Whoever came back and falls silent again is not dormant until the last
    step of that next series: the events between the two end what the first one began.
    """
    return or_(false(), *(_silent_since(ending, contact, now) for ending in endings))


def _silent_since(ending: Ending, contact: Any, now: ColumnElement[datetime]) -> ColumnElement[bool]:
    last = aliased(Message)
    came_back = exists().where(
        col(Event.contact_id) == col(last.contact_id),
        col(Event.name).in_(ending.events),
        col(Event.occurred_at) > col(last.sent_at),
        col(Event.occurred_at) <= now,
        ~col(Event.superseded),
    )
    # One row sought by contact for each message of a window: asked as EXISTS, or by an index of the campaign, a store
    # may walk through all that the campaign ever sent instead.
    found = (
        select(col(last.id))
        .where(
            col(last.contact_id) == contact.c.id,
            col(last.campaign_id) + 0 == ending.campaign_id,
            col(last.step_key) == ending.step_key,
            col(last.state).in_(OCCUPIED),
            ~came_back,
        )
        .limit(1)
        .scalar_subquery()
    )
    return found.is_not(None)
