"""Resend's webhooks: Standard Webhooks, each event to its kind, no verdict on what may pass."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from resend import Webhooks

from connectors.calling import make_client
from connectors.email.resend import Resend
from connectors.email.resend_events import WORDS
from connectors.email.resend_settings import ResendSettings
from evergreet.contracts import Kind, ProviderEvent, Verdict, WebhookSource
from evergreet.errors import Misconfigured, NotGenuine
from evergreet.testing import WebhookContract
from evergreet.testing.webhooks import RECEIVED, Sign, Told, request

SECRET = "whsec_Y2FuYXJ5LXdlYmhvb2stc2VjcmV0"


def signature(body: bytes, stamp: int = int(RECEIVED.timestamp()), secret: str = SECRET) -> dict[str, str]:
    name = f"msg_{hashlib.sha256(body).hexdigest()[:16]}"
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{name}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {"svix-id": name, "svix-timestamp": str(stamp), "svix-signature": f"v1,{base64.b64encode(mac).decode()}"}


def told(word: str, **data: Any) -> bytes:
    known = {"email_id": "e-1", "to": ["Anna <anna@customer.example>"],
             "tags": {"evergreet_key": "ab12", "evergreet_row": "7"}, **data}  # fmt: skip
    return json.dumps({"type": word, "created_at": "2026-03-10T11:59:50.123Z", "data": known}).encode()


def make(secret: str = SECRET) -> Resend:
    settings = ResendSettings.model_validate(
        {"api_key": "re_canary", "base_url": "http://127.0.0.1:1", "webhook_secret": secret}
    )
    return Resend(settings, make_client(settings.connections))


@pytest.fixture
def source() -> Iterator[Resend]:
    connector = make()
    yield connector
    connector.close()


class TestResendWebhooks(WebhookContract):
    secrets = (SECRET, "re_canary")
    words = {word: kind for word, (kind, _) in WORDS.items()}

    @pytest.fixture
    def source(self) -> Iterator[WebhookSource]:
        connector = make()
        yield connector
        connector.close()

    @pytest.fixture
    def sign(self) -> Sign:
        return signature

    @pytest.fixture
    def told(self) -> Told:
        return told


def read(source: Resend, body: Any) -> ProviderEvent:
    (event,) = source.parse(request(json.dumps(body).encode() if not isinstance(body, bytes) else body, {}))
    return event


def test_the_id_of_an_event_is_the_one_that_was_signed(source: Resend) -> None:
    """Otherwise who has seen one request could tell it again and again under other names."""
    body = told("email.opened")
    good = {name.replace("svix", "webhook"): value for name, value in signature(body).items()}
    posted = request(body, good | {"svix-id": "msg_another"})
    source.verify(posted)
    (event,) = source.parse(posted)
    assert event.id == good["webhook-id"]


def test_published_signatures_are_judged_as_published(fixtures: Path) -> None:
    judged = []
    for one in json.loads((fixtures / "vectors" / "webhook_signatures.json").read_text("utf-8")):
        if one["scheme"] != "standard-webhooks-v1":
            continue
        source = make(one["secret"])
        posted = replace(
            request(one["body"].encode(), one["headers"]), received_at=datetime.fromtimestamp(1614265330, UTC)
        )
        try:
            source.verify(posted)
            judged.append((True, one["valid"]))
        except NotGenuine:
            judged.append((False, one["valid"]))
        source.close()
    assert sorted(judged) == [(False, False), (False, False), (True, True)]


@pytest.mark.parametrize("seconds", [-301, 301])
def test_what_is_older_or_younger_than_five_minutes_is_refused(source: Resend, seconds: int) -> None:
    body = told("email.sent")
    with pytest.raises(NotGenuine, match="too far"):
        source.verify(request(body, signature(body, int(RECEIVED.timestamp()) + seconds)))


def test_their_own_helper_agrees_on_what_is_genuine(source: Resend) -> None:
    body, now = told("email.delivered", subject="Grüße 😀"), int(time.time())
    headers = signature(body, now)
    for text in (body.decode(), body.decode() + "\n"):
        options: Any = {
            "payload": text, "webhook_secret": SECRET,
            "headers": {name.removeprefix("svix-"): value for name, value in headers.items()},
        }  # fmt: skip
        answers: list[bool] = []
        for verify in (
            lambda options=options: Webhooks.verify(options),
            lambda text=text: source.verify(
                replace(request(text.encode(), headers), received_at=datetime.fromtimestamp(now, UTC))
            ),
        ):
            try:
                verify()
                answers.append(True)
            except (ValueError, NotGenuine):
                answers.append(False)
        assert answers == [text == body.decode()] * 2


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_%%%"])
def test_without_a_usable_secret_it_says_what_to_do(secret: str) -> None:
    source = make(secret)
    with pytest.raises(Misconfigured, match="EVERGREET_RESEND_WEBHOOK_SECRET"):
        source.verify(request(told("email.sent"), signature(told("email.sent"))))
    source.close()


def test_published_events_have_their_kinds(fixtures: Path, source: Resend) -> None:
    published = json.loads((fixtures / "webhooks" / "resend_events.json").read_text("utf-8"))
    events = {name: read(source, case["raw_event"]) for name, case in published.items()}
    assert {name: (event.kind, event.verdict) for name, event in events.items()} == {
        "test_sent_event": (Kind.ACCEPTED, Verdict.NONE),
        "test_hard_bounced_event": (Kind.HARD_BOUNCED, Verdict.INVALID),
        "test_delivery_delayed_event": (Kind.DEFERRED, Verdict.NONE),
        "test_opened_event": (Kind.OPENED, Verdict.NONE),
    }
    sent = events["test_sent_event"]
    assert (sent.address, sent.provider_id) == ("to@example.org", "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee")
    assert sent.at == datetime(2023, 9, 28, 17, 19, 43, 736000, UTC)


@pytest.mark.parametrize(
    ("bounce", "kind"),
    [
        ({"type": "Permanent", "subType": "General"}, Kind.HARD_BOUNCED),
        ({"type": "Permanent", "subType": "Suppressed"}, Kind.HARD_BOUNCED),
        ({"type": "Permanent", "subType": "OnAccountSuppressionList"}, Kind.DROPPED),
        ({"message": "Resend has … because it is on the account-level suppression list."}, Kind.DROPPED),
        ({"type": "Transient", "subType": "MailboxFull"}, Kind.SOFT_BOUNCED),
        ({"type": "Transient", "subType": "ContentRejected"}, Kind.BLOCKED),
        ({"type": "Undetermined"}, Kind.SOFT_BOUNCED),
        ({"type": "Newly invented"}, Kind.SOFT_BOUNCED),
    ],
)
def test_only_a_permanent_bounce_suppresses(source: Resend, bounce: dict[str, str], kind: Kind) -> None:
    event = read(source, told("email.bounced", bounce=bounce))
    assert event.kind == kind
    assert event.verdict == (Verdict.INVALID if kind is Kind.HARD_BOUNCED else Verdict.NONE)


def test_a_click_brings_its_link_and_tags_come_in_either_form(source: Resend) -> None:
    click = {"link": "https://shop.example/", "timestamp": "2026-03-10T11:00:00.000Z"}
    tags = [{"name": "evergreet_key", "value": "k"}, {"name": "evergreet_row", "value": "9"}, 5]
    event = read(source, told("email.clicked", click=click, tags=tags))
    assert (event.url, event.at.hour, event.key, event.row) == ("https://shop.example/", 11, "k", 9)


@pytest.mark.parametrize(
    ("word", "said", "expected"),
    [
        ("contact.updated", {"unsubscribed": True}, (Kind.UNSUBSCRIBED, Verdict.UNSUBSCRIBED)),
        ("contact.created", {"unsubscribed": True}, (Kind.UNSUBSCRIBED, Verdict.UNSUBSCRIBED)),
        ("contact.updated", {"unsubscribed": False}, None),
        ("contact.deleted", {"unsubscribed": True}, None),
        ("suppression.added", {"origin": "bounce"}, (Kind.HARD_BOUNCED, Verdict.INVALID)),
        ("suppression.added", {"origin": "complaint"}, (Kind.COMPLAINED, Verdict.COMPLAINED)),
        ("suppression.added", {"origin": "manual"}, (Kind.UNSUBSCRIBED, Verdict.UNSUBSCRIBED)),
        ("suppression.added", {"origin": "new"}, None),
        ("suppression.removed", {"origin": "complaint"}, None),
        ("domain.updated", {}, None),
        ("email.received", {"to": ["us@shop.example"]}, None),
    ],
)
def test_who_leaves_at_resend_is_told_and_nothing_else_about_no_message(
    source: Resend, word: str, said: dict[str, Any], expected: tuple[Kind, Verdict] | None
) -> None:
    body = {"type": word, "created_at": "2026-03-10T11:59:50.123Z", "data": {"email": "ana@example.org", **said}}
    told = source.parse(request(json.dumps(body).encode(), {}))
    assert [(event.kind, event.verdict) for event in told] == ([] if expected is None else [expected])
    assert {(event.address, event.row) for event in told} <= {("ana@example.org", 0)}


@pytest.mark.parametrize("data", [None, 5, [], {"to": 5, "tags": 7, "click": "x", "bounce": []}, {"to": [{}]}])
def test_fields_of_any_shape_are_kept(source: Resend, data: Any) -> None:
    event = read(source, {"type": "email.bounced", "created_at": "soon", "data": data})
    assert (event.kind, event.at, event.row) == (Kind.HARD_BOUNCED, RECEIVED, 0)
