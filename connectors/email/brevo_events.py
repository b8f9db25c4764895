"""What Brevo tells of messages afterwards: one event in a request or, where it is told to, up to 500 in a list.

https://developers.brevo.com/docs/transactional-webhooks and `…/docs/batch-webhooks`. It signs nothing and shows a token
or a name and a password: https://developers.brevo.com/docs/username-and-password-authentication.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from connectors.calling import said
from connectors.email.brevo_answers import bare
from connectors.email.brevo_payload import CUSTOM, KEY, ROW
from connectors.email.replies import told_reply
from connectors.email.statuses import kind_said
from connectors.json_bodies import name_or_digest, object_in, read_json, text_in, whole_number
from connectors.moments import from_seconds
from evergreet.contracts import Kind, ProviderEvent, Verdict, WebhookRequest
from evergreet.errors import Unreadable

WORDS: Mapping[str, tuple[Kind, Verdict]] = {
    "request": (Kind.ACCEPTED, Verdict.NONE),
    "sent": (Kind.ACCEPTED, Verdict.NONE),
    "deferred": (Kind.DEFERRED, Verdict.NONE),
    "delivered": (Kind.DELIVERED, Verdict.NONE),
    "soft_bounce": (Kind.SOFT_BOUNCED, Verdict.NONE),
    "hard_bounce": (Kind.HARD_BOUNCED, Verdict.INVALID),
    "invalid_email": (Kind.HARD_BOUNCED, Verdict.INVALID),
    "blocked": (Kind.DROPPED, Verdict.NONE),  # by Brevo's own list, for whatever reason somebody is on it
    "error": (Kind.DROPPED, Verdict.NONE),
    "spam": (Kind.COMPLAINED, Verdict.COMPLAINED),
    "complaint": (Kind.COMPLAINED, Verdict.COMPLAINED),
    "unsubscribe": (Kind.UNSUBSCRIBED, Verdict.UNSUBSCRIBED),
    "unsubscribed": (Kind.UNSUBSCRIBED, Verdict.UNSUBSCRIBED),
    "opened": (Kind.OPENED, Verdict.NONE),
    "unique_opened": (Kind.OPENED, Verdict.NONE),
    "proxy_open": (Kind.OPENED, Verdict.NONE),
    "unique_proxy_open": (Kind.OPENED, Verdict.NONE),
    "click": (Kind.CLICKED, Verdict.NONE),
}
"""`event`, in every spelling that its pages and payloads have."""

_PROXIES = frozenset({"proxy_open", "unique_proxy_open"})
_MILLISECONDS = 100_000_000_000
"""A time from here on is told in milliseconds: in seconds it would be the year 5138."""


def read_events(request: WebhookRequest, secret: str) -> list[ProviderEvent]:
    """Read an event, or a list of them; an entry that is none is kept as `UNKNOWN`.

    Mail that came in is no event, unless it answers one of ours.
    """
    told = read_json(request.body)
    if not isinstance(told, dict | list):
        raise Unreadable("The body is neither an event nor a list of events.")
    if isinstance(told, dict) and "event" not in told and isinstance(told.get("items"), list):
        return [event for item in told["items"] for event in _replies(item, request.received_at)]
    return [_event(entry, request.received_at, secret) for entry in (told if isinstance(told, list) else [told])]


def _replies(item: Any, received_at: datetime) -> list[ProviderEvent]:
    """Read mail that came in: https://developers.brevo.com/docs/inbound-parse-webhooks."""
    raw = item if isinstance(item, dict) else {}
    headers = [(name, value) for name, value in object_in(raw, "Headers").items() if name.lower() != "in-reply-to"]
    headers += [("In-Reply-To", raw.get("InReplyTo")), ("Date", raw.get("SentAtDate"))]
    names = raw.get("Uuid")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    return told_reply(headers, text_in(object_in(raw, "From"), "Address"), name, received_at, whole=True)


def _event(entry: Any, received_at: datetime, secret: str) -> ProviderEvent:
    raw = entry if isinstance(entry, dict) else {"": entry}
    word, custom = text_in(raw, "event"), _custom(text_in(raw, CUSTOM))
    kind, verdict = _meaning(word, text_in(raw, "reason"))
    return ProviderEvent(
        # What it calls `id` is that of the webhook.
        id=name_or_digest("", orjson.dumps(raw, option=orjson.OPT_SORT_KEYS)), kind=kind, verdict=verdict, raw=raw,
        at=_moment(raw, received_at), address=text_in(raw, "email"),
        row=whole_number(text_in(custom, ROW)), key=text_in(custom, KEY), provider_id=bare(text_in(raw, "message-id")),
        reason=said(text_in(raw, "reason"), secret), url=text_in(raw, "link"), machine=word in _PROXIES,
    )  # fmt: skip


def _meaning(word: str, reason: str) -> tuple[Kind, Verdict]:
    kind, verdict = WORDS.get(word, (Kind.UNKNOWN, Verdict.NONE))
    told = kind_said(reason) if kind is Kind.HARD_BOUNCED else None
    return (kind, verdict) if told is None else (told, Verdict.NONE)


def _custom(written: str) -> Mapping[str, Any]:
    try:
        return object_in({CUSTOM: read_json(written.encode("utf-8", "replace"))}, CUSTOM)
    except Unreadable:
        return {}


def _moment(raw: Mapping[str, Any], otherwise: datetime) -> datetime:
    """Return when it was: `ts_epoch` is UTC in milliseconds, in some payloads in seconds; `ts_event` is in seconds."""
    told = raw.get("ts_epoch", raw.get("ts_event"))
    if isinstance(told, int | float) and told > _MILLISECONDS:
        told = told / 1000
    return from_seconds(told, otherwise)
