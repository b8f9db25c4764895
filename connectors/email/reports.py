"""Mails in which other servers tell of ours: delivery reports (RFC 3464, RFC 6533) and complaints (RFC 5965).

Both are `multipart/report` (RFC 6522): words for people, fields for machines, and what came back of our mail, from
whose Message-ID its key is known. Nothing in such a mail is signed: whoever acts on one compares key and recipient with
what was sent. Any other mail, such as an automatic reply, is no report and says nothing.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import parseaddr, parsedate_to_datetime
from typing import TypeAlias

from connectors.calling import said
from connectors.email.statuses import COMPLAINT, NO_SUCH_MAILBOX, REPORTS, kind_otherwise
from connectors.json_bodies import name_or_digest
from connectors.moments import from_seconds
from evergreet.contracts import Kind, ProviderEvent, Verdict

Mail: TypeAlias = "Message[str, str]"

ACTIONS: Mapping[str, Kind] = {
    "delayed": Kind.DEFERRED,
    "relayed": Kind.ACCEPTED,  # to a server that tells nothing more
    "delivered": Kind.DELIVERED,
    "expanded": Kind.DELIVERED,
}
"""`Action` (RFC 3464 §2.3.3) in small letters; `failed` is left to the status."""

MOST_RECIPIENTS = 100
"""How many recipients of one report are read; our own mails have one."""
MOST_PARTS = 100
"""How often a mail may say Content-Type: parts within parts cost more than they are long."""

_RETURNED = frozenset(
    ["message/rfc822", "message/global", "text/rfc822-headers", "message/rfc822-headers", "message/global-headers"]
)
_STATUSES = frozenset(["message/delivery-status", "message/global-delivery-status"])
_STATUS = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})(?!\.?\d)")
_ANSWER = re.compile(r"(?:^|[\s;])([245])\d\d(?:[ -]+#?([245]\.\d{1,3}\.\d{1,3})(?!\.?\d)|(?=[ -]))")
_NAMED = re.compile(r"<([^<>@\s]{1,100})@[^<>@\s]+>")
_HEXADECIMAL = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")
_KEPT = 1000
"""Characters of a field."""


def read_report(mail: bytes, received_at: datetime) -> list[ProviderEvent]:
    """Return what a report tells, once for each recipient; nothing where the mail is none, or cannot be read.

    Its end may be missing: a report comes before what it returns of the mail.
    """
    try:
        if BytesHeaderParser().parsebytes(mail).get_content_type() != "multipart/report":
            return []
        if mail.lower().count(b"content-type:") > MOST_PARTS:
            return []
        return list(_events(message_from_bytes(mail), received_at))
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
        return []  # what the parser of the standard library makes of broken mails now and then


def _events(report: Mail, received_at: datetime) -> Iterator[ProviderEvent]:
    parts = _parts(report)
    returned = next((_headers_in(part) for part in parts if part.get_content_type() in _RETURNED), Message())
    key, at = _key(report, returned), _date(report, received_at)
    told = _fields(report, "Message-ID") or {"Digest": name_or_digest("", report.as_bytes())}
    for part in parts:
        if part.get_content_type() in _STATUSES:
            about, *recipients = _blocks(part) or [Message()]
            found = [(_recipient(block), _meaning(block), block) for block in recipients[:MOST_RECIPIENTS]]
        elif part.get_content_type() == "message/feedback-report":
            about, *_ = _blocks(part) or [Message()]
            word = _text(about, "Feedback-Type").lower()
            found = [(_complainer(about, returned), REPORTS.get(word, COMPLAINT), about)] if word else []
        else:
            continue
        for place, (address, (kind, verdict), block) in enumerate(found):
            name = "\0".join((*told.values(), str(place), address))
            yield ProviderEvent(
                id=name_or_digest("", name.encode("utf-8", "replace")), kind=kind, verdict=verdict, at=at,
                raw={"mail": told, "report": _fields(about), "recipient": _fields(block)}, address=address, key=key,
                reason=said(_reason(block), ""),
            )  # fmt: skip
        return


def _meaning(block: Mail) -> tuple[Kind, Verdict]:
    """Say what became of a recipient; only a mailbox that is not there, by all that is said, is said to be none.

    Exim tells every failure as 5.0.0: the code is in the answer of the server that refused.
    """
    action = _text(block, "Action").lower().partition(" ")[0]
    if action != "failed":
        return ACTIONS.get(action, Kind.UNKNOWN), Verdict.NONE
    status = found[1] if (found := _STATUS.match(_text(block, "Status"))) else ""
    answer = _ANSWER.search(_text(block, "Diagnostic-Code"))
    answered, code = (answer[1], answer[2] or "") if answer else ("", "")
    codes = [each for each in (status, code) if each and not each.endswith(".0.0")]
    if codes and all(each in NO_SUCH_MAILBOX for each in codes) and answered in {"", "5"}:
        return Kind.HARD_BOUNCED, Verdict.INVALID
    kinds = [kind for each in codes if (kind := kind_otherwise(each)) is not None]
    return kinds[-1] if kinds else Kind.SOFT_BOUNCED, Verdict.NONE


def _recipient(block: Mail) -> str:
    """Return whom the mail was for: as we said it where that is told, else as the last server had it."""
    return _address(_text(block, "Original-Recipient")) or _address(_text(block, "Final-Recipient"))


def _complainer(report: Mail, returned: Mail) -> str:
    for name in ("Original-Rcpt-To", "Removal-Recipient"):
        if address := parseaddr(_text(report, name))[1]:
            return address
    return parseaddr(_text(returned, "To"))[1]


def _address(typed: str) -> str:
    """Read `rfc822; ann@example.org`, or `utf-8; …` with characters as hexadecimal numbers (RFC 6533)."""
    kind, divided, address = typed.partition(";")
    if not divided:
        kind, address = "rfc822", typed
    if kind.strip().lower() == "utf-8":
        address = _HEXADECIMAL.sub(lambda found: chr(int(found[1], 16)), address)
    elif kind.strip().lower() != "rfc822":
        return ""
    return address.strip().removeprefix("<").removesuffix(">")


def _key(report: Mail, returned: Mail) -> str:
    """Return the key of our mail: the first part of its Message-ID (connectors/email/mime.py)."""
    for text in (_text(returned, "Message-ID"), _text(report, "In-Reply-To"), _text(report, "References")):
        if names := _NAMED.findall(text):
            return str(names[-1])
    return ""


def _date(report: Mail, otherwise: datetime) -> datetime:
    try:
        date = parsedate_to_datetime(_text(report, "Date"))
    except (TypeError, ValueError, IndexError, OverflowError):
        return otherwise
    return from_seconds((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp(), otherwise)


def _reason(block: Mail) -> str:
    answer = _text(block, "Diagnostic-Code").partition(";")[2].strip()
    return " ".join(filter(None, (_text(block, "Status"), answer))) or _text(block, "Feedback-Type")


def _blocks(part: Mail) -> list[Mail]:
    """Return the groups of fields of a machine's part, however far the parser went with it."""
    inner = _parts(part)
    if not inner or part.get_content_type() == "message/delivery-status":
        return [block for block in inner if len(block)]
    rest = inner[0].get_payload()  # parsed as one mail, whose text is the groups after the first
    texts = re.split(r"\r?\n\r?\n", rest) if isinstance(rest, str) else []
    return [inner[0], *(_headers_of(text.strip().encode("utf-8", "surrogateescape")) for text in texts if text.strip())]


def _headers_in(part: Mail) -> Mail:
    """Return the headers that a returned mail, or the part that holds nothing else of it, begins with."""
    if inner := _parts(part):
        return inner[0]
    decoded = part.get_payload(decode=True)
    return _headers_of(decoded.lstrip() if isinstance(decoded, bytes) else b"")


def _parts(mail: Mail) -> list[Mail]:
    inner = mail.get_payload()
    return [part for part in inner if isinstance(part, Message)] if isinstance(inner, list) else []


def _headers_of(text: bytes) -> Mail:
    return BytesHeaderParser().parsebytes(text)


def _fields(block: Mail, *names: str) -> dict[str, str]:
    wanted = names or block.keys()
    return {name: text for name in list(wanted)[:50] if (text := _text(block, name))}


def _text(block: Mail, name: str) -> str:
    """Return a field on one line; octets that are no ASCII are read as UTF-8."""
    value = block.get(name)
    if value is None:
        return ""
    text = (
        str(value)
        if not isinstance(value, str)
        else value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    )
    return " ".join(text.split())[:_KEPT]
