"""A server that goes wrong on the wire: it takes so much of a request, says so much, then closes, breaks or waits."""

import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self


@dataclass(frozen=True)
class Conduct:
    """What it does with each connection; `takes` octets of the body (None: all of it)."""

    says: bytes = b""
    takes: int | None = None
    then: Literal["close", "reset", "wait"] = "close"


SILENT = Conduct(then="wait")


class WireServer:
    """Treats each connection by its conduct; `complete` counts the requests it had wholly."""

    def __init__(self, conduct: Conduct) -> None:
        self._conduct = conduct
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.complete = 0
        self.connections = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                opened, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._start(self._treat, opened)

    def _treat(self, opened: socket.socket) -> None:
        conduct = self._conduct
        with suppress(OSError), opened, opened.makefile("rb") as lines:
            length = 1  # what has no such header is no request of ours
            while (line := lines.readline()) not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            wanted = length if conduct.takes is None else min(conduct.takes, length)
            if line and len(lines.read(wanted)) == length:
                self.complete += 1
            opened.sendall(conduct.says)
            if conduct.then == "wait":
                self._over.wait()
            elif conduct.then == "reset":
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
