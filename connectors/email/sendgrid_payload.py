"""What SendGrid is asked to send: one skeleton for up to 1,000 recipients, and what differs as substitutions.

SendGrid replaces tokens in the subject and the content by each recipient's values. That this gives every message byte
for byte holds however SendGrid goes about it: in any order, in one pass or again over what it has replaced. A token is
`-x<16 hex digits><slot>-`; `x` and the digits of the skeleton's own tag stand together nowhere else in it, so two
tokens never overlap, and a message in whose final text the tag occurs anywhere goes alone. Whatever is replaced first,
text between two remaining tokens is a piece of that final text: no token can arise in it, across a border neither.

Limits: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/limitations and `…/mail-send/errors`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import pairwise
from typing import Any, NamedTuple, Self, TypeAlias

import orjson

from connectors.email.checks import (
    envelope_address,
    is_plain,
    refuse_breaks,
    refuse_header_names,
    refuse_header_value,
    refuse_key,
)
from connectors.email.sendgrid_settings import SendGridSettings
from evergreet.contracts import EmailMessage, Mailbox, Outcome, Skeleton
from evergreet.errors import Misconfigured, Permanent

KEY = "evergreet_key"
ROW = "evergreet_row"
"""The custom arguments that carry the message's key and ledger row; they come back with every event of the message."""
MOST_RECIPIENTS = 1000
MOST_BYTES = 30_000_000
MOST_SLOTS = 10_000
MOST_SHOWN = 25
"""Unsubscribe groups that SendGrid shows on its page of preferences."""
_RESERVED = frozenset(
    ["x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding", "to", "from",
     "subject", "reply-to", "cc", "bcc"]
)  # fmt: skip
_OPENING = b'{"personalizations":['
_NOT_IN_NAMES = frozenset(",;<>")
_WITHOUT_THEM = str.maketrans(dict.fromkeys(_NOT_IN_NAMES, " "))
_SURROGATE = "The message holds half a character (a lone surrogate): it cannot be encoded."


class Recipient(NamedTuple):
    """One personalization, as JSON; `position` is the message's place in the batch."""

    position: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """One call of `/v3/mail/send`: what is common to all recipients, as a JSON object, and the recipients."""

    common: bytes
    recipients: tuple[Recipient, ...]
    probed: bool = False
    """Whether some of those that it was cut from were asked for alone already."""
    shared: bool = False
    """Whether its content is a skeleton, so that it has substitutions."""

    def body(self) -> bytes:
        """Return the request as JSON."""
        personal = b",".join([recipient.content for recipient in self.recipients])
        return _OPENING + personal + b"]," + self.common[1:]

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(_OPENING) + sum(len(recipient.content) + 1 for recipient in self.recipients) + len(self.common)

    def halves(self) -> list[Self]:
        """Return the same in two requests."""
        middle = len(self.recipients) // 2
        return [self._with(self.recipients[:middle]), self._with(self.recipients[middle:])]

    def only(self, place: int) -> Self:
        """Return the request for the recipient at a place alone."""
        return self._with((self.recipients[place],))

    def without(self, places: Iterable[int]) -> Self:
        """Return the request for all but those at some places."""
        left_out = set(places)
        return self._with(tuple(r for place, r in enumerate(self.recipients) if place not in left_out))

    def _with(self, recipients: tuple[Recipient, ...]) -> Self:
        return replace(self, recipients=recipients)


@dataclass(slots=True)
class _Group:
    """Messages of one skeleton, sender, reply address and topic, in the order of the batch."""

    skeleton: Skeleton
    members: list[tuple[int, EmailMessage, str]] = field(default_factory=list)


Packed: TypeAlias = tuple[list[Request], dict[int, Outcome]]


def pack(batch: Sequence[EmailMessage], settings: SendGridSettings) -> Packed:
    """Return the requests that carry the batch, and by position the outcomes of messages that cannot be sent."""
    refused: dict[int, Outcome] = {}
    alone: list[tuple[int, EmailMessage, str]] = []
    groups: dict[tuple[str, Mailbox, Mailbox | None, str], _Group] = {}
    senders: set[tuple[Mailbox, Mailbox | None]] = set()
    for position, message in enumerate(batch):
        try:
            address = _checked(message, senders)
        except (Permanent, Misconfigured) as fault:
            fault.__context__ = None
            refused[position] = fault.with_traceback(None)
            continue
        split = message.split
        if split is None or len(split.values) != split.skeleton.slots:
            alone.append((position, message, address))
            continue
        key = (split.skeleton.key, message.sender, message.reply_to, message.topic)
        groups.setdefault(key, _Group(split.skeleton)).members.append((position, message, address))
    requests: list[Request] = []
    for group in groups.values():
        together, others = _together(group, settings)
        requests += together
        alone += others
    for position, message, address in alone:
        request = _alone(position, message, address, settings)
        if request is None:
            refused[position] = Permanent(_SURROGATE)
        else:
            requests.append(request)
    return requests, refused


