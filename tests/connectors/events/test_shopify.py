"""Shopify's webhooks: signed as openssl signs, orders and refunds as its documentation shows them."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from connectors.events.shopify import Shopify
from connectors.events.shopify_settings import ShopifySettings
from evergreet.contracts import Agreement, Customer, CustomerEvent, WebhookRequest, Wish
from evergreet.errors import NotGenuine
from evergreet.testing import EventContract
from evergreet.testing.events import ADDRESS
from evergreet.testing.signatures import RECEIVED

SECRET = "canary-shopify-secret"
ORDER: dict[str, Any] = {
    "id": 450789469, "name": "#1001", "email": ADDRESS, "processed_at": "2026-03-10T06:00:00-05:00",
    "created_at": "2026-03-10T06:00:01-05:00", "currency": "USD", "total_price": "598.94", "customer_locale": "en-US",
    "buyer_accepts_marketing": False,
    "customer": {"id": 207119551, "email": ADDRESS, "first_name": "Bob", "last_name": "Norman",
                 "phone": "+16136120707", "default_address": {"country_code": "US"}},
    "line_items": [{"name": "IPod Nano - 8gb - green", "quantity": 1, "price": "199.00", "sku": "IPOD2008GREEN",
                    "product_id": 632910392}, {"title": "Case", "quantity": 2, "price": "10"}],
}  # fmt: skip
REFUND: dict[str, Any] = {
    "id": 509562969, "order_id": 450789469, "created_at": "2026-03-10T06:30:00-05:00",
    "transactions": [
        {"kind": "refund", "status": "success", "amount": "209.00", "currency": "USD"},
        {"kind": "refund", "status": "success", "amount": "0.95", "currency": "USD"},
        {"kind": "refund", "status": "failure", "amount": "5.00", "currency": "USD"},
        {"kind": "void", "status": "success", "amount": "5.00", "currency": "USD"},
    ],
}  # fmt: skip
CONSENT: dict[str, Any] = {
    "state": "subscribed", "opt_in_level": "single_opt_in", "consent_updated_at": "2026-03-09T12:00:00Z",
}  # fmt: skip
PERSON: dict[str, Any] = {**ORDER["customer"], "updated_at": "2026-03-10T11:00:00Z", "email_marketing_consent": CONSENT}
PRIVACY: dict[str, Any] = {  # as the documentation has both
    "shop_id": 954889, "shop_domain": "fernway.myshopify.com", "orders_to_redact": [299938, 280263],
    "customer": {"id": 191167, "email": ADDRESS, "phone": "555-625-1199"}, "data_request": {"id": 9999},
}  # fmt: skip
PARCEL: dict[str, Any] = {
    "id": 255858046, "order_id": 450789469, "status": "success", "shipment_status": "delivered",
    "updated_at": "2026-03-10T06:45:00-05:00",
}  # fmt: skip
HAPPENED: dict[str, Any] = {
    "id": 944956391, "fulfillment_id": 255858046, "order_id": 450789469, "status": "delivered",
    "happened_at": "2026-03-10T06:44:00-05:00",
}  # fmt: skip
OBJECTS = {"orders": ORDER, "refunds": REFUND, "customers": PERSON, "fulfillments": PARCEL}
OBJECTS |= {"fulfillment_events": HAPPENED}
OBJECTS |= {"customers/redact": PRIVACY, "customers/data_request": PRIVACY}


def sample(topic: str) -> dict[str, Any]:
    return OBJECTS.get(topic) or OBJECTS.get(topic.partition("/")[0], ORDER)


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    """Sign as openssl does."""
    mac = HMAC(secret.encode(), SHA256())
    mac.update(body)
    return {"X-Shopify-Hmac-Sha256": base64.b64encode(mac.finalize()).decode()}


def connector(**options: Any) -> Shopify:
    return Shopify(ShopifySettings.model_validate({"webhook_secret": SECRET, **options}))


def read(topic: str, about: dict[str, Any], **options: Any) -> CustomerEvent | None:
    """Return the event that becomes of what was told under a topic."""
    request = WebhookRequest({"x-shopify-topic": topic}, json.dumps(about).encode(), RECEIVED)
    found = connector(**options).read_events(request)
    return found[0] if found else None


def told(topic: str, about: dict[str, Any], **options: Any) -> CustomerEvent:
    found = read(topic, about, **options)
    assert found is not None
    return found


class TestShopify(EventContract):
    entry_point = "shopify"
    secrets = (SECRET,)
    words: ClassVar[dict[str, str]] = {
        "orders/create": "order_placed",
        "orders/paid": "order_placed",
        "orders/cancelled": "order_cancelled",
        "orders/fulfilled": "order_shipped",
        "fulfillments/update": "order_delivered",
        "fulfillment_events/create": "order_delivered",
        "refunds/create": "order_refunded",
        "customers/create": "",
        "customers/update": "",
        "customers/email_marketing_consent_update": "",
        "customers/redact": "",
        "customers/data_request": "",
    }

    @pytest.fixture
    def source(self) -> Shopify:
        return connector(consent_topic="news")

    @pytest.fixture
    def sign(self) -> Callable[[bytes], dict[str, str]]:
        return signed

    @pytest.fixture
    def told(self) -> Callable[[str], bytes]:
        """Give bodies with their topic in them, where `posted` finds it."""
        return lambda word: json.dumps({**sample(word), "topic": word}).encode()

    def posted(self, body: bytes, signature: Mapping[str, str]) -> WebhookRequest:
        try:
            topic = str(json.loads(body)["topic"])
        except (ValueError, TypeError, KeyError, RecursionError):
            topic = "orders/create"
        headers = {**signature, "X-Shopify-Topic": topic}
        return WebhookRequest({name.lower(): value for name, value in headers.items()}, body, RECEIVED)


def test_while_a_secret_is_changed_either_holds() -> None:
    source, body = connector(webhook_secret="old,new"), b"{}"
    for secret in ("old", "new"):
        source.verify(WebhookRequest({name.lower(): one for name, one in signed(body, secret).items()}, body, RECEIVED))
    with pytest.raises(NotGenuine):
        source.verify(WebhookRequest({"x-shopify-hmac-sha256": signed(body)["X-Shopify-Hmac-Sha256"]}, body, RECEIVED))


def test_an_order_is_told_once_by_both_topics_with_its_buyer() -> None:
    event = told("orders/create", ORDER)
    assert told("orders/paid", ORDER) == event
    assert (event.at.isoformat(), event.customer.id, event.customer.email) == (
        "2026-03-10T11:00:00+00:00", "207119551", ADDRESS,
    )  # fmt: skip
    assert event.customer.details == {
        "first_name": "Bob", "last_name": "Norman", "phone": "+16136120707", "locale": "en-US", "country": "US",
    }  # fmt: skip
    assert event.properties == {
        "order_id": "450789469", "order_name": "#1001", "amount": 598.94, "currency": "USD",
        "items": [
            {"name": "IPod Nano - 8gb - green", "quantity": 1, "price": 199, "sku": "IPOD2008GREEN",
             "product_id": "632910392"},
            {"name": "Case", "quantity": 2, "price": 10},
        ],
    }  # fmt: skip
    guest = told("orders/create", ORDER | {"customer": None})
    assert (guest.customer.id, guest.customer.email) == ("", ADDRESS)


def test_what_becomes_of_an_order_is_told_once() -> None:
    order = {**ORDER, "cancelled_at": "2026-03-10T06:10:00-05:00", "cancel_reason": "customer"}
    about = {"order_id": "450789469", "order_name": "#1001", "amount": 598.94, "currency": "USD"}
    cancelled, shipped = told("orders/cancelled", order), told("orders/fulfilled", ORDER)
    assert cancelled.properties == {**about, "reason": "customer"}
    assert (cancelled.at.isoformat(), cancelled.customer.id) == ("2026-03-10T11:10:00+00:00", "207119551")
    assert (shipped.properties, shipped.customer) == (about, cancelled.customer)
    parcel, happened = told("fulfillments/update", PARCEL), told("fulfillment_events/create", HAPPENED)
    assert parcel.id == happened.id
    assert parcel.like == happened.like == told("orders/create", ORDER).id
    assert happened.properties == {"order_id": "450789469", "delivered_at": "2026-03-10T11:44:00+00:00"}
    assert len({cancelled.id, shipped.id, parcel.id, told("orders/paid", ORDER).id}) == 4
    for status in ("in_transit", "out_for_delivery", "attempted_delivery", None):
        assert read("fulfillments/update", {**PARCEL, "shipment_status": status}) is None
        assert read("fulfillment_events/create", {**HAPPENED, "status": status}) is None


def test_a_refund_is_what_was_paid_back_to_whom_the_order_was() -> None:
    event = told("refunds/create", REFUND)
    assert event.properties == {"order_id": "450789469", "amount": 209.95, "currency": "USD"}
    assert event.like == told("orders/create", ORDER).id
    assert read("refunds/create", REFUND | {"transactions": []}) is None


@pytest.mark.parametrize(
    ("state", "granted"), [("subscribed", True), ("UNSUBSCRIBED", False), ("not_subscribed", None), ("pending", None)]
)
def test_consent_to_email_marketing_is_kept_where_a_topic_is_set(state: str, granted: bool | None) -> None:
    person = PERSON | {"email_marketing_consent": CONSENT | {"state": state}}
    found = told("customers/update", person, consent_topic="news", consent_wording="Email me").customer.agreement
    at = RECEIVED.replace(day=9)
    assert found == (None if granted is None else Agreement("news", granted, at, "Email me"))
    assert told("customers/update", person).customer.agreement is None


def test_consent_that_is_told_alone_or_with_an_order_is_kept() -> None:
    alone = {"customer_id": 207119551, "email_address": ADDRESS, "email_marketing_consent": CONSENT}
    event = told("customers/email_marketing_consent_update", alone, consent_topic="news")
    assert (event.customer.id, event.customer.email) == ("207119551", ADDRESS)
    assert event.customer.agreement is not None
    ordered = told("orders/create", ORDER | {"customer": PERSON}, consent_topic="news").customer
    assert ordered.agreement == event.customer.agreement
    # A box that was ticked is no yes yet where the shop asks to confirm it.
    ticked = told("orders/create", ORDER | {"buyer_accepts_marketing": True}, consent_topic="news")
    assert ticked.customer.agreement is None


@pytest.mark.parametrize("topic", sorted(TestShopify.words))
def test_odd_values_anywhere_never_raise(topic: str) -> None:
    plain = sample(topic)
    for name in plain:
        values: list[Any] = [None, [], {}, 7, -1, True, "x" * 3000, "NaN", "1e999", [None, 7, {}], {"id": []}]
        for odd in values:
            read(topic, plain | {name: odd}, consent_topic="news")


@pytest.mark.parametrize(
    ("topic", "wish", "number"), [("redact", Wish.FORGET, "forget:191167"), ("data_request", Wish.TELL, "tell:9999")]
)
def test_what_somebody_asks_about_their_data_is_read(topic: str, wish: Wish, number: str) -> None:
    about = {name: value for name, value in PRIVACY.items() if name != "data_request" or topic == name}
    event = told(f"customers/{topic}", about)
    assert (event.id, event.name, event.wish) == (number, "", wish)
    assert event.customer == Customer("191167", ADDRESS)
    assert read(f"customers/{topic}", {"shop_id": 954889}) is None
    assert read("shop/redact", {"shop_id": 954889, "shop_domain": "x.myshopify.com"}) is None


def test_the_check_says_what_is_set() -> None:
    assert "2 secrets" in connector(webhook_secret="a,b").check()
    assert "about news" in connector(consent_topic="news").check()
