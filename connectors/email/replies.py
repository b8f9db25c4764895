"""Answers of readers to mails of ours, known by the Message-ID that they answer; what a machine writes is none."""

import re
from datetime import datetime
from email.utils import parseaddr

from connectors.email.report_parts import Mail, date, fields, text
from connectors.json_bodies import name_or_digest
from evergreet.contracts import Kind, ProviderEvent

NAMED = re.compile(r"<([^<>@\s]{1,100})@[^<>@\s]+>")
"""A Message-ID; its first part is the key where the mail was ours (connectors/email/mime.py)."""

_OF_MACHINES = (
    "List-Id", "List-Unsubscribe", "X-Auto-Response-Suppress", "X-Autoreply", "X-Autorespond", "X-Failed-Recipients"
)  # fmt: skip
_PRECEDENCE = frozenset({"bulk", "list", "junk", "auto_reply"})


def read_reply(head: Mail, received_at: datetime) -> ProviderEvent | None:
    """Return that somebody answered, by the headers of a mail; None where it answers none, or nobody wrote it.

    Machines say so (RFC 3834 and what came before it), or leave the envelope's sender empty.
    """
    keys, address = NAMED.findall(text(head, "In-Reply-To")), parseaddr(text(head, "From"))[1]
    is_automatic = (
        text(head, "Auto-Submitted").lower() not in {"", "no"}
        or text(head, "Precedence").lower() in _PRECEDENCE
        or text(head, "Return-Path") == "<>"
        or any(name in head for name in _OF_MACHINES)
    )
    if not keys or not address or is_automatic:
        return None
    told = fields(head, "Message-ID", "In-Reply-To", "Date")
    name = name_or_digest("", "\0".join((*told.values(), address)).encode("utf-8", "replace"))
    return ProviderEvent(name, Kind.REPLIED, date(head, received_at), {"mail": told}, address=address, key=keys[-1])
