"""What Shopify's webhooks say: https://shopify.dev/docs/api/webhooks, by the topic in a header.

A refund and a parcel name their order and nobody else: they are about whom the order was.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from connectors.events.words import pass_over
from connectors.json_bodies import object_in, read_json, text_in
from connectors.moments import from_text
from evergreet.contracts import Agreement, Customer, CustomerEvent, WebhookRequest, Wish
from evergreet.errors import Unreadable

Raw: TypeAlias = Mapping[str, Any]

STATES: Mapping[str, bool] = {"subscribed": True, "unsubscribed": False}
"""`email_marketing_consent.state` in small letters that is somebody's word; *not_subscribed* is that nobody asked."""

_LARGEST = Decimal(10) ** 15


@dataclass(frozen=True, slots=True)
class _Told:
    """The object of a webhook, when it was told, and what consent is about."""

    object: Raw
    at: datetime
    topic: str
    wording: str

    def moment(self, *names: str) -> datetime:
        """Return the first of these times that the object has."""
        return from_text(next((found for name in names if (found := text_in(self.object, name))), ""), self.at)


def read_event(request: WebhookRequest, topic: str, wording: str) -> CustomerEvent | None:
    """Read the event of a request; None where it says nothing to us."""
    raw = read_json(request.body)
    if not isinstance(raw, dict):
        raise Unreadable("The body is not an object.")
    word = request.headers.get("x-shopify-topic", "")
    read = READERS.get(word)
    if read is None:
        pass_over("shopify", word)
        return None
    at = from_text(request.headers.get("x-shopify-triggered-at", ""), request.received_at)
    return read(_Told(raw, at, topic, wording))


def _order(told: _Told) -> CustomerEvent | None:
    number = _number(told.object, "id")
    if not number:
        return None
    at = told.moment("processed_at", "created_at")
    properties = {**_what(told.object, number), "items": _items(told.object.get("line_items"))}
    return _event(f"order:{number}", "order_placed", at, _buyer(told), properties)


def _cancelled(told: _Told) -> CustomerEvent | None:
    number = _number(told.object, "id")
    if not number:
        return None
    properties = {**_what(told.object, number), "reason": text_in(told.object, "cancel_reason")}
    return _event(
        f"cancelled:{number}", "order_cancelled", told.moment("cancelled_at", "updated_at"), _buyer(told), properties
    )


def _shipped(told: _Told) -> CustomerEvent | None:
    """Read an order of which all has been handed over to a carrier."""
    number = _number(told.object, "id")
    if not number:
        return None
    at = told.moment("updated_at")
    return _event(f"shipped:{number}", "order_shipped", at, _buyer(told), _what(told.object, number))


def _delivered(told: _Told) -> CustomerEvent | None:
    """Read a parcel that has arrived, by itself or by what happened to it; of several of an order the first counts."""
    order = _number(told.object, "order_id")
    if not order or "delivered" not in {text_in(told.object, "shipment_status"), text_in(told.object, "status")}:
        return None
    at = told.moment("happened_at", "updated_at")
    properties = {"order_id": order, "delivered_at": at.isoformat()}
    return _event(f"delivered:{order}", "order_delivered", at, Customer(), properties, like=f"order:{order}")


def _buyer(told: _Told) -> Customer:
    order, buyer = told.object, object_in(told.object, "customer")
    email = text_in(order, "email") or text_in(order, "contact_email") or text_in(buyer, "email")
    known = _known(buyer, text_in(order, "customer_locale"))
    return Customer(_number(buyer, "id"), email, known, _agreement(told, buyer))


def _what(order: Raw, number: str) -> dict[str, Any]:
    return {
        "order_id": number, "order_name": text_in(order, "name"), "amount": _amount(order.get("total_price")),
        "currency": text_in(order, "currency"),
    }  # fmt: skip


def _refund(told: _Told) -> CustomerEvent | None:
    refund, number, order = told.object, _number(told.object, "id"), _number(told.object, "order_id")
    if not (number and order):
        return None
    listed = refund.get("transactions")
    paid = [
        (amount, text_in(each, "currency"))
        for each in (listed if isinstance(listed, list) else ())
        if isinstance(each, dict) and text_in(each, "kind") == "refund" and text_in(each, "status") == "success"
        and (amount := _exact(each.get("amount"))) is not None
    ]  # fmt: skip
    if not paid:  # what came back was goods alone
        return None
    at = told.moment("processed_at", "created_at")
    properties = {
        "order_id": order, "amount": _amount(str(sum(amount for amount, _ in paid))), "currency": paid[0][1],
    }  # fmt: skip
    return _event(f"refund:{number}", "order_refunded", at, Customer(), properties, like=f"order:{order}")


