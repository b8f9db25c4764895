"""One HTTP call to a provider: bounded in time and size, redirects not followed, and no answer is a typed error.

What is certain not to have been taken may be tried again; of anything else nobody knows.
"""

import os
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import httpx

from connectors.deadlines import bounded, within
from connectors.elapsed import Clock
from evergreet.errors import ConnectorError, Misconfigured, Retryable

LONGEST_ANSWER = 64 * 1024
"""Octets of an answer that are read, unless a provider's are longer."""

_LONGEST_SAID = 4000
"""Characters that are looked at for a reason of at most 300."""
_ADDRESS = re.compile(r"[^\s<>()\[\],;:\"']+@[^\s<>()\[\],;:\"']+")


@dataclass(frozen=True, slots=True)
class Answered:
    """An HTTP response as far as it matters here; header names in small letters."""

    status: int
    headers: Mapping[str, str]
    content: bytes


def said(text: str, secret: str) -> str:
    """Put words of the provider on one short line, without the key (if there is one) and without addresses.

    A reason is kept longer than a person's data may be.
    """
    known = text.replace(secret, "(the key)") if secret else text
    words = " ".join("".join(c if c.isprintable() else " " for c in known).split())
    if len(words) > _LONGEST_SAID:  # looking for addresses takes the square of it; half a one is not found
        words = words[:_LONGEST_SAID].rpartition(" ")[0] or words[:_LONGEST_SAID]
    return _ADDRESS.sub("(address)", words)[:300].rstrip(".")


def bearer(key: str) -> Mapping[str, str]:
    """Return the header of a key that is a bearer token (RFC 6750)."""
    return {"Authorization": f"Bearer {key}"}


