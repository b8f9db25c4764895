"""SendGrid's event webhook: signed by the account's key, each event to its kind, no verdict on what may pass."""

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sendgrid.helpers.eventwebhook import EventWebhook

from connectors.email.sendgrid import SendGrid
from connectors.email.sendgrid_events import SIGNATURE, TIMESTAMP, WORDS
from evergreet.contracts import Kind, ProviderEvent, Verdict, WebhookSource
from evergreet.errors import Misconfigured, NotGenuine
from evergreet.testing import WebhookContract
from evergreet.testing.webhooks import RECEIVED, Sign, Told, request
from tests.connectors.email.conftest import SENDGRID_KEY

Connect = Callable[..., SendGrid]


@pytest.fixture(scope="module")
def private_key() -> EllipticCurvePrivateKey:
    return generate_private_key(SECP256R1())


@pytest.fixture
def source(private_key: EllipticCurvePrivateKey, sendgrid_at: Connect) -> SendGrid:
    return sendgrid_at("http://127.0.0.1:1", verification_key=shown(private_key))


@pytest.fixture
def sign(private_key: EllipticCurvePrivateKey) -> Sign:
    return lambda body: signature(private_key, body)


def shown(key: EllipticCurvePrivateKey) -> str:
    """A public key as SendGrid's page shows it."""
    written = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(written).decode()


def signature(key: EllipticCurvePrivateKey, body: bytes, timestamp: str = "1773144000") -> dict[str, str]:
    signed = key.sign(timestamp.encode() + body, ECDSA(SHA256()))
    return {SIGNATURE: base64.b64encode(signed).decode(), TIMESTAMP: timestamp}


def told(word: str, **more: Any) -> bytes:
    event = {
        "email": "anna@customer.example", "timestamp": 1773143990, "event": word, "sg_event_id": f"id-{word[:30]}",
        "sg_message_id": "LRzXl_NHStOGhQ4kofSm_A.recvd-5f-1.0", "evergreet_row": "7", "evergreet_key": "ab12", **more,
    }  # fmt: skip
    return json.dumps([event]).encode() + b"\r\n"


def read(source: SendGrid, *events: Any) -> list[ProviderEvent]:
    return source.parse(request(json.dumps(events).encode(), {}))


class TestSendGridWebhooks(WebhookContract):
    secrets = (SENDGRID_KEY,)
    words = {word: kind for word, (kind, _) in WORDS.items()}

    @pytest.fixture
    def source(self, private_key: EllipticCurvePrivateKey, sendgrid_at: Connect) -> WebhookSource:
        return sendgrid_at("http://127.0.0.1:1", verification_key=shown(private_key))

    @pytest.fixture
    def sign(self, private_key: EllipticCurvePrivateKey) -> Sign:
        return lambda body: signature(private_key, body)

    @pytest.fixture
    def told(self) -> Told:
        return told


def vectors(fixtures: Path) -> Iterator[dict[str, Any]]:
    for one in json.loads((fixtures / "vectors" / "webhook_signatures.json").read_text("utf-8")):
        if one["scheme"] == "sendgrid-ecdsa-p256-sha256":
            yield one


def genuine(source: SendGrid, body: bytes, headers: dict[str, str]) -> bool:
    try:
        source.verify(request(body, headers))
    except NotGenuine:
        return False
    return True


def test_published_signatures_are_judged_as_published(fixtures: Path, sendgrid_at: Connect) -> None:
    judged = []
    for one in vectors(fixtures):
        source = sendgrid_at("http://127.0.0.1:1", verification_key=one["public_key"])
        body = one["body"].encode()
        assert genuine(source, body, one["headers"]) == one["valid"]
        assert not genuine(source, body.rstrip(), one["headers"])
        judged.append(one["valid"])
    assert sorted(judged) == [False, True]


def test_the_key_may_be_given_in_pem(private_key: EllipticCurvePrivateKey, sendgrid_at: Connect) -> None:
    written = private_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    source = sendgrid_at("http://127.0.0.1:1", verification_key=written)
    assert genuine(source, told("open"), signature(private_key, told("open")))


