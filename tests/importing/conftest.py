"""Importing from a test: write a file, load it, look at the tables."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from evergreet.clock import FrozenClock
from evergreet.database import Database
from evergreet.importing import contacts, events, suppressions
from evergreet.importing.mapping import Columns
from evergreet.importing.run import Job, Summary, run_import

KINDS: dict[str, tuple[Callable[..., Any], tuple[str, ...], dict[str, str]]] = {
    "contacts": (contacts.ContactImport, contacts.FIELDS, {"source_id": "Say --map source_id=COLUMN."}),
    "events": (
        events.EventImport,
        events.FIELDS,
        {"name": "Say --map name=.", "occurred_at": "Say --map occurred_at=."},
    ),
    "suppressions": (suppressions.SuppressionImport, suppressions.FIELDS, {"email": "Say --map email=COLUMN."}),
}


class Loading:
    """Loads files into one database."""

    def __init__(self, database: Database, clock: FrozenClock, folder: Path) -> None:
        self.database = database
        self.clock = clock
        self.folder = folder

    def file(self, content: str | bytes, name: str = "input.csv") -> Path:
        """Write a file."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def __call__(
        self, kind: str, content: str | bytes | Path, *, name: str = "input.csv", build: dict[str, Any] | None = None,
        maps: dict[str, str] | None = None, sets: dict[str, Any] | None = None, ignore: Sequence[str] = (),
        types: Any = "auto", **job: Any,
    ) -> Summary:  # fmt: skip
        """Import a file, or the content of one."""
        path = content if isinstance(content, Path) else self.file(content, name)
        importer, fields, required = KINDS[kind]
        columns = Columns(map=maps or {}, set=sets or {}, ignore=ignore, types=types)
        return run_import(
            self.database, Job(path, columns=columns, **{"rejects": self.folder / "rejects.csv", **job}),
            partial(importer, **(build or {})), fields=fields, required=required, clock=self.clock,
        )  # fmt: skip

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the store in plain SQL, past all that is tested."""
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]

    def count(self, sql: str) -> int:
        """Return the one number that a query gives."""
        return int(self.query(sql)[0][0])

    @property
    def rejects(self) -> str:
        """What the rejects file says; empty when there is none."""
        path = self.folder / "rejects.csv"
        return path.read_text("utf-8") if path.exists() else ""


@pytest.fixture
def load(database: Database, clock: FrozenClock, tmp_path: Path) -> Loading:
    """Load files; the test runs once on each store."""
    return Loading(database, clock, tmp_path)


@pytest.fixture
def load_embedded(sqlite_url: str, clock: FrozenClock, tmp_path: Path) -> Loading:
    """Load files into SQLite only, for what does not depend on the store."""
    return Loading(Database(sqlite_url), clock, tmp_path)


def outcome(summary: Summary) -> tuple[int, int, int, int, int]:
    """Return read, stored, duplicate, corrected, rejected."""
    return summary.read, summary.stored, summary.duplicate, summary.corrected, summary.rejected
