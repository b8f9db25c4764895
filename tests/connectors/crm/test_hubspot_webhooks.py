"""HubSpot's webhooks: signed in any of its three ways, they say whose contact is read anew."""

import base64
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from connectors.calling import make_client
from connectors.crm.hubspot import HubSpot
from connectors.crm.hubspot_settings import HubSpotSettings
from connectors.crm.hubspot_webhooks import verify
from evergreet.contracts import CrmContact, CrmListener, WebhookRequest
from evergreet.errors import Misconfigured, NotGenuine, Retryable
from evergreet.testing.signatures import ODD, RECEIVED, SignatureContract, request
from tests.connectors.crm.hubspot_sink import START, HubSpotSink
from tests.connectors.provider_sink import Told

TOKEN, SECRET = "pat-canary-d0nt-tell", "canary-client-secret"
URL = "https://mail.fernway.example/webhooks/hubspot"
MOMENT = str(int(RECEIVED.timestamp() * 1000))


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[HubSpotSink, HubSpot]]:
    folder = os.environ.get("EVERGREET_FIXTURES")
    with HubSpotSink(TOKEN, Path(folder) / "specs" / "hubspot-from-sdk" if folder else None) as sink:
        settings = HubSpotSettings.model_validate({
            "token": TOKEN, "secret": SECRET, "base_url": sink.url, "public_url": "https://mail.fernway.example/",
        })  # fmt: skip
        connector = HubSpot(settings, make_client(1))
        yield sink, connector
        connector.close()


@pytest.fixture
def sink(running: tuple[HubSpotSink, HubSpot]) -> Iterator[HubSpotSink]:
    found = running[0]
    found.contacts, found.asked, found.judge = {}, [], lambda method, path, body: None
    yield found
    assert found.faults == []


def event(word: str, **fields: Any) -> dict[str, Any]:
    """An event as HubSpot's documentation shows it."""
    return {
        "objectId": 1246965, "propertyName": "lifecyclestage", "propertyValue": "subscriber", "changeSource": "ACADEMY",
        "eventId": 3816279340, "subscriptionId": 25, "portalId": 33, "appId": 1160452, "occurredAt": 1462216307945,
        "subscriptionType": word, "attemptNumber": 0, **fields,
    }  # fmt: skip


def body_of(*events: dict[str, Any]) -> bytes:
    return json.dumps(list(events)).encode()


def signed_v1(body: bytes) -> dict[str, str]:
    digest = hashlib.sha256(SECRET.encode() + body).hexdigest()
    return {"X-HubSpot-Signature": digest, "X-HubSpot-Signature-Version": "v1"}


def signed_v2(body: bytes, uri: str = URL) -> dict[str, str]:
    digest = hashlib.sha256(f"{SECRET}POST{uri}".encode() + body).hexdigest()
    return {"X-HubSpot-Signature": digest, "X-HubSpot-Signature-Version": "v2"}


def signed_v3(body: bytes, uri: str = URL, moment: str = MOMENT) -> dict[str, str]:
    mac = HMAC(SECRET.encode(), SHA256())
    mac.update(f"POST{uri}".encode() + body + moment.encode())
    return {
        "X-HubSpot-Signature-v3": base64.b64encode(mac.finalize()).decode(), "X-HubSpot-Request-Timestamp": moment,
    }  # fmt: skip


class _Signed(SignatureContract):
    secrets = (SECRET, TOKEN)
    words: ClassVar[dict[str, str]] = {"contact.creation": "read", "contact.deletion": "read"}

    @pytest.fixture
    def source(self, running: tuple[HubSpotSink, HubSpot], sink: HubSpotSink) -> HubSpot:
        return running[1]

    @pytest.fixture
    def told(self) -> Callable[[str], bytes]:
        return lambda word: body_of(event(word))

    def read(self, source: Any, posted: WebhookRequest) -> list[Any]:
        found: list[Any] = source.read_changes(posted)
        return found


class TestVersion1(_Signed):
    @pytest.fixture
    def sign(self) -> Callable[[bytes], dict[str, str]]:
        return signed_v1


class TestVersion2(_Signed):
    @pytest.fixture
    def sign(self) -> Callable[[bytes], dict[str, str]]:
        return signed_v2


