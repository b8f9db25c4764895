"""Databases that can be copied as they are, also as a crash has left them."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString, Protocol

import psycopg

from evergreet.database import Database, parse_url
from evergreet.ownership import ADVISORY_CLASS
from tests.faults.sink import until


class Store(Protocol):
    """Makes databases of one kind."""

    kind: str

    def copy(self, url: str | None = None) -> str:
        """Return the URL of a copy: of an empty database with the schema, or of this one."""
        ...

    def drop(self, url: str) -> None:
        """Take a database away."""
        ...

    def deserted(self, url: str) -> None:
        """Wait until the server has noticed that everybody who was connected is dead."""
        ...


class SqliteStore:
    """Folders with a database file and all that lies beside it."""

    kind = "sqlite"

    def __init__(self, template: Path, folder: Path) -> None:
        self.template = template
        self.folder = folder

    def copy(self, url: str | None = None) -> str:
        folder = self.folder / uuid.uuid4().hex
        if url is None:
            folder.mkdir()
            shutil.copy(self.template, folder / "evergreet.db")
        else:
            shutil.copytree(Path(str(parse_url(url).database)).parent, folder)
        return f"sqlite:///{folder / 'evergreet.db'}"

    def drop(self, url: str) -> None:
        shutil.rmtree(Path(str(parse_url(url).database)).parent)

    def deserted(self, url: str) -> None:
        """A file lock ends with its process."""


class PostgresStore:
    """Databases of one server, cloned from templates."""

    kind = "postgresql"

    def __init__(self, template: str, server: psycopg.Connection[tuple[object, ...]]) -> None:
        self.template = template
        self.server = server

    def copy(self, url: str | None = None, *, tablespace: str = "pg_default") -> str:
        source = url or self.template
        name = f"fault_{uuid.uuid4().hex[:12]}"
        self.deserted(source)
        self._administer(f"CREATE DATABASE {name} TEMPLATE {parse_url(source).database} TABLESPACE {tablespace}")
        return parse_url(source).set(database=name).render_as_string(hide_password=False)

    def tablespace(self, name: str, folder: Path) -> None:
        """Let databases lie in another folder, which the server's user owns."""
        self._administer(f"CREATE TABLESPACE {name} LOCATION '{folder}'")

    def drop_tablespace(self, name: str) -> None:
        """Take it away again."""
        self._administer(f"DROP TABLESPACE {name}")

    def drop(self, url: str) -> None:
        self._administer(f"DROP DATABASE {parse_url(url).database} WITH (FORCE)")

    def deserted(self, url: str) -> None:
        until(lambda: self.sessions(url) == 0, f"the sessions in {parse_url(url).database} to end")

    def sessions(self, url: str) -> int:
        """Count who is connected."""
        return self._count("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", parse_url(url).database)

    def ownerless(self, url: str) -> None:
        """Wait until no session owns anything; others of the same process may live on."""
        held = (
            "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
            "WHERE locktype = 'advisory' AND classid = %s AND datname = %s"
        )
        until(
            lambda: self._count(held, ADVISORY_CLASS, parse_url(url).database) == 0,
            "the server to end the sessions of the owners",
        )

    def end_owners(self, url: str) -> int:
        """End the sessions of all workers; return how many there were."""
        owners = (
            "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
            "WHERE locktype = 'advisory' AND classid = %s AND datname = %s"
        )
        ended = len(self.server.execute(owners, [ADVISORY_CLASS, parse_url(url).database]).fetchall())
        self.ownerless(url)
        return ended

    def _count(self, query: LiteralString, *values: object) -> int:
        row = self.server.execute(query, values).fetchone()
        assert row is not None
        return int(str(row[0]))

    def _administer(self, statement: str) -> None:
        self.server.execute(statement.encode())  # names of databases cannot be parameters


@contextmanager
def postgres_store(template: str) -> Iterator[PostgresStore]:
    """Connect to the server that has the template."""
    address = parse_url(template).set(drivername="postgresql", database="postgres")
    with psycopg.connect(address.render_as_string(hide_password=False), autocommit=True) as server:
        yield PostgresStore(template, server)


def quick_folder() -> str | None:
    """A folder in memory where there is one: what is tested is the death of processes, not of the machine."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """Open a database for a while."""
    database = Database(url)
    try:
        yield database
    finally:
        database.close()
