"""The store: engines, transactions, the order of ingestion, and the schema.

SQLite (WAL, `synchronous = FULL`) is the embedded default, PostgreSQL the production store; every
transaction that writes on SQLite begins IMMEDIATE, so that it never fails half-way for a lock.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from evergreet.errors import ConfigurationError, EvergreetError, SchemaError

BUSY_SECONDS = 30.0


def parse_url(url: str) -> URL:
    """Read a database URL and choose the driver: psycopg 3 for PostgreSQL."""
    try:
        parsed = make_url(url)
    except Exception:
        raise ConfigurationError(
            "EVERGREET_DATABASE_URL is not a database URL; write sqlite:///path/to/file.db or "
            "postgresql://user:password@host/name."
        ) from None
    backend = parsed.get_backend_name()
    if backend in {"postgres", "postgresql"}:
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise ConfigurationError(f"EVERGREET_DATABASE_URL names {backend!r}; SQLite and PostgreSQL are supported.")
    if parsed.database in (None, "", ":memory:"):
        raise ConfigurationError("EVERGREET_DATABASE_URL: the ledger needs a file, not a database in memory.")
    return parsed


class Database:
    """One store, opened for one process."""

    def __init__(self, url: str) -> None:
        self.url = parse_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._singles: dict[frozenset[tuple[str, str]], Engine] = {}

    @property
    def exists(self) -> bool:
        """Whether the SQLite file is there; a PostgreSQL database exists as far as we know."""
        return not self.is_sqlite or Path(str(self.url.database)).exists()

    @cached_property
    def engine(self) -> Engine:
        """The pooled engine for everything that is not a worker's own connection."""
        return self._engine()

    def single(self, **settings: str) -> Engine:
        """Return an engine without a pool: one connection, opened once and never replaced.

        `settings` are PostgreSQL session settings such as `idle_session_timeout`. The same settings give the same
        engine, which keeps the statements it has compiled.
        """
        key = frozenset(settings.items())
        if key not in self._singles:
            self._singles[key] = self._engine(poolclass=NullPool, session=settings)
        return self._singles[key]

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads; it sees one snapshot on SQLite."""
        with told(self), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that writes and commits at the end of the block."""
        with told(self), self.engine.connect() as connection, writing(connection):
            yield connection

    def close(self) -> None:
        """Give back all connections."""
        if "engine" in self.__dict__:
            self.engine.dispose()

    def _engine(self, session: dict[str, str] | None = None, **arguments: Any) -> Engine:
        # Parameters are hidden in errors: they are addresses, and mails with links that unsubscribe; errors get logged.
        if self.is_sqlite:
            path = Path(str(self.url.database))
            path.parent.mkdir(parents=True, exist_ok=True)
            engine = create_engine(
                self.url, json_serializer=_dumps, json_deserializer=orjson.loads, hide_parameters=True,
                connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}, **arguments,
            )  # fmt: skip
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            return engine
        # Gates are asked in a statement after that which takes the locks: it must see what was committed meanwhile,
        # also where the database's own default is another isolation level.
        wanted = {
            "timezone": "UTC", "synchronous_commit": "on", "default_transaction_isolation": "read\\ committed",
            **(session or {}),
        }  # fmt: skip
        return create_engine(
            self.url, json_serializer=_dumps, json_deserializer=orjson.loads, hide_parameters=True,
            connect_args={
                "options": " ".join(f"-c {name}={value}" for name, value in wanted.items()),
                "application_name": "evergreet", "connect_timeout": 10,
                "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3,
                "tcp_user_timeout": 60_000,
            },
            **({} if "poolclass" in arguments else {"pool_pre_ping": True}), **arguments,
        )  # fmt: skip


@contextmanager
def writing(connection: Connection) -> Iterator[Connection]:
    """Run a block as one writing transaction on a connection that is not in one."""
    connection.execution_options(evergreet_write=True)
    with connection.begin():
        yield connection


