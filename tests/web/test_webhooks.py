"""What providers post: verified, stored once, answered without a detail, applied after the answer."""

import asyncio
import base64
import json
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import SecretStr
from sqlalchemy import select
from sqlmodel import col
from twilio.request_validator import RequestValidator

from evergreet import database as databases
from evergreet.clock import FrozenClock
from evergreet.database import Database
from evergreet.errors import Retryable
from evergreet.settings import Settings
from evergreet.web import guard
from evergreet.web.app import create_app
from models import ProviderEvent, Suppression
from tests.web.conftest import KEY as KEY_OF_LINKS
from tests.web.conftest import Call, caller

KEY = generate_private_key(SECP256R1())
EVENTS = [
    {"event": "bounce", "type": "bounce", "status": "5.1.1", "email": "maya@example.com", "sg_event_id": "e1"},
    {"event": "newly invented", "email": "maya@example.com", "sg_event_id": "e2"},
]
BODY = json.dumps(EVENTS).encode() + b"\r\n"
Post = Callable[..., httpx.Response]


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    monkeypatch.setenv("EVERGREET_SENDGRID_API_KEY", "SG.canary")
    monkeypatch.setenv("EVERGREET_SENDGRID_VERIFICATION_KEY", base64.b64encode(shown).decode())


def headers(body: bytes) -> dict[str, str]:
    signature = KEY.sign(b"1773144000" + body, ECDSA(SHA256()))
    return {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": "1773144000",
    }


@pytest.fixture
def post(call: Call) -> Post:
    return lambda body, signed=None, to="sendgrid": call(
        "POST", f"/webhooks/{to}", content=body, headers=headers(body) if signed is None else signed
    )


def stored(database: Database) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(select(ProviderEvent).order_by(col(ProviderEvent.id))).all())


def test_what_is_told_twice_is_stored_once_and_applied(post: Post, database: Database, maya: int) -> None:
    for _ in range(2):
        answer = post(BODY)
        assert (answer.status_code, answer.content) == (200, b"")
    rows = stored(database)
    assert [(row.event_id, row.kind, row.result) for row in rows] == [
        ("e1", "hard_bounced", "not_ours"), ("e2", "unknown", "unknown_word"),
    ]  # fmt: skip
    assert [row.payload for row in rows] == EVENTS
    assert all(row.applied_at for row in rows)
    with database.read() as connection:
        assert [row.address for row in connection.execute(select(Suppression))] == ["maya@example.com"]


def test_what_is_not_genuine_is_refused_without_a_detail_and_stored_nowhere(
    post: Post, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    good = headers(BODY)
    doubled = httpx.Headers([*good.items(), *good.items()])
    for signed in ({}, headers(b"[]"), dict(list(good.items())[:1]), dict(list(good.items())[1:]), doubled):
        answer = post(BODY, signed)
        assert (answer.status_code, answer.content) == (403, b"")
    assert stored(database) == []
    assert "was refused" in caplog.text
    assert not [value for value in (*good.values(), "SG.canary", "maya@") if value in caplog.text]


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"\xff", b"[" * 50_000, '["ö"]'.encode("utf-16")])
def test_what_is_signed_and_unreadable_is_a_bad_request(post: Post, database: Database, body: bytes) -> None:
    assert (answer := post(body)).status_code == 400, answer
    assert stored(database) == []


def test_a_signature_over_the_url_is_verified_with_its_query(
    post: Post, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"ACCOUNT_SID": "AC" + "0a" * 16, "AUTH_TOKEN": "12345", "SENDER": "+15557122661"}
    for name, value in known.items():
        monkeypatch.setenv(f"EVERGREET_TWILIO_{name}", value)
    monkeypatch.setenv("EVERGREET_PUBLIC_URL", "https://mail.fernway.example")
    told = {"MessageSid": "SM1", "MessageStatus": "sent", "To": "+447700900123"}
    url, query = "https://mail.fernway.example/webhooks/twilio", "?row=7&key=a%20b"
    good = {"X-Twilio-Signature": RequestValidator("12345").compute_signature(url + query, told)}
    body = urlencode(told).encode()
    assert post(body, good, f"twilio{query}").status_code == 204
    assert post(body, good, "twilio?row=8&key=a%20b").status_code == 403
    assert [(row.row, row.key, row.event_id) for row in stored(database)] == [(7, "a b", "SM1:sent")]


