"""One import from beginning to end: reads in batches, stores each in one transaction, counts, lists rejects."""

import gc
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from evergreet.clock import Clock
from evergreet.contracts import Reporter
from evergreet.database import Database
from evergreet.errors import DataError, EvergreetError
from evergreet.importing.mapping import Columns, Plan, bind
from evergreet.importing.memory import RowMemory
from evergreet.importing.reading import open_source
from evergreet.importing.records import Record, Records, in_batches, read_records
from evergreet.importing.rejects import Rejected, RejectsFile
from evergreet.importing.storing import Outcome, Raced, Setting
from evergreet.importing.times import NaiveTime, as_time, open_zone
from evergreet.importing.values import check_text
from models.base import EPOCH

BATCH_ROWS = 5000
TRIES = 3
"""How often a batch is tried when another program stores the same rows at the same moment."""

COLLECT_AFTER = 100_000
"""Objects after which Python looks for cycles; the rows of a batch have none, and looking costs a quarter of them."""

TIMES = frozenset({"occurred_at", "created_at", "stage_at", "consent_at", "at"})
"""The fields that are times, whatever is imported."""

Row = TypeVar("Row")


class Importer(Protocol[Row]):
    """What contacts, events and suppressions each know how to do."""

    def shape(self, record: Record) -> Row:
        """Check one record; raises Rejected."""
        ...

    def store(self, connection: Connection, rows: Sequence[Row]) -> Outcome:
        """Store rows in the caller's writing transaction."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be imported, and how it is to be read.

    `required` are the fields that some column must give. `strict`: all rows or none, in one transaction.
    """

    path: Path
    source: str = "import"
    columns: Columns = field(default_factory=Columns)
    timezone: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    rejects: Path | None = None
    strict: bool = False
    batch_rows: int = BATCH_ROWS


