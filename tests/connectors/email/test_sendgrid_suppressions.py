"""SendGrid's lists are read to their end, page by page, as its description has it; what may pass is no verdict."""

import json
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sendgrid import SendGridAPIClient
from sqlalchemy import select
from sqlmodel import col
from typer.testing import CliRunner

from connectors.email.sendgrid import SendGrid
from evergreet.cli import app
from evergreet.contracts import Suppressed, Verdict
from evergreet.database import Database, upgrade
from evergreet.errors import ConnectorError, Misconfigured, Retryable
from models import Suppression
from tests.connectors.email.conftest import SENDGRID_KEY
from tests.connectors.email.sendgrid_lists import Lists
from tests.connectors.email.sendgrid_wire import SILENT, Conduct, WireServer
from tests.connectors.provider_sink import Told

Connect = Callable[..., SendGrid]
NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
THEN = NOW - timedelta(days=30)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture
def lists(sendgrid_spec: Path | None) -> Iterator[Lists]:
    """A request that is not as the vendor describes it fails the test."""
    spec = sendgrid_spec.with_name("sendgrid_suppressions_v3.json") if sendgrid_spec else None
    with Lists(SENDGRID_KEY, spec) as running:
        yield running
    assert running.faults == []


def entry(address: str, at: datetime = THEN, **more: Any) -> dict[str, Any]:
    return {"created": int(at.timestamp()), "email": address, **more}


def bounce(address: str, status: str, reason: str = "", at: datetime = THEN) -> dict[str, Any]:
    return entry(address, at, status=status, reason=reason)


def left(address: str, group: Any, at: datetime = THEN) -> dict[str, Any]:
    return {"email": address, "group_id": group, "group_name": "x", "created_at": int(at.timestamp())}


def test_each_list_has_its_verdict_and_only_a_mailbox_that_is_not_there_is_invalid(
    lists: Lists, sendgrid_at: Connect
) -> None:
    lists.lists["bounces"] = [
        bounce("gone@a.example", "5.1.1", "550 5.1.1 no such user"), bounce("full@a.example", "5.2.2"),
        bounce("later@a.example", "4.2.1"), bounce("policy@a.example", "5.7.1"), bounce("other@a.example", ""),
        bounce("grey@a.example", "", "451 4.7.1 greylisted"),
    ]  # fmt: skip
    lists.lists["blocks"] = [bounce("blocked@a.example", "4.0.0", "no route to host")]
    lists.lists["invalid_emails"] = [
        entry("typo@a.exmaple", reason="Mail domain mentioned in email address is unknown")
    ]
    lists.lists["spam_reports"] = [entry("angry@a.example", ip="10.63.202.100")]
    lists.lists["unsubscribes"] = [entry("off@a.example")]
    lists.groups = [left("one@a.example", 15), left("two@a.example", 99), left("three@a.example", 7)]
    connector = sendgrid_at(lists.url, groups={"news": 15, "offers": 7})
    assert list(connector.suppressions(None, NOW)) == [
        Suppressed("gone@a.example", Verdict.INVALID, THEN),
        Suppressed("other@a.example", Verdict.INVALID, THEN),
        Suppressed("typo@a.exmaple", Verdict.INVALID, THEN),
        Suppressed("angry@a.example", Verdict.COMPLAINED, THEN),
        Suppressed("off@a.example", Verdict.UNSUBSCRIBED, THEN),
        Suppressed("one@a.example", Verdict.UNSUBSCRIBED_TOPIC, THEN, "news"),
        Suppressed("three@a.example", Verdict.UNSUBSCRIBED_TOPIC, THEN, "offers"),
    ]
    assert "/v3/suppression/blocks" not in {path for path, _ in lists.asked}


