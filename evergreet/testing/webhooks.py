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

import logging
from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import ClassVar

import pytest

from evergreet.contracts import Kind, ProviderEvent, Verdict, WebhookRequest, WebhookSource
from evergreet.errors import NotGenuine, Unreadable

RECEIVED = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)

_UNREADABLE = [
    pytest.param(b"", id="empty"),
    pytest.param(b"\xff\xfe", id="no text"),
    pytest.param(b'[{"event": "delive', id="cut off"),
    pytest.param('[{"event": "öffnen"}]'.encode("latin-1"), id="latin-1"),
    pytest.param('[{"event": "x"}]'.encode("utf-16"), id="utf-16"),
    pytest.param(b"[" * 100_000, id="nested without end"),
    pytest.param(b"<html>Bad gateway</html>", id="a page"),
    pytest.param(b"null", id="null"),
    pytest.param(b'"delivered"', id="a text"),
    pytest.param(b"7", id="a number"),
]
_ODD = ["", "no-such-word-𝔘ñí-😀", "DELIVERED\\u0000", "x" * 100_000]

Sign = Callable[[bytes], dict[str, str]]
Told = Callable[[str], bytes]


def request(body: bytes, headers: Mapping[str, str]) -> WebhookRequest:
    """Return a body as it was posted."""
    return WebhookRequest({name.lower(): value for name, value in headers.items()}, body, RECEIVED)


class WebhookContract:
    """Subclass it, say who you are, and give the fixtures; every rule is then a test of yours."""

    secrets: ClassVar[tuple[str, ...]]
    """Canary values that the fixtures use as credentials; empty where there are only public keys."""
    words: ClassVar[Mapping[str, Kind]]
    """Every event word of the provider that means the same whatever else an event says."""
    signs_the_body: ClassVar[bool] = True
    """False where the provider only shows that it knows a password or a token."""

    @pytest.fixture
    def source(self) -> WebhookSource:
        """Give a connector that knows the key."""
        raise NotImplementedError("Override the fixture `source`.")

    @pytest.fixture
    def sign(self) -> Sign:
        """Give a function that makes the headers of a body's signature."""
        raise NotImplementedError("Override the fixture `sign`.")

    @pytest.fixture
    def told(self) -> Told:
        """Give a function that makes the body of a request with one event of a word."""
        raise NotImplementedError("Override the fixture `told`.")

    def posted(self, body: bytes, signature: Mapping[str, str]) -> WebhookRequest:
        """Return the request that tells a body: override it where the signature goes otherwise than in headers."""
        return request(body, signature)

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

    def test_without_any_part_of_its_signature_it_is_refused(
        self, source: WebhookSource, sign: Sign, told: Told
    ) -> None:
        body = told(next(iter(self.words)))
        headers = sign(body)
        for count in range(len(headers)):
            for kept in combinations(headers, count):
                with pytest.raises(NotGenuine):
                    source.verify(self.posted(body, {name: headers[name] for name in kept}))

    @pytest.mark.parametrize("change", ["", " ", "x", "é", "0" * 100_000, "v1,", "-1", "9" * 30, "NaN", "\udcff"])
    def test_with_any_part_of_its_signature_changed_it_is_refused(
        self, source: WebhookSource, sign: Sign, told: Told, change: str
    ) -> None:
        body = told(next(iter(self.words)))
        headers = sign(body)
        for count in range(1, len(headers) + 1):
            for changed in combinations(headers, count):
                with pytest.raises(NotGenuine):
                    source.verify(self.posted(body, headers | dict.fromkeys(changed, change)))
        for name, value in headers.items():
            with pytest.raises(NotGenuine):
                source.verify(self.posted(body, headers | {name: value[:-2] + ("AA" if value[-2:] != "AA" else "BB")}))

    def test_a_signature_holds_for_its_body_only(self, source: WebhookSource, sign: Sign, told: Told) -> None:
        word, *_, last = self.words
        body = told(word)
        headers = sign(body)
        others = [b"", body[:-1], body + b"\r\n", body.rstrip(), b" " + body, body.replace(b"7", b"8"), told(last)]
        for other in {one for one in others if one != body}:
            if not self.signs_the_body:
                source.verify(self.posted(other, headers))
                continue
            with pytest.raises(NotGenuine):
                source.verify(self.posted(other, headers))

    def test_white_space_at_the_end_belongs_to_the_body(self, source: WebhookSource, sign: Sign, told: Told) -> None:
        body = told(next(iter(self.words))).rstrip() + b"\r\n"
        source.verify(self.posted(body, sign(body)))
        (event,) = source.parse(self.posted(body, sign(body)))
        assert event.key == "ab12"

    @pytest.mark.parametrize("body", _UNREADABLE)
    def test_what_is_signed_and_no_event_is_refused_in_a_typed_way(
        self, source: WebhookSource, sign: Sign, body: bytes
    ) -> None:
        posted = self.posted(body, sign(body))
        source.verify(posted)
        with pytest.raises(Unreadable):
            source.parse(posted)

    @pytest.mark.parametrize("word", _ODD, ids=["none", "unicode", "NUL", "long"])
    def test_an_unknown_word_is_kept_as_unknown(self, source: WebhookSource, sign: Sign, told: Told, word: str) -> None:
        body = told(word)
        (event,) = source.parse(self.posted(body, sign(body)))
        assert (event.kind, event.verdict) == (Kind.UNKNOWN, Verdict.NONE)
        assert event.raw

    def test_a_verdict_is_never_passed_on_what_may_pass(self, source: WebhookSource, sign: Sign, told: Told) -> None:
        for word in self.words:
            for event in source.parse(self.posted(told(word), sign(told(word)))):
                assert not (_may_pass(event) and event.verdict), event

    def test_secrets_are_in_no_text(
        self, source: WebhookSource, sign: Sign, told: Told, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        body = told(next(iter(self.words)))
        texts = [repr(source), str(source), repr(source.parse(self.posted(body, sign(body))))]
        wrong = {name: f"{value[:-2]}AA" for name, value in sign(body).items()}
        others = [self.posted(body + b" ", sign(body))] if self.signs_the_body else []
        for posted in (self.posted(body, {}), self.posted(body, wrong), *others):
            with pytest.raises(NotGenuine) as refused:
                source.verify(posted)
            texts += [str(refused.value), repr(refused.value), repr(refused.value.__dict__)]
        for secret in self.secrets:
            assert secret not in "\n".join([*texts, caplog.text])


def _may_pass(event: ProviderEvent) -> bool:
    return event.kind in {Kind.DEFERRED, Kind.SOFT_BOUNCED, Kind.BLOCKED}
