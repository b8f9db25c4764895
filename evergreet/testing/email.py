"""The rules of an email connector, as tests.

    class TestAcme(EmailConnectorContract):
        entry_point = "acme"
        required_settings = ("EVERGREET_ACME_API_KEY",)
        secrets = ("canary-key",)

        @pytest.fixture
        def connector(self) -> Iterator[Acme]: ...       # against a server of your own, signed in with the canary

        @pytest.fixture
        def arrived(self) -> Callable[[], list[Arrived]]: ...      # what that server took

        @pytest.fixture
        def unreachable(self) -> Iterator[Acme]: ...     # the same where nothing can be accepted

        @pytest.fixture
        def silent(self) -> Iterator[Acme]: ...          # the same where the server never answers

Where a provider cannot do what a rule asks, say so in a class attribute, with a comment why; never skip a rule.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage as ParsedMessage
from typing import Any, ClassVar, Self

import pytest

from evergreet.contracts import (
    Accepted,
    EmailMessage,
    EmailSender,
    Finder,
    Mailbox,
    Outcome,
)
from evergreet.errors import Misconfigured, Permanent, Retryable
from evergreet.testing.connector import ConnectorContract, is_a_sentence

_ONE_CLICK = {
    "List-Unsubscribe": f"<https://mail.fernway.example/u/{'eyJjb250YWN0IjoxMjM0NTY3ODkwfQ.' * 7}>",
    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
}
_TEXTS = [
    pytest.param("Anna Berg", "Thank you", "Thank you, Anna.", id="plain"),
    pytest.param("Zoë Müller-Österreich", "Grüße – «à bientôt» …", "Äpfel\nund Öl", id="accents"),
    pytest.param("山田　太郎", "ご注文ありがとうございます", "こんにちは。", id="japanese"),
    pytest.param("שרה כהן", "תודה על ההזמנה שלך", "שלום שרה, תודה!", id="right to left"),
    pytest.param("😀 👨‍👩‍👧", "🎉" * 60, "👍🏽 " * 300, id="emoji"),
    pytest.param("Berg, Anna <b@evil.example>", 'Re: "50 %" off; today, only', ".\n..\n.\n", id="specials"),
    pytest.param("", "", "", id="empty"),
    pytest.param("A" * 200, "long " * 150 + "end", "x" * 5000, id="long"),
]
_BREAKS = ["\r\nBcc: evil@customer.example", "\nX-Evil: 1", "\r", "\0"]


@dataclass(frozen=True)
class Arrived:
    """One message as the provider took it."""

    recipients: tuple[str, ...]
    subject: str
    text: str
    html: str
    message_id: str
    headers: Mapping[str, str]
    """The extra headers, as they stand on the wire but for folding."""

    @classmethod
    def from_mime(cls, recipients: tuple[str, ...], content: bytes) -> Self:
        """Read what a connector wrote that makes the message itself."""
        message = message_from_bytes(content, policy=policy.default)
        raw = message_from_bytes(content)
        assert isinstance(message, ParsedMessage)
        text, html = message.get_body(("plain",)), message.get_body(("html",))
        assert text is not None
        assert html is not None
        return cls(
            recipients=recipients,
            subject=str(message["Subject"] or ""),
            text=text.get_content(),
            html=html.get_content(),
            message_id=str(message["Message-ID"]),
            headers={name: str(raw[name]).replace("\r\n", "") for name in raw},
        )


def email(key: str, *, address: str = "anna@customer.example", name: str = "Anna Berg") -> EmailMessage:
    """Return a message in which nothing is unusual."""
    return EmailMessage(
        key=key,
        to=Mailbox(address, name),
        sender=Mailbox("hello@fernway.example", "Fernway Supply"),
        subject="Thank you",
        html="<p>Thank you, Anna.</p>",
        text="Thank you, Anna.",
        date=datetime(2026, 3, 10, 12, 0, tzinfo=UTC),
        template="hash",
        headers=dict(_ONE_CLICK),
    )


class EmailConnectorContract(ConnectorContract):
    """Subclass it, say who you are, and give the fixtures; every rule is then a test of yours."""

    channel = "email"
    protocol = EmailSender
    seconds: ClassVar[float] = 20.0
    """What one `send` may take in these tests: give the `silent` fixture time limits far below."""
    keeps_message_id: ClassVar[bool] = True
    """False where the provider writes a Message-ID of its own."""

    @pytest.fixture
    def silent(self) -> EmailSender:
        """Give one whose provider never answers; a store on this machine gives one that works."""
        raise NotImplementedError("Override the fixture `silent`.")

    def tried(self, connector: EmailSender) -> list[Outcome]:
        """Send what can be sent and what cannot."""
        return [*connector.send([email("1.a")]), *connector.send([_broken(email("2.b"))])]

    # Outcomes

    def test_an_empty_batch_has_no_outcomes(self, connector: EmailSender, arrived: Callable[[], list[Arrived]]) -> None:
        assert connector.send([]) == []
        assert arrived() == []

    def test_each_message_has_one_outcome_and_arrives_once(
        self, connector: EmailSender, arrived: Callable[[], list[Arrived]]
    ) -> None:
        outcomes: list[Outcome] = []
        for batch in self._batches(connector, [email(f"{n}.a", address=f"c{n}@customer.example") for n in range(7)]):
            outcomes += connector.send(batch)
        assert len(outcomes) == 7
        for outcome in outcomes:
            assert isinstance(outcome, Accepted), outcome
            assert outcome.provider_id, "an accepted message has the provider's name for it, or its key"
        assert Counter(a.recipients for a in arrived()) == Counter((f"c{n}@customer.example",) for n in range(7))

    def test_outcomes_stand_in_the_order_of_the_messages(self, connector: EmailSender) -> None:
        for batch in self._batches(connector, [_broken(email("1.a")), email("2.b"), email("3.c")]):
            for message, outcome in zip(batch, connector.send(batch), strict=True):
                assert isinstance(outcome, Accepted if message.subject == "Thank you" else Permanent), outcome

    def test_one_invalid_message_does_not_hurt_the_others(
        self, connector: EmailSender, arrived: Callable[[], list[Arrived]]
    ) -> None:
        invalid = email("2.b", address="not an address")
        for batch in self._batches(connector, [email("1.a"), invalid, email("3.c")]):
            for message, outcome in zip(batch, connector.send(batch), strict=True):
                if message.key != "2.b":
                    assert isinstance(outcome, Accepted), outcome
                    continue
                assert isinstance(outcome, Permanent), outcome
                assert not outcome.address_invalid, "only the provider can say that a mailbox does not exist"
        assert len(arrived()) == 2

    # What arrives

    @pytest.mark.parametrize(("name", "subject", "body"), _TEXTS)
    def test_any_language_arrives_as_it_was(
        self, connector: EmailSender, arrived: Callable[[], list[Arrived]], name: str, subject: str, body: str
    ) -> None:
        message = replace(
            email("1.a", name=name), subject=subject, text=body, html=f"<p>{body}</p>",
            sender=Mailbox("hello@fernway.example", name), reply_to=Mailbox("answers@fernway.example", name),
        )  # fmt: skip
        (outcome,) = connector.send([message])
        assert isinstance(outcome, Accepted), outcome
        (got,) = arrived()
        assert got.recipients == ("anna@customer.example",), "a name never becomes a recipient"
        assert got.subject == subject
        assert got.text.split() == body.split()
        assert got.html.split() == f"<p>{body}</p>".split()

    def test_one_click_headers_arrive_unbroken(
        self, connector: EmailSender, arrived: Callable[[], list[Arrived]]
    ) -> None:
        connector.send([email("1.a")])
        (got,) = arrived()
        assert {name: got.headers.get(name) for name in _ONE_CLICK} == _ONE_CLICK

    def test_a_repeat_is_the_same_message(self, connector: EmailSender, arrived: Callable[[], list[Arrived]]) -> None:
        for _ in range(2):
            (outcome,) = connector.send([email("7.abc")])
            assert isinstance(outcome, Accepted), outcome
        messages = arrived()
        assert messages
        if self.keeps_message_id:
            assert {got.message_id for got in messages} == {"<7.abc@fernway.example>"}

    # What is refused

    @pytest.mark.parametrize("smuggled", _BREAKS, ids=["header", "line feed", "carriage return", "NUL"])
    @pytest.mark.parametrize(
        "place",
        ["key", "to.address", "to.name", "sender.address", "sender.name", "reply_to.name", "subject", "value", "name"],
    )
    def test_a_smuggled_header_is_refused_before_anything_is_sent(
        self, connector: EmailSender, arrived: Callable[[], list[Arrived]], place: str, smuggled: str
    ) -> None:
        (outcome,) = connector.send([_broken(email("1.a"), place, smuggled)])
        assert isinstance(outcome, Permanent), outcome
        assert arrived() == []

    def test_an_address_that_carries_a_command_reaches_nobody(
        self, connector: EmailSender, arrived: Callable[[], list[Arrived]]
    ) -> None:
        (outcome,) = connector.send([email("1.a", address="x@d.co>\r\nRCPT TO:<evil@customer.example")])
        assert isinstance(outcome, Permanent), outcome
        assert arrived() == []

    def test_a_reason_names_no_recipient(self, connector: EmailSender) -> None:
        """Reasons are kept longer than a person's data may be."""
        (outcome,) = connector.send([email("1.a", address="bertha.distinct@customer..example", name="Bertha Distinct")])
        assert isinstance(outcome, Permanent), outcome
        assert "distinct" not in f"{outcome} {outcome!r}".lower()

    # When nothing works

    def test_where_nothing_can_be_accepted_each_message_has_its_outcome(self, unreachable: EmailSender) -> None:
        for batch in self._batches(unreachable, [email("1.a"), email("2.b")]):
            outcomes = unreachable.send(batch)
            assert len(outcomes) == len(batch)
            for outcome in outcomes:
                assert isinstance(outcome, Misconfigured | Retryable), outcome
                assert not isinstance(outcome, Retryable) or outcome.accepted == "no"
                assert is_a_sentence(outcome.reason), outcome

    def test_a_silent_provider_does_not_hold_us_for_ever(self, silent: EmailSender) -> None:
        threads = ThreadPoolExecutor(1)
        try:
            (outcome,) = threads.submit(silent.send, [email("1.a")]).result(timeout=self.seconds)
        finally:
            threads.shutdown(wait=False)
        assert isinstance(outcome, Accepted | Retryable), outcome

    # Threads

    def test_several_threads_may_send(self, connector: EmailSender, arrived: Callable[[], list[Arrived]]) -> None:
        keys = [[f"{thread}.{n}" for n in range(5)] for thread in range(4)]

        def send(mine: list[str]) -> list[Outcome]:
            messages = [email(key, address=f"c{key}@customer.example") for key in mine]
            return [o for batch in self._batches(connector, messages) for o in connector.send(batch)]

        with ThreadPoolExecutor(4) as threads:
            outcomes = [outcome for outcomes in threads.map(send, keys) for outcome in outcomes]
        assert all(isinstance(outcome, Accepted) for outcome in outcomes), outcomes
        wanted = Counter((f"c{key}@customer.example",) for mine in keys for key in mine)
        assert Counter(got.recipients for got in arrived()) == wanted

    def test_what_it_finds_is_true(self, connector: EmailSender) -> None:
        if not isinstance(connector, Finder):
            return  # that it does not declare it either is a rule above
        connector.send([email("1.a"), email("2.b")][: connector.capabilities.batch_limit])
        answers = connector.find(["1.a", "9.z"])
        assert set(answers) <= {"1.a", "9.z"}
        assert "1.a" not in answers or (answers["1.a"].accepted and answers["1.a"].provider_id)
        assert "9.z" not in answers or not answers["9.z"].accepted
        assert connector.find([]) == {}

    @staticmethod
    def _batches(connector: EmailSender, messages: list[EmailMessage]) -> list[list[EmailMessage]]:
        size = connector.capabilities.batch_limit
        return [messages[start : start + size] for start in range(0, len(messages), size)]


def _broken(message: EmailMessage, place: str = "subject", smuggled: str = _BREAKS[0]) -> EmailMessage:
    """Return the message with something smuggled in at a place."""
    changed: dict[str, Any]
    field, _, part = place.partition(".")
    if place == "value":
        changed = {"headers": {"X-Campaign": f"thank-you{smuggled}"}}
    elif place == "name":
        changed = {"headers": {f"X-Campaign{smuggled}": "thank-you"}}
    elif part:
        mailbox = getattr(message, field) or Mailbox("answers@fernway.example", "Fernway")
        changed = {field: replace(mailbox, **{part: f"{getattr(mailbox, part)}{smuggled}"})}
    else:
        changed = {field: f"{getattr(message, field)}{smuggled}"}
    return replace(message, **changed)
