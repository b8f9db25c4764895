"""What Postmark tells of messages afterwards: one event in a request, with a name and a password in the URL.

https://postmarkapp.com/developer/webhooks/webhooks-overview; types of bounces in
https://postmarkapp.com/developer/api/bounce-api#bounce-types.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from connectors.calling import said
from connectors.email.postmark_payload import KEY, ROW
from connectors.email.replies import pairs, told_reply
from connectors.email.statuses import kind_said
from connectors.json_bodies import name_or_digest, object_in, read_json, text_in, whole_number
from connectors.moments import from_text
from evergreet.contracts import Kind, ProviderEvent, Verdict, WebhookRequest
from evergreet.errors import Unreadable

RECORDS: Mapping[str, tuple[Kind, Verdict]] = {
    "Delivery": (Kind.DELIVERED, Verdict.NONE),
    "Open": (Kind.OPENED, Verdict.NONE),
    "Click": (Kind.CLICKED, Verdict.NONE),
    "SpamComplaint": (Kind.COMPLAINED, Verdict.COMPLAINED),
}
"""`RecordType` of events that mean the same whatever else they say; `Bounce` and `SubscriptionChange` do not."""

BOUNCES: Mapping[str, tuple[Kind, Verdict]] = {
    "HardBounce": (Kind.HARD_BOUNCED, Verdict.INVALID),
    "BadEmailAddress": (Kind.HARD_BOUNCED, Verdict.INVALID),
    "Transient": (Kind.DEFERRED, Verdict.NONE),
    "DnsError": (Kind.SOFT_BOUNCED, Verdict.NONE),
    "SoftBounce": (Kind.SOFT_BOUNCED, Verdict.NONE),
    "Unknown": (Kind.SOFT_BOUNCED, Verdict.NONE),
    "SpamNotification": (Kind.BLOCKED, Verdict.NONE),
    "VirusNotification": (Kind.BLOCKED, Verdict.NONE),
    "ChallengeVerification": (Kind.BLOCKED, Verdict.NONE),
    "Blocked": (Kind.BLOCKED, Verdict.NONE),
    "DMARCPolicy": (Kind.BLOCKED, Verdict.NONE),
    "ManuallyDeactivated": (Kind.DROPPED, Verdict.NONE),
    "Unconfirmed": (Kind.DROPPED, Verdict.NONE),
    "SMTPApiError": (Kind.DROPPED, Verdict.NONE),
    "TemplateRenderingFailed": (Kind.DROPPED, Verdict.NONE),
    "SpamComplaint": (Kind.COMPLAINED, Verdict.COMPLAINED),
    "Unsubscribe": (Kind.UNSUBSCRIBED, Verdict.UNSUBSCRIBED),
    "Subscribe": (Kind.GROUP_RESUBSCRIBED, Verdict.NONE),
    "AutoResponder": (Kind.DELIVERED, Verdict.NONE),  # a machine answered: no reader replied
    "AddressChange": (Kind.DELIVERED, Verdict.NONE),
    "OpenRelayTest": (Kind.UNKNOWN, Verdict.NONE),  # neither is about a message of ours
    "InboundError": (Kind.UNKNOWN, Verdict.NONE),
}
"""`Type` of a `Bounce`; any other is a failure that may pass."""

SUPPRESSIONS: Mapping[str, tuple[Kind, Verdict]] = {
    "HardBounce": (Kind.HARD_BOUNCED, Verdict.INVALID),
    "SpamComplaint": (Kind.COMPLAINED, Verdict.COMPLAINED),
    "ManualSuppression": (Kind.UNSUBSCRIBED, Verdict.UNSUBSCRIBED),
}
"""`SuppressionReason` of a `SubscriptionChange` after which Postmark sends nothing more there."""

PREFETCHED = "Mozilla/5.0"
"""All that Apple's mail privacy protection says of itself when it loads pictures that nobody may look at."""

_ONCE = frozenset({Kind.HARD_BOUNCED, Kind.COMPLAINED})
_TIMES = ("DeliveredAt", "BouncedAt", "ReceivedAt", "ChangedAt")
_NOBODY = re.compile(r"[0-]*")


def read_events(request: WebhookRequest, secret: str) -> list[ProviderEvent]:
    """Read the one event of a request; incoming mail is none, unless it answers one of ours."""
    raw = read_json(request.body)
    if not isinstance(raw, dict):
        raise Unreadable("The body is not an event.")
    word = text_in(raw, "RecordType")
    if word == "Inbound" or (not word and "FromFull" in raw):
        return _reply(raw, request.received_at)
    kind, verdict = _meaning(word, raw)
    metadata = object_in(raw, "Metadata")
    at = next((text_in(raw, name) for name in _TIMES if text_in(raw, name)), "")
    return [
        ProviderEvent(
            id=_name(raw, kind, request.body), kind=kind, verdict=verdict, raw=raw,
            at=from_text(at, request.received_at),
            address=text_in(raw, "Email") or text_in(raw, "Recipient"),
            row=whole_number(text_in(metadata, ROW)), key=text_in(metadata, KEY),
            provider_id=_message(raw), url=text_in(raw, "OriginalLink"),
            reason=said(text_in(raw, "Details") or text_in(raw, "Description"), secret) if word == "Bounce" else "",
            machine=kind is Kind.OPENED and text_in(raw, "UserAgent").strip() == PREFETCHED,
        )
    ]  # fmt: skip


def _reply(raw: Mapping[str, Any], received_at: datetime) -> list[ProviderEvent]:
    """Read mail that came in: https://postmarkapp.com/developer/webhooks/inbound-webhook."""
    headers = [*pairs(raw.get("Headers"), "Name", "Value"), ("Date", raw.get("Date"))]
    address = text_in(object_in(raw, "FromFull"), "Email")
    return told_reply(headers, address, text_in(raw, "MessageID"), received_at, whole=False)


def _meaning(word: str, raw: Mapping[str, Any]) -> tuple[Kind, Verdict]:
    if word == "Bounce":
        kind, verdict = BOUNCES.get(text_in(raw, "Type"), (Kind.SOFT_BOUNCED, Verdict.NONE))
        told = kind_said(text_in(raw, "Details")) if kind is Kind.HARD_BOUNCED else None
        return (kind, verdict) if told is None else (told, Verdict.NONE)
    if word == "SubscriptionChange":
        if raw.get("SuppressSending") is False:
            return Kind.GROUP_RESUBSCRIBED, Verdict.NONE
        return SUPPRESSIONS.get(text_in(raw, "SuppressionReason"), (Kind.UNKNOWN, Verdict.NONE))
    return RECORDS.get(word, (Kind.UNKNOWN, Verdict.NONE))


def _name(raw: Mapping[str, Any], kind: Kind, body: bytes) -> str:
    """Return what an event is known by.

    Only bounces have a name of their own. That a message bounced for good, or was called spam, is told by up to three
    webhooks, and is one thing.
    """
    message = _message(raw)
    return name_or_digest(f"{message}:{kind}" if message and kind in _ONCE else "", body)


def _message(raw: Mapping[str, Any]) -> str:
    """Return Postmark's name for the message; nil where an event is about an address only."""
    name = text_in(raw, "MessageID")
    return "" if _NOBODY.fullmatch(name) else name