def _dumps(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves (see _begin_sqlite)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("evergreet_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def told(database: Database) -> Iterator[None]:
    """Say in a sentence what the store refuses, where the cause is outside the program."""
    try:
        yield
    except OperationalError as error:
        sentence = explain_failure(database, error)
        if sentence is None:
            raise
        raise EvergreetError(sentence) from error


def explain_failure(database: Database, error: OperationalError) -> str | None:
    """Say in a sentence what the store refused, where the cause is outside the program."""
    cause = str(error.orig)
    place = database.url.database if database.is_sqlite else database.url.render_as_string(hide_password=True)
    if "database is locked" in cause:
        return f"The database {place} was locked by another process for {BUSY_SECONDS:.0f} s; run it again."
    if "full" in cause or "No space left" in cause:
        return f"The disk of the database {place} is full. Nothing is half-written; make room and run it again."
    if "disk I/O error" in cause:
        return (
            f"The disk of the database {place} is full or broken (disk I/O error). Nothing is half-written; make room "
            "and run it again."
        )
    if "readonly database" in cause or "unable to open" in cause:
        return f"The database {place} cannot be opened for writing. Check the folder and its permissions."
    if "deadlock detected" in cause or "could not serialize" in cause:
        return (
            f"The database {place} rolled back what another transaction was in the way of "
            f"({cause.splitlines()[0]}). Nothing is half-written; run it again."
        )
    if "connection" in cause and not database.is_sqlite:
        return f"No connection to the database {place}: {cause.splitlines()[0]}"
    return None


def ingest_position(connection: Connection) -> int:
    """Return the position of this writing transaction in the order of ingestion.

    PostgreSQL: the transaction id, because ids of rows commit out of order. SQLite: a counter, raised under
    the write lock.
    """
    if connection.dialect.name == "postgresql":
        return int(connection.execute(text("SELECT pg_current_xact_id()::text::bigint")).scalar_one())
    return int(
        connection.execute(text("UPDATE ingest_position SET position = position + 1 RETURNING position")).scalar_one()
    )


def settled_position(connection: Connection) -> int:
    """Return the position below which nothing can be committed any more (exclusive)."""
    if connection.dialect.name == "postgresql":
        return int(
            connection.execute(text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")).scalar_one()
        )
    return int(connection.execute(text("SELECT position + 1 FROM ingest_position")).scalar_one())


def exclusive(connection: Connection, name: str) -> None:
    """Hold a named lock until the end of this writing transaction; on SQLite every writer has it already."""
    if connection.dialect.name == "postgresql":
        connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"evergreet:{name}"}
        )


def _migrations() -> Path:
    import models.migrations  # noqa: PLC0415 - found by import, wherever it is installed

    return Path(str(models.migrations.__file__)).parent


def upgrade(database: Database, to: str = "head") -> None:
    """Bring the schema to the newest revision, or to one on the way; two at once wait for each other."""
    from alembic import command  # noqa: PLC0415 - costs as much as all of SQLAlchemy, and reading needs none of it
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_migrations()))
    config.attributes["engine"] = database.engine
    with told(database):
        command.upgrade(config, to)


def known_revisions() -> list[str]:
    """Return the revisions this program brings along, oldest first: a migration's file begins with its number."""
    return sorted(path.name.partition("_")[0] for path in (_migrations() / "versions").glob("[0-9]*_*.py"))


def schema_revisions(database: Database) -> tuple[str | None, str]:
    """Return the revision of the database (None: no schema) and the one this program knows."""
    with database.read() as connection:
        current = None
        if inspect(connection).has_table("alembic_version"):
            current = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return current, known_revisions()[-1]


def check_schema(database: Database) -> None:
    """Refuse a schema that this program does not know."""
    current, head = schema_revisions(database)
    if current is None:
        raise SchemaError("The database has no Evergreet tables yet: run `evergreet db upgrade`.")
    if current == head:
        return
    if current in known_revisions():
        raise SchemaError(
            f"The database is at revision {current}, this program needs {head}: run `evergreet db upgrade`."
        )
    raise SchemaError(f"The database is at revision {current}, which this program does not know: upgrade Evergreet.")
