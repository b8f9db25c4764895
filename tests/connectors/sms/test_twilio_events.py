"""Twilio's webhooks: verified by the published vectors and its own package, told once, a STOP is about SMS alone."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from twilio.request_validator import RequestValidator

from connectors.calling import make_client
from connectors.sms.twilio import Twilio
from connectors.sms.twilio_events import CODES, STATUSES, verify
from connectors.sms.twilio_settings import TwilioSettings
from evergreet.clock import FrozenClock
from evergreet.contracts import Kind, Verdict, WebhookRequest, WebhookSource
from evergreet.database import Database
from evergreet.errors import Misconfigured, NotGenuine
from evergreet.feedback.applying import apply_waiting
from evergreet.feedback.placing import read_places
from evergreet.feedback.storing import store
from evergreet.testing import WebhookContract
from evergreet.tokens import Tokens
from models import Consent, Event, ProviderEvent, Suppression
from tests.connectors.sms.twilio_sink import ACCOUNT
from tests.texting import MAYA, OFFERS, TextStory, either

TOKEN = "canary0webhook0t0ken"
PUBLIC = "https://mail.fernway.example"
QUERY = "row=7&key=ab12"
SID = "SM" + "0d" * 16


def source(**options: Any) -> Twilio:
    known = {"account_sid": ACCOUNT, "auth_token": TOKEN, "sender": "+15557122661", "public_url": PUBLIC}
    return Twilio(TwilioSettings.model_validate({**known, **options}), make_client(1))


def signed(body: bytes, query: str = QUERY) -> dict[str, str]:
    """Sign as Twilio's own package computes it."""
    form: dict[str, list[str]] = {}
    for name, value in parse_qsl(body.decode("ascii", "replace"), keep_blank_values=True):
        form.setdefault(name, []).append(value)
    validator = RequestValidator(TOKEN)
    validator.get_values = lambda params, name: params[name]
    url = f"{PUBLIC}/webhooks/twilio" + (f"?{query}" if query else "")
    return {"X-Twilio-Signature": validator.compute_signature(url, form)}


def request(body: bytes, headers: Mapping[str, str], query: str = QUERY, at: Any = None) -> WebhookRequest:
    from evergreet.testing.webhooks import RECEIVED

    return WebhookRequest({name.lower(): value for name, value in headers.items()}, body, at or RECEIVED, query)


def status(word: str, **more: str) -> bytes:
    told = {"MessageSid": SID, "AccountSid": ACCOUNT, "From": "+15557122661", "To": MAYA, "MessageStatus": word}
    return urlencode({**told, **more}).encode()


def answer(body: str, **more: str) -> bytes:
    told = {"MessageSid": SID, "SmsStatus": "received", "From": MAYA, "To": "+15557122661", "Body": body}
    return urlencode({**told, **more}).encode()


class TestTwilioWebhooks(WebhookContract):
    secrets = (TOKEN,)
    words: ClassVar[Mapping[str, Kind]] = STATUSES

    @pytest.fixture
    def source(self) -> Iterator[WebhookSource]:
        connector = source()
        yield connector
        connector.close()

    @pytest.fixture
    def sign(self) -> Callable[[bytes], dict[str, str]]:
        return signed

    @pytest.fixture
    def told(self) -> Callable[[str], bytes]:
        return lambda word: status(json.loads(f'"{word}"') if "\\u" in word else word)

    def posted(self, body: bytes, signature: Mapping[str, str]) -> WebhookRequest:
        return request(body, signature)


def test_published_signatures_are_genuine_and_nothing_else_is(fixtures: Path) -> None:
    vectors = json.loads((fixtures / "vectors" / "webhook_signatures.json").read_text("utf-8"))
    ours = [one for one in vectors if one["scheme"] == "twilio-hmac-sha1"]
    assert len(ours) >= 4
    for one in ours:
        where = urlsplit(one["url"])
        body = one["body"].encode() if "body" in one else urlencode(one["params"]).encode()
        headers = {name.lower(): value for name, value in one["headers"].items()}
        posted = request(body, headers, where.query)
        url = where._replace(query="").geturl()
        if not one["valid"]:
            with pytest.raises(NotGenuine):
                verify(posted, url, one["auth_token"])
            continue
        verify(posted, url, one["auth_token"])
        for wrong in (request(body + b"0", headers, where.query), request(body, headers, where.query + "&row=1")):
            with pytest.raises(NotGenuine):
                verify(wrong, url, one["auth_token"])
        with pytest.raises(NotGenuine):
            verify(posted, url, one["auth_token"] + "6")


def test_without_what_it_is_verified_by_none_is_taken() -> None:
    for missing in ({"public_url": ""}, {"auth_token": "", "key_sid": "SK" + "0c" * 16, "key_secret": "s"}):
        with pytest.raises(Misconfigured, match="is not set"):
            source(**missing).verify(request(status("sent"), signed(status("sent"))))


