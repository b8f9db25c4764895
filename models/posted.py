"""What is posted to `/v1/…` and is no event, or no event yet; and the ids a contact goes by beside its own."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import Field

from models.base import Id, Instant, Json, Table


class ContactAlias(Table, table=True):
    """Another id of a contact in its source: an anonymous one from before we knew them, or one they had before.

    What is posted under this id is about `contact_id`, also where a contact has the id as its own. `at` is when that
    was told; the last word on an id counts.
    """

    __tablename__ = "contact_alias"
    __table_args__ = (UniqueConstraint("source", "source_id"), Index("ix_contact_alias_contact_id", "contact_id"))

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    source: str = Field(max_length=100)
    source_id: str = Field(max_length=255)
    contact_id: int = Field(foreign_key="contact.id", sa_type=Id)
    at: datetime = Field(sa_type=Instant)


class PostedMessage(Table, table=True):
    """A message by its id, so that it does nothing when it is posted again.

    With `anonymous_id` it waits until somebody says who that is, and then becomes what it would have been; `content`
    has its properties or traits. Without, all is done. What became an event is known by the event itself.
    """

    __tablename__ = "posted_message"
    __table_args__ = (
        UniqueConstraint("source", "message_id"),
        Index("ix_posted_message_waiting", "source", "anonymous_id",
              sqlite_where=text("anonymous_id IS NOT NULL"), postgresql_where=text("anonymous_id IS NOT NULL")),
        Index("ix_posted_message_received_at", "received_at"),
    )  # fmt: skip

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    source: str = Field(max_length=100)
    message_id: str = Field(max_length=255)
    kind: str = Field(max_length=20)
    anonymous_id: str | None = Field(default=None, max_length=255)
    name: str = Field(default="", max_length=100)
    at: datetime = Field(sa_type=Instant)
    content: dict[str, Any] = Field(default_factory=dict, sa_type=Json, nullable=False)
    received_at: datetime = Field(sa_type=Instant)
