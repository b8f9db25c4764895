"""How commands open the store."""

from collections.abc import Iterator
from contextlib import contextmanager

from evergreet.database import Database, check_schema, upgrade
from evergreet.settings import settings


@contextmanager
def open_database(*, checked: bool = True) -> Iterator[Database]:
    """Open the database of the settings.

    The embedded default is created on first use; any other database is only checked.
    """
    database = Database(settings().database_url.get_secret_value())
    try:
        if checked:
            if database.is_sqlite and not database.exists:
                upgrade(database)
            check_schema(database)
        yield database
    finally:
        database.close()
