"""A server that gives every request the same answer, however wrong: whole, half, endless, dripping, or none."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self


class GoesOn(NamedTuple):
    """An answer that begins, and then goes on and on, with a pause of so many seconds before each piece."""

    begin: bytes
    more: bytes
    pause: float = 0.01


ENDLESS = GoesOn(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[", b" " * 4096, 0.0)
"""A body that has no end."""

DRIPPING = GoesOn(b"HTTP/1.1 200 OK\r\nX-Padding: ", b"a")
"""Headers that come octet by octet and have no end."""

HINTING = GoesOn(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n")
"""An answer that is announced again and again and never comes (RFC 8297)."""


def answer(status: int, content: bytes = b"", **headers: str) -> bytes:
    """Return an HTTP answer; underscores in header names stand for hyphens."""
    named = {"Content-Type": "application/json", "Content-Length": str(len(content)), "Connection": "close"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode("latin-1") + content


class Answering:
    """Serves at `url`; `words` is what each request is answered, b"" is never. `requests` counts them."""

    def __init__(self, words: bytes | GoesOn) -> None:
        self.words = words
        self.requests = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._over = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._listening.close()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if not _read(connection):
                return
            self.requests += 1
            words = self.words
            if not words:
                self._over.wait(60)
            elif isinstance(words, bytes):
                connection.sendall(words)
            else:
                connection.sendall(words.begin)
                while not self._over.wait(words.pause):
                    connection.sendall(words.more)


def _read(connection: socket.socket) -> bool:
    """Read a request to its end."""
    connection.settimeout(10)
    content = b""
    while b"\r\n\r\n" not in content:
        piece = connection.recv(65536)
        if not piece:
            return False
        content += piece
    head, _, body = content.partition(b"\r\n\r\n")
    length = next(
        (int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    while len(body) < length and (piece := connection.recv(65536)):
        body += piece
    return True
