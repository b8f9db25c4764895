"""Messages of one skeleton in one request: SES puts each recipient's values into an inline template.

In an inline template SES has "only simple substitutions": `{{name}}` becomes the value of that name. It "doesn't escape
HTML content" (https://docs.aws.amazon.com/ses/latest/dg/send-personalized-email-advanced.html), but says so of HTML
alone, and what its Handlebars takes for a mark is said nowhere. So a message goes this way only where the result is its
content byte for byte however that is done: no value holds what any escaping changes, and neither the skeleton nor a
value has braces or a backslash where one could be taken for a part of a mark. All others go alone, as MIME.

Limits: `…/dg/send-personalized-email-api.html` and the service's model.
"""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from connectors.email.mailboxes import checked_mailboxes, quoted
from connectors.email.ses_payload import BULK, RESERVED, Request, common, tagged
from connectors.email.ses_settings import SesSettings
from evergreet.contracts import EmailMessage, Mailbox, Skeleton

MOST_ENTRIES = 50
MOST_BYTES = 1_000_000
MOST_DATA = 262_144
MOST_HEADERS = 15
LONGEST_HEADER = 995

_CHANGEABLE = re.compile(r"[&<>\"'`={}\\\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_IN_NO_PIECE = re.compile(r"\{\{|[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Entry:
    """One recipient as JSON; `place` is the message's in the batch."""

    place: int
    content: bytes


@dataclass(slots=True)
class Groups:
    """Messages by what they share: template, sender and reply address."""

    settings: SesSettings
    templates: dict[str, bytes | None] = field(default_factory=dict)
    groups: dict[tuple[str, str, str], tuple[bytes, list[Entry]]] = field(default_factory=dict)

    def take(self, place: int, message: EmailMessage) -> bool:
        """Take a message; false where it has to go alone.

        Raises `Permanent` or `Misconfigured` where it cannot be sent as it is.
        """
        split = message.split
        if split is None or len(split.values) != split.skeleton.slots or _CHANGEABLE.search("".join(split.values)):
            return False
        skeleton = split.skeleton
        if skeleton.key not in self.templates:
            self.templates[skeleton.key] = _template(skeleton)
        template = self.templates[skeleton.key]
        if template is None or split.part("subject") != message.subject or message.subject.strip() != message.subject:
            return False
        addresses = checked_mailboxes(message, "Amazon SES")
        sender = _mailbox(message.sender, addresses.sender.address)
        to = _mailbox(message.to, addresses.to.address)
        answers: str | None = ""
        if message.reply_to and addresses.reply_to:
            answers = _mailbox(message.reply_to, addresses.reply_to.address)
        headers = _headers(message.headers)
        data = orjson.dumps({f"v{n}": value for n, value in enumerate(split.values)}).decode()
        if sender is None or to is None or answers is None or headers is None:
            return False
        if len(data) > MOST_DATA:
            return False
        entry = {
            "Destination": {"ToAddresses": [to]},
            "ReplacementEmailContent": {"ReplacementTemplate": {"ReplacementTemplateData": data}},
            **tagged("ReplacementTags", message),
            **({"ReplacementHeaders": headers} if headers else {}),
        }
        key = (skeleton.key, sender, answers)
        if key not in self.groups:
            self.groups[key] = self._shared(template, sender, answers), []
        self.groups[key][1].append(Entry(place, orjson.dumps(entry)))
        return True

    def _shared(self, template: bytes, sender: str, answers: str) -> bytes:
        content = {"Template": {"TemplateContent": orjson.Fragment(template), "TemplateData": "{}"}}
        replies = {"ReplyToAddresses": [answers]} if answers else {}
        return orjson.dumps({"FromEmailAddress": sender, **replies, **common(self.settings), "DefaultContent": content})

    def requests(self) -> Iterator[Request]:
        """Return what carries the messages that were taken: so many, and so large, as SES takes at once."""
        for shared, entries in self.groups.values():
            part: list[Entry] = []
            size = len(shared)
            for entry in entries:
                if part and (len(part) == MOST_ENTRIES or size + len(entry.content) + 30 > MOST_BYTES):
                    yield _request(shared, part)
                    part, size = [], len(shared)
                part.append(entry)
                size += len(entry.content) + 1
            yield _request(shared, part)


def _request(shared: bytes, part: Sequence[Entry]) -> Request:
    entries = b",".join([entry.content for entry in part])
    body = shared[:-1] + b',"BulkEmailEntries":[' + entries + b"]}"
    return Request(BULK, body, tuple(entry.place for entry in part))


def _template(skeleton: Skeleton) -> bytes | None:
    """Return a skeleton as an inline template; None where it cannot be one for certain."""
    parts = {"Subject": skeleton.subject, "Html": skeleton.html, "Text": skeleton.text}
    if not all(parts.values()) or not all(_is_plain(pieces) for pieces in parts.values()):
        return None
    written = orjson.dumps(
        {
            name: "".join([f"{{{{v{piece}}}}}" if isinstance(piece, int) else piece for piece in pieces])
            for name, pieces in parts.items()
        }
    )
    return written if len(written) < MOST_BYTES // 2 else None


def _is_plain(pieces: Sequence[str | int]) -> bool:
    """Return whether no text of a skeleton, alone or beside a mark or another text, could be read as part of a mark."""
    texts = [""]
    for piece in pieces:
        if isinstance(piece, int):
            texts.append("")
        else:
            texts[-1] += piece
    return not (
        any(_IN_NO_PIECE.search(text) for text in texts)
        or any(text.endswith(("{", "\\")) for text in texts[:-1])
        or any(text.startswith("}") for text in texts[1:])
    )


def _mailbox(mailbox: Mailbox, address: str) -> str | None:
    """Return `name <address>` for the API, which wants names in ASCII or as one encoded word (RFC 2047)."""
    name = mailbox.name
    if not name or (
        name.isascii() and name.isprintable() and name == name.strip() and not re.search(r'["\\]|=\?', name)
    ):
        return quoted(Mailbox(address, name))
    octets = name.encode("utf-8", "replace")
    if len(octets) > 45 or not name.isprintable() or "=?" in name:
        return None
    return f"=?utf-8?b?{b64encode(octets).decode('ascii')}?= <{address}>"


def _headers(headers: Mapping[str, str]) -> list[dict[str, str]] | None:
    if len(headers) > MOST_HEADERS or any(name.lower() in RESERVED for name in headers):
        return None
    if not all(value and len(name) + len(value) <= LONGEST_HEADER for name, value in headers.items()):
        return None
    return [{"Name": name, "Value": value} for name, value in headers.items()]
