"""Brevo passes the contract; each answer has its outcome; a repeat never sends twice, and says so."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import httpx
import pytest
from brevo import Brevo as TheirClient
from brevo.transactional_emails.types.send_transac_email_request_message_versions_item import (
    SendTransacEmailRequestMessageVersionsItem as Version,
)
from brevo.transactional_emails.types.send_transac_email_request_sender import SendTransacEmailRequestSender

from connectors.calling import make_client
from connectors.email.brevo import Brevo
from connectors.email.brevo_payload import MOST_BYTES, with_key, written
from connectors.email.brevo_settings import BrevoSettings
from evergreet.contracts import Accepted, EmailSender, Mailbox, RepeatableSender
from evergreet.errors import Misconfigured, Permanent, Retryable
from evergreet.reconcile import Reconciled, reconcile
from evergreet.testing import Arrived, EmailConnectorContract
from models import StoredRequest, Suppression
from tests.connectors.email.brevo_sink import BrevoSink, problem
from tests.connectors.email.letters import SENDER, letter
from tests.connectors.email.sendgrid_wire import SILENT, Conduct, WireServer
from tests.connectors.provider_sink import Told
from tests.story import Story

KEY = "xkeysib-canary-d0nt-tell"
At = Callable[..., Brevo]


@pytest.fixture
def sink(fixtures: Path) -> Iterator[BrevoSink]:
    """A local Brevo; a request that breaks one of its rules fails the test."""
    with BrevoSink(KEY, fixtures / "specs" / "brevo_mail_contacts.json") as running:
        yield running
    assert running.faults == []


@pytest.fixture
def at() -> Iterator[At]:
    with ExitStack() as made:

        def make(url: str, **options: Any) -> Brevo:
            settings = BrevoSettings.model_validate({"api_key": KEY, "base_url": url, "timeout": 20, **options})
            connector = Brevo(settings, make_client(settings.connections))
            made.callback(connector.close)
            return connector

        yield make


def arrival(mail: dict[str, Any]) -> Arrived:
    """A mail as its reader has it: white space around a subject is no part of it (RFC 5322 §2.2)."""
    return Arrived(
        tuple(parseaddr(one["email"])[1] for one in mail["to"]), mail["subject"].strip(), mail["textContent"],
        mail["htmlContent"], "", mail["headers"],
    )  # fmt: skip


class TestBrevo(EmailConnectorContract):
    entry_point = "brevo"
    required_settings = ("EVERGREET_BREVO_API_KEY",)
    secrets = (KEY,)
    keeps_message_id = False  # Brevo writes its own; our key comes back in X-Mailin-custom

    @pytest.fixture
    def connector(self, sink: BrevoSink, at: At) -> EmailSender:
        return at(sink.url)

    @pytest.fixture
    def arrived(self, sink: BrevoSink) -> Callable[[], list[Arrived]]:
        return lambda: [arrival(mail) for mail in list(sink.mails)]

    @pytest.fixture
    def unreachable(self, at: At) -> Iterator[EmailSender]:
        with BrevoSink("another") as server:
            yield at(server.url)

    @pytest.fixture
    def silent(self, at: At) -> Iterator[EmailSender]:
        with WireServer(SILENT) as server:
            yield at(server.url, timeout=0.3)


def test_a_thousand_go_in_a_request_each_with_all_that_is_its_own(sink: BrevoSink, at: At) -> None:
    """The answer to so many is longer than that of other providers; what a version does not say would be another's."""
    unsubscribe = [{"List-Unsubscribe": f"<https://mail.fernway.example/u/{n}>"} for n in range(1001)]
    batch = [
        replace(
            letter(f"{n:032x}", subject=f"No. {n}", html=f"<p>{n}</p>" if n % 2 else "", text="" if n % 3 else f"<{n}>",
                   headers=unsubscribe[n], reply_to=Mailbox("answers@fernway.example") if n % 5 else None),
            row=n + 1,
        )
        for n in range(1001)
    ]  # fmt: skip
    outcomes = at(sink.url).send(batch)
    assert [outcome.provider_id for outcome in outcomes if isinstance(outcome, Accepted)] == [
        f"{n}.1@smtp-relay.mailin.fr" for n in range(1001)
    ]
    assert sink.sizes == [1000, 1]
    assert len(set(sink.keys)) == 2
    for n, mail in enumerate(sink.mails):
        assert json.loads(mail["headers"]["X-Mailin-custom"]) == {
            "evergreet_key": f"{n:032x}", "evergreet_row": str(n + 1),
        }  # fmt: skip
        assert mail["headers"]["List-Unsubscribe"] == unsubscribe[n]["List-Unsubscribe"]
        assert mail["subject"] == f"No. {n}"
        assert mail["textContent"] == (" " if n % 3 else f"<{n}>")
        assert mail["htmlContent"] == (f"<p>{n}</p>" if n % 2 else f"<pre>{'' if n % 3 else f'&lt;{n}&gt;'}</pre>")
        assert ("replyTo" in mail) == (n % 5 != 0)


