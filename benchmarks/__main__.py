"""All cases, one after another, each in a process of its own: `python -m benchmarks --n 10000 --n 100000`.

Prints one table. The exit code is 1 where a message was lost or doubled or a case broke off; no figure is judged.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.engine import Result
from benchmarks.sinks import SINKS
from benchmarks.stores import STORES
from benchmarks.table import table

SIZES = (10_000, 100_000)
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    asked.add_argument("--n", type=int, action="append", help=f"messages, may be repeated (default: {SIZES})")
    asked.add_argument("--store", choices=STORES, action="append", help="may be repeated (default: all)")
    asked.add_argument("--sink", choices=SINKS, action="append", help="may be repeated (default: all)")
    asked.add_argument("--profile", action="store_true", help="say where the time goes; the figures suffer from it")
    asked.add_argument("--write", type=Path, help=f"a page to put the table into, between {BEGIN} and {END}")
    given = asked.parse_args()
    results: list[Result] = []
    broken = 0
    for n in given.n or SIZES:
        for store in given.store or STORES:
            for sink in given.sink or SINKS:
                result = _in_process(n, store, sink, profile=given.profile)
                if result is None:
                    broken += 1
                else:
                    results.append(result)
    told = table(results)
    print(told)
    if given.write:
        _write(given.write, told)
    return 1 if broken or any(result.findings for result in results) else 0


def _in_process(n: int, store: str, sink: str, *, profile: bool) -> Result | None:
    """Run a case in a fresh process, so that its memory and its caches are its own."""
    print(f"{store} → {sink}, {n:,} …", end=" ", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "benchmarks.engine", "--n", str(n), "--store", store, "--sink", sink]
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [*command, *(["--profile"] if profile else [])], cwd=root, stdout=subprocess.PIPE, text=True, check=False
    )
    if not done.stdout:
        print(f"broke off with {done.returncode}", file=sys.stderr)
        return None
    result = Result(**json.loads(done.stdout))
    said = result.skipped or f"{result.total:.0f} µs a message, bare {result.bare:.0f}"
    print(f"{said}{', THE BOOKS DISAGREE' if result.findings else ''}", file=sys.stderr)
    return result


def _write(page: Path, told: str) -> None:
    text = page.read_text(encoding="utf-8")
    kept = re.compile(f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", re.DOTALL)
    if not kept.search(text):
        sys.exit(f"{page} has no lines {BEGIN} and {END} to put the table between.")
    page.write_text(kept.sub(lambda _: f"\n{told}\n\n", text), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
