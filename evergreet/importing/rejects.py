"""Rows that cannot be used: the reason, and the file they are listed in."""

import csv
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from evergreet.errors import DataError

HEADER = ["line", "reason", "row"]


class Rejected(Exception):
    """One row cannot be used. `reason` is a short kind that is counted, `detail` the sentence with values."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


def shown(value: object) -> str:
    """Return a value for a sentence: quoted, and not longer than a line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…{text[0]}"


class RejectsFile:
    """A CSV of line number, reason and the row as it stood in the file; made when the first row is rejected.

    A rejects file of an earlier run is replaced, or removed when nothing is rejected any more; with `keep` it stays
    then, as this run did not see again what that one rejected.
    """

    def __init__(self, path: Path, source: Path | None = None, *, keep: bool = False) -> None:
        if path.exists() and (path.is_dir() or (source is not None and path.samefile(source))):
            raise DataError(f"--rejects {path}: this is a folder or the input itself; name another file.")
        if not path.parent.is_dir():
            raise DataError(f"--rejects {path}: there is no folder {path.parent}.")
        self.path = path
        self._keep = keep
        self.reasons: Counter[str] = Counter()
        self._file: IO[str] | None = None
        self._writer: Any = None

    @property
    def count(self) -> int:
        """How many rows were rejected."""
        return self.reasons.total()

    def add(self, line: int, rejected: Rejected, raw: str) -> None:
        """List one row."""
        if self._file is None:
            try:
                self._file = self.path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
            except OSError as error:
                raise DataError(f"The rejects file {self.path} cannot be written: {error.strerror}.") from None
            self._writer = csv.writer(self._file)
            self._writer.writerow(HEADER)
        self.reasons[rejected.reason] += 1
        self._writer.writerow([line, str(rejected), raw.rstrip("\r\n")])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        elif kind is None and not self._keep and _is_ours(self.path):
            self.path.unlink()


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline(100).strip() == ",".join(HEADER)
