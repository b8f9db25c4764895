"""Set-based statements that SQLite and PostgreSQL spell in their own dialects of Core.

A list of ids, or of rows, goes to the store as ONE parameter (`among`, `given`): so a statement is built once, its
text is the same for any number of them, and neither SQLAlchemy nor the driver handles each of a thousand parameters.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Dialect,
    Select,
    Subquery,
    and_,
    bindparam,
    case,
    cast,
    column,
    false,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import Insert as CoreInsert
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine, UserDefinedType
from sqlmodel import SQLModel

from models import Instant


def words(*values: str) -> tuple[ColumnElement[str], ...]:
    """Return texts that stand in the statement itself: bound ones in an IN keep SQLite from its partial indexes."""
    return tuple(literal_column(f"'{value}'") for value in values)


def among(key: Any, name: str) -> ColumnElement[bool]:
    """Return whether a column is one of the ids (integers) that are given as the parameter of that name."""
    return _Among(key, bindparam(name, type_=_Ids()))


def among_found(key: Any, query: Select[tuple[int]]) -> ColumnElement[bool]:
    """Return whether a column is one of the few ids that a query finds, which is asked first and once.

    PostgreSQL would otherwise read the whole table, as if the query might find anything.
    """
    return _AmongFound(key, query.scalar_subquery())


def among_texts(key: Any, name: str) -> ColumnElement[bool]:
    """Return whether a column is one of the texts that are given as the parameter of that name."""
    return _Among(key, bindparam(name, type_=_Texts()))


def paired(key: Any, given_key: ColumnElement[int], name: str) -> ColumnElement[bool]:
    """Return whether a column equals that of a given row; the parameter of that name has the ids of all given rows.

    They are asked for twice because PostgreSQL would not seek by a value it finds in a document, but read the table.
    """
    return and_(key == given_key, _AndAmong(key, bindparam(name, type_=_Ids())))


def checked(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return whether all of these hold of rows that are sought by their ids, which is no way to seek them.

    Otherwise a store may seek a few rows among all that are in some state just now; and PostgreSQL, which expects next
    to no row to pass by statistics that are old, compares each row of a window with each other one.
    """
    return case((and_(*conditions), true()), else_=false())


def by_index() -> ColumnElement[str | None]:
    """Return a column whose reading makes PostgreSQL look rows up one by one until the end of the transaction.

    For transactions about few rows, sought by their ids. PostgreSQL keeps the plans it made while a table was small, by
    statistics of what was there before; then a run adds a hundred thousand rows.
    """
    return _ByIndex()


def given(name: str, /, **columns: TypeEngine[Any]) -> Subquery:
    """Return the rows that are given as the parameter of that name, with these columns.

    The parameter is a list of tuples with a value for each column: None, a whole number, a text, or a moment where
    the column is an `Instant`.
    """
    row = _Elements(bindparam(name, type_=_Rows())).table_valued(column("value", JSON)).c.value
    values = (cast(row[place].as_string(), kind).label(label) for place, (label, kind) in enumerate(columns.items()))
    return select(*values).subquery(name)


class _Ids(UserDefinedType[Sequence[int]]):
    """Integers: an array on PostgreSQL, a JSON array on SQLite."""

    cache_ok = True
    render_bind_cast = True

    def get_col_spec(self, **_: Any) -> str:
        return "BIGINT[]"

    def bind_processor(self, dialect: Dialect) -> Any:
        # Both as text: the driver's own way to write an array costs six times as much.
        start, end = "{}" if dialect.name == "postgresql" else "[]"
        return lambda value: f"{start}{','.join(map(str, value))}{end}"


class _Texts(UserDefinedType[Sequence[str]]):
    """Texts: an array on PostgreSQL, a JSON array on SQLite."""

    cache_ok = True
    render_bind_cast = True

    def get_col_spec(self, **_: Any) -> str:
        return "TEXT[]"

    def bind_processor(self, dialect: Dialect) -> Any:
        return None if dialect.name == "postgresql" else lambda value: orjson.dumps(value).decode()


class _Rows(UserDefinedType[Sequence[tuple[Any, ...]]]):
    """A table as a JSON document: a list of lists."""

    cache_ok = True
    render_bind_cast = True

    def get_col_spec(self, **_: Any) -> str:
        return "JSONB"

    def bind_processor(self, dialect: Dialect) -> Any:
        instant = Instant()

        def written(moment: datetime) -> int | str:
            bound = instant.process_bind_param(moment, dialect)
            return bound.isoformat() if isinstance(bound, datetime) else int(bound)

        return lambda value: orjson.dumps(value, written, orjson.OPT_PASSTHROUGH_DATETIME).decode()


