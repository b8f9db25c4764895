"""What SendGrid's answer means for a request: status, headers and the list of errors to typed outcomes.

https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors and `…/how-to-use-the-sendgrid-v3-api/responses`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias

import orjson

from connectors.calling import Answered, said
from evergreet.errors import Misconfigured, Permanent, Retryable

_PERSONAL = re.compile(r"personalizations[.\[](\d{1,6})(?!\d)\]?(?:\.(\w+))?")
_NOBODYS = frozenset({"custom_args", "send_at"})
"""Fields of a recipient that hold nothing of theirs: what is wrong with them is wrong for everybody."""
_CONTENT = re.compile(r"(?:content|subject)\b")
_BAD_ADDRESS = re.compile(r"valid (?:email )?address|invalid email", re.IGNORECASE)
_LONGEST_PAUSE = 86_400
"""Seconds; a reset further away is no time of this clock."""


@dataclass(frozen=True, slots=True)
class Took:
    """The whole request was accepted, in the sandbox by being looked at; `name` is empty where SendGrid gave none."""

    name: str = ""
    sandboxed: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was accepted because of some recipients: `named` by place in the request, or nobody is named.

    Those `apart` are only to have no substitutions: SendGrid counts their bytes in a way of its own, up to a limit of
    the account's (https://github.com/mautic/mautic/pull/9776).
    """

    reason: str
    named: Mapping[int, Permanent] = field(default_factory=dict)
    apart: frozenset[int] = frozenset()

    @property
    def words(self) -> str:
        """What it says of those it is about, wherever they stand in the request."""
        return next((one.reason for one in self.named.values()), self.reason)

    @property
    def of_addresses(self) -> bool:
        """Whether it says of anybody that the address is none."""
        return any(one.address_invalid for one in self.named.values())


@dataclass(frozen=True, slots=True)
class TooLarge:
    """Nothing was accepted: the request is larger than SendGrid takes."""

    reason: str


Answer: TypeAlias = Took | Refused | TooLarge | Retryable | Misconfigured
"""What became of a request; the last two stand for everybody in it, and end what is left of the batch."""


def understand(answered: Answered, *, recipients: int, sandbox: bool, secret: str) -> Answer:
    """Say what an answer to `/v3/mail/send` with so many recipients means.

    Below 500, all but 202 (in the sandbox 200) means that nothing was accepted. From 500 on "an error occurred when
    SendGrid attempted to process" a valid request, and nothing says that none of it was: it may have been.
    """
    status = answered.status
    if status == 202:
        return Took(answered.headers.get("x-message-id", ""))
    if status == 200 and sandbox:
        return Took(sandboxed=True)
    problems = _problems(answered.content, secret)
    words = f"SendGrid answers {status}: {'; '.join(p.words for p in problems) or 'without a reason'}"[:400]
    if status == 400:
        return _refusal(problems, words, recipients)
    if status == 413:
        return TooLarge(words)
    if status in {408, 429}:
        return Retryable(words, accepted="no", retry_after=_pause(answered.headers))
    if status == 401:
        return Misconfigured(f"{words}. Check EVERGREET_SENDGRID_API_KEY and the credits of the account.")
    if status == 403:
        return Misconfigured(
            f"{words}. The key needs the permission Mail Send, and the sender must be verified at SendGrid."
        )
    if 300 <= status < 500:
        return Misconfigured(f"{words}. Is EVERGREET_SENDGRID_BASE_URL right?")
    return Retryable(f"{words}; it may have taken the request.", accepted="maybe")


def understand_scopes(answered: Answered, secret: str) -> list[str]:
    """Return what the key may do, from the answer to `/v3/scopes`; raises the typed error of any other answer."""
    if answered.status != 200:
        answer = understand(answered, recipients=0, sandbox=False, secret=secret)
        if isinstance(answer, Misconfigured):
            raise answer
        raise Retryable(getattr(answer, "reason", f"SendGrid answers {answered.status}."), accepted="no")
    found = _json(answered.content)
    if not isinstance(found.get("scopes"), list):
        raise Misconfigured("What answers there is not SendGrid. Is EVERGREET_SENDGRID_BASE_URL right?")
    return [str(scope) for scope in found["scopes"]]


def understand_refused_list(answered: Answered, secret: str) -> Retryable | Misconfigured:
    """Say what an answer but 200 to a question for a list means; nothing can have been accepted."""
    if answered.status == 403:
        words = "; ".join(problem.words for problem in _problems(answered.content, secret)) or "without a reason"
        return Misconfigured(f"SendGrid answers 403: {words}. The key needs read access to Suppressions.")
    answer = understand(answered, recipients=0, sandbox=False, secret=secret)
    if isinstance(answer, Misconfigured):
        return answer
    if isinstance(answer, Retryable) and answer.accepted == "no":
        return answer
    return Retryable(f"SendGrid answers {answered.status} to a question for a list.")


@dataclass(frozen=True, slots=True)
class _Problem:
    """One entry of SendGrid's list of errors."""

    field: str
    words: str


def _problems(content: bytes, secret: str) -> list[_Problem]:
    listed = _json(content).get("errors")
    found = []
    for error in listed if isinstance(listed, list) else []:
        if isinstance(error, dict):
            named = error.get("field")
            where = named if isinstance(named, str) and named != "null" else ""
            words = said(str(error.get("message") or "no message"), secret)
            found.append(_Problem(where, f"{words} ({said(where, secret)})" if where else words))
    return found


def _json(content: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _refusal(problems: list[_Problem], words: str, recipients: int) -> Answer:
    """Tell what is wrong with everything from what is wrong with somebody, by the field that SendGrid names."""
    named: dict[int, Permanent] = {}
    apart: set[int] = set()
    for problem in problems:
        personal = _PERSONAL.match(problem.field)
        if personal is None:
            if problem.field.startswith("personalizations") or not problem.field:
                continue
            if recipients == 1 and _CONTENT.match(problem.field):  # of this message, not of our settings
                return Refused(words)
            return Misconfigured(f"{words}. It would be the same for every message.")
        if personal[2] in _NOBODYS:
            return Misconfigured(f"{_for_one(problem)}. It would be the same for every message.")
        place = int(personal[1])
        if place < recipients and personal[2] == "substitutions" and recipients > 1:
            apart.add(place)
        elif place < recipients:
            invalid = personal[2] == "to" and _BAD_ADDRESS.search(problem.words) is not None
            known = named.get(place)
            named[place] = Permanent(
                known.reason if known else _for_one(problem),
                address_invalid=invalid or (known is not None and known.address_invalid),
            )
    reasons = {one.reason for one in named.values()}
    if 2 < recipients == len(named) and len(reasons) == 1 and not any(one.address_invalid for one in named.values()):
        return Misconfigured(f"{reasons.pop()}. It says so of every recipient.")
    return Refused(words, named, frozenset(apart - named.keys()))


def _for_one(problem: _Problem) -> str:
    # Without the place in the request, which says nothing later.
    return "SendGrid answers 400: " + re.sub(r"personalizations[.\[]\d+\]?\.?", "", problem.words).replace(" ()", "")


def _pause(headers: Mapping[str, str]) -> timedelta | None:
    """Return how long to wait: until the reset, by SendGrid's own clock, or what `Retry-After` says."""
    try:
        now = parsedate_to_datetime(headers["date"]).timestamp()
        seconds = float(headers["x-ratelimit-reset"]) - now
    except (KeyError, ValueError):
        try:
            seconds = float(headers.get("retry-after", ""))
        except ValueError:
            return None
    return timedelta(seconds=max(seconds, 1)) if seconds <= _LONGEST_PAUSE else None
