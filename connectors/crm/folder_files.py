"""The files of a folder: which come next, and their rows from a place on, in bounded memory."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from connectors.rows import NoContact

ENDINGS = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
LONGEST_LINE = 1024 * 1024
"""Octets of a line, and of a row of several lines."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """How far a folder was read: to an octet of a file, as the file was at a time (nanoseconds since 1970)."""

    stamp: int
    name: str
    offset: int = 0

    @classmethod
    def read(cls, cursor: str) -> "Place":
        """Read a cursor; raises ValueError for one of nowhere."""
        if not cursor:
            return cls(0, "")
        stamp, name, offset = json.loads(cursor)
        if type(stamp) is not int or type(name) is not str or type(offset) is not int or min(stamp, offset) < 0:
            raise ValueError
        return cls(stamp, name, offset)

    def __str__(self) -> str:
        return orjson.dumps([self.stamp, self.name, self.offset]).decode() if self.name else ""


def files_after(folder: Path, place: Place, before: int) -> list[Place]:
    """Return the files that changed after a place and not since `before`, in that order; the file of the place first.

    A file's time is when it was put there or written to last, which no copying sets back. Hidden files are passed over.
    Raises UnicodeEncodeError for a name that is no text.
    """
    found = []
    for path in folder.iterdir():
        if path.suffix.lower() not in ENDINGS or path.name.startswith((".", "~")) or not path.is_file():
            continue
        path.name.encode()  # a cursor is text
        status = path.stat()
        file = Place(max(status.st_ctime_ns, status.st_mtime_ns), path.name)
        if (file.stamp, file.name) == (place.stamp, place.name):
            file = place  # as it was: the rest of it
        if file >= place and file.stamp <= before and file.offset < status.st_size:
            found.append(file)
    return sorted(found)


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its values or why there are none, the line's beginning in octets, and where the next one begins."""

    values: dict[str, Any] | NoContact
    begins: int
    ends: int


def rows_from(path: Path, offset: int) -> Iterator[Row]:
    """Yield the rows of a file from an octet on; what is wrong with one keeps no other from it.

    Raises `NoContact` where it has no header that can be used.
    """
    with path.open("rb") as file:
        if ENDINGS[path.suffix.lower()] == "jsonl":
            file.seek(offset)
            yield from _jsonl(file)
        else:
            yield from _csv(file, offset)


def _jsonl(file: BinaryIO) -> Iterator[Row]:
    begins = file.tell()
    while line := file.readline(LONGEST_LINE):
        values: dict[str, Any] | NoContact
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            _skip_line(file)
            values = NoContact(f"its line has more than {LONGEST_LINE:,} octets")
        else:
            values = _object(line)
        ends = file.tell()
        if line.strip(b" \t\r\n\xef\xbb\xbf"):
            yield Row(values, begins, ends)
        begins = ends


def _object(line: bytes) -> dict[str, Any] | NoContact:
    try:
        found = orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except ValueError:
        return NoContact("its line is not JSON in UTF-8")
    return found if isinstance(found, dict) else NoContact("its line is no object in braces")


def _csv(file: BinaryIO, offset: int) -> Iterator[Row]:
    lines = _Lines(file)
    first = file.readline(LONGEST_LINE).removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    delimiter = max(",;\t|", key=first.count)
    file.seek(0)
    try:
        cells = next(csv.reader(lines, delimiter=delimiter, strict=True))
    except (csv.Error, StopIteration, NoContact):
        raise NoContact("its first line is no header") from None
    header = [name.strip().removeprefix("\ufeff") for name in cells]
    if not all(header) or len(set(header)) != len(header):
        raise NoContact("its header has a column without a name, or one twice")
    begins = max(offset, file.tell())
    while True:
        file.seek(begins)
        for row in _csv_rows(lines, header, delimiter):
            begins = row.ends
            yield row
            if isinstance(row.values, NoContact):
                break  # where a quote was left open the reader has lost its place
        else:
            return


def _csv_rows(lines: "_Lines", header: list[str], delimiter: str) -> Iterator[Row]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    begins = lines.begin()
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, NoContact) as error:
            # One quote left open must not swallow what follows: only its first line is lost.
            yield Row(NoContact(f"it is not CSV in UTF-8: {error}"), begins, lines.after_first)
            return
        ends = lines.file.tell()
        if cells:
            ragged = NoContact(f"it has {len(cells)} columns, the header has {len(header)}")
            yield Row(dict(zip(header, cells, strict=True)) if len(cells) == len(header) else ragged, begins, ends)
        begins = lines.begin()


class _Lines:
    """Lines for a reader of CSV, which takes one at a time: so the file's own place is where the next row begins."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._first: int | None = None
        self._taken = 0

    @property
    def after_first(self) -> int:
        """Where the second line of the row begins."""
        return self.file.tell() if self._first is None else self._first

    def begin(self) -> int:
        """Begin a row, where the file is."""
        self._first, self._taken = None, 0
        return self.file.tell()

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self.file.readline(LONGEST_LINE)
        if not line:
            raise StopIteration
        self._taken += len(line)
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            _skip_line(self.file)
        if self._first is None:
            self._first = self.file.tell()
        if self._taken >= LONGEST_LINE:
            raise NoContact(f"it has more than {LONGEST_LINE:,} octets")
        try:
            return line.decode()
        except UnicodeDecodeError:
            raise NoContact("a line of it is not UTF-8") from None


def _skip_line(file: BinaryIO) -> None:
    while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
        pass
