"""Stripe's events: signed as its own package says, read in old and new versions of its API."""

import hashlib
import hmac
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
import stripe
from pydantic import ValidationError

from connectors.events import words
from connectors.events.stripe import Stripe
from connectors.events.stripe_amounts import amount
from connectors.events.stripe_settings import StripeSettings
from evergreet.contracts import Agreement, CustomerEvent, WebhookRequest
from evergreet.errors import NotGenuine
from evergreet.testing import EventContract
from evergreet.testing.events import ADDRESS
from evergreet.testing.signatures import RECEIVED

SECRET = "whsec_canary"
STAMP = int(RECEIVED.timestamp())
CHECKOUT: dict[str, Any] = {
    "id": "cs_7", "object": "checkout.session", "mode": "payment", "payment_status": "paid", "currency": "eur",
    "amount_total": 5980, "payment_intent": "pi_7", "customer": "cus_7", "locale": "de",
    "customer_details": {"email": ADDRESS, "name": "Maya Okafor", "phone": None, "address": {"country": "DE"}},
}  # fmt: skip
INVOICE: dict[str, Any] = {
    "id": "in_7", "object": "invoice", "billing_reason": "subscription_create", "total": 1000, "currency": "eur",
    "customer": "cus_7", "customer_email": ADDRESS, "customer_name": "Maya Okafor", "subscription": "sub_7",
    "lines": {"data": [{"description": "Club", "amount": 1000, "quantity": 2,
                        "price": {"id": "price_7", "nickname": "club", "product": "prod_7"}}]},
}  # fmt: skip
SUBSCRIPTION: dict[str, Any] = {
    "id": "sub_7", "object": "subscription", "customer": "cus_7", "status": "trialing", "trial_start": STAMP,
    "cancel_at_period_end": True, "cancel_at": STAMP + 14 * 86_400, "canceled_at": STAMP,
    "trial_end": STAMP + 14 * 86_400, "cancellation_details": {"feedback": "too_expensive"},
    "items": {"data": [{"price": {"id": "price_7", "nickname": None, "lookup_key": "club"}}]},
}  # fmt: skip
CHARGE: dict[str, Any] = {
    "id": "ch_7", "object": "charge", "customer": "cus_7", "amount_refunded": 5980, "currency": "eur", "refunded": True,
    "payment_intent": "pi_7", "billing_details": {"email": ADDRESS},
}  # fmt: skip
OBJECTS = {"checkout": CHECKOUT, "invoice": INVOICE, "customer": SUBSCRIPTION, "charge": CHARGE}


def body(word: str, about: dict[str, Any] | None = None, before: dict[str, Any] | None = None) -> bytes:
    """Return an event of Stripe's about an object."""
    before = {"cancel_at_period_end": False} if about is None and word.endswith("subscription.updated") else before
    about = about or OBJECTS.get(word.partition(".")[0], CHECKOUT)
    written = json.dumps(word)[1:-1].replace("\\\\u0000", "\\u0000")
    data = {"object": about} | ({"previous_attributes": before} if before else {})
    told = {"id": "evt_7", "object": "event", "created": STAMP, "data": data, "type": "WORD"}
    return json.dumps(told).replace("WORD", written).encode()


def header(signed: bytes, *secrets: str, at: int = STAMP) -> str:
    found = [hmac.new(one.encode(), b"%d.%s" % (at, signed), hashlib.sha256).hexdigest() for one in secrets]
    return ",".join([f"t={at}", "v0=0000", *(f"v1={one}" for one in found)])


def connector(**options: Any) -> Stripe:
    return Stripe(StripeSettings.model_validate({"webhook_secret": SECRET, **options}))


def read(
    word: str, about: dict[str, Any] | None = None, before: dict[str, Any] | None = None, **options: Any
) -> CustomerEvent | None:
    """Return the event that becomes of one of Stripe's."""
    found = connector(**options).read_events(WebhookRequest({}, body(word, about, before), RECEIVED))
    return found[0] if found else None


def told(word: str, about: dict[str, Any] | None = None, before: dict[str, Any] | None = None) -> CustomerEvent:
    found = read(word, about, before)
    assert found is not None
    return found


class TestStripe(EventContract):
    entry_point = "stripe"
    secrets = (SECRET,)
    words: ClassVar[dict[str, str]] = {
        "checkout.session.completed": "order_placed",
        "checkout.session.async_payment_succeeded": "order_placed",
        "invoice.paid": "order_placed",
        "invoice.payment_succeeded": "order_placed",
        "customer.subscription.created": "trial_started",
        "customer.subscription.updated": "subscription_cancel_requested",
        "customer.subscription.deleted": "subscription_cancelled",
        "charge.refunded": "order_refunded",
    }

    @pytest.fixture
    def source(self) -> Stripe:
        return connector(consent_topic="news")

    @pytest.fixture
    def sign(self) -> Callable[[bytes], dict[str, str]]:
        return lambda signed: {"Stripe-Signature": header(signed, SECRET)}

    @pytest.fixture
    def told(self) -> Callable[[str], bytes]:
        return body


def test_the_published_signature_is_verified(fixtures: Path) -> None:
    vectors = json.loads((fixtures / "vectors" / "webhook_signatures.json").read_text("utf-8"))
    (one,) = [vector for vector in vectors if vector["scheme"] == "stripe-v1"]
    source = connector(webhook_secret=one["secret"])
    headers = {name.lower(): value for name, value in one["headers"].items()}
    at = datetime.fromtimestamp(1_700_000_000 + 299, UTC)
    source.verify(WebhookRequest(headers, one["body"].encode(), at))
    with pytest.raises(NotGenuine):
        source.verify(WebhookRequest(headers, one["body"].encode() + b"\n", at))
    with pytest.raises(NotGenuine, match="too far"):
        source.verify(WebhookRequest(headers, one["body"].encode(), datetime.fromtimestamp(1_700_000_301, UTC)))


def test_verdicts_are_those_of_stripes_own_package() -> None:
    signed = body("invoice.paid")
    good = header(signed, SECRET)
    stamp, _, right = good.split(",")
    cases = [
        good, header(signed, "whsec_other"), header(signed, "whsec_other", SECRET), f"{right},{stamp}", stamp, right,
        f"{stamp},{right.replace('v1', 'v0')}", f"{stamp},{right[:-1]}", f"{stamp},v1=,{right}", "", "t=,v1=", "t,v1",
        header(signed + b" ", SECRET), f"t={STAMP + 1},{right}", f"{stamp},v1=é",
    ]  # fmt: skip
    verdicts = []
    for case in cases:
        try:
            stripe.WebhookSignature.verify_header(signed.decode(), case, SECRET)
            theirs = True
        except (stripe.SignatureVerificationError, TypeError):  # TypeError: it does not compare what is not ASCII
            theirs = False
        try:
            connector().verify(WebhookRequest({"stripe-signature": case}, signed, RECEIVED))
            ours = True
        except NotGenuine:
            ours = False
        verdicts.append((ours, theirs))
    assert all(ours == theirs for ours, theirs in verdicts), list(zip(cases, verdicts, strict=True))
    assert sum(ours for ours, _ in verdicts) == 4


def test_while_a_secret_is_rolled_either_holds() -> None:
    source, signed = connector(webhook_secret="whsec_old, whsec_new"), body("invoice.paid")
    for secret in ("whsec_old", "whsec_new"):
        source.verify(WebhookRequest({"stripe-signature": header(signed, secret)}, signed, RECEIVED))
    with pytest.raises(NotGenuine):
        source.verify(WebhookRequest({"stripe-signature": header(signed, "whsec_old, whsec_new")}, signed, RECEIVED))
    with pytest.raises(ValidationError, match="copy the signing secret"):
        StripeSettings.model_validate({"webhook_secret": " , "})


def test_a_paid_checkout_is_an_order_with_its_buyer() -> None:
    event = told("checkout.session.completed")
    assert event.properties == {"order_id": "pi_7", "amount": 59.8, "currency": "EUR"}
    assert (event.customer.id, event.customer.email, event.customer.agreement) == ("cus_7", ADDRESS, None)
    assert event.customer.details == {"name": "Maya Okafor", "country": "DE", "locale": "de"}
    assert event.at == RECEIVED
    own = told("checkout.session.completed", CHECKOUT | {"metadata": {"order_id": "FW-20417"}})
    assert (own.properties["order_id"], own.id) == ("FW-20417", event.id)


def test_a_checkout_that_is_paid_later_is_an_order_then() -> None:
    first = told("checkout.session.completed", CHECKOUT | {"payment_status": "unpaid"})
    assert (first.name, first.customer.email) == ("", ADDRESS)
    then = told("checkout.session.async_payment_succeeded")
    assert (then.name, then.id) == ("order_placed", told("checkout.session.completed").id)
    assert then.id != first.id


@pytest.mark.parametrize(
    ("about", "name"),
    [
        ({"payment_status": "no_payment_required", "amount_total": 0}, "order_placed"),
        ({"mode": "subscription", "invoice": "in_7", "payment_intent": None}, "order_placed"),
        ({"mode": "subscription", "payment_status": "no_payment_required", "amount_total": 0}, ""),
        ({"mode": "setup", "payment_status": "no_payment_required", "amount_total": None}, ""),
        ({"mode": "newly_invented"}, ""),
    ],
)
def test_what_a_checkout_was_about(about: dict[str, Any], name: str) -> None:
    assert told("checkout.session.completed", CHECKOUT | about).name == name


def test_a_checkout_and_its_invoice_tell_one_order() -> None:
    by_checkout = told("checkout.session.completed", CHECKOUT | {"mode": "subscription", "invoice": "in_7"})
    by_invoice = told("invoice.paid")
    assert (by_checkout.id, by_checkout.properties["order_id"]) == (by_invoice.id, by_invoice.properties["order_id"])


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        ("subscription_create", "order_placed"), ("manual", "order_placed"), ("quote_accept", "order_placed"),
        ("subscription_cycle", "subscription_renewed"), ("subscription_update", "invoice_paid"),
        ("newly_invented", "invoice_paid"),
    ],
)  # fmt: skip
def test_an_invoice_means_what_it_was_written_for(reason: str, name: str) -> None:
    event = told("invoice.paid", INVOICE | {"billing_reason": reason})
    assert event.name == name
    assert event.properties == {
        "order_id": "in_7", "amount": 10, "currency": "EUR", "plan": "club", "subscription_id": "sub_7",
        "items": [{"name": "Club", "quantity": 2, "price": 5, "product_id": "prod_7"}],
    }  # fmt: skip
    assert read("invoice.paid", INVOICE | {"total": 0}) is None


def test_an_invoice_of_the_newest_version_is_read_alike() -> None:
    line = {"description": "Club", "amount": 1000, "quantity": 3,
            "pricing": {"price_details": {"price": "price_7", "product": "prod_7"}}}  # fmt: skip
    moved = {**INVOICE, "lines": {"data": [line, "odd"]}, "customer": {"id": "cus_7", "object": "customer"},
             "parent": {"subscription_details": {"subscription": "sub_7"}}}  # fmt: skip
    del moved["subscription"]
    event = told("invoice.paid", moved)
    assert (event.properties["plan"], event.properties["subscription_id"]) == ("price_7", "sub_7")
    assert event.properties["items"] == [{"name": "3 × Club", "quantity": 1, "price": 10, "product_id": "prod_7"}]
    assert event.customer.id == "cus_7"


def test_a_trial_begins_and_a_subscription_ends() -> None:
    assert told("customer.subscription.created").properties == {
        "subscription_id": "sub_7", "trial_plan_name": "club",
        "trial_start_date": "2026-03-10", "trial_end_date": "2026-03-24",
    }  # fmt: skip
    assert read("customer.subscription.created", SUBSCRIPTION | {"status": "active"}) is None
    assert told("customer.subscription.deleted").properties == {
        "subscription_id": "sub_7", "plan": "club", "reason": "too_expensive",
    }  # fmt: skip


def test_that_a_subscription_is_to_end_is_told_each_time_somebody_asks_for_it() -> None:
    def asked(before: dict[str, Any], **about: Any) -> CustomerEvent | None:
        return read("customer.subscription.updated", SUBSCRIPTION | about, before)

    first = asked({"cancel_at_period_end": False, "canceled_at": None})
    assert first is not None
    assert first.properties == {
        "subscription_id": "sub_7", "plan": "club", "reason": "too_expensive", "ends_on": "2026-03-24",
    }  # fmt: skip
    dated = asked({"cancel_at": None}, cancel_at_period_end=False)
    again = asked({"cancel_at_period_end": False}, canceled_at=STAMP + 60)
    assert dated is not None
    assert again is not None
    assert first.id == dated.id != again.id
    for before, about in (
        ({"cancel_at_period_end": True, "cancel_at": STAMP}, {"cancel_at_period_end": False, "cancel_at": None}),
        ({"items": {}}, {}), ({"cancel_at": STAMP}, {}), ({}, {}), ({"cancel_at": None}, {"cancel_at": None}),
    ):  # fmt: skip
        assert asked(before, **about) is None


def test_refunds_are_told_by_their_charge_alone() -> None:
    for word in ("refund.created", "refund.updated", "refund.failed", "charge.refund.updated", "v1.billing.meter.no"):
        assert read(word, CHARGE | {"object": "refund", "status": "succeeded"}) is None


def test_each_refund_of_a_charge_is_its_own_and_says_what_went_back_then() -> None:
    first = told("charge.refunded", CHARGE | {"amount_refunded": 1980, "refunded": False}, {"amount_refunded": 0})
    rest = told("charge.refunded", CHARGE, {"amount_refunded": 1980})
    assert first.properties == {"order_id": "pi_7", "amount": 19.8, "currency": "EUR", "in_full": False}
    assert (rest.properties["amount"], rest.properties["in_full"]) == (40, True)
    assert rest.properties["order_id"] == told("checkout.session.completed").properties["order_id"]
    assert first.id != rest.id


@pytest.mark.parametrize(
    ("minor", "currency", "major"),
    [(5980, "EUR", 59.8), (500, "JPY", 500), (5120, "KWD", 5.12), (500, "ISK", 5), (500, "UGX", 5), (500, "XPF", 500),
     (5980, "HUF", 59.8), (0, "USD", 0), (None, "USD", None), (True, "USD", None), ("5980", "USD", None)],
)  # fmt: skip
def test_amounts_are_in_the_currencys_own_unit(minor: Any, currency: str, major: float | None) -> None:
    assert amount(minor, currency) == major


@pytest.mark.parametrize(("said", "granted"), [("opt_in", True), ("opt_out", False), (None, None), ("odd", None)])
def test_consent_to_promotions_is_kept_where_a_topic_is_set(said: str | None, granted: bool | None) -> None:
    session = CHECKOUT | {"consent": {"promotions": said}}
    event = read("checkout.session.completed", session, consent_topic="news", consent_wording="Keep me posted")
    assert event is not None
    expected = None if granted is None else Agreement("news", granted, RECEIVED, "Keep me posted")
    assert event.customer.agreement == expected
    assert told("checkout.session.completed", session).customer.agreement is None


def test_the_published_objects_are_read(fixtures: Path) -> None:
    published = json.loads((fixtures / "stripe" / "stripe_fixtures_subset.json").read_text("utf-8"))
    session = told("checkout.session.completed", published["checkout.session"])
    assert (session.name, session.customer.email) == ("", "example@example.com")
    invoice = told("invoice.paid", published["invoice"])
    assert (invoice.name, invoice.properties["amount"], invoice.properties["subscription_id"]) == (
        "order_placed", 10, "subscription",
    )  # fmt: skip
    cancelled = told("customer.subscription.deleted", published["subscription"])
    assert (cancelled.customer.id, cancelled.properties["plan"]) == (
        published["subscription"]["customer"], published["price"]["id"],
    )  # fmt: skip
    refunded = told("charge.refunded", published["charge"] | {"amount_refunded": 100})
    assert (refunded.properties["amount"], refunded.properties["currency"]) == (1, "USD")
    whole = json.dumps(published["event"]).encode()
    assert connector().read_events(WebhookRequest({}, whole, RECEIVED)) == []


@pytest.mark.parametrize("word", sorted(TestStripe.words))
def test_odd_values_anywhere_never_raise(word: str) -> None:
    plain = OBJECTS[word.partition(".")[0]]
    for name in plain:
        for odd in (None, [], {}, 7, -1, 2**63, True, "x" * 3000, [None, 7], {"data": 7}, {"data": [7, {}]}):
            read(word, plain | {name: odd})
    source = connector()
    odd_data: list[Any] = [None, [], 7, {"object": []}, {"object": None, "previous_attributes": 7}]
    for data in odd_data:
        assert source.read_events(WebhookRequest({}, json.dumps({"type": word, "data": data}).encode(), RECEIVED)) == []


def test_a_kind_that_says_nothing_to_us_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    words.pass_over.cache_clear()
    caplog.set_level(logging.INFO)
    assert [read("product.updated"), read("product.updated"), read("price.created")] == [None] * 3
    assert caplog.text.count("product.updated") == 1
    assert caplog.text.count("price.created") == 1


def test_the_check_says_what_is_set() -> None:
    assert "2 secrets" in connector(webhook_secret="whsec_a,whsec_b").check()
    assert "about news" in connector(consent_topic="news").check()
