"""A message's addresses as APIs take them: checked, in ASCII, names without what would end them."""

from dataclasses import dataclass

from connectors.email.checks import (
    envelope_address,
    refuse_breaks,
    refuse_header_names,
    refuse_header_value,
    refuse_key,
)
from evergreet.contracts import EmailMessage, Mailbox
from evergreet.errors import Misconfigured, Permanent

SURROGATE = "The message holds half a character (a lone surrogate): it cannot be encoded."

_NOT_IN_NAMES = str.maketrans(dict.fromkeys('",;<>\\', " "))


@dataclass(frozen=True, slots=True)
class Mailboxes:
    """Who writes to whom, and where answers go."""

    to: Mailbox
    sender: Mailbox
    reply_to: Mailbox | None


def checked_mailboxes(message: EmailMessage, provider: str, reserved: frozenset[str] = frozenset()) -> Mailboxes:
    """Return the addresses of a message that a provider can be asked to send, as far as can be known here.

    `reserved` are headers that mean something to the provider, in small letters; they cannot be given as extra headers.
    Raises `Permanent` where the message cannot be sent as it is, `Misconfigured` where its sender cannot.
    """
    refuse_breaks(message)
    refuse_key(message.key)
    refuse_header_names(tuple(message.headers), reserved)
    for name, value in message.headers.items():
        refuse_header_value(name, value)
    try:
        sender = _clean(message.sender, provider)
        reply_to = _clean(message.reply_to, provider) if message.reply_to is not None else None
    except ValueError as fault:
        raise Misconfigured(
            f"The sender's or reply address cannot be used: {fault}. Correct the sender's settings."
        ) from None
    try:
        return Mailboxes(_clean(message.to, provider), sender, reply_to)
    except ValueError as fault:
        raise Permanent(f"The recipient's address cannot be written to: {fault}.") from None


def quoted(mailbox: Mailbox) -> str:
    """Return a clean mailbox as one text."""
    return f'"{mailbox.name}" <{mailbox.address}>' if mailbox.name else mailbox.address


def _clean(mailbox: Mailbox, provider: str) -> Mailbox:
    try:
        address = envelope_address(mailbox.address)
    except UnicodeEncodeError:
        raise Permanent(SURROGATE) from None
    if not address.isascii():
        raise ValueError(f"what stands before the @ is not ASCII, which {provider} cannot write to")
    return Mailbox(address, " ".join(mailbox.name.translate(_NOT_IN_NAMES).split()))
