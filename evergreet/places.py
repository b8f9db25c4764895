"""Countries and their time zones: what to reckon with where a contact has a country and no zone of their own."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

MOST_POPULOUS = {
    "AQ": "Antarctica/McMurdo",
    "AR": "America/Argentina/Buenos_Aires",
    "AU": "Australia/Sydney",
    "BR": "America/Sao_Paulo",
    "CA": "America/Toronto",
    "CD": "Africa/Kinshasa",
    "CL": "America/Santiago",
    "CN": "Asia/Shanghai",
    "CY": "Asia/Nicosia",
    "DE": "Europe/Berlin",
    "EC": "America/Guayaquil",
    "ES": "Europe/Madrid",
    "FM": "Pacific/Chuuk",
    "GL": "America/Nuuk",
    "ID": "Asia/Jakarta",
    "KI": "Pacific/Tarawa",
    "KZ": "Asia/Almaty",
    "MH": "Pacific/Majuro",
    "MN": "Asia/Ulaanbaatar",
    "MX": "America/Mexico_City",
    "MY": "Asia/Kuala_Lumpur",
    "NZ": "Pacific/Auckland",
    "PF": "Pacific/Tahiti",
    "PG": "Pacific/Port_Moresby",
    "PS": "Asia/Hebron",
    "PT": "Europe/Lisbon",
    "RU": "Europe/Moscow",
    "UA": "Europe/Kyiv",
    "UM": "Pacific/Wake",
    "US": "America/New_York",
    "UZ": "Asia/Tashkent",
}
"""The zone in which most people live, of each country that spans several."""

NOT_IN_ISO = {"EL": "Europe/Athens", "UK": "Europe/London", "XK": "Europe/Belgrade"}
"""Codes that shops write and ISO 3166 does not list: Greece and the United Kingdom as the EU does, and Kosovo."""


def zone_of_country(code: str) -> str | None:
    """Return the IANA zone of a country by its ISO 3166 alpha-2 code in either case; None for any other text.

    Of several zones it is the one in which most people live. Source: `zone.tab` of the tz database.
    """
    return _zones().get(code.strip().upper())


def country_of(attributes: Mapping[str, Any]) -> str | None:
    """Return the attribute `country` of a contact where it is a text."""
    country = attributes.get("country")
    return country if isinstance(country, str) else None


@cache
def _zones() -> dict[str, str]:
    table = (files("tzdata.zoneinfo") / "zone.tab").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in table.splitlines() if line and not line.startswith("#")]
    return {code: zone for code, _, zone, *_ in rows} | MOST_POPULOUS | NOT_IN_ISO
