"""Any database that SQLAlchemy speaks to, as a CRM: a query with a column of changes, read by it and the ids.

Nothing is written: the query stands inside a SELECT of ours, in a transaction that is read-only where the database
knows such, and is rolled back. https://docs.sqlalchemy.org/en/20/core/engines.html
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, ClassVar, Self

from sqlalchemy import (
    ColumnElement,
    and_,
    column,
    or_,
    select,
    text,
    true,
)
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from connectors.calling import said
from connectors.crm.sql_cursor import Place
from connectors.crm.sql_opening import open_engine
from connectors.crm.sql_settings import SqlSettings
from connectors.environment import read_settings
from connectors.rows import NoContact, RowReader
from evergreet.contracts import Capabilities, CrmContact, CrmPage
from evergreet.errors import ConnectorError, DataError, Misconfigured, Retryable

_REFUSED = (
    "password",
    "authentication",
    "access denied",
    "does not exist",
    "no such",
    "unable to open",
    "not permitted",
)
"""What a database says where waiting does not help."""


class Sql:
    """Reads the rows of one query; a connection is open only while a page is read."""

    name: ClassVar[str] = "sql"
    capabilities: ClassVar[Capabilities] = Capabilities(channel="crm", proven_by=("SQLite", "PostgreSQL"))

    def __init__(self, settings: SqlSettings, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._settings = settings
        self._now = now
        self._reader = RowReader(settings, are_text=False)
        self._engine = open_engine(settings)

    @classmethod
    def from_environment(cls) -> Self:
        """Read `EVERGREET_SQL_…`."""
        return cls(read_settings(SqlSettings))

    def check(self) -> str:
        """Ask for one row, and for one that is not read."""
        rows = self._ask(None, 1)
        there = ", which has contacts" if rows else "; there is no contact yet"
        with suppress(Retryable):  # looking for them may take longer than reading a page
            if self._asked(or_(self._changed.is_(None), self._number.is_(None)), 1):
                names = f"{self._settings.changed_at_column} or {self._settings.id_column}"
                there += f". Rows without {names} are there, and are not read"
        return f"{self._place} answers the query{there}."

    def changed_since(self, cursor: str) -> CrmPage:
        """Return the rows that were changed after a place, those first that were changed first."""
        try:
            place = Place.read(cursor)
        except ValueError:
            raise DataError("This place in the query is none: read it again with --from-start.") from None
        rows = self._ask(place, self._settings.page)
        more = len(rows) == self._settings.page
        contacts: list[CrmContact] = []
        unreadable: list[tuple[str, str]] = []
        for row in rows:
            try:
                contacts.append(self._reader.contact(row))
            except NoContact as problem:
                unreadable.append((str(row.get(self._settings.id_column)), str(problem)))
        if rows:
            last = rows[-1]
            place = Place(last[self._settings.changed_at_column], last[self._settings.id_column])
        if place is not None and not more:  # also where the rows ended just with a page
            place = place.overlapping(self._now(), self._settings.overlap)
        return CrmPage(tuple(contacts), "" if place is None else str(place), more, tuple(unreadable))

    def close(self) -> None:
        """Give back what is open."""
        self._engine.dispose()

    def __repr__(self) -> str:
        return f"Sql({self._place!r})"

    @property
    def _place(self) -> str:
        """Where the database is. What follows a `?` may be a password."""
        return self._engine.url.set(query={}).render_as_string(hide_password=True)

    @property
    def _changed(self) -> ColumnElement[Any]:
        return column(self._settings.changed_at_column)

    @property
    def _number(self) -> ColumnElement[Any]:
        return column(self._settings.id_column)

    def _ask(self, place: Place | None, most: int) -> Sequence[Mapping[str, Any]]:
        """Return the rows behind a place."""
        changed, number = self._changed, self._number
        behind = true() if place is None else _after(place, changed, number)
        return self._asked(and_(changed.is_not(None), number.is_not(None), behind), most)

    def _asked(self, condition: ColumnElement[bool], most: int) -> Sequence[Mapping[str, Any]]:
        asked = self._settings.query.strip().rstrip(";").replace(":", "\\:")  # a colon begins no parameter
        query = select(text("*")).select_from(text(f"({asked}\n) contacts")).where(condition)
        try:
            with self._engine.connect() as connection:
                found = connection.execute(query.order_by(self._changed, self._number).limit(most))
                rows = [dict(zip(found.keys(), row, strict=True)) for row in found.tuples()]
        except SQLAlchemyError as error:
            raise self._fault(error) from None
        for name in (self._settings.changed_at_column, self._settings.id_column):
            if rows and name not in rows[0]:
                raise Misconfigured(f"The query has no column {name}; it has {', '.join(rows[0])}.")
        return rows

    def _fault(self, error: SQLAlchemyError) -> ConnectorError:
        """Say what an error means; the statement and its values are not repeated."""
        cause = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        url = self._engine.url
        what = said(cause, str(url.password or url.query.get("password") or ""))
        if isinstance(error, OperationalError | InterfaceError) and not any(word in cause.lower() for word in _REFUSED):
            return Retryable(f"The database did not answer: {what}.")
        return Misconfigured(f"The database cannot answer the query: {what}.")


def _after(place: Place, changed: ColumnElement[Any], number: ColumnElement[Any]) -> ColumnElement[bool]:
    since: ColumnElement[bool] = changed >= place.changed
    if place.id is None:
        return since
    return or_(changed > place.changed, and_(changed == place.changed, number > place.id))
