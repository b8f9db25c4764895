"""What Brevo's answer means for a request: all of it was taken, or nothing.

https://developers.brevo.com/docs/how-it-works#errors; codes in the `errorModel` of its API description. What a second
request with a key is told: https://developers.brevo.com/docs/heterogenous-versions-batch-emails.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from connectors.answers import object_answered, pause
from connectors.calling import Answered, said
from evergreet.contracts import Accepted, Outcome
from evergreet.errors import Misconfigured, Permanent, Refused, Retryable


class Fault(StrEnum):
    """Whom a code is about: one message, our account and settings, or a request that was there before."""

    MESSAGE = "message"
    OURS = "ours"
    REPEATED = "repeated"


CODES: Mapping[str, Fault] = {
    "invalid_parameter": Fault.MESSAGE,
    "missing_parameter": Fault.MESSAGE,
    "out_of_range": Fault.MESSAGE,
    "bad_request": Fault.MESSAGE,
    "unprocessable_entity": Fault.MESSAGE,
    "not_acceptable": Fault.MESSAGE,
    "duplicate_parameter": Fault.REPEATED,
    "duplicate_request": Fault.REPEATED,
    "unauthorized": Fault.OURS,
    "permission_denied": Fault.OURS,
    "not_enough_credits": Fault.OURS,
    "account_under_validation": Fault.OURS,
    "method_not_allowed": Fault.OURS,
    "document_not_found": Fault.OURS,
}
"""Its error codes, whichever status they come with below 500. Nothing it refuses suppresses: it tells of no mailbox."""

_ABOUT_SENDER = re.compile(r"\b(?:sender|reply-?to)\b", re.IGNORECASE)


def understand(answered: Answered, count: int, *, sandbox: bool, secret: str) -> list[Outcome]:
    """Return one outcome per message of a request for so many; raises `Refused` where it is to be asked in parts."""
    if answered.status in {200, 201, 202}:
        return _taken(answered.content, count, sandbox)
    refused = refusal(answered, secret)
    if isinstance(refused, Permanent) and count > 1:
        raise Refused(refused.reason)
    return [refused] * count


def _taken(content: bytes, count: int, sandbox: bool) -> list[Outcome]:
    """Match names with versions; where they do not add up nobody knows who was accepted."""
    taken = object_answered(content)
    listed, single = taken.get("messageIds"), taken.get("messageId")
    names: list[Any] = listed if isinstance(listed, list) else [single] * (count if sandbox else 1)
    if len(names) != count or not all(isinstance(name, str) and bare(name) for name in names):
        return [Retryable("Brevo took the request and its answer cannot be read.", accepted="maybe")] * count
    return [Accepted(f"sandbox:{bare(name)}" if sandbox else bare(name)) for name in names]


def bare(name: str) -> str:
    """Return a Message-ID as events tell it, which is now with and now without its brackets."""
    return name.strip().removeprefix("<").removesuffix(">")


def refusal(answered: Answered, secret: str) -> Retryable | Permanent | Misconfigured:
    """Say what an answer that is no success means for everybody in the request."""
    status, content = answered.status, object_answered(answered.content)
    code, message = content.get("code"), content.get("message")
    told = said(message if isinstance(message, str) and message else "without a reason", secret)
    fault = CODES.get(code) if isinstance(code, str) else None
    words = f"Brevo answers {status}{f' ({code})' if fault else ''}: {told}"
    if status in {408, 429}:
        waits = pause(answered.headers, "retry-after", "x-sib-ratelimit-reset")
        return Retryable(words, accepted="no", retry_after=waits)
    if status >= 500 or status < 300:  # a success that its pages do not have leaves a doubt as well
        return Retryable(f"{words}; it may have taken the request.", accepted="maybe")
    if fault is Fault.REPEATED:  # one that was there before, and nothing says that it was accepted
        return Retryable(f"{words}; a request with this key may have been taken.", accepted="maybe")
    if fault is Fault.OURS or status in {401, 402, 403}:
        return Misconfigured(f"{words}. Check EVERGREET_BREVO_API_KEY, the credits and the state of the account.")
    if status == 413:
        return Permanent(f"{words}; it is larger than Brevo takes")
    if status in {400, 422} or fault is Fault.MESSAGE:
        if _ABOUT_SENDER.search(told):
            return Misconfigured(f"{words}. It stands for every message of the request.")
        return Permanent(words)
    return Misconfigured(f"{words}. Is EVERGREET_BREVO_BASE_URL right?")


def understand_account(answered: Answered, secret: str) -> str:
    """Say whose key it is, from the answer to `/v3/account`; raises the typed error of any other answer."""
    account = object_answered(answered.content)
    if answered.status != 200:
        raise refusal(answered, secret)
    relay, company = account.get("relay"), account.get("companyName")
    if not isinstance(relay, dict) or not isinstance(company, str):
        raise Misconfigured("What answers there is not Brevo. Is EVERGREET_BREVO_BASE_URL right?")
    if relay.get("enabled") is not True:
        raise Misconfigured("The account may not send transactional email yet: activate it at Brevo.")
    return f"the key is for the account of {said(company, secret) or 'a company without a name'}"
