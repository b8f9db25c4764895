"""The whole of a call has one deadline: servers that drip, hint, read slowly or shake hands slowly do not hold it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from connectors.calling import Answered, Caller, make_client
from connectors.deadlines import bounded, within
from connectors.elapsed import elapsed
from evergreet.errors import Misconfigured, Retryable
from evergreet.testing.answering import DRIPPING, HINTING, Answering, GoesOn, answer


def caller(url: str, client: httpx.Client, timeout: float = 0.15) -> Caller:
    return Caller("Acme", client, url, "key", {}, 0.1, timeout, elapsed)


@contextmanager
def slow_reader() -> Iterator[str]:
    """Serve whom it reads a few octets from every now and then, and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        over = threading.Event()

        def serve() -> None:
            with suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    while not over.wait(0.01):
                        connection.recv(16384)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            over.set()
            thread.join(10)


@pytest.mark.parametrize("words", [DRIPPING, HINTING], ids=["drips", "hints"])
def test_headers_without_end_are_given_up_and_leave_a_doubt(words: GoesOn) -> None:
    with Answering(words) as server, make_client(1) as client:
        outcome = caller(server.url, client).call("POST", "/", b"{}")
        assert isinstance(outcome, Retryable)
        assert outcome.accepted == "maybe"
        with pytest.raises(Retryable, match="did not answer to the end"):
            list(caller(server.url, client).pieces("/", _refused, 0.2))


def test_a_body_that_drips_ends_with_what_its_status_said() -> None:
    """Octets come all the time, so no single wait is long; no chunk of the body ever begins."""
    with Answering(GoesOn(b"HTTP/1.1 202 Taken\r\nTransfer-Encoding: chunked\r\n\r\n1;x=", b"a")) as server:
        with make_client(1) as client:
            outcome = caller(server.url, client).call("POST", "/", b"{}")
        assert isinstance(outcome, Answered)
        assert (outcome.status, outcome.content) == (202, b"")
        server.words = GoesOn(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=", b"a")
        with make_client(1) as client, pytest.raises(Retryable, match="did not answer to the end"):
            list(caller(server.url, client).pieces("/", _refused, 0.2))


def test_a_server_that_reads_a_little_now_and_then_cannot_have_taken_it() -> None:
    with slow_reader() as url, make_client(1) as client:
        outcome = caller(url, client, timeout=0.3).call("POST", "/", b"x" * 30_000_000)
    assert isinstance(outcome, Retryable)
    assert outcome.accepted == "no"


def test_a_handshake_that_does_not_end_is_no_connection() -> None:
    with Answering(b"") as server, make_client(1) as client:
        outcome = caller(server.url.replace("http:", "https:"), client).call("GET", "/")
    assert isinstance(outcome, Retryable)
    assert outcome.accepted == "no"


def test_it_holds_over_a_proxy_and_twice_bounded_is_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with Answering(DRIPPING) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        with bounded(make_client(1)) as client:
            outcome = caller("http://acme.example", client).call("GET", "/")
        assert proxy.requests == 1
    assert isinstance(outcome, Retryable | Misconfigured)


def test_without_a_deadline_a_bounded_client_is_as_it_was() -> None:
    with Answering(answer(200, b"{}")) as server, bounded(make_client(1)) as client:
        assert client.get(server.url).json() == {}
        with within(30):
            assert client.get(server.url).json() == {}
        with within(-1), pytest.raises(httpx.TimeoutException):
            client.get(server.url)
        assert client.get(server.url).json() == {}


def _refused(answered: Answered) -> Retryable:
    return Retryable(f"{answered.status}")
