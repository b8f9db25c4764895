"""What SendGrid tells of messages afterwards: its Event Webhook, signed, in batches.

https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event; for the signature
`…/getting-started-event-webhook-security-features`: ECDSA over SHA-256 of the timestamp's digits and the body as it
came, trailing line break and all.
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from connectors.calling import said
from connectors.email.sendgrid_payload import KEY, ROW
from connectors.json_bodies import read_json
from evergreet.contracts import Kind, ProviderEvent, Verdict, WebhookRequest
from evergreet.errors import Misconfigured, NotGenuine, Unreadable

SIGNATURE = "x-twilio-email-event-webhook-signature"
TIMESTAMP = "x-twilio-email-event-webhook-timestamp"
_LONGEST_ID = 200
_YEAR_2000, _YEAR_2200 = 946_684_800, 7_258_118_400

WORDS: Mapping[str, tuple[Kind, Verdict]] = {
    "processed": (Kind.ACCEPTED, Verdict.NONE),
    "deferred": (Kind.DEFERRED, Verdict.NONE),
    "delivered": (Kind.DELIVERED, Verdict.NONE),
    "open": (Kind.OPENED, Verdict.NONE),
    "click": (Kind.CLICKED, Verdict.NONE),
    "spamreport": (Kind.COMPLAINED, Verdict.COMPLAINED),
    "unsubscribe": (Kind.UNSUBSCRIBED, Verdict.UNSUBSCRIBED),
    "group_unsubscribe": (Kind.GROUP_UNSUBSCRIBED, Verdict.UNSUBSCRIBED_TOPIC),
    "group_resubscribe": (Kind.GROUP_RESUBSCRIBED, Verdict.NONE),
}
"""Events that mean the same whatever else they say; `bounce` and `dropped` do not."""

DROPS: Mapping[str, Verdict] = {
    "invalid": Verdict.INVALID,
    "bounced address": Verdict.INVALID,
    "spam reporting address": Verdict.COMPLAINED,
    "unsubscribed address": Verdict.UNSUBSCRIBED,
}
"""Reasons of `dropped` that are about the address, in small letters; content, quota and the like are not."""

CLASSES: Mapping[str, Kind] = {
    "invalid address": Kind.HARD_BOUNCED,
    "technical": Kind.SOFT_BOUNCED,
    "mailbox unavailable": Kind.SOFT_BOUNCED,
    "content": Kind.BLOCKED,
    "reputation": Kind.BLOCKED,
    "frequency or volume too high": Kind.BLOCKED,
}
"""`bounce_classification` in small letters. "Unclassified" leaves it to the status."""

STATUSES: Mapping[str, Kind] = {
    "": Kind.HARD_BOUNCED,
    "5": Kind.HARD_BOUNCED,
    "5.0.0": Kind.HARD_BOUNCED,
    "5.1.0": Kind.HARD_BOUNCED,
    "5.1.1": Kind.HARD_BOUNCED,
    "5.1.3": Kind.HARD_BOUNCED,
    "5.1.6": Kind.HARD_BOUNCED,
    "5.1.10": Kind.HARD_BOUNCED,
    "5.7": Kind.BLOCKED,
}
"""Enhanced status codes (RFC 3463) of a `bounce`, by the whole code, then by its first two numbers.

SendGrid gives 5.0.0 where the receiver gave none. Any other code is a failure that may pass, a domain that is not found
(5.1.2) included: a receiver whose resolver is broken says the same of good addresses.
"""


def verify(request: WebhookRequest, verification_key: str) -> None:
    """Raise `NotGenuine` unless SendGrid signed the timestamp and the body with the key's other half.

    SendGrid sets no age at which a signature ends, and repeats for a day: an event that comes again is known by its id.
    """
    key = _public_key(verification_key)
    try:
        signature = base64.b64decode(request.headers[SIGNATURE], validate=True)
        stamped = request.headers[TIMESTAMP].encode("ascii")
    except KeyError:
        raise NotGenuine("a header of the signature is missing") from None
    except (binascii.Error, ValueError):
        raise NotGenuine("a header of the signature cannot be read") from None
    if not stamped.isdigit():  # nothing parts it from the body
        raise NotGenuine("the time of the signature is none")
    try:
        key.verify(signature, stamped + request.body, ECDSA(SHA256()))
    except InvalidSignature:
        raise NotGenuine("the signature is not that of the body") from None


def _public_key(written: str) -> EllipticCurvePublicKey:
    """Read the key as SendGrid's page shows it, or in PEM."""
    if not written:
        raise Misconfigured(
            "EVERGREET_SENDGRID_VERIFICATION_KEY is not set: switch on the signed event webhook and copy the key there."
        )
    try:
        bare = "".join(line for line in written.splitlines() if "-----" not in line)
        key = load_der_public_key(base64.b64decode(bare, validate=True))
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, EllipticCurvePublicKey):
        raise Misconfigured(
            "EVERGREET_SENDGRID_VERIFICATION_KEY is not a public key: copy all of what the page of the signed event "
            "webhook shows."
        )
    return key


