"""What Mailgun tells of messages afterwards: one event in a request, with a signature beside it in the JSON.

https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks (HMAC with SHA-256 of timestamp
and token) and `…/user-manual/events/event-structure`.
"""

import hmac
import re
from collections.abc import Mapping
from datetime import timedelta
from email.utils import parseaddr
from hashlib import sha256
from typing import Any

import orjson

from connectors.calling import said
from connectors.comparing import any_alike
from connectors.email.mailgun_answers import bare
from connectors.email.mailgun_variables import KEY, ROW
from connectors.json_bodies import name_or_digest, object_in, read_json, text_in, whole_number
from connectors.moments import from_seconds
from evergreet.contracts import Kind, ProviderEvent, Verdict, WebhookRequest
from evergreet.errors import Misconfigured, NotGenuine, Unreadable

OLDEST = timedelta(days=1)
"""How old a signature may be: Mailgun goes on telling for 8 hours."""
EARLIEST = timedelta(minutes=5)
"""How far ahead its clock may be."""

WORDS: Mapping[str, tuple[Kind, Verdict]] = {
    "accepted": (Kind.ACCEPTED, Verdict.NONE),
    "delivered": (Kind.DELIVERED, Verdict.NONE),
    "rejected": (Kind.DROPPED, Verdict.NONE),
    "opened": (Kind.OPENED, Verdict.NONE),
    "clicked": (Kind.CLICKED, Verdict.NONE),
    "complained": (Kind.COMPLAINED, Verdict.COMPLAINED),
    "unsubscribed": (Kind.UNSUBSCRIBED, Verdict.UNSUBSCRIBED),
}
"""`event` of what means the same whatever else it says; `failed` does not."""

REASONS: Mapping[str, tuple[Kind, Verdict]] = {
    "suppress-bounce": (Kind.DROPPED, Verdict.NONE),
    "suppress-complaint": (Kind.DROPPED, Verdict.COMPLAINED),
    "suppress-unsubscribe": (Kind.DROPPED, Verdict.UNSUBSCRIBED),
    "espblock": (Kind.BLOCKED, Verdict.NONE),
    "blacklisted": (Kind.BLOCKED, Verdict.NONE),
    "greylisted": (Kind.SOFT_BOUNCED, Verdict.NONE),
    "old": (Kind.SOFT_BOUNCED, Verdict.NONE),
}
"""`reason` of a permanent `failed`; any other leaves it to the receiver's answer. Of an address on Mailgun's list of
bounces it does not say why it is there: the bounce itself did."""

CODES: Mapping[int, tuple[Kind, Verdict]] = {
    605: REASONS["suppress-bounce"],
    606: REASONS["suppress-unsubscribe"],
    607: REASONS["suppress-complaint"],
}
"""Mailgun's own codes, where no reason stands beside them."""

STATUSES: Mapping[str, Kind] = {
    "5.1.0": Kind.HARD_BOUNCED,
    "5.1.1": Kind.HARD_BOUNCED,
    "5.1.3": Kind.HARD_BOUNCED,
    "5.1.6": Kind.HARD_BOUNCED,
    "5.1.10": Kind.HARD_BOUNCED,
    "5.7": Kind.BLOCKED,
}
"""Enhanced status codes (RFC 3463), by the whole code, then by its first two numbers; any other, but for 5.0.0, which
says nothing, is a failure that may pass."""

_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.]\d)")
_NO_MAILBOX = re.compile(
    r"user (?:is )?unknown|unknown (?:user|recipient|address|mailbox)|no such (?:user|mailbox|recipient|address|person)"
    r"|(?:user|mailbox|recipient|account|address)[^.]{0,80} (?:does not exist|doesn't exist|not found)"
    r"|no mailbox (?:here )?by that name|invalid (?:recipient|mailbox)",
    re.IGNORECASE,
)


def verify(request: WebhookRequest, signing_key: str) -> None:
    """Raise `NotGenuine` unless Mailgun signed the timestamp and the token.

    The signature covers nothing else. Mailgun's page says to honor a token once: it is what the event is known by. Of a
    subaccount's event there are two, with its own key and with that of the account above it: either will do.
    """
    if not signing_key:
        raise Misconfigured("EVERGREET_MAILGUN_SIGNING_KEY is not set: copy the HTTP webhook signing key there.")
    signature = _signature(request)
    timestamp, token = text_in(signature, "timestamp"), text_in(signature, "token")
    given = [text_in(signature, name).encode("utf-8", "replace") for name in ("signature", "parent-signature")]
    if not re.fullmatch(r"[0-9]{10}", timestamp) or not token or not any(given):  # nothing parts it from the token
        raise NotGenuine("a part of the signature is missing, or none")
    right = hmac.new(signing_key.encode(), f"{timestamp}{token}".encode("utf-8", "replace"), sha256).hexdigest()
    if not any_alike(given, [right.encode()]):
        raise NotGenuine("the signature is not that of the timestamp and the token")
    signed_at = from_seconds(timestamp, request.received_at)
    if not -OLDEST <= signed_at - request.received_at <= EARLIEST:
        raise NotGenuine("the signature is too old, or from the future")


