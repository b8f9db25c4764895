"""Rates: what is given to a provider a second and a day, and what becomes of the rest."""

import threading
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from evergreet.campaign import Options
from evergreet.durations import days
from evergreet.errors import ConfigurationError
from evergreet.rates import FREE, Pace, Rate, read_rates
from evergreet.routing import Provider
from evergreet.sending import opened_senders
from evergreet.settings import settings
from models import ProviderDay
from tests.conftest import NOW
from tests.story import Recorder, Story
from tests.test_failover import BUSY, LOST, NEWS, ON_SQLITE, Second, by, clean, news

TODAY = NOW.date()
MIDNIGHT = datetime(2026, 3, 11, tzinfo=UTC)


def test_rates_are_read() -> None:
    assert read_rates("sendgrid: 100/s, 50000/day, warm-up 500 from 2026-12-01; ses: 0.5 / s;") == {
        "sendgrid": Rate(100, 50000, 500, date(2026, 12, 1)),
        "ses": Rate(0.5),
    }
    assert read_rates("") == {}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("sendgrid 100/s", "'sendgrid 100/s' is no rate"),
        ("ses: fast", "'fast' is no limit of 'ses'"),
        ("ses: 0/s", "'0/s' is no limit of 'ses'"),
        ("ses: 5/day, 6/day", "'6/day' is no limit of 'ses', or there are two of its kind"),
        ("ses: 5/s; ses: 5/day", "'ses' is named twice"),
        ("ses: warm-up 5 from 2026-12-01", "the warm-up of 'ses' needs the limit that it leads to"),
        ("ses: 50/day, warm-up 5 from 2026-13-01", "2026-13-01 is no day"),
    ],
)
def test_what_is_no_rate_is_a_sentence(written: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREET_RATES", written)
    with pytest.raises(ConfigurationError, match="EVERGREET_RATES") as told:
        settings()
    assert said in str(told.value)


def test_a_rate_of_nobody_who_sends_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREET_RATES", "outbocks: 5/s")
    with pytest.raises(ConfigurationError, match="'outbocks' is none of the connectors that send"), opened_senders():
        pass
    monkeypatch.setenv("EVERGREET_RATES", "outbox: 5/s")
    settings.cache_clear()
    with opened_senders() as senders:
        (outbox,) = senders.email.providers
        assert isinstance(outbox.limiter, Pace)
        with opened_senders() as again:
            assert again.email.providers[0].limiter is outbox.limiter  # one for the process


def test_a_warm_up_doubles_from_its_day_on_up_to_the_limit() -> None:
    rate = Rate(per_day=3000, warm_up=500, since=TODAY)
    days = [TODAY + timedelta(days=number) for number in (-1, 0, 1, 2, 3, 400)]
    assert [rate.on(day) for day in days] == [0, 500, 1000, 2000, 3000, 3000]
    assert (FREE.on(TODAY), FREE.most_together, Rate(0.5).most_together, Rate(14).most_together) == (None, None, 1, 14)


def test_a_pace_lets_a_seconds_worth_through_and_then_so_many_a_second() -> None:
    now, pauses = [100.0], list[float]()

    def wait(seconds: float) -> None:
        pauses.append(round(seconds, 3))
        now[0] += seconds

    pace = Pace(10, lambda: now[0], wait)
    for count in (10, 5, 10):
        pace.acquire(count)
    assert pauses == [0.5, 1.0]
    now[0] += 60  # what nobody asked for is not saved up
    pace.acquire(20)
    assert pauses[2:] == [1.0]


def limited(story: Story, *providers: Provider, window: int = 4) -> None:
    story.settings = story.settings.model_copy(update={"window": window})
    by(story, *providers)


def given(story: Story) -> dict[tuple[str, str], int]:
    with story.database.read() as connection:
        rows = connection.execute(ProviderDay.__table__.select())  # type: ignore[attr-defined]
        return {(row.connector, row.day): row.messages for row in rows}


def test_what_a_day_does_not_allow_waits_for_the_next_and_the_warm_up_allows_more_then(story: Story) -> None:
    only = Recorder()
    limited(story, Provider(only, rate=Rate(per_day=15, warm_up=5, since=TODAY)))
    patient = replace(NEWS, steps=(replace(NEWS.steps[0], lateness=days(30)),))
    story.launch(patient)
    story.happened("order_placed", *story.contacts(40, consents=["orders"]))
    report = story.run(patient)
    assert story.states() == {"accepted": 5, "deferred: provider_limit": 35}
    assert {row.not_before for row in story.messages if row.state == "deferred"} == {MIDNIGHT}
    assert report.attempted == {"accepted": 5, "deferred": 35}
    assert report.providers == {
        "recorder": "the 5 messages that 2026-03-10 allows (UTC) are given, more at 2026-03-11 00:00 UTC"
    }
    story.clock.advance(timedelta(hours=11))
    assert story.run(patient).attempted == {}
    sent = []
    for _ in range(3):
        story.clock.advance(timedelta(days=1))
        story.run(patient)
        sent.append(len(only.sent))
    assert sent == [15, 30, 40]
    assert clean(story)


@ON_SQLITE
def test_what_the_first_may_not_be_given_goes_to_the_next(story: Story) -> None:
    first, second = Recorder(), Second()
    limited(story, Provider(first, rate=Rate(per_day=10)), Provider(second))
    news(story, 25)
    report = story.run(NEWS)
    assert story.states() == {"accepted": 25}
    assert (len(first.sent), len(second.sent)) == (10, 15)
    assert list(report.providers) == ["recorder"]
    story.clock.advance(timedelta(days=1))
    later = Rate(per_day=10, warm_up=5, since=TODAY + timedelta(days=2))
    limited(story, Provider(first, rate=later), Provider(second))
    story.happened("order_placed", *{row.contact_id for row in story.messages})
    said = "2026-03-11 allows nothing (UTC), its warm-up begins on 2026-03-12"
    assert story.run(NEWS).providers == {"recorder": said}
    assert len(first.sent) == 10


def test_only_what_may_have_been_taken_counts_and_a_limit_that_comes_later_knows_what_was_sent(story: Story) -> None:
    only = Recorder(answers={"c0@example.org": BUSY, "c1@example.org": LOST})
    limited(story, Provider(only), window=1)
    news(story, 4)
    story.run(NEWS)
    assert given(story) == {}
    limited(story, Provider(only, rate=Rate(per_day=100)), window=1)
    story.clock.advance(timedelta(minutes=5))
    story.happened("order_placed", *{row.contact_id for row in story.messages})
    story.run(NEWS)
    assert given(story) == {("recorder", "2026-03-10"): 6}  # twice: two that were accepted, and one in doubt
    assert story.states() == {"accepted": 4, "planned: come back later": 2, "unknown: no answer": 2}


def test_two_workers_together_keep_to_the_day_exactly(story: Story) -> None:
    only = Recorder()
    limited(story, Provider(only, rate=Rate(per_day=23)), window=3)
    news(story, 60)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            story.engine().run(NEWS, Options(batch_size=10))
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert errors == []
    story.run(NEWS)
    assert story.states() == {"accepted": 23, "deferred: provider_limit": 37}
    assert len(only.sent) == 23
    assert given(story) == {("recorder", "2026-03-10"): 23}
    assert clean(story)
