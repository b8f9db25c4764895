"""Where the messages go: a sender that accepts everything, a local SMTP server, a local HTTP server.

A sink counts for itself. `open_sink` starts one; what it yields has the connector that is measured.
"""

import json
import os
import re
import shutil
import smtplib
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from benchmarks.servers import KEY_SPACE
from evergreet.contracts import Accepted, Capabilities, EmailMessage, EmailSender, Outcome
from evergreet.errors import EvergreetError
from evergreet.registry import connector_class, connector_entries

SINKS = ("null", "smtp", "sendgrid")
PATIENCE_SECONDS = 30.0


class NoSink(EvergreetError):
    """This sink cannot be had here: the case is left out, and the sentence says why."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What a sink has got: messages, and the sum of their keys where it reads them."""

    messages: int
    keys: int | None = None


@dataclass(frozen=True, slots=True)
class Sink:
    """A running sink, and the connector that leads there."""

    kind: str
    what: str
    sender: EmailSender
    count: Callable[[], Counted]
    port: int = 0
    patience: float = PATIENCE_SECONDS

    def counted(self, expected: int) -> Counted:
        """Return what has come, once it is as much as expected or nothing more comes in time."""
        ends = time.monotonic() + self.patience
        while (found := self.count()).messages < expected and time.monotonic() < ends:
            time.sleep(0.05)
        return found


class Null:
    """A connector that accepts everything and keeps nothing but the count."""

    name: ClassVar[str] = "null"
    capabilities: ClassVar[Capabilities] = Capabilities(batch_limit=1000, window=50)

    def __init__(self) -> None:
        self.messages = self.keys = 0
        self.lock = threading.Lock()

    @classmethod
    def from_environment(cls) -> Self:
        return cls()

    def check(self) -> str:
        return "It accepts everything."

    def close(self) -> None:
        pass

    def send(self, batch: Sequence[EmailMessage]) -> list[Outcome]:
        with self.lock:
            self.messages += len(batch)
            self.keys = (self.keys + sum(int(message.key, 16) for message in batch)) % KEY_SPACE
        return [Accepted(message.key) for message in batch]


@contextmanager
def open_sink(kind: str) -> Iterator[Sink]:
    """Start a sink of that kind; raises NoSink with the reason where there is none here."""
    opened = {"null": _null, "smtp": _smtp, "sendgrid": _sendgrid}[kind]
    with opened() as sink:
        try:
            yield sink
        finally:
            sink.sender.close()


@contextmanager
def _null() -> Iterator[Sink]:
    sender = Null()
    yield Sink("null", "a sender that accepts everything", sender, lambda: Counted(sender.messages, sender.keys))


@contextmanager
def _smtp() -> Iterator[Sink]:
    with _smtp_server() as (port, what, count):
        os.environ |= {
            "EVERGREET_SMTP_HOST": "127.0.0.1", "EVERGREET_SMTP_PORT": str(port), "EVERGREET_SMTP_SECURITY": "none",
        }  # fmt: skip
        yield Sink("smtp", what, _connector("smtp"), count, port)


@contextmanager
def _smtp_server() -> Iterator[tuple[int, str, Callable[[], Counted]]]:
    program = shutil.which("smtp-sink", path=os.pathsep.join(["/usr/sbin", os.environ.get("PATH", "")]))
    if program is None:
        with _server("smtp") as port:
            what = "a small Python server (install Postfix for smtp-sink, which holds up the sender less)"
            yield port, what, lambda: _asked_smtp(port)
        return
    port = _free_port()
    user = ["-u", "root"] if os.getuid() == 0 else []  # as root it wants to be told whom to run as
    with tempfile.NamedTemporaryFile() as said:
        command = [program, *user, "-c", f"127.0.0.1:{port}", "100"]
        with subprocess.Popen(command, stdout=said, stderr=subprocess.DEVNULL) as running:
            try:
                _wait_for(port, running)
                yield port, "Postfix smtp-sink", lambda: _said_by_smtp_sink(Path(said.name))
            finally:
                running.terminate()


@contextmanager
def _sendgrid() -> Iterator[Sink]:
    if "sendgrid" not in connector_entries():
        raise NoSink("there is no connector `sendgrid` installed")
    with _server("http") as port:
        os.environ |= {
            "EVERGREET_SENDGRID_API_KEY": "SG.benchmark", "EVERGREET_SENDGRID_BASE_URL": f"http://127.0.0.1:{port}",
        }  # fmt: skip
        yield Sink("sendgrid", "a small HTTP server", _connector("sendgrid"), lambda: _asked_http(port), port)


def _connector(name: str) -> EmailSender:
    connector = connector_class(name).from_environment()
    assert isinstance(connector, EmailSender)
    return connector


@contextmanager
def _server(kind: str) -> Iterator[int]:
    command = [sys.executable, "-m", "benchmarks.servers", kind]
    root = Path(__file__).parent.parent
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        try:
            yield int(running.stdout.readline())
        finally:
            running.stdin.close()


def _asked_http(port: int) -> Counted:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE_SECONDS) as answer:
        found = json.load(answer)
    return Counted(found["messages"], int(found["keys"], 16))


def _asked_smtp(port: int) -> Counted:
    with smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE_SECONDS) as asked:
        found = json.loads(asked.docmd("XCOUNT")[1])
    return Counted(found["messages"], int(found["keys"], 16))


def _said_by_smtp_sink(said: Path) -> Counted:
    """Read the newest of its running counters; it does not look into the messages."""
    with said.open("rb") as file:
        file.seek(max(0, said.stat().st_size - 200))
        counts = re.findall(rb"mesg=(\d+)\r", file.read())
    return Counted(int(counts[-1]) if counts else 0)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def _wait_for(port: int, running: "subprocess.Popen[bytes]") -> None:
    ends = time.monotonic() + PATIENCE_SECONDS
    while running.poll() is None and time.monotonic() < ends:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise NoSink("smtp-sink did not start")
