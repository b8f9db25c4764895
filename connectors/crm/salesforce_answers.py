"""What Salesforce's answers mean: a list of errors with codes, for a request or for each of its records.

https://developer.salesforce.com/docs/platform/api-rest/guide/errorcodes.html,
https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/sforce_api_calls_concepts_core_data_objects.htm
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from connectors.answers import pause, read_answer
from connectors.calling import Answered, said
from connectors.json_bodies import text_in
from evergreet.errors import Misconfigured, Permanent, Retryable

LATER = frozenset({
    "UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "REQUEST_RUNNING_TOO_LONG", "QUERY_TIMEOUT",
    "CONCURRENT_REQUESTS_LIMIT_EXCEEDED",
})  # fmt: skip
"""It was not done, and may be tried again."""

LIMIT = "REQUEST_LIMIT_EXCEEDED"
LIMIT_PAUSE = timedelta(minutes=15)
"""The limit is that of the last 24 hours, and Salesforce does not say when there is room again."""

GONE = frozenset({
    "ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY", "INVALID_CROSS_REFERENCE_TYPE_FOR_FIELD", "MALFORMED_ID",
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
})  # fmt: skip
"""There is no such record, or the app may not see it."""

OURS: Mapping[str, str] = {
    "INVALID_FIELD": "Make that field in Salesforce and let the app see it, or change EVERGREET_SALESFORCE_….",
    "INVALID_FIELD_FOR_INSERT_UPDATE": "The app may not write that field: see its field-level security.",
    "INSUFFICIENT_ACCESS_OR_READONLY": "Give the app's user the right to change it.",
    "INSUFFICIENT_ACCESS": "Give the app's user the right to it.",
    "INVALID_TYPE": "Give the app's user the right to see contacts.",
    "MALFORMED_QUERY": "Check EVERGREET_SALESFORCE_FIELDS.",
    "API_DISABLED_FOR_ORG": "This edition of Salesforce has no API.",
    "API_CURRENTLY_DISABLED": "The app's user may not use the API.",
    "STORAGE_LIMIT_EXCEEDED": "The org's storage is full.",
    "INVALID_SESSION_ID": "Check the connected app and the rights of its user.",
}
"""It stands for every record, with what to do."""


def refused(answered: Answered, secret: str) -> Retryable | Permanent | Misconfigured:
    """Return what an answer means that is no good one; `Permanent` is about what was asked for."""
    errors = read_answer(answered.content)
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    status, code = answered.status, text_in(first, "errorCode")
    words = f"Salesforce answers {status}{f' {code}' if code else ''}: {_said(first, secret)}"
    if code == LIMIT:
        return Retryable(words, retry_after=LIMIT_PAUSE)
    if code in LATER or status in {408, 429}:
        return Retryable(words, retry_after=pause(answered.headers, "retry-after"))
    if code in OURS or status in {401, 403}:
        return Misconfigured(f"{words}. {OURS.get(code, OURS['INSUFFICIENT_ACCESS'])}")
    if status in {400, 409, 413, 422}:
        return Permanent(words)
    if 300 <= status < 500:
        return Misconfigured(f"{words}. Check EVERGREET_SALESFORCE_BASE_URL and …_API_VERSION.")
    return Retryable(f"{words}; it may have done it.", accepted="maybe")


def refused_record(result: Mapping[str, Any], secret: str) -> Retryable | Permanent | Misconfigured:
    """Return what it means that one record of several was not taken."""
    errors = result.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    code = text_in(first, "statusCode")
    words = f"Salesforce refuses it{f', {code}' if code else ''}: {_said(first, secret)}"
    if code in LATER or code == LIMIT:
        return Retryable(words, retry_after=LIMIT_PAUSE if code == LIMIT else None)
    if code in GONE:
        return Permanent(f"Salesforce has no such contact ({code}).")
    if code in OURS:
        return Misconfigured(f"{words}. {OURS[code]}")
    return Permanent(words)


def _said(error: Mapping[str, Any], secret: str) -> str:
    return said(text_in(error, "message") or "without a reason", secret)
