"""What is repeated of a provider's words: short, without addresses; and many threads call one at once."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from connectors.calling import Caller, make_client, said
from connectors.elapsed import elapsed
from evergreet.errors import Retryable
from tests.connectors.provider_sink import ProviderSink, Told


def test_of_a_text_of_any_length_a_line_is_kept_and_no_half_address() -> None:
    assert said("a" * 1_000_000, "") == "a" * 300
    address = f"{'a' * 60}@{'b' * 60}.example"
    kept = said(" ".join([address] * 10_000), "key")
    assert set(kept.split()) == {"(address)"}
    assert said(f"Refused:\r\n<{address}> key.", "key") == "Refused: <(address)> (the key)"


class Counting(ProviderSink):
    """Counts the connections that were made to it."""

    connections = 0

    def verify_request(self, request: Any, client_address: Any) -> bool:
        self.connections += 1
        return True

    def take(self, method: str, path: str, headers: dict[str, str], content: bytes) -> Told:
        return Told(200, b"taken")


def test_more_threads_than_connections_wait_and_none_of_them_is_cut_off() -> None:
    """The pool of httpx may close a connection that it has just given to one who waited."""
    with Counting() as server, closing(make_client(2)) as client, ThreadPoolExecutor(12) as threads:
        caller = Caller("Acme", client, server.url, "", {}, 5, 20, elapsed)
        answers = list(threads.map(lambda _: caller.call("POST", "/", b"{}"), range(120)))
        assert {getattr(one, "status", one) for one in answers} == {200}
        assert server.connections <= 2
        hasty = Caller("Acme", client, server.url, "", {}, 5, 0.1, elapsed)
        with client.stream("GET", server.url), client.stream("GET", server.url):
            waited = hasty.call("POST", "/", b"{}")
        assert isinstance(waited, Retryable)
        assert waited.accepted == "no"
