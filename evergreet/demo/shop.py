"""A sample shop: about a thousand customers, two years of what they did, written as files to import.

Everything follows from the seed and the moment at which the history ends, so the same call writes the same
files. People come and go in seasons, buy more before the winter holidays and in the sale of the last days,
and some of them have what real address books have: no email, no name, a shared address, a far timezone, a
timezone that does not exist.
"""

import csv
import gzip
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import orjson

from evergreet.demo.journeys import HABITS, MONTHS, Customer, History, live, settle_in, share_an_order
from evergreet.demo.launches import write_launches
from evergreet.demo.people import DOMAINS, Person, meet

CUSTOMERS = 1000
HISTORY = timedelta(days=730)
INVALID_TIMEZONE = "Europe/Atlantis"
CONSENT_WORDING = "Yes, write to me about my orders and how to get the most out of them."
SERVICE_TOPICS = ("orders", "onboarding", "reviews", "basket")
NEWS_TOPICS = ("offers", "news")
"""The shop's form has two boxes to tick: one for what concerns an order, one for offers and news."""


@dataclass(frozen=True, slots=True)
class Shop:
    """The files of a sample shop."""

    folder: Path

    @property
    def contacts(self) -> Path:
        """The customers, one row each."""
        return self.folder / "contacts.csv"

    @property
    def events(self) -> Path:
        """What they did, one JSON object a line, in order of time."""
        return self.folder / "events.jsonl.gz"

    @property
    def suppressions(self) -> Path:
        """The addresses that the shop's former mail tool knew not to write to."""
        return self.folder / "suppressions.csv"

    @property
    def launches(self) -> Path:
        """The products that came to market, one JSON object a line: events without a contact."""
        return self.folder / "launches.jsonl"

    @property
    def until(self) -> datetime:
        """The moment at which the history ends."""
        return datetime.fromisoformat((self.folder / "until").read_text(encoding="ascii"))

    @property
    def finished(self) -> bool:
        """Whether all files were written; the events come last, in one piece."""
        return self.events.exists()


def make_shop(folder: Path, *, until: datetime, customers: int = CUSTOMERS, seed: int = 14) -> Shop:
    """Write the files of a sample shop whose history ends at `until`."""
    chance = random.Random(seed)
    people = [_customer(chance, number, until) for number in range(1, customers + 1)]
    _move_far_away(people)
    couples = list(_couples(people))
    history = History(until)
    for customer in people:
        live(chance, customer, history)
    for number, (first, second) in enumerate(couples):
        at = (until - timedelta(hours=5 + 3 * number)).replace(microsecond=0)
        share_an_order(first, second, at, number, history)
    for customer in people:
        settle_in(random.Random(f"{seed}:{customer.id}"), customer, history)
    history.finish()
    shop = Shop(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write_contacts(shop.contacts, people)
    _write_suppressions(shop.suppressions, people, until)
    write_launches(shop.launches, until, HISTORY)
    (folder / "until").write_text(until.isoformat(), encoding="ascii")
    _write_events(shop.events, history)
    return shop


def _customer(chance: random.Random, number: int, until: datetime) -> Customer:
    person = meet(chance)
    habit = chance.choices(HABITS, [habit.share for habit in HABITS])[0]
    age = HISTORY * (1 - chance.random() ** 0.7)  # a growing shop: more joined lately
    joined = _in_season(chance, until - age, until).replace(microsecond=0)
    email = f"{person.handle}{number}@{chance.choice(DOMAINS)}"
    return Customer(
        id=f"C{number:05d}", person=person, habit=habit, joined=joined, timezone=person.timezone,
        email="" if chance.random() < 0.045 else email,
        consent=chance.choices(("true", "false", ""), (74, 9, 17))[0], has_name=chance.random() >= 0.03,
    )  # fmt: skip


def _in_season(chance: random.Random, moment: datetime, until: datetime) -> datetime:
    """Move a moment until it falls into a month with room for it."""
    while chance.random() * max(MONTHS) > MONTHS[moment.month - 1]:
        moment += timedelta(days=chance.uniform(5, 20))
    return min(moment, until - timedelta(hours=chance.uniform(1, 48)))


def _move_far_away(people: list[Customer]) -> None:
    """Make sure that the rare clocks are there, however small the shop."""
    for customer, zone in zip(
        people[3::7], ("Asia/Kathmandu", "Pacific/Chatham", "America/St_Johns", ""), strict=False
    ):
        customer.timezone = zone
    people[-1].timezone = INVALID_TIMEZONE


def _couples(people: list[Customer]) -> Iterator[tuple[Customer, Customer]]:
    """Give some customers the mailbox and family name of the one before, and let both like the shop."""
    for first, second in zip(people[40::100], people[41::100], strict=False):
        person = first.person
        first.email = second.email = f"{person.handle}.home@example.com"
        second.timezone = first.timezone
        second.person = Person(
            second.person.first_name,
            person.last_name,
            person.handle,
            person.country,
            person.timezone,
            person.phone,
        )
        first.habit = second.habit = HABITS[-1]
        first.consent = second.consent = "true"
        yield first, second


def _write_contacts(path: Path, people: list[Customer]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.DictWriter(file, _row(people[0]))
        rows.writeheader()
        rows.writerows(_row(customer) for customer in people)


def _row(customer: Customer) -> dict[str, str]:
    person, joined = customer.person, customer.joined.isoformat(timespec="seconds")
    return {
        "source_id": customer.id,
        "email": customer.email,
        "first_name": person.first_name if customer.has_name else "",
        "last_name": person.last_name if customer.has_name else "",
        "phone": person.phone,
        "locale": person.country.locale,
        "timezone": customer.timezone,
        "country": person.country.code,
        "created_at": joined,
        **{f"consent.{topic}": customer.consent for topic in SERVICE_TOPICS},
        **{f"consent.{topic}": _wants_news(customer) for topic in NEWS_TOPICS},
        "consent_at": joined if customer.consent else "",
        "consent_source": "checkout" if customer.consent else "",
        "consent_wording": CONSENT_WORDING if customer.consent else "",
    }


def _wants_news(customer: Customer) -> str:
    """Two of three who ticked the first box ticked the second as well."""
    if customer.consent != "true":
        return customer.consent
    return "true" if random.Random(f"news:{customer.id}").random() < 0.67 else "false"


def _write_suppressions(path: Path, people: list[Customer], until: datetime) -> None:
    """Write what the former tool knew: mailboxes that bounced, complaints, people who had had enough."""
    reasons = ("hard_bounce", "complaint", "unsubscribed", "unsubscribed")
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("email", "reason", "scope", "at"))
        for number, customer in enumerate(customer for customer in people[9::28] if customer.email):
            reason = reasons[number % len(reasons)]
            at = customer.joined + (until - customer.joined) * 0.6
            scope = "marketing" if reason == "unsubscribed" else "all"
            rows.writerow((customer.email, reason, scope, at.isoformat(timespec="seconds")))


def _write_events(path: Path, history: History) -> None:
    lines = b"".join(
        orjson.dumps(
            {
                "source_id": f"E{number:06d}",
                "contact": customer,
                "name": event,
                "occurred_at": at,
                "properties": properties,
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )
        for number, (at, customer, event, properties) in enumerate(history.rows, start=1)
    )
    half_done = path.with_suffix(".part")
    half_done.write_bytes(gzip.compress(lines, compresslevel=5, mtime=0))
    half_done.replace(path)
