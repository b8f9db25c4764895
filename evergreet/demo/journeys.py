"""What the customers of the sample shop do: visits, baskets, orders, and what becomes of them."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from evergreet.demo.people import Country, Person

SALE = timedelta(days=9)
"""The shop's birthday sale began so long before the end of the history; most people come first or last."""

PRODUCTS: tuple[tuple[str, str, float], ...] = (
    ("FW-KETTLE", "Enamel camp kettle", 38.0),
    ("FW-LANTERN", "Wind-up lantern", 29.5),
    ("FW-BLANKET", "Lambswool blanket", 84.0),
    ("FW-FLASK", "Steel flask, 1 l", 24.0),
    ("FW-TROWEL", "Ash-handled trowel", 18.5),
    ("FW-SECATEURS", "Bypass secateurs", 46.0),
    ("FW-BOOTS", "Garden boots", 62.0),
    ("FW-TENT", "Two-person tent", 239.0),
    ("FW-STOVE", "Gas stove", 74.0),
    ("FW-ROPE", "Cotton rope, 10 m", 12.0),
    ("FW-SEEDS", "Meadow seed mix", 9.5),
    ("FW-JACKET", "Waxed jacket", 165.0),
)
"""Stock number, name, price in pounds."""

PAGES = ("/", "/camp", "/garden", "/home", "/journal/waxing", "/journal/meadows", "/delivery", "/sale")
MONTHS = (0.75, 0.7, 0.95, 1.1, 1.2, 1.05, 0.9, 0.8, 0.95, 1.0, 1.35, 1.5)
"""How busy the shop is from January to December, against an average month."""

HOURS = tuple(range(6, 24))
HOUR_WEIGHTS = (1, 3, 5, 5, 5, 5, 7, 6, 5, 5, 5, 6, 8, 10, 11, 10, 6, 2)
"""When people visit, by the clock on their wall."""


@dataclass(frozen=True, slots=True)
class Habit:
    """How a kind of customer behaves.

    `share` of all customers; mean days between visits; the chance that a basket is bought; the chance, after
    each visit, never to come back.
    """

    share: int
    days_between: float
    buys: float
    leaves: float


HABITS = (
    Habit(share=18, days_between=20, buys=0.0, leaves=0.3),
    Habit(share=16, days_between=25, buys=0.15, leaves=0.2),
    Habit(share=30, days_between=34, buys=0.4, leaves=0.1),
    Habit(share=28, days_between=26, buys=0.5, leaves=0.04),
    Habit(share=8, days_between=14, buys=0.6, leaves=0.01),
)


@dataclass(slots=True)
class Customer:
    """One row of the address book, with the habit its owner has."""

    id: str
    person: Person
    habit: Habit
    joined: datetime
    email: str
    timezone: str
    consent: str
    has_name: bool = True


@dataclass(slots=True)
class History:
    """The events up to a moment; `finish` gives out the order numbers and sorts everything by time."""

    until: datetime
    rows: list[tuple[datetime, str, str, dict[str, Any]]] = field(default_factory=list)
    orders: list[tuple[datetime, dict[str, Any]]] = field(default_factory=list)

    def add(self, at: datetime, customer: Customer, event: str, **properties: Any) -> None:
        """Add one event, unless it lies in the future."""
        if at <= self.until:
            self.rows.append((at, customer.id, event, properties))

    def add_order(self, at: datetime, customers: tuple[Customer, ...], items: list[dict[str, Any]]) -> dict[str, Any]:
        """Add an order, reported for each of the customers; return what is known of it."""
        amount = round(sum(item["price"] * item["quantity"] for item in items), 2)
        currency = customers[0].person.country.currency
        order = {"order_id": "", "items": items, "amount": amount, "currency": currency}
        if at <= self.until:
            self.rows.extend((at, customer.id, "order_placed", order) for customer in customers)
            self.orders.append((at, order))
        return order

    def finish(self) -> None:
        """Give out order numbers in order of time, and let what follows an order name it."""
        for number, (_at, order) in enumerate(sorted(self.orders, key=lambda row: row[0]), start=10_001):
            order["order_id"] = f"FW-{number}"
        for _at, _customer, _event, properties in self.rows:
            if order := properties.pop("order", None):
                properties["order_id"] = order["order_id"]
        self.rows.sort(key=lambda row: row[:3])


def live(chance: random.Random, customer: Customer, history: History) -> None:
    """Let one customer visit, buy, ask, return and stay away until the history ends."""
    zone = ZoneInfo(customer.person.timezone)
    habit = customer.habit
    at, bought = customer.joined, False
    while at < history.until:
        start = _waking_hour(chance, at, zone)
        if chance.random() * max(MONTHS) < MONTHS[start.month - 1]:
            bought |= _visit(chance, customer, start, habit.buys, history, returning=bought)
        if chance.random() < habit.leaves:
            break
        at += timedelta(days=chance.expovariate(1 / habit.days_between) + 0.5)
    if customer.joined < history.until - SALE and chance.random() < habit.buys * 0.9:
        start = _waking_hour(chance, history.until - SALE * chance.betavariate(0.4, 0.4), zone)
        _visit(chance, customer, start, 0.9, history, returning=bought)


