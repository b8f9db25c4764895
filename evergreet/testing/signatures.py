"""The rules of whoever takes webhooks that are signed, as tests: `WebhookContract` and `EventContract` share them."""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import combinations
from typing import Any, ClassVar

import pytest

from evergreet.contracts import WebhookRequest
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
ODD = ["", "no-such-word-𝔘ñí-😀", "DELIVERED\\u0000", "x" * 100_000]
"""Words that no provider has."""

Sign = Callable[[bytes], dict[str, str]]
Told = Callable[[str], bytes]


def request(body: bytes, headers: Mapping[str, str]) -> WebhookRequest:
    """Return a body as it was posted."""
    return WebhookRequest({name.lower(): value for name, value in headers.items()}, body, RECEIVED)


class SignatureContract:
    """What holds for any signature, whatever is signed."""

    secrets: ClassVar[tuple[str, ...]]
    """Canary values that the fixtures use as credentials; empty where there are only public keys."""
    words: ClassVar[Mapping[str, Any]]
    """Words of the provider, and what they mean."""
    signs_the_body: ClassVar[bool] = True
    """False where the provider only shows that it knows a password or a token."""

    @pytest.fixture
    def source(self) -> Any:
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

    def read(self, source: Any, posted: WebhookRequest) -> list[Any]:
        """Read a request that is genuine."""
        raise NotImplementedError("Override the method `read`.")

    def test_without_any_part_of_its_signature_it_is_refused(self, source: Any, sign: Sign, told: Told) -> None:
        body = told(next(iter(self.words)))
        headers = sign(body)
        for count in range(len(headers)):
            for kept in combinations(headers, count):
                with pytest.raises(NotGenuine):
                    source.verify(self.posted(body, {name: headers[name] for name in kept}))

    @pytest.mark.parametrize("change", ["", " ", "x", "é", "0" * 100_000, "v1,", "-1", "9" * 30, "NaN", "\udcff"])
    def test_with_any_part_of_its_signature_changed_it_is_refused(
        self, source: Any, sign: Sign, told: Told, change: str
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

    def test_a_signature_holds_for_its_body_only(self, source: Any, sign: Sign, told: Told) -> None:
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

    @pytest.mark.parametrize("body", _UNREADABLE)
    def test_what_is_signed_and_no_event_is_refused_in_a_typed_way(self, source: Any, sign: Sign, body: bytes) -> None:
        posted = self.posted(body, sign(body))
        source.verify(posted)
        with pytest.raises(Unreadable):
            self.read(source, posted)

    def test_secrets_are_in_no_text(
        self, source: Any, sign: Sign, told: Told, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        body = told(next(iter(self.words)))
        texts = [repr(source), str(source), repr(self.read(source, self.posted(body, sign(body))))]
        wrong = {name: f"{value[:-2]}AA" for name, value in sign(body).items()}
        others = [self.posted(body + b" ", sign(body))] if self.signs_the_body else []
        for posted in (self.posted(body, {}), self.posted(body, wrong), *others):
            with pytest.raises(NotGenuine) as refused:
                source.verify(posted)
            texts += [str(refused.value), repr(refused.value), repr(refused.value.__dict__)]
        for secret in self.secrets:
            assert secret not in "\n".join([*texts, caplog.text])
