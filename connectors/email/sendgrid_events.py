"""What SendGrid tells of messages afterwards: its Event Webhook, signed, in batches.

https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event; for the signature
`…/getting-started-event-webhook-security-features`: ECDSA over SHA-256 of the timestamp's digits and the body as it
came, trailing line break and all.
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from connectors.calling import said
from connectors.email.sendgrid_payload import KEY, ROW
from connectors.email.statuses import kind_said
from connectors.json_bodies import name_or_digest, read_json, text_in, whole_number
from connectors.moments import from_seconds
from evergreet.contracts import Kind, ProviderEvent, Verdict, WebhookRequest
from evergreet.errors import Misconfigured, NotGenuine, Unreadable

SIGNATURE = "x-twilio-email-event-webhook-signature"
TIMESTAMP = "x-twilio-email-event-webhook-timestamp"

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
    "spam reporting address": Verdict.COMPLAINED,
    "unsubscribed address": Verdict.UNSUBSCRIBED,
}
"""Reasons of `dropped` that are about the address, in small letters; content, quota and the like are not.

Nor is "Bounced Address": what is on that list "can be either permanent or temporary failures"
(https://www.twilio.com/docs/sendgrid/api-reference/bounces-api). The bounce itself says which.
"""

CLASSES: Mapping[str, Kind] = {
    "invalid address": Kind.HARD_BOUNCED,
    "technical": Kind.SOFT_BOUNCED,
    "technical failure": Kind.SOFT_BOUNCED,
    "mailbox unavailable": Kind.SOFT_BOUNCED,
    "content": Kind.BLOCKED,
    "reputation": Kind.BLOCKED,
    "frequency or volume too high": Kind.BLOCKED,
}
"""`bounce_classification` in small letters, as events have it and as the list of bounces has it
(https://www.twilio.com/docs/sendgrid/api-reference/bounces-api/retrieve-bounces-by-specific-classification).
"Unclassified" leaves it to the status."""

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
    key = public_key(verification_key)
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


def public_key(written: str) -> EllipticCurvePublicKey:
    """Read the key as SendGrid's page shows it, or in PEM; raises `Misconfigured` where it is none."""
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


def read_events(request: WebhookRequest, secret: str, topics: Mapping[int, str]) -> list[ProviderEvent]:
    """Read the list of events; an entry that is not one is kept as `UNKNOWN`. `topics` are those of groups."""
    listed = read_json(request.body)
    if not isinstance(listed, list):
        raise Unreadable("The body is not a list of events.")
    return [_event(entry, request.received_at, secret, topics) for entry in listed]


def _event(entry: Any, received_at: datetime, secret: str, topics: Mapping[int, str]) -> ProviderEvent:
    raw = entry if isinstance(entry, dict) else {"": entry}
    topic = topic_of(raw.get("asm_group_id"), topics)
    kind, verdict = _meaning(raw, topic)
    return ProviderEvent(
        id=name_or_digest(text_in(raw, "sg_event_id"), orjson.dumps(raw, option=orjson.OPT_SORT_KEYS)),
        kind=kind, verdict=verdict, at=from_seconds(raw.get("timestamp"), received_at), raw=raw,
        address=text_in(raw, "email"), row=whole_number(text_in(raw, ROW)), key=text_in(raw, KEY),
        provider_id=_provider_id(raw),
        reason=said(text_in(raw, "reason") or text_in(raw, "response"), secret), url=text_in(raw, "url"),
        machine=kind is Kind.OPENED and raw.get("sg_machine_open") is True, topic=topic,
    )  # fmt: skip


def topic_of(group: Any, topics: Mapping[int, str]) -> str:
    """Return the topic that an unsubscribe group stands for; empty where it is none of ours."""
    return topics.get(group, "") if isinstance(group, int) else ""


def _meaning(raw: Mapping[str, Any], topic: str) -> tuple[Kind, Verdict]:
    """Say what an event means; `topic` is that of its unsubscribe group, where that is one of ours.

    A message that went in a group may be dropped because of that group alone. Who is off a group of another program's
    that sends through the same account, in a message that is not ours either, has said nothing of us.
    """
    word = text_in(raw, "event")
    if word == "bounce":
        kind = bounce_kind(raw)
        return kind, Verdict.INVALID if kind is Kind.HARD_BOUNCED else Verdict.NONE
    if word == "dropped":
        kind, verdict = Kind.DROPPED, DROPS.get(text_in(raw, "reason").lower(), Verdict.NONE)
        if verdict is Verdict.UNSUBSCRIBED and isinstance(raw.get("asm_group_id"), int):
            verdict = Verdict.UNSUBSCRIBED_TOPIC
    else:
        kind, verdict = WORDS.get(word, (Kind.UNKNOWN, Verdict.NONE))
    if verdict is Verdict.UNSUBSCRIBED_TOPIC and not (topic or text_in(raw, KEY)):
        verdict = Verdict.NONE
    return kind, verdict


def bounce_kind(raw: Mapping[str, Any]) -> Kind:
    """Tell a mailbox that is not there from everything else; `type` is `blocked` for what SendGrid takes as passing.

    Whatever else it says, what the receiver answered with 4… may pass. Where nothing but a status says that the mailbox
    is not there, so may what the receiver's own words (`reason`) call a full mailbox or a policy.
    """
    said_type, status, reason = text_in(raw, "type"), text_in(raw, "status"), text_in(raw, "reason")
    if said_type == "blocked":
        return Kind.BLOCKED
    kind = CLASSES.get(text_in(raw, "bounce_classification").lower())
    if kind is None and said_type not in {"", "bounce"}:
        kind = Kind.SOFT_BOUNCED
    if kind is None:
        kind = STATUSES.get(status) or STATUSES.get(".".join(status.split(".")[:2])) or Kind.SOFT_BOUNCED
        if kind is Kind.HARD_BOUNCED:
            kind = kind_said(reason) or kind
    may_pass = (status or reason.lstrip()).startswith("4")
    return Kind.SOFT_BOUNCED if kind is Kind.HARD_BOUNCED and may_pass else kind


def _provider_id(raw: Mapping[str, Any]) -> str:
    """Return what the answer to the request had as `X-Message-Id`: `sg_message_id` begins with it."""
    name = text_in(raw, "sg_message_id").partition(".")[0]
    return "" if name.startswith("filter") else name
