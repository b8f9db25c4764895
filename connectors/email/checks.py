"""What every email connector refuses before anything is sent: smuggled headers, and addresses that are none.

Reasons name no address: they are kept longer than the person's data may be.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

import idna

from evergreet.contracts import EmailMessage
from evergreet.errors import Permanent

LONGEST_LINE = 998  # RFC 5322 §2.1.1, without CRLF

_BREAK = re.compile(r"[\r\n\0]")
_ATOM = r"[^\s()<>\[\]:;@\\,.\"\x00-\x20\x7f-\x9f]+"
_DOT_ATOM = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_ASCII_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
_COMMON_ADDRESS = re.compile(rf"(?=.{{1,64}}@)[\w+-]+(?:\.[\w+-]+)*@{_ASCII_DOMAIN.pattern}", re.ASCII)
_FIELD_NAME = re.compile(r"[!-9;-~]+")
_FIELD_VALUE = re.compile(r"[ -~]*")
_OURS = frozenset(
    ["date", "from", "sender", "to", "cc", "bcc", "reply-to", "subject", "message-id", "mime-version", "return-path",
     "content-type", "content-transfer-encoding", "content-disposition"]
)  # fmt: skip


def is_plain(message: EmailMessage) -> bool:
    """Say whether key, subject, mailboxes and the values of the headers are beyond doubt.

    They are for nearly all messages, and this asks in one go what `refuse_breaks`, `refuse_key` and
    `refuse_header_value` ask one by one: letters and digits, printable, ASCII, and far from the longest line.
    """
    key, to, values = message.key, message.to, "".join(message.headers.values())
    sender, reply = message.sender, message.reply_to or message.sender
    return (
        key.isalnum()
        and len(key) <= 200
        and len(values) <= 800
        and (key + values).isascii()
        and f"{values}{message.subject}{to.name}{to.address}{''.join(message.headers)}".isprintable()
        and f"{sender.name}{sender.address}{reply.name}{reply.address}".isprintable()
    )


def refuse_breaks(message: EmailMessage) -> None:
    """Raise `Permanent` where a line break or NUL stands in what becomes a header or an address."""
    to, sender, reply, headers = message.to, message.sender, message.reply_to, message.headers
    texts = (
        message.key,
        message.subject,
        to.address,
        to.name,
        sender.address,
        sender.name,
        *headers,
        *headers.values(),
    )
    if not _BREAK.search("".join(texts) + (reply.address + reply.name if reply else "")):
        return  # as nearly always: the places are told apart only where something is wrong
    for what, text in _single_line_texts(message):
        if _BREAK.search(text):
            raise Permanent(f"Refused: {what} holds a line break or NUL, which could smuggle in a header.")


def refuse_key(key: str) -> None:
    """Raise `Permanent` where the message's key cannot be the local part of a Message-ID."""
    if not _DOT_ATOM.fullmatch(key) or not key.isascii() or len(key) > 200:
        raise Permanent(
            "The message's key cannot be a Message-ID: it takes at most 200 ASCII letters, digits and -_.+="
        )


@lru_cache(maxsize=256)
def refuse_header_names(names: tuple[str, ...], reserved: frozenset[str] = frozenset()) -> None:
    """Raise `Permanent` where an extra header has no proper name, one that we write ourselves, or a reserved one."""
    for name in names:
        if not _FIELD_NAME.fullmatch(name) or len(name) > 100:
            raise Permanent(
                "A header has a name that is none: names are up to 100 ASCII characters without space or colon."
            )
        if name.lower() in _OURS:
            raise Permanent(f"The header {name} is written by Evergreet itself: it cannot be given as an extra header.")
        if name.lower() in reserved:
            raise Permanent(f"The header {name} is the provider's own: it cannot be given as an extra header.")
    if len({name.lower() for name in names}) < len(names):
        raise Permanent("A header is given twice, in different spelling.")


def refuse_header_value(name: str, value: str) -> None:
    """Raise `Permanent` where an extra header does not stand on one line of mail as it is."""
    if not _FIELD_VALUE.fullmatch(value):
        raise Permanent(f"The header {name} holds characters that are not ASCII: encode them in the value.")
    if len(name) + 2 + len(value) > LONGEST_LINE:
        raise Permanent(f"The header {name} is longer than a line of mail may be ({LONGEST_LINE} octets).")


def envelope_address(address: str) -> str:
    """Return the address with its domain in punycode; a ValueError says what is wrong with it."""
    if len(address) <= 254 and _COMMON_ADDRESS.fullmatch(address):
        return address  # as nearly always
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


def _single_line_texts(message: EmailMessage) -> Iterator[tuple[str, str]]:
    yield "the key", message.key
    yield "the subject", message.subject
    yield "the recipient address", message.to.address
    yield "the recipient name", message.to.name
    yield "the sender address", message.sender.address
    yield "the sender name", message.sender.name
    if message.reply_to is not None:
        yield "the reply address", message.reply_to.address
        yield "the reply name", message.reply_to.name
    for name, value in message.headers.items():
        yield "a header name", name
        yield "a header value", value
