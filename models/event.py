"""Immutable facts, and the moves between stages that follow from them."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlmodel import Field

from models.base import Id, Instant, Json, Table


class Event(Table, table=True):
    """A fact about a contact, or about the business (no contact).

    Unique by source + source id, so replays are harmless. A correction is a new row with the next
    `revision`; the row before it is marked `superseded` and no longer seen by conditions. Only revision 0
    makes an occurrence. `position` orders rows by the commit of the transaction that stored them
    (`evergreet.database.ingest_position`).
    """

    __tablename__ = "event"
    __table_args__ = (
        UniqueConstraint("source", "source_id", "revision"),
        Index("uq_event_current", "source", "source_id", unique=True,
              sqlite_where=text("NOT superseded"), postgresql_where=text("NOT superseded")),
        Index("ix_event_contact_id_name_occurred_at", "contact_id", "name", "occurred_at"),
        Index("ix_event_position", "position"),
        Index("ix_event_name_occurred_at", "name", "occurred_at",
              sqlite_where=text("NOT superseded"), postgresql_where=text("NOT superseded")),
    )  # fmt: skip

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    contact_id: int | None = Field(default=None, foreign_key="contact.id", sa_type=Id)
    name: str = Field(max_length=100)
    occurred_at: datetime = Field(sa_type=Instant)
    properties: dict[str, Any] = Field(default_factory=dict, sa_type=Json, nullable=False)
    source: str = Field(max_length=100)
    source_id: str = Field(max_length=255)
    revision: int = Field(default=0)
    superseded: bool = Field(default=False)
    content_hash: str = Field(default="", max_length=64)
    ingested_at: datetime = Field(sa_type=Instant)
    position: int = Field(sa_type=Id)


class Transition(Table, table=True):
    """One move of one contact between stages; append-only.

    `at` is the time of the event that caused it (`cause_event_id`), or of the evaluation for rules that
    depend on time alone. `cause` is one of: rule, time, created, import, crm.
    """

    __tablename__ = "transition"
    __table_args__ = (
        CheckConstraint("cause IN ('rule', 'time', 'created', 'import', 'crm')", name="cause"),
        Index("ix_transition_contact_id_id", "contact_id", "id"),
        Index("ix_transition_position", "position"),
    )

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    contact_id: int = Field(foreign_key="contact.id", sa_type=Id)
    from_stage: str | None = Field(default=None, max_length=100)
    to_stage: str = Field(max_length=100)
    at: datetime = Field(sa_type=Instant)
    cause: str = Field(max_length=20)
    cause_event_id: int | None = Field(default=None, foreign_key="event.id", sa_type=Id)
    recorded_at: datetime = Field(sa_type=Instant)
    position: int = Field(sa_type=Id)


class IngestPosition(Table, table=True):
    """SQLite's counter of ingesting transactions: one row. PostgreSQL uses its transaction ids instead."""

    __tablename__ = "ingest_position"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: int = Field(default=1, primary_key=True, sa_type=Id)
    position: int = Field(default=0, sa_type=Id)


class Cursor(Table, table=True):
    """How far something was read: in ingest positions (`stages`), or until when (`suppressions:…`, position 0), or
    both (`crm push:…`).
    """

    __tablename__ = "cursor"

    name: str = Field(primary_key=True, max_length=100)
    position: int = Field(sa_type=Id)
    at: datetime = Field(sa_type=Instant)