def make_client(connections: int) -> httpx.Client:
    """Return a client that keeps up to so many connections."""
    trusted = _certificates(os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", ""))
    return _Client(connections, trusted)


class _Client(httpx.Client):
    """A client whose threads wait for a place here, and not in its pool.

    A pool that is short of connections may close one that it has just given to a waiting thread, and the request is in
    doubt (https://github.com/encode/httpcore/issues/1110). This one never is: who has no place asks for none.
    """

    def __init__(self, connections: int, trusted: ssl.SSLContext) -> None:
        boundless = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        super().__init__(limits=boundless, verify=trusted)
        self._places = threading.BoundedSemaphore(connections)

    @contextmanager
    def stream(self, *arguments: Any, **named: Any) -> Iterator[httpx.Response]:
        patience = named.get("timeout", self.timeout)
        if not self._places.acquire(timeout=patience.pool if isinstance(patience, httpx.Timeout) else None):
            raise httpx.PoolTimeout("no connection was free")
        try:
            with super().stream(*arguments, **named) as response:
                yield response
        finally:
            self._places.release()


@lru_cache(maxsize=4)
def _certificates(_file: str, _folder: str) -> ssl.SSLContext:
    """Read whom to trust, once a process: it takes longer than many requests."""
    return httpx.create_ssl_context()


@dataclass(frozen=True, slots=True)
class Caller:
    """Calls one provider with one key; `connect` and `timeout` are seconds, `clock` counts those of the body.

    `timeout` bounds each wait, and twice of it with `connect` the whole call: one to be taken, one for the answer.
    `headers` go with every call; `key` is taken out of what is said about one. `may_reach` is asked of the address that
    a connection leads to, before anything is written to it.
    """

    provider: str
    client: httpx.Client
    base_url: str
    key: str
    headers: Mapping[str, str]
    connect: float
    timeout: float
    clock: Clock
    longest_answer: int = LONGEST_ANSWER
    may_reach: Callable[[str], bool] | None = None

    def __post_init__(self) -> None:
        bounded(self.client)

    def __repr__(self) -> str:
        return f"Caller({self.provider!r}, {self.base_url!r})"

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answered | Retryable | Misconfigured:
        """Make one call. What the status says holds also if the rest gets lost."""
        progress = _Progress(self.may_reach)
        try:
            with within(self._whole), self._stream(method, path, body, headers, progress) as response:
                return self._answered(response)
        except _Forbidden:
            where = httpx.URL(self.base_url).host
            return Misconfigured(
                f"{where} is an address of a private network, where nothing is sent unless …__PRIVATE=true says so."
            )
        except httpx.TransportError as error:
            return self._unanswered(error, progress)

    def pieces(self, path: str, refused: Callable[[Answered], ConnectorError], seconds: float) -> Iterator[bytes]:
        """Get what may be long, and yield it as it comes; in all it may be waited for so many seconds.

        Raises what `refused` makes of any answer but 200, and a typed error where the end does not come: of a question
        nothing can be in doubt.
        """
        waited = 0.0
        try:
            with ExitStack() as open_:
                with within(self._whole):
                    response = open_.enter_context(self._stream("GET", path, None, None, _Progress()))
                    if response.status_code != 200:
                        raise refused(self._answered(response))
                pieces = response.iter_raw()
                while True:
                    began = self.clock()
                    with within(seconds):  # not while somebody works with a piece: that is no waiting
                        piece = next(pieces, None)
                    waited += self.clock() - began
                    if waited > seconds:
                        raise Retryable(f"{self.provider} takes longer than {seconds:.0f} seconds over a list.")
                    if piece is None:
                        return
                    yield piece
        except httpx.TransportError as error:
            fault = self._unanswered(error, _Progress())
            if isinstance(fault, Retryable) and fault.accepted == "maybe":
                what = said(str(error) or type(error).__name__, self.key)
                raise Retryable(f"{httpx.URL(self.base_url).host} did not answer to the end: {what}.") from None
            raise fault from None

    @property
    def _whole(self) -> float:
        return self.connect + 2 * self.timeout

    def _stream(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None, progress: "_Progress"
    ) -> AbstractContextManager[httpx.Response]:
        return self.client.stream(
            method, f"{self.base_url}{path}", content=body,
            headers={
                "Accept-Encoding": "identity", **({} if body is None else {"Content-Type": "application/json"}),
                **self.headers, **(headers or {}),
            },
            timeout=httpx.Timeout(self.timeout, connect=self.connect), follow_redirects=False,
            extensions={"trace": progress},
        )  # fmt: skip

    def _answered(self, response: httpx.Response) -> Answered:
        names = {name.lower(): value for name, value in response.headers.items()}
        return Answered(response.status_code, names, self._read(response))

    def _read(self, response: httpx.Response) -> bytes:
        """Return what follows the headers: so much, for so long, and as far as it arrives."""
        content = bytearray()
        ends = self.clock() + self.timeout
        with suppress(httpx.TransportError):
            for piece in response.iter_raw():
                content += piece
                if len(content) > self.longest_answer or self.clock() > ends:
                    break
        return bytes(content[: self.longest_answer])

    def _unanswered(self, error: httpx.TransportError, progress: "_Progress") -> Retryable | Misconfigured:
        """Say what a call without an answer means; only what is certain not to have been taken may be tried again."""
        what = said(str(error) or type(error).__name__, self.key)
        where = httpx.URL(self.base_url).host
        if isinstance(error, httpx.PoolTimeout):
            return Retryable(f"All connections to {self.provider} are in use.", accepted="no")
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError | httpx.UnsupportedProtocol):
            if _is_about_trust(error):
                return Misconfigured(f"The certificate of {where} cannot be trusted: {what}.")
            return Retryable(f"{where} cannot be reached: {what}.", accepted="no")
        if progress.cut_short:
            return Retryable(f"{where} did not take the whole request: {what}.", accepted="no")
        return Retryable(
            f"{where} had the whole request and did not answer: {what}; it may have taken it.", accepted="maybe"
        )


class _Forbidden(Exception):
    """A connection leads where nothing must be sent."""


class _Progress:
    """Is told by the transport how far a request got.

    `cut_short`: writing it failed, so the server cannot have the whole of it. A transport that tells nothing leaves
    a doubt. A connection that must not be is closed before anything is written to it: a name may lead elsewhere now
    than when somebody looked.
    """

    def __init__(self, may_reach: Callable[[str], bool] | None = None) -> None:
        self.cut_short = False
        self._may_reach = may_reach

    def __call__(self, event: str, told: Mapping[str, Any]) -> None:
        if self._may_reach is not None and event.endswith(".connect_tcp.complete"):
            stream = told["return_value"]
            if not self._may_reach(stream.get_extra_info("server_addr")[0]):
                stream.close()
                raise _Forbidden
        if event.endswith((".send_request_headers.failed", ".send_request_body.failed")):
            self.cut_short = True


def _is_about_trust(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None
