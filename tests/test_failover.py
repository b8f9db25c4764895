"""Failover: what one provider certainly did not take goes to the next, and what is in doubt goes to nobody."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from sqlalchemy import update

from connectors.calling import make_client
from connectors.email.sendgrid import SendGrid
from connectors.email.sendgrid_settings import SendGridSettings
from connectors.email.smtp import Smtp
from connectors.email.smtp_settings import SmtpSettings
from evergreet.audit import audit
from evergreet.campaign import Campaign, Email, event
from evergreet.campaigns import required
from evergreet.contracts import EmailMessage, Outcome
from evergreet.database import Database
from evergreet.errors import ConnectorError, Misconfigured, Permanent, Retryable
from evergreet.explain import explain
from evergreet.reconcile import given_to, reconcile
from evergreet.routing import Provider, Route
from models import Message, Suppression
from tests.conftest import NOW
from tests.connectors.email.sendgrid_wire import Conduct, WireServer
from tests.faults.sink import Sink
from tests.story import Recorder, Story

NEWS = Campaign(
    name="news", topic="orders", trigger=event("order_placed", key="order_id"), steps=(Email("hello", template="note"),)
)
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""Of what asks the store nothing that other tests do not ask of both."""
BUSY = Retryable("come back later")
LOST = Retryable("no answer", accepted="maybe")


@dataclass
class Second(Recorder):
    """Another recorder."""

    name: ClassVar[str] = "second"


@dataclass
class Away(Recorder):
    """A provider that says the same to every batch, for as long as it is `away`."""

    name: ClassVar[str] = "away"
    away: ConnectorError | None = None
    asked: int = 0

    def send(self, batch: Sequence[EmailMessage]) -> list[Outcome]:
        self.asked += 1
        if self.away is not None:
            raise self.away
        return super().send(batch)


def by(story: Story, *providers: Any) -> None:
    story.sender = Route(tuple(one if isinstance(one, Provider) else Provider(one) for one in providers))  # type: ignore[assignment]


def news(story: Story, people: int) -> None:
    story.launch(NEWS)
    story.happened("order_placed", *story.contacts(people, consents=["orders"]))


def tries(story: Story) -> dict[str, list[tuple[int, str, str]]]:
    """Return each address with its attempts: number, provider, outcome."""
    found: dict[int, list[tuple[int, str, str]]] = {}
    for row in story.attempts:
        found.setdefault(row.message_id, []).append((row.number, row.provider, row.outcome))
    return {row.address or "": found[row.id] for row in story.messages if row.id in found}


def clean(story: Story) -> bool:
    return all(one.clean for one in audit(story.database, story.clock))


def test_only_what_was_certainly_not_taken_goes_to_the_next(story: Story) -> None:
    first, second = Recorder(), Second()
    first.answers = {
        "c0@example.org": BUSY, "c1@example.org": LOST,
        "c2@example.org": Permanent("no such user", address_invalid=True), "c3@example.org": BUSY,
    }  # fmt: skip
    second.answers = {"c3@example.org": LOST}
    by(story, first, second)
    news(story, 6)
    report = story.run(NEWS)
    assert report.attempted == {"accepted": 3, "failed": 1, "returned": 2, "unknown": 2}
    assert first.recipients == ["c4@example.org", "c5@example.org"]
    assert second.recipients == ["c0@example.org"]
    assert tries(story) == {
        "c0@example.org": [(1, "recorder", "returned"), (2, "second", "accepted")],
        "c1@example.org": [(1, "recorder", "unknown")],
        "c2@example.org": [(1, "recorder", "failed")],
        "c3@example.org": [(1, "recorder", "returned"), (2, "second", "unknown")],
        "c4@example.org": [(1, "recorder", "accepted")], "c5@example.org": [(1, "recorder", "accepted")],
    }  # fmt: skip
    assert {row.address: row.provider for row in story.messages if row.state == "unknown"} == {
        "c1@example.org": "recorder",
        "c3@example.org": "second",
    }
    assert [row.address for row in story.rows(Suppression)] == ["c2@example.org"]
    story.clock.advance(timedelta(days=1))
    story.run(NEWS)
    assert len(first.sent) + len(second.sent) == 3
    assert clean(story)
    with story.database.read() as connection:
        moved = next(row.contact_id for row in story.messages if row.address == "c0@example.org")
        lines = [line.what for line in explain(connection, required(connection, "news"), moved, now=story.now)]
    assert "hello, attempt 1 by recorder: returned" in lines
    assert "hello, attempt 2 by second: accepted" in lines


@ON_SQLITE
def test_what_nobody_takes_waits_and_is_given_up_when_each_was_asked_often_enough(story: Story) -> None:
    first, second = Recorder(answers={"c0@example.org": BUSY}), Second(answers={"c0@example.org": BUSY})
    story.settings = story.settings.model_copy(update={"retries": 1})
    by(story, first, second)
    news(story, 1)
    story.run(NEWS)
    (row,) = story.messages
    assert (row.state, row.attempts, row.not_before) == ("planned", 2, NOW + timedelta(seconds=60))
    story.clock.advance(timedelta(minutes=1))
    story.run(NEWS)
    assert story.states() == {"failed: gave up after 4 attempts: come back later": 1}
    assert [provider for _, provider, _ in tries(story)["c0@example.org"]] == [
        "recorder",
        "second",
        "recorder",
        "second",
    ]
    assert clean(story)


