"""The rules of an SMS connector, as tests.

class TestAcme(SmsConnectorContract):
    entry_point = "acme"
    required_settings = ("EVERGREET_ACME_API_KEY",)
    secrets = ("canary-key",)

    @pytest.fixture
    def silent(self) -> Iterator[Acme]: ...          # the same where the server never answers
"""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import ClassVar

import pytest

from evergreet.contracts import Accepted, Outcome, SmsMessage, SmsSender
from evergreet.errors import Misconfigured, Permanent, Retryable
from evergreet.testing.connector import ConnectorContract, is_a_sentence

_TEXTS = [
    pytest.param("Hello Maya, your order is on its way.", id="plain"),
    pytest.param("Grüße & 50 % = «Äpfel» + Öl; {€} [~]", id="accents and specials"),
    pytest.param("ご注文ありがとうございます。\nこんにちは", id="japanese, two lines"),
    pytest.param("שלום שרה, תודה!", id="right to left"),
    pytest.param("👍🏽 👨‍👩‍👧 " * 20, id="emoji"),
    pytest.param("x" * 1000, id="long"),
]
_NO_NUMBERS = ["", "maya@example.com", "0151 23456789", "+", "+49 151 2345", "+1555712266112345678", "+٤٩١٥١٢٣٤٥٦٧٨"]


@dataclass(frozen=True)
class ArrivedSms:
    """One message as the provider took it."""

    to: str
    body: str


def sms(key: str, *, to: str = "+447700900123", body: str = "Hello Maya.") -> SmsMessage:
    """Return a message in which nothing is unusual."""
    return SmsMessage(key, to, body, datetime(2026, 3, 10, 12, 0, tzinfo=UTC), "hash", 7, "offers/sms")


class SmsConnectorContract(ConnectorContract):
    """Subclass it, say who you are, and give the fixtures; every rule is then a test of yours."""

    channel = "sms"
    protocol = SmsSender
    seconds: ClassVar[float] = 20.0
    """What one `send` may take in these tests: give the `silent` fixture time limits far below."""

    @pytest.fixture
    def connector(self) -> SmsSender:
        """Give a connector that works."""
        raise NotImplementedError("Override the fixture `connector`.")

    @pytest.fixture
    def arrived(self) -> Callable[[], list[ArrivedSms]]:
        """Give a function that tells what the provider took so far, in order."""
        raise NotImplementedError("Override the fixture `arrived`.")

    @pytest.fixture
    def unreachable(self) -> SmsSender:
        """Give a connector with the same secrets whose provider can accept nothing."""
        raise NotImplementedError("Override the fixture `unreachable`.")

    @pytest.fixture
    def silent(self) -> SmsSender:
        """Give one whose provider never answers."""
        raise NotImplementedError("Override the fixture `silent`.")

    def tried(self, connector: SmsSender) -> list[Outcome]:
        """Send what can be sent and what cannot."""
        return self._send(connector, [sms("a"), _broken()])

    def test_each_message_has_one_outcome_and_arrives_once(
        self, connector: SmsSender, arrived: Callable[[], list[ArrivedSms]]
    ) -> None:
        assert connector.send([]) == []
        outcomes = self._send(connector, [sms(f"k{n}", to=f"+44770090010{n}") for n in range(7)])
        assert len(outcomes) == 7
        for outcome in outcomes:
            assert isinstance(outcome, Accepted), outcome
            assert outcome.provider_id
        assert Counter(one.to for one in arrived()) == Counter(f"+44770090010{n}" for n in range(7))

    @pytest.mark.parametrize("body", _TEXTS)
    def test_any_language_arrives_as_it_was(
        self, connector: SmsSender, arrived: Callable[[], list[ArrivedSms]], body: str
    ) -> None:
        (outcome,) = connector.send([sms("k", body=body)])
        assert isinstance(outcome, Accepted), outcome
        assert arrived() == [ArrivedSms("+447700900123", body)]

    def test_what_cannot_be_sent_is_refused_alone_and_named_nowhere(
        self, connector: SmsSender, arrived: Callable[[], list[ArrivedSms]]
    ) -> None:
        wrong = [*(sms(f"w{n}", to=number) for n, number in enumerate(_NO_NUMBERS)), sms("e", body=" "), _broken()]
        batch = [sms("a"), *wrong, sms("z", to="+447700900199")]
        outcomes = self._send(connector, batch)
        for message, outcome in zip(batch, outcomes, strict=True):
            if message.key in {"a", "z"}:
                assert isinstance(outcome, Accepted), outcome
                continue
            assert isinstance(outcome, Permanent), (message, outcome)
            assert not outcome.address_invalid, "only the provider can say that a number takes no SMS"
            assert not message.to or message.to == "+" or message.to not in outcome.reason
        assert [one.to for one in arrived()] == ["+447700900123", "+447700900199"]

    def test_where_nothing_can_be_accepted_each_message_has_its_outcome(self, unreachable: SmsSender) -> None:
        for outcome in self._send(unreachable, [sms("a"), sms("b")]):
            assert isinstance(outcome, Misconfigured | Retryable), outcome
            assert not isinstance(outcome, Retryable) or outcome.accepted == "no"
            assert is_a_sentence(outcome.reason), outcome

    def test_a_silent_provider_does_not_hold_us_for_ever(self, silent: SmsSender) -> None:
        threads = ThreadPoolExecutor(1)
        try:
            (outcome,) = threads.submit(silent.send, [sms("a")]).result(timeout=self.seconds)
        finally:
            threads.shutdown(wait=False)
        assert isinstance(outcome, Retryable), outcome
        assert outcome.accepted == "maybe"

    def test_several_threads_may_send(self, connector: SmsSender, arrived: Callable[[], list[ArrivedSms]]) -> None:
        batches = [[sms(f"{t}{n}", to=f"+44770090{t}{n}00") for n in range(3)] for t in range(3)]
        with ThreadPoolExecutor(3) as threads:
            outcomes = [
                one for each in threads.map(lambda batch: self._send(connector, batch), batches) for one in each
            ]
        assert all(isinstance(outcome, Accepted) for outcome in outcomes), outcomes
        assert Counter(one.to for one in arrived()) == Counter(one.to for batch in batches for one in batch)

    @staticmethod
    def _send(connector: SmsSender, messages: list[SmsMessage]) -> list[Outcome]:
        size = connector.capabilities.batch_limit
        parts = [messages[start : start + size] for start in range(0, len(messages), size)]
        return [outcome for part in parts for outcome in connector.send(part)]


def _broken() -> SmsMessage:
    return replace(sms("n"), body="Hello\0")
