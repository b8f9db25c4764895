"""Contacts that turned out to be one person."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field

from models.base import Id, Instant, Json, Table


class ContactMerge(Table, table=True):
    """A contact of `source` and `source_id` that is `survivor_id` from then on, and what it takes to undo that.

    Without `loser_id` it was none before: a record of a CRM that was found to be about somebody known. `before` and
    `after` are the survivor's values, `loser` the other one's; `moved` are the ids of the rows that were the other
    one's, by table. All of them are emptied when the person is erased.
    """

    __tablename__ = "contact_merge"
    __table_args__ = (
        CheckConstraint("found_by IN ('address', 'id', 'hand')", name="found_by"),
        Index("ix_contact_merge_survivor_id", "survivor_id"),
        Index("ix_contact_merge_loser_id", "loser_id"),
    )

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    survivor_id: int = Field(foreign_key="contact.id", sa_type=Id)
    loser_id: int | None = Field(default=None, foreign_key="contact.id", sa_type=Id)
    source: str = Field(max_length=100)
    source_id: str = Field(max_length=255)
    found_by: str = Field(max_length=20)
    actor: str = Field(max_length=200)
    at: datetime = Field(sa_type=Instant)
    before: dict[str, Any] = Field(default_factory=dict, sa_type=Json, nullable=False)
    after: dict[str, Any] = Field(default_factory=dict, sa_type=Json, nullable=False)
    loser: dict[str, Any] = Field(default_factory=dict, sa_type=Json, nullable=False)
    moved: dict[str, Any] = Field(default_factory=dict, sa_type=Json, nullable=False)
    undone_at: datetime | None = Field(default=None, sa_type=Instant)
