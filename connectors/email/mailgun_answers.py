"""What Mailgun's answer means for a request: all of it was taken, or nothing.

https://documentation.mailgun.com/docs/mailgun/api-reference/api-overview#status-codes, and the answers in its API
description. A request has one Message-ID, which all who are in it share.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias

from connectors.answers import object_answered, pause
from connectors.calling import Answered, said
from evergreet.errors import Misconfigured, Permanent, Retryable


@dataclass(frozen=True, slots=True)
class Took:
    """The whole request was accepted under a name."""

    name: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was accepted because of somebody: `named` by place in the request, or nobody is named."""

    reason: str
    named: Mapping[int, Permanent] = field(default_factory=dict)


Answer: TypeAlias = Took | Refused | Retryable | Misconfigured
"""What became of a request; the last two stand for everybody in it, and end what is left of the batch."""

_ABOUT_US = re.compile(
    r"'?\bfrom'? parameter|reply-to|authorized recipients|test purposes|not allowed to send|\bdisabled\b|\bsuspended\b"
    r"|\bupgrade\b|\bo:\w+|\baccount\b",
    re.IGNORECASE,
)
"""Words of a 400 that are the same for every message: the sender, the domain, the account, an option."""
_WAIT = re.compile(r"try again (?:after|in) (\d{1,5}) second", re.IGNORECASE)
_LIMIT = re.compile(r"\blimit exceeded\b|\btoo many requests\b", re.IGNORECASE)
_ADDRESS = re.compile(r"[^\s<>\"'(),;:\[\]]+@[^\s<>\"'(),;:\[\]]+")


def bare(name: str) -> str:
    """Return a Message-ID as events tell it, without the brackets that the answer to a request has."""
    return name.strip().removeprefix("<").removesuffix(">")


def understand(answered: Answered, addresses: Sequence[str], secret: str) -> Answer:
    """Say what an answer to a request for these addresses means.

    What answers 200 under a wrong path is its greeting. From 500 on nothing says that the request was not taken, and
    customers tell of such that were (https://feedback.mailgun.com).
    """
    status = answered.status
    if status == 200:
        return _taken(answered.content)
    message = told(answered)
    words = f"Mailgun answers {status}: {said(message, secret) or 'without a reason'}"
    limited = _LIMIT.search(message) or _WAIT.search(message)
    if status in {408, 420, 429} or (400 <= status < 500 and limited):
        return Retryable(words, accepted="no", retry_after=_pause(answered, message))
    if status == 400 and not _ABOUT_US.search(message):
        return Refused(words, _named(message, addresses, words))
    if status == 413:
        return Refused(f"{words}; it is larger than Mailgun takes")
    return refusal(status, words)


def refusal(status: int, words: str) -> Retryable | Misconfigured:
    """Say what a status means for everybody, whatever was asked for."""
    if status >= 500 or status < 300:
        return Retryable(f"{words}; it may have taken the request.", accepted="maybe")
    if status == 401:
        return Misconfigured(f"{words}. Check EVERGREET_MAILGUN_API_KEY, and whether its domain is in the EU.")
    if status in {400, 402, 403}:
        return Misconfigured(f"{words}. It stands for every message: check the sender, the domain and the account.")
    return Misconfigured(f"{words}. Are EVERGREET_MAILGUN_DOMAIN and EVERGREET_MAILGUN_BASE_URL right?")


def told(answered: Answered) -> str:
    """Return the message of an answer, which is an object or, as with 401, a text."""
    message = object_answered(answered.content).get("message")
    if isinstance(message, str):
        return message
    text = answered.content[:300].decode("utf-8", "replace").strip().strip('"')
    return "" if text.startswith(("<", "{", "[")) else text


def _taken(content: bytes) -> Answer:
    taken = object_answered(content)
    name, message = taken.get("id"), taken.get("message")
    if isinstance(name, str) and bare(name) and isinstance(message, str):
        return Took(bare(name))
    if b"Mailgun Magnificent API" in content:
        return Misconfigured(
            "What answers is Mailgun's greeting, not its API for messages. Are EVERGREET_MAILGUN_DOMAIN and "
            "EVERGREET_MAILGUN_BASE_URL right?"
        )
    return Retryable("Mailgun took the request and its answer cannot be read.", accepted="maybe")


def _named(message: str, addresses: Sequence[str], words: str) -> dict[int, Permanent]:
    named = {found.lower().rstrip(".") for found in _ADDRESS.findall(message)}
    return {place: Permanent(f"{words}.") for place, address in enumerate(addresses) if address.lower() in named}


def _pause(answered: Answered, message: str) -> timedelta | None:
    asked = _WAIT.search(message)
    waits = pause(answered.headers, "retry-after")
    return waits or (timedelta(seconds=max(int(asked[1]), 1)) if asked else None)