def test_every_page_is_read_and_their_own_client_sees_as_many(lists: Lists, sendgrid_at: Connect) -> None:
    lists.lists["spam_reports"] = [entry(f"c{n}@a.example", ip="10.0.0.1") for n in range(1203)]
    found = [one.address for one in sendgrid_at(lists.url).suppressions(None, NOW)]
    assert found == [f"c{n}@a.example" for n in range(1203)]
    asked = [query for path, query in lists.asked if path.endswith("spam_reports")]
    assert [query["offset"] for query in asked] == ["0", "500", "1000", "1203"]
    assert {(query["limit"], query["end_time"]) for query in asked} == {("500", str(int(NOW.timestamp())))}
    assert "/v3/asm/suppressions" not in {path for path, _ in lists.asked}, "no topic has a group"
    theirs = SendGridAPIClient(SENDGRID_KEY, host=lists.url).client.suppression.spam_reports
    page = json.loads(theirs.get(query_params={"limit": 500, "offset": 1000}).body)
    assert [one["email"] for one in page] == found[1000:]


def test_only_what_came_since_is_asked_for(lists: Lists, sendgrid_at: Connect) -> None:
    since = NOW - timedelta(days=2)
    for name in ("bounces", "unsubscribes"):
        lists.lists[name] = [
            entry(f"{name}-{at:%d}@a.example", at) for at in (since - timedelta(days=1), since, NOW + timedelta(days=1))
        ]
    lists.groups = [left("old@a.example", 15, since - timedelta(seconds=1)), left("new@a.example", 15, since)]
    found = [one.address for one in sendgrid_at(lists.url, groups={"news": 15}).suppressions(since, NOW)]
    assert found == ["bounces-08@a.example", "unsubscribes-08@a.example", "new@a.example"]


def test_after_a_limit_or_a_lost_answer_it_goes_on_where_it_was(lists: Lists, sendgrid_at: Connect) -> None:
    lists.lists["bounces"] = [bounce(f"c{n}@a.example", "5.1.1") for n in range(700)]
    lists.groups = [left("one@a.example", 15)]
    lists.told = {
        2: Told(429, b"", {"Retry-After": "30"}),
        4: Told(503),
        5: Told(200, b'[{"email": "half'),
        10: Told(200, json.dumps(lists.groups).encode()[:-1]),
    }
    reading = sendgrid_at(lists.url, groups={"news": 15}).suppressions(None, NOW)
    found, faults = [], []
    while True:
        try:
            found.append(next(reading).address)
        except StopIteration:
            break
        except Retryable as error:
            faults.append((error.accepted, error.retry_after))
    assert faults == [("no", timedelta(seconds=30)), *[("no", None)] * 3]
    assert found == [*(f"c{n}@a.example" for n in range(700)), "one@a.example", "one@a.example"]


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Told(401, {"errors": [{"message": "authorization required"}]}), Misconfigured, "EVERGREET_SENDGRID_API_KEY"),
        (Told(403, {"errors": [{"message": "access forbidden"}]}), Misconfigured, "read access to Suppressions"),
        (Told(404), Misconfigured, "EVERGREET_SENDGRID_BASE_URL"),
        (Told(302, b"", {"Location": "https://elsewhere.example/"}), Misconfigured, "EVERGREET_SENDGRID_BASE_URL"),
        (Told(400, {"errors": [{"message": "limit"}]}), Retryable, "answers 400"),
        (Told(500), Retryable, "answers 500"),
        (Told(204), Retryable, "answers 204"),
        (Told(200, b""), Retryable, "not a whole list"),
        (Told(200, {"errors": []}), Retryable, "not a whole list"),
        (Told(200, b'["a@b.example"]'), Retryable, "not a whole list"),
        (Told(200, b"[[]]"), Retryable, "not a whole list"),
        (Told(200, b"[{}{}]"), Retryable, "not a whole list"),
        (Told(200, b'[{"email": ' + b"[" * 100_000), Retryable, "not a whole list"),
        (Told(200, b'[{"created": ' + b"1" * 5000 + b"}]"), Retryable, "not a whole list"),
        (Told(200, b"\xff\xfe"), Retryable, "not a whole list"),
    ],
)
def test_what_is_no_list_is_a_typed_error(
    lists: Lists, sendgrid_at: Connect, answer: Told, kind: type[ConnectorError], words: str
) -> None:
    lists.told = {1: answer}
    with pytest.raises(kind, match=words) as fault:
        next(sendgrid_at(lists.url).suppressions(None, NOW))
    assert SENDGRID_KEY not in str(fault.value)


