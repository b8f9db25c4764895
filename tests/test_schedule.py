"""Due times: spans, local times, and the two days a year when the clock is changed."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreet.campaign import Email, local
from evergreet.durations import Duration, days, hours, minutes
from evergreet.schedule import due_time, zone_of

BERLIN = ZoneInfo("Europe/Berlin")


def step(after: Duration, at: time | None = None) -> Email:
    return Email("s", template="note", after=after, at=None if at is None else local(at))


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("caused", "after", "at", "due"),
    [
        pytest.param(utc(2026, 3, 10, 12), minutes(90), None, utc(2026, 3, 10, 13, 30), id="a span"),
        pytest.param(utc(2026, 3, 10, 12), days(7), time(10), utc(2026, 3, 17, 9), id="a week later at ten, winter"),
        pytest.param(utc(2026, 3, 24, 12), days(7), time(10), utc(2026, 3, 31, 8), id="over the change to summer"),
        pytest.param(utc(2026, 10, 20, 12), days(7), time(10), utc(2026, 10, 27, 9), id="over the change to winter"),
        pytest.param(utc(2026, 3, 10, 23, 30), days(1), time(10), utc(2026, 3, 12, 9), id="it is the next day there"),
        pytest.param(utc(2026, 3, 10, 12), days(0), time(10), utc(2026, 3, 11, 9), id="today's time is past"),
        pytest.param(utc(2026, 3, 10, 6), days(0), time(10), utc(2026, 3, 10, 9), id="today's time is to come"),
        pytest.param(utc(2026, 3, 10, 12), hours(24), time(10), utc(2026, 3, 12, 9), id="hours are a least span"),
        pytest.param(utc(2026, 3, 22, 12), days(7), time(2, 30), utc(2026, 3, 29, 1, 30), id="in the gap"),
        pytest.param(utc(2026, 10, 18, 12), days(7), time(2, 30), utc(2026, 10, 25, 0, 30), id="twice: the first"),
    ],
)
def test_a_step_is_due(caused: datetime, after: Duration, at: time | None, due: datetime) -> None:
    assert due_time(step(after, at), caused, BERLIN) == due


def test_29_february_counts_like_any_day() -> None:
    assert due_time(step(days(1), time(10)), utc(2028, 2, 28, 12), BERLIN) == utc(2028, 2, 29, 9)


@given(
    caused=st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - bounds are naive
    zone=st.sampled_from(
        ["Asia/Kathmandu", "Pacific/Chatham", "America/St_Johns", "Europe/Dublin", "Africa/Casablanca"]
    ),
    amount=st.integers(0, 400),
    at=st.times(),
)
def test_a_local_time_is_never_before_its_cause_and_shows_on_the_wall(
    caused: datetime, zone: str, amount: int, at: time
) -> None:
    at = at.replace(second=0, microsecond=0)
    due = due_time(step(days(amount), at), caused, ZoneInfo(zone))
    assert due >= caused
    shown = due.astimezone(ZoneInfo(zone))
    exists = shown.replace(tzinfo=None) == shown.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    assert exists
    gap = abs((shown.hour * 60 + shown.minute) - (at.hour * 60 + at.minute))
    assert min(gap, 1440 - gap) <= 60, "only a gap of the clock may move it, by the gap"


def test_an_unknown_zone_is_the_default() -> None:
    assert zone_of("Mars/Olympus", "Europe/Berlin") is zone_of(None, "Europe/Berlin") or (
        zone_of("Mars/Olympus", "Europe/Berlin").key == "Europe/Berlin"
    )
