"""Money, numbers and dates as a contact reads them."""

from datetime import UTC, date, datetime
from decimal import Decimal
from gettext import NullTranslations
from typing import Any

import pytest

from evergreet.catalogues import catalogue
from evergreet.localization import place_of, reading_in
from evergreet.sandbox import environment

EVENING = datetime(2026, 3, 10, 23, 30, tzinfo=UTC)
GERMAN = catalogue(
    "de", 'msgid "Hello"\nmsgstr "Hallo"\n\nmsgid "one"\nmsgid_plural "many"\nmsgstr[0] "ein"\nmsgstr[1] "viele"\n'
)


def shown(expression: str, locale: str = "en", timezone: str = "UTC", **values: Any) -> str:
    template = environment({"a.txt": "{{ " + expression + " }}"}).get_template("a.txt")
    with reading_in(place_of(locale, timezone, {"de": GERMAN})):
        return template.render(values).replace("\u00a0", " ").replace("\u202f", " ")


@pytest.mark.parametrize(
    ("locale", "value", "currency", "written"),
    [
        ("en_GB", 1234.5, "GBP", "£1,234.50"),
        ("en-US", "1234.5", "USD", "$1,234.50"),
        ("de_DE", Decimal("1234.5"), "eur", "1.234,50 €"),
        ("ja_JP", 1234, "JPY", "¥1,234"),
        ("fr", 12, "EUR", "12,00 €"),
        ("xx_YY", 12, "EUR", "€12.00"),
        ("", 12, "EUR", "€12.00"),
        ("../../etc/passwd", 12, "EUR", "€12.00"),
        ("de_DE.UTF-8", 12, "EUR", "12,00 €"),
        ("en_GB", -3, "GBP", "-£3.00"),
        ("en_GB", 3, None, "3.00"),
        ("de", 3, "", "3,00"),
        ("en", 3, "XQZ", "XQZ3.00"),
    ],
)
def test_money_is_written_in_the_contacts_locale(locale: str, value: Any, currency: str | None, written: str) -> None:
    assert shown("value|money(currency)", locale, value=value, currency=currency).replace("￥", "¥") == written


def test_money_times_a_quantity_is_exact() -> None:
    assert shown("'0.10'|money('EUR', 3)") == "€0.30"
    assert shown("'12.00'|money('EUR', '2')") == "€24.00"


@pytest.mark.parametrize("wrong", ["n/a", "", None, True, "nan", float("inf"), 1e30, "1e999999", [], {"a": 1}])
def test_what_is_no_amount_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"is not an? (amount|number)"):
        shown("value|money('EUR')", value=wrong)


@pytest.mark.parametrize("wrong", ["EURO", "€", "E1R", 5, "e\nr"])
def test_what_is_no_currency_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="is not a currency"):
        shown("5|money(currency)", currency=wrong)


@pytest.mark.parametrize(
    ("timezone", "locale", "written"),
    [
        ("UTC", "en_GB", "10 March 2026"),
        ("Europe/Berlin", "en_GB", "11 March 2026"),
        ("America/Los_Angeles", "en_US", "March 10, 2026"),
        ("Mars/Olympus", "en_GB", "10 March 2026"),
        ("../../etc/passwd", "en_GB", "10 March 2026"),
        ("Europe/Berlin", "de_DE", "11. März 2026"),
        ("Europe/Paris", "fr_FR", "11 March 2026"),  # the words are English: so is the date
    ],
)
def test_a_date_is_the_contacts_own_day_in_the_language_of_the_words(timezone: str, locale: str, written: str) -> None:
    assert shown("when|date", locale, timezone, when=EVENING) == written


@pytest.mark.parametrize(
    ("when", "written"),
    [
        ("2026-03-10T23:30:00+00:00", "11 March 2026"),
        ("2026-03-10T23:30:00Z", "11 March 2026"),
        ("2026-03-10T23:30:00", "11 March 2026"),
        ("2026-03-10", "10 March 2026"),
        (date(2026, 3, 10), "10 March 2026"),
    ],
)
def test_times_of_events_are_text_and_a_day_stays_that_day(when: Any, written: str) -> None:
    assert shown("when|date", "en_GB", "Europe/Berlin", when=when) == written


def test_a_moment_has_the_local_time_of_day() -> None:
    assert shown("when|datetime", "en_GB", "Europe/Berlin", when=EVENING) == "11 March 2026, 00:30"
    assert shown("when|datetime('short')", "en_US", "UTC", when=EVENING) == "3/10/26, 11:30 PM"


@pytest.mark.parametrize(
    "expression", ["5|date", "'soon'|date", "'2026-03-10'|datetime", "when|date('huge')", "none|date"]
)
def test_what_is_no_date_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"is not|no time of day"):
        shown(expression, when=EVENING)


def test_numbers_are_grouped_as_the_locale_does() -> None:
    assert (shown("12345.5|number", "de"), shown("12345.5|number", "en")) == ("12.345,5", "12,345.5")


def test_words_come_from_the_nearest_catalogue() -> None:
    assert shown("_('Hello')", "de_AT") == "Hallo"
    assert shown("_('Hello')", "fr") == "Hello"
    assert [shown("ngettext('one', 'many', n)", "de", n=n) for n in (1, 2)] == ["ein", "viele"]


def test_the_language_of_the_words_is_known_for_the_lang_attribute() -> None:
    arabic = place_of("ar_EG", "UTC", {"ar": NullTranslations()})
    assert (arabic.language, arabic.direction) == ("ar", "rtl")
    assert place_of("en_GB", "UTC", {}).language == "en-GB"
    assert place_of("fr_FR", "UTC", {}).language == "en"
