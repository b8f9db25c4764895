"""What Postmark is asked to send: whole messages, up to 500 and 50 MB in a request, each with its own metadata.

https://postmarkapp.com/developer/api/email-api#send-batch-emails; limits of metadata in
https://postmarkapp.com/support/article/1125-custom-metadata-faq.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from connectors.email.mailboxes import SURROGATE, checked_mailboxes, quoted
from connectors.email.postmark_settings import PostmarkSettings
from evergreet.contracts import EmailMessage, Request
from evergreet.errors import Permanent

KEY = "evergreet_key"
ROW = "evergreet_row"
"""Metadata that carry the message's key and ledger row; they come back with every event of the message."""
LONGEST_VALUE = 80
"""Characters of a value in metadata."""
MOST = 500
MOST_BYTES = 50_000_000


def written(message: EmailMessage, settings: PostmarkSettings) -> bytes:
    """Return one message as JSON; raises `Permanent` or `Misconfigured` where it cannot be sent as it is."""
    who = checked_mailboxes(message, "Postmark")
    is_marketing = message.topic != "" or any(name.lower() == "list-unsubscribe" for name in message.headers)
    content: dict[str, Any] = {
        "From": quoted(who.sender), "To": quoted(who.to), "Subject": message.subject,
        "TrackOpens": settings.open_tracking, "TrackLinks": settings.link_tracking,
        "MessageStream": settings.broadcast_stream if is_marketing else settings.transactional_stream,
    }  # fmt: skip
    content |= {name: value for name, value in (("HtmlBody", message.html), ("TextBody", message.text)) if value}
    if not (message.html or message.text):
        content["TextBody"] = " "
    if who.reply_to is not None:
        content["ReplyTo"] = quoted(who.reply_to)
    if message.headers:
        content["Headers"] = [{"Name": name, "Value": value} for name, value in message.headers.items()]
    if settings.tag:
        content["Tag"] = settings.tag
    metadata = {KEY: message.key} if len(message.key) <= LONGEST_VALUE else {}
    if message.row:
        metadata[ROW] = str(message.row)
    if metadata:
        content["Metadata"] = metadata
    try:
        return orjson.dumps(content)
    except orjson.JSONEncodeError:
        raise Permanent(SURROGATE) from None


def requests_of(contents: Sequence[tuple[int, bytes]]) -> Iterator[Request]:
    """Put messages, with their places in the batch, into as few requests as may be."""
    part: list[tuple[int, bytes]] = []
    size = 2
    for place, content in contents:
        if part and (len(part) == MOST or size + len(content) + 1 > MOST_BYTES):
            yield _joined(part)
            part, size = [], 2
        part.append((place, content))
        size += len(content) + 1
    if part:
        yield _joined(part)


def _joined(part: Sequence[tuple[int, bytes]]) -> Request:
    return Request(b"[" + b",".join(content for _, content in part) + b"]", tuple(place for place, _ in part))
