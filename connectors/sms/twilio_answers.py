"""What Twilio's answer to a message means, and its error codes as tables.

https://www.twilio.com/docs/messaging/api/message-resource and https://www.twilio.com/docs/api/errors.
"""

from collections.abc import Mapping

from connectors.answers import object_answered, pause
from connectors.calling import Answered, said
from evergreet.contracts import Accepted, Outcome
from evergreet.errors import Misconfigured, Permanent, Retryable

NO_SUCH_NUMBER = frozenset({21211, 21214, 21217, 21614, 21635})
"""Not a valid phone number, not a mobile one, or a landline: nothing will ever arrive there."""

UNSUBSCRIBED = frozenset({21610})
"""Its reader answered STOP to this sender."""

REFUSED = frozenset({21602, 21604, 21605, 21612, 21617, 21618, 21619, 21623, 21655, 21656, 30003, 30004, 30005, 30006})
"""About this message, its text or its route: others may go."""

OURS: Mapping[int, str] = {
    10001: "The account is not active.",
    20003: "Check EVERGREET_TWILIO_ACCOUNT_SID and the token or key.",
    20005: "The account is not active.",
    20008: "These are test credentials, which send nothing.",
    20404: "Check EVERGREET_TWILIO_ACCOUNT_SID and EVERGREET_TWILIO_BASE_URL.",
    21212: "Check EVERGREET_TWILIO_SENDER.",
    21408: "Allow the country in Twilio's console: Messaging, Settings, Geo permissions.",
    21601: "Check EVERGREET_TWILIO_SENDER.",
    21603: "Set EVERGREET_TWILIO_SENDER or EVERGREET_TWILIO_MESSAGING_SERVICE_SID.",
    21606: "Check EVERGREET_TWILIO_SENDER: it cannot send SMS to this destination.",
    21607: "Check EVERGREET_TWILIO_SENDER.",
    21608: "A trial account writes to verified numbers only.",
    21609: "Check EVERGREET_PUBLIC_URL.",
    21659: "Check EVERGREET_TWILIO_SENDER: it is no number of this account or of this country.",
    21660: "Check EVERGREET_TWILIO_SENDER: it belongs to another account.",
    21701: "Check EVERGREET_TWILIO_MESSAGING_SERVICE_SID.",
    21703: "Put a sender into the messaging service.",
    21704: "Put a sender into the messaging service.",
    21705: "Check EVERGREET_TWILIO_MESSAGING_SERVICE_SID.",
    30002: "The account is suspended.",
    63038: "The account has reached its messages of a day.",
}
"""It stands for every message, with what to do."""

LATER = frozenset({14107, 20429, 21611, 30001, 30022, 30023})
"""Too many at once, of the account or in the sender's queue: not accepted."""


def understand(answered: Answered, secret: str) -> Outcome:
    """Return what became of the one message of a request."""
    content = object_answered(answered.content)
    if answered.status in {200, 201}:
        name = content.get("sid")
        if isinstance(name, str) and name:
            return Accepted(name)
        return Retryable("Twilio took the request and its answer cannot be read.", accepted="maybe")
    return refused(answered, secret)


def refused(answered: Answered, secret: str) -> Retryable | Permanent | Misconfigured:
    """Return what an answer means that takes nothing."""
    status, content = answered.status, object_answered(answered.content)
    number = content.get("code")
    code = number if isinstance(number, int) else 0
    told = without_numbers(said(str(content.get("message") or "without a reason"), secret))
    words = f"Twilio answers {status}{f', code {code}' if code else ''}: {told}"
    if status == 429 or code in LATER:
        return Retryable(words, accepted="no", retry_after=pause(answered.headers, "retry-after"))
    if code in NO_SUCH_NUMBER:
        return Permanent(words, address_invalid=True)
    if code in UNSUBSCRIBED:
        return Permanent(words, unsubscribed=True)
    if code in OURS or status in {401, 403}:
        return Misconfigured(f"{words}. {OURS.get(code, OURS[20003])}")
    if status == 400 or code in REFUSED:
        return Permanent(words)
    if status == 408:
        return Retryable(words, accepted="no")
    if 300 <= status < 500:
        return Misconfigured(f"{words}. Is EVERGREET_TWILIO_BASE_URL right?")
    return Retryable(f"{words}; it may have taken the message.", accepted="maybe")


def without_numbers(text: str) -> str:
    """Take phone numbers out of what is said: a reason is kept longer than a person's data may be."""
    return " ".join("(number)" if sum(c.isdigit() for c in word) > 6 else word for word in text.split())
