"""The records of a file: rows of a CSV table or JSON objects, one a line."""

import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from evergreet.errors import DataError
from evergreet.importing.reading import LONGEST_LINE, Lines, LineTooLong, SourceFile
from evergreet.importing.rejects import Rejected
from evergreet.importing.values import check_text, read_object

FIRST_ROWS = 1000
"""How many rows of a JSONL file are looked at to know its columns."""

BATCH_CHARACTERS = 8_388_608
"""A batch ends when its rows have so many characters together."""

_DELIMITERS = ",;\t|"


@dataclass(slots=True)
class Record:
    """One record with the line it begins on and its text as it stood in the file.

    `problem` says why there are no values.
    """

    line: int
    raw: str
    values: dict[str, Any]
    problem: Rejected | None = None


@dataclass
class Records:
    """The records of an open file, and the columns that they have."""

    columns: list[str]
    lines: Lines
    records: Iterator[Record]
    are_text: bool

    def __iter__(self) -> Iterator[Record]:
        return self.records


@contextmanager
def read_records(file: SourceFile, delimiter: str | None = None) -> Iterator[Records]:
    """Open a file and read its records one after the other.

    A CSV header that cannot be used is a `DataError`; what is wrong with a single row is its `problem`.
    """
    with file.lines() as lines:
        if file.format == "csv":
            yield _read_csv(lines, delimiter)
        else:
            yield _read_jsonl(lines)


def in_batches(records: Iterable[Record], rows: int) -> Iterator[list[Record]]:
    """Cut records into batches of so many rows, or fewer where rows are so long that memory would swell."""
    batch: list[Record] = []
    characters = 0
    for record in records:
        batch.append(record)
        characters += len(record.raw)
        if len(batch) == rows or characters > BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _read_csv(lines: Lines, delimiter: str | None) -> Records:
    path = lines.file.path
    delimiter = "\t" if delimiter in {"tab", "\\t"} else delimiter
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise DataError(f"--delimiter {delimiter!r}: write one character, such as ; or tab.")
    first = ""
    try:
        while not first.strip():
            lines.begin()
            first = next(lines)
    except LineTooLong:
        raise DataError(
            f"{path}: the first line has more than {LONGEST_LINE:,} characters; is this a CSV file?"
        ) from None
    except StopIteration:
        raise DataError(f"{path} is empty.") from None
    lines.hand_back(keep=0)
    rows = csv.reader(lines, delimiter=delimiter or max(_DELIMITERS, key=first.count), strict=True)
    try:
        header = [name.strip().removeprefix("\ufeff") for name in next(rows)]
    except (csv.Error, StopIteration, LineTooLong):
        raise DataError(f"{path}: the first line is not a CSV header (is a quote left open?).") from None
    _check_header(header, path)
    return Records(header, lines, _csv_records(rows, header, lines), are_text=True)


def _check_header(header: list[str], path: Path) -> None:
    for number, name in enumerate(header, start=1):
        if not name:
            raise DataError(f"{path}: column {number} of the header has no name; name it or remove it.")
        if header.count(name) > 1:
            raise DataError(f"{path}: the header has the column {name!r} twice; rename one of them.")
        try:
            check_text(name)
        except Rejected as problem:
            raise DataError(f"{path}: the header cannot be used: {problem}.") from None


def _csv_records(rows: Iterator[list[str]], header: list[str], lines: Lines) -> Iterator[Record]:
    width = len(header)
    while True:
        line = lines.begin()
        problem: Rejected | None = None
        cells: list[str] = []
        try:
            cells = next(rows)
            if not cells:
                continue
            raw = "".join(lines.taken)
            check_text(raw)
            if len(cells) != width:
                problem = Rejected("ragged row", f"it has {len(cells)} columns, the header has {width}")
        except StopIteration:
            return
        except LineTooLong:
            problem = Rejected("too long", f"the line has more than {LONGEST_LINE:,} characters")
            raw = "".join(lines.taken)[:1000] + " …"
        except csv.Error as error:
            # One quote left open must not swallow what follows: only the first line is rejected.
            lines.hand_back(keep=1)
            reason = "too long" if "limit" in str(error) else "not CSV"
            problem = Rejected(reason, str(error))
            raw = "".join(lines.taken)
        except Rejected as rejected:
            problem = rejected
        yield Record(line, raw, {} if problem else dict(zip(header, cells, strict=True)), problem)


def _read_jsonl(lines: Lines) -> Records:
    records = _json_records(lines)
    beginning = next(in_batches(records, FIRST_ROWS), [])
    columns = list(dict.fromkeys(chain.from_iterable(record.values for record in beginning)))
    return Records(columns, lines, chain(beginning, records), are_text=False)


def _json_records(lines: Lines) -> Iterator[Record]:
    while True:
        number = lines.begin()
        try:
            raw = next(lines)
        except StopIteration:
            return
        except LineTooLong:
            too_long = Rejected("too long", f"the line has more than {LONGEST_LINE:,} characters")
            yield Record(number, lines.taken[0][:1000] + " …", {}, too_long)
            continue
        if not raw.strip():
            continue
        try:
            yield Record(number, raw, read_object(raw))
        except Rejected as problem:
            yield Record(number, raw, {}, problem)
