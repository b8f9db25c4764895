"""Due times and opening hours: spans, local times, places, and the days when the clock is changed."""

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from importlib.resources import files
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreet.campaign import WEEKDAYS, Email, SendWindow, local, send_window
from evergreet.durations import Duration, days, hours, minutes
from evergreet.places import MOST_POPULOUS, country_of, zone_of_country
from evergreet.schedule import OpenHours, due_time, latest, longest_wait, opening, zone_of

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


@pytest.mark.parametrize(
    ("name", "country", "zone"),
    [
        ("Asia/Tokyo", "DE", "Asia/Tokyo"),
        (None, "DE", "Europe/Berlin"),
        (None, " gb ", "Europe/London"),
        (None, "uk", "Europe/London"),
        (None, "us", "America/New_York"),
        ("Mars/Olympus", "NP", "Asia/Kathmandu"),
        ("Mars/Olympus", None, "Europe/Vienna"),
        (None, "Germany", "Europe/Vienna"),
        (None, "ZZ", "Europe/Vienna"),
        ("../../etc/passwd", "", "Europe/Vienna"),
        ("", None, "Europe/Vienna"),
    ],
)
def test_the_zone_is_the_contacts_own_then_the_countrys_then_the_default(
    name: str | None, country: str | None, zone: str
) -> None:
    assert zone_of(name, "Europe/Vienna", country).key == zone


def test_each_country_of_several_zones_says_which_is_meant_and_every_country_has_one() -> None:
    table = (files("tzdata.zoneinfo") / "zone.tab").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in table.splitlines() if not line.startswith("#")]
    counts = Counter(row[0] for row in rows)
    assert len(counts) > 240
    assert {code for code, zones in counts.items() if zones > 1} == set(MOST_POPULOUS)
    assert MOST_POPULOUS.items() <= {(row[0], row[2]) for row in rows}, "each is a zone of that country"
    for code in counts:
        assert ZoneInfo(zone_of_country(code) or "")


@pytest.mark.parametrize(
    ("attributes", "country"),
    [({"country": "DE"}, "DE"), ({}, None), ({"country": None}, None), ({"country": 49}, None)],
)
def test_a_country_is_a_text(attributes: dict[str, object], country: str | None) -> None:
    assert country_of(attributes) == country


NIGHT = OpenHours(None, time(21), time(8))
OFFICE = OpenHours(send_window("mon-fri", 9, 18))
"""10 March 2026 is a Tuesday; Berlin is an hour ahead of UTC in winter and two in summer."""


