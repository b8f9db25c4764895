"""Shows on standard error how far an import is: a bar in a terminal, a line every few seconds elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from evergreet.contracts import Reporter

LINE_SECONDS = 2.0


class _Lines:
    def __init__(self, name: str) -> None:
        self._name = name
        self._told = time.monotonic()

    def progress(self, phase: str, done: int, total: int | None) -> None:
        if time.monotonic() - self._told < LINE_SECONDS:
            return
        self._told = time.monotonic()
        share = f"{done / total:.0%}" if total else f"{done:,} bytes"
        print(f"{phase} {self._name}: {share} read", file=sys.stderr, flush=True)  # noqa: T201 - this is what it is for


class _Bar:
    def __init__(self, bar: Progress, name: str) -> None:
        self._bar = bar
        self._task = bar.add_task(name, total=None)

    def progress(self, phase: str, done: int, total: int | None) -> None:
        self._bar.update(self._task, completed=done, total=total, description=phase)


@contextmanager
def shown_progress(name: str) -> Iterator[Reporter]:
    """Give a reporter that shows bytes read of `name`."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(name)
        return
    columns = (TextColumn("{task.description} " + name.replace("{", "{{").replace("}", "}}"), markup=False),
               BarColumn(), DownloadColumn(), TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console, transient=True) as bar:
        yield _Bar(bar, name)
