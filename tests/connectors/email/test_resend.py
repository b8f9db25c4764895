"""Resend passes the contract; each answer has its outcome; a doubt is repeated with its key on both stores."""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import pytest

from connectors.calling import make_client
from connectors.email.resend import Resend
from connectors.email.resend_settings import ResendSettings
from evergreet.contracts import Accepted, EmailSender, RepeatableSender
from evergreet.errors import Misconfigured, Permanent, Retryable
from evergreet.reconcile import Reconciled, reconcile
from evergreet.testing import Arrived, EmailConnectorContract
from models import StoredRequest
from tests.connectors.email.letters import letter
from tests.connectors.email.resend_sink import ResendSink
from tests.connectors.email.sendgrid_wire import SILENT, Conduct, WireServer
from tests.connectors.provider_sink import Told
from tests.story import Story

KEY = "re_canary_d0nt_tell"


@pytest.fixture
def sink() -> Iterator[ResendSink]:
    """A local Resend; a request that breaks one of its rules fails the test."""
    folder = os.environ.get("EVERGREET_FIXTURES")
    with ResendSink(KEY, Path(folder) / "specs" / "resend_emails_contacts.json" if folder else None) as running:
        yield running
    assert running.faults == []


@pytest.fixture
def at() -> Iterator[Callable[..., Resend]]:
    with ExitStack() as made:

        def make(url: str, **options: Any) -> Resend:
            settings = ResendSettings.model_validate({"api_key": KEY, "base_url": url, "timeout": 20, **options})
            connector = Resend(settings, make_client(settings.connections))
            made.callback(connector.close)
            return connector

        yield make


def arrival(mail: dict[str, Any]) -> Arrived:
    """A mail as its reader has it: white space around a subject is no part of it (RFC 5322 §2.2)."""
    return Arrived(
        tuple(parseaddr(one)[1] for one in mail["to"]), mail["subject"].strip(), mail.get("text", ""),
        mail.get("html", ""), "", mail.get("headers", {}),
    )  # fmt: skip


class TestResend(EmailConnectorContract):
    entry_point = "resend"
    required_settings = ("EVERGREET_RESEND_API_KEY",)
    secrets = (KEY,)
    keeps_message_id = False  # Resend writes its own; our key comes back as a tag

    @pytest.fixture
    def connector(self, sink: ResendSink, at: Callable[..., Resend]) -> EmailSender:
        return at(sink.url)

    @pytest.fixture
    def arrived(self, sink: ResendSink) -> Callable[[], list[Arrived]]:
        return lambda: [arrival(mail) for mail in list(sink.mails)]

    @pytest.fixture
    def unreachable(self, at: Callable[..., Resend]) -> Iterator[EmailSender]:
        with ResendSink("another") as server:
            yield at(server.url)

    @pytest.fixture
    def silent(self, at: Callable[..., Resend]) -> Iterator[EmailSender]:
        with WireServer(SILENT) as server:
            yield at(server.url, timeout=0.3)


def test_a_hundred_go_in_a_request_and_carry_key_and_row(sink: ResendSink, at: Callable[..., Resend]) -> None:
    batch = [replace(letter(f"{n:032x}"), row=n + 1) for n in range(130)]
    outcomes = at(sink.url).send(batch)
    assert [outcome.provider_id for outcome in outcomes if isinstance(outcome, Accepted)] == [
        f"re-{n}" for n in range(130)
    ]
    assert len(set(sink.keys)) == len(sink.keys) == 2
    assert sink.mails[129]["tags"] == [
        {"name": "evergreet_key", "value": f"{129:032x}"}, {"name": "evergreet_row", "value": "130"},
    ]  # fmt: skip
    assert sink.mails[0]["to"] == ['"Anna Berg" <anna@customer.example>']


def test_the_same_request_again_is_not_sent_again(sink: ResendSink, at: Callable[..., Resend]) -> None:
    connector = at(sink.url)
    assert isinstance(connector, RepeatableSender)
    (request,), refused = connector.prepare([letter("a1"), letter("b2", subject="two")])
    assert refused == {}
    first = connector.hand_over(request.body, "k1", 2)
    assert connector.hand_over(request.body, "k1", 2) == first
    assert len(sink.mails) == 2


def test_those_it_names_are_refused_and_the_others_accepted(sink: ResendSink, at: Callable[..., Resend]) -> None:
    said = {
        "data": [{"id": "x"}, {"id": "z"}],
        "errors": [{"index": 1, "message": "Invalid `to` ann@customer.example"}],
    }
    sink.judge = lambda batch: Told(200, said)
    outcomes = at(sink.url).send([letter("a"), letter("b"), letter("c")])
    assert [type(outcome) for outcome in outcomes] == [Accepted, Permanent, Accepted]
    assert [outcome.provider_id for outcome in outcomes if isinstance(outcome, Accepted)] == ["x", "z"]
    assert "ann@" not in str(outcomes[1])


def test_what_is_refused_of_everybody_or_of_the_sender_is_our_fault(
    sink: ResendSink, at: Callable[..., Resend]
) -> None:
    def refused(words: str, count: int) -> set[type]:
        errors = [{"index": place, "message": words} for place in range(count)]
        sink.judge = lambda batch: Told(200, {"data": [], "errors": errors})
        return {type(outcome) for outcome in at(sink.url).send([letter(subject=words)] * count)}

    assert refused("The `from` field is not of a verified domain", 1) == {Misconfigured}
    assert refused("`subject` is too long", 3) == {Misconfigured}
    assert refused("`subject` is too long", 2) == {Permanent}
    assert refused("Invalid `to` field", 3) == {Permanent}


