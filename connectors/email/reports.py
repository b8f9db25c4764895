"""Mails about mails of ours: delivery reports (RFC 3464, RFC 6533), complaints (RFC 5965) and readers' answers.

The first two are `multipart/report` (RFC 6522): words for people, fields for machines, and what came back of our mail,
from whose Message-ID its key is known. OpenSMTPD and some gateways call the same `multipart/mixed`, and qmail writes
prose. Nothing in such a mail is signed: whoever acts on one compares key and recipient with what was sent. Any other
mail, such as an automatic reply, says nothing.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from email import message_from_bytes
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import parseaddr
from typing import TypeAlias

from connectors.calling import said
from connectors.email.qmail import BEGINS, read_notice
from connectors.email.replies import NAMED, read_reply
from connectors.email.report_parts import Mail, blocks, date, decoded, fields, flat, headers_in, headers_of, text
from connectors.email.statuses import COMPLAINT, NO_SUCH_MAILBOX, REPORTS, kind_otherwise
from connectors.json_bodies import name_or_digest
from evergreet.contracts import Kind, ProviderEvent, Verdict

_Found: TypeAlias = tuple[str, tuple[Kind, Verdict], Mail]
"""Whom a group of fields is about, what it means, and the group itself."""

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
_REPORTS = frozenset(["multipart/report", "multipart/mixed"])
_OF_A_RECIPIENT = ("Final-Recipient", "Original-Recipient", "Action")
_OF_HOTMAIL = "X-HmXmrOriginalRecipient"
"""What Outlook.com writes above the mail that somebody called junk: all of its complaint beside that mail."""
_SPACED = re.compile(rb"^([A-Za-z][\w-]{1,40})[ \t]+:(?=[ \t])", re.MULTILINE)
"""A field whose colon stands apart, as Mimecast writes it and RFC 822 had it."""
_STATUS = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})(?!\.?\d)")
_ANSWER = re.compile(r"(?:^|[\s;])([245])\d\d(?:[ -]+#?([245]\.\d{1,3}\.\d{1,3})(?!\.?\d)|(?=[ -]))")
_HEXADECIMAL = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")


def read_report(mail: bytes, received_at: datetime) -> list[ProviderEvent]:
    """Return what a report tells, once for each recipient, or that a reader answered; nothing of any other mail.

    Its end may be missing: a report comes before what it returns of the mail.
    """
    try:
        head = BytesHeaderParser().parsebytes(mail)
        if _may_report(head.get_content_type(), mail):
            told = list(_events(message_from_bytes(_SPACED.sub(rb"\1:", mail)), received_at))
            if told or head.get_content_type() == "multipart/report":
                return told
        reply = read_reply(head, received_at)
        return [] if reply is None else [reply]
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
        return []  # what the parser of the standard library makes of broken mails now and then


def _may_report(kind: str, mail: bytes) -> bool:
    if kind == "text/plain":
        return BEGINS.encode() in mail
    return kind in _REPORTS and mail.lower().count(b"content-type:") <= MOST_PARTS


def _events(report: Mail, received_at: datetime) -> Iterator[ProviderEvent]:
    parts = flat(report)
    returned = next((headers_in(part) for part in parts if part.get_content_type() in _RETURNED), Message())
    for part in parts:
        about, found = Message(), []
        match part.get_content_type():
            case kind if kind in _STATUSES:
                groups = blocks(part) or [Message()]
                about, found = groups[0], _failures(groups)
            case "message/feedback-report":
                (about, *_) = blocks(part) or [Message()]
                if word := text(about, "Feedback-Type").lower():
                    found = [(_complainer(about, returned), REPORTS.get(word, COMPLAINT), about)]
            case "text/plain":
                notice = read_notice(decoded(part))
                if notice is not None:
                    found = _failures(notice.recipients)
                    returned = returned if len(returned) else headers_of(notice.returned.encode())
            case kind if kind in _RETURNED and (address := text(headers_in(part), _OF_HOTMAIL)):
                found = [(address, COMPLAINT, Message())]
        if found:
            yield from _told(report, returned, about, found[:MOST_RECIPIENTS], received_at)
            return


def _failures(blocks: Sequence[Mail]) -> list[_Found]:
    """Read the groups about recipients; one for the mail as a whole may be missing, or run into that of a recipient."""
    about = [block for block in blocks if any(name in block for name in _OF_A_RECIPIENT)]
    return [(_recipient(block), _meaning(block), block) for block in about]


def _told(
    mail: Mail,
    returned: Mail,
    about: Mail,
    found: Sequence[tuple[str, tuple[Kind, Verdict], Mail]],
    received_at: datetime,
) -> Iterator[ProviderEvent]:
    key, at = _key(mail, returned), date(mail, received_at)
    told = fields(mail, "Message-ID") or {"Digest": name_or_digest("", mail.as_bytes())}
    for place, (address, (kind, verdict), block) in enumerate(found):
        name = "\0".join((*told.values(), str(place), address))
        yield ProviderEvent(
            id=name_or_digest("", name.encode("utf-8", "replace")), kind=kind, verdict=verdict, at=at,
            raw={"mail": told, "report": fields(about), "recipient": fields(block)}, address=address, key=key,
            reason=said(_reason(block), ""),
        )  # fmt: skip


def _meaning(block: Mail) -> tuple[Kind, Verdict]:
    """Say what became of a recipient; only a mailbox that is not there, by all that is said, is said to be none.

    Exim tells every failure as 5.0.0: the code is in the answer of the server that refused.
    """
    action = text(block, "Action").lower().partition(" ")[0]
    if action != "failed":
        return ACTIONS.get(action, Kind.UNKNOWN), Verdict.NONE
    status = found[1] if (found := _STATUS.match(text(block, "Status"))) else ""
    answer = _ANSWER.search(text(block, "Diagnostic-Code"))
    answered, code = (answer[1], answer[2] or "") if answer else ("", "")
    codes = [each for each in (status, code) if each and not each.endswith(".0.0")]
    if codes and all(each in NO_SUCH_MAILBOX for each in codes) and answered in {"", "5"}:
        return Kind.HARD_BOUNCED, Verdict.INVALID
    kinds = [kind for each in codes if (kind := kind_otherwise(each)) is not None]
    return kinds[-1] if kinds else Kind.SOFT_BOUNCED, Verdict.NONE


def _recipient(block: Mail) -> str:
    """Return whom the mail was for: as we said it where that is told, else as the last server had it."""
    return _address(text(block, "Original-Recipient")) or _address(text(block, "Final-Recipient"))


def _complainer(report: Mail, returned: Mail) -> str:
    for name in ("Original-Rcpt-To", "Removal-Recipient"):
        if address := parseaddr(text(report, name))[1]:
            return address
    return parseaddr(text(returned, "To"))[1]


def _address(typed: str) -> str:
    """Read `rfc822; ann@example.org`, or `utf-8; …` with characters as hexadecimal numbers (RFC 6533)."""
    kind, divided, address = typed.partition(";")
    if not divided:
        kind, address = "rfc822", typed
    if kind.strip().lower() == "utf-8":
        address = _HEXADECIMAL.sub(lambda found: chr(int(found[1], 16)), address)
    elif kind.strip().lower().replace("/", "") != "rfc822":
        return ""
    return address.strip().removeprefix("<").removesuffix(">")


def _key(report: Mail, returned: Mail) -> str:
    """Return the key of our mail: the first part of its Message-ID (connectors/email/mime.py)."""
    for written in (text(returned, "Message-ID"), text(report, "In-Reply-To"), text(report, "References")):
        if names := NAMED.findall(written):
            return str(names[-1])
    return ""


def _reason(block: Mail) -> str:
    answer = text(block, "Diagnostic-Code").partition(";")[2].strip()
    return " ".join(filter(None, (text(block, "Status"), answer))) or text(block, "Feedback-Type")
