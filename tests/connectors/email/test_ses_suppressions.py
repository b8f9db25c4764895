"""The account's suppression list is read to its end, page by page, as botocore's own client asks for it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
from botocore.session import Session

from connectors.calling import make_client
from connectors.email.ses import Ses
from connectors.email.ses_settings import SesSettings
from connectors.email.ses_signing import Signer, credentials_of
from evergreet.contracts import Suppressed, Verdict
from evergreet.errors import ConnectorError, Misconfigured, Retryable
from tests.connectors.email.ses_sink import KEY_ID, REGION, SECRET, SesSink, told_off
from tests.connectors.provider_sink import Told

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
THEN = NOW - timedelta(days=30)


@pytest.fixture
def sink() -> Iterator[SesSink]:
    with SesSink() as running:
        yield running


@pytest.fixture
def read(sink: SesSink) -> Iterator[Callable[..., Iterator[Suppressed]]]:
    settings = SesSettings.model_validate(
        {"region": REGION, "access_key_id": KEY_ID, "secret_access_key": SECRET, "base_url": sink.url}
    )
    connector = Ses(settings, make_client(1), Signer(REGION, credentials_of(settings)))
    yield lambda since=None: connector.suppressions(since, NOW)
    connector.close()


def page(*entries: Any, token: str = "") -> Told:
    return Told(200, {"SuppressedDestinationSummaries": list(entries), **({"NextToken": token} if token else {})})


def entry(address: str, reason: str) -> dict[str, Any]:
    return {"EmailAddress": address, "Reason": reason, "LastUpdateTime": THEN.timestamp()}


def test_the_list_is_read_to_its_end_and_each_reason_has_its_verdict(
    sink: SesSink, read: Callable[..., Iterator[Suppressed]]
) -> None:
    token = "a+/b= c&~"
    sink.pages = [
        page(entry("a@x.example", "BOUNCE"), entry("b@x.example", "COMPLAINT"), token=token), page(token="t2"),
        page(entry("c@x.example", "NEWLY_INVENTED"), entry("d@x.example", "BOUNCE"), 7, {"Reason": 5}),
    ]  # fmt: skip
    assert sorted(read(THEN), key=lambda one: one.address) == [
        Suppressed("a@x.example", Verdict.INVALID, THEN), Suppressed("b@x.example", Verdict.COMPLAINED, THEN),
        Suppressed("d@x.example", Verdict.INVALID, THEN),
    ]  # fmt: skip
    asked = [parse_qs(query) for query in sink.queries]
    assert [query.get("NextToken") for query in asked] == [None, [token], ["t2"]]


def test_it_is_asked_for_as_their_own_client_asks(sink: SesSink, read: Callable[..., Iterator[Suppressed]]) -> None:
    sink.pages = [page(token="t/1"), page(), page()]
    assert list(read(THEN)) == []
    client = Session().create_client(
        "sesv2", region_name=REGION, endpoint_url=sink.url, aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET
    )
    client.list_suppressed_destinations(StartDate=THEN, EndDate=NOW, NextToken="t/1", PageSize=100)
    client.close()
    ours, theirs = (sorted(query.split("&")) for query in sink.queries[1:])
    assert ours == theirs


def test_after_an_error_it_goes_on_with_the_page_that_was_not_read(
    sink: SesSink, read: Callable[..., Iterator[Suppressed]]
) -> None:
    sink.pages = [
        page(entry("a@x.example", "BOUNCE"), token="t1"), told_off("TooManyRequestsException", "slow", 429),
        Told(200, b'{"SuppressedDestinationSumm'), Told(500), page(entry("b@x.example", "BOUNCE")),
    ]  # fmt: skip
    reading = read()
    found: list[str] = []
    errors: list[ConnectorError] = []
    while True:
        try:
            found.append(next(reading).address)
        except StopIteration:
            break
        except ConnectorError as error:
            errors.append(error)
    assert found == ["a@x.example", "b@x.example"]
    assert [type(error) for error in errors] == [Retryable] * 3
    assert [parse_qs(query).get("NextToken") for query in sink.queries] == [None, *[["t1"]] * 4]


def test_a_place_that_has_ended_is_read_from_the_beginning(
    sink: SesSink, read: Callable[..., Iterator[Suppressed]]
) -> None:
    sink.pages = [
        page(token="t1"),
        told_off("InvalidNextTokenException", "ended"),
        page(entry("a@x.example", "BOUNCE")),
    ]
    reading = read()
    with pytest.raises(Retryable):
        next(reading)
    assert [one.address for one in reading] == ["a@x.example"]
    assert "NextToken" not in sink.queries[2]


@pytest.mark.parametrize(
    "pages",
    [
        [told_off("AccessDeniedException", "not authorized to perform: ses:ListSuppressedDestinations", 403)],
        [told_off("BadRequestException", "no")],
        [page(token="same"), page(token="same")],
    ],
)
def test_what_never_gets_better_is_our_fault(
    sink: SesSink, read: Callable[..., Iterator[Suppressed]], pages: list[Told]
) -> None:
    sink.pages = pages
    with pytest.raises(Misconfigured):
        list(read())
