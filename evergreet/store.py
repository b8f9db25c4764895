"""Set-based statements that SQLite and PostgreSQL spell in their own dialects of Core."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, literal_column
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import SQLModel


def words(*values: str) -> tuple[ColumnElement[str], ...]:
    """Return texts that stand in the statement itself: bound ones in an IN keep SQLite from its partial indexes."""
    return tuple(literal_column(f"'{value}'") for value in values)


Insert = postgresql.Insert | sqlite.Insert


def insert_into(connection: Connection, table: type[SQLModel]) -> Insert:
    """Return the dialect's own INSERT, which knows ON CONFLICT."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def insert_ignore(connection: Connection, table: type[SQLModel], rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows; those that a unique rule knows already are passed over."""
    if rows:
        connection.execute(insert_into(connection, table).on_conflict_do_nothing(), rows)


def insert_select_ignore(
    connection: Connection, table: type[SQLModel], columns: Sequence[str], query: Select[Any]
) -> int:
    """Insert what a query yields, passing over what a unique rule knows already; return how many rows are new."""
    statement = insert_into(connection, table).from_select(list(columns), query).on_conflict_do_nothing()
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount
