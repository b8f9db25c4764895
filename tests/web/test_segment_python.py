"""`segment-analytics-python`, unmodified, pointed at us."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from segment import analytics
from segment.analytics.client import Client
from segment.analytics.request import APIError
from starlette.responses import Response

from evergreet.database import Database
from evergreet.web import ingest, posts
from evergreet.web.webhooks import Posted
from tests.web.segment_server import PAGE_HOST, WRITE_KEY, example, serving, stored


@pytest.fixture
def host(database: Database) -> Iterator[str]:
    with serving(database) as address:
        yield address


def test_the_example_of_the_page_works(host: str, database: Database) -> None:
    try:
        exec(example("python").replace(PAGE_HOST, host), {})
    finally:
        analytics.shutdown()
        analytics.default_client = None
    assert stored(database, "SELECT source_id, email FROM contact") == [("u1", "maya@example.com")]
    assert stored(database, "SELECT name FROM event") == [("order_completed",)]


def test_all_it_can_say_arrives_once_though_answers_are_lost(
    host: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, taken = ingest.Intake.take, []

    def forgetful(self: ingest.Intake, call: str, told: Posted) -> Response:
        taken.append(call)
        answer = take(self, call, told)
        return posts.refusal(503, "The answer is lost.") if len(taken) == 1 else answer

    monkeypatch.setattr(ingest.Intake, "take", forgetful)
    monkeypatch.setattr(posts, "RETRY_AFTER", "0")
    errors: list[Any] = []
    client = Client(WRITE_KEY, host=host, gzip=True, upload_interval=0.2, on_error=lambda *told: errors.append(told))
    yesterday = datetime.now(UTC) - timedelta(days=1)
    visitor = str(uuid.uuid4())
    client.track(event="Product Viewed", anonymous_id=visitor, properties={"price": 9.5}, timestamp=yesterday)
    client.identify(7, {"email": "ben@example.com", "createdAt": yesterday}, anonymous_id=visitor)
    client.page("7", "Shop", "Home", {"path": "/"})
    client.screen("7", None, "Cart")
    client.group("7", "acme", {"employees": 12})
    client.alias("ben", "7")
    for number in range(150):
        client.track("ben", "Order Completed", {"order_id": str(number), "products": [{"sku": "a"}]})
    client.flush()
    client.shutdown()
    assert errors == []
    assert taken == ["batch"] * 3, "one of two batches twice"
    counted = stored(database, "SELECT name, count(*) FROM event GROUP BY name ORDER BY name")
    assert counted == [("order_completed", 150), ("page_viewed", 2), ("product_viewed", 1)]
    assert stored(database, "SELECT count(DISTINCT contact_id), count(*) FROM contact, event") == [(1, 153)]
    ((seen,),) = stored(database, "SELECT occurred_at FROM event WHERE name = 'product_viewed'")
    at = datetime.fromtimestamp(seen / 1e6, UTC) if isinstance(seen, int) else seen
    assert abs(at - yesterday) < timedelta(minutes=1)


def test_a_wrong_key_and_what_cannot_be_used_are_told_to_the_client(host: str, database: Database) -> None:
    errors: list[APIError] = []
    for key, user in (("a-wrong-key-0001", "u1"), (WRITE_KEY, "u" * 300)):
        client = Client(key, host=host, upload_interval=0.1, on_error=lambda error, _: errors.append(error))
        client.track(user, "x")
        client.flush()
        client.shutdown()
    assert [(error.status, error.code) for error in errors] == [(401, "unauthorized"), (400, "invalid_request")]
    assert "300 characters" in str(errors[1].message)
    assert stored(database, "SELECT count(*) FROM event") == [(0,)]
