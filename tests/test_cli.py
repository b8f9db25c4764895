"""The command line: help with an example everywhere, quick, and sentences instead of tracebacks."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from evergreet.cli import app

ROOT = Path(__file__).resolve().parent.parent


def _commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(_commands(typer.main.get_command(app)))


def _evergreet(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a person does: a process of its own in the test's empty folder."""
    return subprocess.run(
        [Path(sys.executable).parent / "evergreet", *arguments],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "COLUMNS": "200", **settings},
    )  # fmt: skip


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example_that_calls_it(path: tuple[str, ...]) -> None:
    words = COMMANDS[path].help or ""
    assert re.match(r"\S.*[.?]", words), "the first sentence says what it does"
    assert f"evergreet {' '.join(path)}" in words.partition("Example:")[2]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_says_what_it_does(path: tuple[str, ...]) -> None:
    silent = [parameter.name for parameter in COMMANDS[path].params if not getattr(parameter, "help", None)]
    assert silent == []


def test_help_imports_neither_prefect_nor_a_database() -> None:
    ask_all = """
import sys
from typer.testing import CliRunner
from evergreet.cli import app
from tests.test_cli import COMMANDS
for path in ((), *COMMANDS):
    answer = CliRunner().invoke(app, [*path, "--help"])
    assert answer.exit_code == 0, (path, answer.output)
    assert "Usage" in answer.output, path
heavy = {name.partition(".")[0] for name in sys.modules} & {
    "prefect", "sqlalchemy", "sqlmodel", "alembic", "jinja2", "fastapi", "models", "flows", "connectors"}
assert not heavy, heavy
"""
    done = subprocess.run(
        [sys.executable, "-c", ask_all], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "settings", "says"),
    [
        (
            ("db", "check"),
            {"EVERGREET_DATABASE_URL": "mysql://root:hunter2@localhost/shop"},
            "SQLite and PostgreSQL",
        ),
        (("db", "check"), {"EVERGREET_DATABASE_URL": "nonsense"}, "sqlite:///path"),
        (("db", "check"), {"EVERGREET_RETRIES": "many"}, "EVERGREET_RETRIES"),
        (("db", "check"), {"EVERGREET_DEFAULT_TIMEZONE": "Europe/Atlantis"}, "EVERGREET_DEFAULT_TIMEZONE"),
        (("connectors", "check", "pigeon"), {}, "no connector 'pigeon'"),
        (("run", "no-such-campaign"), {}, "no campaign 'no-such-campaign'"),
        (
            ("run", "thank-you"),
            {"EVERGREET_CAMPAIGNS": "acme_campaigns"},
            "EVERGREET_CAMPAIGNS=acme_campaigns",
        ),
        (("import", "contacts", "missing.csv"), {}, "missing.csv"),
        (("preview", "thank_you/no_such_message"), {}, "no_such_message"),
    ],
)
def test_what_a_person_can_mend_is_a_sentence_and_exit_code_1(
    arguments: tuple[str, ...], settings: dict[str, str], says: str
) -> None:
    done = _evergreet(*arguments, **settings)
    assert done.returncode == 1, done.stdout + done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert "hunter2" not in done.stderr + done.stdout


def test_a_misspelt_command_is_answered_with_usage() -> None:
    done = _evergreet("lunch", "thank-you")
    assert done.returncode == 2
    assert "No such command" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_make_target_says_what_it_is_for() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = re.findall(r"^\.PHONY: (\S+)", makefile, re.MULTILINE)
    documented = re.findall(r"^([a-z-]+):.*##\s+\S", makefile, re.MULTILINE)
    assert targets == documented
    helped = subprocess.check_output(["make", "-s", "help"], cwd=ROOT, text=True)
    assert [line.split()[0] for line in helped.splitlines()] == targets
