"""Email addresses: what is a valid one, and when two of them are the same."""

import re
from dataclasses import dataclass
from functools import lru_cache

from email_validator import EmailNotValidError, validate_email

from evergreet.errors import DataError

_PLAIN = re.compile(r"([A-Za-z0-9_+-]{1,64}(?:\.[A-Za-z0-9_+-]{1,63}){0,3})@([A-Za-z0-9.-]{3,180})")
"""Nearly all addresses: their local part is right whatever the domain is, where it has at most 64 characters."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address as it was `written`, and `normalised`: what suppression, caps and duplicates compare."""

    written: str
    normalised: str


def read_address(written: str) -> Address:
    """Check the syntax of an address and normalise it; a wrong one is a `DataError` that says why.

    Normalised means: Unicode NFC, the domain in its ASCII form (IDNA), everything in small letters. The
    local part may in theory be case-sensitive (RFC 5321 §2.4); no mailbox of a customer is, and a
    suppression of `Ann@` has to stop `ann@`. Quoted local parts, display names, address literals and
    special-use domains are refused, except names below `.test`, which nobody can own (RFC 2606): sample
    data lives there.
    """
    plain = _PLAIN.fullmatch(written)
    if plain is not None and len(plain[1]) <= 64 and (domain := _domain(plain[2])) is not None:
        return Address(written, f"{plain[1].lower()}@{domain}")
    return Address(written, _normalised(written))


def _normalised(written: str) -> str:
    try:
        found = validate_email(written, check_deliverability=False, test_environment=True, strict=True)
    except EmailNotValidError as error:
        raise DataError(f"{written[:60]!r} is not an email address: {error}") from None
    if "." not in found.ascii_domain:
        raise DataError(f"{written[:60]!r} is not an email address: its domain has no dot.")
    return f"{found.local_part}@{found.ascii_domain}".lower()


@lru_cache(maxsize=8192)
def _domain(written: str) -> str | None:
    """Return a domain as it stands in normalised addresses, or None where it can be in none."""
    try:
        return _normalised(f"a@{written}").partition("@")[2]
    except DataError:
        return None
