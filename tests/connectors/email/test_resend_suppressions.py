"""Resend's suppressions are read to their end, page by page, as its own package reads them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
import resend
from resend.suppressions._suppression import SuppressionOrigin

from connectors.calling import make_client
from connectors.email.resend import Resend
from connectors.email.resend_events import ORIGINS
from connectors.email.resend_settings import ResendSettings
from evergreet.contracts import Suppressed, SuppressionSource, Verdict
from evergreet.errors import Misconfigured, Retryable
from tests.connectors.email.resend_sink import ResendSink
from tests.connectors.provider_sink import Told

KEY = "re_canary-d0nt-tell"
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


def entry(number: int, origin: str = "bounce", at: str = "2026-03-09T12:30:00.000Z") -> dict[str, Any]:
    return {"id": f"s-{number}", "email": f"b{number}@a.example", "origin": origin, "source_id": None, "created_at": at}


@pytest.fixture
def sink() -> Iterator[ResendSink]:
    with ResendSink(KEY) as running:
        yield running
    assert running.faults == []


@pytest.fixture
def source(sink: ResendSink) -> Iterator[Resend]:
    connector = Resend(ResendSettings.model_validate({"api_key": KEY, "base_url": sink.url}), make_client(1))
    yield connector
    connector.close()


def test_every_origin_that_their_package_knows_has_a_verdict() -> None:
    assert set(ORIGINS) == set(get_args(SuppressionOrigin))


def test_all_pages_are_read_and_each_origin_has_its_verdict(
    sink: ResendSink, source: Resend, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(source, SuppressionSource)
    first = datetime(2025, 1, 1, tzinfo=UTC)
    sink.suppressed = [entry(n, at=(first + timedelta(hours=n)).isoformat()) for n in range(205)]
    sink.suppressed += [entry(205, "complaint"), entry(206, "manual"), entry(207, "newly invented"), entry(208, at="?")]
    found = {one.address: one for one in source.suppressions(None, NOW)}
    assert set(found) == {f"b{n}@a.example" for n in range(209)} - {"b207@a.example"}
    assert found["b1@a.example"] == Suppressed("b1@a.example", Verdict.INVALID, first + timedelta(hours=1))
    assert [found[f"b{n}@a.example"].verdict for n in (205, 206)] == [Verdict.COMPLAINED, Verdict.UNSUBSCRIBED]
    assert found["b208@a.example"].at == NOW
    assert [page.get("after") for page in sink.pages] == [None, "s-99", "s-199"]
    newer = [one.address for one in source.suppressions(datetime(2026, 3, 1, tzinfo=UTC), NOW)]
    assert newer == [f"b{n}@a.example" for n in (205, 206, 208)]

    monkeypatch.setattr(resend, "api_key", KEY)
    monkeypatch.setattr(resend, "api_url", sink.url)
    theirs = resend.Suppressions.list({"limit": 100, "after": "s-99"})
    assert sink.pages[-1] == sink.pages[1]
    assert [one["email"] for one in theirs["data"]] == [f"b{n}@a.example" for n in range(100, 200)]


def test_after_an_error_it_goes_on_with_the_page_that_was_not_read(sink: ResendSink, source: Resend) -> None:
    sink.suppressed = [entry(n) for n in range(150)]
    reading = source.suppressions(None, NOW)
    first = [next(reading) for _ in range(100)]
    for told in (Told(429, {"name": "rate_limit_exceeded", "message": "slow"}), Told(503, {}), Told(200, {"data": []})):
        sink.judge = lambda _, told=told: told  # type: ignore[misc]
        with pytest.raises(Retryable) as raised:
            next(reading)
        assert "may have taken" not in raised.value.reason
    sink.judge = lambda _: None
    assert len({one.address for one in (*first, *reading)}) == 150


def test_an_empty_list_and_what_is_no_list(sink: ResendSink, source: Resend) -> None:
    assert list(source.suppressions(None, NOW)) == []
    cases: list[tuple[Told, type[Exception]]] = [
        (Told(200, {"data": {}, "has_more": False}), Retryable), (Told(200, {"data": [], "has_more": 1}), Retryable),
        (Told(200, {"data": [], "has_more": True}), Misconfigured),
        (Told(200, {"data": [entry(1)], "has_more": True}), Misconfigured), (Told(302, {}), Misconfigured),
        (Told(401, {"name": "restricted_api_key", "message": f"{KEY} may only send"}), Misconfigured),
        (Told(422, {"name": "validation_error", "message": "limit"}), Misconfigured),
    ]  # fmt: skip
    for told, error in cases:
        sink.judge = lambda _, told=told: told  # type: ignore[misc]
        with pytest.raises(error) as raised:
            list(source.suppressions(None, NOW))
        assert KEY not in str(raised.value)
