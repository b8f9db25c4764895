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
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from email.utils import format_datetime
from functools import lru_cache
from textwrap import wrap

import idna

from evergreet.contracts import EmailMessage, Mailbox
from evergreet.errors import Misconfigured, Permanent

LONGEST_LINE = 998  # RFC 5322 §2.1.1, without CRLF
_BOUNDARY = "=_evergreet"  # "=_" occurs in no base64 text, so this cannot be part of a body
_TEXT_PART = (
    f'\r\n--{_BOUNDARY}\r\nContent-Type: text/plain; charset="utf-8"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
)
_HTML_PART = _TEXT_PART.replace("text/plain", "text/html")
_END = f"\r\n--{_BOUNDARY}--\r\n"

_BREAK = re.compile(r"[\r\n\0]")
_ATOM = r"[^\s()<>\[\]:;@\\,.\"\x00-\x20\x7f-\x9f]+"
_DOT_ATOM = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_ASCII_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
_PLAIN = re.compile(r"[!-~]+(?: [!-~]+)*")
_PHRASE = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?: [\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)
_FIELD_NAME = re.compile(r"[!-9;-~]+")
_FIELD_VALUE = re.compile(r"[ -~]*")
_OURS = frozenset(
    ["date", "from", "sender", "to", "cc", "bcc", "reply-to", "subject", "message-id", "mime-version", "return-path",
     "content-type", "content-transfer-encoding", "content-disposition"]
)  # fmt: skip


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
    for what, text in _single_line_texts(message):
        if _BREAK.search(text):
            raise Permanent(f"Refused: {what} holds a line break or NUL, which could smuggle in a header.")
    skeleton = _skeleton(message.sender, message.reply_to, tuple(message.headers))
    try:
        recipient = _envelope_address(message.to.address)
    except ValueError as fault:
        raise Permanent(f"The recipient's address cannot be written to: {fault}.") from None
    if not _DOT_ATOM.fullmatch(message.key) or not message.key.isascii() or len(message.key) > 200:
        raise Permanent(
            "The message's key cannot be a Message-ID: it takes at most 200 ASCII letters, digits and -_.+="
        )
    head = [
        skeleton.fields, format_datetime(message.date.astimezone(UTC)),
        "\r\nTo: ", _mailbox(message.to.name, recipient),
        "\r\nSubject: ", _unstructured(message.subject),
        "\r\nMessage-ID: <", message.key, skeleton.after_key,
    ]  # fmt: skip
    for prefix, value in zip(skeleton.extra, message.headers.values(), strict=True):
        if not _FIELD_VALUE.fullmatch(value):
            raise Permanent(f"The header {prefix[2:-2]} holds characters that are not ASCII: encode them in the value.")
        if len(prefix) - 2 + len(value) > LONGEST_LINE:
            raise Permanent(f"The header {prefix[2:-2]} is longer than a line of mail may be ({LONGEST_LINE} octets).")
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


def _single_line_texts(message: EmailMessage) -> Iterator[tuple[str, str]]:
    yield "the key", message.key
    yield "the subject", message.subject
    for whose, mailbox in (("recipient", message.to), ("sender", message.sender), ("reply", message.reply_to)):
        if mailbox is not None:
            yield f"the {whose} address", mailbox.address
            yield f"the {whose} name", mailbox.name
    for name, value in message.headers.items():
        yield "a header name", name
        yield "a header value", value


@lru_cache(maxsize=256)
def _skeleton(sender: Mailbox, reply_to: Mailbox | None, names: tuple[str, ...]) -> _Skeleton:
    try:
        address = _envelope_address(sender.address)
        answers = _envelope_address(reply_to.address) if reply_to else ""
    except ValueError as fault:
        raise Misconfigured(
            f"The sender's or reply address cannot be used: {fault}. Correct the sender's settings."
        ) from None
    for name in names:
        if not _FIELD_NAME.fullmatch(name) or len(name) > 100:
            raise Permanent(
                "A header has a name that is none: names are up to 100 ASCII characters without space or colon."
            )
        if name.lower() in _OURS:
            raise Permanent(f"The header {name} is written by Evergreet itself: it cannot be given as an extra header.")
    if len({name.lower() for name in names}) < len(names):
        raise Permanent("A header is given twice, in different spelling.")
    reply = f"Reply-To: {_mailbox(reply_to.name, answers)}\r\n" if reply_to else ""
    return _Skeleton(
        sender=address,
        fields=f"MIME-Version: 1.0\r\nFrom: {_mailbox(sender.name, address)}\r\n{reply}Date: ",
        after_key=f'@{address.rpartition("@")[2]}>\r\nContent-Type: multipart/alternative; boundary="{_BOUNDARY}"',
        extra=tuple(f"\r\n{name}: " for name in names),
    )


def _envelope_address(address: str) -> str:
    """Return the address with its domain in punycode; a ValueError says what is wrong with it."""
    local, _, domain = address.rpartition("@")
    if not _DOT_ATOM.fullmatch(local) or not local.isprintable():
        raise ValueError("what stands before the @ is not the name of a mailbox")
    ascii_domain = _ascii_domain(domain)
    if len(local.encode()) > 64 or len(ascii_domain) > 253:
        raise ValueError("it is longer than an address may be")
    return f"{local}@{ascii_domain}"


@lru_cache(maxsize=4096)
def _ascii_domain(domain: str) -> str:
    if domain.isascii():
        if not _ASCII_DOMAIN.fullmatch(domain):
            raise ValueError("what stands after the @ is not a domain")
        return domain
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise ValueError("its international domain is not a valid one") from error


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
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.endswith("\n"):
        text += "\n"
    encoded = b2a_base64(text.replace("\n", "\r\n").encode(), newline=False)
    return b"\r\n".join([encoded[start : start + 76] for start in range(0, len(encoded), 76)])
