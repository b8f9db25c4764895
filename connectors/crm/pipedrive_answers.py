"""What Pipedrive's answers mean: https://pipedrive.readme.io/docs/core-api-concepts-http-status-codes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from connectors.answers import object_answered, pause, server_time
from connectors.calling import Answered, Caller, said
from connectors.json_bodies import text_in
from evergreet.errors import Misconfigured, Permanent, Retryable

GOOD = frozenset({200, 201})


def asked(caller: Caller, path: str) -> tuple[Mapping[str, Any], datetime]:
    """Ask Pipedrive something; return what it says, and the time of its clock; raises typed errors."""
    try:
        answered = called(caller, "GET", path)
    except Retryable as fault:  # of a question nothing can be in doubt
        raise Retryable(fault.reason, retry_after=fault.retry_after) from None
    found, now = object_answered(answered.content), server_time(answered.headers)
    if found.get("success") is not True or "data" not in found:
        raise Retryable("Pipedrive's answer cannot be read.")
    if now is None:
        raise Misconfigured("Pipedrive's answer has no time. Is EVERGREET_PIPEDRIVE_BASE_URL right?")
    return found, now


def called(caller: Caller, method: str, path: str, content: Any = None) -> Answered:
    """Make a request; raises a typed error for any answer but a good one."""
    answered = caller.call(method, path, None if content is None else orjson.dumps(content))
    if not isinstance(answered, Answered):
        raise answered
    if answered.status not in GOOD:
        raise _refused(answered, caller.key)
    return answered


def _refused(answered: Answered, secret: str) -> Retryable | Permanent | Misconfigured:
    status, content = answered.status, object_answered(answered.content)
    told = said(text_in(content, "error") or text_in(content, "message") or "without a reason", secret)
    words = f"Pipedrive answers {status}: {told}"
    if status in {408, 429}:
        return Retryable(words, retry_after=pause(answered.headers, "retry-after", "x-ratelimit-reset"))
    if status in {401, 402, 403}:
        return Misconfigured(f"{words}. Check EVERGREET_PIPEDRIVE_TOKEN, and what its user and plan allow.")
    if status in {400, 409, 410, 413, 422} or (status == 404 and content.get("success") is False):
        return Permanent(words)
    if 300 <= status < 500:
        return Misconfigured(f"{words}. Is EVERGREET_PIPEDRIVE_BASE_URL right?")
    return Retryable(f"{words}; it may have done it.", accepted="maybe")
