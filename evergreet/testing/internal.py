"""The rules of a connector that posts webhooks, or notes for the team, as tests.

class TestAcme(InternalConnectorContract):
    entry_point = "acme"
    channel = "slack"                                # or "webhook"
    secrets = ("canary-path",)

    @pytest.fixture
    def connector(self) -> Iterator[Acme]: ...       # its destination `team` is at a server of your own

    @pytest.fixture
    def arrived(self) -> Callable[[], list[str]]: ...          # the texts or bodies that this server took

    @pytest.fixture
    def unreachable(self) -> Iterator[Acme]: ...     # the same where nothing can be accepted

    @pytest.fixture
    def silent(self) -> Iterator[Acme]: ...          # the same where the server never answers
"""

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest

from evergreet.contracts import Accepted, HasDestinations, Outcome, SlackNote, WebhookMessage
from evergreet.errors import Misconfigured, Retryable
from evergreet.testing.connector import ConnectorContract, is_a_sentence

_TEXTS = ("Maya ordered.", "Grüße & 50 % = «Äpfel»", "ご注文\nこんにちは", "שלום שרה", "👍🏽 👨‍👩‍👧 " * 20, "x" * 3000)


class InternalConnectorContract(ConnectorContract):
    """Subclass it, say who you are, and give the fixtures; every rule is then a test of yours.

    `channel` is "webhook" or "slack"; `secrets` are keys that sign, and paths of addresses. `arrived` gives the
    bodies of webhooks, or the texts of notes.
    """

    required_settings = ()
    protocol = HasDestinations
    to: ClassVar[str] = "team"
    """The destination that the fixtures set."""
    seconds: ClassVar[float] = 20.0
    """What one `send` may take in these tests: give the `silent` fixture time limits far below."""

    @pytest.fixture
    def silent(self) -> HasDestinations:
        """Give a connector whose server never answers."""
        raise NotImplementedError("Override the fixture `silent`.")

    def tried(self, connector: Any) -> Iterable[object]:
        """Send to a destination that there is, and to one that there is not."""
        return [*self._send(connector, [("k0", "a")]), *self._send(connector, [("k1", "b")], "nowhere")]

    def test_each_message_arrives_once_as_it_was(
        self, connector: HasDestinations, arrived: Callable[[], list[str]]
    ) -> None:
        assert connector.send([]) == []
        for number, text in enumerate(_TEXTS):
            (outcome,) = self._send(connector, [(f"k{number}", text)])
            assert isinstance(outcome, Accepted), outcome
        assert arrived() == [self._written(text) for text in _TEXTS]

    def test_a_destination_that_is_not_set_is_our_fault_and_of_no_others(
        self, connector: HasDestinations, arrived: Callable[[], list[str]]
    ) -> None:
        assert self.to in connector.destinations
        (nowhere,), (taken,) = self._send(connector, [("k0", "a")], "nowhere"), self._send(connector, [("k1", "b")])
        assert isinstance(nowhere, Misconfigured), nowhere
        assert isinstance(taken, Accepted), taken
        assert arrived() == [self._written("b")]

    def test_where_nothing_can_be_accepted_each_message_has_its_outcome(self, unreachable: HasDestinations) -> None:
        (outcome,) = self._send(unreachable, [("k0", "a")])
        assert isinstance(outcome, Misconfigured | Retryable), outcome
        assert not isinstance(outcome, Retryable) or outcome.accepted == "no"
        assert is_a_sentence(outcome.reason)

    def test_a_silent_server_does_not_hold_us_for_ever(self, silent: HasDestinations) -> None:
        threads = ThreadPoolExecutor(1)
        try:
            (outcome,) = threads.submit(self._send, silent, [("k0", "a")]).result(timeout=self.seconds)
        finally:
            threads.shutdown(wait=False)
        assert isinstance(outcome, Retryable), outcome
        assert outcome.accepted == "maybe"

    def test_several_threads_may_send(self, connector: HasDestinations, arrived: Callable[[], list[str]]) -> None:
        batches = [[(f"k{thread}{number}", f"{thread}{number}") for number in range(3)] for thread in range(3)]
        with ThreadPoolExecutor(3) as threads:
            told = list(threads.map(lambda batch: self._send(connector, batch), batches))
        assert all(isinstance(outcome, Accepted) for each in told for outcome in each), told
        assert sorted(arrived()) == sorted(self._written(text) for batch in batches for _, text in batch)

    def _send(
        self, connector: HasDestinations, messages: list[tuple[str, str]], to: str | None = None
    ) -> list[Outcome]:
        size = connector.capabilities.batch_limit
        kind = WebhookMessage if self.channel == "webhook" else SlackNote
        outcomes: list[Outcome] = []
        for start in range(0, len(messages), size):
            part = messages[start : start + size]
            outcomes += connector.send([kind(key, to or self.to, self._written(text)) for key, text in part])
        return outcomes

    def _written(self, text: str) -> str:
        return json.dumps({"text": text}, ensure_ascii=False) if self.channel == "webhook" else text.strip()
