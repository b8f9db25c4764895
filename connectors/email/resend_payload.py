"""What Resend is asked to send: whole messages, up to 100 in a request, each with its own tags and headers."""

import re
from typing import Any

import orjson

from connectors.email.checks import (
    envelope_address,
    refuse_breaks,
    refuse_header_names,
    refuse_header_value,
    refuse_key,
)
from evergreet.contracts import EmailMessage, Mailbox
from evergreet.errors import Misconfigured, Permanent

KEY = "evergreet_key"
ROW = "evergreet_row"
"""Tags that carry the message's key and ledger row; they come back with every event of the message."""
MOST = 100

_TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")
_NOT_IN_NAMES = str.maketrans(dict.fromkeys('",;<>\\', " "))


def written(message: EmailMessage) -> bytes:
    """Return one message as JSON; raises `Permanent` or `Misconfigured` where it cannot be sent as it is."""
    refuse_breaks(message)
    refuse_key(message.key)
    try:
        refuse_header_names(tuple(message.headers))
        for name, value in message.headers.items():
            refuse_header_value(name, value)
        sender = _mailbox(message.sender)
        reply_to = _mailbox(message.reply_to) if message.reply_to is not None else None
    except ValueError as fault:
        raise Misconfigured(
            f"The sender's or reply address cannot be used: {fault}. Correct the sender's settings."
        ) from None
    try:
        to = _mailbox(message.to)
    except ValueError as fault:
        raise Permanent(f"The recipient's address cannot be written to: {fault}.") from None
    content: dict[str, Any] = {"from": sender, "to": [to], "subject": message.subject or " "}
    content |= {name: value for name, value in (("html", message.html), ("text", message.text)) if value}
    if not (message.html or message.text):
        content["text"] = " "
    if reply_to is not None:
        content["reply_to"] = [reply_to]
    if message.headers:
        content["headers"] = dict(message.headers)
    tags = [{"name": KEY, "value": message.key}, {"name": ROW, "value": str(message.row)}] if message.row else []
    if tags and _TAG.fullmatch(message.key):
        content["tags"] = tags
    try:
        return orjson.dumps(content)
    except orjson.JSONEncodeError:
        raise Permanent("The message holds half a character (a lone surrogate): it cannot be encoded.") from None


def _mailbox(mailbox: Mailbox) -> str:
    """Return an address with the name cleared of what would end it."""
    try:
        address = envelope_address(mailbox.address)
    except UnicodeEncodeError:
        raise Permanent("The message holds half a character (a lone surrogate): it cannot be encoded.") from None
    if not address.isascii():
        raise ValueError("what stands before the @ is not ASCII, which Resend cannot write to")
    name = " ".join(mailbox.name.translate(_NOT_IN_NAMES).split())
    return f'"{name}" <{address}>' if name else address