def _customer(told: _Told) -> CustomerEvent | None:
    """Read a customer who is new or has changed: nothing that they did, but for what they agreed to."""
    person = told.object
    number = _number(person, "id") or _number(person, "customer_id")
    customer = Customer(
        number,
        text_in(person, "email") or text_in(person, "email_address"),
        _known(person, text_in(person, "locale")),
        _agreement(told, person),
    )
    return _event(f"customer:{number}", "", told.moment("updated_at", "created_at"), customer, {}) if number else None


def _forget(told: _Told) -> CustomerEvent | None:
    return _wished(told, Wish.FORGET)


def _tell(told: _Told) -> CustomerEvent | None:
    return _wished(told, Wish.TELL)


def _wished(told: _Told, wish: Wish) -> CustomerEvent | None:
    """Read what somebody asks about their data: https://shopify.dev/docs/apps/build/compliance/privacy-law-compliance."""
    person = object_in(told.object, "customer")
    customer = Customer(_number(person, "id"), text_in(person, "email"))
    if not (customer.id or customer.email):
        return None
    number = _number(object_in(told.object, "data_request"), "id") or customer.id or "without an id"
    return CustomerEvent(f"{wish}:{number}", "", told.at, customer, wish=wish)


READERS: Mapping[str, Callable[[_Told], CustomerEvent | None]] = {
    "orders/create": _order,
    "orders/paid": _order,
    "orders/cancelled": _cancelled,
    "orders/fulfilled": _shipped,
    "fulfillments/update": _delivered,
    "fulfillment_events/create": _delivered,
    "refunds/create": _refund,
    "customers/create": _customer,
    "customers/update": _customer,
    "customers/email_marketing_consent_update": _customer,
    "customers/redact": _forget,
    "customers/data_request": _tell,
}
"""Shopify's topics that say something to us."""


def _event(
    number: str, name: str, at: datetime, customer: Customer, properties: Mapping[str, Any], like: str = ""
) -> CustomerEvent:
    said = {key: value for key, value in properties.items() if value not in ("", None, [])}
    return CustomerEvent(number, name, at, customer, said, like)


def _agreement(told: _Told, person: Raw) -> Agreement | None:
    said = object_in(person, "email_marketing_consent")
    granted = STATES.get(text_in(said, "state").lower())
    if granted is None or not told.topic:
        return None
    at = from_text(text_in(said, "consent_updated_at"), told.moment("updated_at", "created_at"))
    return Agreement(told.topic, granted, at, told.wording)


def _number(raw: Raw, name: str) -> str:
    """Return an id: a whole number, or as newer versions of the API have it a text."""
    value = raw.get(name)
    written = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    return written if len(written) <= 100 else ""


def _known(person: Raw, locale: str) -> dict[str, Any]:
    known = {
        "first_name": text_in(person, "first_name"), "last_name": text_in(person, "last_name"),
        "phone": text_in(person, "phone"), "locale": locale,
        "country": text_in(object_in(person, "default_address"), "country_code"),
    }  # fmt: skip
    return {name: value for name, value in known.items() if value}


def _items(lines: Any) -> list[dict[str, Any]]:
    found = []
    for line in lines if isinstance(lines, list) else ():
        if isinstance(line, dict):
            said = {
                "name": text_in(line, "name") or text_in(line, "title"), "quantity": line.get("quantity"),
                "price": _amount(line.get("price")), "sku": text_in(line, "sku"),
                "product_id": _number(line, "product_id"),
            }  # fmt: skip
            found.append({key: value for key, value in said.items() if value not in ("", None)})
    return found


def _exact(written: Any) -> Decimal | None:
    try:
        exact = Decimal(written) if isinstance(written, str) and len(written) <= 40 else None
    except InvalidOperation:
        return None
    return exact if exact is not None and exact.is_finite() and abs(exact) < _LARGEST else None


def _amount(written: Any) -> int | float | None:
    """Return an amount, which Shopify writes as a decimal text in the currency's own unit."""
    exact = _exact(written)
    return None if exact is None else int(exact) if exact == exact.to_integral_value() else float(exact)
