"""Mailgun's webhooks: signed, each event to its kind, no verdict on what may pass; its lists page by page."""

import hmac
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from connectors.calling import make_client
from connectors.email.mailgun import Mailgun
from connectors.email.mailgun_events import CODES, REASONS, WORDS
from connectors.email.mailgun_settings import MailgunSettings
from evergreet.contracts import Kind, ProviderEvent, Suppressed, Verdict, WebhookRequest, WebhookSource
from evergreet.errors import Misconfigured, NotGenuine, Retryable, Unreadable
from evergreet.testing import WebhookContract
from evergreet.testing.webhooks import RECEIVED, Sign, Told, request
from tests.connectors.email.mailgun_sink import DOMAIN, MailgunSink, problem
from tests.connectors.provider_sink import Told as Answer

KEY, SIGNING = "key-canary", "canary-signing-key"


def told(word: str, **more: Any) -> bytes:
    known = {"event": word, "id": "DACSsAdVSeGpLid7TN03WA", "timestamp": RECEIVED.timestamp() - 10,
             "recipient": "anna@customer.example", "user-variables": {"evergreet_key": "ab12", "evergreet_row": "7"},
             "message": {"headers": {"message-id": f"2026.1@{DOMAIN}"}}}  # fmt: skip
    return json.dumps(known | more).encode()


def signed(token: str = "t" * 50, at: datetime = RECEIVED, key: str = SIGNING) -> dict[str, str]:
    stamp = str(int(at.timestamp()))
    right = hmac.new(key.encode(), f"{stamp}{token}".encode(), sha256).hexdigest()
    return {"timestamp": stamp, "token": token, "signature": right}


