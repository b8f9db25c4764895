"""The records of a file: rows of a CSV table or JSON objects, one a line."""

import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from evergreet.errors import DataError
from evergreet.importing.reading import BLOCK_LINES, LONGEST_LINE, Lines, LineTooLong, SourceFile
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
    delimiter = delimiter or max(_DELIMITERS, key=first.count)
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = [name.strip().removeprefix("\ufeff") for name in next(rows)]
    except (csv.Error, StopIteration, LineTooLong):
        raise DataError(f"{path}: the first line is not a CSV header (is a quote left open?).") from None
    _check_header(header, path)
    return Records(header, lines, _csv_records(rows, header, lines, delimiter), are_text=True)


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


def _csv_records(rows: Iterator[list[str]], header: list[str], lines: Lines, delimiter: str) -> Iterator[Record]:
    """Read blocks of lines; a record that does not end in its block, or is none, is read line by line."""
    count = 1
    while True:
        block = lines.block(count)
        first = lines.number - len(block) + 1
        done = 0
        reader = csv.reader(block, delimiter=delimiter, strict=True)
        with suppress(csv.Error):
            for cells in reader:
                end = reader.line_num
                raw = block[done] if end - done == 1 else "".join(block[done:end])
                line, done = first + done, end
                if cells:
                    yield _csv_record(line, raw, cells, header)
        if block and done == len(block):
            count = min(2 * count, BLOCK_LINES)
            continue
        count = 1  # where one is wrong more may be: lines that are handed back are read again
        lines.hand_back(keep=done)
        record = _next_csv_record(rows, header, lines)
        if record is None:
            return
        yield record


def _csv_record(line: int, raw: str, cells: list[str], header: list[str]) -> Record:
    try:
        check_text(raw)
        if len(cells) != len(header):
            raise Rejected("ragged row", f"it has {len(cells)} columns, the header has {len(header)}")
    except Rejected as problem:
        return Record(line, raw, {}, problem)
    return Record(line, raw, dict(zip(header, cells, strict=True)))


def _next_csv_record(rows: Iterator[list[str]], header: list[str], lines: Lines) -> Record | None:
    """Read one record line by line; None at the end of the file."""
    cells: list[str] = []
    while not cells:
        line = lines.begin()
        try:
            cells = next(rows)
        except StopIteration:
            return None
        except LineTooLong:
            too_long = Rejected("too long", f"the line has more than {LONGEST_LINE:,} characters")
            return Record(line, "".join(lines.taken)[:1000] + " …", {}, too_long)
        except csv.Error as error:
            # One quote left open must not swallow what follows: only the first line is rejected.
            lines.hand_back(keep=1)
            reason = "too long" if "limit" in str(error) else "not CSV"
            return Record(line, "".join(lines.taken), {}, Rejected(reason, str(error)))
    return _csv_record(line, "".join(lines.taken), cells, header)


def _read_jsonl(lines: Lines) -> Records:
    records = _json_records(lines)
    beginning = next(in_batches(records, FIRST_ROWS), [])
    columns = list(dict.fromkeys(chain.from_iterable(record.values for record in beginning)))
    return Records(columns, lines, chain(beginning, records), are_text=False)


def _json_records(lines: Lines) -> Iterator[Record]:
    while True:
        block = lines.block(BLOCK_LINES)
        for number, raw in enumerate(block, start=lines.number - len(block) + 1):
            if raw.isspace():
                continue
            try:
                yield Record(number, raw, read_object(raw))
            except Rejected as problem:
                yield Record(number, raw, {}, problem)
        if not block:
            number = lines.begin()
            try:
                next(lines)
            except StopIteration:
                return
            except LineTooLong:
                too_long = Rejected("too long", f"the line has more than {LONGEST_LINE:,} characters")
                yield Record(number, lines.taken[0][:1000] + " …", {}, too_long)