def test_entries_of_any_shape_are_passed_on_or_over(lists: Lists, sendgrid_at: Connect) -> None:
    lists.told = {
        2: Told(200, b' [ {"email": 5}, {}, {"email": "a\\u00fc{}]@b.example", "created": "soon", "x": {"y": [1]}} ] ')
    }
    found = list(sendgrid_at(lists.url).suppressions(None, NOW))
    assert [(one.address, one.at) for one in found] == [("", NOW), ("", NOW), ("aü{}]@b.example", NOW)]


@pytest.mark.parametrize(
    "conduct",
    [
        pytest.param(SILENT, id="silent"),
        pytest.param(Conduct(OK + b'Content-Length: 99\r\n\r\n[{"email": "a@b.co"}'), id="half"),
        pytest.param(
            Conduct(OK + b'Content-Length: 99\r\n\r\n[{"email": "a@b.co"}', then="wait"), id="half, then silent"
        ),
        pytest.param(Conduct(OK + b"\r\n[", then="reset"), id="reset"),
        pytest.param(Conduct(b"nonsense"), id="no HTTP"),
    ],
)
def test_a_server_that_goes_wrong_is_asked_later(sendgrid_at: Connect, conduct: Conduct) -> None:
    with WireServer(conduct) as server, pytest.raises(Retryable) as fault:
        list(sendgrid_at(server.url, timeout=0.3).suppressions(None, NOW))
    assert fault.value.accepted == "no"


def test_a_server_that_never_comes_to_an_end_is_left_alone(lists: Lists, sendgrid_at: Connect) -> None:
    page = json.dumps([entry("a@b.example")] * 5).encode()
    lists.told = dict.fromkeys(range(1, 100), Told(200, page))
    with pytest.raises(Misconfigured, match="again and again"):
        list(sendgrid_at(lists.url).suppressions(None, NOW))
    ticks = iter(range(0, 10_000_000, 700))
    with pytest.raises(Retryable, match="longer than 600 seconds"):
        list(sendgrid_at(lists.url, clock=lambda: float(next(ticks))).suppressions(None, NOW))


def test_a_long_list_of_groups_is_read_in_little_memory(lists: Lists, sendgrid_at: Connect) -> None:
    lists.told = {5: Told(200, json.dumps([left(f"customer-{n}@a.example", 15) for n in range(15_000)]).encode())}
    connector = sendgrid_at(lists.url, groups={"news": 15})
    reading = connector.suppressions(None, NOW)
    next(reading)
    tracemalloc.start()
    count = sum(1 for _ in reading)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 14_999
    assert peak < 1_000_000


def test_the_command_reads_them_into_the_store(lists: Lists, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lists.lists["bounces"] = [bounce("gone@a.example", "5.1.1")]
    for name, value in {
        "DATABASE_URL": sqlite_url,
        "SENDGRID_API_KEY": SENDGRID_KEY,
        "SENDGRID_BASE_URL": lists.url,
    }.items():
        monkeypatch.setenv(f"EVERGREET_{name}", value)
    database = Database(sqlite_url)
    upgrade(database)
    first = CliRunner().invoke(app, ["suppressions", "pull", "sendgrid"])
    assert first.output == "sendgrid, from the beginning: 1 invalid; 1 of what they say is new here.\n"
    again = json.loads(CliRunner().invoke(app, ["suppressions", "pull", "sendgrid", "--json"]).output)
    assert (again["new"], again["read"], again["since"] is None) == (0, {}, False)
    with database.read() as connection:
        rows = connection.execute(select(col(Suppression.address), col(Suppression.reason), col(Suppression.source)))
        assert [tuple(row) for row in rows] == [("gone@a.example", "hard_bounce", "pulled:sendgrid")]
    database.close()
    refused = CliRunner().invoke(app, ["suppressions", "pull", "outbox"])
    assert "has no lists" in str(refused.exception)
