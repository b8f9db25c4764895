"""What the answer of a webhook's receiver means.

Whatever is not 2xx is a failure, and the message is posted again:
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#delivery-success-and-failure.
Of that we leave out what no repeat can mend.
"""

from connectors.answers import pause
from connectors.calling import Answered
from evergreet.contracts import Accepted, Outcome
from evergreet.errors import Misconfigured, Permanent, Retryable

LATER = frozenset({408, 425, 429})
"""Beside all that begins with a 5: not now."""

OURS = {
    401: "Does it have the secret that is set here?",
    403: "Does it have the secret that is set here?",
    407: "A proxy on the way asks for a password.",
    410: "It wants no more webhooks: take the step out, or set where else to post.",
}
"""It stands for every message, with what to do. 410 is the standard's own word for an end."""


def understand(answered: Answered, key: str, where: str, told: str) -> Outcome:
    """Return what became of the message with that key; `told` is what the receiver called `where` said, fit to keep."""
    status = answered.status
    words = f"The webhook {where} answers {status}{f': {told}' if told else ''}"
    if 200 <= status < 300:
        return Accepted(key)
    if status >= 500 or status in LATER:  # it said itself that it did not take it
        return Retryable(words, accepted="no", retry_after=pause(answered.headers, "retry-after"))
    if 300 <= status < 400:
        return Misconfigured(f"{words}. Redirects are not followed: set the address that it leads to.")
    if status in OURS:
        return Misconfigured(f"{words}. {OURS[status]}")
    return Permanent(words)