class TestVersion3(_Signed):
    @pytest.fixture
    def sign(self) -> Callable[[bytes], dict[str, str]]:
        return signed_v3


def test_published_signatures_hold(fixtures: Path) -> None:
    vectors = json.loads((fixtures / "vectors" / "webhook_signatures.json").read_text("utf-8"))
    listed = vectors if isinstance(vectors, list) else vectors["vectors"]
    mine = [one for one in listed if one["scheme"].startswith("hubspot")]
    assert len(mine) >= 3
    signed_at = datetime.fromtimestamp(1693657560, UTC)
    for one in mine:
        headers = {name.lower(): value for name, value in one["headers"].items()}
        for minutes in (-4.9, 0, 4.9):
            asked = WebhookRequest(headers, one["body"].encode(), signed_at + timedelta(minutes=minutes))
            verify(asked, one["url"], one["client_secret"])


DOCUMENTED = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
EXAMPLES = [
    (
        "v1", "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de",
        b'[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,"subscriptionType":'
        b'"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM","changeFlag":"NEW","appId":54321}]',
    ),
    (
        "v2", "9569219f8ba981ffa6f6f16aa0f48637d35d728c7e4d93d0d52efaa512af7900",
        b'{"example_field":"example_value"}',
    ),
]  # fmt: skip
"""As HubSpot's page on validating requests shows them."""


@pytest.mark.parametrize(("version", "signature", "body"), EXAMPLES, ids=["v1", "v2"])
def test_the_examples_of_the_documentation_hold(version: str, signature: str, body: bytes) -> None:
    headers = {"X-HubSpot-Signature": signature, "X-HubSpot-Signature-Version": version}
    url = "https://www.example.com/webhook_uri"
    verify(request(body, headers), url, DOCUMENTED)
    for wrong in (body + b" ", body[1:]):
        with pytest.raises(NotGenuine):
            verify(request(wrong, headers), url, DOCUMENTED)


def test_their_own_package_signs_as_we_do() -> None:
    from hubspot.utils.signature import Signature

    body = body_of(event("contact.creation", propertyValue="Zoë 😀"))
    for version, ours in (("v1", signed_v1), ("v2", signed_v2)):
        assert ours(body)["X-HubSpot-Signature"] == Signature.get_signature(SECRET, body.decode(), version, URL)
    theirs = Signature.get_signature(SECRET, body.decode(), "v3", URL, "POST", MOMENT)
    assert signed_v3(body)["X-HubSpot-Signature-v3"] == theirs