def test_our_fault_with_one_of_several_is_told_and_halts_only_when_nobody_is_left(story: Story) -> None:
    first, second = Away(away=Misconfigured("401: the key is wrong")), Second()
    by(story, first, second)
    news(story, 120)
    report = story.run(NEWS)
    assert report.halted is None
    assert report.providers == {
        "away": "out since 2026-03-10 12:00 UTC (a fault of ours), asked again at 2026-03-10 12:00 UTC: "
        "401: the key is wrong"
    }
    assert story.states() == {"accepted": 120}
    assert len(second.sent) == 120
    assert first.asked < 6
    second.answers = {f"c{number}@example.org": Misconfigured("our domain is not verified") for number in range(120)}
    story.happened("order_placed", *story.contacts(3, consents=["orders"]))
    halted = story.run(NEWS).halted
    assert halted == "401: the key is wrong; our domain is not verified"
    first.away, second.answers = None, {}
    story.clock.advance(timedelta(hours=1))
    assert story.run(NEWS).halted is None
    assert story.states() == {"accepted": 123}
    assert clean(story)


@ON_SQLITE
def test_messages_are_shared_by_weight_and_the_others_stand_by_for_each(story: Story) -> None:
    first, second = Recorder(), Second()
    by(story, Provider(first, 1), Provider(second, 1))
    news(story, 60)
    story.run(NEWS)
    assert len(first.sent) + len(second.sent) == 60
    assert min(len(first.sent), len(second.sent)) > 10
    taken = len(second.sent)
    second.answers = {f"c{number}@example.org": BUSY for number in range(60)}
    story.happened("order_placed", *[row.contact_id for row in story.messages])
    story.run(NEWS)
    assert story.states() == {"accepted": 120}
    assert (len(first.sent), len(second.sent)) == (120 - taken, taken)


@ON_SQLITE
def test_a_provider_that_had_a_row_is_asked_for_it_whoever_sends_now(story: Story) -> None:
    first, second = Recorder(answers={"c0@example.org": LOST}), Second(knows=True)
    by(story, first, second)
    news(story, 1)
    story.run(NEWS)
    with story.database.read() as connection:
        assert given_to(connection) == {"recorder"}
    story.clock.advance(timedelta(hours=1))
    assert reconcile(story.database, second, story.settings, story.clock).resolved == {}
    asked = reconcile(story.database, second, story.settings, story.clock, also=(first,))
    assert asked.resolved == {"not_found": 1}


def test_after_a_restore_a_row_is_not_found_only_where_no_provider_has_it(story: Story) -> None:
    first, second = Recorder(), Second()
    by(story, first, second)
    news(story, 2)
    story.run(NEWS)
    second.sent.append(first.sent.pop(0))
    with story.database.write() as connection:  # as `evergreet hold` leaves them
        held = {"state": "unknown", "reason": "held_after_restore", "unknown_since": story.now, "chunk_id": None}
        connection.execute(update(Message).values(**held))
    story.clock.advance(timedelta(hours=1))
    resolved = reconcile(story.database, first, story.settings, story.clock, also=(second,)).resolved
    assert resolved == {"found": 2}


def sendgrid(url: str, **options: Any) -> SendGrid:
    values = {"api_key": "SG.test", "base_url": url, "window": 4, "timeout": 0.5, **options}
    made = SendGridSettings(**values)
    return SendGrid(made, make_client(made.connections))


@pytest.mark.parametrize(
    ("conduct", "in_doubt"),
    [
        pytest.param(None, False, id="it refuses connections"),
        pytest.param(Conduct(b"HTTP/1.1 429 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), False, id="429"),
        pytest.param(Conduct(b"HTTP/1.1 401 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), False, id="401"),
        pytest.param(Conduct(b"HTTP/1.1 500 Oh\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), True, id="500"),
    ],
)
def test_real_providers_take_each_message_once_or_nobody_knows(
    sqlite_url: str, clock: Any, conduct: Conduct | None, in_doubt: bool
) -> None:
    with ExitStack() as opened:
        sink = opened.enter_context(Sink())
        story = Story(opened.enter_context(closing(Database(sqlite_url))), clock)
        with WireServer(Conduct()) as server:
            url = server.url  # nobody listens there afterwards
        if conduct is not None:
            url = opened.enter_context(WireServer(conduct)).url
        http = opened.enter_context(closing(sendgrid(url)))
        smtp = Smtp(SmtpSettings(host="127.0.0.1", port=sink.port, security="none"))
        by(story, http, opened.enter_context(closing(smtp)))
        news(story, 12)
        story.run(NEWS)
        story.clock.advance(timedelta(days=1))
        story.run(NEWS)
        unknown = sum(count for state, count in story.states().items() if state.startswith("unknown"))
        assert story.states().get("accepted", 0) + unknown == 12, story.states()
        assert len(sink.mails) == len(sink.by_key) == 12 - unknown
        assert (unknown > 0) == in_doubt, story.states()
        assert clean(story)
