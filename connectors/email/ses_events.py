"""What Amazon SES tells of messages afterwards, through SNS: one event in a message.

https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html for events of a configuration
set, which bring tags back, and `…/dg/notification-contents.html` for notifications of an identity, which do not.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import parseaddr
from typing import Any, NamedTuple

from connectors.calling import said
from connectors.email.replies import pairs, told_reply
from connectors.email.ses_payload import KEY, ROW
from connectors.email.statuses import COMPLAINT, REPORTS, kind_otherwise
from connectors.json_bodies import name_or_digest, object_in, read_json, text_in, whole_number
from connectors.moments import from_text
from evergreet.contracts import Kind, ProviderEvent, Verdict
from evergreet.errors import Unreadable

WORDS: Mapping[str, tuple[Kind, Verdict]] = {
    "Send": (Kind.ACCEPTED, Verdict.NONE),
    "Delivery": (Kind.DELIVERED, Verdict.NONE),
    "DeliveryDelay": (Kind.DEFERRED, Verdict.NONE),
    "Reject": (Kind.DROPPED, Verdict.NONE),  # it held a virus
    "Rendering Failure": (Kind.DROPPED, Verdict.NONE),
    "Open": (Kind.OPENED, Verdict.NONE),
    "Click": (Kind.CLICKED, Verdict.NONE),
}
"""Events that mean the same whatever else they say; `Bounce`, `Complaint` and `Subscription` do not."""

BOUNCES: Mapping[tuple[str, str], tuple[Kind, Verdict]] = {
    ("permanent", ""): (Kind.HARD_BOUNCED, Verdict.INVALID),
    ("permanent", "general"): (Kind.HARD_BOUNCED, Verdict.INVALID),
    ("permanent", "noemail"): (Kind.HARD_BOUNCED, Verdict.INVALID),
    ("permanent", "suppressed"): (Kind.DROPPED, Verdict.INVALID),  # bounced as invalid for others of SES lately
    ("permanent", "onaccountsuppressionlist"): (Kind.DROPPED, Verdict.NONE),  # for a bounce, a complaint, or by hand
    ("permanent", "ontenantsuppressionlist"): (Kind.DROPPED, Verdict.NONE),
    ("permanent", "emailvalidationsuppressed"): (Kind.DROPPED, Verdict.NONE),  # a guess, made before sending
    ("permanent", "unsubscribedrecipient"): (Kind.DROPPED, Verdict.NONE),
    ("permanent", "contentrejected"): (Kind.BLOCKED, Verdict.NONE),
    ("permanent", "attachmentrejected"): (Kind.BLOCKED, Verdict.NONE),
    ("permanent", "messagetoolarge"): (Kind.BLOCKED, Verdict.NONE),
    ("transient", "messagetoolarge"): (Kind.BLOCKED, Verdict.NONE),
    ("transient", "contentrejected"): (Kind.BLOCKED, Verdict.NONE),
    ("transient", "attachmentrejected"): (Kind.BLOCKED, Verdict.NONE),
}
"""`bounceType` and `bounceSubType` in small letters.

Another subtype of "permanent" is as with none ("you will not be able to send to them in the future"); anything else is
a failure that may pass: full mailboxes, time-outs, what SES could not determine.
"""

GREETINGS = ("Successfully validated SNS topic", "You have successfully subscribed your Amazon SNS topic")
"""What SES writes to a topic when it is set up, and is about no message."""

_DETAILS: Mapping[str, str] = {
    "Bounce": "bounce", "Complaint": "complaint", "Delivery": "delivery", "DeliveryDelay": "deliveryDelay",
    "Reject": "reject", "Rendering Failure": "failure", "Open": "open", "Click": "click",
    "Subscription": "subscription",
}  # fmt: skip
_CONCERNED = ("bouncedRecipients", "complainedRecipients", "delayedRecipients", "recipients")
_OUR_MESSAGE_ID = re.compile(r"<?([0-9a-f]{32})@[^<>@\s]+>?")
_APPLE = "mozilla/5.0"
"""What Apple's Mail Privacy Protection calls itself, and no reader's program: it loads pictures unseen."""


class _Concerned(NamedTuple):
    """One recipient that an event is about; `answer` is what their server said, `status` its code."""

    address: str
    status: str = ""
    answer: str = ""


def read_events(name: str, text: str, received_at: datetime) -> list[ProviderEvent]:
    """Read the event that a message of SNS holds, once for each recipient it is about; `name` is the message's id.

    Mail that came in is no event, unless it answers one of ours.
    """
    if text.startswith(GREETINGS):
        return []
    raw = read_json(text.encode())
    if not isinstance(raw, dict):
        raise Unreadable("The message is not an event of Amazon SES.")
    word = text_in(raw, "eventType") or text_in(raw, "notificationType")
    if word == "AmazonSnsSubscriptionSucceeded":
        return []
    if word == "Received":
        return _replies(name, object_in(raw, "mail"), received_at)
    mail, detail = object_in(raw, "mail"), object_in(raw, _DETAILS.get(word, ""))
    key, row = _named(mail)
    known = name_or_digest(name, text.encode())
    concerned = list(_recipients(detail, mail))
    events = []
    for place, recipient in enumerate(concerned):
        kind, verdict = _meaning(word, detail, recipient, alone=len(concerned) == 1)
        events.append(
            ProviderEvent(
                id=f"{known}:{place}" if place else known, kind=kind, verdict=verdict, raw=raw,
                at=from_text(text_in(detail, "timestamp") or text_in(mail, "timestamp"), received_at),
                address=recipient.address, row=row, key=key, provider_id=text_in(mail, "messageId"),
                reason=said(_reason(detail, recipient), ""), url=text_in(detail, "link"),
                machine=kind is Kind.OPENED and text_in(detail, "userAgent").strip().lower() == _APPLE,
            )
        )  # fmt: skip
    return events


def _replies(name: str, mail: Mapping[str, Any], received_at: datetime) -> list[ProviderEvent]:
    """Read mail that came in: https://docs.aws.amazon.com/ses/latest/dg/receiving-email-notifications-contents.html."""
    senders = object_in(mail, "commonHeaders").get("from")
    sender = senders[0] if isinstance(senders, list) and senders and isinstance(senders[0], str) else ""
    headers = pairs(mail.get("headers"), "name", "value")
    return told_reply(headers, parseaddr(sender)[1], name, received_at, whole=False)


