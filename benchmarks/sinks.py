"""Where the messages go: a sender that accepts everything, a local SMTP server, a local HTTP server.

A sink keeps a book of its own: a line per message, with its key and its recipient. `open_sink` starts one; what it
yields has the connector that is measured.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import ClassVar, Self

from evergreet.contracts import Accepted, Capabilities, EmailMessage, EmailSender, Outcome
from evergreet.errors import EvergreetError
from evergreet.registry import connector_class, connector_entries

SINKS = ("null", "smtp", "sendgrid")
PATIENCE_SECONDS = 30.0


class NoSink(EvergreetError):
    """This sink cannot be had here: the case is left out, and the sentence says why."""


@dataclass(slots=True)
class Book:
    """What a sink has written down: a line per message, its key (`-`: none) and its recipient."""

    path: Path
    _read: int = 0
    _lines: int = 0

    def count(self) -> int:
        """Return how many messages there are by now."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            while block := file.read(2**20):
                self._read += len(block)
                self._lines += block.count(b"\n")
        return self._lines

    def lines(self, start: int = 0, end: int | None = None) -> Iterator[tuple[str, str]]:
        """Give keys and recipients, from one message to another."""
        with self.path.open(encoding="utf-8") as file:
            for line in islice(file, start, end):
                key, _, recipient = line.rstrip("\n").partition(" ")
                yield key, recipient


@dataclass(frozen=True, slots=True)
class Sink:
    """A running sink, and the connector that leads there."""

    kind: str
    what: str
    sender: EmailSender
    book: Book
    port: int = 0
    patience: float = PATIENCE_SECONDS

    def counted(self, expected: int) -> int:
        """Return how many have come, once it is as many as expected or nothing more comes in time."""
        found = self.book.count()
        ends = time.monotonic() + self.patience
        while found < expected and time.monotonic() < ends:
            time.sleep(0.02)
            if (now := self.book.count()) != found:
                found, ends = now, time.monotonic() + self.patience
        return found


class Null:
    """A connector that accepts everything and keeps nothing but its book."""

    name: ClassVar[str] = "null"
    capabilities: ClassVar[Capabilities] = Capabilities(batch_limit=1000, window=50)

    def __init__(self, book: Path | None = None) -> None:
        self.file = (book or Path(os.devnull)).open("a", encoding="utf-8")

    @classmethod
    def from_environment(cls) -> Self:
        return cls()

    def check(self) -> str:
        return "It accepts everything."

    def close(self) -> None:
        self.file.close()

    def send(self, batch: Sequence[EmailMessage]) -> list[Outcome]:
        self.file.write("".join([f"{message.key} {message.to.address}\n" for message in batch]))
        self.file.flush()
        return [Accepted(message.key) for message in batch]


@contextmanager
def open_sink(kind: str) -> Iterator[Sink]:
    """Start a sink of that kind; raises NoSink with the reason where there is none here."""
    opened = {"null": _null, "smtp": _smtp, "sendgrid": _sendgrid}[kind]
    with tempfile.TemporaryDirectory(prefix="evergreet-sink-") as folder:
        book = Path(folder, "book")
        book.touch()
        with opened(book) as sink:
            try:
                yield sink
            finally:
                sink.sender.close()


@contextmanager
def _null(book: Path) -> Iterator[Sink]:
    yield Sink("null", "a sender that accepts everything", Null(book), Book(book))


@contextmanager
def _smtp(book: Path) -> Iterator[Sink]:
    with smtp_server(book) as (port, what):
        os.environ |= {
            "EVERGREET_SMTP_HOST": "127.0.0.1", "EVERGREET_SMTP_PORT": str(port), "EVERGREET_SMTP_SECURITY": "none",
        }  # fmt: skip
        yield Sink("smtp", what, _connector("smtp"), Book(book), port)


@contextmanager
def smtp_server(book: Path) -> Iterator[tuple[int, str]]:
    """Start an SMTP server with that book; yields its port and what it is."""
    program = shutil.which("smtp-sink", path=os.pathsep.join(["/usr/sbin", os.environ.get("PATH", "")]))
    if program is None:
        with _server("smtp", book) as port:
            yield port, "a small Python server (install Postfix for smtp-sink, which holds up the sender less)"
        return
    port = _free_port()
    user = ["-u", "root"] if os.getuid() == 0 else []  # as root it wants to be told whom to run as
    pipe = book.with_name("pipe")
    os.mkfifo(pipe)
    command = [program, *user, "-D", str(pipe), f"127.0.0.1:{port}", "100"]
    with _server("pipe", book, str(pipe)), subprocess.Popen(command, stderr=subprocess.DEVNULL) as running:
        try:
            _wait_for(port, running)
            yield port, "Postfix smtp-sink"
        finally:
            running.kill()  # it may be waiting for the pipe


@contextmanager
def _sendgrid(book: Path) -> Iterator[Sink]:
    if "sendgrid" not in connector_entries():
        raise NoSink("there is no connector `sendgrid` installed")
    with _server("http", book) as port:
        os.environ |= {
            "EVERGREET_SENDGRID_API_KEY": "SG.benchmark", "EVERGREET_SENDGRID_BASE_URL": f"http://127.0.0.1:{port}",
        }  # fmt: skip
        yield Sink("sendgrid", "a small HTTP server", _connector("sendgrid"), Book(book), port)


def _connector(name: str) -> EmailSender:
    connector = connector_class(name).from_environment()
    assert isinstance(connector, EmailSender)
    return connector


@contextmanager
def _server(kind: str, book: Path, *more: str) -> Iterator[int]:
    command = [sys.executable, "-m", "benchmarks.servers", kind, str(book), *more]
    root = Path(__file__).parent.parent
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        try:
            yield int(running.stdout.readline())
        finally:
            running.stdin.close()


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
