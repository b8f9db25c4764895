"""What providers tell of messages after they took them."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import Field

from models.base import Id, Instant, Json, Table


class ProviderEvent(Table, table=True):
    """One event as a provider's webhook told it, stored once whatever is made of it.

    `row` and `key` are what came with it; `message_id` is the ledger row it is about, once that is certain. `topic` is
    that of the provider's own list, where it names one.
    `applied_at` is empty until it had its effect, which `result` names; with a `result` that begins with `failed` it
    could not be applied and is set aside. An erasure empties what could name a person.
    """

    __tablename__ = "provider_event"
    __table_args__ = (
        UniqueConstraint("connector", "event_id"),
        Index("ix_provider_event_waiting", "id", sqlite_where=text("applied_at IS NULL"),
              postgresql_where=text("applied_at IS NULL")),
        Index("ix_provider_event_message_id", "message_id", sqlite_where=text("message_id IS NOT NULL"),
              postgresql_where=text("message_id IS NOT NULL")),
        Index("ix_provider_event_unplaced", "key", sqlite_where=text("message_id IS NULL AND key <> ''"),
              postgresql_where=text("message_id IS NULL AND key <> ''")),
        Index("ix_provider_event_address", "address", sqlite_where=text("address <> ''"),
              postgresql_where=text("address <> ''")),
    )  # fmt: skip

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    connector: str = Field(max_length=100)
    event_id: str = Field(max_length=255)
    kind: str = Field(max_length=30)
    verdict: str = Field(default="", max_length=30)
    at: datetime = Field(sa_type=Instant)
    received_at: datetime = Field(sa_type=Instant)
    address: str = Field(default="", max_length=320)
    row: int = Field(default=0, sa_type=Id)
    key: str = Field(default="", max_length=100)
    provider_id: str = Field(default="", max_length=998)
    reason: str = Field(default="", max_length=500)
    url: str = Field(default="", max_length=2000)
    machine: bool = Field(default=False)
    topic: str = Field(default="", max_length=100, sa_column_kwargs={"server_default": ""})
    payload: dict[str, Any] = Field(default_factory=dict, sa_type=Json, nullable=False)
    message_id: int | None = Field(default=None, sa_type=Id)
    applied_at: datetime | None = Field(default=None, sa_type=Instant)
    result: str = Field(default="", max_length=30)
