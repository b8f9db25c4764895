"""Postmark's lists of both streams are read as they come, with what its own package reads of them."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from postmark.sync import ServerClient

from connectors.calling import make_client
from connectors.email.postmark import Postmark
from connectors.email.postmark_settings import PostmarkSettings
from connectors.email.postmark_suppressions import _listed
from connectors.json_bodies import read_objects
from evergreet.contracts import Suppressed, SuppressionSource, Verdict
from evergreet.errors import Misconfigured, Retryable, Unreadable
from tests.connectors.email.postmark_sink import PostmarkSink
from tests.connectors.provider_sink import Told

TOKEN = "canary-d0nt-tell-5f1c"
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
At = Callable[..., Postmark]


def entry(
    address: str, reason: str, at: str = "2026-03-09T08:58:33-05:00", origin: str = "Recipient"
) -> dict[str, Any]:
    return {"EmailAddress": address, "SuppressionReason": reason, "Origin": origin, "CreatedAt": at}


@pytest.fixture
def sink() -> Iterator[PostmarkSink]:
    with PostmarkSink(TOKEN) as running:
        running.suppressed = {
            "outbound": [
                entry("gone@a.example", "HardBounce"), entry("full@a.example", "SomethingNew"),
                entry("old@a.example", "SpamComplaint", "2026-01-02T23:30:00-05:00"),
            ],
            "broadcast": [entry("left@a.example", "ManualSuppression"), entry("ü@a.example", "ManualSuppression", "?")],
        }  # fmt: skip
        yield running
    assert running.faults == []


@pytest.fixture
def source(sink: PostmarkSink) -> Iterator[Postmark]:
    settings = PostmarkSettings.model_validate({"server_token": TOKEN, "base_url": sink.url})
    connector = Postmark(settings, make_client(1))
    yield connector
    connector.close()


def test_both_streams_are_read_and_each_reason_has_its_verdict(sink: PostmarkSink, source: Postmark) -> None:
    assert isinstance(source, SuppressionSource)
    at = datetime(2026, 3, 9, 13, 58, 33, tzinfo=UTC)
    assert list(source.suppressions(None, NOW)) == [
        Suppressed("gone@a.example", Verdict.INVALID, at),
        Suppressed("old@a.example", Verdict.COMPLAINED, datetime(2026, 1, 3, 4, 30, tzinfo=UTC)),
        Suppressed("left@a.example", Verdict.UNSUBSCRIBED, at),
        Suppressed("ü@a.example", Verdict.UNSUBSCRIBED, NOW),
    ]
    found = [one.address for one in source.suppressions(datetime(2026, 3, 1, 2, tzinfo=UTC), NOW)]
    assert found == ["gone@a.example", "left@a.example", "ü@a.example"]
    assert [asked for asked, _ in sink.dumps] == ["outbound", "broadcast"] * 2
    assert sink.dumps[-1][1] == {"fromdate": "2026-02-28"}


def test_their_own_package_reads_the_same_and_asks_in_the_same_way(sink: PostmarkSink) -> None:
    sink.suppressed["outbound"].pop(1)  # their package knows three reasons, and fails on others
    with ServerClient(TOKEN, base_url=sink.url) as client:
        read = client.suppressions.dump("outbound", from_date=datetime(2026, 3, 1, tzinfo=UTC).date())
    assert [(one.email_address, one.suppression_reason) for one in read] == [("gone@a.example", "HardBounce")]
    assert sink.dumps == [("outbound", {"fromdate": "2026-03-01"})]


def test_after_an_error_it_goes_on_with_the_stream_that_was_not_read(sink: PostmarkSink, source: Postmark) -> None:
    reading = source.suppressions(None, NOW)
    first = [next(reading), next(reading)]
    sink.instead = lambda _: Told(500, {"ErrorCode": 0, "Message": "Internal error"})
    with pytest.raises(Retryable, match="500 to a question"):
        next(reading)
    sink.instead = lambda _: Told(429, {"ErrorCode": 429, "Message": "slow"})
    with pytest.raises(Retryable):
        next(reading)
    sink.instead = lambda _: None
    assert [one.address for one in (*first, *reading)] == [
        "gone@a.example", "old@a.example", "left@a.example", "ü@a.example",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("told", "error"),
    [
        (Told(422, {"ErrorCode": 1226, "Message": "no such stream"}), Misconfigured),
        (Told(401, {"ErrorCode": 10, "Message": f"bad {TOKEN}"}), Misconfigured),
        (Told(302, {}), Misconfigured), (Told(200, {"Suppressions": {}}), Retryable), (Told(200, []), Retryable),
        (Told(200, {"Suppressions": [1]}), Retryable), (Told(200, {"Else": []}), Retryable),
    ],
)  # fmt: skip
def test_what_is_no_list_is_a_typed_error(
    sink: PostmarkSink, source: Postmark, told: Told, error: type[Exception]
) -> None:
    sink.instead = lambda _: told
    with pytest.raises(error) as raised:
        list(source.suppressions(None, NOW))
    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a_list_is_read_in_pieces_of_any_size(size: int) -> None:
    body = b' { "Suppressions" : [ {"a": {"b": "}"}} , {"c": "] }"} ] }\n'

    def read(content: bytes) -> list[Any]:
        return list(read_objects(_listed(content[at : at + size] for at in range(0, len(content), size))))

    assert read(body) == [{"a": {"b": "}"}}, {"c": "] }"}]
    assert read(b'{"Suppressions":[]}') == []
    for broken in (body[:-2], body[:-4], body[:30], b"", b"x" * 2000, body + b"}", b'{"Suppressions":[],"More":[]}'):
        with pytest.raises(Unreadable):
            read(broken)
