"""Twilio passes the contract; each answer has its outcome; its own package writes the same request."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.calling import make_client
from connectors.elapsed import Clock, elapsed
from connectors.sms.twilio import Twilio
from connectors.sms.twilio_settings import TwilioSettings
from evergreet.clock import FrozenClock
from evergreet.contracts import Accepted, SmsSender
from evergreet.database import Database
from evergreet.errors import Misconfigured, Permanent, Retryable
from evergreet.testing import ArrivedSms, SmsConnectorContract
from evergreet.testing.sms import sms
from models import Suppression
from tests.connectors.email.sendgrid_wire import SILENT, WireServer
from tests.connectors.provider_sink import Told
from tests.connectors.sms.twilio_sink import ACCOUNT, TwilioSink
from tests.texting import MAYA, NOOR, OFFERS, TextStory, either

TOKEN = "canary0t0ken0d0nt0tell"
SERVICE = "MG" + "0b" * 16


@pytest.fixture
def sink() -> Iterator[TwilioSink]:
    """A local Twilio; a request that breaks one of its rules fails the test."""
    folder = os.environ.get("EVERGREET_FIXTURES")
    spec = Path(folder) / "specs" / "twilio_messages_2010.json" if folder else None
    with TwilioSink(ACCOUNT, TOKEN, spec) as running:
        yield running
    assert running.faults == []


@pytest.fixture
def at() -> Iterator[Callable[..., Twilio]]:
    with ExitStack() as made:

        def make(url: str, clock: Clock = elapsed, **options: Any) -> Twilio:
            known = {"account_sid": ACCOUNT, "auth_token": TOKEN, "sender": "+15557122661", "public_url": ""}
            settings = TwilioSettings.model_validate({**known, "base_url": url, "timeout": 20, **options})
            connector = Twilio(settings, make_client(settings.connections), clock=clock)
            made.callback(connector.close)
            return connector

        yield make


class TestTwilio(SmsConnectorContract):
    entry_point = "twilio"
    required_settings = ("EVERGREET_TWILIO_ACCOUNT_SID",)
    secrets = (TOKEN,)

    @pytest.fixture
    def connector(self, sink: TwilioSink, at: Callable[..., Twilio]) -> SmsSender:
        return at(sink.url)

    @pytest.fixture
    def arrived(self, sink: TwilioSink) -> Callable[[], list[ArrivedSms]]:
        return lambda: [ArrivedSms(form["To"], form["Body"]) for form in list(sink.forms)]

    @pytest.fixture
    def unreachable(self, at: Callable[..., Twilio]) -> Iterator[SmsSender]:
        with TwilioSink(ACCOUNT, "another") as server:
            yield at(server.url)

    @pytest.fixture
    def silent(self, at: Callable[..., Twilio]) -> Iterator[SmsSender]:
        with WireServer(SILENT) as server:
            yield at(server.url, timeout=0.3)


def test_row_and_key_travel_in_the_status_callback(sink: TwilioSink, at: Callable[..., Twilio]) -> None:
    connector = at(sink.url, public_url="https://mail.fernway.example/", sender="", messaging_service_sid=SERVICE)
    connector.send([replace(sms("ab12"), row=7)])
    at(sink.url).send([sms("ab12")])
    assert sink.forms == [
        {
            "To": "+447700900123", "Body": "Hello Maya.", "MessagingServiceSid": SERVICE,
            "StatusCallback": "https://mail.fernway.example/webhooks/twilio?row=7&key=ab12",
        },
        {"To": "+447700900123", "Body": "Hello Maya.", "From": "+15557122661"},
    ]  # fmt: skip


def test_after_a_minute_no_further_message_is_begun(sink: TwilioSink, at: Callable[..., Twilio]) -> None:
    outcomes = at(sink.url, clock=lambda: 25.0 * len(sink.forms)).send([sms(f"k{n}") for n in range(5)])
    assert [type(outcome) for outcome in outcomes] == [Accepted] * 3 + [Retryable] * 2
    assert {outcome.accepted for outcome in outcomes if isinstance(outcome, Retryable)} == {"no"}
    assert len(sink.forms) == 3


def test_an_api_key_signs_in_in_place_of_the_token(at: Callable[..., Twilio]) -> None:
    key = "SK" + "0c" * 16
    with TwilioSink(key, "its-secret") as server:
        (outcome,) = at(server.url, key_sid=key, key_secret="its-secret").send([sms("k")])
    assert isinstance(outcome, Accepted)


@pytest.mark.parametrize(
    "wrong",
    [{"auth_token": ""}, {"key_sid": "SK" + "0c" * 16}, {"sender": ""}, {"messaging_service_sid": SERVICE},
     {"account_sid": "x"}, {"base_url": "http://api.twilio.com"}, {"auth_token": "two\nlines"},
     {"public_url": "mail.fernway.example"}],
    ids=lambda wrong: next(iter(wrong)),
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(at: Callable[..., Twilio], wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        at("https://api.twilio.com", **wrong)


ANSWERS: list[tuple[Told, type[Exception], dict[str, Any]]] = [
    (Told(201, b"<html>"), Retryable, {"accepted": "maybe"}),
    (Told(201, {"sid": None}), Retryable, {"accepted": "maybe"}),
    (Told(500, b""), Retryable, {"accepted": "maybe"}),
    (Told(503, {"code": 20503}), Retryable, {"accepted": "maybe"}),
    (Told(429, {"code": 20429}, {"Retry-After": "7"}), Retryable,
     {"accepted": "no", "retry_after": timedelta(seconds=7)}),
    (Told(400, {"code": 21611, "message": "queue full"}), Retryable, {"accepted": "no"}),
    (Told(400, {"code": 21211, "message": "+447700900123 is not valid"}), Permanent, {"address_invalid": True}),
    (Told(400, {"code": 21614, "message": "not a mobile number"}), Permanent, {"address_invalid": True}),
    (Told(400, {"code": 21610, "message": "Attempt to send to unsubscribed recipient"}), Permanent,
     {"unsubscribed": True, "address_invalid": False}),
    (Told(400, {"code": 21612, "message": "no route"}), Permanent, {"address_invalid": False}),
    (Told(400, {"code": 99999, "message": "new"}), Permanent, {"address_invalid": False, "unsubscribed": False}),
    (Told(400, {"code": "x"}), Permanent, {"address_invalid": False}),
    (Told(400, {"code": 21408, "message": "Permission to send"}), Misconfigured, {}),
    (Told(400, {"code": 21606, "message": "from"}), Misconfigured, {}),
    (Told(401, {"code": 20003}), Misconfigured, {}),
    (Told(403, b""), Misconfigured, {}),
    (Told(404, {"code": 20404}), Misconfigured, {}),
    (Told(302, b"", {"location": "http://127.0.0.1:1/"}), Misconfigured, {}),
]  # fmt: skip


@pytest.mark.parametrize(("told", "kind", "says"), ANSWERS, ids=[str(n) for n in range(len(ANSWERS))])
def test_each_answer_has_its_outcome(
    sink: TwilioSink, at: Callable[..., Twilio], told: Told, kind: type[Exception], says: dict[str, Any]
) -> None:
    sink.judge = lambda form: told if form["To"] == MAYA else None
    outcome, after = at(sink.url).send([sms("a", to=MAYA), sms("b", to=NOOR)])
    assert type(outcome) is kind
    assert {name: getattr(outcome, name) for name in says} == says
    assert "900123" not in str(outcome)
    if kind is Permanent:
        assert isinstance(after, Accepted)
    else:
        assert isinstance(after, Retryable)
        assert after.accepted == "no"
        assert sink.forms == []


def test_a_check_says_what_answers_there(sink: TwilioSink, at: Callable[..., Twilio]) -> None:
    assert "knows the account" in at(sink.url).check()
    sink.listed = Told(200, {"hello": "there"})
    with pytest.raises(Misconfigured, match="not Twilio"):
        at(sink.url).check()


def test_their_own_package_writes_the_same_request(sink: TwilioSink, at: Callable[..., Twilio]) -> None:
    from twilio.http.http_client import TwilioHttpClient
    from twilio.rest import Client

    http = TwilioHttpClient()
    asked = http.request
    http.request = lambda method, url, *rest, **more: asked(
        method, url.replace("https://api.twilio.com", sink.url), *rest, **more
    )
    at(sink.url, public_url="https://mail.fernway.example").send([sms("ab12", body="Grüße & 👍")])
    try:
        Client(ACCOUNT, TOKEN, http_client=http).messages.create(
            to="+447700900123", from_="+15557122661", body="Grüße & 👍",
            status_callback="https://mail.fernway.example/webhooks/twilio?row=7&key=ab12",
        )  # fmt: skip
    finally:
        http.session.close()
    assert sink.forms[0] == sink.forms[1]


@pytest.fixture
def story(database: Database, clock: FrozenClock) -> TextStory:
    return TextStory(database, clock, load=either)


def test_through_the_ledger_each_gets_what_twilio_says(
    story: TextStory, sink: TwilioSink, at: Callable[..., Twilio]
) -> None:
    answers = {
        "+447700900001": Told(400, {"code": 21614, "message": "not a mobile number"}),
        "+447700900002": Told(400, {"code": 21610, "message": "unsubscribed"}),
        "+447700900003": Told(502, b""),
    }
    sink.judge = lambda form: answers.get(form["To"])
    story.texter = at(sink.url, public_url="https://mail.fernway.example")
    people = [story.person(f"p{n}", f"+44770090000{n}") for n in range(4)]
    story.runs(OFFERS, *people)
    states = {row.contact_id: row.state for row in story.messages}
    assert [states[one] for one in people] == ["accepted", "failed", "failed", "unknown"]
    assert {row.address: (row.scope, row.reason) for row in story.rows(Suppression)} == {
        "+447700900001": ("all", "hard_bounce"), "+447700900002": ("marketing", "unsubscribed"),
    }  # fmt: skip
    (form,), row = sink.forms, story.messages[0]
    assert form["StatusCallback"].startswith(f"https://mail.fernway.example/webhooks/twilio?row={row.id}&key=")
    assert row.provider_id == f"SM{1:032x}"
    story.run(OFFERS)
    assert len(sink.forms) == 1