def joined(body: bytes, signature: Mapping[str, str]) -> WebhookRequest:
    """What Mailgun posts; what is no JSON at all stands where an event would."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        event = body.decode("latin-1")
    return request(json.dumps({"signature": signature, "event-data": event}).encode(), {})


def make(url: str = "http://127.0.0.1:1", **options: str) -> Mailgun:
    settings = MailgunSettings.model_validate(
        {"api_key": KEY, "domain": DOMAIN, "base_url": url, "signing_key": SIGNING, **options}
    )  # fmt: skip
    return Mailgun(settings, make_client(settings.connections))


@pytest.fixture
def source() -> Iterator[Mailgun]:
    connector = make()
    yield connector
    connector.close()


class TestMailgunWebhooks(WebhookContract):
    secrets = (SIGNING, KEY)
    words = {word: kind for word, (kind, _) in WORDS.items()}
    signs_the_body = False  # only a timestamp and a token; the token is what an event is known by

    @pytest.fixture
    def source(self) -> Iterator[WebhookSource]:
        connector = make()
        yield connector
        connector.close()

    @pytest.fixture
    def sign(self) -> Sign:
        return lambda body: signed(sha256(body).hexdigest()[:50])

    @pytest.fixture
    def told(self) -> Told:
        return told

    def posted(self, body: bytes, signature: Mapping[str, str]) -> WebhookRequest:
        return joined(body, signature)


def read(source: Mailgun, event: bytes | Mapping[str, Any]) -> ProviderEvent:
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    (found,) = source.parse(joined(body, signed()))
    return found


def test_a_published_signature_is_genuine_for_a_day_and_for_its_own_digits_only(fixtures: Path) -> None:
    vectors = json.loads((fixtures / "vectors" / "webhook_signatures.json").read_text("utf-8"))
    (vector,) = [one for one in vectors if one["scheme"] == "mailgun-hmac-sha256"]
    source, signature = make(signing_key=vector["signing_key"]), vector["signature"]
    at = datetime.fromtimestamp(int(signature["timestamp"]), UTC)

    def verify(signature: Mapping[str, Any], after: timedelta) -> None:
        source.verify(WebhookRequest({}, joined(told("opened"), signature).body, at + after))

    for after in (timedelta(0), timedelta(hours=8), timedelta(minutes=-4)):
        verify(signature, after)
    moved = {"timestamp": signature["timestamp"] + "5", "token": signature["token"][1:]}  # the same characters
    short = {"timestamp": signature["timestamp"][:-1], "token": "0" + signature["token"]}
    for wrong, after in (
        (signature, timedelta(hours=25)), (signature, timedelta(minutes=-6)), (signature | moved, timedelta(0)),
        (signature | short, timedelta(0)), (signature | {"timestamp": int(signature["timestamp"])}, timedelta(0)),
    ):  # fmt: skip
        with pytest.raises(NotGenuine):
            verify(wrong, after)
    source.close()


def test_of_a_subaccounts_event_the_signature_of_either_account_will_do(source: Mailgun) -> None:
    """https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks."""
    own, other = signed(), signed(key="of-the-other-account")
    for signature, parent in ((own, other), (other, own)):
        source.verify(joined(told("opened"), signature | {"parent-signature": parent["signature"]}))
    for wrong in ("", other["signature"], own["signature"][:-1]):
        with pytest.raises(NotGenuine):
            source.verify(joined(told("opened"), other | {"parent-signature": wrong}))


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"signature": 5}', b"\xff", b'{"signature": {"token": ["x"]}}'])
def test_a_body_without_a_signature_is_refused_and_without_a_key_nothing_is_taken(source: Mailgun, body: bytes) -> None:
    with pytest.raises(NotGenuine):
        source.verify(request(body, {}))
    bare = make(signing_key="")
    with pytest.raises(Misconfigured, match="EVERGREET_MAILGUN_SIGNING_KEY"):
        bare.verify(joined(told("opened"), signed(key="")))
    bare.close()


def test_an_event_is_known_by_its_token_so_that_a_signature_serves_once(source: Mailgun) -> None:
    events = [source.parse(joined(body, signed(token)))[0] for body, token in
              ((told("opened"), "a" * 50), (told("complained"), "a" * 50), (told("opened"), "b" * 50))]  # fmt: skip
    assert events[0].id == events[1].id != events[2].id


def test_published_events_have_their_kinds(fixtures: Path, source: Mailgun) -> None:
    published = json.loads((fixtures / "webhooks" / "mailgun_events.json").read_text("utf-8"))
    bodies = {name: case["raw_event"] for name, case in published.items()}
    events = {
        name: source.parse(request(json.dumps(body).encode(), {}))[0]
        for name, body in bodies.items() if "event-data" in body
    }  # fmt: skip
    assert {name: (event.kind, event.verdict) for name, event in events.items()} == {
        "test_failed_temporary_event": (Kind.DEFERRED, Verdict.NONE),
        "test_rejected_event": (Kind.DROPPED, Verdict.NONE),
        "test_unsubscribed_event": (Kind.UNSUBSCRIBED, Verdict.UNSUBSCRIBED),
        "test_clicked_event": (Kind.CLICKED, Verdict.NONE),
    }
    assert events["test_rejected_event"].address == "recipient@example.org"
    assert events["test_rejected_event"].reason == "Sandbox subdomains are for test purposes only"
    assert events["test_failed_temporary_event"].provider_id == "20180812214638.1.4A7D468E9BC18C5D@example.org"
    assert events["test_clicked_event"].url == "https://example.com/test"
    assert events["test_unsubscribed_event"].at == datetime(2013, 8, 22, 23, 23, 11, 421473, tzinfo=UTC)
    for name in set(bodies) - set(events):  # forms of before 2018, which are not what Mailgun posts today
        with pytest.raises(Unreadable):
            source.parse(request(json.dumps(bodies[name]).encode(), {}))


def failed(reason: str, code: Any = 550, enhanced: str = "", message: str = "", **more: Any) -> bytes:
    status = {"code": code, "enhanced-code": enhanced, "message": message, "description": "", **more}
    return told("failed", severity="permanent", reason=reason, **{"delivery-status": status})


@pytest.mark.parametrize(
    ("event", "kind", "verdict"),
    [
        (failed("suppress-bounce", 605), Kind.DROPPED, Verdict.NONE),
        (failed("suppress-complaint", 607), Kind.DROPPED, Verdict.COMPLAINED),
        (failed("suppress-unsubscribe", 606), Kind.DROPPED, Verdict.UNSUBSCRIBED),
        (failed("", "607"), Kind.DROPPED, Verdict.COMPLAINED),
        (failed("bounce", 550, "5.1.1"), Kind.HARD_BOUNCED, Verdict.INVALID),
        (failed("generic", 550, "5.1.10"), Kind.HARD_BOUNCED, Verdict.INVALID),
        (failed("generic", 550, "", "smtp; 550-5.1.1 The email account does not exist."), Kind.HARD_BOUNCED,
         Verdict.INVALID),
        (failed("generic", 550, "", "Sorry, no mailbox here by that name"), Kind.HARD_BOUNCED, Verdict.INVALID),
        (failed("bounce", 550, **{"bounce-type": "hard"}), Kind.HARD_BOUNCED, Verdict.INVALID),
        (failed("bounce", 550, "5.0.0", "<anna@customer.example>: user unknown"), Kind.HARD_BOUNCED, Verdict.INVALID),
        (failed("bounce", 550), Kind.SOFT_BOUNCED, Verdict.NONE),
        (failed("bounce", 552, "5.2.2"), Kind.SOFT_BOUNCED, Verdict.NONE),
        (failed("bounce", 550, "5.7.1", "user unknown to our policy"), Kind.BLOCKED, Verdict.NONE),
        (failed("bounce", 550, "5.7.1", **{"bounce-type": "hard"}), Kind.BLOCKED, Verdict.NONE),
        (failed("bounce", 550, "5.1.2"), Kind.SOFT_BOUNCED, Verdict.NONE),
        (failed("bounce", 452, "5.1.1"), Kind.SOFT_BOUNCED, Verdict.NONE),
        (failed("bounce", 550, "4.1.1"), Kind.SOFT_BOUNCED, Verdict.NONE),
        (failed("generic", 554, "", "host 10.5.1.1 said: policy rejection"), Kind.SOFT_BOUNCED, Verdict.NONE),
        (failed("generic", 498, "", "No MX for customer.example"), Kind.SOFT_BOUNCED, Verdict.NONE),
        (failed("espblock", 550, "5.1.1"), Kind.BLOCKED, Verdict.NONE),
        (failed("old", 602, "", "Too old"), Kind.SOFT_BOUNCED, Verdict.NONE),
        (failed("newly-invented", None, "5"), Kind.SOFT_BOUNCED, Verdict.NONE),
        (told("failed", severity="temporary", reason="suppress-bounce"), Kind.DEFERRED, Verdict.NONE),
        (told("failed", reason="bounce", **{"delivery-status": None}), Kind.DEFERRED, Verdict.NONE),
    ],
)  # fmt: skip
def test_only_a_mailbox_that_is_not_there_is_a_bad_address(
    source: Mailgun, event: bytes, kind: Kind, verdict: Verdict
) -> None:
    found = read(source, event)
    assert (found.kind, found.verdict, found.row, found.key) == (kind, verdict, 7, "ab12")
    assert "anna@" not in found.reason


def test_no_table_passes_a_verdict_on_what_may_pass() -> None:
    may_pass = {Kind.DEFERRED, Kind.SOFT_BOUNCED, Kind.BLOCKED}
    assert not [kind for kind, verdict in (*WORDS.values(), *REASONS.values(), *CODES.values())
                if kind in may_pass and verdict]  # fmt: skip


@pytest.mark.parametrize(
    ("bot", "machine"), [("apple", True), ("gmail", True), ("generic", True), ("", False), (None, False)]
)
def test_what_a_bot_opened_was_opened_by_a_machine(source: Mailgun, bot: str | None, machine: bool) -> None:
    assert read(source, told("opened", **{"client-info": {"bot": bot}})).machine is machine


def test_stored_mail_is_no_event_and_fields_of_any_shape_are_kept(source: Mailgun) -> None:
    assert source.parse(joined(told("stored"), signed())) == []
    odd = told("failed", severity=["permanent"], timestamp="soon", recipient=5, message=[],
               **{"user-variables": {"evergreet_row": 7, "evergreet_key": ["x"]}, "client-info": "x"})  # fmt: skip
    event = read(source, odd)
    assert (event.kind, event.at, event.address, event.row, event.key) == (Kind.DEFERRED, RECEIVED, "", 7, "")


# What Mailgun does not write to any more


def bounced(number: int, code: str = "550", error: str = "No such mailbox") -> dict[str, Any]:
    return {"address": f"b{number}@customer.example", "code": code, "error": error,
            "created_at": f"Thu, {1 + number % 28:02} Jan 2026 01:49:40 UTC"}  # fmt: skip


@pytest.fixture
def lists(fixtures: Path) -> Iterator[MailgunSink]:
    with MailgunSink(KEY) as running:
        at = "Fri, 13 Mar 2026 18:02:00 +0000"
        running.lists["bounces"] = [
            *(bounced(n) for n in range(501)),
            bounced(600, "452", "4.2.2 over quota"), bounced(601, "550", "5.7.1 spam"), bounced(602, "", ""),
        ]  # fmt: skip
        running.lists["complaints"] = [{"address": "c@customer.example", "created_at": at}]
        running.lists["unsubscribes"] = [
            {"address": "u@customer.example", "created_at": at, "tags": ["*"]},
            {"address": "t@customer.example", "created_at": at, "tags": ["spring"]},
        ]
        yield running


def pulled(url: str, since: datetime | None = None) -> list[Suppressed]:
    connector = make(url)
    try:
        return list(connector.suppressions(since, datetime(2026, 4, 1, tzinfo=UTC)))
    finally:
        connector.close()


def test_all_pages_of_all_lists_are_read_but_for_what_may_pass_or_says_nothing_or_is_of_a_tag(
    lists: MailgunSink,
) -> None:
    found = {one.address.partition("@")[0]: one for one in pulled(lists.url)}
    assert set(found) == {*(f"b{n}" for n in range(501)), "c", "u"}
    assert (found["c"].verdict, found["u"].verdict) == (Verdict.COMPLAINED, Verdict.UNSUBSCRIBED)
    assert (found["b0"].verdict, found["b0"].at) == (Verdict.INVALID, datetime(2026, 1, 1, 1, 49, 40, tzinfo=UTC))
    assert {one.address[0] for one in pulled(lists.url, datetime(2026, 2, 1, tzinfo=UTC))} == {"c", "u"}


def test_after_an_error_it_goes_on_with_the_page_that_was_not_read(lists: MailgunSink) -> None:
    took, asked = lists.take, 0

    def stumbles(method: str, path: str, headers: dict[str, str], content: bytes) -> Answer:
        nonlocal asked
        asked += 1
        return problem(429, "try again after 7 seconds") if asked == 2 else took(method, path, headers, content)

    lists.take = stumbles  # type: ignore[method-assign]
    connector = make(lists.url)
    reading = connector.suppressions(None, RECEIVED)
    first = [next(reading) for _ in range(500)]
    with pytest.raises(Retryable) as refused:
        next(reading)
    assert refused.value.retry_after == timedelta(seconds=7)
    assert len({one.address for one in (*first, *reading)}) == 503
    connector.close()


@pytest.mark.parametrize(
    "link",
    ["http://evil.example/v3/mg.fernway.example/bounces?page=next", "", "//x", "{url}/v3/other.example/bounces?a=b",
     "{url}@evil.example/v3/mg.fernway.example/bounces?a=b", "{url}/v3/mg.fernway.example/bounces", "http://[x"],
)  # fmt: skip
def test_a_page_that_is_elsewhere_is_not_asked_for(lists: MailgunSink, link: str) -> None:
    page = {"items": [bounced(1)], "paging": {"next": link.replace("{url}", lists.url)}}
    lists._page = lambda name, asked: Answer(200, page)  # type: ignore[method-assign]
    with pytest.raises(Misconfigured, match="next page"):
        pulled(lists.url)
    assert len(lists.asked) == 1
