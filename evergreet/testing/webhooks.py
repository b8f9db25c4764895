"""The rules of a connector whose provider tells of messages, as tests.

class TestAcmeWebhooks(WebhookContract):
    secrets = ("canary-webhook-secret",)

    @pytest.fixture
    def source(self) -> Iterator[Acme]: ...          # with the key that `sign` signs for

    @pytest.fixture
    def sign(self) -> Callable[[bytes], dict[str, str]]: ...   # the headers of the signature of a body

    @pytest.fixture
    def told(self) -> Callable[[str], bytes]: ...    # one event with that word, about row 7 with the key `ab12`

Where the signature stands in the body, `sign` gives its parts and the method `posted` puts both together.
A request counts as received at `RECEIVED`: sign for that time where the provider's signature has one.
"""

from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from evergreet.contracts import Kind, ProviderEvent, Verdict, WebhookRequest, WebhookSource
from evergreet.testing.signatures import ODD, RECEIVED, Sign, SignatureContract, Told, request

__all__ = ["RECEIVED", "Sign", "Told", "WebhookContract", "request"]


class WebhookContract(SignatureContract):
    """Subclass it, say who you are, and give the fixtures; every rule is then a test of yours."""

    words: ClassVar[Mapping[str, Kind]]
    """Every event word of the provider that means the same whatever else an event says."""

    @pytest.fixture
    def source(self) -> WebhookSource:
        """Give a connector that knows the key."""
        raise NotImplementedError("Override the fixture `source`.")

    def read(self, source: Any, posted: WebhookRequest) -> list[ProviderEvent]:
        """Read a request."""
        found: list[ProviderEvent] = source.parse(posted)
        return found

    def test_what_the_provider_signed_is_read(self, source: WebhookSource, sign: Sign, told: Told) -> None:
        assert isinstance(source, WebhookSource)
        assert type(source).capabilities.webhooks
        for word, kind in self.words.items():
            posted = self.posted(told(word), sign(told(word)))
            source.verify(posted)
            (event,) = source.parse(posted)
            assert (event.kind, event.row, event.key) == (kind, 7, "ab12")
            assert event.id
            assert event.at.tzinfo is not None
            assert abs(event.at - RECEIVED) < timedelta(days=36_525)
            with pytest.raises(FrozenInstanceError):
                event.kind = Kind.UNKNOWN  # type: ignore[misc]

    def test_the_same_event_has_the_same_id_whenever_it_is_told(
        self, source: WebhookSource, sign: Sign, told: Told
    ) -> None:
        words = list(self.words)
        first, again = (self.posted(told(words[0]), sign(told(words[0]))) for _ in range(2))
        other = self.posted(told(words[-1]), sign(told(words[-1])))
        assert [e.id for e in source.parse(first)] == [e.id for e in source.parse(again)]
        assert len(words) == 1 or [e.id for e in source.parse(first)] != [e.id for e in source.parse(other)]

    def test_white_space_at_the_end_belongs_to_the_body(self, source: WebhookSource, sign: Sign, told: Told) -> None:
        body = told(next(iter(self.words))).rstrip() + b"\r\n"
        source.verify(self.posted(body, sign(body)))
        (event,) = source.parse(self.posted(body, sign(body)))
        assert event.key == "ab12"

    @pytest.mark.parametrize("word", ODD, ids=["none", "unicode", "NUL", "long"])
    def test_an_unknown_word_is_kept_as_unknown(self, source: WebhookSource, sign: Sign, told: Told, word: str) -> None:
        body = told(word)
        (event,) = source.parse(self.posted(body, sign(body)))
        assert (event.kind, event.verdict) == (Kind.UNKNOWN, Verdict.NONE)
        assert event.raw

    def test_a_verdict_is_never_passed_on_what_may_pass(self, source: WebhookSource, sign: Sign, told: Told) -> None:
        for word in self.words:
            for event in source.parse(self.posted(told(word), sign(told(word)))):
                assert not (_may_pass(event) and event.verdict), event


def _may_pass(event: ProviderEvent) -> bool:
    return event.kind in {Kind.DEFERRED, Kind.SOFT_BOUNCED, Kind.BLOCKED}
