"""Brevo's blocked contacts are read to their end, page by page, as its description has it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from brevo import Brevo as TheirClient
from brevo.transactional_emails.types import get_transac_blocked_contacts_response_contacts_item_reason as described

from connectors.calling import make_client
from connectors.email.brevo import Brevo
from connectors.email.brevo_settings import BrevoSettings
from connectors.email.brevo_suppressions import REASONS
from evergreet.contracts import Suppressed, SuppressionSource, Verdict
from evergreet.errors import Misconfigured, Retryable
from tests.connectors.email.brevo_sink import BrevoSink, problem
from tests.connectors.provider_sink import Told

KEY = "xkeysib-canary-d0nt-tell"
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


def blocked(address: str, code: str, at: str = "2026-03-09T12:30:00Z", message: str = "…") -> dict[str, Any]:
    return {
        "email": address,
        "senderEmail": "a@shop.com",
        "reason": {"code": code, "message": message},
        "blockedAt": at,
    }


@pytest.fixture
def sink(fixtures: Path) -> Iterator[BrevoSink]:
    with BrevoSink(KEY, fixtures / "specs" / "brevo_mail_contacts.json") as running:
        yield running
    assert running.faults == []


@pytest.fixture
def source(sink: BrevoSink) -> Iterator[Brevo]:
    connector = Brevo(BrevoSettings.model_validate({"api_key": KEY, "base_url": sink.url}), make_client(1))
    yield connector
    connector.close()


def test_every_reason_of_its_description_has_a_verdict() -> None:
    code = described.GetTransacBlockedContactsResponseContactsItemReason.model_fields["code"].annotation
    words = {word for part in (code, *get_args(code)) for each in (part, *get_args(part)) for word in get_args(each)}
    assert set(REASONS) == {word for word in words if isinstance(word, str)}


def test_all_pages_are_read_and_each_reason_has_its_verdict(sink: BrevoSink, source: Brevo) -> None:
    assert isinstance(source, SuppressionSource)
    start = datetime(2025, 1, 1, tzinfo=UTC)
    sink.blocked = [
        blocked(f"b{n}@a.example", "hardBounce", (start + timedelta(hours=n)).isoformat().replace("+00:00", "Z"))
        for n in range(205)
    ]
    sink.blocked += [
        blocked("left@a.example", "unsubscribedViaEmail"), blocked("out@a.example", "adminBlocked"),
        blocked("spam@a.example", "contactFlaggedAsSpam"), blocked("new@a.example", "somethingNew"),
        blocked("full@a.example", "hardBounce", message="552 5.2.2 mailbox full"),
    ]  # fmt: skip
    found = {one.address.partition("@")[0]: one for one in source.suppressions(None, NOW)}
    assert set(found) == {*(f"b{n}" for n in range(205)), "left", "out", "spam"}
    assert found["b1"] == Suppressed("b1@a.example", Verdict.INVALID, start + timedelta(hours=1))
    assert (found["spam"].verdict, found["spam"].at) == (Verdict.COMPLAINED, datetime(2026, 3, 9, 12, 30, tzinfo=UTC))
    assert {found[name].verdict for name in ("left", "out")} == {Verdict.UNSUBSCRIBED}
    assert [page["offset"] for page in sink.pages] == ["0", "100", "200"]
    found = {one.address: one for one in source.suppressions(datetime(2026, 3, 2, tzinfo=UTC), NOW)}
    assert len(found) == 3
    assert (sink.pages[-1]["startDate"], sink.pages[-1]["endDate"]) == ("2026-03-01", "2026-03-10")
    with httpx.Client() as connection:
        client = TheirClient(api_key=KEY, base_url=f"{sink.url}/v3", httpx_client=connection)
        theirs = client.transactional_emails.get_transac_blocked_contacts(
            start_date="2026-03-01", end_date="2026-03-10", sort="asc"
        )
    assert sink.pages[-1].keys() == sink.pages[-2].keys() - {"limit", "offset"}
    assert {one.email for one in theirs.contacts or []} >= set(found)


def test_after_an_error_it_goes_on_with_the_page_that_was_not_read(sink: BrevoSink, source: Brevo) -> None:
    sink.blocked = [blocked(f"b{n}@a.example", "hardBounce", f"2026-01-{n // 10 + 1:02}T00:00:00Z") for n in range(150)]
    reading = source.suppressions(None, NOW)
    first = [next(reading) for _ in range(100)]
    sink.judge = lambda _: problem(429, "too_many_requests", "slow")
    with pytest.raises(Retryable):
        next(reading)
    sink.judge = lambda _: problem(503, "unavailable")
    with pytest.raises(Retryable) as raised:
        next(reading)
    assert "may have taken" not in raised.value.reason
    sink.judge = lambda _: None
    assert len({one.address for one in (*first, *reading)}) == 150


def test_an_empty_list_and_what_is_no_list(sink: BrevoSink, source: Brevo) -> None:
    assert list(source.suppressions(None, NOW)) == []
    sink.judge = lambda _: Told(200, {})
    assert list(source.suppressions(None, NOW)) == []
    page = [blocked("a@a.example", "hardBounce")]
    cases: list[tuple[Told, type[Exception]]] = [
        (Told(200, {"count": 3, "contacts": []}), Retryable), (Told(200, {"contacts": {}}), Retryable),
        (Told(200, {"count": 9, "contacts": page}), Misconfigured), (problem(400, "invalid_parameter"), Misconfigured),
        (problem(401, "unauthorized", f"bad {KEY}"), Misconfigured), (Told(302, {}), Misconfigured),
    ]  # fmt: skip
    for told, error in cases:
        sink.judge = lambda _, told=told: told  # type: ignore[misc]
        with pytest.raises(error) as raised:
            list(source.suppressions(None, NOW))
        assert KEY not in str(raised.value)