def _meaning(word: str, detail: Mapping[str, Any], recipient: _Concerned, *, alone: bool) -> tuple[Kind, Verdict]:
    if word == "Bounce":
        return _bounce(detail, recipient.status)
    if word == "Complaint":
        if text_in(detail, "complaintSubType").strip().lower() == "onaccountsuppressionlist":
            return Kind.DROPPED, Verdict.COMPLAINED  # on the account's list for an earlier complaint
        meaning = REPORTS.get(text_in(detail, "complaintFeedbackType").lower(), COMPLAINT)
        # Of several recipients nobody knows who complained: SES lists who may have.
        return meaning if alone else (meaning[0], Verdict.NONE)
    if word == "Subscription":
        return _subscription(detail)
    return WORDS.get(word, (Kind.UNKNOWN, Verdict.NONE))


def _bounce(detail: Mapping[str, Any], status: str) -> tuple[Kind, Verdict]:
    kind, subtype = text_in(detail, "bounceType").lower(), text_in(detail, "bounceSubType").lower()
    otherwise = BOUNCES["permanent", ""] if kind == "permanent" else (Kind.SOFT_BOUNCED, Verdict.NONE)
    meaning = BOUNCES.get((kind, subtype), otherwise)
    if meaning[0] is not Kind.HARD_BOUNCED or subtype == "noemail":
        return meaning
    told = kind_otherwise(status)  # whatever SES says, as "general"
    return meaning if told is None else (told, Verdict.NONE)


def _subscription(detail: Mapping[str, Any]) -> tuple[Kind, Verdict]:
    """Read what a reader chose at SES's own page: https://docs.aws.amazon.com/ses/latest/dg/sending-email-list-management.html."""
    chosen, before = object_in(detail, "newTopicPreferences"), object_in(detail, "oldTopicPreferences")
    if chosen.get("unsubscribeAll") is True:
        return Kind.UNSUBSCRIBED, Verdict.UNSUBSCRIBED
    if _left(chosen) - _left(before):
        return Kind.GROUP_UNSUBSCRIBED, Verdict.UNSUBSCRIBED_TOPIC
    return Kind.GROUP_RESUBSCRIBED, Verdict.NONE


def _left(preferences: Mapping[str, Any]) -> set[str]:
    topics = preferences.get("topicSubscriptionStatus")
    return {
        text_in(topic, "topicName")
        for topic in (topics if isinstance(topics, list) else [])
        if isinstance(topic, dict) and text_in(topic, "subscriptionStatus").lower() == "optout"
    }


def _recipients(detail: Mapping[str, Any], mail: Mapping[str, Any]) -> Iterator[_Concerned]:
    """Name whom an event is about: those it lists, else the message's only recipient, else nobody."""
    listed = next((detail[name] for name in _CONCERNED if isinstance(detail.get(name), list) and detail[name]), None)
    if listed is None:
        sent = mail.get("destination")
        listed = sent if isinstance(sent, list) and len(sent) == 1 else [""]
    for one in listed:
        about = one if isinstance(one, dict) else {"emailAddress": one if isinstance(one, str) else ""}
        address = parseaddr(text_in(about, "emailAddress"))[1]
        yield _Concerned(address, text_in(about, "status"), text_in(about, "diagnosticCode"))


def _named(mail: Mapping[str, Any]) -> tuple[str, int]:
    """Return key and row of a message: from its tags or, where there are none, the key from its Message-ID."""
    tags = object_in(mail, "tags")
    key, row = (
        value[0] if isinstance(value := tags.get(name), list) and value and isinstance(value[0], str) else ""
        for name in (KEY, ROW)
    )
    if key:
        return key, whole_number(row)
    ours = _OUR_MESSAGE_ID.fullmatch(text_in(object_in(mail, "commonHeaders"), "messageId"))
    return (ours[1] if ours else ""), 0


def _reason(detail: Mapping[str, Any], recipient: _Concerned) -> str:
    names = ("bounceType", "bounceSubType", "delayType", "complaintFeedbackType", "reason", "errorMessage")
    words = " ".join(text_in(detail, name) for name in names if text_in(detail, name))
    return ": ".join(part for part in (words, recipient.answer) if part)
