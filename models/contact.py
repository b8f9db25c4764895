"""Contacts and what they agreed to."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlmodel import Field

from models.base import Id, Instant, Json, Table


class Contact(Table, table=True):
    """A person: address, place, free attributes and the stage of life with us they are in.

    `email` is the address as written, `address` its normalised form (what suppression, caps and
    duplicates compare); `phone` is E.164, and for SMS what the address is for email. Names are attributes:
    `first_name`, `last_name`. `changed_at` moves with every change that matters to a message in hand. `told_at` says
    when a value was last changed, by the column's name or by an attribute's with a dot before it; what is not in it is
    as old as the contact. `merged_into` is who has taken this contact's place: then it is as empty as one that was
    erased, since `erased_at`. `spacing_days` is what the newest `FrequencyChoice` says, kept here so that a gate finds
    it in the row it reads anyway.
    """

    __tablename__ = "contact"
    __table_args__ = (
        UniqueConstraint("source", "source_id"),
        Index("ix_contact_address", "address", sqlite_where=text("address IS NOT NULL"),
              postgresql_where=text("address IS NOT NULL")),
        Index("ix_contact_phone", "phone", sqlite_where=text("phone IS NOT NULL"),
              postgresql_where=text("phone IS NOT NULL")),
        Index("ix_contact_stage", "stage", "stage_since"),
        Index("ix_contact_position", "position"),
        Index("ix_contact_merged_into", "merged_into", sqlite_where=text("merged_into IS NOT NULL"),
              postgresql_where=text("merged_into IS NOT NULL")),
    )  # fmt: skip

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    source: str = Field(max_length=100)
    source_id: str = Field(max_length=255)
    email: str | None = Field(default=None, max_length=320)
    address: str | None = Field(default=None, max_length=320)
    phone: str | None = Field(default=None, max_length=20)
    locale: str | None = Field(default=None, max_length=35)
    timezone: str | None = Field(default=None, max_length=64)
    attributes: dict[str, Any] = Field(default_factory=dict, sa_type=Json, nullable=False)
    told_at: dict[str, str] | None = Field(default=None, sa_type=Json)
    content_hash: str = Field(default="", max_length=64)
    stage: str | None = Field(default=None, max_length=100)
    stage_since: datetime | None = Field(default=None, sa_type=Instant)
    paused_until: datetime | None = Field(default=None, sa_type=Instant)
    spacing_days: int | None = Field(default=None)
    erased_at: datetime | None = Field(default=None, sa_type=Instant)
    merged_into: int | None = Field(default=None, sa_type=Id)
    created_at: datetime = Field(sa_type=Instant)
    changed_at: datetime = Field(sa_type=Instant)
    position: int = Field(sa_type=Id)


class Consent(Table, table=True):
    """Who agreed to what, or took it back: when, how and in which wording. The newest row per topic counts."""

    __tablename__ = "consent"
    __table_args__ = (
        UniqueConstraint("contact_id", "topic", "at", "granted", "source"),
        Index("ix_consent_contact_id_topic_id", "contact_id", "topic", "id"),
    )

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    contact_id: int = Field(foreign_key="contact.id", sa_type=Id)
    topic: str = Field(max_length=100)
    granted: bool
    at: datetime = Field(sa_type=Instant)
    source: str = Field(max_length=100)
    wording: str = Field(default="", max_length=2000)


class FrequencyChoice(Table, table=True):
    """Who asked for less marketing, or for as much as usual again: when, how and in which wording; the newest counts.

    At most one marketing message in any `spacing_days` days; None is as usual.
    """

    __tablename__ = "frequency_choice"
    __table_args__ = (
        CheckConstraint("spacing_days > 0", name="spacing_days"),
        Index("ix_frequency_choice_contact_id", "contact_id"),
    )

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    contact_id: int = Field(foreign_key="contact.id", sa_type=Id)
    spacing_days: int | None = Field(default=None)
    at: datetime = Field(sa_type=Instant)
    source: str = Field(max_length=100)
    wording: str = Field(default="", max_length=2000)


class Suppression(Table, table=True):
    """An address that may not be written to.

    `address` is a normalised address, or `hmac:…` for an erased person: a keyed hash, so that a re-import
    cannot mail them again. Scope `all` stops everything, `marketing` leaves transactional mail.
    """

    __tablename__ = "suppression"
    __table_args__ = (
        UniqueConstraint("address"),
        CheckConstraint("scope IN ('all', 'marketing')", name="scope"),
    )

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    address: str = Field(max_length=320)
    scope: str = Field(default="all", max_length=20)
    reason: str = Field(max_length=100)
    source: str = Field(max_length=100)
    at: datetime = Field(sa_type=Instant)