@pytest.mark.parametrize(
    ("moment", "open_hours", "zone", "opens"),
    [
        pytest.param(utc(2026, 3, 10, 20), NIGHT, "Europe/Berlin", utc(2026, 3, 11, 7), id="21:00: quiet begins"),
        pytest.param(utc(2026, 3, 10, 19, 59), NIGHT, "Europe/Berlin", utc(2026, 3, 10, 19, 59), id="not yet quiet"),
        pytest.param(utc(2026, 3, 11, 6, 59), NIGHT, "Europe/Berlin", utc(2026, 3, 11, 7), id="a minute to eight"),
        pytest.param(utc(2026, 3, 11, 7), NIGHT, "Europe/Berlin", utc(2026, 3, 11, 7), id="08:00: it is over"),
        pytest.param(
            utc(2026, 3, 10, 12), OpenHours(None, time(12), time(14)), "Europe/Berlin", utc(2026, 3, 10, 13), id="noon"
        ),
        pytest.param(
            utc(2026, 3, 28, 23), OpenHours(None, time(21), time(2, 30)), "Europe/Berlin", utc(2026, 3, 29, 1),
            id="quiet ends in the gap: open where the clock goes on, at 03:00",
        ),
        pytest.param(
            utc(2026, 10, 25, 0), OpenHours(None, time(21), time(2, 30)), "Europe/Berlin", utc(2026, 10, 25, 0, 30),
            id="quiet ends for the first time",
        ),
        pytest.param(
            utc(2026, 10, 25, 1, 15), OpenHours(None, time(21), time(2, 30)), "Europe/Berlin",
            utc(2026, 10, 25, 1, 30), id="the hour comes again, and quiet ends again",
        ),
        pytest.param(utc(2026, 3, 10, 23), OpenHours(None, None, time(8)), "Europe/Berlin", utc(2026, 3, 10, 23),
                     id="quiet until something, from nothing: never quiet"),
        pytest.param(utc(2026, 3, 10, 23), OpenHours(None, time(8), time(8)), "Europe/Berlin", utc(2026, 3, 10, 23),
                     id="quiet from eight to eight: never quiet"),
        pytest.param(utc(2026, 3, 10, 12), OFFICE, "Europe/Berlin", utc(2026, 3, 10, 12), id="Tuesday at 13:00"),
        pytest.param(utc(2026, 3, 10, 17), OFFICE, "Europe/Berlin", utc(2026, 3, 11, 8), id="it closes at 18:00"),
        pytest.param(utc(2026, 3, 13, 20), OFFICE, "Europe/Berlin", utc(2026, 3, 16, 8), id="over the week-end"),
        pytest.param(utc(2026, 3, 27, 20), OFFICE, "Europe/Berlin", utc(2026, 3, 30, 7), id="and over the change"),
        pytest.param(
            utc(2026, 3, 13, 20), OpenHours(send_window("mon-fri", 6, 24), time(22), time(8, 30)), "Europe/Berlin",
            utc(2026, 3, 13, 20), id="Friday at 21:00 in a window to midnight",
        ),
        pytest.param(
            utc(2026, 3, 13, 21), OpenHours(send_window("mon-fri", 6, 24), time(22), time(8, 30)), "Europe/Berlin",
            utc(2026, 3, 16, 7, 30), id="quiet at 22:00: Monday, when it is no longer quiet",
        ),
        pytest.param(
            utc(2026, 3, 28, 12), OpenHours(send_window("sun", 2, 4)), "Europe/Berlin", utc(2026, 3, 29, 1),
            id="the first hour of the window is left out",
        ),
        pytest.param(
            utc(2026, 3, 22, 12), OpenHours(send_window("sun", 2, 3)), "Europe/Berlin", utc(2026, 4, 5, 0),
            id="the whole window is left out: the week after",
        ),
        pytest.param(
            utc(2026, 10, 25, 1), OpenHours(send_window("sun", 1, 3)), "Europe/Berlin", utc(2026, 10, 25, 1),
            id="the window is open in the second hour too",
        ),
        pytest.param(
            utc(2026, 10, 25, 0), OpenHours(send_window("sun", 1, 3), time(2), time(2, 59)), "Europe/Berlin",
            utc(2026, 10, 25, 0, 59), id="the last minute of the first time",
        ),
        pytest.param(
            utc(2011, 12, 24, 10), OpenHours(send_window("fri", 9, 17)), "Pacific/Apia", utc(2012, 1, 5, 19),
            id="a Friday that never was: the next one",
        ),
        pytest.param(
            utc(2026, 10, 3, 15, 10), OpenHours(send_window("sun", 2, 3)), "Australia/Lord_Howe",
            utc(2026, 10, 3, 15, 30), id="half an hour is left out: 02:00 is 02:30",
        ),
        pytest.param(
            utc(2026, 4, 4, 14, 45), OpenHours(None, time(1, 40), time(1, 50)), "Australia/Lord_Howe",
            utc(2026, 4, 4, 14, 50), id="half an hour comes twice: quiet for the first time",
        ),
        pytest.param(
            utc(2026, 4, 4, 15, 15), OpenHours(None, time(1, 40), time(1, 50)), "Australia/Lord_Howe",
            utc(2026, 4, 4, 15, 20), id="and for the second",
        ),
        pytest.param(utc(2026, 3, 10, 4), OFFICE, "Asia/Kathmandu", utc(2026, 3, 10, 4), id="09:45 in Kathmandu"),
        pytest.param(utc(2026, 3, 10, 12, 15), OFFICE, "Asia/Kathmandu", utc(2026, 3, 11, 3, 15), id="closed there"),
        pytest.param(utc(2026, 3, 10, 12), OFFICE, "Pacific/Chatham", utc(2026, 3, 10, 19, 15), id="13:45 ahead"),
        pytest.param(
            utc(2026, 3, 10, 12), OpenHours(send_window("mon-sun", 22, 24), time(21), time(8)), "UTC", None,
            id="open only while it is quiet: never",
        ),
    ],
)  # fmt: skip
def test_a_message_may_go_at(moment: datetime, open_hours: OpenHours, zone: str, opens: datetime | None) -> None:
    assert opening(moment, ZoneInfo(zone), open_hours) == opens


AWKWARD_ZONES = (
    "Europe/Berlin", "America/New_York", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu",
    "Pacific/Chatham", "Pacific/Apia", "Africa/Casablanca", "Africa/Cairo", "America/Havana", "America/Sao_Paulo",
    "Atlantic/Azores", "Pacific/Kiritimati", "Antarctica/Troll", "Asia/Gaza",
)  # fmt: skip
AROUND_CHANGES = (
    utc(2011, 12, 24), utc(2018, 2, 12), utc(2018, 10, 30), utc(2026, 2, 12), utc(2026, 3, 5),
    utc(2026, 3, 25), utc(2026, 4, 2), utc(2026, 4, 20), utc(2026, 9, 22), utc(2026, 10, 22),
)  # fmt: skip
CLOCK_TIMES = st.builds(time, st.integers(0, 23), st.sampled_from((0, 15, 30, 59)))


