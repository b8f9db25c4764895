"""What a file says about a person, checked: address, phone, locale and timezone.

A value that cannot be read is left out and counted as a warning; the person stays.
"""

from functools import lru_cache
from zoneinfo import ZoneInfo

import phonenumbers
from babel import Locale, UnknownLocaleError

from evergreet.addresses import Address, read_address
from evergreet.errors import DataError


@lru_cache(maxsize=4096)
def address_or_none(written: str) -> Address | None:
    """Return a valid address, or None."""
    try:
        return read_address(written)
    except DataError:
        return None


def phone_or_none(written: str, region: str | None) -> str | None:
    """Return a valid number as E.164; `region` (ISO 3166) is the country of numbers without +, if known."""
    try:
        number = phonenumbers.parse(written, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    formatted: str = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return formatted


@lru_cache(maxsize=1024)
def locale_or_none(written: str) -> str | None:
    """Return a locale that Babel knows, as `de` or `de_AT`; `de-AT` and `de_AT.UTF-8` are understood."""
    try:
        return str(Locale.parse(written.partition(".")[0].replace("-", "_")))
    except (UnknownLocaleError, ValueError, TypeError):
        return None


@lru_cache(maxsize=1024)
def timezone_or_none(written: str) -> str | None:
    """Return the name of an IANA zone that exists, or None."""
    try:
        return ZoneInfo(written).key
    except (KeyError, ValueError, OSError):
        return None


def known_region(region: str) -> str:
    """Return a region that phone numbers know, such as DE, in capitals."""
    if region.upper() not in phonenumbers.SUPPORTED_REGIONS:
        raise DataError(f"--region {region}: there is no such country code; write one such as DE or US.")
    return region.upper()
