"""Failure notices of qmail, which are prose in a fixed form: https://cr.yp.to/proto/qsbmf.txt."""

import re
from email.message import Message
from typing import NamedTuple

from connectors.email.report_parts import Mail

BEGINS = "Hi. This is the"
"""How the text of such a notice begins, and of no other mail."""

_BREAK = re.compile(r"^---.*$", re.MULTILINE)
_PARAGRAPHS = re.compile(r"\n[ \t]*\n|\n(?=<[^<>\s]+>:[ \t]*\n)")
_FAILED = re.compile(r"<([^<>\s]+)>:\s(.*)", re.DOTALL)
_STATUS = re.compile(r"#([245]\.\d{1,3}\.\d{1,3})(?!\.?\d)")


class Notice(NamedTuple):
    """What a notice says: a group of fields as in a report (RFC 3464) for each recipient, and our mail's beginning."""

    recipients: list[Mail]
    returned: str


def read_notice(text: str) -> Notice | None:
    """Read the text of a mail; None where it is no notice."""
    plain = text.replace("\r\n", "\n").lstrip("\n")
    if not plain.startswith(BEGINS):
        return None
    broken = _BREAK.search(plain)
    told, after = (plain[: broken.start()], plain[broken.end() :]) if broken else (plain, "")
    recipients = []
    for paragraph in _PARAGRAPHS.split(told):
        failed = _FAILED.match(paragraph)
        if failed is None:
            continue
        recipient: Mail = Message()
        recipient["Final-Recipient"], recipient["Action"] = f"rfc822; {failed[1]}", "failed"
        if status := _STATUS.search(failed[2]):
            recipient["Status"] = status[1]
        recipient["Diagnostic-Code"] = f"smtp; {' '.join(failed[2].split())}"
        recipients.append(recipient)
    return Notice(recipients, after.lstrip("\n"))
