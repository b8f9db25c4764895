"""How far CRMs were read, what each of them said last of a contact, and who is on which of their lists."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlmodel import Field

from models.base import Id, Instant, Json, Table


class CrmCursor(Table, table=True):
    """How far a CRM was read, in its own words."""

    __tablename__ = "crm_cursor"

    source: str = Field(primary_key=True, max_length=100)
    cursor: str = Field(max_length=1000)
    at: datetime = Field(sa_type=Instant)


class CrmRow(Table, table=True):
    """A record of a CRM: whom it is about, and what it said when it was read last.

    By `told` a value that has changed there is known from one that is only told again, and consent that was said there
    from what was written there. `gone_at` is set while the record is deleted there, or merged into another. Of people
    who were erased here, nothing is kept in `told`. `pushed` is what was written back to it last, by kind.
    """

    __tablename__ = "crm_row"
    __table_args__ = (UniqueConstraint("source", "source_id"), Index("ix_crm_row_contact_id", "contact_id"))

    id: int = Field(default=None, primary_key=True, sa_type=Id)
    source: str = Field(max_length=100)
    source_id: str = Field(max_length=255)
    contact_id: int = Field(foreign_key="contact.id", sa_type=Id)
    changed_at: datetime = Field(sa_type=Instant)
    told: dict[str, Any] = Field(default_factory=dict, sa_type=Json, nullable=False)
    gone_at: datetime | None = Field(default=None, sa_type=Instant)
    pushed: dict[str, Any] | None = Field(default=None, sa_type=Json)


class CrmMember(Table, table=True):
    """A record of a CRM that is on one of its lists, by its id as a number: lists are told in the order of those.

    Who is on none any more has no row, and neither has a record that is not known here.
    """

    __tablename__ = "crm_member"
    __table_args__ = (Index("ix_crm_member_row_id", "row_id"),)

    source: str = Field(primary_key=True, max_length=100)
    list: str = Field(primary_key=True, max_length=100)
    number: int = Field(primary_key=True, sa_type=BigInteger)
    row_id: int = Field(foreign_key="crm_row.id", sa_type=Id)