def pack_whole(position: int, message: EmailMessage, settings: SendGridSettings) -> Request | None:
    """Return the request for one message of a batch that `pack` did not refuse, with its whole content."""
    return _alone(position, message, _ascii_address(message.to.address), settings)


def _checked(message: EmailMessage, senders: set[tuple[Mailbox, Mailbox | None]]) -> str:
    """Return the recipient's address as SendGrid takes it; raise where the message cannot be sent as it is.

    `senders` are those that were found to be fit.
    """
    sender = (message.sender, message.reply_to)
    try:
        refuse_header_names(tuple(message.headers), _RESERVED)
        if sender not in senders or not is_plain(message):
            refuse_breaks(message)
            refuse_key(message.key)
            for name, value in message.headers.items():
                refuse_header_value(name, value)
            _ascii_address(message.sender.address)
            if message.reply_to is not None:
                _ascii_address(message.reply_to.address)
            senders.add(sender)
    except UnicodeEncodeError:
        raise Permanent(_SURROGATE) from None
    except ValueError as fault:
        raise Misconfigured(
            f"The sender's or reply address cannot be used: {fault}. Correct the sender's settings."
        ) from None
    try:
        return _ascii_address(message.to.address)
    except UnicodeEncodeError:
        raise Permanent(_SURROGATE) from None
    except ValueError as fault:
        raise Permanent(f"The recipient's address cannot be written to: {fault}.") from None


def _ascii_address(address: str) -> str:
    address = envelope_address(address)
    if not address.isascii():
        raise ValueError("what stands before the @ is not ASCII, which SendGrid cannot write to")
    return address


def _together(group: _Group, settings: SendGridSettings) -> tuple[list[Request], list[tuple[int, EmailMessage, str]]]:
    """Return requests for the members that share the skeleton, and the members that go alone."""
    if len(group.members) == 1:
        return [], group.members
    tokens = Tokens.of(group.skeleton)
    common = _common(group.members[0][1], tokens.subject, tokens.text, tokens.html, settings) if tokens.fit else None
    if common is None:
        return [], group.members
    alone: list[tuple[int, EmailMessage, str]] = []
    rounds: list[list[Recipient]] = [[]]  # the nth message to one address is in the nth
    seen: dict[str, int] = {}
    for position, message, address in group.members:
        content = _personalization(message, address, tokens.substitutions(message), settings)
        if content is None or not message.subject or tokens.arise_in(message):
            alone.append((position, message, address))
            continue
        known = address.lower()
        place = seen.get(known, 0)
        if place == len(rounds):
            rounds.append([])
        rounds[place].append(Recipient(position, content))
        seen[known] = place + 1
    requests = [
        Request(common, tuple(recipients[start : start + MOST_RECIPIENTS]), shared=True)
        for recipients in rounds
        for start in range(0, len(recipients), MOST_RECIPIENTS)
    ]
    return [small for request in requests for small in _below_limit(request)], alone


def _below_limit(request: Request) -> Iterator[Request]:
    if request.size < MOST_BYTES or len(request.recipients) == 1:
        yield request
    else:
        for half in request.halves():
            yield from _below_limit(half)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a skeleton, and its parts with them in the slots."""

    tag: str
    used: tuple[tuple[int, str], ...]
    """Slots that stand anywhere, with their tokens."""
    in_order: tuple[str, ...]
    """The tokens of all slots, where all stand somewhere."""
    fit: bool
    inert: bool
    """Whether a tag can only stand within a value: what is between the slots neither begins nor ends one."""
    subject: str
    html: str
    text: str

    @classmethod
    def of(cls, skeleton: Skeleton) -> Self:
        """Make the tokens of a skeleton; they are the same whenever it comes again."""
        tag = f"x{sha256(skeleton.key.encode('utf-8', 'replace')).hexdigest()[:16]}"
        parts = (skeleton.subject, skeleton.html, skeleton.text)
        slots = sorted({piece for part in parts for piece in part if isinstance(piece, int)})
        tokens = {slot: f"-{tag}{slot:05}-" for slot in slots}
        subject, html, text = ("".join([p if isinstance(p, str) else tokens[p] for p in part]) for part in parts)
        fit = not slots or (slots[0] >= 0 and slots[-1] < min(skeleton.slots, MOST_SLOTS))
        inert = all(_is_inert(part, tag) for part in parts)
        in_order = tuple(tokens.values()) if slots == list(range(skeleton.slots)) else ()
        return cls(tag, tuple(tokens.items()), in_order, fit, inert, subject, html, text)

    def substitutions(self, message: EmailMessage) -> dict[str, str]:
        """Return what the tokens stand for in a message that has a split."""
        assert message.split is not None
        values = message.split.values
        if self.in_order:
            return dict(zip(self.in_order, values, strict=True))
        return {token: values[slot] for slot, token in self.used}

    def arise_in(self, message: EmailMessage) -> bool:
        """Say whether a token could stand anywhere but in its slots; see the module's first lines."""
        assert message.split is not None
        to, values = message.to, message.split.values
        short = (message.subject, message.key, to.name, to.address, *message.headers.values(), *values)
        if self.tag in "\n".join(short):
            return True
        return not self.inert and (self.tag in message.html or self.tag in message.text)


