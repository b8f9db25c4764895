"""Standard Webhooks, the signature of Svix and of those who use it: https://www.standardwebhooks.com."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta

from connectors.comparing import any_alike
from evergreet.contracts import WebhookRequest
from evergreet.errors import Misconfigured, NotGenuine

TOLERANCE = timedelta(minutes=5)
"""How far the time of a signature may be from ours."""
PREFIXES = ("svix", "webhook")


def verify(request: WebhookRequest, secret: str, setting: str) -> str:
    """Return the id of a message whose signature is that of its id, its time and its body; else raise `NotGenuine`.

    Any of several signatures of version 1 may fit: a secret that changes signs twice for a while.
    """
    key = _key(secret, setting)
    named, stamped, signatures = _headers(request)
    try:
        seconds = int(stamped) if stamped.isascii() and stamped.isdecimal() and len(stamped) <= 12 else None
        signed = f"{named}.{stamped}.".encode() + request.body
        given = [part[3:].encode("ascii") for part in signatures.split(" ") if part.startswith("v1,")]
    except ValueError:
        raise NotGenuine("a header of the signature cannot be read") from None
    if seconds is None or abs(request.received_at.timestamp() - seconds) > TOLERANCE.total_seconds():
        raise NotGenuine("the time of the signature is none, or too far from now")
    right = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    if not any_alike(given, [right]):
        raise NotGenuine("the signature is not that of the body")
    return named


def sign(body: bytes, named: str, at: datetime, keys: Sequence[bytes]) -> dict[str, str]:
    """Return the headers of a message that is posted at that moment, signed with each of the keys.

    `named` is its id, the same for every attempt; it has no full stop.
    """
    stamped = str(int(at.timestamp()))
    signed = f"{named}.{stamped}.".encode() + body
    signatures = [base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in keys]
    return {
        "webhook-id": named,
        "webhook-timestamp": stamped,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def read_key(secret: str) -> bytes:
    """Return the key of a signing secret, with or without `whsec_`; a ValueError where it is none to sign with."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("this is not a signing secret: whsec_ and 24 to 64 octets in base64") from None
    if not 24 <= len(key) <= 64:
        raise ValueError(f"a signing secret has 24 to 64 octets; this one has {len(key)}")
    return key


def message_id(request: WebhookRequest) -> str:
    """Return the signed id of a message: the same however often it is told; empty where it has none."""
    try:
        return _headers(request)[0]
    except NotGenuine:
        return ""


def _headers(request: WebhookRequest) -> tuple[str, str, str]:
    for prefix in PREFIXES:
        parts = [request.headers.get(f"{prefix}-{name}", "") for name in ("id", "timestamp", "signature")]
        if all(parts):
            return parts[0], parts[1], parts[2]
    raise NotGenuine("a header of the signature is missing")


def _key(secret: str, setting: str) -> bytes:
    if not secret.removeprefix("whsec_"):
        raise Misconfigured(f"{setting} is not set: copy the signing secret of the webhook there.")
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise Misconfigured(f"{setting} is not a signing secret: copy all of it, from whsec_ on.") from None
