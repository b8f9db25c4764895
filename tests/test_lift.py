"""Intervals against the published ones, and what is said of them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from evergreet.lift import Group, difference, lift, points, ratio, verdict, wilson

# Newcombe, Statistics in Medicine 17 (1998) 873-890, table II, method 10.
PUBLISHED = [
    ((56, 70), (48, 80), 0.0524, 0.3339),
    ((9, 10), (3, 10), 0.1705, 0.8090),
    ((6, 7), (2, 7), 0.0582, 0.8062),
    ((5, 56), (0, 29), -0.0381, 0.1926),
    ((0, 10), (0, 20), -0.1611, 0.2775),
    ((0, 10), (0, 10), -0.2775, 0.2775),
    ((10, 10), (0, 20), 0.6791, 1.0),
    ((10, 10), (0, 10), 0.6075, 1.0),
]

counts = some.integers(1, 10_000).flatmap(lambda trials: some.tuples(some.integers(0, trials), some.just(trials)))


@pytest.mark.parametrize(("first", "second", "low", "high"), PUBLISHED)
def test_the_interval_is_the_published_one(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    found = difference(first, second)
    assert found[1:] == pytest.approx((low, high), abs=5e-5)
    assert found[0] == first[0] / first[1] - second[0] / second[1]


def test_wilson_is_the_published_one() -> None:
    """Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@given(counts, counts)
def test_an_interval_holds_its_estimate_and_stays_in_bounds(first: tuple[int, int], second: tuple[int, int]) -> None:
    low, high = wilson(*first)
    assert 0 <= low <= first[0] / first[1] <= high <= 1
    found, below, above = difference(first, second)
    assert -1 - 1e-9 <= below <= found <= above <= 1 + 1e-9
    swapped = difference(second, first)
    assert swapped == pytest.approx((-found, -above, -below))


@given(counts, counts.filter(lambda pair: pair[0] > 0))
def test_the_ratio_ends_where_the_first_may_just_be_so_many_times_the_second(
    first: tuple[int, int], second: tuple[int, int]
) -> None:
    """The interval of p less R times q, put together from Wilson's, ends at 0 for the R at its ends."""
    p, q = first[0] / first[1], second[0] / second[1]
    (low_p, high_p), (low_q, high_q) = wilson(*first), wilson(*second)
    found, low, high = ratio(first, second)
    assert low - 1e-9 <= found <= high + 1e-9
    assert p - low * q == pytest.approx(math.hypot(p - low_p, low * (high_q - q)), abs=1e-7)
    assert high * q - p == pytest.approx(math.hypot(high_p - p, high * (q - low_q)), rel=1e-6, abs=1e-7)
    _, below, above = difference(first, second)
    if min(abs(below), abs(above)) > 1e-9:
        assert (low <= 1 <= high) == (below <= 0 <= above), "both say the same of chance"


@given(counts, counts)
def test_what_is_said_has_no_figure_that_is_none(first: tuple[int, int], second: tuple[int, int]) -> None:
    found = lift(Group(first[1], first[0]), Group(second[1], second[0]))
    assert found is not None
    assert not any(math.isnan(one) for one in (found.difference, found.low, found.high, found.relative or 0))
    said = verdict(found, "others")
    assert "nan" not in said.lower()
    assert said.startswith("Too early to tell") == (found.low <= 0 <= found.high)


def test_a_certain_lift_is_said_with_its_interval() -> None:
    found = lift(Group(70, 56), Group(80, 48))
    assert found is not None
    assert verdict(found, "others") == (
        "Compared with others, more people convert: +20.0 percentage points (95% confidence interval +5.2 to +33.4), "
        "that is 33% more than they (+8% to +66%)."
    )
    worse = lift(Group(80, 48), Group(70, 56))
    assert worse is not None
    assert verdict(worse, "others") == (
        "Compared with others, fewer people convert: −20.0 percentage points (95% confidence interval −33.4 to −5.2), "
        "that is 25% fewer than they (−40% to −7%)."
    )


def test_without_conversions_there_is_no_relative_lift_and_without_a_group_none_at_all() -> None:
    found = lift(Group(10, 10), Group(10, 0))
    assert found is not None
    assert (found.difference, found.relative, found.certain) == (1.0, None, True)
    assert lift(Group(10, 3), Group()) is None
    assert lift(Group(), Group(10, 3)) is None
    assert (Group().rate, Group().interval) == (None, None)


def test_nothing_is_written_without_a_sign() -> None:
    assert [points(share) for share in (0.0123, -0.0123, 0.0, -0.0001)] == ["+1.2", "−1.2", "0.0", "0.0"]
