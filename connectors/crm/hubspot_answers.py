"""What HubSpot's answers mean: https://developers.hubspot.com/docs/api-reference/error-handling."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson

from connectors.answers import object_answered, pause, server_time
from connectors.calling import Answered, Caller, said
from connectors.json_bodies import object_in, text_in, whole_number
from evergreet.errors import ConnectorError, Misconfigured, Permanent, Retryable

DAILY_PAUSE = timedelta(hours=1)
"""A day's limit ends at midnight of the account's zone, which is not known here."""
LOCK_PAUSE = timedelta(seconds=2)

_BUSY = frozenset({408, 423, 429, 477})
"""Nothing was done: too slow, locked for two seconds, a rate limit, an account that moves to another data centre."""


def asked(
    caller: Caller, method: str, path: str, content: Any = None, *, missing: str = ""
) -> tuple[Mapping[str, Any], datetime]:
    """Ask HubSpot something; return what it says, and the time of its clock.

    Raises a typed error for any other answer than a good one: of a question nothing can be in doubt. `missing` says
    what it means that HubSpot, and no other server, does not find it.
    """
    answered = caller.call(method, path, None if content is None else orjson.dumps(content))
    if not isinstance(answered, Answered):
        raise not_taken(answered)
    if missing and answered.status == 404 and object_answered(answered.content):
        raise Permanent(missing)
    if answered.status not in {200, 207}:
        raise not_taken(refused(answered, caller.key))
    found = object_answered(answered.content)
    if not found:
        raise Retryable("HubSpot's answer cannot be read.")
    return found, _time(answered)


def results_of(content: Mapping[str, Any]) -> list[Any]:
    """Return what an answer lists; raises a typed error where it is no such answer."""
    results = content.get("results")
    if not isinstance(results, list):
        raise Retryable("HubSpot's answer cannot be read.")
    return results


def next_of(content: Mapping[str, Any]) -> str:
    """Return what the next page is asked for with; empty where there is none."""
    return text_in(object_in(object_in(content, "paging"), "next"), "after")


def not_taken(fault: ConnectorError) -> ConnectorError:
    """Return what a fault means for a question, which may always be asked again."""
    return Retryable(fault.reason, retry_after=fault.retry_after) if isinstance(fault, Retryable) else fault


def refused(answered: Answered, secret: str) -> Retryable | Permanent | Misconfigured:
    """Return what an answer means that is no good one; `Permanent` is about what was asked for."""
    status, content = answered.status, object_answered(answered.content)
    words = f"HubSpot answers {status}: {told(content, secret)}"
    if status in _BUSY:
        return Retryable(words, retry_after=_pause(answered, content))
    if status == 401:
        return Misconfigured(f"{words}. Check EVERGREET_HUBSPOT_TOKEN.")
    if status == 403:
        scopes = " or ".join(_scopes(content)) or "the scopes that docs/connectors/hubspot.md names"
        return Misconfigured(f"{words}. Give the private app {scopes}.")
    if status == 400 and b"PROPERTY_DOESNT_EXIST" in answered.content:
        return Misconfigured(f"{words}. Make that property in HubSpot, or change EVERGREET_HUBSPOT_…_PROPERTY.")
    if status in {400, 404} and b"eventName" in answered.content:
        return Misconfigured(f"{words}. Is EVERGREET_HUBSPOT_NOTE_EVENT right?")
    if status in {400, 409, 413, 422} or (status == 404 and content.get("category") == "OBJECT_NOT_FOUND"):
        return Permanent(words)
    if 300 <= status < 500:
        return Misconfigured(f"{words}. Is EVERGREET_HUBSPOT_BASE_URL right?")
    return Retryable(f"{words}; it may have done it.", accepted="maybe")


def not_found(content: Mapping[str, Any]) -> set[str]:
    """Return the names of what an answer says is not there, or not any more."""
    errors = content.get("errors")
    return {
        name
        for error in (errors if isinstance(errors, list) else ())
        if isinstance(error, dict) and error.get("category") == "OBJECT_NOT_FOUND"
        for name in names_in(error, "ids")
    }


def names_in(error: Mapping[str, Any], key: str) -> list[str]:
    """Return the names that an error gives under a key of its context."""
    names = object_in(error, "context").get(key)
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _scopes(content: Mapping[str, Any]) -> list[str]:
    """Return the scopes of which an answer says that one is missing."""
    errors = content.get("errors")
    named = [
        name
        for error in (errors if isinstance(errors, list) else ()) if isinstance(error, dict)
        for key in ("requiredGranularScopes", "requiredScopes") for name in names_in(error, key)
    ]  # fmt: skip
    return [name for name in dict.fromkeys(named) if re.fullmatch("[a-z0-9._-]{1,80}", name)][:5]


def told(error: Mapping[str, Any], secret: str) -> str:
    """Return what an error says, without addresses."""
    return said(str(error.get("message") or "without a reason"), secret)


def _pause(answered: Answered, content: Mapping[str, Any]) -> timedelta | None:
    """Return how long to wait: https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines."""
    named = pause(answered.headers, "retry-after")
    if named is not None or answered.status not in {423, 429}:
        return named
    if answered.status == 423:
        return LOCK_PAUSE
    if content.get("policyName") == "DAILY":
        return DAILY_PAUSE
    interval = whole_number(answered.headers.get("x-hubspot-ratelimit-interval-milliseconds", ""))
    return timedelta(milliseconds=min(max(interval, 1000), 60_000)) if interval else None


def _time(answered: Answered) -> datetime:
    """Return the server's time, by which it says when a contact changed."""
    now = server_time(answered.headers)
    if now is None:
        raise Misconfigured("HubSpot's answer has no time. Is EVERGREET_HUBSPOT_BASE_URL right?")
    return now
