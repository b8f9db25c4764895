"""Circuit breakers: a provider that fails is left alone for a while, by all workers and from run to run."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import OperationalError
from sqlmodel import col
from typer.testing import CliRunner

from evergreet.breakers import Failure, Late, answer, ask_again, fail, heard, read_breakers, take_turn
from evergreet.campaigns import required
from evergreet.cli import app
from evergreet.contracts import Accepted, Outcome
from evergreet.database import Database
from evergreet.engine import Engine
from evergreet.errors import Misconfigured, Permanent, Retryable
from evergreet.explain import explain
from evergreet.orchestration.artifacts import campaign_page
from evergreet.routing import Provider, Route
from evergreet.sending import Standing, held
from evergreet.settings import Settings
from evergreet.switchboard import NO_TICKET, Switchboard
from models import AuditLog
from tests.conftest import NOW
from tests.story import Recorder, Story
from tests.test_failover import BUSY, LOST, NEWS, ON_SQLITE, Away, Second, by, clean, news

DOWN = Retryable("it cannot be reached")
FIRST_PAUSE, SECOND_PAUSE = timedelta(seconds=30), timedelta(seconds=60)


def log(story: Story) -> list[tuple[str, str]]:
    with story.database.read() as connection:
        found = select(col(AuditLog.action), col(AuditLog.subject)).where(col(AuditLog.action).like("provider %"))
        return [(row.action, row.subject) for row in connection.execute(found.order_by(col(AuditLog.id)))]


def test_a_provider_that_is_down_is_left_alone_until_one_message_comes_through(story: Story) -> None:
    away = Away(away=DOWN)
    story.settings = story.settings.model_copy(update={"threads": 1, "window": 2, "retry_seconds": 1})
    by(story, away)
    news(story, 40)
    report = story.run(NEWS)
    assert away.asked == 5
    assert sum(row.attempts == 0 for row in story.messages) == 30  # they stay in their chunk
    assert report.halted is None
    assert not report.more
    assert report.providers["away"].startswith("out since 2026-03-10 12:00 UTC (5 failed in a row), asked again at")
    assert "**away cannot be asked: out since" in campaign_page(report)
    with story.database.read() as connection:
        waiting = next(row.contact_id for row in story.messages if row.attempts == 0)
        out = held([Standing("away", "email", "first", report.providers["away"], None, None)])
        told = explain(connection, required(connection, NEWS.name), waiting, now=story.now, held=out)[-1]
    assert told.what.endswith(": planned")
    assert told.detail == f"away cannot be asked: {report.providers['away']}"
    assert "away" in story.run(NEWS).providers
    assert away.asked == 5
    story.clock.advance(FIRST_PAUSE)
    story.run(NEWS)
    assert away.asked == 6  # one message; it fails, and the next pause is longer
    story.clock.advance(FIRST_PAUSE)
    story.run(NEWS)
    assert away.asked == 6
    story.clock.advance(SECOND_PAUSE - FIRST_PAUSE)
    away.away = None
    report = story.run(NEWS)
    assert story.states() == {"accepted": 40}
    assert len(away.sent) == len(set(away.recipients)) == 40
    assert report.providers == {}
    assert log(story) == [("provider out", "away"), ("provider back", "away")]
    assert clean(story)


@ON_SQLITE
def test_what_is_refused_in_the_same_words_again_and_again_fails_a_few_and_not_everybody(story: Story) -> None:
    away = Away(away=Permanent("550 5.7.1 your server is on a list"))
    story.settings = story.settings.model_copy(update={"threads": 1, "window": 1, "retry_seconds": 1})
    by(story, away)
    news(story, 40)
    report = story.run(NEWS)
    assert (away.asked, sum(row.state == "failed" for row in story.messages)) == (5, 5)
    assert sum(row.attempts == 0 for row in story.messages) == 35
    assert report.providers["away"].endswith(": 550 5.7.1 your server is on a list")
    story.clock.advance(FIRST_PAUSE)
    story.run(NEWS)
    assert away.asked == 6  # one message
    story.clock.advance(SECOND_PAUSE)
    away.away = None
    story.run(NEWS)
    assert sum(row.state == "accepted" for row in story.messages) == 34
    assert log(story) == [("provider out", "away"), ("provider back", "away")]
    assert clean(story)


@ON_SQLITE
def test_refusals_in_different_words_are_the_messages_own(story: Story) -> None:
    away = Away()
    story.settings = story.settings.model_copy(update={"threads": 1, "window": 1})
    by(story, away)
    news(story, 12)
    away.answers = {f"c{n}@example.org": Permanent(f"too many links: {n}") for n in range(20)}
    assert story.run(NEWS).providers == {}
    assert {row.state for row in story.messages} == {"failed"}


@ON_SQLITE
def test_while_one_is_out_the_other_sends_and_one_message_tries_the_first_again(story: Story) -> None:
    away, second = Away(away=DOWN), Second()
    story.settings = story.settings.model_copy(update={"threads": 1, "window": 2})
    by(story, away, second)
    news(story, 30)
    report = story.run(NEWS)
    assert story.states() == {"accepted": 30}
    assert away.asked == 5
    assert report.attempted == {"accepted": 30, "returned": 10}
    story.clock.advance(FIRST_PAUSE)
    story.happened("order_placed", *[row.contact_id for row in story.messages])
    story.run(NEWS)
    assert away.asked == 6
    assert len(second.sent) == 60
    away.away = None
    story.clock.advance(SECOND_PAUSE)
    everybody = {row.contact_id for row in story.messages}
    story.happened("order_placed", *everybody)
    story.run(NEWS)
    assert (len(away.sent), len(second.sent)) == (1, 89)  # the others did not wait for the answer
    story.happened("order_placed", *everybody)
    story.run(NEWS)
    assert (len(away.sent), len(second.sent)) == (31, 89)
    assert clean(story)


@ON_SQLITE
def test_a_provider_that_asks_for_time_gets_it(story: Story) -> None:
    away = Away(away=Retryable("429", retry_after=timedelta(hours=2)))
    story.settings = story.settings.model_copy(update={"threads": 1, "window": 2})
    by(story, away)
    news(story, 10)
    assert "asked again at 2026-03-10 14:00 UTC: 429" in story.run(NEWS).providers["away"]
    assert away.asked == 1
    away.away = None
    story.clock.advance(timedelta(hours=2))
    story.run(NEWS)
    assert story.states() == {"accepted": 10}


@ON_SQLITE
def test_a_provider_that_asks_to_go_slower_is_waited_for_in_the_run(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Away(away=Retryable("429", retry_after=timedelta(seconds=1)))
    story.settings = story.settings.model_copy(update={"threads": 1, "window": 2})
    by(story, away)
    news(story, 10)
    waited: list[float] = []

    def wait(_: Engine, seconds: float) -> None:
        waited.append(seconds)
        story.clock.advance(timedelta(seconds=seconds))
        away.away = None if len(waited) > 1 else away.away

    monkeypatch.setattr(Engine, "wait", wait)
    report = story.run(NEWS)
    assert waited == [1, 1]
    assert report.attempted == {"accepted": 6, "returned": 4}
    assert report.providers == {}
    assert log(story) == []
    monkeypatch.setattr(Engine, "wait", lambda *_: None)
    away.away = Retryable("429", retry_after=timedelta(seconds=1))
    story.clock.advance(timedelta(minutes=1))
    story.run(NEWS)  # where no time passes it ends
    assert away.asked == 6


@ON_SQLITE
def test_what_is_in_doubt_opens_it_too_and_goes_to_nobody_else(story: Story) -> None:
    away, second = Away(away=LOST), Second()
    story.settings = story.settings.model_copy(update={"threads": 1, "window": 2})
    by(story, away, second)
    news(story, 30)
    story.run(NEWS)
    assert story.states() == {"accepted": 20, "unknown: no answer": 10}
    assert len(second.sent) == 20


def test_workers_agree_on_who_sends_the_one_message(database: Database, clock: Any) -> None:
    story = Story(database, clock)
    with database.write() as connection:
        for _ in range(5):
            out = fail(connection, "away", Failure("down"), story.settings, NOW, probe=False)
        assert out.until == NOW + FIRST_PAUSE
        late = fail(connection, "away", Failure("down"), story.settings, NOW, probe=False)
        assert late.until == out.until  # it was on its way before
        assert not take_turn(connection, "away", NOW, 120)
    after = NOW + FIRST_PAUSE
    with database.write() as connection:
        assert take_turn(connection, "away", after, 120)
    with database.write() as connection:
        assert not take_turn(connection, "away", after, 120)
        assert (
            fail(connection, "away", Failure("down"), story.settings, after, probe=True).until == after + SECOND_PAUSE
        )
        for _ in range(12):
            longest = fail(connection, "away", Failure("down"), story.settings, after, probe=True).until
        assert longest == after + timedelta(minutes=15)
    assert ask_again(database, "away", clock=clock, actor="test")
    assert not ask_again(database, "away", clock=clock, actor="test")
    with database.read() as connection:
        assert read_breakers(connection) == {}


@pytest.mark.parametrize(
    ("outcomes", "meaning"),
    [
        ([Accepted("1"), BUSY], True),
        ([Permanent("no such user"), LOST], True),
        ([Permanent("no such user", address_invalid=True)] * 2, True),
        ([Permanent("stopped", unsubscribed=True)], True),
        ([Permanent("spam"), Accepted("1")], True),
        ([Permanent("spam"), Permanent("full")], True),
        ([Permanent("spam"), Permanent("spam"), Late("too late")], Failure("spam", refusal=True)),
        ([Retryable("greylisted", for_recipient=True)], True),
        ([Late("too late")], None),
        ([BUSY, Late("too late")], Failure("come back later")),
        ([Retryable("429", retry_after=timedelta(hours=1)), BUSY], Failure("429", timedelta(hours=1))),
        ([Accepted("1"), Misconfigured("401")], Failure("401", fault=True)),
    ],
)
def test_what_a_window_tells_of_its_provider(outcomes: Sequence[Outcome], meaning: object) -> None:
    assert heard(outcomes) == meaning


@pytest.mark.parametrize(("channel", "told"), [("email", True), ("webhook", True), ("crm", False)])
def test_a_crm_that_knows_none_of_these_people_answers(channel: str, told: bool) -> None:
    class Other(Recorder):
        name = channel
        capabilities = replace(Recorder.capabilities, channel=channel)

    provider = Provider(Other())
    board = Switchboard(Route((provider,)), Settings(secret_keys=("test-key",)))
    note = board.hear(provider, [Permanent("there is no such contact")], NO_TICKET)
    assert (note is not None) == told


def test_a_person_sees_who_is_out_and_ends_its_pause(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREET_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("EVERGREET_EMAIL", "outbox 80, smtp")
    monkeypatch.setenv("EVERGREET_RATES", "smtp: 5000/day")
    database = Database(sqlite_url)
    with database.write() as connection:
        fail(connection, "outbox", Failure("disk full", fault=True), Story(database, None).settings, NOW, probe=False)  # type: ignore[arg-type]
    database.close()

    def evergreet(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["connectors", *words])
        return result.exit_code, result.output

    assert "out since 2026-03-10 12:00 UTC (a fault of ours)" in evergreet("status", "--json")[1]
    assert "stands by" in evergreet("status")[1]
    assert "0 of 5,000" in evergreet("status")[1]
    assert evergreet("resume", "outbox") == (0, "outbox is asked again from the next run on.\n")
    assert evergreet("resume", "outbox")[0] == 1
    assert "is asked" in evergreet("status")[1]


def test_an_answer_that_another_worker_hears_meanwhile_does_not_break_a_settle(fresh_postgres_url: str) -> None:
    """The row is locked by the statement that reads it: who deletes it waits, and does not come in between."""
    database, other = Database(fresh_postgres_url), Database(fresh_postgres_url)
    with database.write() as connection:
        fail(connection, "away", Failure("down"), Settings(), NOW, probe=False)

    def hear(*_: Any) -> None:
        with suppress(OperationalError), other.write() as second:
            second.execute(text("SET LOCAL lock_timeout = '50ms'"))
            for known in read_breakers(second).values():
                answer(second, known, NOW)

    with database.write() as connection:
        event.listen(connection, "after_cursor_execute", hear)
        stands = fail(connection, "away", Failure("down"), Settings(), NOW, probe=False)
        event.remove(connection, "after_cursor_execute", hear)
    assert stands.failures == 2
    with database.read() as connection:
        assert read_breakers(connection)["away"].failures == stands.failures
    database.close()
    other.close()


def test_nothing_goes_by_a_channel_when_all_of_its_providers_are_out_or_by_a_destination_that_is() -> None:
    here, out = (Standing(name, "email", "first", said, None, None) for name, said in (("one", None), ("two", "x")))
    post = Standing("post", "webhook", "first", None, None, None)
    till = Standing("post:till", "webhook", "first", "y", None, None)
    assert held([here, out, post, till]) == {("webhook", "till"): "post:till cannot be asked: y"}
    assert held([out]) == {("email", ""): "two cannot be asked: x"}
