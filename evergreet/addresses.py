"""Email addresses: what is a valid one, and when two of them are the same."""

from dataclasses import dataclass

from email_validator import EmailNotValidError, validate_email

from evergreet.errors import DataError


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
    try:
        found = validate_email(written, check_deliverability=False, test_environment=True, strict=True)
    except EmailNotValidError as error:
        raise DataError(f"{written[:60]!r} is not an email address: {error}") from None
    if "." not in found.ascii_domain:
        raise DataError(f"{written[:60]!r} is not an email address: its domain has no dot.")
    return Address(written, f"{found.local_part}@{found.ascii_domain}".lower())
