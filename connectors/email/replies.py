"""Answers of readers to mails of ours, known by the Message-ID that they answer; what a machine writes is none."""

import re
from collections.abc import Iterable
from datetime import datetime
from email.message import Message
from email.utils import parseaddr
from typing import Any

from connectors.email.report_parts import Mail, date, fields, text
from connectors.json_bodies import name_or_digest
from evergreet.contracts import Kind, ProviderEvent

NAMED = re.compile(r"<([^<>@\s]{1,100})@[^<>@\s]+>")
"""A Message-ID; its first part is the key where the mail was ours (connectors/email/mime.py)."""

_ANSWERED = re.compile(r"<([^<>@\s]{1,200}@[^<>@\s]{1,255})>")
_OF_MACHINES = (
    "List-Id", "List-Unsubscribe", "X-Auto-Response-Suppress", "X-Autoreply", "X-Autorespond", "X-Failed-Recipients"
)  # fmt: skip
_PRECEDENCE = frozenset({"bulk", "list", "junk", "auto_reply"})


def read_reply(head: Mail, received_at: datetime) -> ProviderEvent | None:
    """Return that somebody answered a mail that we gave its Message-ID, by the headers of the answer; else None."""
    answered, address = _answered(head), parseaddr(text(head, "From"))[1]
    if not answered or not address:
        return None
    return _event(head, "", address, received_at, key=answered.partition("@")[0])


def told_reply(
    headers: Iterable[tuple[Any, Any]], address: str, name: str, received_at: datetime, *, whole: bool
) -> list[ProviderEvent]:
    """Return that somebody answered a mail that the provider gave its Message-ID, by what it tells of the answer.

    `name` is the provider's for the answer, `address` who wrote it. The provider's name for our mail is the `whole`
    Message-ID, or what stands before its @. Of the answer nothing else is kept.
    """
    head: Mail = Message()
    for header, value in headers:
        if isinstance(header, str) and isinstance(value, str):
            head[header] = value
    answered = _answered(head)
    if not answered or not address:
        return []
    return [_event(head, name, address, received_at, provider_id=answered if whole else answered.partition("@")[0])]


def pairs(listed: Any, name: str, value: str) -> list[tuple[Any, Any]]:
    """Return headers that a provider tells as a list of objects, of which two fields are name and value."""
    if not isinstance(listed, list):
        return []
    return [(each.get(name), each.get(value)) for each in listed if isinstance(each, dict)]


def _answered(head: Mail) -> str:
    """Return the Message-ID that a mail answers; empty where it answers none, or nobody wrote it.

    Machines say so (RFC 3834 and what came before it), or leave the envelope's sender empty.
    """
    names = _ANSWERED.findall(text(head, "In-Reply-To"))
    is_automatic = (
        text(head, "Auto-Submitted").lower() not in {"", "no"}
        or text(head, "Precedence").lower() in _PRECEDENCE
        or text(head, "Return-Path") == "<>"
        or any(name in head for name in _OF_MACHINES)
    )
    return str(names[-1]) if names and not is_automatic else ""


def _event(
    head: Mail, name: str, address: str, received_at: datetime, *, key: str = "", provider_id: str = ""
) -> ProviderEvent:
    told = fields(head, "Message-ID", "In-Reply-To", "Date")
    digest = "\0".join((*told.values(), address)).encode("utf-8", "replace")
    return ProviderEvent(
        name_or_digest(name, digest), Kind.REPLIED, date(head, received_at), {"mail": told}, address=address, key=key,
        provider_id=provider_id,
    )  # fmt: skip