def test_their_own_helper_agrees_on_what_is_genuine(private_key: EllipticCurvePrivateKey, source: SendGrid) -> None:
    theirs = EventWebhook(shown(private_key))
    body = told("delivered", reason="Grüße 😀")
    headers = signature(private_key, body)
    for text in (body.decode(), body.decode().strip(), body.decode().replace("delivered", "open")):
        said = theirs.verify_signature(text, headers[SIGNATURE], headers[TIMESTAMP])
        assert genuine(source, text.encode(), headers) == said
    assert genuine(source, body, headers)


@pytest.mark.parametrize("key", ["", "canary", "AAAA", "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="])
def test_without_a_usable_key_it_says_what_to_do(sendgrid_at: Connect, key: str) -> None:
    source = sendgrid_at("http://127.0.0.1:1", verification_key=key)
    with pytest.raises(Misconfigured, match="EVERGREET_SENDGRID_VERIFICATION_KEY") as refused:
        source.verify(request(told("open"), {}))
    assert not key or key not in str(refused.value)


def test_published_events_have_their_kinds(fixtures: Path, source: SendGrid) -> None:
    published = json.loads((fixtures / "webhooks" / "sendgrid_events.json").read_text("utf-8"))
    found = {name: read(source, *case["raw_events"]) for name, case in published.items()}
    kinds = {name: [(event.kind, event.verdict) for event in events] for name, events in found.items()}
    assert kinds == {
        "test_processed_event": [(Kind.ACCEPTED, Verdict.NONE)],
        "test_dropped_invalid_event": [(Kind.DROPPED, Verdict.INVALID)],
        "test_dropped_unsubscribed_event": [(Kind.DROPPED, Verdict.UNSUBSCRIBED)],
        "test_deferred_event": [(Kind.DEFERRED, Verdict.NONE)],
        "test_click_event": [(Kind.CLICKED, Verdict.NONE)],
    }
    assert [event.raw for event in found["test_click_event"]] == published["test_click_event"]["raw_events"]
    (processed,) = found["test_processed_event"]
    assert processed.id == "ZyjAM5rnQmuI1KFInHQ3Nw"
    assert processed.provider_id == "wrfRRvF7Q0GgwUo2CvDmEA"
    assert processed.at == datetime(2016, 4, 19, 19, 47, 26, tzinfo=UTC)
    assert found["test_dropped_invalid_event"][0].provider_id == ""
    assert "throttled" in found["test_deferred_event"][0].reason
    assert found["test_click_event"][0].url == "http://www.example.com"


