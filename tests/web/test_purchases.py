"""A purchase at Stripe, posted as Stripe posts it, starts the campaign that thanks for it."""

import json
import logging
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import select
from sqlmodel import col

from evergreet.clock import FrozenClock
from evergreet.database import Database
from evergreet.registry import find_campaign
from evergreet.settings import Settings
from evergreet.web.app import create_app
from models import Contact, Event, ProviderEvent
from tests.connectors.events import test_shopify
from tests.connectors.events.test_stripe import CHARGE, CHECKOUT, INVOICE, SECRET, header
from tests.story import Story
from tests.web.conftest import KEY, Call, caller


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREET_STRIPE_WEBHOOK_SECRET", SECRET)


def post(call: Call, clock: FrozenClock, word: str, about: dict[str, Any], secret: str = SECRET) -> httpx.Response:
    stamp = int(clock.instant.timestamp())
    body = json.dumps({"id": "evt_7", "type": word, "created": stamp, "data": {"object": about}}).encode()
    return call("POST", "/webhooks/stripe", content=body, headers={"Stripe-Signature": header(body, secret, at=stamp)})


def events(database: Database) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(select(Event.__table__).order_by(col(Event.id))))  # type: ignore[attr-defined]


def test_a_purchase_starts_the_campaign_that_thanks_for_it_once(
    call: Call, database: Database, clock: FrozenClock
) -> None:
    story = Story(database, clock)
    found = find_campaign("flows", "thank-you")
    campaign, options = found.campaign, found.options()
    story.launch(campaign, options)
    paid = CHECKOUT | {"invoice": "in_7"}
    told = [("charge.refunded", CHARGE), ("checkout.session.completed", paid), ("invoice.paid", INVOICE),
            ("checkout.session.completed", paid), ("product.updated", {"id": "prod_7"})]  # fmt: skip
    for word, about in told:
        answer = post(call, clock, word, about)
        assert (answer.status_code, answer.content) == (200, b"")
    assert [event.name for event in events(database)] == ["order_refunded", "order_placed"]
    for _ in range(2):
        story.run(campaign, options)
    assert story.sender.recipients == ["maya@example.com"]
    with database.read() as connection:
        assert connection.execute(select(ProviderEvent)).first() is None


def test_what_is_not_genuine_or_unreadable_is_stored_nowhere(
    call: Call, database: Database, clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert post(call, clock, "checkout.session.completed", CHECKOUT, "whsec_other").status_code == 403
    stamp = int(clock.instant.timestamp())
    signed = {"Stripe-Signature": header(b"[]", SECRET, at=stamp)}
    assert call("POST", "/webhooks/stripe", content=b"[]", headers=signed).status_code == 400
    nobody = {"customer": None, "customer_details": None}
    assert post(call, clock, "checkout.session.completed", CHECKOUT | nobody).status_code == 200
    assert events(database) == []
    assert "1 of 1 events told by stripe were left out: {'no contact': 1}" in caplog.text
    assert not [word for word in (SECRET, "maya@", "cus_7") if word in caplog.text]


def test_an_order_and_its_refund_at_shopify_are_events_of_one_contact(
    call: Call, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREET_SHOPIFY_WEBHOOK_SECRET", test_shopify.SECRET)
    for topic, about in [("orders/create", test_shopify.ORDER), ("orders/paid", test_shopify.ORDER),
                         ("refunds/create", test_shopify.REFUND), ("shop/update", {"id": 1})]:  # fmt: skip
        body = json.dumps(about).encode()
        headers = {**test_shopify.signed(body), "X-Shopify-Topic": topic}
        assert call("POST", "/webhooks/shopify", content=body, headers=headers).status_code == 200
        assert call("POST", "/webhooks/shopify", content=body + b" ", headers=headers).status_code == 403
    told = events(database)
    assert [(event.name, event.properties["amount"]) for event in told] == [
        ("order_placed", 598.94), ("order_refunded", 209.95),
    ]  # fmt: skip
    assert len({event.contact_id for event in told}) == 1
    person = {**test_shopify.PRIVACY, "customer": {"id": test_shopify.ORDER["customer"]["id"]}}
    body = json.dumps(person).encode()
    headers = {**test_shopify.signed(body), "X-Shopify-Topic": "customers/redact"}
    assert call("POST", "/webhooks/shopify", content=body, headers=headers).status_code == 200
    with database.read() as connection:
        assert None not in connection.execute(select(col(Contact.erased_at))).scalars().all()
    assert events(database) == told


def test_without_its_secret_nothing_is_taken(
    call: Call, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("EVERGREET_STRIPE_WEBHOOK_SECRET")
    assert post(call, clock, "checkout.session.completed", CHECKOUT).status_code == 404
    assert "EVERGREET_STRIPE_WEBHOOK_SECRET" in caplog.text


def test_an_event_is_called_as_the_settings_say(database: Database, clock: FrozenClock) -> None:
    settings = Settings(secret_keys=(SecretStr(KEY),), event_names={"order_placed": "order_completed"})
    post(caller(create_app(database, settings, clock)), clock, "checkout.session.completed", CHECKOUT)
    assert [event.name for event in events(database)] == ["order_completed"]
