"""What Resend's answer means for a batch.

https://resend.com/docs/api-reference/errors and `…/emails/send-batch-emails`.
"""

from collections.abc import Mapping
from typing import Any

from connectors.answers import object_answered, pause
from connectors.calling import Answered, said
from evergreet.contracts import Accepted, Outcome
from evergreet.errors import Misconfigured, Permanent, Refused, Retryable

_ABOUT_SENDER = ("from", "domain", "api key", "reply_to", "reply-to")


def understand(answered: Answered, count: int, secret: str) -> list[Outcome]:
    """Return one outcome per message of a batch of so many; raises `Refused` where it must be asked in smaller ones.

    Asked with permissive validation, Resend accepts what is good and names the rest by place.
    """
    if answered.status in {200, 201}:
        return _taken(object_answered(answered.content), count, secret)
    refused = refusal(answered, secret)
    if isinstance(refused, Permanent) and count > 1:
        raise Refused(refused.reason)
    return [refused] * count


def _taken(content: Mapping[str, Any], count: int, secret: str) -> list[Outcome]:
    """Match names with places; where they do not add up nobody knows who was accepted."""
    refused: dict[int, Outcome] = {}
    errors = content.get("errors")
    listed = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    told = {str(error.get("message")) for error in listed}
    # In the same words of everybody, and not about whom it is to: it is about what they share.
    shared = count > 2 and len(listed) == count and len(told) == 1 and not any("`to`" in words for words in told)
    for error in listed:
        if isinstance(error.get("index"), int):
            words = said(str(error.get("message") or "no message"), secret)
            if shared or _is_about_sender(words):
                refused[error["index"]] = Misconfigured(f"Resend refuses it: {words}. It stands for every message.")
            else:
                refused[error["index"]] = Permanent(f"Resend refuses it: {words}")
    data = content.get("data")
    names = [one.get("id") if isinstance(one, dict) else None for one in data] if isinstance(data, list) else []
    good = [place for place in range(count) if place not in refused]
    if len(names) != len(good) or not all(isinstance(name, str) and name for name in names):
        return [Retryable("Resend took the request and its answer cannot be read.", accepted="maybe")] * count
    taken: dict[int, Outcome] = {place: Accepted(str(name)) for place, name in zip(good, names, strict=True)}
    return [(taken | refused)[place] for place in range(count)]


def refusal(answered: Answered, secret: str) -> Retryable | Permanent | Misconfigured:
    """Say what an answer that is no success means for everything that was asked for."""
    status, content = answered.status, object_answered(answered.content)
    name, told = str(content.get("name") or ""), said(str(content.get("message") or "without a reason"), secret)
    words = f"Resend answers {status}: {told}"
    if status == 429:
        return Retryable(words, accepted="no", retry_after=pause(answered.headers, "retry-after", "ratelimit-reset"))
    if status == 409:  # the key is in use: the request is under way, or was there in other words
        return Retryable(f"{words}; a request with this key may have been taken.", accepted="maybe")
    if status in {401, 403} or name in {"missing_api_key", "invalid_api_key"}:
        return Misconfigured(f"{words}. Check EVERGREET_RESEND_API_KEY and that the sender's domain is verified.")
    if status == 408:
        return Retryable(words, accepted="no")
    if status in {400, 413, 422}:
        if status == 413 or not _is_about_sender(told):
            return Permanent(words)
        return Misconfigured(f"{words}. It stands for every message of the request.")
    if 300 <= status < 500:
        return Misconfigured(f"{words}. Is EVERGREET_RESEND_BASE_URL right?")
    return Retryable(f"{words}; it may have taken the request.", accepted="maybe")


def _is_about_sender(words: str) -> bool:
    return any(word in words.lower() for word in _ABOUT_SENDER)


def understand_check(answered: Answered, secret: str) -> str:
    """Say what a key may do, from the answer to a list of emails; raises the typed error of any other answer."""
    content = object_answered(answered.content)
    if answered.status == 200 and isinstance(content.get("data"), list):
        return "the key has full access"
    if content.get("name") == "restricted_api_key":
        return "the key may send and nothing else"
    if answered.status == 200:
        raise Misconfigured("What answers there is not Resend. Is EVERGREET_RESEND_BASE_URL right?")
    raise refusal(answered, secret)