@pytest.mark.parametrize(
    ("word", "code", "kind", "verdict"),
    [
        ("undelivered", "30003", Kind.SOFT_BOUNCED, Verdict.NONE),
        ("undelivered", "30005", Kind.SOFT_BOUNCED, Verdict.NONE),
        ("undelivered", "30007", Kind.BLOCKED, Verdict.NONE),
        ("failed", "21614", Kind.HARD_BOUNCED, Verdict.INVALID),
        ("failed", "30001", Kind.DROPPED, Verdict.NONE),
        ("failed", "", Kind.DROPPED, Verdict.NONE),
        ("undelivered", "99999", Kind.SOFT_BOUNCED, Verdict.NONE),
        ("undelivered", "x" * 5000, Kind.SOFT_BOUNCED, Verdict.NONE),
        ("delivered", "21614", Kind.DELIVERED, Verdict.NONE),
    ],
)
def test_a_failure_means_what_its_code_says(word: str, code: str, kind: Kind, verdict: Verdict) -> None:
    (event,) = source().parse(request(status(word, ErrorCode=code), {}))
    assert (event.kind, event.verdict, event.address, event.provider_id) == (kind, verdict, MAYA, SID)


def test_only_what_can_never_arrive_suppresses() -> None:
    assert {code for code, (_, verdict) in CODES.items() if verdict} == {21211, 21614, 21635}


@pytest.mark.parametrize(
    ("body", "more", "kind"),
    [
        ("STOP", {}, Kind.UNSUBSCRIBED),
        (" stop \n", {}, Kind.UNSUBSCRIBED),
        ("Unsubscribe", {}, Kind.UNSUBSCRIBED),
        ("“Stop!”", {}, Kind.UNSUBSCRIBED),
        ("STOP ALL", {}, Kind.UNSUBSCRIBED),
        ("opt-out.", {}, Kind.UNSUBSCRIBED),
        ("Opt out", {}, Kind.UNSUBSCRIBED),
        ("arrêt", {}, Kind.UNSUBSCRIBED),
        ("ＳＴＯＰ", {}, Kind.UNSUBSCRIBED),
        ("Arrêt", {"OptOutType": "STOP"}, Kind.UNSUBSCRIBED),
        ("please stop the music", {}, Kind.REPLIED),
        ("Weekend", {}, Kind.REPLIED),
        ("START", {"OptOutType": "START"}, Kind.REPLIED),
        ("HELP", {}, Kind.REPLIED),
        ("STOP", {"OptOutType": "HELP"}, Kind.REPLIED),
        ("", {}, Kind.REPLIED),
    ],
)
def test_an_answer_is_a_stop_or_a_reply(body: str, more: dict[str, str], kind: Kind) -> None:
    (event,) = source().parse(request(answer(body, **more), {}, ""))
    assert (event.kind, event.verdict) == (kind, Verdict.UNSUBSCRIBED if kind is Kind.UNSUBSCRIBED else Verdict.NONE)
    assert (event.address, event.row, event.key) == (MAYA, 0, "")


@pytest.fixture
def story(database: Database, clock: FrozenClock) -> TextStory:
    return TextStory(database, clock, load=either)


def tells(story: TextStory, body: bytes, query: str = "") -> None:
    """Take a request as the web app does, and apply it."""
    connector = source()
    posted = request(body, signed(body, query), query, story.now)
    connector.verify(posted)
    with story.database.write() as connection:
        store(connection, "twilio", connector.parse(posted), story.now)
    apply_waiting(story.database, Tokens(["test-key"]), story.clock)


def test_its_word_reaches_the_row_in_any_order_and_a_stop_ends_marketing(story: TextStory) -> None:
    maya = story.person(consents=("offers", "offers/sms"))
    story.runs(OFFERS, maya)
    with story.database.read() as connection:
        (place,) = read_places(connection, [story.messages[0].id])
    query = urlencode({"row": place.message_id, "key": place.key})
    for word in ("delivered", "sent", "delivered", "queued"):
        tells(story, status(word), query)
    assert story.messages[0].delivery == "delivered"
    assert [row.name for row in story.rows(Event) if row.source == "webhook:twilio"] == ["sms_delivered"]
    tells(story, answer("STOP"))
    tells(story, answer("STOP"))
    assert [(row.address, row.scope) for row in story.rows(Suppression)] == [(MAYA, "marketing")]
    newest = {row.topic: row.granted for row in story.rows(Consent)}
    assert newest == {"offers": True, "offers/sms": False}
    assert [row.name for row in story.rows(Event) if row.source == "webhook:twilio"][1:] == ["unsubscribed"]
    story.happened("order_placed", maya)
    story.run(OFFERS)
    assert story.states() == {"accepted": 1, "skipped: suppressed": 1}


def test_an_answer_is_about_the_newest_sms_that_its_number_got_before(story: TextStory) -> None:
    maya = story.person()
    tells(story, answer("hello?", MessageSid="SM0"))
    story.runs(OFFERS, maya)
    story.clock.advance(timedelta(days=1))
    story.happened("order_placed", maya)
    story.run(OFFERS)
    story.clock.advance(timedelta(days=29))
    tells(story, answer("Is it warm?", MessageSid="SM1"))
    story.clock.advance(timedelta(days=2))
    tells(story, answer("I asked you", MessageSid="SM2"))
    first, newest = sorted(story.messages, key=lambda row: row.id)
    assert [row.delivery for row in (first, newest)] == [None, "delivered"]
    (told,) = [row for row in story.rows(Event) if row.name == "sms_replied"]
    assert (told.contact_id, told.properties["message_id"], told.source_id) == (maya, newest.id, "SM1:received")
    assert [row.result for row in story.rows(ProviderEvent)] == ["not_ours", "applied", "not_ours"]
    assert newest.provider_id.startswith("t-"), "the name of what came in is not that of what went out"