@dataclass(slots=True)
class Summary:
    """What became of every row: read = stored + duplicate + corrected + rejected + withheld.

    `withheld` are good rows that `--strict` did not store because others were rejected.
    """

    file: str
    encoding: str
    read: int = 0
    stored: int = 0
    duplicate: int = 0
    corrected: int = 0
    rejected: int = 0
    withheld: int = 0
    contacts_created: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    rejects_file: str | None = None

    def check(self) -> None:
        """Raise when a row is not accounted for."""
        told = self.stored + self.duplicate + self.corrected + self.rejected + self.withheld
        if told != self.read:
            raise EvergreetError(
                f"The import of {self.file} does not add up: {self.read} rows read, {told} accounted for. "
                f"This is a fault in Evergreet; please report it with the file."
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as JSON types."""
        return asdict(self)

    def add(self, outcome: Outcome) -> None:
        """Count what came of a batch."""
        self.stored += outcome.stored
        self.duplicate += outcome.duplicate
        self.corrected += outcome.corrected
        self.contacts_created += outcome.contacts_created
        self.warnings += outcome.warnings


class _Withheld(Exception):
    """Rolls the one transaction of a strict import back."""


def run_import(
    database: Database,
    job: Job,
    build: Callable[[Plan, Setting], Importer[Any]],
    *,
    fields: tuple[str, ...],
    required: dict[str, str],
    clock: Clock,
    reporter: Reporter | None = None,
) -> Summary:
    """Import a file and return what became of its rows.

    `build` makes the importer for the columns of this file; `required` maps fields that must be there to
    advice. Raises `DataError` for a file or mapping that cannot be used; single rows are rejected instead.
    After an interruption the same call goes on: rows that are stored are duplicates.
    """
    try:
        check_text(job.source)
    except Rejected as problem:
        raise DataError(f"--source: {problem}.") from None
    file = open_source(job.path, job.encoding)
    zone = open_zone(job.timezone) if job.timezone else None
    with database.read() as connection:
        now = clock.now(connection)
    memory = RowMemory()
    setting = Setting(job.path, job.source, zone, now, clock, memory)
    summary = Summary(str(job.path), file.encoding)
    rejects = RejectsFile(job.rejects or Path(f"{job.path}.rejects.csv"), job.path)
    try:
        if zone is None:
            with read_records(file, job.delimiter) as records:
                _refuse_naive_times(records, _plan(records, job, fields, required), job.path)
        with read_records(file, job.delimiter) as records, rejects, _seldom_collecting():
            importer = build(_plan(records, job, fields, required), setting)
            with _transactions(database, strict=job.strict) as store:
                for batch in in_batches(records, job.batch_rows):
                    _import_batch(batch, importer, store, summary, rejects)
                    if reporter is not None:
                        reporter.progress("import", records.lines.position, file.size)
                if job.strict and rejects.count:
                    raise _Withheld
    except sqlite3.Error as error:  # the row memory: the store's own errors come wrapped by SQLAlchemy
        raise EvergreetError(
            f"The temporary folder cannot hold what the import remembers ({error}); make room there, or point "
            f"SQLITE_TMPDIR at another folder, and run the same command again."
        ) from None
    except _Withheld:
        summary.withheld = summary.stored + summary.duplicate + summary.corrected
        summary.stored = summary.duplicate = summary.corrected = summary.contacts_created = 0
    finally:
        memory.close()
    summary.rejected = rejects.count
    summary.reasons = rejects.reasons
    summary.rejects_file = str(rejects.path) if rejects.count else None
    summary.check()
    return summary


def _plan(records: Records, job: Job, fields: tuple[str, ...], required: dict[str, str]) -> Plan:
    plan = bind(job.columns, records.columns, fields, are_text=records.are_text, path=job.path)
    for name, advice in required.items():
        if not plan.has(name) and records.columns:
            columns = ", ".join(records.columns)
            raise DataError(f"{job.path} has no column {name!r}; it has: {columns}. {advice}")
    return plan


def _refuse_naive_times(records: Records, plan: Plan, path: Path) -> None:
    """Read the whole file once for its times, so that nothing is stored before one without a zone is found."""
    names = [name for name in plan.fields if name in TIMES]
    if not names:
        return
    for record in records:
        for name in names:
            try:
                as_time(plan.get(record.values, name), name, None, EPOCH)
            except Rejected:
                continue
            except NaiveTime as naive:
                raise DataError(f"{path}, line {record.line:,}: {naive} Nothing was stored.") from None


def _import_batch(
    batch: list[Record],
    importer: Importer[Row],
    store: Callable[[Importer[Row], Sequence[Row]], Outcome],
    summary: Summary,
    rejects: RejectsFile,
) -> None:
    rows: list[Row] = []
    rejected: list[tuple[Record, Rejected]] = []
    for record in batch:
        try:
            if record.problem is not None:
                raise record.problem
            rows.append(importer.shape(record))
        except Rejected as problem:
            rejected.append((record, problem))
    outcome = store(importer, rows) if rows else Outcome()
    for record, why in sorted([*rejected, *outcome.rejected], key=lambda item: item[0].line):
        rejects.add(record.line, why, record.raw)
    summary.read += len(batch)
    summary.add(outcome)


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    usual = gc.get_threshold()
    gc.set_threshold(COLLECT_AFTER, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


@contextmanager
def _transactions(database: Database, *, strict: bool) -> Iterator[Callable[[Importer[Any], Sequence[Any]], Outcome]]:
    """Give a function that stores one batch: each in its own transaction, or all in one."""
    if strict:
        with database.write() as connection:
            yield lambda importer, rows: importer.store(connection, rows)
        return

    def store(importer: Importer[Any], rows: Sequence[Any]) -> Outcome:
        for _ in range(TRIES - 1):
            with suppress(Raced), database.write() as connection:
                return importer.store(connection, rows)
        with database.write() as connection:
            return importer.store(connection, rows)

    yield store