def test_an_empty_list_is_fine(post: Post) -> None:
    assert post(b"[]").status_code == 200


def test_a_body_is_larger_than_that_of_a_page_and_not_without_limit(post: Post, database: Database) -> None:
    large = json.dumps([{"event": "open", "sg_event_id": str(n), "x": "x" * 1000} for n in range(1000)]).encode()
    assert post(large).status_code == 200
    assert len(stored(database)) == 1000
    assert post(b"[" + b" " * 3_000_000 + b"]").status_code == 413


def test_a_body_that_never_ends_is_given_up(post: Post, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.05)

    async def slow() -> AsyncIterator[bytes]:
        yield BODY[:5]
        await asyncio.sleep(30)
        yield BODY[5:]

    assert post(slow(), headers(BODY)).status_code == 408
    assert stored(database) == []


def test_what_cannot_be_verified_now_is_told_again(
    post: Post, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise Retryable("There is no certificate to be had.")

    monkeypatch.setattr("connectors.email.sendgrid.SendGrid.verify", away)
    assert post(BODY).status_code == 503
    assert stored(database) == []


def test_each_provider_is_answered_what_it_takes_for_a_receipt_and_for_a_call_again(
    sqlite_url: str, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mailgun and Postmark: 200 alone is a receipt. Brevo: after any error but 429 it tells no more."""
    for name in ("BREVO_API_KEY", "BREVO_WEBHOOK_TOKEN", "POSTMARK_SERVER_TOKEN", "POSTMARK_WEBHOOK_PASSWORD"):
        monkeypatch.setenv(f"EVERGREET_{name}", "canary")
    monkeypatch.setenv("EVERGREET_POSTMARK_WEBHOOK_USER", "us")
    monkeypatch.setattr(databases, "BUSY_SECONDS", 0.05)
    store = Database(sqlite_url)
    call = caller(create_app(store, Settings(secret_keys=(SecretStr(KEY_OF_LINKS),)), clock))
    basic = base64.b64encode(b"us:canary").decode()
    told = {
        "brevo": (b'{"event": "delivered", "email": "maya@example.com"}', {"Authorization": "Bearer canary"}),
        "postmark": (b'{"RecordType": "Delivery", "MessageID": "p1"}', {"Authorization": f"Basic {basic}"}),
        "sendgrid": (BODY, headers(BODY)),
    }

    def answers() -> dict[str, int]:
        return {
            name: call("POST", f"/webhooks/{name}", content=body, headers=signed).status_code
            for name, (body, signed) in told.items()
        }

    other = sqlite3.connect(str(store.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        away = answers()
    finally:
        other.close()
    assert away == {"brevo": 429, "postmark": 503, "sendgrid": 503}
    assert answers() == {"brevo": 200, "postmark": 200, "sendgrid": 200}
    assert len(stored(store)) == 4


@pytest.mark.parametrize("name", ["nobody", "outbox", "smtp", "sendgrid/x", "..", "%00", "é"])
def test_who_does_not_listen_is_not_found(post: Post, name: str) -> None:
    assert post(BODY, to=name).status_code == 404


def test_without_its_key_a_connector_does_not_listen_and_the_log_says_why(
    post: Post, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("EVERGREET_SENDGRID_VERIFICATION_KEY")
    answer = post(BODY)
    assert (answer.status_code, answer.content) == (404, b"")
    assert "EVERGREET_SENDGRID_VERIFICATION_KEY is not set" in caplog.text


def test_without_its_settings_a_connector_does_not_listen_and_the_log_says_why(
    post: Post, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("EVERGREET_SENDGRID_API_KEY")
    assert post(BODY).status_code == 404
    assert "EVERGREET_SENDGRID_API_KEY" in caplog.text


def test_only_posts_are_taken(call: Call) -> None:
    assert [call(method, "/webhooks/sendgrid").status_code for method in ("GET", "PUT", "DELETE")] == [405] * 3


@pytest.fixture
def _breaks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    with monkeypatch.context() as patched:
        patched.setattr("evergreet.web.webhooks.apply_waiting", broken)
        yield


@pytest.mark.usefixtures("_breaks")
def test_what_cannot_be_applied_now_is_stored_and_taken(
    post: Post, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    assert post(BODY).status_code == 200
    assert [row.applied_at for row in stored(database)] == [None, None]
    assert "evergreet reconcile" in caplog.text
