"""What Resend tells of messages and addresses: one event in a request, signed by Standard Webhooks.

https://resend.com/docs/dashboard/webhooks/event-types; bounces in `…/emails/email-bounces`, and in
`…/emails/email-suppressions` why an address gets no more mail.
"""

from collections.abc import Mapping
from email.utils import parseaddr
from typing import Any

from connectors.calling import said
from connectors.email.resend_payload import KEY, ROW
from connectors.json_bodies import name_or_digest, object_in, read_json, text_in, whole_number
from connectors.moments import from_text
from connectors.standard_webhooks import message_id
from evergreet.contracts import Kind, ProviderEvent, Verdict, WebhookRequest
from evergreet.errors import Unreadable

WORDS: Mapping[str, tuple[Kind, Verdict]] = {
    "email.scheduled": (Kind.ACCEPTED, Verdict.NONE),
    "email.sent": (Kind.ACCEPTED, Verdict.NONE),
    "email.delivery_delayed": (Kind.DEFERRED, Verdict.NONE),
    "email.delivered": (Kind.DELIVERED, Verdict.NONE),
    "email.failed": (Kind.DROPPED, Verdict.NONE),
    "email.complained": (Kind.COMPLAINED, Verdict.COMPLAINED),
    "email.opened": (Kind.OPENED, Verdict.NONE),
    "email.clicked": (Kind.CLICKED, Verdict.NONE),
}
"""Events that mean the same whatever else they say; `email.bounced` and `email.suppressed` do not."""

BOUNCES: Mapping[str, Kind] = {
    "": Kind.HARD_BOUNCED,  # as Resend told before it told types: only what was refused for good
    "permanent": Kind.HARD_BOUNCED,
    "transient": Kind.SOFT_BOUNCED,
    "undetermined": Kind.SOFT_BOUNCED,
}
"""`bounce.type` in small letters; any other is a failure that may pass."""

REFUSED_CONTENT = frozenset({"contentrejected", "attachmentrejected", "messagetoolarge"})
"""`bounce.subType` in small letters: about the message, not about the mailbox."""


ORIGINS: Mapping[str, tuple[Kind, Verdict]] = {
    "bounce": (Kind.HARD_BOUNCED, Verdict.INVALID),
    "complaint": (Kind.COMPLAINED, Verdict.COMPLAINED),
    "manual": (Kind.UNSUBSCRIBED, Verdict.UNSUBSCRIBED),  # somebody decided, until the reader agrees anew
}
"""`origin` of a suppression; it is for good."""

ON_LIST = "onaccountsuppressionlist"
"""The same, of an address that is on the account's list: for a bounce, a complaint, or by hand. Before it told any of
them it said so in words."""

_OTHERS = ("contact.", "domain.", "inbox.", "topic.", "suppression.", "email.received")
"""How the words of events begin that are about no message which was sent."""


def read_events(request: WebhookRequest, secret: str) -> list[ProviderEvent]:
    """Read the one event of a request; one about no message, by which nobody leaves, is none."""
    raw = read_json(request.body)
    if not isinstance(raw, dict):
        raise Unreadable("The body is not an event.")
    word, data = text_in(raw, "type"), object_in(raw, "data")
    kind, verdict = _meaning(word, data)
    if verdict is Verdict.NONE and word.startswith(_OTHERS):
        return []
    tags, click = _tags(data.get("tags")), object_in(data, "click")
    told = text_in(object_in(data, "bounce"), "message") or text_in(object_in(data, "failed"), "reason")
    return [
        ProviderEvent(
            id=name_or_digest(message_id(request), request.body), kind=kind, verdict=verdict, raw=raw,
            address=_recipient(data.get("to")) or text_in(data, "email"),
            at=from_text(text_in(click, "timestamp") or text_in(raw, "created_at"), request.received_at),
            row=whole_number(tags.get(ROW, "")), key=tags.get(KEY, ""), provider_id=text_in(data, "email_id"),
            reason=said(told, secret), url=text_in(click, "link"),
        )
    ]  # fmt: skip


def _meaning(word: str, data: Mapping[str, Any]) -> tuple[Kind, Verdict]:
    if word == "email.bounced":
        bounce = object_in(data, "bounce")
        kind, subtype = (
            BOUNCES.get(text_in(bounce, "type").lower(), Kind.SOFT_BOUNCED),
            text_in(bounce, "subType").lower(),
        )
        if subtype in REFUSED_CONTENT:
            kind = Kind.BLOCKED
        elif subtype == ON_LIST or (not subtype and "suppression list" in text_in(bounce, "message")):
            kind = Kind.DROPPED
        return kind, Verdict.INVALID if kind is Kind.HARD_BOUNCED else Verdict.NONE
    if word == "email.suppressed":
        return Kind.DROPPED, Verdict.NONE
    if word in {"contact.created", "contact.updated"} and data.get("unsubscribed") is True:
        return Kind.UNSUBSCRIBED, Verdict.UNSUBSCRIBED
    if word == "suppression.added":
        return ORIGINS.get(text_in(data, "origin"), (Kind.UNKNOWN, Verdict.NONE))
    return WORDS.get(word, (Kind.UNKNOWN, Verdict.NONE))


def _tags(written: Any) -> dict[str, str]:
    """Read tags: an object, or as they are sent a list of names and values."""
    if isinstance(written, list):
        written = {tag.get("name"): tag.get("value") for tag in written if isinstance(tag, dict)}
    if not isinstance(written, dict):
        return {}
    return {name: value for name, value in written.items() if isinstance(name, str) and isinstance(value, str)}


def _recipient(written: Any) -> str:
    first = written[0] if isinstance(written, list) and written else written
    return parseaddr(first)[1] if isinstance(first, str) else ""
