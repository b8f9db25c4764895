"""Opening a file to import: what it is, how it is packed and encoded, and its lines, bounded in length."""

import gzip
import io
import stat
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

from evergreet.errors import DataError
from evergreet.importing.encodings import checked_encoding, detect_encoding

GZIP = b"\x1f\x8b"
SAMPLE_BYTES = 262_144
LONGEST_LINE = 1_048_576
"""Characters; a longer line is rejected, so that memory stays bounded whatever the file is."""

BLOCK_LINES = 1000
BLOCK_CHARACTERS = 1_048_576

Format = Literal["csv", "jsonl"]
_FORMATS: dict[str, Format] = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


class LineTooLong(Exception):
    """A line has more than `LONGEST_LINE` characters; it was skipped."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that was looked at and can be read, several times if need be."""

    path: Path
    format: Format
    gzipped: bool
    encoding: str
    size: int

    @contextmanager
    def lines(self) -> Iterator["Lines"]:
        """Open the file and give its lines."""
        with self.path.open("rb") as raw:
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if self.gzipped else raw
            errors = "surrogateescape" if self.encoding.startswith("utf-8") else "strict"
            newline = "" if self.format == "csv" else "\n"
            with io.TextIOWrapper(stream, encoding=self.encoding, errors=errors, newline=newline) as text:
                yield Lines(self, raw, text)


class Lines:
    """The physical lines of a file with their numbers; a reader may hand lines back."""

    def __init__(self, file: SourceFile, raw: BinaryIO, text: io.TextIOWrapper) -> None:
        self.file = file
        self.number = 0
        self._raw = raw
        self._text = text
        self._returned: deque[str] = deque()
        self._broken: DataError | None = None
        self.taken: list[str] = []

    @property
    def position(self) -> int:
        """How many bytes of the file were read, packed as they are."""
        return self._raw.tell()

    def begin(self) -> int:
        """Begin a new record: forget the lines taken, and return the number of the next one."""
        self.taken.clear()
        return self.number + 1

    def hand_back(self, keep: int) -> None:
        """Hand back the lines taken since `begin`, except the first `keep`."""
        returned = self.taken[keep:]
        self._returned.extendleft(reversed(returned))
        self.number -= len(returned)
        del self.taken[keep:]

    def block(self, count: int) -> list[str]:
        """Take so many lines at once, or fewer: a line that is too long must be taken alone, and the file ends."""
        found: list[str] = []
        characters = 0
        while len(found) < count and characters < BLOCK_CHARACTERS:
            try:
                line = self._returned.popleft() if self._returned else self._read()
            except DataError as error:
                if not found:
                    raise
                self._broken = error  # what was read before it comes first
                break
            if not line:
                break
            if len(line) >= LONGEST_LINE and not line.endswith(("\n", "\r")):
                self._returned.appendleft(line)
                break
            found.append(line)
            characters += len(line)
        self.number += len(found)
        self.taken = found
        return found

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else self._read()
        if not line:
            raise StopIteration
        self.number += 1
        self.taken.append(line)
        if len(line) >= LONGEST_LINE and not line.endswith(("\n", "\r")):
            while (rest := self._read()) and not rest.endswith(("\n", "\r")):
                pass
            raise LineTooLong
        return line

    def _read(self) -> str:
        if self._broken is not None:
            raise self._broken
        try:
            return self._text.readline(LONGEST_LINE)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise DataError(
                f"{self.file.path} is a damaged gzip file: it breaks off after line {self.number:,}. "
                f"Get a whole copy and run the command again; rows that are stored already are recognised."
            ) from None
        except UnicodeError as error:
            raise DataError(
                f"{self.file.path} is not {self.file.encoding} after line {self.number:,} ({error}). "
                f"Say another --encoding, or save it as UTF-8."
            ) from None


def open_source(path: Path, encoding: str | None = None) -> SourceFile:
    """Look at a file and say what it is; a file that cannot be read is a `DataError` that says why."""
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise DataError(f"{path} is a folder; name a file.")
        if not stat.S_ISREG(found.st_mode):
            raise DataError(f"{path} is not an ordinary file; it may have to be read twice. Save it to disk first.")
        with path.open("rb") as raw:
            gzipped = raw.read(2) == GZIP
            raw.seek(0)
            sample = gzip.GzipFile(fileobj=raw).read1(SAMPLE_BYTES) if gzipped else raw.read(SAMPLE_BYTES)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file.") from None
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise DataError(f"{path} is a damaged gzip file: not even its beginning unpacks. Get a whole copy.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    if not sample.strip():
        raise DataError(f"{path} is empty.")
    named = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return SourceFile(
        path=path,
        format=_FORMATS.get(named.suffix.lower()) or ("jsonl" if sample.lstrip().startswith(b"{") else "csv"),
        gzipped=gzipped,
        encoding=checked_encoding(encoding) if encoding else detect_encoding(sample, path),
        size=found.st_size,
    )