ANSWERS: list[tuple[Told, int, type[Exception], str | None]] = [
    (Told(200, b"<html>"), 2, Retryable, "maybe"),
    (Told(200, {"data": [{"id": "x"}]}), 2, Retryable, "maybe"),
    (Told(200, {"data": [{"id": "x"}, {"id": 5}]}), 2, Retryable, "maybe"),
    (Told(500, {"name": "application_error", "message": "oops"}), 2, Retryable, "maybe"),
    (Told(409, {"name": "concurrent_idempotent_requests", "message": "under way"}), 2, Retryable, "maybe"),
    (Told(429, {"name": "rate_limit_exceeded"}, {"retry-after": "7"}), 2, Retryable, "no"),
    (Told(401, {"name": "invalid_api_key"}), 2, Misconfigured, None),
    (Told(403, {"message": "The domain is not verified"}), 1, Misconfigured, None),
    (Told(422, {"name": "validation_error", "message": "Invalid `to` field"}), 1, Permanent, None),
    (Told(422, {"name": "validation_error", "message": "Invalid `from` field"}), 1, Misconfigured, None),
    (Told(422, {"name": "validation_error", "message": "something"}), 2, Permanent, None),
    (Told(422, {"name": "validation_error", "message": "Invalid `from` field"}), 2, Misconfigured, None),
    (Told(302, b"", {"location": "http://127.0.0.1:1/"}), 1, Misconfigured, None),
]


@pytest.mark.parametrize(("told", "count", "kind", "accepted"), ANSWERS, ids=[str(n) for n in range(len(ANSWERS))])
def test_each_answer_has_its_outcome(
    sink: ResendSink, at: Callable[..., Resend], told: Told, count: int, kind: type[Exception], accepted: str | None
) -> None:
    sink.judge = lambda batch: told
    outcomes = at(sink.url).send([letter(f"k{n}") for n in range(count)])
    assert [type(outcome) for outcome in outcomes] == [kind] * count
    for outcome in outcomes:
        if isinstance(outcome, Retryable):
            assert outcome.accepted == accepted
            assert outcome.retry_after == (timedelta(seconds=7) if told.status == 429 else None)


@pytest.mark.parametrize(("takes", "accepted"), [(40, "no"), (None, "maybe")])
def test_a_lost_connection_is_a_doubt_only_after_the_whole_request(
    at: Callable[..., Resend], takes: int | None, accepted: str
) -> None:
    with WireServer(Conduct(takes=takes, then="reset")) as server:
        body = "x" * (8_000_000 if takes else 10)
        (outcome,) = at(server.url).send([letter("k", text=body)])
    assert isinstance(outcome, Retryable)
    assert outcome.accepted == accepted


def test_a_check_tells_a_key_that_may_only_send(sink: ResendSink, at: Callable[..., Resend]) -> None:
    assert "full access" in at(sink.url).check()
    sink.listed = Told(401, {"statusCode": 401, "name": "restricted_api_key", "message": "only send"})
    assert "may send and nothing else" in at(sink.url).check()
    sink.listed = Told(200, {"hello": "there"})
    with pytest.raises(Misconfigured, match="not Resend"):
        at(sink.url).check()


def test_their_own_package_writes_the_same_request(sink: ResendSink, at: Callable[..., Resend]) -> None:
    import resend

    at(sink.url).send([replace(letter("ab12", headers={"X-Campaign": "c"}), row=7)])
    (ours,) = sink.mails
    resend.api_key, resend.api_url = KEY, sink.url
    params: resend.Emails.SendParams = {
        "from": '"Fernway Supply" <hello@fernway.example>', "to": ['"Anna Berg" <anna@customer.example>'],
        "subject": "Thank you for your order", "html": "<p>Thank you, Anna.</p>", "text": "Thank you, Anna.",
        "headers": {"X-Campaign": "c"},
        "tags": [{"name": "evergreet_key", "value": "ab12"}, {"name": "evergreet_row", "value": "7"}],
    }  # fmt: skip
    resend.Batch.send([params], {"idempotency_key": "theirs", "batch_validation": "permissive"})
    assert sink.mails[1] == ours


def test_a_doubt_is_repeated_with_its_key_and_nobody_gets_two(
    story: Story, sink: ResendSink, at: Callable[..., Resend]
) -> None:
    """The first answer is lost behind the server: the mail is out and nobody knows."""
    taken = sink._batch
    lost: list[bytes] = []

    def loses(headers: dict[str, str], content: bytes) -> Told:
        told = taken(headers, content)
        sink.answers[headers["idempotency-key"]] = content, told
        lost.append(content)
        return Told(504, b"gateway")

    sink._batch = loses  # type: ignore[method-assign]
    story.sender = at(sink.url)  # type: ignore[assignment]
    story.launch()
    story.happened("order_placed", story.contact("ana"))
    story.run()
    (state,) = story.states()
    assert re.match("unknown: Resend answers 504", state)
    story.clock.advance(timedelta(minutes=10))
    assert reconcile(story.database, story.sender, story.settings, story.clock) == Reconciled({"repeated": 1}, 0)
    assert story.states() == {"accepted": 1}
    assert story.messages[0].provider_id == "re-0"
    assert sink.keys[0] == sink.keys[1]
    assert [json.loads(content)[0]["to"] for content in lost] == [[mail["to"][0]] for mail in sink.mails]
    assert len(sink.mails) == 1
    assert story.rows(StoredRequest) == []
