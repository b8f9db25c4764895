"""A Prefect server of our own on this machine: started, awaited and stopped with everything below it."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from evergreet.errors import EvergreetError

HOST = "127.0.0.1"
START_SECONDS = 120.0
"""The server takes 4 to 13 seconds to answer; a busy machine several times that."""


class LocalPrefectError(EvergreetError):
    """The local Prefect could not be started; the message says what failed and where its log is."""


def free_port(preferred: int | None = None) -> int:
    """Return the preferred port where nobody listens on it, otherwise one that is free now."""
    for port in (preferred, 0):
        if port is None:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise LocalPrefectError(f"No port is free on {HOST}.")


def prefect_environment(home: Path, port: int) -> dict[str, str]:
    """Return the environment of everything that belongs to the server at `port`.

    Prefect settings of other servers (an API key, a profile) do not apply here and are left out. Prefect is
    told to report nothing to its makers.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return own | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://{HOST}:{port}/api",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_CLI_COLORS": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }


@dataclass
class Child:
    """A process of ours in a session of its own, which ends with us; its output goes to a log file."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(cls, name: str, command: Sequence[str], environment: dict[str, str], log: Path, cwd: Path) -> Self:
        """Start `python -m COMMAND…`.

        A session of its own keeps a Ctrl-C in the terminal for us alone, so that we stop things in order.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "evergreet.orchestration.process", *command],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env=environment, cwd=cwd, start_new_session=True,
            )  # fmt: skip
        return cls(name, process, log)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self.process.poll() is not None

    def stop(self, seconds: float = 30.0) -> None:
        """Ask the process and what it started to end, and end them when they take too long."""
        try:
            os.killpg(self.process.pid, signal.SIGTERM)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                self.process.poll()  # a leader that is gone but not asked after would still count
                os.killpg(self.process.pid, 0)
                time.sleep(0.05)
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # nobody of the session is left
        self.process.wait()

    def last_words(self, lines: int = 12) -> str:
        """Return the end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@contextmanager
def running_server(home: Path, port: int, *, services: bool = True) -> Iterator[Child]:
    """Run a Prefect server until the end of the block; it has answered when the block begins."""
    with starting_server(home, port, services=services) as server:
        await_answer(server, port)
        yield server


@contextmanager
def starting_server(home: Path, port: int, *, services: bool = True) -> Iterator[Child]:
    """Start a Prefect server that runs until the end of the block, without waiting for it to answer.

    Without `services` it has no scheduler and no triggers: enough to record runs that are started by hand.
    """
    home = home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    command = ["prefect", "server", "start", "--host", HOST, "--port", str(port)]
    if not services:
        command.append("--no-services")
    with Child.start(
        "Prefect server", command, prefect_environment(home, port), home / "logs" / "server.log", home
    ) as server:
        yield server


def await_answer(server: Child, port: int) -> None:
    """Wait until a Prefect server answers; raises LocalPrefectError with its last words where it does not."""
    url = f"http://{HOST}:{port}/api/health"
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(timeout=2.0, trust_env=False) as client:  # one for all: making it costs more than asking
        while time.monotonic() < deadline:
            if server.ended:
                raise LocalPrefectError(
                    f"The Prefect server ended while it was starting.\n{server.last_words()}\nLog: {server.log}"
                )
            try:
                if client.get(url).is_success:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
    raise LocalPrefectError(f"The Prefect server did not answer within {START_SECONDS:.0f} s. Log: {server.log}")


@contextmanager
def temporary_server() -> Iterator[Callable[[], str]]:
    """Start a Prefect server with an empty home of its own; nothing of it remains after the block.

    Yields at once, while the server starts, a function that waits for it and returns its API URL. Runs record
    themselves there when `PREFECT_API_URL` says so (`prefect.settings.temporary_settings` in this process, the
    environment in another). It schedules nothing and evaluates no triggers.
    """
    with tempfile.TemporaryDirectory(prefix="evergreet-prefect-", ignore_cleanup_errors=True) as home:
        port = free_port()
        with starting_server(Path(home), port, services=False) as server:

            def answered() -> str:
                await_answer(server, port)
                return f"http://{HOST}:{port}/api"

            yield answered
