"""`make demo`, as a process: stopped half-way, gone on with, and run once more."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.prefect_server, pytest.mark.timeout(600)]

STATES = ("accepted", "skipped", "deferred", "pending", "failed", "unknown")


def _demo(folder: Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "HOME": str(folder / "home"), "PREFECT_API_URL": "http://127.0.0.1:1/api"}
    return subprocess.Popen(
        [sys.executable, "-m", "evergreet.demo"], cwd=folder, env=environment, start_new_session=True,
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
    """The demo, stopped by Ctrl-C while it imports the events."""
    said: list[str] = []
    children: list[psutil.Process] = []
    with _demo(folder) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if line.startswith("… Events") and not children:
                children = psutil.Process(process.pid).children(recursive=True)
                os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130, "".join(said)
    assert children, "the Prefect server starts beside the import"
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
    return _whole(folder), before


def test_ctrl_c_is_answered_with_a_sentence_and_leaves_nothing_running(stopped: str) -> None:
    assert stopped.splitlines()[0].startswith("Evergreet demo")
    assert "Stopped. What was done is stored" in stopped
    assert "Traceback" not in stopped


def test_the_balance_adds_up_and_every_accepted_message_is_a_mail(folder: Path, finished: str) -> None:
    numbers = {
        state: int(found[1].replace(",", ""))
        for state in ("due", *STATES)
        if (found := re.search(rf"│ +[=+]? ?{state} +│ +([\d,]+) │", finished))
    }
    assert set(numbers) == {"due", *STATES}
    assert numbers["due"] == sum(numbers[state] for state in STATES)
    assert numbers["accepted"] == len(_mails(folder)) > 50
    assert numbers["pending"] == numbers["failed"] == numbers["unknown"] == 0
    for reason in ("too_late", "no_consent", "duplicate_address", "suppressed", "unless"):
        assert reason in finished


def test_the_run_is_recorded_in_the_ledger_once(folder: Path, finished: str) -> None:
    with sqlite3.connect(folder / "demo" / "evergreet.db") as connection:
        sent, people = connection.execute(
            "SELECT count(*), count(DISTINCT provider_id) FROM message WHERE state = 'accepted'"
        ).fetchone()
        (repeats,) = connection.execute("SELECT count(*) FROM attempt WHERE number > 1").fetchone()
    assert sent == people == len(_mails(folder))
    assert repeats == 0
    assert "messages were due by the events" in finished


def test_the_funnel_counts_every_customer(finished: str) -> None:
    funnel = finished.partition("Stage of the lifecycle")[2].partition("mails as .eml")[0]
    now = [int(found.replace(",", "")) for found in re.findall(r"^│ [A-Z].*?│ +([\d,]+) │", funnel, re.MULTILINE)]
    assert sum(now) == 1000
    assert sum(count > 0 for count in now) >= 4


def test_the_page_shows_every_mail(folder: Path, finished: str) -> None:
    page = (folder / "demo" / "mails.html").read_text("utf-8")
    assert page.count('"found_by"') == len(_mails(folder))
    assert (folder / "demo" / "mails.html").as_uri() in finished


def test_once_more_sends_nothing_twice_and_says_so(again: tuple[str, dict[str, int]], folder: Path) -> None:
    said, before = again
    assert f"Nothing was sent twice: 0 new; {len(before)} were already sent." in said
    assert _mails(folder) == before


def test_the_demo_keeps_to_its_folder(folder: Path, again: tuple[str, dict[str, int]]) -> None:
    assert sorted(path.name for path in folder.iterdir()) in (["demo"], ["demo", "home"])
    home = folder / "home"
    assert not home.exists() or not list(home.rglob("*"))