def _is_inert(part: tuple[str | int, ...], tag: str) -> bool:
    """Say whether a tag in a part that is filled in stands wholly within one value.

    So it is where the texts between the slots hold none, are no piece of one, and neither end as one begins nor begin
    as one ends, and where no two slots touch: a tag that is not within a value would take something of such a text.
    """
    if any(isinstance(one, int) and isinstance(other, int) for one, other in pairwise(part)):
        return False
    borders = [(tag[:length], tag[length:]) for length in range(1, len(tag))]
    return not any(
        tag in text or text in tag or any(text.endswith(begun) or text.startswith(rest) for begun, rest in borders)
        for text in part
        if isinstance(text, str)
    )


def _alone(position: int, message: EmailMessage, address: str, settings: SendGridSettings) -> Request | None:
    """Return the request for one message with its whole content; None where it cannot be encoded."""
    common = _common(message, message.subject, message.text, message.html, settings)
    personal = _personalization(message, address, {}, settings)
    return None if common is None or personal is None else Request(common, (Recipient(position, personal),))


def _common(message: EmailMessage, subject: str, text: str, html: str, settings: SendGridSettings) -> bytes | None:
    """Return what is common to all recipients as JSON; None where it holds half a character."""
    # SendGrid takes neither an empty subject nor an empty part, and wants the text before the HTML.
    parts = [("text/plain", text), ("text/html", html)]
    content = [{"type": kind, "value": value} for kind, value in parts if value]
    common: dict[str, Any] = {
        "from": _mailbox(message.sender, envelope_address(message.sender.address)),
        "subject": subject or " ",
        "content": content or [{"type": "text/plain", "value": " "}],
        "tracking_settings": {
            "click_tracking": {"enable": settings.click_tracking, "enable_text": settings.click_tracking},
            "open_tracking": {"enable": settings.open_tracking},
            "subscription_tracking": {"enable": False},  # it would add an unsubscribe link of its own
            "ganalytics": {"enable": False},
        },
    }
    if message.reply_to is not None:
        common["reply_to"] = _mailbox(message.reply_to, envelope_address(message.reply_to.address))
    if (group := settings.groups.get(message.topic)) is not None:
        shown = [group, *(other for other in settings.groups.values() if other != group)]
        common["asm"] = {"group_id": group, "groups_to_display": shown[:MOST_SHOWN]}
    if settings.categories:
        common["categories"] = list(settings.categories)
    if settings.ip_pool:
        common["ip_pool_name"] = settings.ip_pool
    if settings.sandbox:
        common["mail_settings"] = {"sandbox_mode": {"enable": True}}
    return _encoded(common)


def _personalization(
    message: EmailMessage, address: str, substitutions: dict[str, str], settings: SendGridSettings
) -> bytes | None:
    """Return one personalization as JSON; None where it cannot be encoded or its substitutions are above the limit."""
    arguments = {KEY: message.key, ROW: str(message.row)} if message.row else {KEY: message.key}
    personal: dict[str, Any] = {"to": [_mailbox(message.to, address)], "custom_args": arguments}
    if message.headers:
        personal["headers"] = dict(message.headers)
    if settings.spread_seconds and message.topic:
        personal["send_at"] = int(message.date.timestamp()) + _within(message.key, settings.spread_seconds)
    if substitutions:
        personal["substitutions"] = substitutions
    content, limit = _encoded(personal), settings.substitution_bytes
    if content is not None and substitutions and len(content) > limit:  # otherwise a part of it is shorter still
        written = _encoded(substitutions)
        if written is None or len(written) > limit:
            return None
    return content


def _within(key: str, seconds: int) -> int:
    """Return how far into so many seconds a message goes: the same whenever it is asked."""
    return int.from_bytes(sha256(key.encode()).digest()[:4]) % (seconds + 1)


def _mailbox(mailbox: Mailbox, address: str) -> dict[str, str]:
    """Return an address with the name cleared of what SendGrid does not take in names."""
    name = mailbox.name
    if not _NOT_IN_NAMES.isdisjoint(name):
        name = name.translate(_WITHOUT_THEM)
    name = " ".join(name.split())
    return {"email": address, "name": name} if name else {"email": address}


def _encoded(value: Mapping[str, Any]) -> bytes | None:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return None
