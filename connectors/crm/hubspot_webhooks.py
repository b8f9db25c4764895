"""HubSpot's webhooks: how they are signed, and whom they name.

https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation,
https://developers.hubspot.com/docs/api-reference/webhooks-webhooks-v3/guide.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from connectors.comparing import any_alike
from connectors.crm.hubspot_reading import NEVER, is_id
from connectors.events.words import pass_over
from connectors.json_bodies import read_json, text_in, whole_number
from connectors.moments import from_seconds
from evergreet.contracts import WebhookRequest
from evergreet.errors import NotGenuine, Unreadable

OLDEST = 300
"""Seconds between a request's time and ours."""
DECODED: Mapping[str, str] = {
    "3A": ":", "2F": "/", "3F": "?", "40": "@", "21": "!", "24": "$", "27": "'", "28": "(", "29": ")", "2A": "*",
    "2C": ",", "3B": ";",
}  # fmt: skip
"""What is decoded of a URL before version 3 signs it, and nothing else; HubSpot's own library decodes nothing."""
CONTACT = "0-1"
"""The type of a contact in subscriptions to any object (`object.creation`)."""

_DECODED = re.compile("%(" + "|".join(DECODED) + ")", re.IGNORECASE)


def verify(request: WebhookRequest, url: str, secret: str) -> None:
    """Raise `NotGenuine` unless HubSpot signed this request to that URL; the newest signature that it has decides."""
    headers = request.headers
    body, key = request.body, secret.encode()
    uri = f"{url}?{request.query}" if request.query else url
    written = headers.get("x-hubspot-request-timestamp")
    newest = headers.get("x-hubspot-signature-v3")
    version, older = headers.get("x-hubspot-signature-version"), headers.get("x-hubspot-signature")
    if newest is not None or written is not None:  # both belong to version 3: without one of them it is none
        if newest is None or written is None:
            raise NotGenuine("a part of the signature of version 3 is missing")
        _is_recent(written, request.received_at)
        signed = [b"POST" + _encoded(each) + body + _encoded(written) for each in (decoded(uri), uri)]
        rights = [base64.b64encode(hmac.new(key, one, hashlib.sha256).digest()) for one in signed]
        given = newest
    elif older is None or version not in {"v1", "v2"}:
        raise NotGenuine("the signature is missing, or the header of its version")
    else:
        old = key + body if version == "v1" else key + b"POST" + _encoded(uri) + body
        rights, given = [hashlib.sha256(old).hexdigest().encode()], older
    if not any_alike([_encoded(given)], rights):
        raise NotGenuine("the signature is not that of the request")


def decoded(uri: str) -> str:
    """Return a URL as version 3 signs it."""
    return _DECODED.sub(lambda found: DECODED[found[1].upper()], uri)


def contacts_named(request: WebhookRequest) -> dict[str, datetime]:
    """Return the ids of contacts that a request is about; raises `Unreadable` where it is no list of events.

    Of a merge it is the one that is left: whom it took in stands in that. With each goes when it was restored, which
    its contact does not say; the beginning of time where it was not.
    """
    told = read_json(request.body)
    if not isinstance(told, list):
        raise Unreadable("The body is not a list of events.")
    named: dict[str, datetime] = {}
    for event in told:
        if isinstance(event, dict) and (number := _contact(event)):
            named.setdefault(number, NEVER)
            if text_in(event, "subscriptionType").endswith(".restore"):
                seconds = whole_number(str(event.get("occurredAt"))) / 1000
                named[number] = max(named[number], from_seconds(seconds, NEVER))
    return named


def _contact(event: Mapping[str, Any]) -> str:
    word = text_in(event, "subscriptionType") or text_in(event, "eventType")
    kind, _, what = word.partition(".")
    if not (kind == "contact" or (kind == "object" and event.get("objectTypeId") == CONTACT)):
        pass_over("hubspot", word)
        return ""
    names = ("newObjectId", "primaryObjectId", "objectId") if what == "merge" else ("objectId", "fromObjectId")
    return next((number for name in names if is_id(number := str(event.get(name)))), "")


def _is_recent(written: str, now: datetime) -> None:
    seconds = int(written) / 1000 if re.fullmatch(r"[0-9]{1,15}", written) else 0.0
    if abs(now.timestamp() - seconds) > OLDEST:
        raise NotGenuine("the request is not of the last five minutes")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")