@pytest.mark.parametrize(
    ("bounce", "kind"),
    [
        ({"type": "bounce", "status": "5.1.1"}, Kind.HARD_BOUNCED),
        ({"type": "bounce", "status": "5.0.0", "reason": "500 unknown recipient"}, Kind.HARD_BOUNCED),
        ({"type": "bounce"}, Kind.HARD_BOUNCED),
        ({"status": "5.1.10"}, Kind.HARD_BOUNCED),
        ({"type": "bounce", "bounce_classification": "Invalid Address", "status": "5.7.1"}, Kind.HARD_BOUNCED),
        ({"type": "bounce", "bounce_classification": "Unclassified", "status": "5.1.1"}, Kind.HARD_BOUNCED),
        ({"type": "bounce", "bounce_classification": "Mailbox Unavailable", "status": "5.2.2"}, Kind.SOFT_BOUNCED),
        ({"type": "bounce", "bounce_classification": "Technical", "status": "5.1.1"}, Kind.SOFT_BOUNCED),
        ({"type": "bounce", "bounce_classification": "Reputation", "status": "5.7.1"}, Kind.BLOCKED),
        ({"type": "bounce", "bounce_classification": "Content"}, Kind.BLOCKED),
        ({"type": "bounce", "bounce_classification": "Frequency or Volume Too High"}, Kind.BLOCKED),
        ({"type": "bounce", "status": "5.2.2"}, Kind.SOFT_BOUNCED),
        ({"type": "bounce", "status": "5.1.2"}, Kind.SOFT_BOUNCED),
        ({"type": "bounce", "status": "4.2.2"}, Kind.SOFT_BOUNCED),
        ({"type": "bounce", "bounce_classification": "Invalid Address", "status": "4.1.1"}, Kind.SOFT_BOUNCED),
        ({"type": "bounce", "reason": "452 4.2.2 over quota"}, Kind.SOFT_BOUNCED),
        ({"type": "bounce", "status": "5.0.0", "reason": "552 5.2.2 mailbox full"}, Kind.SOFT_BOUNCED),
        ({"type": "bounce", "reason": "550 5.7.1 rejected by policy"}, Kind.BLOCKED),
        ({"bounce_classification": "Unclassified", "status": "5.1.1", "reason": "554 5.7.1 spam"}, Kind.BLOCKED),
        ({"bounce_classification": "Invalid Address", "reason": "550 5.7.1 no such user"}, Kind.HARD_BOUNCED),
        ({"bounce_classification": "Technical Failure", "status": "5.1.1"}, Kind.SOFT_BOUNCED),
        ({"type": "bounce", "status": "5.7.26"}, Kind.BLOCKED),
        ({"type": "blocked", "status": "5.1.1"}, Kind.BLOCKED),
        ({"type": "expired", "status": "5.1.1"}, Kind.SOFT_BOUNCED),
        ({"type": 5, "status": ["5.1.1"], "bounce_classification": {}}, Kind.HARD_BOUNCED),
    ],
)
def test_only_a_mailbox_that_is_not_there_is_a_hard_bounce(
    source: SendGrid, bounce: dict[str, Any], kind: Kind
) -> None:
    (event,) = read(source, {"event": "bounce", **bounce})
    assert event.kind == kind
    assert event.verdict == (Verdict.INVALID if kind is Kind.HARD_BOUNCED else Verdict.NONE)


@pytest.mark.parametrize(
    ("reason", "verdict"),
    [
        ("Invalid", Verdict.INVALID),
        ("Bounced Address", Verdict.NONE),
        ("Spam Reporting Address", Verdict.COMPLAINED),
        ("Spam Content (if Spam Checker app enabled)", Verdict.NONE),
        ("Recipient List over Package Quota", Verdict.NONE),
        ("Invalid SMTPAPI header", Verdict.NONE),
        ("something new", Verdict.NONE),
    ],
)
def test_a_drop_says_something_of_the_address_only_where_that_is_the_reason(
    source: SendGrid, reason: str, verdict: Verdict
) -> None:
    (event,) = read(source, {"event": "dropped", "reason": reason})
    assert (event.kind, event.verdict) == (Kind.DROPPED, verdict)


def test_a_group_that_stands_for_a_topic_says_which_was_left(sendgrid_at: Connect) -> None:
    source = sendgrid_at("http://127.0.0.1:1", groups={"news": 15, "offers": 7})
    ours = {"evergreet_key": "ab12"}
    events = read(
        source,
        {"event": "group_unsubscribe", "asm_group_id": 7},
        {"event": "group_unsubscribe", "asm_group_id": 99, **ours},
        {"event": "group_unsubscribe", "asm_group_id": [7], **ours},
        {"event": "dropped", "reason": "Unsubscribed Address", "asm_group_id": 15},
        {"event": "dropped", "reason": "Unsubscribed Address", "asm_group_id": 99, **ours},
        {"event": "dropped", "reason": "Unsubscribed Address", **ours},
        {"event": "dropped", "reason": "Bounced Address", "asm_group_id": 15},
        {"event": "unsubscribe", "asm_group_id": 15},
    )
    assert [(event.verdict, event.topic) for event in events] == [
        (Verdict.UNSUBSCRIBED_TOPIC, "offers"), (Verdict.UNSUBSCRIBED_TOPIC, ""), (Verdict.UNSUBSCRIBED_TOPIC, ""),
        (Verdict.UNSUBSCRIBED_TOPIC, "news"), (Verdict.UNSUBSCRIBED_TOPIC, ""), (Verdict.UNSUBSCRIBED, ""),
        (Verdict.NONE, "news"), (Verdict.UNSUBSCRIBED, "news"),
    ]  # fmt: skip


