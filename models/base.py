"""What all tables share: naming convention, the time type, JSON and id columns."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Integer, MetaData
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlmodel import SQLModel

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Id = BigInteger().with_variant(Integer(), "sqlite")
"""Primary and foreign keys: 64 bits on both stores (SQLite counts rows only in its own INTEGER)."""

Json = JSON().with_variant(JSONB(), "postgresql")
"""A JSON document."""


class Instant(TypeDecorator[datetime]):
    """An aware moment in UTC: `timestamptz` on PostgreSQL, integer microseconds since 1970 on SQLite.

    SQLite has no time type, and its date functions count milliseconds; integers keep comparisons and
    arithmetic exact on both.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column type of the store."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(BigInteger())
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse naive times: a moment without a zone is a bug, not a default."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive time {value!r}: every stored time is aware")
        if dialect.name == "sqlite":
            return (value - EPOCH) // timedelta(microseconds=1)
        return value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Give back an aware time in UTC."""
        if value is None:
            return None
        if dialect.name == "sqlite":
            return EPOCH + timedelta(microseconds=value)
        moment: datetime = value
        return moment.astimezone(UTC)


class Table(SQLModel):
    """The root of all tables; it carries the constraint naming convention."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
