"""What Postmark's answer means for a batch.

https://postmarkapp.com/developer/api/overview#response-codes and `…#error-codes`. A batch is answered with 200 and an
entry per message, of which each has a code of its own; a request that is refused as a whole has one code.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from connectors.answers import object_answered, pause, read_answer
from connectors.calling import Answered, said
from evergreet.contracts import Accepted, Outcome
from evergreet.errors import Misconfigured, Permanent, Refused, Retryable


class Fault(StrEnum):
    """Whom a code is about: one message, our account and settings, or Postmark itself just now."""

    MESSAGE = "message"
    OURS = "ours"
    LATER = "later"


CODES: Mapping[int, Fault] = {
    10: Fault.OURS,  # bad or missing token
    100: Fault.LATER,  # maintenance
    300: Fault.MESSAGE,  # invalid email request
    400: Fault.OURS,  # sender signature not found
    401: Fault.OURS,  # sender signature not confirmed
    402: Fault.MESSAGE,  # invalid JSON
    403: Fault.MESSAGE,  # fields that it cannot read
    405: Fault.OURS,  # not allowed to send: out of credits
    406: Fault.MESSAGE,  # inactive recipient
    409: Fault.OURS,  # JSON required
    410: Fault.MESSAGE,  # too many messages in a batch
    411: Fault.MESSAGE,  # forbidden attachment
    412: Fault.OURS,  # the account is pending
    413: Fault.OURS,  # the account may not send
    429: Fault.LATER,  # rate limit
    1226: Fault.OURS,  # no such message stream
    1235: Fault.OURS,  # no such message stream on this server
}
"""What the codes of sending are about. 406 says neither since when nor why a recipient is inactive: a hard bounce, a
complaint or somebody's decision; what suppresses is the event that told of it."""

_SHARED = (300, 402, 403, 411)
"""Codes that may be about what messages share; their words name the address where it is about one."""
_ABOUT_US = re.compile(r"'(?:From|Reply-?To|MessageStream)'|message stream|sender signature", re.IGNORECASE)
"""Words of a message's fault that are the same for every message."""


def understand(answered: Answered, count: int, secret: str) -> list[Outcome]:
    """Return one outcome per message of a batch of so many; raises `Refused` where it must be asked in smaller ones."""
    if answered.status == 200:
        return _entries(read_answer(answered.content), count, secret)
    refused = refusal(answered, secret)
    if isinstance(refused, Permanent) and count > 1:
        raise Refused(refused.reason)
    return [refused] * count


def _entries(content: Any, count: int, secret: str) -> list[Outcome]:
    """Read the entries, which stand in the order of the messages."""
    if not isinstance(content, list) or len(content) != count:
        return [Retryable("Postmark took the request and its answer cannot be read.", accepted="maybe")] * count
    outcomes = [_entry(entry, secret) for entry in content]
    told = [
        (entry.get("ErrorCode"), entry.get("Message")) if isinstance(entry, dict) else (None, None) for entry in content
    ]
    codes = [code for code, _ in told]
    new = count > 1 and all(isinstance(code, int) and code == codes[0] and code not in {0, *CODES} for code in codes)
    alike = count > 2 and codes[0] in _SHARED and all(one == told[0] for one in told)
    if new or alike:  # in the same words: what is about one of them names whom
        reason = getattr(outcomes[0], "reason", "")
        return [Misconfigured(f"{reason}. It says so of every message of the request.")] * count
    return outcomes


def _entry(entry: Any, secret: str) -> Outcome:
    code, name = (entry.get("ErrorCode"), entry.get("MessageID")) if isinstance(entry, dict) else (None, None)
    if not isinstance(code, int) or (code == 0 and not (isinstance(name, str) and name)):
        return Retryable("Postmark took the request and its answer cannot be read.", accepted="maybe")
    if code == 0:
        return Accepted(str(name))
    return _fault(code, said(str(entry.get("Message") or "without a reason"), secret), f"Postmark answers {code}")


def _fault(code: int, told: str, begins: str) -> Retryable | Permanent | Misconfigured:
    words = f"{begins}: {told}"
    match CODES.get(code, Fault.MESSAGE):
        case Fault.LATER:
            return Retryable(words, accepted="no")
        case Fault.OURS:
            return Misconfigured(f"{words}. It stands for every message.")
        case _ if code != 406 and _ABOUT_US.search(told):
            return Misconfigured(f"{words}. It would be the same for every message.")
        case _:
            return Permanent(words)


def refusal(answered: Answered, secret: str) -> Retryable | Permanent | Misconfigured:
    """Say what an answer other than 200 means for everything that was asked for.

    With 500 a message is lost "in most cases", so not in all; 503 is planned where Postmark itself says so.
    """
    status, content = answered.status, object_answered(answered.content)
    given = content.get("ErrorCode")
    code = given if isinstance(given, int) else 0
    told = said(str(content.get("Message") or "without a reason"), secret)
    words = f"Postmark answers {status}{f' ({code})' if code else ''}"
    if status in {408, 429}:
        return Retryable(f"{words}: {told}", accepted="no", retry_after=pause(answered.headers, "retry-after"))
    if status == 401:
        return Misconfigured(f"{words}: {told}. Check EVERGREET_POSTMARK_SERVER_TOKEN.")
    if status == 413:
        return Permanent(f"{words}: it is larger than Postmark takes")
    if status == 422 or (status == 503 and CODES.get(code) is Fault.LATER):
        return _fault(code, told, words)
    if 300 <= status < 500:
        return Misconfigured(f"{words}: {told}. Is EVERGREET_POSTMARK_BASE_URL right?")
    return Retryable(f"{words}: {told}; it may have taken the request.", accepted="maybe")
