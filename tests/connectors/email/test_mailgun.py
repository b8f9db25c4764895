"""Mailgun passes the contract; what shares a form arrives byte for byte; each answer has its outcome."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import httpx
import pytest
from anymail.backends.mailgun import EmailBackend as AnymailBackend
from anymail.message import AnymailMessage
from django.conf import settings as django_settings
from mailgun.client import Client as TheirClient

from connectors.calling import make_client
from connectors.email import mailgun_payload
from connectors.email.mailgun import Mailgun
from connectors.email.mailgun_settings import MailgunSettings
from evergreet.contracts import Accepted, EmailMessage, EmailSender, Mailbox
from evergreet.errors import Misconfigured, Permanent, Retryable
from evergreet.testing import Arrived, EmailConnectorContract
from models import Message, Suppression
from tests.connectors.email.letters import letter
from tests.connectors.email.mailgun_sink import DOMAIN, MailgunSink, problem
from tests.connectors.email.sendgrid_wire import SILENT, Conduct, WireServer
from tests.connectors.email.splits import HELLO, split_letter
from tests.connectors.provider_sink import Told
from tests.story import Story

KEY = "key-canary-d0nt-tell"
At = Callable[..., Mailgun]


@pytest.fixture
def sink(fixtures: Path) -> Iterator[MailgunSink]:
    """A local Mailgun; a request that breaks one of its rules fails the test."""
    with MailgunSink(KEY, fixtures / "specs" / "mailgun_messages.patched.json") as running:
        yield running
    assert running.faults == []


def settings_at(url: str, **options: Any) -> MailgunSettings:
    return MailgunSettings.model_validate(
        {"api_key": KEY, "domain": DOMAIN, "base_url": url, "timeout": 20, **options}
    )  # fmt: skip


@pytest.fixture
def at() -> Iterator[At]:
    with ExitStack() as made:

        def make(url: str, *, clock: Any = None, **options: Any) -> Mailgun:
            settings = settings_at(url, **options)
            connector = Mailgun(settings, make_client(settings.connections), **({"clock": clock} if clock else {}))
            made.callback(connector.close)
            return connector

        yield make


def arrival(mail: dict[str, Any]) -> Arrived:
    """A mail as its reader has it: white space around a subject is no part of it (RFC 5322 §2.2)."""
    headers = {name[2:]: value for name, value in mail.items() if name.startswith("h:")}
    return Arrived(
        (parseaddr(mail["to"])[1],), mail["subject"].strip(), mail.get("text", ""), mail.get("html", ""), "", headers
    )


class TestMailgun(EmailConnectorContract):
    entry_point = "mailgun"
    required_settings = ("EVERGREET_MAILGUN_API_KEY", "EVERGREET_MAILGUN_DOMAIN")
    secrets = (KEY,)
    keeps_message_id = False  # Mailgun writes its own; our key comes back among its custom variables

    @pytest.fixture
    def connector(self, sink: MailgunSink, at: At) -> EmailSender:
        return at(sink.url)

    @pytest.fixture
    def arrived(self, sink: MailgunSink) -> Callable[[], list[Arrived]]:
        return lambda: [arrival(mail) for mail in list(sink.mails)]

    @pytest.fixture
    def unreachable(self, at: At) -> Iterator[EmailSender]:
        with MailgunSink("another") as server:
            yield at(server.url)

    @pytest.fixture
    def silent(self, at: At) -> Iterator[EmailSender]:
        with WireServer(SILENT) as server:
            yield at(server.url, timeout=0.3)


def crowd(count: int) -> list[EmailMessage]:
    """Many messages of one skeleton that may share a form."""
    return [split_letter(HELLO, (f"Person {n}", f"{n} €"), f"1.{n}") for n in range(count)]


def one_click(message: EmailMessage, number: int) -> EmailMessage:
    unsubscribe = f"<https://mail.fernway.example/u/{number}>"
    headers = {"List-Unsubscribe": unsubscribe, "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    return replace(message, headers=headers, row=number + 1)


def test_a_thousand_of_one_skeleton_share_a_form_and_each_gets_its_own(sink: MailgunSink, at: At) -> None:
    batch = [one_click(message, n) for n, message in enumerate(crowd(1001))]
    outcomes = at(sink.url, tags=("shop", "spring")).send(batch)
    names = [outcome.provider_id for outcome in outcomes if isinstance(outcome, Accepted)]
    assert names == [f"2026.1@{DOMAIN}"] * 1000 + [f"2026.2@{DOMAIN}"]
    assert sink.sizes == [1000, 1]
    for message, mail in zip(batch, sink.mails, strict=True):
        assert (mail["subject"], mail["html"], mail["text"]) == (message.subject, message.html, message.text)
        assert mail["to"] == f'"{message.to.name}" <{message.to.address}>'
        assert {name: mail[f"h:{name}"] for name in message.headers} == message.headers
        assert (mail["v:evergreet_key"], mail["v:evergreet_row"]) == (message.key, str(message.row))
        assert (mail["o:tracking"], mail["o:tracking-clicks"], mail["o:tracking-opens"]) == ("no", "no", "no")
        assert mail["tags"] == ["shop", "spring"]
    assert sink.forms[0]["h:List-Unsubscribe-Post"] == ["List-Unsubscribe=One-Click"]  # the same for all: once


def test_one_address_stands_once_in_a_form(sink: MailgunSink, at: At) -> None:
    """Mailgun would leave the second one out without a word."""
    batch = [split_letter(HELLO, (f"P{n}", "1"), f"1.{n}", f"c{n % 2}@customer.example") for n in range(5)]
    assert all(isinstance(outcome, Accepted) for outcome in at(sink.url).send(batch))
    assert sink.sizes == [2, 2, 1]


def test_what_is_shared_is_the_same_and_a_form_is_not_too_large(
    sink: MailgunSink, at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = crowd(6)
    batch[1], batch[4] = (replace(batch[n], sender=Mailbox("other@fernway.example")) for n in (1, 4))
    batch[2] = replace(batch[2], row=7)  # alone of those with a row
    at(sink.url).send(batch)
    assert sorted(sink.sizes) == [1, 2, 3]
    assert {mail["to"]: mail["from"] for mail in sink.mails}['"Person 4" <c1.4@customer.example>'].startswith("other@")
    monkeypatch.setattr(mailgun_payload, "MOST_BYTES", 30_000)
    large = [split_letter(HELLO, ("x" * 10_000, "1"), f"1.{n}") for n in range(5)]
    requests, _ = mailgun_payload.pack(large, settings_at(sink.url))
    assert [len(request.recipients) for request in requests] == [2, 1, 2]
    assert all(len(request.form()[0]) < 30_000 for request in requests if len(request.recipients) > 1)


def test_a_message_with_an_unsubscribe_variable_of_mailguns_is_not_sent(sink: MailgunSink, at: At) -> None:
    """Mailgun would put its own link there."""
    bad = [letter("a", html="<a href='%unsubscribe_url%'>"), letter("b", text="%TAG_unsubscribe_url%"),
           letter("c", subject="%mailing_list_unsubscribe_url%"), letter("d", headers={"X-A": "%unsubscribe_email%"}),
           letter("e", headers={"X-Mailgun-Drop-Message": "yes"}),
           letter("f", sender=Mailbox("hello@fernway.example", "\ud800")), letter("g", html="\ud800")]  # fmt: skip
    outcomes = at(sink.url).send([*bad, letter("h", text="100 %, %recipient.name% %unsubscribe%")])
    assert [type(outcome) for outcome in outcomes] == [Permanent] * 7 + [Accepted]
    assert sink.mails[0]["text"] == "100 %, %recipient.name% %unsubscribe%"


def test_in_test_mode_nobody_gets_any_and_tracking_is_what_the_settings_say(sink: MailgunSink, at: At) -> None:
    outcomes = at(sink.url, sandbox=True, open_tracking=True).send([letter("a")])
    assert [getattr(outcome, "provider_id", "") for outcome in outcomes] == [f"sandbox:2026.1@{DOMAIN}"]
    (mail,) = sink.mails
    assert (mail["o:testmode"], mail["o:tracking"], mail["o:tracking-opens"]) == ("yes", "yes", "yes")
    assert mail["o:tracking-clicks"] == "no"


ANSWERS: list[tuple[Told, int, type[Exception], str | None]] = [
    (Told(200, b"<html>ok</html>"), 2, Retryable, "maybe"),
    (Told(200, {"message": "Queued. Thank you."}), 1, Retryable, "maybe"),
    (Told(200, {"id": "<>", "message": "Queued"}), 1, Retryable, "maybe"),
    (Told(200, b"Mailgun Magnificent API"), 1, Misconfigured, None),
    (Told(202, b""), 1, Retryable, "maybe"),
    (problem(500, "Internal Server Error"), 2, Retryable, "maybe"),
    (Told(502, b"<html>"), 1, Retryable, "maybe"),
    (Told(408, b""), 1, Retryable, "no"),
    (Told(429, {"message": "Too many requests"}, {"retry-after": "7"}), 2, Retryable, "no"),
    (problem(429, "account-requests-per-sec limit exceeded, try again after 7 seconds"), 1, Retryable, "no"),
    (problem(403, "Domain is not allowed to send: limit exceeded, try again after 7 seconds"), 1, Retryable, "no"),
    (problem(400, "to parameter is not a valid address. please check documentation"), 2, Permanent, None),
    (problem(400, "'from' parameter is not a valid address. please check documentation"), 2, Misconfigured, None),
    (problem(400, "Free accounts are for test purposes only. Please upgrade"), 2, Misconfigured, None),
    (Told(401, b"Forbidden"), 2, Misconfigured, None),
    (problem(402, "Parameters were valid but request failed"), 1, Misconfigured, None),
    (problem(403, "Domain is disabled"), 1, Misconfigured, None),
    (problem(404, "Domain not found: mg.fernway.example"), 2, Misconfigured, None),
    (Told(413, b"<html>"), 2, Permanent, None),
    (Told(302, b"", {"location": "http://127.0.0.1:1/"}), 1, Misconfigured, None),
]


@pytest.mark.parametrize(("told", "count", "kind", "accepted"), ANSWERS, ids=[str(n) for n in range(len(ANSWERS))])
def test_each_answer_has_its_outcome(
    sink: MailgunSink, at: At, told: Told, count: int, kind: type[Exception], accepted: str | None
) -> None:
    sink.judge = lambda recipients: told
    for outcome in at(sink.url).send(crowd(count)):
        assert type(outcome) is kind, outcome
        assert not getattr(outcome, "address_invalid", False)
        if isinstance(outcome, Retryable) and accepted == "no" and told.status != 408:
            assert outcome.retry_after == timedelta(seconds=7)
        if isinstance(outcome, Retryable) and "Not begun" not in outcome.reason:
            assert outcome.accepted == accepted


def test_who_is_named_is_refused_and_nobody_is_named_in_a_reason(sink: MailgunSink, at: At) -> None:
    def judge(recipients: list[str]) -> Told | None:
        bad = [one for one in recipients if one in {"c1.3@customer.example", "c1.7@customer.example"}]
        return problem(400, f"'to' parameter is not a valid address: {', '.join(bad)}.") if bad else None

    sink.judge = judge
    outcomes = at(sink.url).send(crowd(40))
    assert [n for n, outcome in enumerate(outcomes) if not isinstance(outcome, Accepted)] == [3, 7]
    assert "c1.3" not in str(outcomes[3])
    assert sink.sizes == [38]


def test_who_is_not_named_is_found_by_halves_and_a_refusal_of_all_comes_to_an_end(
    sink: MailgunSink, at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink.judge = lambda recipients: (
        problem(400, "to parameter is not a valid address") if "c1.3@customer.example" in recipients else None
    )
    outcomes = at(sink.url).send(crowd(100))
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Permanent)] == [3]
    assert sum(sink.sizes) == 99
    sink.asked.clear()
    sink.judge = lambda recipients: problem(400, "newly invented")
    monkeypatch.setattr("connectors.brake.MOST_REFUSALS", 20)
    outcomes = at(sink.url).send(crowd(100))
    assert len(sink.asked) == 20
    assert {type(outcome) for outcome in outcomes} == {Permanent, Retryable}


def test_nothing_is_begun_after_a_doubt_or_when_the_time_is_over(sink: MailgunSink, at: At) -> None:
    sink.judge = lambda recipients: problem(500, "no") if "c2@customer.example" in recipients else None
    batch = [letter(f"k{n}", to=Mailbox(f"c{n}@customer.example")) for n in range(5)]
    outcomes = at(sink.url).send(batch)
    assert [getattr(outcome, "accepted", "yes") for outcome in outcomes] == ["yes", "yes", "maybe", "no", "no"]
    sink.judge = lambda recipients: None
    ticks = iter(range(0, 10_000, 25))
    outcomes = at(sink.url, clock=lambda: float(next(ticks)), batch_seconds=150).send(batch)
    taken = [isinstance(outcome, Accepted) for outcome in outcomes]
    assert taken == sorted(taken, reverse=True)
    assert 0 < sum(taken) < 5


@pytest.mark.parametrize(("takes", "accepted"), [(40, "no"), (None, "maybe")])
def test_a_lost_connection_is_a_doubt_only_after_the_whole_request(at: At, takes: int | None, accepted: str) -> None:
    with WireServer(Conduct(takes=takes, then="reset")) as server:
        (outcome,) = at(server.url).send([letter("k", text="x" * (8_000_000 if takes else 10))])
    assert isinstance(outcome, Retryable)
    assert outcome.accepted == accepted


def test_a_check_says_whether_the_key_and_the_domain_are_right(sink: MailgunSink, at: At) -> None:
    assert at(sink.url).check() == f"127.0.0.1 answers and takes the key for {DOMAIN}."
    assert "test mode is on" in at(sink.url, sandbox=True).check()
    with pytest.raises(Misconfigured, match="EVERGREET_MAILGUN_DOMAIN"):
        at(sink.url, domain="other.example").check()
    assert sink.mails == []


@pytest.mark.parametrize("wrong", [{"domain": "a/b"}, {"domain": ""}, {"base_url": "http://api.mailgun.net"}])
def test_settings_that_would_send_the_key_elsewhere_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        settings_at("https://api.eu.mailgun.net", **wrong)


def test_their_own_package_writes_the_same_form_and_reads_the_answer(sink: MailgunSink, at: At) -> None:
    batch = [replace(message, row=n + 1) for n, message in enumerate(crowd(3))]
    at(sink.url, tags=("shop",)).send(batch)
    (ours,) = sink.forms
    with TheirClient(auth=("api", KEY), api_url=sink.url) as client:
        answered = client.messages.create(
            data={name: values if name in {"to", "o:tag"} else values[0] for name, values in ours.items()},
            domain=DOMAIN,
        )  # fmt: skip
    assert answered.json()["message"] == "Queued. Thank you."
    assert sink.forms[1] == ours


def test_what_arrives_is_what_djangos_anymail_sends_for_the_same(sink: MailgunSink, at: At) -> None:
    """Its way to custom variables and headers of one recipient is by recipient variables as well."""
    batch = [one_click(message, n) for n, message in enumerate(crowd(3))]
    at(sink.url, tags=("shop",)).send([replace(one, reply_to=Mailbox("r@fernway.example", "Zoë")) for one in batch])
    if not django_settings.configured:
        django_settings.configure(ANYMAIL={"MAILGUN_API_KEY": KEY}, USE_TZ=True)
    slots = {0: "%recipient.name%", 1: "%recipient.gift%"}
    subject, html, text = (
        "".join(slots[piece] if isinstance(piece, int) else piece for piece in part)
        for part in (HELLO.subject, HELLO.html, HELLO.text)
    )
    to = [f'"{one.to.name}" <{one.to.address}>' for one in batch]
    theirs = AnymailMessage(
        subject, text, '"Fernway Supply" <hello@fernway.example>', to, reply_to=['"Zoë" <r@fernway.example>']
    )
    theirs.attach_alternative(html, "text/html")
    values = {one.to.address: one.split.values for one in batch if one.split}
    theirs.merge_data = {address: {"name": own[0], "gift": own[1]} for address, own in values.items()}
    theirs.merge_headers = {one.to.address: dict(one.headers) for one in batch}
    theirs.merge_metadata = {
        one.to.address: {"evergreet_key": one.key, "evergreet_row": str(one.row)} for one in batch
    }  # fmt: skip
    theirs.track_clicks, theirs.track_opens, theirs.tags = False, False, ["shop"]
    backend = AnymailBackend(sender_domain=DOMAIN)
    asked = backend.build_message_payload(theirs, backend.send_defaults).get_request_params(f"{sink.url}/v3/")
    assert asked["files"] == []
    answered = httpx.post(asked["url"], data=asked["data"], auth=asked["auth"])
    assert answered.json()["message"] == "Queued. Thank you."
    for ours, other in zip(sink.mails[:3], sink.mails[3:], strict=True):
        for people in ("to", "from", "h:Reply-To"):
            assert parseaddr(ours.pop(people)) == parseaddr(other.pop(people))
        for form in ("recipient-variables", "o:tracking"):
            ours.pop(form)
            other.pop(form, None)
        assert ours == other


def test_through_the_ledger_one_who_is_refused_fails_unsuppressed_and_the_others_go(
    story: Story, sink: MailgunSink, at: At
) -> None:
    sink.judge = lambda recipients: (
        problem(400, "to parameter is not a valid address") if any("c3@" in one for one in recipients) else None
    )
    story.sender = at(sink.url)  # type: ignore[assignment]
    story.launch()
    story.happened("order_placed", *story.contacts(5))
    story.run()
    assert story.states() == {
        "accepted": 4, "failed: Mailgun answers 400: to parameter is not a valid address.": 1,
    }  # fmt: skip
    assert story.rows(Suppression) == []
    rows = {str(row.id): row for row in story.rows(Message)}
    assert sorted(mail["v:evergreet_row"] for mail in sink.mails) == sorted(
        row for row, message in rows.items() if message.state == "accepted"
    )
    assert len({mail["to"] for mail in sink.mails}) == len(sink.mails) == 4


def test_through_the_ledger_a_doubt_is_held_and_never_sent_again(story: Story, sink: MailgunSink, at: At) -> None:
    took = sink.take

    def loses(method: str, path: str, headers: dict[str, str], content: bytes) -> Told:
        took(method, path, headers, content)
        return Told(504, b"gateway")

    sink.take = loses  # type: ignore[method-assign]
    story.sender = at(sink.url)  # type: ignore[assignment]
    story.launch()
    story.happened("order_placed", story.contact("ana"))
    story.run()
    sink.take = took  # type: ignore[method-assign]
    story.clock.advance(timedelta(hours=1))
    story.run()
    (state,) = story.states()
    assert state.startswith("unknown: Mailgun answers 504")
    assert len(sink.mails) == 1


def test_a_body_is_what_the_pages_show(sink: MailgunSink, at: At) -> None:
    """The example of its page on batches, in our names."""
    at(sink.url).send(crowd(2))
    (form,) = sink.forms
    variables = json.loads(form["recipient-variables"][0])
    assert list(variables) == ["c1.0@customer.example", "c1.1@customer.example"]
    assert all(f"%recipient.{name}%" in json.dumps(form) for name in variables["c1.0@customer.example"])
