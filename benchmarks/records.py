"""Results as they are kept: a JSON file beside the page, to which each run adds what it measured anew.

So figures for a million messages, made once in a while, stay where a quick run makes those for ten thousand again.
"""

import json
import platform
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import psutil

from benchmarks.engine import Result
from benchmarks.peers.results import Treated

T = TypeVar("T")


@dataclass(slots=True)
class Records:
    """All there is: cases, other benches by name with rows of any columns, and peers; `machines` by day."""

    cases: list[Result] = field(default_factory=list)
    others: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    peers: list[Treated] = field(default_factory=list)
    machines: dict[str, str] = field(default_factory=dict)

    def add(self, new: "Records") -> None:
        """Take in newer records: they replace those of the same thing."""
        self.cases = _joined(self.cases, new.cases, lambda one: (one.purpose, one.n, one.store, one.sink))
        self.peers = _joined(self.peers, new.peers, lambda one: (one.treatment, one.store, one.n, one.who))
        self.others |= new.others
        self.machines |= new.machines


def read(path: Path) -> Records:
    """Read the records of a file; none where there is no file."""
    if not path.exists():
        return Records()
    found = json.loads(path.read_text(encoding="utf-8"))
    return Records(
        [Result(**one) for one in found["cases"]], found["others"], [Treated(**one) for one in found["peers"]],
        found["machines"],
    )  # fmt: skip


def write(path: Path, records: Records) -> None:
    """Write all records."""
    path.write_text(json.dumps(asdict(records), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def machine() -> dict[str, str]:
    """Return what this is measured on, by today's date."""
    memory = psutil.virtual_memory().total / 2**30
    said = f"{platform.system()} {platform.machine()}, {psutil.cpu_count()} cores, {memory:.0f} GiB"
    return {f"{datetime.now(UTC):%Y-%m-%d}": f"{said}, Python {platform.python_version()}"}


def _joined(old: Iterable[T], new: Iterable[T], key: Callable[[T], tuple[Any, ...]]) -> list[T]:
    found = {key(one): one for one in (*old, *new)}
    return [found[place] for place in sorted(found)]
