"""SQL that the two stores write differently: values inside JSON documents, and shifting a moment.

Every value taken from a document is NULL when it is missing or of another JSON type, so that a comparison
never raises on what somebody once sent; the casts on PostgreSQL stand behind `jsonb_typeof`.
"""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Boolean, ColumnElement, Interval, Numeric, String, literal, or_
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from models import Instant

INT64 = range(-(2**63), 2**63)


class Number(TypeDecorator[Any]):
    """A number as a JSON document holds it: exact decimals on PostgreSQL, INTEGER or REAL on SQLite."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column type of the store; SQLite's BigInteger leaves the bound value as it is."""
        return dialect.type_descriptor(BigInteger() if dialect.name == "sqlite" else Numeric())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Bind the shortest decimal of a float, which is what the document was written with."""
        if dialect.name != "sqlite":
            return Decimal(repr(value))
        if isinstance(value, int) and value not in INT64:
            try:
                return float(value)
            except OverflowError:
                return float("inf") if value > 0 else float("-inf")
        return value


class _FromDocument(FunctionElement[Any]):
    """One value of a JSON document: (document, name, SQLite path to it)."""

    inherit_cache = True
    name = "document_value"
    on_sqlite: ClassVar[str]
    on_postgresql: ClassVar[str]

    def __init__(self, document: ColumnElement[Any], name: str) -> None:
        super().__init__(document, literal(name, String()), literal(f'$."{name}"', String()))


class DocumentNumber(_FromDocument):
    """The number under a name."""

    name = "document_number"
    inherit_cache = True
    type = Number()
    on_sqlite = "CASE WHEN {kind} IN ('integer', 'real') THEN {value} END"
    on_postgresql = "CASE WHEN {kind} = 'number' THEN CAST({item} AS NUMERIC) END"


class DocumentText(_FromDocument):
    """The text under a name, ordered by code points on both stores."""

    name = "document_text"
    inherit_cache = True
    type = String()
    on_sqlite = "CASE WHEN {kind} = 'text' THEN {value} END"
    on_postgresql = "CASE WHEN {kind} = 'string' THEN {item} #>> '{{}}' END COLLATE \"C\""


class DocumentTruth(_FromDocument):
    """The boolean under a name."""

    name = "document_truth"
    inherit_cache = True
    type = Boolean()
    on_sqlite = "CASE {kind} WHEN 'true' THEN 1 WHEN 'false' THEN 0 END"
    on_postgresql = "CASE WHEN {kind} = 'boolean' THEN CAST({item} AS BOOLEAN) END"


class DocumentPresence(_FromDocument):
    """Whether there is a value other than null under a name; NULL where there is none at all."""

    name = "document_presence"
    inherit_cache = True
    type = Boolean()
    on_sqlite = "({kind} <> 'null')"
    on_postgresql = "({kind} <> 'null')"


class DocumentKey(_FromDocument):
    """The text under a name, or the whole number as text: what tells things apart. `causes.key_in` says it in Python.

    A number is whole by its value, not by how it is written: PostgreSQL keeps 1e16 as 10000000000000000.
    """

    name = "document_key"
    inherit_cache = True
    type = String()
    on_sqlite = (
        "CASE WHEN {kind} = 'text' THEN {value} WHEN {kind} IN ('integer', 'real') "
        "AND {value} = CAST({value} AS INTEGER) THEN CAST(CAST({value} AS INTEGER) AS TEXT) END"
    )
    on_postgresql = (
        "CASE {kind} WHEN 'string' THEN {item} #>> '{{}}' WHEN 'number' THEN "
        "CASE WHEN CAST({item} AS NUMERIC) = trunc(CAST({item} AS NUMERIC)) AND CAST({item} AS NUMERIC) "
        "BETWEEN -9223372036854775808 AND 9223372036854775807 THEN CAST(trunc(CAST({item} AS NUMERIC)) AS TEXT) END END"
    )


class _Awkward:
    """Marks the variants for names that a JSON path cannot say on SQLite: quotes, backslashes, controls."""


def _awkward(kind: type[_FromDocument]) -> type[_FromDocument]:
    return type(f"Awkward{kind.__name__}", (_Awkward, kind), {"inherit_cache": True, "name": kind.name})


_AWKWARD: dict[type[_FromDocument], type[_FromDocument]] = {
    kind: _awkward(kind) for kind in (DocumentNumber, DocumentText, DocumentTruth, DocumentPresence, DocumentKey)
}


def in_document(kind: type[_FromDocument], document: ColumnElement[Any], name: str) -> ColumnElement[Any]:
    """Return the value of `kind` under `name`, NULL where the document has none of that kind."""
    sayable = json.dumps(name, ensure_ascii=False) == f'"{name}"'
    return (kind if sayable else _AWKWARD[kind])(document, name)


def same_thing(
    document: ColumnElement[Any], name: str, other: ColumnElement[Any], others_name: str
) -> ColumnElement[bool]:
    """Whether two documents have the same text or number there; 17 and "17" are one, as for a trigger's key."""
    kinds = (DocumentKey, DocumentNumber)
    return or_(*(in_document(kind, document, name) == in_document(kind, other, others_name) for kind in kinds))


