"""How fast the command line answers, as whole processes: `python benchmarks/cli.py [RUNS]`.

`--help` should answer in under 0.3 s and commands that only read in under 1 s; this prints what they take on
this machine, the median of some runs after one that warms the caches, on a database with a sample shop. The
CPU time says what a busy machine hides.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from evergreet.demo.shop import make_shop

COMMANDS: tuple[tuple[str, float], ...] = (
    ("--help", 0.3),
    ("import contacts --help", 0.3),
    ("run --help", 0.3),
    ("connectors", 1.0),
    ("db check", 1.0),
    ("campaigns", 1.0),
    ("audit", 1.0),
    ("workers", 1.0),
    ("preview thank_you/receipt", 1.0),
)
"""Each command with the seconds it should stay under."""


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    table = Table("command", "median s", "slowest s", "CPU s", "should be under")
    table.title = f"whole processes, {runs} runs each"
    with tempfile.TemporaryDirectory() as folder:
        environment = _sample(Path(folder))
        for command, bound in COMMANDS:
            _seconds(command, Path(folder), environment)
            before = _cpu()
            seconds = [_seconds(command, Path(folder), environment) for _ in range(runs)]
            cpu = (_cpu() - before) / runs
            table.add_row(
                f"evergreet {command}", f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}", f"{cpu:.2f}",
                f"{bound:.1f}",
            )  # fmt: skip
    Console(width=100).print(table)


def _sample(folder: Path) -> dict[str, str]:
    """Load a sample shop into a database of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EVERGREET_")}
    environment["EVERGREET_DATABASE_URL"] = f"sqlite:///{folder}/evergreet.db"
    shop = make_shop(folder / "shop", until=datetime.now(UTC))
    for command in (f"import contacts {shop.contacts}", f"import events {shop.events}"):
        _seconds(command, folder, environment)
    return environment


def _cpu() -> float:
    """CPU seconds of all processes that ended so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _seconds(command: str, folder: Path, environment: dict[str, str]) -> float:
    evergreet = Path(sys.executable).parent / "evergreet"
    begun = time.perf_counter()
    done = subprocess.run(
        [evergreet, *command.split()],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - begun
    if done.returncode not in (0, 3):  # 3: imported, with some rows rejected
        sys.exit(f"evergreet {command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return seconds


if __name__ == "__main__":
    main()