def read_events(request: WebhookRequest, secret: str) -> list[ProviderEvent]:
    """Read the list of events; an entry that is not one is kept as `UNKNOWN`."""
    listed = read_json(request.body)
    if not isinstance(listed, list):
        raise Unreadable("The body is not a list of events.")
    return [_event(entry, request.received_at, secret) for entry in listed]


def _event(entry: Any, received_at: datetime, secret: str) -> ProviderEvent:
    raw = entry if isinstance(entry, dict) else {"": entry}
    kind, verdict = _meaning(raw)
    name = _text(raw, "sg_event_id")
    return ProviderEvent(
        id=name if 0 < len(name) <= _LONGEST_ID else f"digest:{_digest(raw)}",
        kind=kind, verdict=verdict, at=_moment(raw.get("timestamp"), received_at), raw=raw,
        address=_text(raw, "email"), row=_number(_text(raw, ROW)), key=_text(raw, KEY), provider_id=_provider_id(raw),
        reason=said(_text(raw, "reason") or _text(raw, "response"), secret), url=_text(raw, "url"),
        machine=kind is Kind.OPENED and raw.get("sg_machine_open") is True,
    )  # fmt: skip


def _meaning(raw: Mapping[str, Any]) -> tuple[Kind, Verdict]:
    word = _text(raw, "event")
    if word == "dropped":
        return Kind.DROPPED, DROPS.get(_text(raw, "reason").lower(), Verdict.NONE)
    if word == "bounce":
        kind = _bounce(raw)
        return kind, Verdict.INVALID if kind is Kind.HARD_BOUNCED else Verdict.NONE
    return WORDS.get(word, (Kind.UNKNOWN, Verdict.NONE))


def _bounce(raw: Mapping[str, Any]) -> Kind:
    """Tell a mailbox that is not there from everything else; `type` is `blocked` for what SendGrid takes as passing.

    Whatever else it says, what the receiver answered with 4… may pass.
    """
    said_type, status = _text(raw, "type"), _text(raw, "status")
    if said_type == "blocked":
        return Kind.BLOCKED
    kind = CLASSES.get(_text(raw, "bounce_classification").lower())
    if kind is None and said_type not in {"", "bounce"}:
        kind = Kind.SOFT_BOUNCED
    kind = kind or STATUSES.get(status) or STATUSES.get(".".join(status.split(".")[:2])) or Kind.SOFT_BOUNCED
    may_pass = (status or _text(raw, "reason").lstrip()).startswith("4")
    return Kind.SOFT_BOUNCED if kind is Kind.HARD_BOUNCED and may_pass else kind


def _provider_id(raw: Mapping[str, Any]) -> str:
    """Return what the answer to the request had as `X-Message-Id`: `sg_message_id` begins with it."""
    name = _text(raw, "sg_message_id").partition(".")[0]
    return "" if name.startswith("filter") else name


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    return value if isinstance(value, str) else ""


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else 0


def _moment(written: Any, otherwise: datetime) -> datetime:
    try:
        seconds = float(written)
    except (TypeError, ValueError):
        return otherwise
    return datetime.fromtimestamp(seconds, UTC) if _YEAR_2000 < seconds < _YEAR_2200 else otherwise


def _digest(raw: Mapping[str, Any]) -> str:
    return blake2b(orjson.dumps(raw, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
