"""What Stripe's events say: https://docs.stripe.com/api/events/types, read alike in the versions of its API.

An order is told by the checkout that it was paid in, by its invoice, or by both. So a payment is known by the first
that there is of its invoice, its payment intent and the object itself, and so is a refund of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from connectors.events.stripe_amounts import amount
from connectors.events.words import pass_over
from connectors.json_bodies import name_or_digest, object_in, read_json, text_in
from connectors.moments import from_seconds
from evergreet.contracts import Agreement, Customer, CustomerEvent, WebhookRequest
from evergreet.errors import Unreadable

Raw: TypeAlias = Mapping[str, Any]

INVOICES: Mapping[str, str] = {
    "subscription_create": "order_placed",
    "manual": "order_placed",
    "quote_accept": "order_placed",
    "subscription_cycle": "subscription_renewed",
}
"""What a paid invoice means by its `billing_reason`; any other, such as a change of plan, is `invoice_paid`."""

PAID = frozenset({"paid", "no_payment_required"})
"""`payment_status` of a checkout that owes nothing; others are paid later, or never."""

AGREED: Mapping[str, bool] = {"opt_in": True, "opt_out": False}
"""`consent.promotions` of a checkout."""


@dataclass(frozen=True, slots=True)
class _Told:
    """One event: the object that it is about, and what that was like before."""

    object: Raw
    before: Raw
    at: datetime
    topic: str
    wording: str

    @property
    def currency(self) -> str:
        """The object's currency as everybody writes it."""
        return text_in(self.object, "currency").upper()

    def amount(self, name: str) -> int | float | None:
        """Return an amount of the object."""
        return amount(self.object.get(name), self.currency)


def read_event(request: WebhookRequest, topic: str, wording: str) -> CustomerEvent | None:
    """Read the one event of a request; None where it says nothing to us."""
    raw = read_json(request.body)
    if not isinstance(raw, dict):
        raise Unreadable("The body is not an event.")
    word, data = text_in(raw, "type"), object_in(raw, "data")
    read = READERS.get(word)
    if read is None:
        pass_over("stripe", word)
        return None
    at = from_seconds(raw.get("created"), request.received_at)
    return read(_Told(object_in(data, "object"), object_in(data, "previous_attributes"), at, topic, wording))


def _checkout(told: _Told) -> CustomerEvent | None:
    """Read a checkout: an order once it is paid. Without a payment it still says who that is, and what they agreed to.

    A subscription that costs nothing yet is none: it is a trial, which the subscription itself tells of.
    """
    session, total = told.object, told.object.get("amount_total")
    details, mode, paid = object_in(session, "customer_details"), text_in(session, "mode"), _paid(session)
    ordered = paid and (mode == "payment" or (mode == "subscription" and isinstance(total, int) and total > 0))
    promotions = AGREED.get(text_in(object_in(session, "consent"), "promotions"))
    agreement = None
    if told.topic and promotions is not None:
        agreement = Agreement(told.topic, promotions, told.at, told.wording)
    customer = Customer(
        _id(session, "customer"),
        text_in(details, "email") or text_in(session, "customer_email"),
        _known(details, text_in(session, "locale")),
        agreement,
    )
    number = _payment(session)
    return _event("paid" if ordered else "checkout", number, "order_placed" if ordered else "", told, customer, {
        "order_id": _order(session), "amount": told.amount("amount_total"), "currency": told.currency,
        "items": _items(object_in(session, "line_items"), told.currency),
        "subscription_id": _id(session, "subscription"),
    })  # fmt: skip


def _invoice(told: _Told) -> CustomerEvent | None:
    """Read a paid invoice; one over nothing (a trial's first), or over a credit, is no purchase."""
    invoice = told.object
    total = invoice.get("total")
    if not isinstance(total, int) or total <= 0:
        return None
    customer = Customer(
        _id(invoice, "customer"),
        text_in(invoice, "customer_email"),
        _known(
            {
                "name": invoice.get("customer_name"),
                "phone": invoice.get("customer_phone"),
                "address": invoice.get("customer_address"),
            }
        ),
    )
    lines = object_in(invoice, "lines")
    name = INVOICES.get(text_in(invoice, "billing_reason"), "invoice_paid")
    of = object_in(object_in(invoice, "parent"), "subscription_details")  # where it stands since 2025-03-31
    return _event("paid", text_in(invoice, "id"), name, told, customer, {
        "order_id": _order(invoice), "amount": told.amount("total"), "currency": told.currency,
        "items": _items(lines, told.currency), "plan": _plan(lines),
        "subscription_id": _id(invoice, "subscription") or _id(of, "subscription"),
    })  # fmt: skip


def _subscription(told: _Told) -> CustomerEvent | None:
    """Read a new subscription: a trial, where it begins with one; what is paid for it an invoice tells."""
    if text_in(told.object, "status") != "trialing":
        return None
    return _event("trial", text_in(told.object, "id"), "trial_started", told, Customer(_id(told.object, "customer")), {
        "subscription_id": text_in(told.object, "id"), "trial_plan_name": _plan(object_in(told.object, "items")),
        "trial_start_date": _day(told.object.get("trial_start")), "trial_end_date": _day(told.object.get("trial_end")),
    })  # fmt: skip


