"""The page of the vocabulary names every event that a lifecycle, a campaign or the sample shop speaks of."""

import re
from typing import Any

import pytest

from evergreet.campaign import CAMPAIGN, Campaign, Email, broadcast, event, silence
from evergreet.conditions import did, last
from evergreet.durations import days
from evergreet.feedback.words import BY_MACHINE, NAMES
from evergreet.ingest.messages import event_name
from evergreet.lifecycle import PRESETS, lifecycle
from evergreet.presets import vocabulary
from evergreet.registry import find_campaigns
from evergreet.settings import Settings
from tests.documents import ROOT

SEGMENTS = """
Products Searched, Product List Viewed, Product List Filtered, Promotion Viewed, Promotion Clicked, Product Clicked,
Product Viewed, Product Added, Product Removed, Cart Viewed, Checkout Started, Checkout Step Viewed,
Checkout Step Completed, Payment Info Entered, Order Completed, Order Updated, Order Refunded, Order Cancelled,
Coupon Entered, Coupon Applied, Coupon Denied, Coupon Removed, Product Added to Wishlist,
Product Removed from Wishlist, Wishlist Product Added to Cart, Product Shared, Cart Shared, Product Reviewed
"""
"""Segment's events of a shop (https://segment.com/docs/connections/spec/ecommerce/v2/)."""

ROW = re.compile(r"^\| (?:→ )?`([a-z_]+)` \|", re.MULTILINE)


@pytest.fixture(scope="module")
def described() -> list[str]:
    return ROW.findall((ROOT / "docs" / "vocabulary.md").read_text("utf-8"))


def groups() -> dict[str, tuple[str, ...]]:
    return {name: value for name, value in vars(vocabulary).items() if name.isupper() and isinstance(value, tuple)}


def named_in(value: Any) -> set[str]:
    """Return the names of events anywhere in a campaign's canonical JSON."""
    match value:
        case {"kind": "event" | "broadcast", "name": str(name)}:
            return {name}
        case dict():
            found = {value["event"]} if isinstance(value.get("event"), str) else set()
            lists = [value[key] for key in ("after", "broken_by", "having", "of") if isinstance(value.get(key), list)]
            return found | {name for names in lists for name in names} | named_in(list(value.values()))
        case list() | tuple():
            return {name for item in value for name in named_in(item)}
        case _:
            return set()


def test_the_page_describes_each_event_of_the_vocabulary_once(described: list[str]) -> None:
    known = [name for group in groups().values() for name in group]
    assert len(described) == len(set(described))
    assert set(described) == set(known) == vocabulary.KNOWN


def test_every_event_of_segments_e_commerce_specification_is_known_and_called_so() -> None:
    page = (ROOT / "docs" / "vocabulary.md").read_text("utf-8")
    called = set(re.findall(r"^\| `([a-z_]+)` \|.*\| Segment \|$", page, re.MULTILINE))
    assert called == {event_name(written.strip(), {}) for written in SEGMENTS.split(",")}


def test_what_providers_tell_is_described(described: list[str]) -> None:
    assert {*NAMES.values(), *BY_MACHINE.values()} == {*vocabulary.MAIL, "email_link_clicked"}


def test_the_groups_do_not_overlap_but_where_one_is_made_of_others() -> None:
    single = {name: group for name, group in groups().items() if name not in {"ACTIVITY", "BONDED", "CART"}}
    everything = [name for group in single.values() for name in group]
    assert len(everything) == len(set(everything))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_speaks_of_described_events_only(name: str, described: list[str]) -> None:
    used = {event for rule in lifecycle(name).rules for event in rule.event_names}
    assert used <= set(described)


def test_campaigns_and_the_checklist_speak_of_described_events_only(described: list[str]) -> None:
    used = {milestone.event for milestone in Settings().checklist}
    for found in find_campaigns("flows").values():
        used |= named_in(CAMPAIGN.dump_python(found.campaign.resolve(found.options()), mode="json"))
    assert "order_placed" in used
    assert used <= set(described)


def test_the_names_of_every_kind_of_trigger_and_condition_are_found() -> None:
    campaign = Campaign(
        "all", topic="news", steps=(Email("one", template="x", unless=~did("a") & last("b").less_than(days(1))),),
        trigger=event("c") | broadcast("d") | silence(days(3), after=("e",), broken_by=("f",), having=("g",)),
    )  # fmt: skip
    assert named_in(CAMPAIGN.dump_python(campaign, mode="json")) == set("abcdefg")


def test_the_sample_shop_speaks_of_described_events_only(described: list[str]) -> None:
    source = (ROOT / "evergreet" / "demo" / "journeys.py").read_text("utf-8")
    said = set(re.findall(r"history\.add\(\w+, customer, \"(\w+)\"", source))
    assert "page_viewed" in said
    assert said <= set(described)