def may_go(moment: datetime, zone: ZoneInfo, window: SendWindow | None, quiet: tuple[time, time] | None) -> bool:
    """Say by the names and figures on the wall whether it is open: no code is shared with the product."""
    wall = moment.astimezone(zone)
    minute = wall.hour * 60 + wall.minute
    if window is not None:
        name = wall.strftime("%a").lower()
        if name not in [WEEKDAYS[day] for day in window.weekdays]:
            return False
        if minute < int(str(window.opens)) * 60 or minute >= int(str(window.closes)) * 60:
            return False
    if quiet is None:
        return True
    begin, end = (at.hour * 60 + at.minute for at in quiet)
    length = (end - begin) % 1440
    return (minute - begin) % 1440 >= length


@settings(max_examples=200, deadline=None)
@given(
    begin=st.sampled_from(AROUND_CHANGES),
    minute=st.integers(0, 8 * 1440),
    zone=st.sampled_from(AWKWARD_ZONES),
    weekdays=st.sets(st.integers(0, 6), min_size=1),
    hours_open=st.none() | st.tuples(st.integers(0, 23), st.integers(1, 24)).filter(lambda pair: pair[0] < pair[1]),
    quiet=st.none() | st.tuples(CLOCK_TIMES, CLOCK_TIMES),
)
def test_it_is_the_first_minute_that_is_in_the_window_and_not_quiet(
    begin: datetime, minute: int, zone: str, weekdays: set[int], hours_open: tuple[int, int] | None,
    quiet: tuple[time, time] | None,
) -> None:  # fmt: skip
    moment = begin + timedelta(minutes=minute)
    window = None if hours_open is None else SendWindow(tuple(sorted(weekdays)), *hours_open)
    found = opening(moment, ZoneInfo(zone), OpenHours(window, *(quiet or (None, None))))
    first = next(
        (
            at for at in (moment + timedelta(minutes=ahead) for ahead in range(15 * 1440))
            if may_go(at, ZoneInfo(zone), window, quiet)
        ),
        None,
    )  # fmt: skip
    assert found == first


MINUTE = timedelta(minutes=1)


@settings(max_examples=60, deadline=None)
@given(
    begin=st.sampled_from(AROUND_CHANGES),
    minute=st.integers(0, 8 * 1440),
    zone=st.sampled_from(AWKWARD_ZONES),
    weekdays=st.sets(st.integers(0, 6), min_size=1),
    hours_open=st.none() | st.tuples(st.integers(0, 23), st.integers(1, 24)).filter(lambda pair: pair[0] < pair[1]),
    quiet=st.tuples(CLOCK_TIMES, CLOCK_TIMES),
    late=st.sampled_from((0, 30, 120, 1440, 2880)),
)
def test_lateness_stands_still_before_the_first_opening_and_while_it_is_closed_at_its_end(
    begin: datetime, minute: int, zone: str, weekdays: set[int], hours_open: tuple[int, int] | None,
    quiet: tuple[time, time], late: int,
) -> None:  # fmt: skip
    due, place = begin + minute * MINUTE, ZoneInfo(zone)
    window = None if hours_open is None else SendWindow(tuple(sorted(weekdays)), *hours_open)
    step = Email("s", template="note", window=window)
    found = latest(due, late * MINUTE, place, OpenHours(window, *quiet))

    def first_open(moment: datetime) -> datetime | None:
        minutes = (moment + ahead * MINUTE for ahead in range(15 * 1440))
        return next((at for at in minutes if may_go(at, place, window, quiet)), None)

    begins = first_open(due)
    if begins is None:
        assert found == due + late * MINUTE
        return
    end = closed = begins + late * MINUTE
    again = first_open(end)
    while again not in {None, end} and not may_go(closed - MINUTE, place, window, quiet):
        closed -= MINUTE
    assert found == (again or end) + (end - closed)
    assert found <= due + late * MINUTE + longest_wait(step), "so far back a restore looks for what may have gone"


@given(seconds=st.integers(0, 8 * 86400), zone=st.sampled_from(AWKWARD_ZONES))
def test_between_two_minutes_it_opens_on_the_minute_and_never_in_the_past(seconds: int, zone: str) -> None:
    moment = datetime(2026, 3, 25, tzinfo=UTC) + timedelta(seconds=seconds, microseconds=1)
    found = opening(moment, ZoneInfo(zone), OpenHours(send_window("mon-fri", 9, 18), time(12), time(13, 30)))
    assert found is not None
    assert found == moment or (found > moment and found.second == found.microsecond == 0)