def test_a_request_has_one_sender_and_is_not_too_large(at: At) -> None:
    other = Mailbox("other@fernway.example")
    text = "x" * (MOST_BYTES // 3)
    batch = [letter(f"k{n}", sender=other if n in {1, 4} else SENDER, html="h", text=text) for n in range(6)]
    requests, _ = at("http://127.0.0.1:1").prepare(batch)
    assert [request.places for request in requests] == [(0, 2), (3, 5), (1, 4)]


def test_what_brevo_would_read_as_its_own_placeholder_is_not_sent(sink: BrevoSink, at: At) -> None:
    half = letter("f", sender=Mailbox("hello@fernway.example", "\ud800"))
    css = "<style>@media print{#menu{display:none}}</style>"
    mails = [letter("a", subject="{{ contact.EMAIL }}"), letter("b", html="{%if 1%}"), letter("c", text="{# gone #}")]
    outcomes = at(sink.url).send([*mails, letter("d", html=css), letter("e", headers={"X-Sib-Sandbox": "drop"}), half])
    assert [type(outcome) for outcome in outcomes] == [*[Permanent] * 3, Accepted, Permanent, Permanent]


def test_names_that_brevo_would_drop_or_break_are_made_fit(sink: BrevoSink, at: At) -> None:
    zoe, us = Mailbox("z@shop.example", "Dr. Zoë M. (Müller)"), Mailbox("s@shop.example", "A. B")
    at(sink.url).send([letter("a", to=zoe, sender=us, reply_to=Mailbox("r@shop.example", "Zoë"))])
    (mail,) = sink.mails
    assert (mail["to"][0]["name"], mail["sender"]["name"]) == ("Dr Zoë M Müller", "A. B")
    assert mail["replyTo"] == {"email": "r@shop.example"}


def test_in_the_sandbox_nobody_gets_any_and_the_names_say_so(sink: BrevoSink, at: At) -> None:
    sink.judge = lambda mails: Told(201, {"messageId": "<1@x>"})
    for batch in ([letter("a")], [letter("a"), letter("b")]):
        outcomes = at(sink.url, sandbox=True, tags=("shop",)).send(batch)
        assert [getattr(outcome, "provider_id", "") for outcome in outcomes] == ["sandbox:1@x"] * len(batch)
    sink.judge = lambda mails: None
    at(sink.url, sandbox=True, tags=("shop",)).send([letter("a"), letter("b")])
    assert {(mail["headers"]["X-Sib-Sandbox"], *mail["tags"]) for mail in sink.mails} == {("drop", "shop")}


ANSWERS: list[tuple[Told, int, type[Exception], str | None]] = [
    (Told(201, b"<html>"), 2, Retryable, "maybe"),
    (Told(201, {"messageIds": ["<1@x>"]}), 2, Retryable, "maybe"),
    (Told(201, {"messageIds": ["<1@x>", ""]}), 2, Retryable, "maybe"),
    (Told(201, {"messageId": "<1@x>"}), 2, Retryable, "maybe"),
    (Told(201, {"messageId": 5}), 1, Retryable, "maybe"),
    (problem(500, "unprocessable_entity"), 2, Retryable, "maybe"),
    (Told(502, b"<html>"), 1, Retryable, "maybe"),
    (Told(204, b""), 1, Retryable, "maybe"),
    (Told(207, {"messageId": "<1@x>"}), 2, Retryable, "maybe"),
    (problem(400, "duplicate_parameter"), 2, Retryable, "maybe"),
    (problem(409, "duplicate_request"), 1, Retryable, "maybe"),
    (Told(429, {"code": "x"}, {"x-sib-ratelimit-reset": "7"}), 2, Retryable, "no"),
    (problem(400, "invalid_parameter", "email is not valid in to: ann@customer.example"), 2, Permanent, None),
    (problem(400, "invalid_parameter", "Sender is invalid / inactive"), 2, Misconfigured, None),
    (problem(400, "not_enough_credits"), 2, Misconfigured, None),
    (problem(401, "unauthorized"), 2, Misconfigured, None),
    (Told(402, b""), 1, Misconfigured, None),
    (problem(403, "account_under_validation"), 1, Misconfigured, None),
    (Told(403, b"<html>"), 1, Misconfigured, None),
    (Told(413, b""), 2, Permanent, None),
    (problem(422, "newly_invented"), 1, Permanent, None),
    (problem(404, "document_not_found"), 1, Misconfigured, None),
    (Told(302, b"", {"location": "http://127.0.0.1:1/"}), 1, Misconfigured, None),
]


@pytest.mark.parametrize(("told", "count", "kind", "accepted"), ANSWERS, ids=[str(n) for n in range(len(ANSWERS))])
def test_each_answer_has_its_outcome(
    sink: BrevoSink, at: At, told: Told, count: int, kind: type[Exception], accepted: str | None
) -> None:
    sink.judge = lambda mails: told
    for outcome in at(sink.url).send([letter(f"k{n}") for n in range(count)]):
        assert type(outcome) is kind
        assert "ann@" not in str(outcome)
        assert not getattr(outcome, "address_invalid", False)
        if isinstance(outcome, Retryable):
            assert outcome.accepted == accepted
            assert outcome.retry_after == (timedelta(seconds=7) if told.status == 429 else None)


@pytest.mark.parametrize(("takes", "accepted"), [(40, "no"), (None, "maybe")])
def test_a_lost_connection_is_a_doubt_only_after_the_whole_request(at: At, takes: int | None, accepted: str) -> None:
    with WireServer(Conduct(takes=takes, then="reset")) as server:
        (outcome,) = at(server.url).send([letter("k", text="x" * (8_000_000 if takes else 10))])
    assert isinstance(outcome, Retryable)
    assert outcome.accepted == accepted


def test_the_same_request_again_has_the_same_key_and_is_not_sent_again(sink: BrevoSink, at: At) -> None:
    connector = at(sink.url)
    assert isinstance(connector, RepeatableSender)
    (request,), refused = connector.prepare([letter("a1"), letter("b2", subject="two")])
    assert refused == {}
    assert all(isinstance(outcome, Accepted) for outcome in connector.hand_over(request.body, "k1", 2))
    again = connector.hand_over(request.body, "k1", 2)
    assert [(type(outcome), getattr(outcome, "accepted", "")) for outcome in again] == [(Retryable, "maybe")] * 2
    assert sink.keys[0] == sink.keys[1]
    assert len(sink.mails) == 2
    assert with_key(request.body, "k1") == with_key(request.body, "k1") != with_key(request.body, "k2")


def test_a_check_says_whose_key_it_is(sink: BrevoSink, at: At) -> None:
    assert at(sink.url).check() == "127.0.0.1 answers and the key is for the account of Fernway."
    assert "sandbox mode is on" in at(sink.url, sandbox=True).check()
    sink.account = Told(200, {"companyName": "Fernway", "relay": {"enabled": False}})
    with pytest.raises(Misconfigured, match="activate it"):
        at(sink.url).check()
    sink.account = Told(200, {"hello": "there"})
    with pytest.raises(Misconfigured, match="not Brevo"):
        at(sink.url).check()


def test_their_own_package_writes_the_same_requests_and_reads_the_answers(sink: BrevoSink, at: At) -> None:
    asked = sink.asked
    batch = [
        replace(letter("ab12", headers={"X-Campaign": "c"}, reply_to=Mailbox("r@shop.example", "Us")), row=7),
        letter("cd34", subject="two"),
    ]
    connector = at(sink.url, tags=("shop",))
    for request in (*connector.prepare(batch[:1])[0], *connector.prepare(batch)[0]):
        connector.hand_over(request.body, f"k{len(request.places)}", len(request.places))
    connection = httpx.Client()
    client = TheirClient(api_key=KEY, base_url=f"{sink.url}/v3", httpx_client=connection)
    sender = SendTransacEmailRequestSender(name="Fernway Supply", email="hello@fernway.example")

    def headers(key: str) -> Any:
        return {"additional_headers": {"idempotencyKey": key}, "max_retries": 0}

    to = {"email": "anna@customer.example", "name": "Anna Berg"}
    first: dict[str, Any] = {
        "to": [to], "subject": "Thank you for your order", "htmlContent": "<p>Thank you, Anna.</p>",
        "textContent": "Thank you, Anna.", "replyTo": {"email": "r@shop.example", "name": "Us"},
        "headers": {"X-Campaign": "c", "X-Mailin-custom": '{"evergreet_key":"ab12","evergreet_row":"7"}'},
    }  # fmt: skip
    second = {**first, "subject": "two", "headers": {"X-Mailin-custom": '{"evergreet_key":"cd34"}'}}
    del second["replyTo"]
    keys = [asked[place]["headers"].pop("idempotencyKey") for place in (0, 1)]
    fresh = [with_key(b'{"headers":{}}', f"theirs {place}")[1] for place in (0, 1)]
    single = client.transactional_emails.send_transac_email(
        sender=sender, tags=["shop"], to=first["to"], subject=first["subject"], html_content=first["htmlContent"],
        text_content=first["textContent"], reply_to=first["replyTo"],
        headers={**first["headers"], "idempotencyKey": fresh[0]}, request_options=headers(fresh[0]),
    )  # fmt: skip
    several = client.transactional_emails.send_transac_email(
        sender=sender, tags=["shop"], subject="Message", html_content="<p></p>", text_content=" ",
        message_versions=[Version.model_validate(one) for one in (first, second)],
        headers={"idempotencyKey": fresh[1]}, request_options=headers(fresh[1]),
    )  # fmt: skip
    for theirs in asked[2:]:
        theirs["headers"].pop("idempotencyKey")
    assert asked[2:] == asked[:2]
    assert (single.message_id, several.message_ids) == (
        "<3.1@smtp-relay.mailin.fr>", ["<4.1@smtp-relay.mailin.fr>", "<5.1@smtp-relay.mailin.fr>"],
    )  # fmt: skip
    assert len({*keys, *fresh}) == 4
    account = client.account.get_account()
    assert account.relay.enabled
    assert account.company_name in connector.check()
    connection.close()


def test_through_the_ledger_one_who_is_refused_fails_unsuppressed_and_the_others_go(
    story: Story, sink: BrevoSink, at: At
) -> None:
    sink.judge = lambda mails: (
        problem(400, "invalid_parameter", "email is not valid in to")
        if any("c3@" in mail["to"][0]["email"] for mail in mails)
        else None
    )
    story.sender = at(sink.url)  # type: ignore[assignment]
    story.launch()
    story.happened("order_placed", *story.contacts(5))
    story.run()
    assert story.states() == {
        "accepted": 4, "failed: Brevo answers 400 (invalid_parameter): email is not valid in to": 1,
    }  # fmt: skip
    assert story.rows(Suppression) == []
    assert len({mail["to"][0]["email"] for mail in sink.mails}) == len(sink.mails) == 4


@pytest.mark.parametrize("arrives", [True, False])
def test_a_doubt_is_repeated_with_its_key_and_nobody_gets_two(
    story: Story, sink: BrevoSink, at: At, arrives: bool
) -> None:
    """Where Brevo had it, it refuses the second and the doubt stays; where it never had it, the second goes."""
    took = sink.take

    def loses(method: str, path: str, headers: dict[str, str], content: bytes) -> Told:
        if arrives:
            took(method, path, headers, content)
        return Told(504, b"gateway")

    sink.take = loses  # type: ignore[method-assign]
    story.sender = at(sink.url)  # type: ignore[assignment]
    story.launch()
    story.happened("order_placed", story.contact("ana"))
    story.run()
    (state,) = story.states()
    assert re.match("unknown: Brevo answers 504", state)
    sink.take = took  # type: ignore[method-assign]
    story.clock.advance(timedelta(minutes=10))
    reconciled = reconcile(story.database, story.sender, story.settings, story.clock)
    assert reconciled == (Reconciled({}, 1) if arrives else Reconciled({"repeated": 1}, 0))
    assert len(sink.mails) == 1
    assert len(set(sink.keys)) == 1
    story.clock.advance(timedelta(minutes=10))
    reconcile(story.database, story.sender, story.settings, story.clock)
    story.run()
    assert len(sink.mails) == 1
    assert story.rows(StoredRequest) == []


def test_a_text_full_of_marks_is_looked_through_once() -> None:
    settings = BrevoSettings.model_validate({"api_key": KEY})
    assert written(letter("a", html="{#" * 500_000), settings)
    with pytest.raises(Permanent):
        written(letter("a", html="{#" * 500_000 + "#}"), settings)
