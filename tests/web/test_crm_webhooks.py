"""What HubSpot tells: the contacts that it names are read from it, and are contacts of ours before it is answered."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlmodel import col

from evergreet.database import Database
from models import Contact, CrmCursor, CrmRow, Suppression
from tests.connectors.crm.hubspot_sink import START, HubSpotSink
from tests.connectors.crm.test_hubspot_webhooks import SECRET, TOKEN, event, signed_v3
from tests.connectors.provider_sink import Told
from tests.web.conftest import Call


@pytest.fixture
def tell(call: Call, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Post events as HubSpot does; the clock of the tests says when."""
    with HubSpotSink(TOKEN) as sink:
        for name, value in {
            "TOKEN": TOKEN, "SECRET": SECRET, "BASE_URL": sink.url, "PUBLIC_URL": "https://mail.fernway.example",
        }.items():  # fmt: skip
            monkeypatch.setenv(f"EVERGREET_HUBSPOT_{name}", value)

        def post(*events: dict[str, Any], spoil: bytes = b"") -> int:
            body = json.dumps(events).encode()
            return call("POST", "/webhooks/hubspot", content=body + spoil, headers=signed_v3(body)).status_code

        yield sink, post


def test_a_change_there_is_a_change_here_once_it_is_answered(
    database: Database, tell: tuple[HubSpotSink, Callable[..., int]]
) -> None:
    sink, post = tell
    sink.add(51, "ada@customer.example", START - timedelta(days=2), firstname="Ada")
    sink.add(52, "bob@customer.example", START - timedelta(days=2))
    for _ in range(2):
        assert post(event("contact.creation", objectId=51), event("contact.creation", objectId=52)) == 200
    assert post(event("contact.creation", objectId=51), spoil=b" ") == 403
    sink.change(51, firstname="Ada Maria", hs_email_optout="true")
    sink.archive(52)
    for status in (502, 400):
        sink.judge = lambda method, path, body, status=status: Told(status, b"{}")  # type: ignore[misc]
        assert post(event("contact.propertyChange", objectId=51)) == 503, "it tells again"
    sink.judge = lambda method, path, body: None
    assert post(event("contact.propertyChange", objectId=51), event("contact.deletion", objectId=52)) == 200
    with database.read() as connection:
        contacts = connection.execute(select(Contact).order_by(col(Contact.source_id))).all()
        assert [(one.source, one.source_id, one.attributes.get("first_name")) for one in contacts] == [
            ("hubspot", "51", "Ada Maria"), ("hubspot", "52", None),
        ]  # fmt: skip
        assert [one.address for one in connection.execute(select(Suppression))] == ["ada@customer.example"]
        gone = connection.execute(select(col(CrmRow.source_id)).where(col(CrmRow.gone_at).is_not(None))).scalars().all()
        assert gone == ["52"]
        assert connection.execute(select(CrmCursor)).all() == [], "a pull begins where it would have begun"
