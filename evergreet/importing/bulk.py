"""Many rows at once into a table: COPY on PostgreSQL, prepared inserts on SQLite.

Rows come as columns: a list with a value for each row, or `Same` for one that all rows have. Both ways store the same
rows. SQLAlchemy's own insert of many costs several times as much as what the stores do with them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import repeat
from typing import Any, TypeAlias

import orjson
from sqlalchemy import Connection, Table, delete
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateTable

from models import Instant
from models.base import EPOCH, Json


@dataclass(frozen=True, slots=True)
class Same:
    """The value that all rows have."""

    value: Any


Columns: TypeAlias = Mapping[str, Sequence[Any] | Same]

_MICROSECOND = timedelta(microseconds=1)
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
"""What COPY takes for its own signs (PostgreSQL documentation, COPY, Text Format)."""


def insert_columns(connection: Connection, table: Table, columns: Columns) -> None:
    """Insert rows in the caller's transaction; raises SQLAlchemy's IntegrityError where a unique rule knows one."""
    if connection.dialect.name == "postgresql":
        _copy(connection, table, columns)
        return
    rows = list(zip(*(_written(table, name, values, _BOUND) for name, values in columns.items()), strict=False))
    if rows:
        marks = ", ".join("?" * len(columns))
        connection.exec_driver_sql(f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({marks})", rows)


def stage(connection: Connection, table: Table, columns: Columns) -> None:
    """Make these the rows of a temporary table; it is made where this connection has none yet."""
    connection.execute(CreateTable(table, if_not_exists=True))
    connection.execute(delete(table))
    insert_columns(connection, table, columns)


def _copy(connection: Connection, table: Table, columns: Columns) -> None:
    written = (_written(table, name, values, _COPIED) for name, values in columns.items())
    lines = list(map("\t".join, zip(*written, strict=False)))
    if not lines:
        return
    driver: Any = connection.connection.driver_connection
    errors = connection.dialect.loaded_dbapi.Error
    statement = f"COPY {table.name} ({', '.join(columns)}) FROM STDIN"
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write("\n".join(lines) + "\n")
    except errors as error:  # so that it is told like any other that the store refuses
        raise DBAPIError.instance(statement, None, error, errors, dialect=connection.dialect) from error


def _written(table: Table, name: str, values: Sequence[Any] | Same, ways: "_Ways") -> Any:
    kind = table.c[name].type
    if isinstance(kind, Instant):
        way: Callable[[Any], Any] | None = ways.moment
    elif kind is Json:
        way = ways.document
    else:
        way = ways.plain
    if isinstance(values, Same):
        return repeat(values.value if way is None else way(values.value))
    return values if way is None else map(way, values)


@dataclass(frozen=True, slots=True)
class _Ways:
    """How values are written: moments, JSON documents, and all others; None: as they are."""

    moment: Callable[[Any], Any]
    document: Callable[[Any], Any]
    plain: Callable[[Any], Any] | None


def _document(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


def _microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - EPOCH) // _MICROSECOND


def _copied(value: Any) -> str:
    if type(value) is str:
        if "\\" in value or "\t" in value or "\n" in value or "\r" in value:
            return value.translate(_ESCAPES)
        return value
    return "\\N" if value is None else str(value)


def _copied_document(value: Any) -> str:
    return _document(value).replace("\\", "\\\\")  # JSON has no other of the signs


def _copied_moment(moment: datetime | None) -> str:
    return "\\N" if moment is None else moment.isoformat()


_BOUND = _Ways(_microseconds, _document, None)
_COPIED = _Ways(_copied_moment, _copied_document, _copied)