def settle_in(chance: random.Random, customer: Customer, history: History) -> None:
    """Let a customer make an account, and do some of what the shop proposes to new ones."""
    history.add(customer.joined, customer, "account_created", country=customer.person.country.code)
    for name, share, days in (
        ("profile_completed", 0.55, 4.0), ("product_added_to_wishlist", 0.35, 6.0), ("newsletter_subscribed", 0.3, 9.0),
    ):  # fmt: skip
        if chance.random() < share:
            at = customer.joined + timedelta(days=chance.expovariate(1 / days))
            history.add(at.replace(microsecond=0), customer, name)


def share_an_order(first: Customer, second: Customer, at: datetime, product: int, history: History) -> None:
    """Let two people place one order together, reported for both: one occurrence, perhaps one mailbox."""
    sku, name, price = PRODUCTS[product % len(PRODUCTS)]
    item = {"sku": sku, "name": name, "quantity": 1, "price": _price(price, first.person.country)}
    history.add_order(at, (first, second), [item])


def _waking_hour(chance: random.Random, at: datetime, zone: ZoneInfo) -> datetime:
    hour = chance.choices(HOURS, HOUR_WEIGHTS)[0]
    minute, second = chance.randrange(60), chance.randrange(60)
    return at.astimezone(zone).replace(hour=hour, minute=minute, second=second, microsecond=0).astimezone(UTC)


def _visit(
    chance: random.Random, customer: Customer, at: datetime, buys: float, history: History, *, returning: bool
) -> bool:
    """Add one visit; return whether it ended in an order."""
    at = at.replace(microsecond=0)
    if returning and chance.random() < 0.6:
        history.add(at, customer, "login", method=chance.choice(("password", "link")))
    for _ in range(chance.randrange(1, 4)):
        at += timedelta(seconds=chance.randrange(8, 120))
        history.add(at, customer, "page_viewed", path=chance.choice(PAGES))
    viewed = chance.sample(PRODUCTS, k=chance.choice((0, 1, 1, 2, 3)) if buys < 0.9 else 2)
    for sku, name, _price_in_pounds in viewed:
        at += timedelta(seconds=chance.randrange(15, 240))
        history.add(at, customer, "product_viewed", sku=sku, name=name)
    if not viewed or chance.random() >= buys + 0.12:
        return False
    basket = viewed[: chance.randrange(1, len(viewed) + 1)]
    for sku, name, _price_in_pounds in basket:
        at += timedelta(seconds=chance.randrange(10, 90))
        history.add(at, customer, "product_added", sku=sku, name=name, quantity=1)
    at += timedelta(seconds=chance.randrange(20, 200))
    history.add(at, customer, "checkout_started", items=len(basket))
    if chance.random() >= buys + 0.25:
        return False
    _order(chance, customer, at + timedelta(seconds=chance.randrange(40, 400)), basket, history)
    return at <= history.until


def _order(
    chance: random.Random,
    customer: Customer,
    at: datetime,
    basket: list[tuple[str, str, float]],
    history: History,
) -> None:
    """Add an order and what becomes of it: delivery, and sometimes a question, a return, a review."""
    items = [
        {
            "sku": sku,
            "name": name,
            "quantity": chance.choice((1, 1, 1, 2)),
            "price": _price(price, customer.person.country),
        }
        for sku, name, price in basket
    ]
    order = history.add_order(at, (customer,), items)
    delivered = (at + timedelta(days=chance.uniform(1.5, 5.5))).replace(microsecond=0)
    history.add(delivered, customer, "order_delivered", order=order)
    if chance.random() < 0.06:
        asked = delivered + timedelta(minutes=chance.randrange(120, 5400))
        reason = chance.choice(("too small", "arrived damaged", "changed my mind"))
        history.add(asked, customer, "refund_requested", order=order, reason=reason)
    if chance.random() < 0.05:
        asked = at + timedelta(minutes=chance.randrange(600, 13_000))
        subject = chance.choice(("Where is my parcel?", "How do I care for it?", "A part is missing"))
        history.add(asked, customer, "support_ticket_opened", order=order, subject=subject)
    if chance.random() < 0.16:
        written = delivered + timedelta(minutes=chance.randrange(2880, 30_000))
        rating = chance.choices((5, 4, 3, 2, 1), (52, 28, 10, 6, 4))[0]
        history.add(written, customer, "review_submitted", order=order, sku=items[0]["sku"], rating=rating)


def _price(pounds: float, country: Country) -> float | int:
    """Round as a shop of that country would: to ten yen, elsewhere to .50 or .00."""
    amount = pounds * country.rate
    return round(amount / 10) * 10 if country.currency == "JPY" else round(amount * 2) / 2