def _ending(told: _Told) -> CustomerEvent | None:
    """Read that somebody wants a subscription to end, with its period or on a day; of other changes nothing is read.

    It may be taken back, and asked for again: each time it is known by when that was.
    """
    subscription, before = told.object, told.before
    asked = subscription.get("cancel_at_period_end") is True and before.get("cancel_at_period_end") is False
    dated = "cancel_at" in before and before["cancel_at"] is None and isinstance(subscription.get("cancel_at"), int)
    if not (asked or dated):
        return None
    when, why = subscription.get("canceled_at"), object_in(subscription, "cancellation_details")
    number = f"{text_in(subscription, 'id')}:{when if isinstance(when, int) else int(told.at.timestamp())}"
    return _event("ending", number, "subscription_cancel_requested", told, Customer(_id(subscription, "customer")), {
        "subscription_id": text_in(subscription, "id"), "plan": _plan(object_in(subscription, "items")),
        "reason": text_in(why, "feedback") or text_in(why, "reason"), "ends_on": _day(subscription.get("cancel_at")),
    })  # fmt: skip


def _cancelled(told: _Told) -> CustomerEvent | None:
    """Read a subscription that has ended, now and not at the end of its time."""
    subscription = told.object
    why = object_in(subscription, "cancellation_details")
    customer = Customer(_id(subscription, "customer"))
    return _event("cancelled", text_in(subscription, "id"), "subscription_cancelled", told, customer, {
        "subscription_id": text_in(subscription, "id"), "plan": _plan(object_in(subscription, "items")),
        "reason": text_in(why, "feedback") or text_in(why, "reason"),
    })  # fmt: skip


def _refunded(told: _Told) -> CustomerEvent | None:
    """Read a charge of which something went back: how much this time is the difference to what had gone back before."""
    charge, billing = told.object, object_in(told.object, "billing_details")
    so_far, before = charge.get("amount_refunded"), told.before.get("amount_refunded")
    if not isinstance(so_far, int) or so_far <= 0:
        return None
    back = so_far - before if isinstance(before, int) and 0 <= before < so_far else so_far
    customer = Customer(
        _id(charge, "customer"), text_in(billing, "email") or text_in(charge, "receipt_email"), _known(billing)
    )
    return _event("refunded", f"{text_in(charge, 'id')}:{so_far}", "order_refunded", told, customer, {
        "order_id": _order(charge), "amount": amount(back, told.currency), "currency": told.currency,
        "in_full": charge.get("refunded") is True,
    })  # fmt: skip


READERS: Mapping[str, Callable[[_Told], CustomerEvent | None]] = {
    "checkout.session.completed": _checkout,
    "checkout.session.async_payment_succeeded": _checkout,
    "invoice.paid": _invoice,
    "invoice.payment_succeeded": _invoice,
    "customer.subscription.created": _subscription,
    "customer.subscription.updated": _ending,
    "customer.subscription.deleted": _cancelled,
    "charge.refunded": _refunded,
}
"""Stripe's types of events that say something to us."""


def _event(
    kind: str, number: str, name: str, told: _Told, customer: Customer, properties: Mapping[str, Any]
) -> CustomerEvent | None:
    if not number:
        return None
    said = {key: value for key, value in properties.items() if value not in ("", None, [])}
    return CustomerEvent(f"{kind}:{name_or_digest(number, number.encode())}", name, told.at, customer, said)


def _paid(session: Raw) -> bool:
    return text_in(session, "payment_status") in PAID


def _id(raw: Raw, name: str) -> str:
    """Return the id that stands under a name, also where the whole object does."""
    return text_in(raw, name) or text_in(object_in(raw, name), "id")


def _payment(raw: Raw) -> str:
    own = text_in(raw, "id")
    return own if text_in(raw, "object") == "invoice" else _id(raw, "invoice") or _id(raw, "payment_intent") or own


def _order(raw: Raw) -> str:
    """Return the number of an order: the shop's own, where the metadata have it, else Stripe's of the payment."""
    return text_in(object_in(raw, "metadata"), "order_id") or _payment(raw)


def _known(person: Raw, locale: str = "") -> dict[str, Any]:
    address = object_in(person, "address")
    known = {
        "name": text_in(person, "name"), "phone": text_in(person, "phone"), "country": text_in(address, "country"),
        "locale": "" if locale == "auto" else locale,
    }  # fmt: skip
    return {name: value for name, value in known.items() if value}


def _items(lines: Raw, currency: str) -> list[dict[str, Any]]:
    """Return what was bought, each with the price of one; where that would be a fraction, as one of so many."""
    listed, found = lines.get("data"), []
    for line in listed if isinstance(listed, list) else ():
        if not isinstance(line, dict):
            continue
        total = line.get("amount_total", line.get("amount"))
        count, name = line.get("quantity"), text_in(line, "description")
        if not (isinstance(count, int) and count > 0):
            count = 1
        if isinstance(total, int) and total % count:
            name, count = f"{count} × {name}", 1
        price = amount(total // count, currency) if isinstance(total, int) else None
        said = {"name": name, "quantity": count, "price": price, "product_id": _product(line)}
        found.append({key: value for key, value in said.items() if value not in ("", None)})
    return found


def _product(line: Raw) -> str:
    return _id(object_in(line, "price"), "product") or _id(_pricing(line), "product")


def _pricing(line: Raw) -> Raw:
    """Return where a line says its price since 2025-03-31."""
    return object_in(object_in(line, "pricing"), "price_details")


def _plan(lines: Raw) -> str:
    """Return what the first price is called: by its name, else by its key, else by its id."""
    listed = lines.get("data")
    for line in listed if isinstance(listed, list) else ():
        if not isinstance(line, dict):
            continue
        price = object_in(line, "price") or object_in(line, "plan")
        called = text_in(price, "nickname") or text_in(price, "lookup_key") or text_in(price, "id")
        if called or (called := _id(_pricing(line), "price")):
            return called
    return ""


def _day(seconds: Any) -> str:
    never = datetime.min.replace(tzinfo=UTC)
    day = from_seconds(seconds, never)
    return "" if day == never else day.date().isoformat()
