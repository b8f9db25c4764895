"""Opening a database to read it, within bounded time, by what its driver understands."""

import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from connectors.crm.sql_settings import SqlSettings
from evergreet.errors import Misconfigured

_STEPS = 10_000
"""Steps of SQLite's machine between two looks at the clock."""


def open_engine(settings: SqlSettings) -> Engine:
    """Return an engine that opens a connection for each page; raises `Misconfigured` where none can be made."""
    try:
        url = make_url(settings.url.get_secret_value())
        if url.drivername in {"postgres", "postgresql"}:
            url = url.set(drivername="postgresql+psycopg")
        backend = url.get_backend_name()
        engine = create_engine(url, poolclass=NullPool, hide_parameters=True, connect_args=_arguments(url, settings))
    except (NoSuchModuleError, ImportError) as error:
        raise Misconfigured(f"EVERGREET_SQL_URL needs a driver that is not installed: {error}.") from None
    except (ArgumentError, ValueError):
        raise Misconfigured(
            "EVERGREET_SQL_URL is not a database URL; write postgresql://reader:password@host/shop."
        ) from None
    if backend == "sqlite":
        if not Path(str(url.database)).is_file():
            raise Misconfigured(f"EVERGREET_SQL_URL: there is no file {url.database}.")

        @event.listens_for(engine, "connect")
        def prepare(connection: sqlite3.Connection, _record: Any) -> None:
            ends = time.monotonic() + settings.timeout
            connection.execute("PRAGMA query_only = ON")
            connection.set_progress_handler(lambda: time.monotonic() > ends, _STEPS)

    return engine


def _arguments(url: URL, settings: SqlSettings) -> dict[str, Any]:
    """Return what keeps a connection from waiting for ever; drivers not known here have limits of their own."""
    connect, seconds = settings.connect_timeout, settings.timeout
    match url.get_backend_name(), url.get_driver_name():
        case "postgresql", "psycopg" | "psycopg2":
            return {
                "connect_timeout": connect, "tcp_user_timeout": seconds * 1000, "keepalives_idle": seconds,
                "options": f"-c statement_timeout={seconds * 1000} -c default_transaction_read_only=on",
            }  # fmt: skip
        case "sqlite", _:
            return {"timeout": float(connect)}
        case "mysql" | "mariadb", "pymysql" | "mysqldb":
            return {"connect_timeout": connect, "read_timeout": seconds, "write_timeout": seconds}
        case _:
            return {}
