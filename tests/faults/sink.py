"""An SMTP server that keeps its own books: what it took responsibility for, by Message-ID and recipient."""

import re
import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import BinaryIO, Self

DEADLINE = 30.0
"""Seconds that tests wait for a condition before they give up."""

_MESSAGE_ID = re.compile(rb"^Message-ID: <([^@>]+)@", re.IGNORECASE | re.MULTILINE)
_ADDRESS = re.compile(r"<([^>]*)>")


def until(condition: Callable[[], object], what: str, seconds: float = DEADLINE) -> None:
    """Wait for a condition; fail with its name after the deadline."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, f"waited {seconds:g} s in vain: {what}"
        time.sleep(0.005)


@dataclass(frozen=True)
class Mail:
    """One message the server took."""

    key: str
    recipient: str


@dataclass
class Sink:
    """Books a mail before it answers, as a server does that has queued it.

    By recipient: `refuse` is answered to every RCPT, `refuse_next` to the next ones, `silent` gets no answer to it
    ever. `lose_at_data`, `lose_in_content` and `lose_answer` count connections to lose: where the content is asked
    for, while it comes in, and after it is booked. `hold` is what to wait for before the answer to the final dot;
    `on_arrival` is called when a mail is booked.
    """

    refuse: dict[str, str] = field(default_factory=dict)
    refuse_next: dict[str, list[str]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    lose_at_data: Counter[str] = field(default_factory=Counter)
    lose_in_content: Counter[str] = field(default_factory=Counter)
    lose_answer: Counter[str] = field(default_factory=Counter)
    hold: dict[str, threading.Event] = field(default_factory=dict)
    on_arrival: Callable[[str], None] | None = None
    arrived: defaultdict[str, threading.Event] = field(default_factory=lambda: defaultdict(threading.Event))
    mails: list[Mail] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        for event in self.hold.values():
            event.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(DEADLINE)
        for opened in list(self._open):
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
        for thread in list(self._open.values()):
            thread.join(DEADLINE)

    @property
    def recipients(self) -> list[str]:
        """Who got mail, in order of address, once for every mail."""
        return sorted(mail.recipient for mail in self.mails)

    @property
    def by_key(self) -> Counter[str]:
        """How many mails were taken under each key."""
        return Counter(mail.key for mail in self.mails)

    def holding(self, recipient: str) -> threading.Event:
        """Do not answer when this recipient's mail has come, until the event is set."""
        self.hold[recipient] = threading.Event()
        return self.hold[recipient]

    def forget(self) -> None:
        """Begin new books."""
        self.mails.clear()

    def quiet(self) -> None:
        """Wait until everything that dead clients have written is read and booked."""
        with socket.create_connection(("127.0.0.1", self.port)) as marker:  # those before it are accepted first
            marker.sendall(b"QUIT\r\n")
            while marker.recv(1024):
                pass
        until(lambda: not self._open, "the mail server's connections to end")

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                opened, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._converse, args=(opened,), daemon=True)
            self._open[opened] = thread
            thread.start()

    def _converse(self, opened: socket.socket) -> None:
        try:
            with suppress(OSError), opened, opened.makefile("rb") as lines:
                self._serve(opened, lines)
        finally:
            self._open.pop(opened, None)

    def _serve(self, opened: socket.socket, lines: BinaryIO) -> None:
        recipient = ""
        opened.sendall(b"220 sink.test ESMTP\r\n")
        while line := lines.readline():
            word = line.split()[0].upper() if line.split() else b""
            if word == b"EHLO":
                answer = b"250-sink.test\r\n250 8BITMIME"
            elif word == b"RCPT":
                found = _ADDRESS.search(line.decode())
                recipient = found[1] if found else ""
                if recipient in self.silent:
                    self._over.wait()
                answer = self._at_recipient(recipient)
            elif word == b"DATA":
                if self._once(self.lose_at_data, recipient):
                    return
                opened.sendall(b"354 go on\r\n")
                if not self._take(opened, lines, recipient):
                    return
                continue
            elif word == b"QUIT":
                opened.sendall(b"221 bye\r\n")
                return
            else:
                answer = b"250 ok"
            opened.sendall(answer + b"\r\n")

    def _at_recipient(self, recipient: str) -> bytes:
        with self._lock:
            once = self.refuse_next.get(recipient)
            return (once.pop(0) if once else self.refuse.get(recipient, "250 ok")).encode()

    def _take(self, opened: socket.socket, lines: BinaryIO, recipient: str) -> bool:
        """Read a content and book it; return whether the connection goes on."""
        if self._once(self.lose_in_content, recipient):
            lines.readline()
            return False
        content = b""
        while (line := lines.readline()) != b".\r\n":
            if not line:
                return False  # lost before the dot: nobody has it
            content += line
        key = _MESSAGE_ID.search(content)
        self._book(Mail(key[1].decode() if key else "", recipient))
        self.arrived[recipient].set()
        if self.on_arrival is not None:
            self.on_arrival(recipient)
        if recipient in self.hold:
            self.hold[recipient].wait()
        if self._once(self.lose_answer, recipient):
            return False
        opened.sendall(b"250 2.0.0 ok\r\n")
        return True

    def _book(self, mail: Mail) -> None:
        self.mails.append(mail)

    def _once(self, faults: Counter[str], recipient: str) -> bool:
        with self._lock:
            if faults[recipient] > 0:
                faults[recipient] -= 1
                return True
            return False
