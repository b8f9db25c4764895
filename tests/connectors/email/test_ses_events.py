"""What SES tells through SNS: each event to its kind, no verdict on what may pass, key and row from its tags."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.calling import make_client
from connectors.email.ses import Ses
from connectors.email.ses_events import WORDS, read_events
from connectors.email.ses_settings import SesSettings
from connectors.email.ses_signing import Signer, credentials_of
from evergreet.contracts import Kind, ProviderEvent, Verdict, WebhookRequest, WebhookSource
from evergreet.errors import Misconfigured
from evergreet.testing import WebhookContract
from evergreet.testing.webhooks import RECEIVED, Sign, Told, request
from tests.connectors.sns_messages import ARN, certificate, sns_message

TAGS = {"evergreet_key": ["ab12"], "evergreet_row": ["7"], "ses:configuration-set": ["events"]}
PARTS = ("SignatureVersion", "Signature", "SigningCertURL")


def told(word: str, *, field: str = "eventType", mail: Mapping[str, Any] | None = None, **details: Any) -> bytes:
    about = {"messageId": "m-1", "timestamp": "2026-03-10T11:59:00.123Z", "destination": ["anna@customer.example"],
             "tags": TAGS, **(mail or {})}  # fmt: skip
    return json.dumps({field: word, "mail": about, **details}).encode()


def make(topic_arn: str = ARN) -> Ses:
    settings = SesSettings.model_validate(
        {"region": "eu-central-1", "access_key_id": "AKIACANARY", "secret_access_key": "canary-secret",
         "base_url": "http://127.0.0.1:1", "topic_arn": topic_arn}
    )  # fmt: skip
    client = make_client(1)
    return Ses(settings, client, Signer(settings.region, credentials_of(settings)), fetch=lambda url: certificate())


class TestSesWebhooks(WebhookContract):
    secrets = ("AKIACANARY", "canary-secret")
    words = {word: kind for word, (kind, _) in WORDS.items()}

    @pytest.fixture
    def source(self) -> Iterator[WebhookSource]:
        connector = make()
        yield connector
        connector.close()

    @pytest.fixture
    def sign(self) -> Sign:
        return lambda body: {name: str(sns_message(body.decode("utf-8", "replace"))[name]) for name in PARTS}

    @pytest.fixture
    def told(self) -> Told:
        return told

    def posted(self, body: bytes, signature: Mapping[str, str]) -> WebhookRequest:
        message = sns_message(body.decode("utf-8", "replace"))
        return request(
            json.dumps({**{k: v for k, v in message.items() if k not in PARTS}, **signature}).encode(), {}
        )  # fmt: skip


def read(body: bytes | dict[str, Any]) -> list[ProviderEvent]:
    text = body.decode() if isinstance(body, bytes) else json.dumps(body)
    return read_events("sns-1", text, RECEIVED)


def one(body: bytes | dict[str, Any]) -> ProviderEvent:
    (event,) = read(body)
    return event


def bounce(kind: str, subtype: str, status: str = "", **more: Any) -> bytes:
    recipient = {"emailAddress": "Anna <anna@customer.example>", "status": status,
                 "diagnosticCode": "smtp; 550 <anna@customer.example> no"}  # fmt: skip
    details = {"bounceType": kind, "bounceSubType": subtype, "bouncedRecipients": [recipient],
               "timestamp": "2026-03-10T11:00:00.000Z", **more}  # fmt: skip
    return told("Bounce", bounce=details)


def test_without_a_topic_it_says_what_to_do() -> None:
    source = make("")
    with pytest.raises(Misconfigured, match="EVERGREET_SES_TOPIC_ARN"):
        source.verify(request(json.dumps(sns_message("x")).encode(), {}))
    source.close()


def test_published_events_have_their_kinds(fixtures: Path) -> None:
    published = json.loads((fixtures / "webhooks" / "amazon_ses_events.json").read_text("utf-8"))
    assert {
        name: [(event.kind, event.verdict, event.address) for event in read(case["raw_ses_event"])]
        for name, case in published.items()
    } == {
        "test_bounce_event": [(Kind.HARD_BOUNCED, Verdict.INVALID, "jane@example.com")],
        "test_complaint_event": [(Kind.COMPLAINED, Verdict.COMPLAINED, "richard@example.com")],
        "test_send_event": [(Kind.ACCEPTED, Verdict.NONE, "recipient@example.com")],
        "test_open_event": [(Kind.OPENED, Verdict.NONE, "recipient@example.com")],
        "test_rendering_failure_event": [(Kind.DROPPED, Verdict.NONE, "recipient@example.com")],
    }
    hard = one(published["test_bounce_event"]["raw_ses_event"])
    assert hard.at == datetime(2016, 1, 27, 14, 59, 44, 101000, UTC)
    assert hard.provider_id.startswith("00000138111222aa")
    assert hard.reason == "Permanent General: smtp; 550 5.1.1 <(address)>... User unknown"


HARD, SOFT, BLOCKED, DROPPED = Kind.HARD_BOUNCED, Kind.SOFT_BOUNCED, Kind.BLOCKED, Kind.DROPPED


@pytest.mark.parametrize(
    ("kind", "subtype", "status", "meaning", "verdict"),
    [
        ("Permanent", "General", "5.1.1", HARD, Verdict.INVALID),
        ("Permanent", "General", "", HARD, Verdict.INVALID),
        ("Permanent", "General", "5.7.1", BLOCKED, Verdict.NONE),
        ("Permanent", "General", "5.2.2", SOFT, Verdict.NONE),
        ("Permanent", "General", "4.4.7", SOFT, Verdict.NONE),
        ("Permanent", "NoEmail", "5.7.1", HARD, Verdict.INVALID),
        ("Permanent", "Newly invented", "", HARD, Verdict.INVALID),
        ("Permanent", "Suppressed", "5.1.1", DROPPED, Verdict.INVALID),
        ("Permanent", "OnAccountSuppressionList", "5.1.1", DROPPED, Verdict.NONE),
        ("Permanent", "OnTenantSuppressionList", "", DROPPED, Verdict.NONE),
        ("Permanent", "EmailValidationSuppressed", "", DROPPED, Verdict.NONE),
        ("Transient", "General", "5.1.1", SOFT, Verdict.NONE),
        ("Transient", "MailboxFull", "", SOFT, Verdict.NONE),
        ("Transient", "CustomTimeoutExceeded", "", SOFT, Verdict.NONE),
        ("Transient", "MessageTooLarge", "", BLOCKED, Verdict.NONE),
        ("Transient", "ContentRejected", "", BLOCKED, Verdict.NONE),
        ("Transient", "AttachmentRejected", "", BLOCKED, Verdict.NONE),
        ("Undetermined", "Undetermined", "5.1.1", SOFT, Verdict.NONE),
        ("Newly invented", "", "5.1.1", SOFT, Verdict.NONE),
    ],
)
def test_only_what_says_that_the_mailbox_is_not_there_suppresses(
    kind: str, subtype: str, status: str, meaning: Kind, verdict: Verdict
) -> None:
    event = one(bounce(kind, subtype, status))
    assert (event.kind, event.verdict, event.address) == (meaning, verdict, "anna@customer.example")
    assert (event.row, event.key, event.provider_id) == (7, "ab12", "m-1")
    assert event.at == datetime(2026, 3, 10, 11, tzinfo=UTC)
    assert "@" not in event.reason


@pytest.mark.parametrize(
    ("complaint", "meaning"),
    [
        ({}, (Kind.COMPLAINED, Verdict.COMPLAINED)),
        ({"complaintFeedbackType": "abuse"}, (Kind.COMPLAINED, Verdict.COMPLAINED)),
        ({"complaintFeedbackType": "not-spam"}, (Kind.DELIVERED, Verdict.NONE)),
        ({"complaintFeedbackType": "auth-failure"}, (Kind.DELIVERED, Verdict.NONE)),
        ({"complaintSubType": "OnAccountSuppressionList"}, (Kind.DROPPED, Verdict.COMPLAINED)),
    ],
)
def test_a_report_is_a_complaint_unless_it_says_otherwise(
    complaint: dict[str, Any], meaning: tuple[Kind, Verdict]
) -> None:
    event = one(told("Complaint", complaint={"complainedRecipients": [{"emailAddress": "a@b.example"}], **complaint}))
    assert (event.kind, event.verdict) == meaning


def test_of_several_who_may_have_complained_nobody_is_suppressed_and_each_bounce_stands_for_itself() -> None:
    listed = [{"emailAddress": "a@b.example"}, {"emailAddress": "c@d.example", "status": "5.1.1"}]
    complained = read(told("Complaint", complaint={"complainedRecipients": listed}))
    assert [(event.address, event.verdict) for event in complained] == [
        ("a@b.example", Verdict.NONE), ("c@d.example", Verdict.NONE),
    ]  # fmt: skip
    bounced = read(bounce("Permanent", "General", bouncedRecipients=listed))
    assert [(event.address, event.verdict) for event in bounced] == [
        ("a@b.example", Verdict.INVALID), ("c@d.example", Verdict.INVALID),
    ]  # fmt: skip
    assert len({event.id for event in bounced}) == 2


@pytest.mark.parametrize(
    ("new", "meaning"),
    [
        ({"unsubscribeAll": True}, (Kind.UNSUBSCRIBED, Verdict.UNSUBSCRIBED)),
        (
            {"topicSubscriptionStatus": [{"topicName": "news", "subscriptionStatus": "OptOut"}]},
            (Kind.GROUP_UNSUBSCRIBED, Verdict.UNSUBSCRIBED_TOPIC),
        ),
        (
            {"topicSubscriptionStatus": [{"topicName": "old", "subscriptionStatus": "OptOut"}]},
            (Kind.GROUP_RESUBSCRIBED, Verdict.NONE),
        ),
    ],
)
def test_what_a_reader_chose_at_ses_counts(new: dict[str, Any], meaning: tuple[Kind, Verdict]) -> None:
    old = {"unsubscribeAll": False, "topicSubscriptionStatus": [{"topicName": "old", "subscriptionStatus": "OptOut"}]}
    event = one(told("Subscription", subscription={"newTopicPreferences": new, "oldTopicPreferences": old}))
    assert (event.kind, event.verdict) == meaning


def test_a_click_brings_its_link_and_apples_proxy_is_no_reader() -> None:
    click = {"link": "https://shop.example/?a=1", "timestamp": "2026-03-10T10:00:00.000Z", "ipAddress": "192.0.2.1"}
    event = one(told("Click", click=click))
    assert (event.url, event.at.hour, event.machine) == ("https://shop.example/?a=1", 10, False)
    assert one(told("Open", open={"userAgent": "Mozilla/5.0"})).machine
    assert not one(told("Open", open={"userAgent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0)"})).machine


def test_notifications_of_an_identity_name_the_message_by_its_message_id() -> None:
    key = "0123456789abcdef" * 2
    mail = {"tags": None, "commonHeaders": {"messageId": f"<{key}@fernway.example>"}}
    event = one(told("Delivery", field="notificationType", mail=mail, delivery={"recipients": ["b@c.example"]}))
    assert (event.kind, event.key, event.row, event.address) == (Kind.DELIVERED, key, 0, "b@c.example")
    mail = {"tags": None, "commonHeaders": {"messageId": "0107019ce-000000"}}
    assert one(told("Delivery", field="notificationType", mail=mail)).key == ""


def test_mail_that_answers_one_of_ours_is_an_answer() -> None:
    headers = [{"name": "In-Reply-To", "value": "<0107019ce-000000@eu-central-1.amazonses.com>"},
               {"name": "Date", "value": "Tue, 10 Mar 2026 11:00:00 +0100"}]  # fmt: skip
    mail = {"messageId": "in-1", "commonHeaders": {"from": ["Anna <anna@customer.example>"]}, "headers": headers}
    event = one({"notificationType": "Received", "mail": mail, "receipt": {}, "content": "Is it warm?"})
    assert (event.kind, event.address, event.provider_id) == (Kind.REPLIED, "anna@customer.example", "0107019ce-000000")
    assert (event.at.hour, "warm" in str(event.raw)) == (10, False)
    mail["headers"] = [*headers, {"name": "Precedence", "value": "bulk"}]
    assert read({"notificationType": "Received", "mail": mail}) == []


@pytest.mark.parametrize(
    "text",
    [
        "Successfully validated SNS topic for Amazon SES event publishing.",
        '{"notificationType": "AmazonSnsSubscriptionSucceeded", "message": "You have successfully subscribed …"}',
        '{"notificationType": "Received", "mail": {"messageId": "m"}, "receipt": {}, "content": "From: ana@c.example"}',
    ],
)
def test_what_ses_writes_when_a_topic_is_set_up_and_mail_that_comes_in_are_no_events(text: str) -> None:
    assert read_events("sns-1", text, RECEIVED) == []


@pytest.mark.parametrize("odd", [None, 5, [], "x", {"timestamp": "soon", "bouncedRecipients": [5, None, {}]}])
@pytest.mark.parametrize("word", ["Bounce", "Complaint", "Open", "Subscription"])
def test_fields_of_any_shape_are_kept(word: str, odd: Any) -> None:
    field = word.lower()
    for mail in (odd, {"tags": odd, "destination": odd, "commonHeaders": odd}):
        events = read({"eventType": word, "mail": mail, field: odd})
        assert events
        assert {(event.row, event.verdict is Verdict.INVALID) for event in events} == {(0, False)}
        assert {event.at for event in events} == {RECEIVED}
