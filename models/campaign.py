"""Campaigns, their versions, and how far each has scanned."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlmodel import Field

from models.base import Id, Instant, Json, Table


class CampaignRow(Table, table=True):
    """A campaign's state and cursor. It enrolls only what happened from `live_since` on.

    `scanned_from` and `scanned_to` repeat the ends of its stretches, so that the loss of one shows;
    `clock_from` and `clock_to` do so for what follows the clock; `planned_to` is the moment up to which
    everything due has a message. `priority` says which of several campaigns is first at one place (1 lifecycle,
    2 broadcast). Messages due between `held_since`
    and `held_until` are unknown from the start (`evergreet hold`, after a restore). `state_by` says who set
    the state: a person, the engine, or prefect.
    """

    __tablename__ = "campaign"
    __table_args__ = (
        UniqueConstraint("name"),
        CheckConstraint("state IN ('draft', 'live', 'paused', 'stopped', 'archived')", name="state"),
    )

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    name: str = Field(max_length=100)
    state: str = Field(default="draft", max_length=20)
    state_reason: str = Field(default="", max_length=500)
    state_by: str = Field(default="", max_length=20)
    live_since: datetime | None = Field(default=None, sa_type=Instant)
    scanned_from: int | None = Field(default=None, sa_type=Id)
    scanned_to: int | None = Field(default=None, sa_type=Id)
    clock_from: datetime | None = Field(default=None, sa_type=Instant)
    clock_to: datetime | None = Field(default=None, sa_type=Instant)
    priority: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    planned_to: datetime | None = Field(default=None, sa_type=Instant)
    held_since: datetime | None = Field(default=None, sa_type=Instant)
    held_until: datetime | None = Field(default=None, sa_type=Instant)
    current_version_id: int | None = Field(default=None, sa_type=Id)
    created_at: datetime = Field(sa_type=Instant)


class CampaignVersion(Table, table=True):
    """The whole canonical definition of a campaign, by content hash: old enrollments run from it."""

    __tablename__ = "campaign_version"
    __table_args__ = (UniqueConstraint("campaign_id", "hash"),)

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    campaign_id: int = Field(foreign_key="campaign.id", sa_type=Id)
    hash: str = Field(max_length=64)
    definition: dict[str, Any] = Field(sa_type=Json, nullable=False)
    created_at: datetime = Field(sa_type=Instant)


class TemplateVersion(Table, table=True):
    """The sources of one message template and all it includes, by content hash."""

    __tablename__ = "template_version"
    __table_args__ = (UniqueConstraint("hash"),)

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    name: str = Field(max_length=200)
    hash: str = Field(max_length=64)
    sources: dict[str, Any] = Field(sa_type=Json, nullable=False)
    created_at: datetime = Field(sa_type=Instant)


class Stretch(Table, table=True):
    """A stretch of ingest positions, `low` ≤ position < `high`, and what a campaign did with it.

    `scan`: everything in it that happened at or after `since` was enrolled. `gap`: passed over, because the
    campaign was not live. Both together are contiguous. `backfill`: history taken in on request.
    """

    __tablename__ = "stretch"
    __table_args__ = (
        Index("uq_stretch_contiguous", "campaign_id", "low", unique=True,
              sqlite_where=text("kind <> 'backfill'"), postgresql_where=text("kind <> 'backfill'")),
        CheckConstraint("kind IN ('scan', 'gap', 'backfill')", name="kind"),
        CheckConstraint("low < high", name="forward"),
    )  # fmt: skip

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    campaign_id: int = Field(foreign_key="campaign.id", sa_type=Id)
    kind: str = Field(default="scan", max_length=20)
    low: int = Field(sa_type=Id)
    high: int = Field(sa_type=Id)
    since: datetime = Field(sa_type=Instant)
    enrolled: int = Field(default=0, sa_type=Id)
    at: datetime = Field(sa_type=Instant)


class ClockStretch(Table, table=True):
    """A stretch of time, `low` ≤ moment < `high`, that a campaign looked at for what falls due by the clock.

    `kind` is that of a `Stretch`, and so is `enrolled`: silences, anniversaries and broadcasts are counted here.
    """

    __tablename__ = "clock_stretch"
    __table_args__ = (
        Index("uq_clock_stretch_contiguous", "campaign_id", "low", unique=True,
              sqlite_where=text("kind <> 'backfill'"), postgresql_where=text("kind <> 'backfill'")),
        CheckConstraint("kind IN ('scan', 'gap', 'backfill')", name="kind"),
        CheckConstraint("low < high", name="forward"),
    )  # fmt: skip

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    campaign_id: int = Field(foreign_key="campaign.id", sa_type=Id)
    kind: str = Field(default="scan", max_length=20)
    low: datetime = Field(sa_type=Instant)
    high: datetime = Field(sa_type=Instant)
    enrolled: int = Field(default=0, sa_type=Id)
    at: datetime = Field(sa_type=Instant)


class Broadcast(Table, table=True):
    """One business event and the audience that a campaign writes to because of it.

    `waiting`: `counted` contacts are more than may go without a person's word. `frozen`: the `frozen` contacts of
    the audience were enrolled in one transaction at `frozen_at`. `cancelled`: nobody was.
    """

    __tablename__ = "broadcast"
    __table_args__ = (
        UniqueConstraint("campaign_id", "occurrence"),
        CheckConstraint("state IN ('waiting', 'frozen', 'cancelled')", name="state"),
    )

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    campaign_id: int = Field(foreign_key="campaign.id", sa_type=Id)
    occurrence: str = Field(max_length=400)
    event_id: int = Field(foreign_key="event.id", sa_type=Id)
    version_id: int = Field(foreign_key="campaign_version.id", sa_type=Id)
    state: str = Field(default="waiting", max_length=20)
    counted: int = Field(default=0, sa_type=Id)
    frozen: int | None = Field(default=None, sa_type=Id)
    frozen_at: datetime | None = Field(default=None, sa_type=Instant)
    decided_by: str = Field(default="", max_length=200)
    at: datetime = Field(sa_type=Instant)


class AuditLog(Table, table=True):
    """Who launched, paused, changed, held, retried or erased what."""

    __tablename__ = "audit_log"

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    at: datetime = Field(sa_type=Instant)
    actor: str = Field(max_length=200)
    action: str = Field(max_length=100)
    subject: str = Field(max_length=300)
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=Json, nullable=False)
