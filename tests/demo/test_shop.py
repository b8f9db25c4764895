"""The sample shop: deterministic, plausible, and with the oddities that real address books have."""

import csv
import gzip
import json
import re
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import phonenumbers
import pytest
from email_validator import validate_email

from evergreet.demo.shop import INVALID_TIMEZONE, Shop, make_shop
from tests.conftest import NOW


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("shop"), until=NOW)


@pytest.fixture(scope="module")
def contacts(shop: Shop) -> list[dict[str, str]]:
    with shop.contacts.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def events(shop: Shop) -> list[dict[str, Any]]:
    with gzip.open(shop.events) as file:
        return [json.loads(line) for line in file]


def test_the_same_seed_and_moment_write_the_same_bytes(shop: Shop, tmp_path: Path) -> None:
    again = make_shop(tmp_path, until=NOW)
    for path in (again.contacts, again.events, again.suppressions):
        assert path.read_bytes() == (shop.folder / path.name).read_bytes()


def test_another_seed_writes_another_shop(shop: Shop, tmp_path: Path) -> None:
    assert make_shop(tmp_path, until=NOW, seed=2).contacts.read_bytes() != shop.contacts.read_bytes()


def test_the_history_covers_about_two_years_and_ends_at_the_moment(events: list[dict[str, Any]]) -> None:
    times = [datetime.fromisoformat(event["occurred_at"]) for event in events]
    assert times == sorted(times)
    assert times[-1] <= NOW
    assert times[-1] > NOW - timedelta(hours=6)
    assert timedelta(days=600) < NOW - times[0] < timedelta(days=735)


def test_fewer_people_go_each_step_further_towards_an_order(events: list[dict[str, Any]]) -> None:
    count = Counter(event["name"] for event in events)
    way = [
        "page_viewed",
        "product_viewed",
        "product_added",
        "checkout_started",
        "order_placed",
        "refund_requested",
    ]
    numbers = [count[name] for name in way]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[-1] > 20


def test_what_follows_an_order_names_it_and_happens_later(events: list[dict[str, Any]]) -> None:
    placed = {
        event["properties"]["order_id"]: event["occurred_at"] for event in events if event["name"] == "order_placed"
    }
    following = [
        event for event in events if event["name"] in {"order_delivered", "refund_requested", "review_submitted"}
    ]
    assert len(following) > 500
    assert all(placed[event["properties"]["order_id"]] < event["occurred_at"] for event in following)


def test_the_amount_of_an_order_is_the_sum_of_its_items(events: list[dict[str, Any]]) -> None:
    orders = [event["properties"] for event in events if event["name"] == "order_placed"]
    for order in orders:
        assert order["amount"] == pytest.approx(sum(item["price"] * item["quantity"] for item in order["items"]))
    assert {order["currency"] for order in orders} >= {"GBP", "USD", "EUR", "JPY", "BRL", "PLN", "SEK"}


def test_no_address_and_no_number_belongs_to_anybody(contacts: list[dict[str, str]]) -> None:
    for contact in contacts:
        if contact["email"]:
            validate_email(contact["email"], check_deliverability=False)
            assert re.search(r"@(example\.(com|org|net)|[a-z]+\.example)$", contact["email"])
        if contact["phone"]:
            assert phonenumbers.is_valid_number(phonenumbers.parse(contact["phone"]))


def test_the_oddities_of_a_real_address_book_are_there(shop: Shop, contacts: list[dict[str, str]]) -> None:
    addresses = Counter(contact["email"] for contact in contacts)
    zones = {contact["timezone"] for contact in contacts}
    assert 20 < addresses.pop("") < 80
    assert sum(count == 2 for count in addresses.values()) == 10
    assert sum(not contact["first_name"] for contact in contacts) > 10
    assert {"Asia/Kathmandu", "Pacific/Chatham", "America/St_Johns", ""} <= zones
    assert zones - available_timezones() == {"", INVALID_TIMEZONE}
    assert Counter(contact["consent.orders"] for contact in contacts)["false"] > 50
    assert len({contact["locale"] for contact in contacts}) >= 9
    assert shop.suppressions.read_text().count("@") > 30


def test_couples_report_one_order_from_one_mailbox(
    contacts: list[dict[str, str]], events: list[dict[str, Any]]
) -> None:
    address = {contact["source_id"]: contact["email"] for contact in contacts}
    buyers: dict[str, list[str]] = {}
    for event in events:
        if event["name"] == "order_placed":
            buyers.setdefault(event["properties"]["order_id"], []).append(event["contact"])
    joint = [people for people in buyers.values() if len(people) == 2]
    assert len(joint) == 10
    assert all(address[first] == address[second] != "" for first, second in joint)
