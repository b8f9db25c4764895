"""One message as Segment's HTTP API has it, read and checked.

What the calls and their fields mean: https://segment.com/docs/connections/spec/ and, for limits and times,
https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/.
"""

import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, TypeAlias
from zoneinfo import ZoneInfo

import orjson

from evergreet.importing.rejects import Rejected, shown
from evergreet.importing.times import as_time
from evergreet.importing.values import DEEPEST, as_object, as_text, check_json, digest
from models.base import EPOCH

CALLS = ("identify", "track", "page", "screen", "group", "alias")
"""The calls there are."""
EVENT_BYTES = 32 * 1024
"""Bytes of one message; Segment's limit."""
VIEWED = "page_viewed"
"""What a page or a screen that was looked at is called in docs/vocabulary.md."""

TRAITS = {"firstName": "first_name", "lastName": "last_name", "createdAt": "created_at"}
"""Segment's reserved traits that have a name here."""

Kind: TypeAlias = Literal["identify", "track", "alias"]

_UTC = ZoneInfo("UTC")
_NEVER = datetime.max.replace(tzinfo=UTC)
_SEPARATORS = re.compile(r"[\W_]+")
_RISK = re.compile(rb"\\u0000|[0-9]{19}")
"""A NUL, or a number that may need more than 64 bits."""
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Message:
    """What was posted: an event (`track`), what is known of a person (`identify`), or another id of one (`alias`).

    `other` is the anonymous id, or the previous one of an alias. `content` has the properties, or the contact's fields
    as an import has them.
    """

    id: str
    kind: Kind
    user: str | None
    other: str | None
    at: datetime
    name: str = ""
    content: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """What holds for all messages of a request.

    `names` are events' names that are to be called otherwise; `context` and `sent_at` stand in for those of a message.
    """

    received_at: datetime
    names: Mapping[str, str] = field(default_factory=dict)
    context: Any = None
    sent_at: Any = None


def read_message(call: str, told: Any, request: Request) -> Message | None:
    """Return what a call says, None for one that says nothing to us (`group`); raises Rejected with a sentence.

    `told` is parsed JSON, in which every number is one.
    """
    if not isinstance(told, dict):
        raise Rejected("wrong type", "a message is not an object")
    _check(told)
    if call not in CALLS:
        raise Rejected("unknown type", f"type is {shown(call)}; write {', '.join(CALLS)}")
    user = as_text(told.get("userId"), "userId", 255)
    if call == "alias":
        previous = as_text(told.get("previousId"), "previousId", 255)
        if user is None or previous is None:
            raise Rejected("no id", "an alias needs userId and previousId")
        return Message(_id(call, told), "alias", user, previous, _moment(told, request))
    anonymous = as_text(told.get("anonymousId"), "anonymousId", 255)
    if user is None and anonymous is None:
        raise Rejected("no id", "there is neither userId nor anonymousId")
    if call == "group":
        return None
    at = _moment(told, request)
    if call == "identify":
        traits = _object(told, "traits")
        return Message(
            _id(call, told), "identify", user, anonymous, at, content=_fields(traits, _context(told, request))
        )
    properties = _object(told, "properties")
    if call == "track":
        written = as_text(told.get("event"), "event", 255)
        if written is None:
            raise Rejected("no event", "event is empty: it is the name of what happened")
        name = str(as_text(event_name(written, request.names), "event", 100))
    else:
        name = request.names.get(VIEWED, VIEWED)
        properties = {key: told[key] for key in ("name", "category") if told.get(key)} | properties
    return Message(_id(call, told), "track", user, anonymous, at, name, properties)


def _object(told: dict[str, Any], name: str) -> dict[str, Any]:
    """Return an object that a message has; PHP writes one with nothing in it as an empty list."""
    value = told.get(name)
    return as_object(None if value == [] else value, name)


def _check(told: dict[str, Any]) -> None:
    """Refuse what a store cannot hold or is too large: by the text, and value by value only where that shows a risk."""
    try:
        text = orjson.dumps(told)
    except TypeError:  # half a character, a number above 64 bits, 254 levels
        check_json(told)
        raise Rejected("not JSON", "a message cannot be written as JSON") from None
    if len(text) > EVENT_BYTES:
        raise Rejected("too long", f"a message has more than {EVENT_BYTES // 1024} KB")
    if _RISK.search(text) or text.count(b"[") + text.count(b"{") > DEEPEST:
        check_json(told)


def event_name(written: str, names: Mapping[str, str]) -> str:
    """Return an event's name as docs/vocabulary.md writes names: *Order Completed* is `order_completed`.

    `names` goes first, by the name as it was written or as it would become.
    """
    name = _snake(written)
    return names.get(written) or names.get(name) or name


@lru_cache(maxsize=4096)
def _snake(written: str) -> str:
    plain = written.strip()
    if not _SEPARATORS.search(plain):
        plain = _HUMP.sub("_", plain)
    return _SEPARATORS.sub("_", plain).strip("_").lower() or plain


def _id(call: str, told: dict[str, Any]) -> str:
    """Return the message's own id; without one, equal messages of one moment are the same, others each their own."""
    given = as_text(told.get("messageId"), "messageId", 255)
    if given is not None:
        return given
    moment = told.get("timestamp") or told.get("originalTimestamp")
    if not moment:
        return f"posted:{uuid.uuid4().hex}"
    said = {key: value for key, value in told.items() if key not in {"sentAt", "writeKey", "context", "integrations"}}
    return f"content:{digest([call, said])}"


def _moment(told: dict[str, Any], request: Request) -> datetime:
    """Return when it happened, by our clock: the client's own may be wrong, but it counts time as we do.

    Segment's rule: timestamp = receivedAt - (sentAt - originalTimestamp). Nothing happens after it was told.
    """
    sent = _sent(told, request)
    # What is not corrected may not be of tomorrow; a clock that is years ahead is told by both times.
    latest = request.received_at if sent is None else _NEVER
    moment = as_time(told.get("originalTimestamp") or told.get("timestamp"), "timestamp", _UTC, latest)
    if moment is None:
        return request.received_at
    if sent is not None:
        try:
            moment = max(request.received_at - (sent - moment), EPOCH)
        except OverflowError:
            raise Rejected("time out of range", "timestamp and sentAt are thousands of years apart") from None
    return min(moment, request.received_at)


def _sent(told: dict[str, Any], request: Request) -> datetime | None:
    with suppress(Rejected):
        return as_time(told.get("sentAt") or request.sent_at, "sentAt", _UTC, _NEVER)
    return None


def _context(told: dict[str, Any], request: Request) -> dict[str, Any]:
    both = (each for each in (request.context, told.get("context")) if isinstance(each, dict))
    return {key: value for each in both for key, value in each.items()}


def _fields(traits: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """Return traits as an import has them: our names for Segment's reserved ones, and place and consents found."""
    fields = {TRAITS.get(name, name): value for name, value in traits.items() if name not in {"consent", "source_id"}}
    agreed, address = traits.get("consent"), traits.get("address")
    if isinstance(agreed, dict):
        fields |= {f"consent.{topic}": granted for topic, granted in agreed.items()}
    if isinstance(address, dict) and address.get("country"):
        fields.setdefault("country", address["country"])
    for name in ("locale", "timezone"):
        if isinstance(context.get(name), str):
            fields.setdefault(name, context[name])
    if any(name.startswith("consent.") for name in fields):
        fields.setdefault("consent_source", "identify")
    return fields
