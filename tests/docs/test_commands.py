"""Every command line in the documents is one that the program understands."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from evergreet.cli import app
from tests.documents import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])
LINE = re.compile(r"(?:`|^(?:\$ )?(?:\w+=\S+ )?|\$\()evergreet\s+([^`\n|;#)]*(?:\n[^`\n|;#)]+(?=`))?)", re.MULTILINE)
"""A command in a code span (which may go on in the next line) or at the beginning of a line of a block."""


def command_lines(text: str) -> Iterator[list[str]]:
    for found in LINE.finditer(text):
        try:
            words = shlex.split(found[1])
        except ValueError:  # a quote that closes elsewhere
            words = found[1].split()
        if words and re.fullmatch(r"[a-z][a-z-]*", words[0]):
            yield words


def fault_of(words: list[str]) -> str | None:
    """Say what is wrong with a command line, by what `--help` knows."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while hasattr(command, "commands"):
        if rest and rest[0] in command.commands:
            command = command.commands[rest.pop(0)]
        elif "list" in command.commands:
            command = command.commands["list"]
        elif command.invoke_without_command and not [word for word in rest if not word.startswith("-")]:
            break
        else:
            return f"no command: evergreet {' '.join(words)}"
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    unknown = [
        word for word in rest if word.startswith("--") and word.partition("=")[0].rstrip("…") not in {*known, "--help"}
    ]
    return f"no option {unknown[0]}: evergreet {' '.join(words)}" if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_line_is_understood(page: Path) -> None:
    faults = [fault_of(words) for words in command_lines(page.read_text("utf-8"))]
    assert [fault for fault in faults if fault] == []


def test_the_pages_have_command_lines_and_a_wrong_one_is_found() -> None:
    assert sum(len(list(command_lines(page.read_text("utf-8")))) for page in PAGES) > 60
    assert fault_of(["lunch", "thank-you"]) == "no command: evergreet lunch thank-you"
    assert fault_of(["run", "thank-you", "--dry"]) == "no option --dry: evergreet run thank-you --dry"
    assert fault_of(["broadcasts", "new-product-announcement", "--json"]) is None
