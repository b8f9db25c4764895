"""The people of the sample shop: names as they are in their countries, addresses on domains nobody owns.

Every address is on a domain reserved for examples (RFC 2606, RFC 6761), every phone number in a range that
regulators keep free for fiction, so that a mistake with this data reaches nobody.
"""

import random
import tomllib
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

DOMAINS = ("example.com", "example.org", "example.net", "post.example", "mail.example", "correo.example")
"""Domains reserved for examples; the shop's customers have their mail there."""


@dataclass(frozen=True, slots=True)
class Country:
    """Where some of the customers live (`countries.toml` explains the fields)."""

    code: str
    locale: str
    share: int
    currency: str
    rate: float
    zones: tuple[str, ...]
    given: tuple[str, ...]
    family: tuple[str, ...]
    phone: str = ""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may become a customer; `handle` is the name as it looks in an address."""

    first_name: str
    last_name: str
    handle: str
    country: Country
    timezone: str
    phone: str


@cache
def countries() -> tuple[Country, ...]:
    """Read the countries."""
    rows: list[dict[str, Any]] = tomllib.loads((files("evergreet.demo") / "countries.toml").read_text("utf-8"))[
        "country"
    ]
    return tuple(
        Country(**{**row, "zones": tuple(row["zones"]), "given": tuple(row["given"].split()),
                   "family": tuple(row["family"].split())})
        for row in rows
    )  # fmt: skip


def meet(chance: random.Random) -> Person:
    """Make up one person."""
    country = chance.choices(countries(), [country.share for country in countries()])[0]
    first, first_plain = _spelled(chance.choice(country.given))
    last, last_plain = _spelled(chance.choice(country.family))
    zone = country.zones[0] if chance.random() < 0.6 else chance.choice(country.zones)
    phone = "".join(str(chance.randrange(10)) if sign == "#" else sign for sign in country.phone)
    has_phone = chance.random() < 0.7
    return Person(first, last, f"{first_plain}.{last_plain}", country, zone, phone if has_phone else "")


_PLAIN = str.maketrans({"ł": "l", "ß": "ss", "ø": "o", "æ": "ae", "ı": "i", "'": "", " ": ""})


def _spelled(name: str) -> tuple[str, str]:
    """Return a name as it is written and as it looks in an address."""
    written, _, plain = name.partition("|")
    lowered = (plain or written).lower().translate(_PLAIN)
    return written, unicodedata.normalize("NFKD", lowered).encode("ascii", "ignore").decode()
