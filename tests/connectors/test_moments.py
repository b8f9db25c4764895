"""Times that providers tell."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.moments import from_seconds, from_text

TOLD_AT = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize("written", [1_513_299_569, 1_513_299_569.0, "1513299569"])
def test_seconds_are_read_as_numbers_and_as_texts(written: object) -> None:
    assert from_seconds(written, TOLD_AT) == datetime(2017, 12, 15, 0, 59, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    "written", ["2026-02-22T23:41:12.126Z", "2026-02-23T00:41:12.126+01:00", "2026-02-22T23:41:12.126"]
)
def test_a_time_in_iso_8601_is_in_utc_unless_it_says_otherwise(written: str) -> None:
    assert from_text(written, TOLD_AT) == datetime(2026, 2, 22, 23, 41, 12, 126_000, UTC)


@pytest.mark.parametrize("written", [0, -1, 1e300, float("nan"), float("inf"), "", None, [], {}, True, 10**400])
def test_seconds_that_cannot_be_true_are_the_time_at_which_we_were_told(written: object) -> None:
    assert from_seconds(written, TOLD_AT) == TOLD_AT


@given(st.text() | st.sampled_from(["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "1970-01-01"]))
def test_no_text_raises_and_none_is_out_of_the_century(written: str) -> None:
    read = from_text(written, TOLD_AT)
    assert read.tzinfo is UTC
    assert 2000 <= read.year < 2200
