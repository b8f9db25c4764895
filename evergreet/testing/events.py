"""The rules of a connector whose shop tells what customers do, as tests.

class TestAcmeEvents(EventContract):
    entry_point = "acme"
    words = {"order.paid": "order_placed"}      # what a word of the shop's becomes
    secrets = ("canary-webhook-secret",)

    @pytest.fixture
    def source(self) -> Iterator[Acme]: ...          # with the key that `sign` signs for

    @pytest.fixture
    def sign(self) -> Callable[[bytes], dict[str, str]]: ...   # the headers of the signature of a body

    @pytest.fixture
    def told(self) -> Callable[[str], bytes]: ...    # one message with that word, about ADDRESS

Where the word stands in a header, the method `posted` puts it there.
A request counts as received at `RECEIVED`: sign for that time where the shop's signature has one.
"""

from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from evergreet.contracts import CustomerEvent, EventSource, WebhookRequest
from evergreet.registry import connector_class, connector_entries
from evergreet.testing.signatures import ODD, RECEIVED, Sign, SignatureContract, Told

ADDRESS = "maya@example.com"


class EventContract(SignatureContract):
    """Subclass it, say what words mean, and give the fixtures; every rule is then a test of yours."""

    entry_point: ClassVar[str]
    """The connector's name."""
    words: ClassVar[Mapping[str, str]]
    """Words of the shop's, and the name of the event that each becomes."""

    @pytest.fixture
    def source(self) -> EventSource:
        """Give a connector that knows the key."""
        raise NotImplementedError("Override the fixture `source`.")

    def read(self, source: Any, posted: WebhookRequest) -> list[CustomerEvent]:
        """Read a request."""
        found: list[CustomerEvent] = source.read_events(posted)
        return found

    def test_it_is_found_by_its_entry_point(self, source: EventSource) -> None:
        assert self.entry_point in connector_entries(), f"no entry point {self.entry_point!r} in evergreet.connectors"
        assert connector_class(self.entry_point) is type(source)
        assert type(source).name == self.entry_point
        assert type(source).capabilities.channel == "events"

    def test_what_the_shop_signed_is_read(self, source: EventSource, sign: Sign, told: Told) -> None:
        assert isinstance(source, EventSource)
        assert type(source).capabilities.webhooks
        for word, name in self.words.items():
            posted = self.posted(told(word), sign(told(word)))
            source.verify(posted)
            (event,) = source.read_events(posted)
            assert event.name == name
            assert event.id
            assert event.customer.id or event.customer.email or event.like
            assert abs(event.at - RECEIVED) < timedelta(days=36_525)
            with pytest.raises(FrozenInstanceError):
                event.name = "another"  # type: ignore[misc]

    def test_the_same_fact_has_the_same_id_whenever_it_is_told(
        self, source: EventSource, sign: Sign, told: Told
    ) -> None:
        for word in self.words:
            first, again = (self.posted(told(word), sign(told(word))) for _ in range(2))
            assert [e.id for e in source.read_events(first)] == [e.id for e in source.read_events(again)]

    def test_no_address_stands_in_what_is_kept_of_an_event(self, source: EventSource, sign: Sign, told: Told) -> None:
        for word in self.words:
            for event in source.read_events(self.posted(told(word), sign(told(word)))):
                assert ADDRESS not in repr((event.id, event.properties))

    @pytest.mark.parametrize("word", ODD, ids=["none", "unicode", "NUL", "long"])
    def test_an_unknown_word_is_passed_over(self, source: EventSource, sign: Sign, told: Told, word: str) -> None:
        body = told(word)
        assert source.read_events(self.posted(body, sign(body))) == []
