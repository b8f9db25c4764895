"""Who is alive: a lock per worker that dies with its process (FACTS §2; docs/decisions).

Every worker holds one slot, the smallest free number. On PostgreSQL the lock of a slot is a session
advisory lock on the worker's own connection, on SQLite an `flock` on a file beside the database. A worker
row is dead when a newer row has its slot, or when its slot's lock can be had.
"""

import fcntl
import os
from pathlib import Path
from typing import IO, Protocol

from sqlalchemy import Connection, text

from evergreet.database import Database
from evergreet.errors import ConfigurationError, EvergreetError

ADVISORY_CLASS = 0x45564752
"""The first key of our advisory locks on PostgreSQL ("EVGR"); the second is the slot."""

MAX_SLOTS = 512
NETWORK_FILE_SYSTEMS = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "afs",
    "ceph",
    "glusterfs",
    "fuse.sshfs",
    "fuse.glusterfs",
}


class SlotLocks(Protocol):
    """Locks on slots, held by this process until released or until it dies."""

    def acquire(self, slot: int) -> bool:
        """Take the lock of a slot; False when a living process has it."""
        ...

    def release(self, slot: int) -> None:
        """Give a lock back."""
        ...


class FileLocks:
    """One never-unlinked file per slot beside an SQLite database; `flock` ends with the process."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.held: dict[int, IO[bytes]] = {}
        refuse_network_file_system(database.parent)

    def acquire(self, slot: int) -> bool:
        """Take the lock of a slot; False when a living process, or this one, has it."""
        file = self.database.with_name(f"{self.database.name}.worker-{slot}.lock").open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self.held[slot] = file
        return True

    def release(self, slot: int) -> None:
        """Give a lock back."""
        self.held.pop(slot).close()


class AdvisoryLocks:
    """Session advisory locks on one PostgreSQL connection; they end with it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def acquire(self, slot: int) -> bool:
        """Take the lock of a slot; False when another session has it."""
        return self._ask("pg_try_advisory_lock", slot)

    def release(self, slot: int) -> None:
        """Give a lock back."""
        self._ask("pg_advisory_unlock", slot)

    def _ask(self, function: str, slot: int) -> bool:
        with self.connection.begin():
            return bool(
                self.connection.execute(
                    text(f"SELECT {function}(:class, :slot)"), {"class": ADVISORY_CLASS, "slot": slot}
                ).scalar_one()
            )


def held_slots(database: Database, slots: set[int]) -> set[int]:
    """Return which of these slots a living process holds, without keeping any lock."""
    if database.is_sqlite:
        locks = FileLocks(Path(str(database.url.database)))
        free = {slot for slot in slots if locks.acquire(slot)}
        for slot in free:
            locks.release(slot)
        return slots - free
    with database.read() as connection:
        rows = connection.execute(
            text(
                "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = :class "
                "AND objsubid = 2 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            ),
            {"class": ADVISORY_CLASS},
        )
        return slots & {int(slot) for slot in rows.scalars()}


def own_slot(locks: SlotLocks) -> int:
    """Take the smallest free slot."""
    for slot in range(MAX_SLOTS):
        if locks.acquire(slot):
            return slot
    raise EvergreetError(f"{MAX_SLOTS} workers are at work on this database already; stop some of them.")


def refuse_pooler(connection: Connection) -> None:
    """Refuse a proxy that shares server connections between clients: ownership is a lock of *one* session.

    A server tells every client its process id when it connects; a proxy such as PgBouncer makes one up.
    """
    with connection.begin():
        served_by = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    driver = connection.connection.driver_connection
    told = driver.info.backend_pid if driver is not None else None
    if told != served_by:
        raise ConfigurationError(
            "EVERGREET_DATABASE_URL leads to a connection pooler (PgBouncer or the like). Workers hold a lock of their "
            "own session, which a transaction-pooling proxy would hand to others: use the server's direct address."
        )


def refuse_network_file_system(folder: Path, mounts: str = "/proc/self/mountinfo") -> None:
    """Refuse a database on NFS and the like, where `flock` and SQLite's WAL cannot be trusted."""
    try:
        lines = Path(mounts).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return  # not Linux: there is nothing to ask
    folder = Path(os.path.realpath(folder))
    kind, depth = "", -1
    for line in lines:
        before, _, after = line.partition(" - ")
        mounted_on = Path(before.split()[4].replace("\\040", " "))
        if folder.is_relative_to(mounted_on) and len(mounted_on.parts) >= depth:
            kind, depth = after.split()[0], len(mounted_on.parts)
    if kind in NETWORK_FILE_SYSTEMS:
        raise ConfigurationError(
            f"The database folder {folder} is on a network file system ({kind}), where SQLite's locks do not hold. "
            "Put it on a local disk, or use PostgreSQL."
        )
