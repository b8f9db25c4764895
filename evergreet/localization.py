"""Words, dates and money as a contact reads them: gettext catalogues and Babel's formats.

Templates find these as `_()`, `{% trans %}` and the filters `money`, `number`, `date` and `datetime`. Where
the contact is (`Place`) is set around a rendering and not handed through the template, so that macros know
it too.
"""

import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from gettext import NullTranslations
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError, dates, numbers
from jinja2 import Environment, pass_context
from jinja2.runtime import Context

WRITTEN_IN = "en"
"""The language the templates themselves are written in."""

LARGEST = Decimal(10) ** 15
"""A larger amount is a mistake in the data, not a price."""

_CURRENCY = re.compile("([A-Za-z]{3})?")
_PLAIN = frozenset({int, float, str, Decimal})
"""What amounts are, as a rule; others may not be kept as keys."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a contact is: locale of numbers and money, locale of dates, zone, and words in their language.

    Dates are part of a sentence and follow the language of the words: a German contact who is written to in
    English reads "10 March 2026", but "64,00 €".
    """

    numbers: Locale
    dates: Locale
    words: Locale
    zone: ZoneInfo
    translations: NullTranslations

    @property
    def language(self) -> str:
        """The language of the words, as the `lang` attribute wants it."""
        return str(self.words).replace("_", "-")

    @property
    def direction(self) -> str:
        """`ltr` or `rtl`, as the `dir` attribute wants it."""
        return self.words.text_direction


UNTRANSLATED = NullTranslations()
NOWHERE = Place(Locale("en"), Locale("en"), Locale("en"), ZoneInfo("UTC"), UNTRANSLATED)
here: ContextVar[Place] = ContextVar("here", default=NOWHERE)
"""Where the contact is who is written to just now, in this thread; `reading_in` sets it for a block."""


class reading_in:
    """Use the words and formats of `place` inside the block, in this thread only."""

    __slots__ = ("_place", "_token")

    def __init__(self, place: Place) -> None:
        self._place = place

    def __enter__(self) -> None:
        self._token = here.set(self._place)

    def __exit__(self, *_error: object) -> None:
        here.reset(self._token)


def place_of(locale: str, timezone: str, catalogues: Mapping[str, NullTranslations]) -> Place:
    """Find the place of a contact; an unknown locale reads English, an unknown zone is UTC."""
    mine = _locale(locale)
    words, translations = Locale(WRITTEN_IN), UNTRANSLATED
    for candidate in (str(mine), mine.language):
        if candidate in catalogues:
            words, translations = _locale(candidate), catalogues[candidate]
            break
    else:
        if mine.language == WRITTEN_IN:
            words = mine
    spoken = mine if mine.language == words.language else _locale(f"{words.language}_{mine.territory}")
    return Place(mine, spoken, words, _zone(timezone), translations)


def locale_named(name: str) -> Locale | None:
    """Return the locale of exactly this name, `pt-BR` or `pt_BR`; None where there is none."""
    try:
        return Locale.parse(name.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        return None


@lru_cache(maxsize=1024)
def _locale(name: str) -> Locale:
    parts = name.partition(".")[0].replace("-", "_").split("_")
    for length in range(len(parts), 0, -1):
        try:
            return Locale.parse("_".join(parts[:length]))
        except (UnknownLocaleError, ValueError):
            continue
    return Locale(WRITTEN_IN)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")


def _amount(value: Any) -> Decimal:
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"{str(value)[:40]!r} is not a number") from None
    if isinstance(value, bool) or not amount.is_finite() or abs(amount) > LARGEST:
        raise ValueError(f"{str(value)[:40]!r} is not an amount")
    return amount


def _moment(value: Any) -> datetime | date:
    """Read a time as events carry it: ISO 8601 text; without an offset it is UTC."""
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{value[:40]!r} is not a date in ISO 8601") from None
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return value
    raise ValueError(f"{str(value)[:40]!r} is not a date")


def _money(value: Any, currency: Any, times: Any, locale: Locale) -> str:
    amount = _amount(value) * _amount(times) + 0  # no negative zero: it reads otherwise
    if not (currency is None or (isinstance(currency, str) and _CURRENCY.fullmatch(currency))):
        raise ValueError(f"{str(currency)[:40]!r} is not a currency such as EUR")
    if not currency:
        return numbers.format_decimal(amount, format="#,##0.00", locale=locale)
    return numbers.format_currency(amount, currency.upper(), locale=locale)


@lru_cache(maxsize=8192)
def _kept_money(value: Any, _kind: type, currency: str | None, times: int, locale: Locale) -> str:
    return _money(value, currency, times, locale)


@lru_cache(maxsize=8192)
def _date(day: date, style: Any, locale: Locale) -> str:
    return dates.format_date(day, style, locale=locale)


# The filters take the context only so that Jinja does not work out a constant once, at compile time.


@pass_context
def money(_context: Context, value: Any, currency: str | None = None, times: Any = 1) -> str:
    """Write an amount, `times` a quantity, with its currency (ISO 4217); without one, with two decimals."""
    place = here.get()
    kind: Any = type(value)
    if kind in _PLAIN and type(times) is int and (currency is None or type(currency) is str):
        return _kept_money(value, kind, currency, times, place.numbers)  # the type: 1 and True are one key
    return _money(value, currency, times, place.numbers)


@pass_context
def number(_context: Context, value: Any) -> str:
    """Write a number."""
    return numbers.format_decimal(_amount(value), locale=here.get().numbers)


@pass_context
def day(_context: Context, value: Any, style: str = "long") -> str:
    """Write the date of a moment, in the contact's zone."""
    place, moment = here.get(), _moment(value)
    if isinstance(moment, datetime):
        moment = moment.astimezone(place.zone).date()
    return _date(moment, _style(style), place.dates)


@pass_context
def moment(_context: Context, value: Any, style: str = "long") -> str:
    """Write the date and time of a moment, in the contact's zone."""
    place, when = here.get(), _moment(value)
    if not isinstance(when, datetime):
        raise ValueError(f"{value!r} has no time of day; use the filter date")
    local = when.astimezone(place.zone)
    written = _date(local.date(), _style(style), place.dates)
    return f"{written}, {dates.format_time(local, 'short', locale=place.dates)}"


def _style(style: str) -> Any:
    if style not in {"full", "long", "medium", "short"}:
        raise ValueError(f"{style!r} is not full, long, medium or short")
    return style


PLACED = frozenset({"money", "number", "date", "datetime"})
"""The filters that give something else in another place, within one language too."""


def translated(message: str) -> str:
    """Return a message in the words of the place that is read in just now."""
    return here.get().translations.gettext(message)


def install(environment: Environment) -> None:
    """Give an environment the words and formats; it must have the extension `jinja2.ext.i18n`."""
    environment.filters.update(money=money, number=number, date=day, datetime=moment)
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_translations(_WordsHere(), newstyle=True)  # type: ignore[attr-defined]
    environment.globals["_"] = environment.globals["gettext"]  # Jinja's alias looks it up anew, at twice the cost


class _WordsHere:
    """The translations of the place that is read in just now."""

    def gettext(self, message: str) -> str:
        return translated(message)

    def ngettext(self, singular: str, plural: str, count: int) -> str:
        return here.get().translations.ngettext(singular, plural, count)

    def pgettext(self, context: str, message: str) -> str:
        return here.get().translations.pgettext(context, message)

    def npgettext(self, context: str, singular: str, plural: str, count: int) -> str:
        return here.get().translations.npgettext(context, singular, plural, count)