def _signature(request: WebhookRequest) -> Mapping[str, Any]:
    try:
        told = read_json(request.body)
    except Unreadable:
        raise NotGenuine("the body holds no signature") from None
    return object_in(told, "signature") if isinstance(told, dict) else {}


def read_events(request: WebhookRequest, secret: str) -> list[ProviderEvent]:
    """Read the one event of a request; that incoming mail was stored is none."""
    told = read_json(request.body)
    raw = told.get("event-data") if isinstance(told, dict) else None
    if not isinstance(raw, dict):
        raise Unreadable("The body is not an event.")
    word = text_in(raw, "event")
    if word == "stored":
        return []
    kind, verdict = _failure(raw) if word == "failed" else WORDS.get(word, (Kind.UNKNOWN, Verdict.NONE))
    status, reject = object_in(raw, "delivery-status"), object_in(raw, "reject")
    headers, ours = object_in(object_in(raw, "message"), "headers"), object_in(raw, "user-variables")
    reasons = (text_in(status, "message"), text_in(status, "description"), text_in(reject, "reason"))
    name = text_in(object_in(told, "signature"), "token")
    return [
        ProviderEvent(
            # What it calls `id` is unique "within a day", and does not say that a signature is used again.
            id=name_or_digest(name, orjson.dumps(raw, option=orjson.OPT_SORT_KEYS)),
            kind=kind, verdict=verdict, raw=raw, at=from_seconds(raw.get("timestamp"), request.received_at),
            address=text_in(raw, "recipient") or parseaddr(text_in(headers, "to"))[1],
            row=whole_number(_variable(ours, ROW)), key=_variable(ours, KEY),
            provider_id=bare(text_in(headers, "message-id")),
            reason=said(next((words for words in reasons if words), text_in(raw, "reason")), secret),
            url=text_in(raw, "url"), machine=bool(text_in(object_in(raw, "client-info"), "bot")),
        )
    ]  # fmt: skip


def _failure(raw: Mapping[str, Any]) -> tuple[Kind, Verdict]:
    """Say what a `failed` means: Mailgun goes on trying after one that is not permanent."""
    if text_in(raw, "severity") != "permanent":
        return Kind.DEFERRED, Verdict.NONE
    status = object_in(raw, "delivery-status")
    code = status.get("code")
    reason = text_in(raw, "reason")
    known = REASONS.get(reason) or CODES.get(whole_number(str(code)))
    if known is not None:
        return known
    words = f"{text_in(status, 'message')} {text_in(status, 'description')}"
    enhanced = text_in(status, "enhanced-code") or text_in(status, "bounce-code")
    kind = bounce_kind(enhanced, code, words, hard=text_in(status, "bounce-type") == "hard")
    return kind, Verdict.INVALID if kind is Kind.HARD_BOUNCED else Verdict.NONE


def bounce_kind(enhanced: str, code: Any, words: str, *, hard: bool) -> Kind:
    """Tell a mailbox that is not there from everything else, by what the receiver answered.

    Where it gave no enhanced code that says anything, `hard` is Mailgun's own word for a recipient that is not found.
    Whatever else it says, what was answered with 4… may pass.
    """
    found = _STATUS.search(enhanced) or _STATUS.search(words)
    status = found[1] if found else ""
    if status.startswith("4") or str(code).startswith("4"):
        return Kind.SOFT_BOUNCED
    if status not in {"", "5.0.0"}:
        return STATUSES.get(status) or STATUSES.get(status[: status.rindex(".")]) or Kind.SOFT_BOUNCED
    return Kind.HARD_BOUNCED if hard or _NO_MAILBOX.search(words) else Kind.SOFT_BOUNCED


def _variable(ours: Mapping[str, Any], name: str) -> str:
    """Return a custom variable, which comes back as a text, or as the number that it looks like."""
    value = ours.get(name)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else text_in(ours, name)
