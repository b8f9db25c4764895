"""Running the code blocks of a document, in order, in a working folder of their own.

How each kind is run (a block of any other kind fails the test that runs the document):

- `bash`: by `bash -euo pipefail` in the working folder, with the commands of this environment on the path. The folder
  has the files that the documents speak of: `contacts.csv`, `events.jsonl.gz` and `suppressions.csv` of a small sample
  shop. `make` is a stand-in (`MAKE`) that loads the target's own Python module and leaves running it to that module's
  tests.
- `python`: as a file of its own, `block_N.py`, by the Python of this environment.
- `dotenv`: as the `.env` of the working folder; the engine's settings must accept it, and it stays in force.
- `sql`: by SQLite on the database that the blocks before it filled; each statement must be accepted.
- `postgresql`: by PostgreSQL, outside a transaction, on a fresh database with the schema.
- `console`: each line after `$ ` by `bash` in the working folder, whatever its exit code; each line below it, with
  `…` for anything, must be among what it says.
- A block of any kind whose first line goes on with a path (as in `python acme/hello.py`) is written to that file.
"""

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import create_engine

from evergreet.database import parse_url
from evergreet.demo.shop import make_shop

ROOT = Path(__file__).resolve().parent.parent
DATABASE = ".evergreet/evergreet.db"
SECONDS = 240

MAKE = {
    "help": ("make", "-s", "-C", str(ROOT), "help"),
    "setup": (sys.executable, "-c", "import evergreet, prefect, pytest"),
    "demo": (sys.executable, "-c", "import evergreet.demo.__main__, evergreet.demo.story"),
    "up": (sys.executable, "-c", "import evergreet.orchestration.up"),
    "chaos": (sys.executable, "-m", "py_compile", str(ROOT / "tests" / "chaos" / "__main__.py")),
    "test": (sys.executable, "-m", "pytest", "--version"),
    "check": (sys.executable, "-m", "ruff", "--version"),
    "wheel": (sys.executable, "-m", "py_compile", str(ROOT / "tests" / "wheel.py")),
}
"""What `make TARGET` means in a document under test.

`tests/demo/test_story.py` runs the demo whole, `tests/orchestration` runs `up`, `tests/chaos` a minute of chaos;
`test`, `check` and `wheel` would run this very test.
"""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced code block: where it begins, what it says it is, what it holds, and the file it is to be."""

    line: int
    kind: str
    text: str
    file: str = ""


def blocks(document: Path) -> Iterator[Block]:
    """Yield the fenced code blocks of a Markdown file."""
    text = document.read_text("utf-8")
    for found in re.finditer(r"^( *)```(\S*)[ ]*(\S*)[^\n]*\n(.*?)^\1```[ ]*$", text, re.MULTILINE | re.DOTALL):
        indent = len(found[1])
        lines = [line[indent:] for line in found[4].splitlines()]
        yield Block(text.count("\n", 0, found.start()) + 1, found[2], "\n".join(lines) + "\n", found[3])


class Workplace:
    """A folder in which the blocks of one document are run, one after the other."""

    def __init__(self, folder: Path, postgres: Callable[[], str]) -> None:
        self.folder = folder
        self._postgres = postgres
        self._tools = folder / "tools"
        self._tools.mkdir(parents=True)
        (self._tools / "make").write_text(
            f'#!/bin/sh\ncd "{folder}" && exec "{sys.executable}" -m tests.documents "$@"\n'
        )
        (self._tools / "make").chmod(0o755)
        shop = make_shop(folder / "demo" / "data", until=datetime.now(UTC).replace(microsecond=0), customers=150)
        for file in (shop.contacts, shop.events, shop.suppressions):
            (folder / file.name).symlink_to(file)

    def run(self, block: Block) -> None:
        """Run one block; raises AssertionError with what it said when it fails."""
        if block.file:
            file = self.folder / block.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, "utf-8")
            return
        match block.kind:
            case "bash":
                self._process(["bash", "-euo", "pipefail", "-c", block.text], block)
            case "console":
                for command in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
                    self._converse(command, block)
            case "python":
                file = self.folder / f"block_{block.line}.py"
                file.write_text(block.text, "utf-8")
                self._process([sys.executable, str(file)], block)
            case "dotenv":
                (self.folder / ".env").write_text(block.text, "utf-8")
                self._process([sys.executable, "-c", "from evergreet.settings import settings; settings()"], block)
            case "sql":
                self._sql(block)
            case "postgresql":
                run_on_postgres(self._postgres(), block.text)
            case other:
                raise AssertionError(
                    f"line {block.line}: nothing runs a block of kind {other!r}; see tests/documents.py"
                )

    def _converse(self, text: str, block: Block) -> None:
        command, *expected = text.strip().splitlines()
        done = self._call(["bash", "-c", command])
        said = f"{done.stdout}{done.stderr}"
        assert "Traceback" not in said, f"line {block.line}: {command}\n{said}"
        for line in expected:
            pattern = ".*".join(re.escape(part) for part in line.strip().split("…"))
            assert re.search(pattern, said), f"line {block.line}: {command}\nsays nowhere {line!r} but:\n{said}"

    def _process(self, command: list[str], block: Block) -> None:
        done = self._call(command)
        said = f"line {block.line}:\n{block.text}\nended with {done.returncode}\n{done.stdout}{done.stderr}"
        assert done.returncode == 0, said
        assert "Traceback" not in done.stderr, said

    def _call(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("EVERGREET_")},
            "PATH": os.pathsep.join([str(self._tools), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT),
            "PREFECT_HOME": str(self.folder / "prefect"),
        }
        return subprocess.run(
            command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=SECONDS, check=False,
        )  # fmt: skip

    def _sql(self, block: Block) -> None:
        with sqlite3.connect(self.folder / DATABASE) as connection:
            for statement in filter(str.strip, block.text.split(";")):
                connection.execute(statement).fetchall()


def run_on_postgres(url: str, statement: str) -> None:
    """Run a statement as `psql` would, outside a transaction."""
    engine = create_engine(parse_url(url), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
    finally:
        engine.dispose()


def make(targets: list[str]) -> int:
    """Stand in for `make`: run what each target means here; variables say how much of it."""
    meant = [MAKE[target] for target in targets if "=" not in target]
    return next((code for words in meant if (code := subprocess.run(words, check=False).returncode)), 0)


if __name__ == "__main__":
    sys.exit(make(sys.argv[1:]))
