"""`make up`, as a script or a person would start and stop it."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient

from tests.orchestration.conftest import PROJECT, environment
from tests.orchestration.shop import until

pytestmark = [pytest.mark.prefect_server, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder; the home of the server in it is used by all tests, so that it is made only once."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(PROJECT / "prefect.yaml", folder)
    return folder


@contextmanager
def started(folder: Path) -> Iterator[tuple[int, str, list[psutil.Process]]]:
    """Start it with `&` from a script, where SIGINT is ignored; yields its id, the address and all processes."""
    output = folder / "output"
    output.write_text("")
    with environment({"EVERGREET_DATA_DIR": str(folder / ".evergreet")}):
        script = f"{sys.executable} -m evergreet.orchestration.up >{output} 2>&1 & echo $!; wait $!"
        shell = subprocess.Popen(["sh", "-c", script], cwd=folder, stdout=subprocess.PIPE, text=True)
    assert shell.stdout is not None
    up = psutil.Process(int(shell.stdout.readline()))
    processes: list[psutil.Process] = []
    try:
        address = until(lambda: re.search(r"Prefect is up: (\S+)", output.read_text()), output.read_text(), 150)[1]
        processes = [up, *up.children(recursive=True)]
        yield up.pid, address, processes
    finally:
        for process in processes or [up]:
            if process.is_running():
                process.kill()
        shell.stdout.close()
        shell.wait()


def ended(processes: list[psutil.Process]) -> bool:
    return not [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])  # SIGTERM and SIGHUP are handled as SIGINT is
def test_it_comes_up_and_leaves_nothing_running(folder: Path, how: signal.Signals) -> None:
    with started(folder) as (up, address, processes):
        assert httpx.get(f"{address}/api/health", trust_env=False).json() is True
        assert "Prefect" in httpx.get(f"{address}/", trust_env=False, follow_redirects=True).text
        assert len(processes) >= 3, "itself, a server and a worker"
        assert (folder / ".evergreet" / "evergreet.db").exists()
        if how is signal.SIGINT:
            # Prefect's scheduler fails, in its background and for itself alone, with SQLAlchemy 2.1.
            with SyncPrefectClient(api=f"{address}/api") as client:
                until(lambda: [run for run in client.read_flow_runs() if run.auto_scheduled], "runs are scheduled")
        os.kill(up, how)
        until(lambda: ended(processes), "everything has ended")
    if how is not signal.SIGKILL:  # then nobody is left to say it
        assert "Stopped; nothing is left running." in (folder / "output").read_text()


def test_without_a_project_it_says_what_is_missing(tmp_path: Path) -> None:
    with environment({"EVERGREET_DATA_DIR": str(tmp_path / "data")}):
        said = subprocess.run(
            [sys.executable, "-m", "evergreet.orchestration.up"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert said.returncode == 1
    assert "has no prefect.yaml: start this in the folder of your project." in said.stderr
    assert "Traceback" not in said.stderr
