"""A process that ends with its parent, and everything a child of ours leaves behind."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from evergreet.orchestration.server import HOST, Child, LocalPrefectError, free_port, running_server
from tests.orchestration.shop import until

WAITING = """
import signal, subprocess, sys
from pathlib import Path
inner = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
Path(sys.argv[1]).write_text(str(inner.pid))
signal.pause()
"""


@pytest.fixture
def waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module `waiting` that starts a process of its own, notes its id and waits."""
    (tmp_path / "waiting.py").write_text(WAITING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def noted(path: Path) -> int:
    return int(until(lambda: path.exists() and path.read_text(), f"{path} is written"))


def gone(process: int) -> bool:
    return not psutil.pid_exists(process) or psutil.Process(process).status() == psutil.STATUS_ZOMBIE


def test_stopping_a_child_stops_what_it_started(waiting: Path) -> None:
    with Child.start("waiting", ["waiting", str(waiting / "pid")], dict(os.environ), waiting / "log", waiting) as child:
        inner = noted(waiting / "pid")
        assert not gone(inner)
    assert gone(child.process.pid)
    until(lambda: gone(inner), "the process below is gone")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a process of its parent's death")
def test_a_process_ends_when_its_parent_is_killed(waiting: Path) -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys; subprocess.run([sys.executable, '-m', 'evergreet.orchestration.process', "
            f"'waiting', {str(waiting / 'pid')!r}])",
        ]
    )
    inner = noted(waiting / "pid")
    orphan = psutil.Process(inner).ppid()
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    until(lambda: gone(orphan), "the process is gone")
    os.kill(inner, signal.SIGKILL)


def test_a_port_that_is_taken_is_not_given_out() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port
    assert free_port(port) == port


def test_a_server_that_cannot_start_says_why_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prefect.py").write_text("raise SystemExit('no prefect here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said = r"(?s)ended while it was starting.*no prefect here.*server\.log"
    with pytest.raises(LocalPrefectError, match=said), running_server(tmp_path / "home", free_port()):
        pass
