"""One deadline for a whole HTTP exchange: from reaching the server to the last octet, however it is dealt out.

httpx bounds each wait by itself. A server that drips its headers octet by octet, or says `103 Early Hints` (RFC 8297)
for ever, never keeps anybody waiting long, and never comes to an end. So what httpx reads and writes through is told
how much is left of the whole.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from ssl import SSLContext
from typing import Any

import httpcore
import httpx

from connectors.elapsed import elapsed

_PIECE = 16 * 1024
"""Octets that are written under one look at the clock."""

_ends: ContextVar[float | None] = ContextVar("ends", default=None)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let what is read and written over HTTP in here take so many seconds together; then it is a time-out of httpx's.

    Holds for clients that are `bounded`. What takes no octets, such as looking up a name, is the system's to bound.
    """
    before = _ends.set(elapsed() + seconds)
    try:
        yield
    finally:
        _ends.reset(before)


def bounded(client: httpx.Client) -> httpx.Client:
    """Make a client keep to `within`, over proxies as well; one whose transport has no sockets stays as it is.

    httpx offers no way to hand it a backend of httpcore's, so it is put where httpx keeps it (tests/connectors/
    test_deadlines.py fails when that moves).
    """
    for transport in (client._transport, *client._mounts.values()):
        pool: Any = getattr(transport, "_pool", None)
        if isinstance(pool, httpcore.ConnectionPool) and not isinstance(pool._network_backend, _Backend):
            pool._network_backend = _Backend(pool._network_backend)
    return client


def _left(timeout: float | None, late: type[Exception]) -> float | None:
    """Return how long this wait may take; raises where the whole has taken too long already."""
    ends = _ends.get()
    if ends is None:
        return timeout
    left = ends - elapsed()
    if left <= 0:
        raise late("the whole of it took too long")
    return left if timeout is None else min(timeout, left)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            self._stream.write(buffer[start : start + _PIECE], _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        self._backend = backend

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._backend.connect_tcp(host, port, left, local_address, socket_options))

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._backend.connect_unix_socket(path, _left(timeout, httpcore.ConnectTimeout), socket_options))

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)
