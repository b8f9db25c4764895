"""Channels: where each of them reaches a contact, and what somebody agrees to by it.

An email goes to `contact.address`, an SMS to `contact.phone` (E.164). The two never look alike, so that suppressions
and the ledger keep both in one column. Agreeing to email is not agreeing to SMS (47 CFR 64.1200, ePrivacy directive
art. 13): the consent for SMS of a topic is a topic of its own, `offers/sms`.
"""

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

import phonenumbers
from sqlalchemy import ColumnElement, or_
from sqlmodel import col

from evergreet.addresses import read_address
from evergreet.errors import DataError
from models import Contact

Channel: TypeAlias = Literal["email", "sms"]

SMS_TOPIC = "/sms"
"""What the topic of a consent to SMS ends in."""


def reached_by(channel: str) -> ColumnElement[str | None]:
    """Return the column of the contact that a channel writes to."""
    columns = Contact.__table__.c  # type: ignore[attr-defined]
    column: ColumnElement[str | None] = columns.phone if channel == "sms" else columns.address
    return column


def having(addresses: Iterable[str]) -> ColumnElement[bool]:
    """Say, in a query, whether a contact has one of these normalised addresses or numbers."""
    known = sorted(set(addresses))
    numbers = [one for one in known if is_number(one)]
    mailboxes = col(Contact.address).in_([one for one in known if not is_number(one)])
    return or_(mailboxes, col(Contact.phone).in_(numbers)) if numbers else mailboxes


def consent_topic(topic: str, channel: str) -> str:
    """Return the topic that a marketing message of this channel needs consent to."""
    return topic + SMS_TOPIC if channel == "sms" else topic


def is_number(address: str) -> bool:
    """Whether it is a phone number and no mailbox."""
    return address.startswith("+") and "@" not in address


def read_number(written: str) -> str:
    """Return an international phone number as E.164; a wrong one is a `DataError` that says what to write."""
    try:
        number = phonenumbers.parse(written)
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not phonenumbers.is_possible_number(number):
        raise DataError(f"{written!r} is no phone number; write it with + and the country's code: +4915123456789.")
    formatted: Any = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return str(formatted)


def read_destination(written: str) -> str:
    """Return what somebody wrote, an email address or a phone number, in its normalised form."""
    return read_number(written) if is_number(written.strip()) else read_address(written).normalised
