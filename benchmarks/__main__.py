"""All cases, one after another, each in a process of its own: `python -m benchmarks --n 10000 --n 100000`.

Prints tables. The exit code is 1 where a message was lost or doubled or a case broke off; no figure is judged.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import records
from benchmarks.engine import Result
from benchmarks.peers import treatments
from benchmarks.picture import draw
from benchmarks.records import Records
from benchmarks.sinks import SINKS
from benchmarks.stores import STORES
from benchmarks.table import tables

SIZES = (10_000, 100_000)
RECEIPTS = 2_000
"""Transactional messages, which cost what they cost at any number."""
SEGMENT = "A segment: bought in 30 days, not in 7, fewer than 3 logins"
INGEST = "Events posted to `evergreet serve`, a hundred a request, by wrk with four connections"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    asked.add_argument("--n", type=int, action="append", help=f"messages, may be repeated (default: {SIZES}; 0: none)")
    asked.add_argument("--store", choices=STORES, action="append", help="may be repeated (default: all)")
    asked.add_argument("--sink", choices=SINKS, action="append", help="may be repeated (default: all)")
    asked.add_argument("--transactional", type=int, default=0, metavar="N", help="as many receipts, one a window")
    asked.add_argument("--peers", type=int, default=0, metavar="N", help="as many messages by others as well")
    asked.add_argument("--segment", type=int, nargs=2, metavar=("CONTACTS", "EVENTS"), help="a segment over as many")
    asked.add_argument("--ingest", type=int, default=0, metavar="SECONDS", help="events posted over HTTP for so long")
    asked.add_argument("--profile", action="store_true", help="say where the time goes; the figures suffer from it")
    asked.add_argument("--write", type=Path, help=f"a page to put the tables into, between {BEGIN} and {END}")
    given = asked.parse_args()
    if given.write:
        _pattern_in(given.write)  # before an hour of measuring
    stores, sinks = given.store or STORES, given.sink or SINKS
    cases = [(n, store, sink, "marketing") for n in given.n or SIZES for store in stores for sink in sinks if n]
    if given.transactional:
        cases += [(given.transactional, store, sink, "transactional") for store in stores for sink in sinks]
    results = [_in_process(*case, profile=given.profile) for case in cases]
    found = Records([one for one in results if one], machines=records.machine())
    if given.peers:
        found.peers = treatments.all_of(given.peers, stores)
    others = {}
    if given.segment:
        others[SEGMENT] = ["benchmarks.segment", *map(str, given.segment)]
    if given.ingest:
        others[INGEST] = ["benchmarks.ingest", str(given.ingest)]
    measured = {name: _rows(*command) for name, command in others.items()}
    found.others |= {name: rows for name, rows in measured.items() if rows}
    print(tables(found))
    if given.write:
        _write(given.write, found)
    broken = None in results or None in measured.values()
    return 1 if broken or any(result.findings for result in found.cases) else 0


def _in_process(n: int, store: str, sink: str, purpose: str, *, profile: bool) -> Result | None:
    """Run a case in a fresh process, so that its memory and its caches are its own."""
    print(f"{store} → {sink}, {n:,} {purpose} …", end=" ", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "benchmarks.engine", "--n", str(n), "--store", store, "--sink", sink]
    command += ["--purpose", purpose, *(["--profile"] if profile else [])]
    root = Path(__file__).parent.parent
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=False)
    if not done.stdout:
        print(f"broke off with {done.returncode}", file=sys.stderr)
        return None
    result = Result(**json.loads(done.stdout))
    said = result.skipped or f"{result.total:.0f} µs a message, bare {result.bare:.0f}"
    print(f"{said}{', THE BOOKS DISAGREE' if result.findings else ''}", file=sys.stderr)
    return result


def _rows(module: str, *arguments: str) -> list[dict[str, Any]] | None:
    """Run a bench of its own: rows, with columns by heading; none where it is left out, None where it broke off."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(f"{module} broke off with {done.returncode}", file=sys.stderr)
        return None
    return [{name.replace("_", " "): value for name, value in row.items()} for row in json.loads(done.stdout)]


def _write(page: Path, found: Records) -> None:
    """Add the records to those beside the page, and put tables and picture of all of them into it."""
    everything = records.read(page.with_suffix(".json"))
    everything.add(found)
    records.write(page.with_suffix(".json"), everything)
    picture = page.with_suffix(".svg")
    draw(everything, picture)
    told = f"![CPU per message]({picture.name})\n\n{tables(everything)}"
    text = page.read_text(encoding="utf-8")
    page.write_text(_pattern_in(page).sub(lambda _: f"\n{told}\n\n", text), encoding="utf-8")


def _pattern_in(page: Path) -> re.Pattern[str]:
    """Return what finds the place of the tables in a page; ends the command with a sentence where it has none."""
    place = re.compile(f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", re.DOTALL)
    if not page.is_file() or not place.search(page.read_text(encoding="utf-8")):
        sys.exit(f"{page} is no page with lines {BEGIN} and {END} to put the tables between.")
    return place


if __name__ == "__main__":
    sys.exit(main())