def test_who_is_off_a_group_of_another_programs_has_said_nothing_of_us(sendgrid_at: Connect) -> None:
    source = sendgrid_at("http://127.0.0.1:1", groups={"news": 15})
    events = read(
        source,
        {"event": "group_unsubscribe", "asm_group_id": 99},
        {"event": "dropped", "reason": "Unsubscribed Address", "asm_group_id": 99},
    )
    assert [(event.kind, event.verdict) for event in events] == [
        (Kind.GROUP_UNSUBSCRIBED, Verdict.NONE), (Kind.DROPPED, Verdict.NONE),
    ]  # fmt: skip
    everything = read(source, {"event": "dropped", "reason": "Unsubscribed Address"}, {"event": "unsubscribe"})
    assert [event.verdict for event in everything] == [Verdict.UNSUBSCRIBED] * 2


def test_an_opening_by_a_machine_is_marked(source: SendGrid) -> None:
    events = read(source, {"event": "open", "sg_machine_open": True}, {"event": "open", "sg_machine_open": False})
    assert [event.machine for event in events] == [True, False]


def test_a_reason_names_no_address(source: SendGrid) -> None:
    (event,) = read(source, {"event": "bounce", "reason": "550 5.1.1 <anna@customer.example>: unknown\r\nuser"})
    assert event.reason == "550 5.1.1 <(address)>: unknown user"


def test_entries_of_any_shape_are_kept_and_the_others_read(source: SendGrid) -> None:
    odd: list[Any] = [
        None, 5, "x", [], {}, {"event": 5}, {"event": "open", "timestamp": "soon", "email": 7, "evergreet_row": "-7"},
        {"event": "open", "timestamp": 1e300, "evergreet_row": "9" * 40}, {"event": "open", "timestamp": "1773143990"},
        {"event": "open", "sg_event_id": "x" * 5000},
    ]  # fmt: skip
    events = read(source, *odd)
    assert [event.kind for event in events] == [Kind.UNKNOWN] * 6 + [Kind.OPENED] * 4
    assert [event.at == RECEIVED for event in events] == [True] * 8 + [False, True]
    assert {event.row for event in events} == {0}
    assert len({event.id for event in events}) == len(odd)
    assert all(len(event.id) < 255 for event in events)


def test_half_a_character_in_one_entry_keeps_no_other_from_being_read(source: SendGrid) -> None:
    """As JavaScript writes a text that was cut; a request that is refused is lost with all that is in it."""
    cut, not_cut = rb'{"event": "click", "url": "https://x.example/\ud83d"}', rb'"\\ud83d \ud83d\ude00"'
    body = b"[" + cut + rb', {"event": "open", "sg_event_id": ' + not_cut + b"}]"
    first, second = source.parse(request(body, {}))
    assert (first.kind, first.url) == (Kind.CLICKED, "https://x.example/\ufffd")
    assert (second.kind, second.id) == (Kind.OPENED, "\\ud83d \U0001f600")


def test_a_time_is_digits_and_nothing_of_the_body(private_key: EllipticCurvePrivateKey, source: SendGrid) -> None:
    body = told("delivered")
    good = signature(private_key, body)
    assert genuine(source, body, good)
    assert not genuine(source, body[1:], good | {TIMESTAMP: good[TIMESTAMP] + body[:1].decode()})


def test_what_was_sent_along_comes_back(source: SendGrid) -> None:
    (event,) = source.parse(request(told("delivered"), {}))
    assert (event.row, event.key, event.address) == (7, "ab12", "anna@customer.example")
    assert event.provider_id == "LRzXl_NHStOGhQ4kofSm_A"
