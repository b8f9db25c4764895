"""What Brevo is asked to send: one message, or up to 1,000 of one sender as versions of a message that nobody gets.

https://developers.brevo.com/reference/sendtransacemail and `…/docs/batch-send-transactional-emails`. A version takes
what it does not say itself from the request, so each says everything, and what stands there is nobody's.
"""

import html
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any
from uuid import UUID

import orjson

from connectors.email.brevo_settings import BrevoSettings
from connectors.email.mailboxes import SURROGATE, checked_mailboxes
from evergreet.contracts import EmailMessage, Mailbox, Request
from evergreet.errors import Permanent

CUSTOM = "X-Mailin-custom"
KEY = "evergreet_key"
ROW = "evergreet_row"
"""Names in the JSON of that header, which comes back with every event of the message."""
MOST = 1000
MOST_BYTES = 10_000_000
"""Octets of a request: Brevo names no limit, and no mail of ours comes near this alone."""
LONGEST_NAME = 70

_RESERVED = frozenset({"x-mailin-custom", "x-mailin-tag", "x-sib-sandbox", "sender.ip", "idempotencykey"})
_SPECIALS = str.maketrans(dict.fromkeys("()[]:.@", " "))
_NOBODY = {"subject": "Message", "htmlContent": "<p></p>", "textContent": " "}


def written(message: EmailMessage, settings: BrevoSettings) -> tuple[bytes, bytes]:
    """Return the sender of a message, and all else of it, as JSON that stands alone or as a version.

    Raises `Permanent` or `Misconfigured` where it cannot be sent as it is.
    """
    who = checked_mailboxes(message, "Brevo", _RESERVED)
    if any(_holds_placeholder(part) for part in (message.subject, message.html, message.text)):
        raise Permanent("The message holds {{, {% or {#, which Brevo would read as a placeholder of its own.")
    custom = {KEY: message.key, ROW: str(message.row)} if message.row else {KEY: message.key}
    content: dict[str, Any] = {
        "to": [_mailbox(who.to)],
        "subject": message.subject or " ",
        "htmlContent": message.html or f"<pre>{html.escape(message.text)}</pre>",  # Brevo sends none without
        "textContent": message.text or " ",
        "headers": {**message.headers, CUSTOM: orjson.dumps(custom).decode(), **_sandboxed(settings)},
    }
    if who.reply_to is not None:  # in which Brevo writes a name in another alphabet as nobody may
        content["replyTo"] = _mailbox(who.reply_to) if who.reply_to.name.isascii() else {"email": who.reply_to.address}
    try:
        return orjson.dumps(_mailbox(who.sender)), orjson.dumps(content)
    except orjson.JSONEncodeError:
        raise Permanent(SURROGATE) from None


def requests_of(contents: Mapping[int, tuple[bytes, bytes]], settings: BrevoSettings) -> Iterator[Request]:
    """Put messages, by their places in the batch, into as few requests as may be: a request has one sender."""
    senders: dict[bytes, list[tuple[int, bytes]]] = {}
    for place, (sender, content) in contents.items():
        senders.setdefault(sender, []).append((place, content))
    for sender, members in senders.items():
        part: list[tuple[int, bytes]] = []
        size = 0
        for place, content in members:
            if part and (len(part) == MOST or size + len(content) > MOST_BYTES):
                yield _joined(sender, part, settings)
                part, size = [], 0
            part.append((place, content))
            size += len(content)
        yield _joined(sender, part, settings)


def with_key(body: bytes, key: str) -> tuple[bytes, str]:
    """Return a request with its idempotency key where Brevo documents it, and the key: a UUID made from ours."""
    content = orjson.loads(body)
    named = str(UUID(bytes=blake2b(key.encode(), digest_size=16).digest(), version=4))
    content["headers"]["idempotencyKey"] = named
    return orjson.dumps(content), named


def _joined(sender: bytes, part: Sequence[tuple[int, bytes]], settings: BrevoSettings) -> Request:
    """Return the request of these messages; a single one goes without versions."""
    common: dict[str, Any] = {"sender": orjson.Fragment(sender)}
    if settings.tags:
        common["tags"] = list(settings.tags)
    if len(part) == 1:
        common |= orjson.loads(part[0][1])
    else:
        common |= {**_NOBODY, "headers": _sandboxed(settings)}
        common["messageVersions"] = [orjson.Fragment(content) for _, content in part]
    return Request(orjson.dumps(common), tuple(place for place, _ in part))


def _holds_placeholder(part: str) -> bool:
    """Return whether Brevo would read a part of a text as its own: `{#` where `#}` stands anywhere after it."""
    begins = part.find("{#")  # a regular expression would take the square of the text
    return "{{" in part or "{%" in part or (begins >= 0 and part.find("#}", begins + 2) >= 0)


def _sandboxed(settings: BrevoSettings) -> dict[str, str]:
    return {"X-Sib-Sandbox": "drop"} if settings.sandbox else {}


def _mailbox(mailbox: Mailbox) -> dict[str, str]:
    """Return an address with the name as Brevo takes it: in another alphabet it drops one that holds specials."""
    name = mailbox.name if mailbox.name.isascii() else " ".join(mailbox.name.translate(_SPECIALS).split())
    name = name[:LONGEST_NAME].strip()
    return {"email": mailbox.address, "name": name} if name else {"email": mailbox.address}
