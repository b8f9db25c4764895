"""What SendGrid is asked is what its own package would write, and as its description has it, whatever is sent."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from python_http_client.exceptions import BadRequestsError, UnauthorizedError
from sendgrid import SendGridAPIClient
from sendgrid.helpers import mail as sdk

from connectors.email.sendgrid import SendGrid
from connectors.email.sendgrid_payload import pack
from connectors.email.sendgrid_settings import SendGridSettings
from evergreet.contracts import EmailMessage, Mailbox
from tests.connectors.email.conftest import SENDGRID_KEY
from tests.connectors.email.letters import letter
from tests.connectors.email.sendgrid_sink import Sink
from tests.connectors.email.splits import crowd
from tests.connectors.email.test_sendgrid_exact import batches

Connect = Callable[..., SendGrid]
OPTIONS: dict[str, Any] = {
    "sandbox": True, "categories": ("lifecycle", "news"), "ip_pool": "news pool", "groups": {"offers": 7, "news": 15},
    "spread_seconds": 60,
}  # fmt: skip


def named(box: Mailbox) -> tuple[str, str | None]:
    """A mailbox as the package wants it, without what SendGrid does not take in names."""
    return box.address, " ".join(re.sub("[,;<>]", " ", box.name).split()) or None


def as_the_sdk_writes_it(messages: Sequence[EmailMessage], body: Any) -> Any:
    """The same request by the helpers of the `sendgrid` package; what is in no message is taken from the body."""
    first = messages[0]
    mail = sdk.Mail()
    mail.from_email = sdk.From(*named(first.sender))
    mail.subject = sdk.Subject(body["subject"])
    for part in body["content"]:
        mail.add_content(sdk.Content(part["type"], part["value"]))
    if first.reply_to:
        mail.reply_to = sdk.ReplyTo(*named(first.reply_to))
    # The SDK puts each first.
    for message, written in reversed(list(zip(messages, body["personalizations"], strict=True))):
        personal = sdk.Personalization()
        personal.add_to(sdk.To(*named(message.to)))
        for name, value in message.headers.items():
            personal.add_header(sdk.Header(name, value))
        for tag, value in written.get("substitutions", {}).items():
            personal.add_substitution(sdk.Substitution(tag, value))
        personal.add_custom_arg(sdk.CustomArg("evergreet_key", message.key))
        if message.row:
            personal.add_custom_arg(sdk.CustomArg("evergreet_row", str(message.row)))
        if message.topic:
            personal.send_at = written["send_at"]
        mail.add_personalization(personal)
    mail.tracking_settings = sdk.TrackingSettings(
        sdk.ClickTracking(False, False), sdk.OpenTracking(False), sdk.SubscriptionTracking(False), sdk.Ganalytics(False)
    )
    for category in reversed(OPTIONS["categories"]):
        mail.add_category(sdk.Category(category))
    mail.ip_pool_name = sdk.IpPoolName(OPTIONS["ip_pool"])
    if first.topic:
        shown = sorted(OPTIONS["groups"].values(), key=lambda group: group != OPTIONS["groups"][first.topic])
        mail.asm = sdk.Asm(sdk.GroupId(shown[0]), sdk.GroupsToDisplay(shown))
    mail.mail_settings = sdk.MailSettings(sandbox_mode=sdk.SandBoxMode(True))
    return mail.get()


def test_a_request_is_what_the_sdk_would_write(sink: Sink, sendgrid_at: Connect) -> None:
    extra: dict[str, Any] = {"headers": {"X-Data": "1", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
             "reply_to": Mailbox("answers@fernway.example", "Answers")}  # fmt: skip
    together = [replace(message, topic="news", **extra) for message in crowd(5)]
    alone = letter("2.a")
    sendgrid_at(sink.url, **OPTIONS).send([*together, alone])
    first, second = sink.bodies
    substitutions = [personal["substitutions"] for personal in first["personalizations"]]
    assert [list(values.values()) for values in substitutions] == [[f"Person {n}", f"{n} %"] for n in range(5)]
    assert first == as_the_sdk_writes_it(together, first)
    assert second == as_the_sdk_writes_it([alone], second)
    assert (second["subject"], second["content"][0]["value"]) == (alone.subject, alone.text)


@pytest.fixture
def judge(sendgrid_spec: Path | None) -> Iterator[Sink]:
    """Judges requests without being asked over a network."""
    made = Sink(SENDGRID_KEY, sendgrid_spec)
    yield made
    made.server_close()


_names = st.sampled_from(
    ["", "Anna Berg", "Berg; Anna, <b@evil.example>", " ,; ", 'Ann "Q" Lee', "نور", "𝔘 <>", "=?x?="]
)
_boxes = st.builds(Mailbox, st.sampled_from(["a@b.co", "a.b+c@d.example"]), _names)
_headers = st.dictionaries(
    st.sampled_from(["X-Data", "List-Unsubscribe", "Feedback-ID"]), st.text(" -x~%<>", max_size=5)
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches(), st.data())
def test_every_request_is_as_described_and_what_the_sdk_would_write(
    judge: Sink, batch: list[EmailMessage], data: st.DataObject
) -> None:
    sender, answers = data.draw(_boxes), data.draw(st.none() | _boxes)
    batch = [
        replace(
            message, to=replace(message.to, name=data.draw(_names)), sender=sender, reply_to=answers,
            headers=data.draw(_headers), row=data.draw(st.sampled_from([0, 7, 2**63 - 1])),
            topic=data.draw(st.sampled_from(["", "news", "offers"])),
        )
        for message in batch
    ]  # fmt: skip
    by_key = {message.key: message for message in batch}
    requests, refused = pack(batch, SendGridSettings.model_validate({"api_key": "x", **OPTIONS}))
    assert refused == {}
    for request in requests:
        body = json.loads(request.body())
        messages = [by_key.pop(personal["custom_args"]["evergreet_key"]) for personal in body["personalizations"]]
        assert body == as_the_sdk_writes_it(messages, body)
        headers = {"authorization": f"Bearer {SENDGRID_KEY}", "content-type": "application/json"}
        told = judge.take("POST", "/v3/mail/send", headers, request.body())
        assert (told.status, judge.faults) == (200, [])
    assert by_key == {}


def test_the_sink_answers_the_vendors_own_client_as_it_answers_ours(sendgrid_spec: Any) -> None:
    with Sink(SENDGRID_KEY, sendgrid_spec) as sink:
        client = SendGridAPIClient(SENDGRID_KEY, host=sink.url)
        mail = sdk.Mail("hello@fernway.example", "anna@customer.example", "Thanks -a-", "text -a-", "<p>-a-</p>")
        mail.personalizations[0].add_substitution(sdk.Substitution("-a-", "Anna"))
        answer = client.send(mail)
        assert (answer.status_code, answer.headers["X-Message-Id"]) == (202, "sg-1")
        assert (sink.mails[0].subject, sink.mails[0].text, sink.mails[0].html) == (
            "Thanks Anna",
            "text Anna",
            "<p>Anna</p>",
        )
        twice = sdk.Mail("hello@fernway.example", ["a@b.co", "c@d.co"], "Hi", "text", is_multiple=True).get()
        for personal, address in zip(twice["personalizations"], ("A@b.co", "a@B.co"), strict=True):
            personal["to"] = [{"email": address}]
        with pytest.raises(BadRequestsError):
            client.send(twice)
        assert len(sink.faults) == 1
        with pytest.raises(UnauthorizedError):
            SendGridAPIClient("another", host=sink.url).send(mail)
        assert client.client.scopes.get().status_code == 200


def test_the_sink_checks_requests_against_the_vendors_description(fixtures: Any, sendgrid_spec: Any) -> None:
    with Sink(SENDGRID_KEY, sendgrid_spec) as sink:
        broken: list[dict[str, Any]] = [
            {"from": {"email": "nobody"}}, {"subject": 1}, {"personalizations": "x"}, {"content": [{}]},
        ]  # fmt: skip
        for wrong in broken:
            body = {"personalizations": [{"to": [{"email": "a@b.co"}]}], "from": {"email": "a@b.co"}, "subject": "x",
                    "content": [{"type": "text/plain", "value": "x"}]} | wrong  # fmt: skip
            answer = httpx.post(
                f"{sink.url}/v3/mail/send", json=body, headers={"Authorization": f"Bearer {SENDGRID_KEY}"}
            )
            assert answer.status_code == 400, wrong
        assert len(sink.faults) == 4
        assert sink.mails == []