class _Among(FunctionElement[bool]):  # not of the type Boolean: SQLite would be asked `IN (…) = 1`, and uses no index
    name = "among"
    inherit_cache = True


@compiles(_Among, "sqlite")
def _among_on_sqlite(element: _Among, compiler: SQLCompiler, **kw: Any) -> str:
    key, ids = (compiler.process(part, **kw) for part in element.clauses.clauses)
    return f"{key} IN (SELECT value FROM json_each({ids}))"


@compiles(_Among, "postgresql")
def _among_on_postgresql(element: _Among, compiler: SQLCompiler, **kw: Any) -> str:
    key, ids = (compiler.process(part, **kw) for part in element.clauses.clauses)
    return f"{key} = ANY ({ids})"


class _AndAmong(_Among):
    inherit_cache = True


@compiles(_AndAmong, "sqlite")
def _and_among_on_sqlite(element: _AndAmong, compiler: SQLCompiler, **kw: Any) -> str:
    return f"+{_among_on_sqlite(element, compiler, **kw)}"  # `+`: it is not to seek by these, but row by row


class _AmongFound(FunctionElement[bool]):
    name = "among_found"
    inherit_cache = True


@compiles(_AmongFound, "sqlite")
def _among_found_on_sqlite(element: _AmongFound, compiler: SQLCompiler, **kw: Any) -> str:
    key, query = (compiler.process(part, **kw) for part in element.clauses.clauses)
    return f"{key} IN {query}"


@compiles(_AmongFound, "postgresql")
def _among_found_on_postgresql(element: _AmongFound, compiler: SQLCompiler, **kw: Any) -> str:
    key, query = (compiler.process(part, **kw) for part in element.clauses.clauses)
    return f"{key} = ANY (ARRAY{query})"


class _ByIndex(FunctionElement[str | None]):
    name = "by_index"
    inherit_cache = True


@compiles(_ByIndex, "sqlite")
def _by_index_on_sqlite(element: _ByIndex, compiler: SQLCompiler, **kw: Any) -> str:
    return "NULL"  # its plans are as old as its statistics, and it prefers an index without any


@compiles(_ByIndex, "postgresql")
def _by_index_on_postgresql(element: _ByIndex, compiler: SQLCompiler, **kw: Any) -> str:
    return " || ".join(f"set_config('{name}', 'off', true)" for name in ("enable_seqscan", "enable_mergejoin", "jit"))


class _Elements(FunctionElement[Any]):
    name = "elements"
    inherit_cache = True


@compiles(_Elements, "sqlite")
def _elements_on_sqlite(element: _Elements, compiler: SQLCompiler, **kw: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **kw)})"


@compiles(_Elements, "postgresql")
def _elements_on_postgresql(element: _Elements, compiler: SQLCompiler, **kw: Any) -> str:
    return f"jsonb_array_elements({compiler.process(element.clauses, **kw)})"


Insert = postgresql.Insert | sqlite.Insert


def insert_into(connection: Connection, table: type[SQLModel]) -> Insert:
    """Return the dialect's own INSERT, which knows ON CONFLICT."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


class _InsertIgnore(CoreInsert):
    """An INSERT that passes over rows which a unique rule knows; the dialects' own are compiled at each use."""

    inherit_cache = True


@compiles(_InsertIgnore)
def _insert_ignore(element: _InsertIgnore, compiler: SQLCompiler, **kw: Any) -> str:
    return f"{compiler.visit_insert(element, **kw)} ON CONFLICT DO NOTHING"  # type: ignore[no-untyped-call]


def insert_ignore(connection: Connection, table: type[SQLModel], rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows; those that a unique rule knows already are passed over."""
    if rows:
        connection.execute(_InsertIgnore(table).inline(), rows)  # one row of several asks for no id back


def insert_select_ignore(
    connection: Connection,
    table: type[SQLModel],
    columns: Sequence[str],
    query: Select[Any],
    parameters: Mapping[str, Any] | None = None,
) -> int:
    """Insert what a query yields, passing over what a unique rule knows already; return how many rows are new."""
    statement = _InsertIgnore(table).from_select(list(columns), query)
    return connection.execute(statement, parameters, execution_options={"preserve_rowcount": True}).rowcount
