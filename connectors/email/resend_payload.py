"""What Resend is asked to send: whole messages, up to 100 in a request, each with its own tags and headers."""

import re
from typing import Any

import orjson

from connectors.email.mailboxes import SURROGATE, checked_mailboxes, quoted
from evergreet.contracts import EmailMessage
from evergreet.errors import Permanent

KEY = "evergreet_key"
ROW = "evergreet_row"
"""Tags that carry the message's key and ledger row; they come back with every event of the message."""
MOST = 100

_TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")


def written(message: EmailMessage) -> bytes:
    """Return one message as JSON; raises `Permanent` or `Misconfigured` where it cannot be sent as it is."""
    who = checked_mailboxes(message, "Resend")
    content: dict[str, Any] = {
        "from": quoted(who.sender), "to": [quoted(who.to)], "subject": message.subject or " ",
    }  # fmt: skip
    content |= {name: value for name, value in (("html", message.html), ("text", message.text)) if value}
    if not (message.html or message.text):
        content["text"] = " "
    if who.reply_to is not None:
        content["reply_to"] = [quoted(who.reply_to)]
    if message.headers:
        content["headers"] = dict(message.headers)
    tags = [{"name": KEY, "value": message.key}, {"name": ROW, "value": str(message.row)}] if message.row else []
    if tags and _TAG.fullmatch(message.key):
        content["tags"] = tags
    try:
        return orjson.dumps(content)
    except orjson.JSONEncodeError:
        raise Permanent(SURROGATE) from None