def test_the_newest_signature_decides_and_an_old_one_helps_no_wrong_one(running: tuple[HubSpotSink, HubSpot]) -> None:
    connector, body = running[1], body_of(event("contact.creation"))
    old, new = signed_v1(body), signed_v3(body)
    connector.verify(request(body, old | new))
    wrong = signed_v3(b"[]")
    for headers in (
        old | wrong, signed_v2(body) | wrong, old | {"X-HubSpot-Request-Timestamp": MOMENT},
        old | {"X-HubSpot-Signature-v3": new["X-HubSpot-Signature-v3"]}, old | {"X-HubSpot-Signature-Version": "v2"},
        signed_v2(body) | {"X-HubSpot-Signature-Version": "v1"}, old | {"X-HubSpot-Signature-Version": "v3"},
        signed_v2(body, URL.replace("https", "http")), signed_v3(body, URL + "/"),
    ):  # fmt: skip
        with pytest.raises(NotGenuine):
            connector.verify(request(body, headers))
    connector.verify(request(body, {**signed_v1(b"[]"), **new}))


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_request_of_another_time_is_refused(running: tuple[HubSpotSink, HubSpot], seconds: int) -> None:
    moment = str(int(MOMENT) + seconds * 1000)
    with pytest.raises(NotGenuine, match="five minutes"):
        running[1].verify(request(b"[]", signed_v3(b"[]", moment=moment)))
    close = str(int(MOMENT) + seconds * 1000 * 299 // 301)
    running[1].verify(request(b"[]", signed_v3(b"[]", moment=close)))


def test_what_the_url_says_is_signed_as_hubspot_decodes_it(running: tuple[HubSpotSink, HubSpot]) -> None:
    query = "to=a%40b%3Ac%2f%3F%21%24%27%28%29%2A%2C%3B&plus=%2B&space=%20"
    decoded = "to=a@b:c/?!$'()*,;&plus=%2B&space=%20"
    for uri, ok in ((f"{URL}?{decoded}", True), (f"{URL}?{query}", True), (f"{URL}?{decoded}x", False), (URL, False)):
        headers = {name.lower(): value for name, value in signed_v3(b"[]", uri).items()}
        asked = WebhookRequest(headers, b"[]", RECEIVED, query)
        if ok:
            running[1].verify(asked)
            continue
        with pytest.raises(NotGenuine):
            running[1].verify(asked)
    headers = {name.lower(): value for name, value in signed_v2(b"[]", f"{URL}?{query}").items()}
    running[1].verify(WebhookRequest(headers, b"[]", RECEIVED, query))


def test_whatever_is_told_the_contact_is_read_and_who_is_gone_is_deleted(
    running: tuple[HubSpotSink, HubSpot], sink: HubSpotSink
) -> None:
    connector: CrmListener = running[1]
    assert isinstance(connector, CrmListener)
    for number in (1, 2, 3, 4, 5, 6):
        sink.add(number, f"c{number}@customer.example", START - timedelta(days=1))
    sink.archive(3)
    sink.contacts[4].properties["hs_merged_object_ids"] = "8;9"
    posted = request(body_of(
        event("contact.propertyChange", objectId=1), event("contact.creation", objectId=1),
        event("contact.deletion", objectId=2), event("contact.deletion", objectId=3),
        event("contact.merge", objectId=8, primaryObjectId=8, mergedObjectIds=[8, 9], newObjectId=4),
        event("object.propertyChange", objectId=5, objectTypeId="0-1"),
        event("contact.privacyDeletion", objectId=77),
        event("contact.restore", objectId=6, occurredAt=1773144000000),
        event("contact.restore", objectId=6, occurredAt=[]),
        event("company.creation", objectId=2), event("object.creation", objectId=2, objectTypeId="0-2"),
        event("contact.no-such-word", objectId=[]), {"objectId": 5}, event("contact.creation", objectId="x; y"),
    ), {})  # fmt: skip
    told = {contact.id: contact for contact in connector.read_changes(posted)}
    assert set(told) == {"1", "2", "3", "4", "5", "6", "77"}
    assert told["2"].email == "c2@customer.example", "it is there, whatever was told"
    assert told["4"].merged == ("8", "9")
    assert sink.now is not None
    assert told["3"] == CrmContact("3", sink.now, deleted=True)
    assert told["77"].deleted
    assert told["6"].changed_at == START, "its own last change was before it was deleted"
    assert len(sink.asked) == 1


@pytest.mark.parametrize("word", ODD, ids=["none", "unicode", "NUL", "long"])
def test_a_request_about_no_contact_asks_for_nothing(
    running: tuple[HubSpotSink, HubSpot], sink: HubSpotSink, word: str
) -> None:
    assert running[1].read_changes(request(body_of(event(word)), {})) == []
    assert running[1].read_changes(request(b'[null, 7, [], {"subscriptionType": 5}]', {})) == []
    assert sink.asked == []


def test_a_hubspot_that_cannot_be_asked_is_told_so(running: tuple[HubSpotSink, HubSpot], sink: HubSpotSink) -> None:
    sink.judge = lambda method, path, body: Told(429, {"policyName": "SECONDLY"}, {"Retry-After": "1"})
    with pytest.raises(Retryable):
        running[1].read_changes(request(body_of(event("contact.creation")), {}))


@pytest.mark.parametrize(
    ("options", "missing"), [({}, "EVERGREET_HUBSPOT_SECRET"), ({"secret": SECRET}, "EVERGREET_PUBLIC_URL")]
)
def test_without_a_secret_or_a_url_nothing_is_believed(options: dict[str, str], missing: str) -> None:
    connector = HubSpot(HubSpotSettings.model_validate({"token": TOKEN, **options}), make_client(1))
    with pytest.raises(Misconfigured, match=missing):
        connector.verify(request(b"[]", signed_v1(b"[]")))
    connector.close()