@compiles(_FromDocument, "sqlite")
def _document_on_sqlite(element: _FromDocument, compiler: SQLCompiler, **kw: Any) -> str:
    document, name, path = (_part(element, index, compiler, kw) for index in range(3))
    if isinstance(element, _Awkward):
        kind, value = (
            f"(SELECT item.{column} FROM json_each({document()}) AS item WHERE item.key = {name()})"
            for column in ("type", "value")
        )
        return element.on_sqlite.format(kind=kind, value=value)
    kind = f"json_type({document()}, {path()})"
    value = f"json_extract({document()}, {path()})" if "{value}" in element.on_sqlite else ""
    return element.on_sqlite.format(kind=kind, value=value)


@compiles(_FromDocument, "postgresql")
def _document_on_postgresql(element: _FromDocument, compiler: SQLCompiler, **kw: Any) -> str:
    item = f"({_part(element, 0, compiler, kw)()} -> {_part(element, 1, compiler, kw)()})"
    return "(" + element.on_postgresql.format(kind=f"jsonb_typeof({item})", item=item) + ")"


class _ByCodePoint(FunctionElement[str]):
    """A text column, ordered by code points whatever collation the database was created with."""

    name = "by_code_point"
    inherit_cache = True
    type = String()


@compiles(_ByCodePoint, "sqlite")
def _by_code_point_on_sqlite(element: _ByCodePoint, compiler: SQLCompiler, **kw: Any) -> str:
    return _part(element, 0, compiler, kw)()


@compiles(_ByCodePoint, "postgresql")
def _by_code_point_on_postgresql(element: _ByCodePoint, compiler: SQLCompiler, **kw: Any) -> str:
    return f'({_part(element, 0, compiler, kw)()} COLLATE "C")'


def by_code_point(column: ColumnElement[str]) -> ColumnElement[str]:
    """Return the text column so that `<` and `>` mean the same on both stores."""
    return _ByCodePoint(column)


class _ByStore(FunctionElement[bool]):
    """The same question in two forms: (for SQLite, for PostgreSQL)."""

    name = "by_store"
    inherit_cache = True


@compiles(_ByStore, "sqlite")
def _by_store_on_sqlite(element: _ByStore, compiler: SQLCompiler, **kw: Any) -> str:
    return _part(element, 0, compiler, kw)()


@compiles(_ByStore, "postgresql")
def _by_store_on_postgresql(element: _ByStore, compiler: SQLCompiler, **kw: Any) -> str:
    return _part(element, 1, compiler, kw)()


def by_store(*, on_sqlite: ColumnElement[bool], on_postgresql: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return two ways to ask the same, each for the store that answers it faster.

    SQLite goes from contact to contact, by index. PostgreSQL joins: it counts once for all contacts where many are
    asked, and by index where few are.
    """
    return _ByStore(on_sqlite, on_postgresql)


class _Shifted(FunctionElement[datetime]):
    """A moment moved by a span: (moment, span in microseconds, span)."""

    name = "shifted"
    inherit_cache = True
    type = Instant()


@compiles(_Shifted, "sqlite")
def _shifted_on_sqlite(element: _Shifted, compiler: SQLCompiler, **kw: Any) -> str:
    return f"({_part(element, 0, compiler, kw)()} + {_part(element, 1, compiler, kw)()})"


@compiles(_Shifted, "postgresql")
def _shifted_on_postgresql(element: _Shifted, compiler: SQLCompiler, **kw: Any) -> str:
    return f"({_part(element, 0, compiler, kw)()} + {_part(element, 2, compiler, kw)()})"


def shift(moment: ColumnElement[datetime], span: timedelta) -> ColumnElement[datetime]:
    """Return the moment moved by the span, exact to the microsecond on both stores.

    A day is 24 hours: our PostgreSQL sessions run in UTC, where `interval '1 day'` is just that.
    """
    microseconds = span // timedelta(microseconds=1)
    return _Shifted(moment, literal(microseconds, BigInteger()), literal(span, Interval()))


def _part(element: FunctionElement[Any], index: int, compiler: SQLCompiler, kw: dict[str, Any]) -> Callable[[], str]:
    # Rendered only where used: a bound value that no SQL mentions must not become a parameter.
    return lambda: str(compiler.process(element.clauses.clauses[index], **kw))
