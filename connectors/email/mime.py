"""One RFC 5322 message as bytes: a skeleton built once, filled per message.

What is equal for all messages of a sender (From, Reply-To, Message-ID domain, names of the extra headers, MIME
structure) is serialised once, at most once per template version; the rest is filled in. Reading the result back
gives what `email.message.EmailMessage` under the SMTP policy would have given, at a hundredth of its cost.

The bytes are CRLF only, 7-bit (unless an address itself is not ASCII), with no line above 998 octets. Extra headers
stand on one line as they are: RFC 2047 encoding or folding would break a one-click `List-Unsubscribe` (RFC 8058).

Reasons name no address: they are kept longer than the person's data may be.
"""

import re
from base64 import b64encode
from binascii import b2a_base64
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from textwrap import wrap

from connectors.email.checks import (
    envelope_address,
    is_plain,
    refuse_breaks,
    refuse_header_names,
    refuse_header_value,
    refuse_key,
)
from evergreet.contracts import EmailMessage, Mailbox
from evergreet.errors import Misconfigured, Permanent

_BOUNDARY = "=_evergreet"  # "=_" occurs in no base64 text, so this cannot be part of a body
_TEXT_PART = (
    f'\r\n--{_BOUNDARY}\r\nContent-Type: text/plain; charset="utf-8"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
)
_HTML_PART = _TEXT_PART.replace("text/plain", "text/html")
_END = f"\r\n--{_BOUNDARY}--\r\n"

_PLAIN = re.compile(r"[!-~]+(?: [!-~]+)*")
_PHRASE = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?: [\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Mime:
    """A message with its envelope. `international`: an address needs SMTPUTF8 (RFC 6531)."""

    sender: str
    recipient: str
    content: bytes
    international: bool


@dataclass(frozen=True, slots=True)
class _Skeleton:
    """What is equal for all messages of one sender with the same header names."""

    sender: str
    fields: str
    after_key: str
    extra: tuple[str, ...]


def compose(message: EmailMessage) -> Mime:
    """Serialise a message.

    Raises `Permanent` where this message cannot be sent as it is (a line break or NUL in a header or address, an
    address that is none, a header that does not fit), `Misconfigured` where the sender's own address is the fault.
    """
    try:
        return _compose(message)
    except UnicodeEncodeError:
        raise Permanent("The message holds half a character (a lone surrogate): it cannot be encoded.") from None


def _compose(message: EmailMessage) -> Mime:
    plain = is_plain(message)
    if not plain:
        refuse_breaks(message)
    skeleton = _skeleton(message.sender, message.reply_to, tuple(message.headers))
    try:
        recipient = envelope_address(message.to.address)
    except ValueError as fault:
        raise Permanent(f"The recipient's address cannot be written to: {fault}.") from None
    if not plain:
        refuse_key(message.key)
    head = [
        skeleton.fields, _date(message.date),
        "\r\nTo: ", _mailbox(message.to.name, recipient),
        "\r\nSubject: ", _unstructured(message.subject),
        "\r\nMessage-ID: <", message.key, skeleton.after_key,
    ]  # fmt: skip
    for prefix, value in zip(skeleton.extra, message.headers.values(), strict=True):
        if not plain:
            refuse_header_value(prefix[2:-2], value)
        head += [prefix, value]
    head.append("\r\n")
    content = b"".join(
        (
            "".join(head).encode(),
            _TEXT_PART.encode(),
            _body(message.text),
            _HTML_PART.encode(),
            _body(message.html),
            _END.encode(),
        )
    )
    international = not (recipient.isascii() and skeleton.sender.isascii())
    return Mime(skeleton.sender, recipient, content, international)


@lru_cache(maxsize=64)
def _date(moment: datetime) -> str:
    return format_datetime(moment.astimezone(UTC))


@lru_cache(maxsize=256)
def _skeleton(sender: Mailbox, reply_to: Mailbox | None, names: tuple[str, ...]) -> _Skeleton:
    try:
        address = envelope_address(sender.address)
        answers = envelope_address(reply_to.address) if reply_to else ""
    except ValueError as fault:
        raise Misconfigured(
            f"The sender's or reply address cannot be used: {fault}. Correct the sender's settings."
        ) from None
    refuse_header_names(names)
    reply = f"Reply-To: {_mailbox(reply_to.name, answers)}\r\n" if reply_to else ""
    return _Skeleton(
        sender=address,
        fields=f"MIME-Version: 1.0\r\nFrom: {_mailbox(sender.name, address)}\r\n{reply}Date: ",
        after_key=f'@{address.rpartition("@")[2]}>\r\nContent-Type: multipart/alternative; boundary="{_BOUNDARY}"',
        extra=tuple(f"\r\n{name}: " for name in names),
    )


def _mailbox(name: str, address: str) -> str:
    """Return `name <address>` so that no name, whatever it holds, can become a second recipient."""
    if not name.strip():
        return address
    if len(name) > 60 or not _PLAIN.fullmatch(name) or "=?" in name:
        name = _encoded_words(name)
    elif not _PHRASE.fullmatch(name):
        name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    fold = "\r\n " if "\r\n" in name or len(name) + len(address) > 60 else " "
    return f"{name}{fold}<{address}>"


def _unstructured(text: str) -> str:
    """Return a subject folded at spaces where it is plain ASCII, as encoded words otherwise."""
    if not text:
        return ""
    if _PLAIN.fullmatch(text) and "=?" not in text:
        if len(text) <= 67:
            return text
        lines = wrap(text, 67, break_long_words=False, break_on_hyphens=False)
        if max(map(len, lines)) <= 67:
            return "\r\n ".join(lines)
    return _encoded_words(text)


def _encoded_words(text: str) -> str:
    """Return RFC 2047 words, one a line, cut between characters; with the longest field name they stay below 76."""
    words = []
    piece = b""
    for character in text:
        octets = character.encode()
        if len(piece) + len(octets) > 39:
            words.append(piece)
            piece = b""
        piece += octets
    words.append(piece)
    return "\r\n ".join(f"=?utf-8?b?{b64encode(word).decode('ascii')}?=" for word in words)


def _body(text: str) -> bytes:
    """Return the text in base64, its line ends CRLF and its last line ended."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.endswith("\n"):
        text += "\n"
    encoded = b2a_base64(text.replace("\n", "\r\n").encode(), newline=False)
    return b"\r\n".join([encoded[start : start + 76] for start in range(0, len(encoded), 76)])
