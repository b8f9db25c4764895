"""Cells and JSON values as text, numbers, yes or no; times in every form; people's values."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreet.errors import DataError
from evergreet.importing import values
from evergreet.importing.people import known_region, locale_or_none, phone_or_none, timezone_or_none
from evergreet.importing.rejects import Rejected
from evergreet.importing.times import NaiveTime, as_time, open_zone
from evergreet.importing.values import as_boolean, as_number, as_object, as_text, canonical, digest, recognised, typed
from tests.conftest import NOW

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("0", 0), ("12", 12), ("-7", -7), ("3.50", 3.5), ("-0.25", -0.25), ("999999999999999", 999999999999999),
        ("007", "007"), ("+49", "+49"), ("1e3", "1e3"), ("1,5", "1,5"), ("9999999999999999", "9999999999999999"),
        ("0.1234567890123456", "0.1234567890123456"), (" 1", " 1"), ("1 ", "1 "), ("1.", "1."), (".5", ".5"),
        ("NaN", "NaN"), ("true", "true"), ("٣", "٣"), ("", ""), ("1\n", "1\n"),
    ],
)  # fmt: skip
def test_only_plain_numbers_are_recognised(cell: str, value: Any) -> None:
    assert recognised(cell) == value
    assert type(recognised(cell)) is type(value)


@pytest.mark.parametrize("word", ["true", "TRUE", " yes ", "1", "on", True, 1, "y", "t"])
def test_words_that_mean_yes(word: Any) -> None:
    assert as_boolean(word, "x") is True


@pytest.mark.parametrize("word", ["maybe", "2", "ja", 2, [], "tru"])
def test_a_word_that_is_neither_yes_nor_no_is_rejected(word: Any) -> None:
    with pytest.raises(Rejected, match="not yes or no"):
        as_boolean(word, "consent.orders")


@pytest.mark.parametrize("value", ["abc", "1,5", "nan", "inf", "1e999", "9" * 30])
def test_what_is_no_storable_number_is_rejected(value: Any) -> None:
    with pytest.raises(Rejected):
        as_number(value, "amount")


def test_types_of_a_mapping() -> None:
    assert typed("1.5", "number", "x") == 1.5
    assert typed("12", "number", "x") == 12
    assert typed(12, "text", "x") == "12"
    assert typed(" 012 ", "text", "x") == " 012 "
    assert typed("no", "boolean", "x") is False
    assert typed(None, "number", "x") is None
    assert typed("", "number", "x") is None


@pytest.mark.parametrize("value", [True, {"a": 1}, [1]])
def test_text_is_never_made_from_something_else(value: Any) -> None:
    with pytest.raises(Rejected, match="wrong type"):
        as_text(value, "name", 10)


def test_text_longer_than_its_column_is_rejected() -> None:
    assert as_text(" 1234567890 ", "name", 10) == "1234567890"
    with pytest.raises(Rejected, match="too long: name has 11 characters, 10 are allowed"):
        as_text("12345678901", "name", 10)


def test_an_object_may_stand_in_a_cell_as_text() -> None:
    assert as_object('{"a": 1}', "properties") == {"a": 1}
    assert as_object({"a": 1}, "properties") == {"a": 1}
    assert as_object(None, "properties") == as_object(" ", "properties") == {}
    for wrong in ("[1]", "text", ["a"], 5):
        with pytest.raises(Rejected):
            as_object(wrong, "properties")


def test_the_digest_ignores_order_and_the_form_of_a_number_but_no_type() -> None:
    assert digest({"a": 5, "b": [1.0]}) == digest({"b": [1], "a": 5.0})
    assert len({digest(value) for value in (True, 1, "1", None, [1], 1.5)}) == 6
    assert canonical(1e16) == canonical(10**16)


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-03-09T12:00:00Z", datetime(2026, 3, 9, 12, tzinfo=UTC)),
        ("2026-03-09T12:00:00+02:00", datetime(2026, 3, 9, 10, tzinfo=UTC)),
        ("2026-03-09 12:00:00.123456+00", datetime(2026, 3, 9, 12, 0, 0, 123456, UTC)),
        ("2026-03-09 12:00:00 UTC", datetime(2026, 3, 9, 12, tzinfo=UTC)),
        ("2026-03-09 12:00:00", datetime(2026, 3, 9, 11, tzinfo=UTC)),
        ("2026-03-09", datetime(2026, 3, 8, 23, tzinfo=UTC)),
        ("20260309", datetime(2026, 3, 8, 23, tzinfo=UTC)),
        (" 1710325274 ", datetime(2024, 3, 13, 10, 21, 14, tzinfo=UTC)),
        (1710325274, datetime(2024, 3, 13, 10, 21, 14, tzinfo=UTC)),
        ("1710325274.000001", datetime(2024, 3, 13, 10, 21, 14, 1, UTC)),
        (1710325274123, datetime(2024, 3, 13, 10, 21, 14, 123000, UTC)),
        ("100000000", datetime(1973, 3, 3, 9, 46, 40, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        (NOW.isoformat(), NOW),
        ((NOW + timedelta(days=1)).isoformat(), NOW + timedelta(days=1)),
        # clocks go forward: 02:30 does not exist, read with the offset before; back: the first of the two
        ("2025-03-30 02:30:00", datetime(2025, 3, 30, 1, 30, tzinfo=UTC)),
        ("2025-10-26 02:30:00", datetime(2025, 10, 26, 0, 30, tzinfo=UTC)),
        ("2025-10-26 03:00:00", datetime(2025, 10, 26, 2, 0, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_moments_in_utc(written: Any, moment: datetime) -> None:
    assert as_time(written, "occurred_at", BERLIN, NOW) == moment


@pytest.mark.parametrize(
    "written",
    [
        "13/03/2024",
        "yesterday",
        "2024-13-01T00:00:00Z",
        "2024-02-30",
        "12:00",
        True,
        [],
        "1e3",
        "٢٠٢٤",
        "2024",
        "0",
        "-1",
    ],
)
def test_an_unreadable_time_is_rejected(written: Any) -> None:
    with pytest.raises(Rejected, match="unreadable time"):
        as_time(written, "occurred_at", BERLIN, NOW)


@pytest.mark.parametrize(
    "written",
    ["1969-12-31T23:59:59Z", "0001-01-01", "9999-12-31", "-100000000", "20240313102114", 1710325274123456,
     (NOW + timedelta(days=1, microseconds=1)).isoformat(), "9" * 400],
)  # fmt: skip
def test_a_time_out_of_range_is_rejected(written: Any) -> None:
    with pytest.raises(Rejected, match=r"time out of range|unreadable time"):
        as_time(written, "occurred_at", BERLIN, NOW)


def test_a_time_without_a_zone_is_never_guessed() -> None:
    with pytest.raises(NaiveTime, match="--timezone"):
        as_time("2024-03-13 10:21:14", "occurred_at", None, NOW)
    assert as_time("", "occurred_at", None, NOW) is None
    with pytest.raises(DataError, match="no such IANA time zone"):
        open_zone("Europe/Atlantis")
    with pytest.raises(DataError, match="no such IANA time zone"):
        open_zone("../etc/passwd")


def test_phones_become_e164() -> None:
    assert phone_or_none("+49 30 901820", None) == "+4930901820"
    assert phone_or_none("030 901820", "DE") == "+4930901820"
    assert phone_or_none("030 901820", None) is None
    assert phone_or_none("+49 1", None) is None
    assert phone_or_none("call me", "DE") is None
    assert known_region("de") == "DE"
    with pytest.raises(DataError, match="no such country code"):
        known_region("XX")


def test_locales_and_timezones_must_exist() -> None:
    written = ("de", "de-AT", "pt_BR.UTF-8", "zh-Hant-TW", "xx", "de_XX_", "english", "")
    assert [locale_or_none(text) for text in written] == [
        "de", "de_AT", "pt_BR", "zh_Hant_TW", None, None, None, None,
    ]  # fmt: skip
    assert [timezone_or_none(text) for text in ("Europe/Berlin", "UTC", "Europe", "Europe/Atlantis", "/etc", "")] == [
        "Europe/Berlin", "UTC", None, None, None, None,
    ]  # fmt: skip


_TEXTS = st.text(st.sampled_from('ab": ,\\\t{}\u00e9\x00'), max_size=6)
_DOCUMENTS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**65), 2**65), st.floats(), _TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_TEXTS, inner, max_size=3)),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    pairs=st.lists(st.tuples(_TEXTS, _DOCUMENTS), max_size=4),
    colon=st.sampled_from([":", ": ", " : ", "\t:", "  :\r"]),
    ascii_only=st.booleans(),
)
def test_objects_read_the_quick_way_are_those_read_carefully(
    pairs: list[tuple[str, Any]], colon: str, ascii_only: bool
) -> None:
    """Names may stand twice, which the quick way does not see by itself."""
    raw = ", ".join(f"{json.dumps(name)}{colon}{json.dumps(value, ensure_ascii=ascii_only)}" for name, value in pairs)
    quickly = values._read_plainly(f"{{{raw}}}")
    if quickly is not None:
        assert repr(quickly) == repr(values._read_carefully(f"{{{raw}}}"))


@pytest.mark.parametrize("raw", ['{"a": 1, "a": 2}', '{"a": 1, "a" : 2}', '{"a": {"b": 1, "b":2}}', '{"a": 1e999}'])
def test_the_quick_way_leaves_what_is_wrong_to_the_careful_one(raw: str) -> None:
    assert values._read_plainly(raw) is None
    with pytest.raises(Rejected):
        values.read_object(raw)
