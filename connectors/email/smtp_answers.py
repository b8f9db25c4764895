"""What an SMTP server's answer means for a message: codes (RFC 5321 §4.2) and status (RFC 3463) to typed outcomes."""

import re

from connectors.email.statuses import NO_SUCH_MAILBOX
from evergreet.contracts import Outcome
from evergreet.errors import Misconfigured, Permanent, Retryable

_STATUS = re.compile(r"5\.\d{1,3}\.\d{1,3}\b")
_OUR_RIGHTS = frozenset([530, 534, 535, 538])
"""Authentication required, too weak, failed, needs encryption (RFC 4954 §6): nothing the message could mend."""
_TOO_LARGE = re.compile(r"5\.3\.4|5\.2\.3")
_QUEUED = re.compile(r"queued as <?([^\s<>]+)|\bid=<?([^\s<>]+)|^(?:2\.\d\.\d )?ok:? <?([0-9a-f-]{30,})", re.IGNORECASE)
_ADDRESS = re.compile(r"[^\s<>()\[\],;:\"']+@[^\s<>()\[\],;:\"']+")


def said(code: int, text: bytes) -> str:
    """Put an answer on one short line. Addresses are left out: a reason is kept longer than a person's data may be."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text.decode("utf-8", "replace")).split())
    return f"{code if code > 0 else ''} {_ADDRESS.sub('(address)', words)}".strip()[:300]


def refused(step: str, code: int, text: bytes) -> Outcome:
    """Say what a refusal at `MAIL`, `RCPT`, `DATA` or `the content` means; until the dot nothing was accepted.

    Nor does an answer that is none (code -1), or none to this step, leave a doubt before the dot; after it, it is
    for the caller.
    """
    if not 400 <= code <= 599:
        return Retryable(f"The server's answer to {step} makes no sense: {said(code, text)}", accepted="no")
    reason = f"The server refused {_STEPS[step]}: {said(code, text)}"
    if code < 500:
        return Retryable(reason, accepted="no", for_recipient=step == "RCPT" and code != 421)
    status = _STATUS.match(text.decode("ascii", "replace"))
    if step == "MAIL" and (_TOO_LARGE.match(status[0] if status else "") or (code == 552 and status is None)):
        return Permanent(reason)
    if step == "MAIL" or (code in _OUR_RIGHTS and step != "content"):
        return Misconfigured(reason)
    return Permanent(reason, address_invalid=status is not None and status[0] in NO_SUCH_MAILBOX)


_STEPS = {"MAIL": "the sender", "RCPT": "the recipient", "DATA": "to take the message", "content": "the message"}


def queue_id(text: bytes) -> str | None:
    """Return the name the server gave the message, in the words of Postfix, Exim or Amazon SES; None if in others."""
    found = _QUEUED.search(text.decode("ascii", "replace"))
    return next((group for group in found.groups() if group), None) if found else None
