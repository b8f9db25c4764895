"""`make demo`, as a process: stopped half-way, gone on with, and run once more."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil
import pytest

from evergreet.demo.gallery import OF_EACH_KIND, kind_of
from evergreet.registry import find_campaigns

pytestmark = [pytest.mark.prefect_server, pytest.mark.timeout(600)]


RUN = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("evergreet.demo", run_name="__main__")
"""
"""The demo as in a terminal: whatever runs these tests may be one where SIGINT is ignored."""


def _demo(folder: Path) -> "subprocess.Popen[str]":
    environment = {
        **os.environ, "HOME": str(folder / "home"), "PREFECT_API_URL": "http://127.0.0.1:1/api",
        "EVERGREET_DEMO_CUSTOMERS": "120", "EVERGREET_DEMO_DAYS": "18",
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-c", RUN], cwd=folder, env=environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def _whole(folder: Path) -> str:
    with _demo(folder) as process:
        said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


def _mails(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "demo" / "outbox").rglob("*.eml")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def stopped(folder: Path) -> str:
    """The demo, stopped by Ctrl-C while the years pass."""
    said: list[str] = []
    children: list[psutil.Process] = []
    with _demo(folder) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if line.startswith("… Two years") and not children:
                children = psutil.Process(process.pid).children(recursive=True)
                os.killpg(process.pid, signal.SIGINT)
        # 130 to a shell either way: Python ends by the signal itself where it met it inside an exec of text.
        assert process.wait(60) in {130, -signal.SIGINT}, "".join(said)
    assert children, "the Prefect server starts beside the walk"
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    return "".join(said)


@pytest.fixture(scope="module")
def finished(folder: Path, stopped: str) -> str:
    """The demo, run after it was stopped."""
    return _whole(folder)


@pytest.fixture(scope="module")
def again(folder: Path, finished: str) -> tuple[str, dict[str, int]]:
    """The demo, run once more, with the mails that were there before."""
    before = _mails(folder)
    assert "Nothing was sent twice" not in finished
    return _whole(folder), before


def test_ctrl_c_is_answered_with_a_sentence_and_leaves_nothing_running(stopped: str) -> None:
    assert stopped.splitlines()[0].startswith("Evergreet demo")
    assert "Stopped. What was done is stored" in stopped
    assert "Traceback" not in stopped


def _table(said: str) -> dict[str, list[int]]:
    """Return the numbers of the table of campaigns by its first column."""
    rows = re.findall(r"^│ ([a-z-]+) +│((?: +[\d,]+ +│)+)$", said.partition("│ Campaign")[2] or said, re.MULTILINE)
    return {name: [int(number.replace(",", "")) for number in re.findall(r"[\d,]+", cells)] for name, cells in rows}


def test_every_campaigns_balance_adds_up_and_every_accepted_message_is_a_mail(folder: Path, finished: str) -> None:
    table = _table(finished)
    assert set(table) == {*find_campaigns("flows"), "all"}
    for name, (due, *parts) in table.items():
        assert due == sum(parts), name
    assert sum(due > 0 for due, *_ in table.values()) > 5
    _due, accepted, skipped, _deferred, pending, failed, unknown = table["all"]
    assert accepted == len(_mails(folder)) > 50
    assert skipped > 20
    assert pending == failed == unknown == 0


def test_each_run_is_recorded_in_the_ledger_once(folder: Path, finished: str) -> None:
    with sqlite3.connect(folder / "demo" / "evergreet.db") as connection:
        sent, people = connection.execute(
            "SELECT count(*), count(DISTINCT provider_id) FROM message WHERE state = 'accepted'"
        ).fetchone()
        (repeats,) = connection.execute("SELECT count(*) FROM attempt WHERE number > 1").fetchone()
    assert sent == people == len(_mails(folder))
    assert repeats == 0
    assert "messages were due by the events" in finished


def test_the_funnel_counts_every_customer(folder: Path, finished: str) -> None:
    funnel = finished.partition("Stage of the lifecycle")[2].partition("Campaign")[0]
    now = [int(found.replace(",", "")) for found in re.findall(r"^│ [A-Z].*?│ +([\d,]+) │", funnel, re.MULTILINE)]
    assert sum(now) == 120
    assert sum(count > 0 for count in now) >= 4
    assert (folder / "demo" / "funnel.svg").as_uri() in finished
    assert "120 contacts in its stages; all moves" in (folder / "demo" / "funnel.svg").read_text("utf-8")


def test_the_page_shows_some_mails_of_every_kind(folder: Path, finished: str) -> None:
    page = (folder / "demo" / "mails.html").read_text("utf-8")
    kinds = Counter(kind_of(path)[0] for path in (folder / "demo" / "outbox").rglob("*.eml"))
    assert page.count('"found_by"') == sum(min(count, OF_EACH_KIND) for count in kinds.values())
    assert len(kinds) > 6
    assert (folder / "demo" / "mails.html").as_uri() in finished


def test_once_more_sends_nothing_twice(again: tuple[str, dict[str, int]], folder: Path) -> None:
    said, before = again
    after = _mails(folder)
    assert before.items() <= after.items()
    assert len(after) - len(before) < 5, "only what has come due in the meantime"
    if after == before:
        assert f"Nothing was sent twice: 0 new; {len(before)} were already sent." in said


def test_the_demo_keeps_to_its_folder(folder: Path, again: tuple[str, dict[str, int]]) -> None:
    assert sorted(path.name for path in folder.iterdir()) in (["demo"], ["demo", "home"])
    home = folder / "home"
    assert not home.exists() or not list(home.rglob("*"))
