"""Channels: which of them reach a contact and where, and what somebody agrees to by it.

An email goes to `contact.address`, an SMS to `contact.phone` (E.164). The two never look alike, so that suppressions
and the ledger keep both in one column. Agreeing to email is not agreeing to SMS (47 CFR 64.1200, ePrivacy directive
art. 13): the consent for SMS of a topic is a topic of its own, `offers/sms`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias

import phonenumbers
from sqlalchemy import ColumnElement, String, literal, or_
from sqlmodel import col

from evergreet.addresses import read_address
from evergreet.contracts import CrmSink, Sender
from evergreet.errors import DataError
from evergreet.store import words
from models import Contact, Message

Channel: TypeAlias = Literal["email", "sms", "webhook", "slack", "crm"]

AnySender: TypeAlias = Sender | CrmSink
"""What the messages of a channel are handed to; a CRM is pushed to, all others send."""

SETTINGS: Mapping[Channel, str] = {
    "email": "email", "sms": "sms", "webhook": "webhook", "slack": "slack", "crm": "crm_tasks"
}  # fmt: skip
"""The settings that name the connector of a channel."""

_TO_CONTACTS = ("email", "sms")
WENT_TO_CONTACTS = col(Message.channel).in_(words(*_TO_CONTACTS))
"""Whether a row of the ledger is about something that the contact gets."""

SMS_TOPIC = "/sms"
"""What the topic of a consent to SMS ends in."""


def writes_to_contacts(channel: str) -> bool:
    """Whether a channel writes to the contact, and not to our own people or systems."""
    return channel in _TO_CONTACTS


def reached_by(channel: str) -> ColumnElement[str | None]:
    """Return the column of the contact that a channel writes to; NULL for one that does not write to contacts.

    So the ledger has no address of theirs there, and two contacts with one address are two for such a channel.
    """
    if not writes_to_contacts(channel):
        return literal(None, String())
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
