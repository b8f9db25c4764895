"""What Mailgun is asked to send: a form for one message, or for up to 1,000 that share a skeleton.

https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages/post-v3--domain-name--messages and
`…/user-manual/sending-messages/batch-sending`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self, TypeAlias

import httpx
import orjson

from connectors.email.mailboxes import SURROGATE, Mailboxes, checked_mailboxes, quoted
from connectors.email.mailgun_settings import MailgunSettings
from connectors.email.mailgun_variables import KEY, ROW, WORDS, Shared, Together, filled
from evergreet.contracts import EmailMessage, Outcome
from evergreet.errors import Misconfigured, Permanent

MOST_RECIPIENTS = 1000
MOST_BYTES = 20_000_000
"""Octets of a form; Mailgun takes messages of 25 MB."""

_RESERVED = frozenset(
    {"x-mailgun-tag", "x-mailgun-dkim", "x-mailgun-deliver-by", "x-mailgun-drop-message", "x-mailgun-track",
     "x-mailgun-track-clicks", "x-mailgun-track-opens", "x-mailgun-require-tls", "x-mailgun-skip-verification",
     "x-mailgun-recipient-variables", "x-mailgun-variables", "x-mailgun-sid", "x-mailgun-template-name",
     "x-mailgun-deliver-within", "x-mailgun-delivery-time-optimize-period", "x-mailgun-time-zone-localize",
     "x-mailgun-template-variables", "x-mailgun-secondary-dkim", "x-mailgun-secondary-dkim-public"}
)  # fmt: skip

Fields: TypeAlias = tuple[tuple[str, bytes], ...]


class Recipient(NamedTuple):
    """Who gets a message; `place` is its place in the batch, `variables` a member of the JSON of all variables."""

    place: int
    address: str
    to: bytes
    variables: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """One form: fields that are common to all recipients, and the recipients."""

    common: Fields
    recipients: tuple[Recipient, ...]

    def form(self) -> tuple[bytes, str]:
        """Return the form as multipart (RFC 7578), and its Content-Type.

        What was left of a group by one is filled in here: Mailgun's variables are for several recipients.
        """
        variables = b",".join([recipient.variables for recipient in self.recipients])
        common = list(self.common)
        if variables and len(self.recipients) > 1:
            common.append(("recipient-variables", b"{" + variables + b"}"))
        elif variables:
            (values,) = orjson.loads(b"{" + variables + b"}").values()
            common = [(name, filled(value, values)) for name, value in common]
        return encoded([*common, *(("to", recipient.to) for recipient in self.recipients)])

    @property
    def size(self) -> int:
        """About how many octets the form has."""
        common = sum(len(value) + 150 for _, value in self.common)
        return common + sum(len(one.to) + len(one.variables) + 150 for one in self.recipients)

    def halves(self) -> list[Self]:
        """Return the same in two requests."""
        middle = len(self.recipients) // 2
        return [replace(self, recipients=half) for half in (self.recipients[:middle], self.recipients[middle:])]

    def without(self, places: Iterable[int]) -> Self:
        """Return the request for all but the messages at some places of the batch."""
        left_out = set(places)
        return replace(self, recipients=tuple(one for one in self.recipients if one.place not in left_out))


def encoded(fields: Iterable[tuple[str, bytes]]) -> tuple[bytes, str]:
    """Return fields as multipart, and the Content-Type."""
    files = [(name, (None, value)) for name, value in fields]
    request = httpx.Request("POST", "https://api.mailgun.net", files=files)
    return request.read(), request.headers["content-type"]


def pack(batch: Sequence[EmailMessage], settings: MailgunSettings) -> tuple[list[Request], dict[int, Outcome]]:
    """Return the requests that carry the batch, and by place the outcomes of messages that cannot be sent."""
    refused: dict[int, Outcome] = {}
    alone: dict[int, Request] = {}
    together = Together()
    for place, message in enumerate(batch):
        try:
            who = checked_mailboxes(message, "Mailgun", _RESERVED)
            if not together.take(place, message, who):
                alone[place] = _alone(place, message, who, settings)
        except (Permanent, Misconfigured) as fault:
            fault.__context__ = None
            refused[place] = fault.with_traceback(None)
    requests: list[Request] = []
    for shared in together.groups.values():
        if len(shared.members) == 1:  # alone it goes whatever is done with variables
            place, message, who = shared.members[0]
            alone[place] = _alone(place, message, who, settings)
        else:
            requests += _shared(shared, settings)
    return [*requests, *(alone[place] for place in sorted(alone))], refused


def _alone(place: int, message: EmailMessage, who: Mailboxes, settings: MailgunSettings) -> Request:
    """Return the form of one message with its whole content, without variables of a recipient."""
    if any(WORDS.search(text) for text in (message.subject, message.html, message.text, *message.headers.values())):
        raise Permanent("The message holds an unsubscribe variable of Mailgun's (%…unsubscribe…%), which it replaces.")
    fields = {f"h:{name}": value for name, value in message.headers.items()} | {f"v:{KEY}": message.key}
    if message.row:
        fields[f"v:{ROW}"] = str(message.row)
    try:
        common = _common(who, message.subject, message.html, message.text, fields, settings)
        return Request(common, (Recipient(place, who.to.address, quoted(who.to).encode(), b""),))
    except UnicodeEncodeError:
        raise Permanent(SURROGATE) from None


def _shared(shared: Shared, settings: MailgunSettings) -> Iterator[Request]:
    """Return forms for messages of one skeleton.

    "Duplicate addresses are automatically ignored": the nth message to one address is in the nth round.
    """
    tokens = shared.tokens
    _, _, who = shared.members[0]
    common = _common(who, tokens.subject, tokens.html, tokens.text, shared.fields(), settings)
    rounds: list[list[Recipient]] = []
    seen: dict[str, int] = {}
    for (place, _, one), values in zip(shared.members, shared.variables(), strict=True):
        address = one.to.address
        variables = orjson.dumps(address) + b":" + orjson.dumps(values)
        turn = seen.get(address, 0)
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(Recipient(place, address, quoted(one.to).encode(), variables))
        seen[address] = turn + 1
    for recipients in rounds:
        for start in range(0, len(recipients), MOST_RECIPIENTS):
            yield from _below_limit(Request(common, tuple(recipients[start : start + MOST_RECIPIENTS])))


def _below_limit(request: Request) -> Iterator[Request]:
    if request.size < MOST_BYTES or len(request.recipients) == 1:
        yield request
    else:
        for half in request.halves():
            yield from _below_limit(half)


def _common(
    who: Mailboxes, subject: str, html: str, text: str, fields: dict[str, str], settings: MailgunSettings
) -> Fields:
    """Return what is common to all recipients; Mailgun wants one part at least."""
    clicks, opens = ("yes" if on else "no" for on in (settings.click_tracking, settings.open_tracking))
    common = {"from": quoted(who.sender), "subject": subject or " "}
    if html:
        common["html"] = html
    if text or not html:
        common["text"] = text or " "
    if who.reply_to is not None:
        common["h:Reply-To"] = quoted(who.reply_to)
    common |= fields
    common |= {"o:tracking": "yes" if "yes" in (clicks, opens) else "no", "o:tracking-clicks": clicks}
    common["o:tracking-opens"] = opens
    if settings.sandbox:
        common["o:testmode"] = "yes"
    tags = [("o:tag", tag.encode()) for tag in settings.tags]
    return (*((name, value.encode()) for name, value in common.items()), *tags)
