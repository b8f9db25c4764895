"""The parts of a report that came as a mail, and their fields, as far as they can be read."""

import re
from datetime import UTC, datetime
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import parsedate_to_datetime
from typing import TypeAlias

from connectors.moments import from_seconds

Mail: TypeAlias = "Message[str, str]"

_LOOSE = re.compile(r"\n(?![A-Za-z][\w-]{1,40}:|[ \t\n])")
"""The beginning of a line that goes on with the field above it and is not indented, as MessageLabs writes them."""
_KEPT = 1000
"""Characters of a field."""


def blocks(part: Mail) -> list[Mail]:
    """Return the groups of fields of a machine's part, however far the parser went with it."""
    inner = _parts(part)
    encoding = text(part, "Content-Transfer-Encoding").lower()
    if inner and encoding in {"base64", "quoted-printable"}:  # as no such part may be, and some are
        whole: Mail = Message()
        whole["Content-Transfer-Encoding"] = encoding
        whole.set_payload("\n\n".join(block.as_string() for block in inner))
        return _groups(decoded(whole))
    if not inner or part.get_content_type() == "message/delivery-status":
        return [_whole(block) for block in inner if len(block)]
    rest = inner[0].get_payload()  # parsed as one mail, whose text is the groups after the first
    return [inner[0], *(_groups(rest) if isinstance(rest, str) else [])]


def _whole(block: Mail) -> Mail:
    """Return a group with the fields that come after a line which the parser did not take for one."""
    rest = block.get_payload()
    if not isinstance(rest, str) or not rest.strip():
        return block
    before = "".join(f"{name}: {value}\n" for name, value in block.items())
    return headers_of(_LOOSE.sub("\n ", before + rest).encode("utf-8", "surrogateescape"))


def _groups(written: str) -> list[Mail]:
    """Return the groups of fields in a text."""
    groups = (group.strip() for group in re.split(r"\r?\n\r?\n", written))
    return [headers_of(group.encode("utf-8", "surrogateescape")) for group in groups if group]


def headers_in(part: Mail) -> Mail:
    """Return the headers that a returned mail, or the part that holds nothing else of it, begins with."""
    if inner := _parts(part):
        return inner[0]
    return headers_of(decoded(part).lstrip().encode("utf-8", "surrogateescape"))


def _parts(mail: Mail) -> list[Mail]:
    inner = mail.get_payload()
    return [part for part in inner if isinstance(part, Message)] if isinstance(inner, list) else []


def decoded(part: Mail) -> str:
    """Return the text of a part; octets that are no UTF-8 stand for themselves."""
    content = part.get_payload(decode=True)
    return content.decode("utf-8", "surrogateescape") if isinstance(content, bytes) else ""


def flat(mail: Mail) -> list[Mail]:
    """Return the parts of a mail and of its groups of parts, not those of mails within it."""
    if not mail.is_multipart() and mail.get_content_maintype() != "multipart":
        return [mail]
    return [
        one for part in _parts(mail) for one in (flat(part) if part.get_content_maintype() == "multipart" else [part])
    ]


def headers_of(written: bytes) -> Mail:
    """Return the headers that a text begins with."""
    return BytesHeaderParser().parsebytes(written)


def fields(block: Mail, *names: str) -> dict[str, str]:
    """Return some fields, or the first fifty."""
    wanted = names or block.keys()
    return {name: found for name in list(wanted)[:50] if (found := text(block, name))}


def text(block: Mail, name: str) -> str:
    """Return a field on one line; octets that are no ASCII are read as UTF-8."""
    value = block.get(name)
    if value is None:
        return ""
    plain = (
        str(value)
        if not isinstance(value, str)
        else value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    )
    return " ".join(plain.split())[:_KEPT]


def date(mail: Mail, otherwise: datetime) -> datetime:
    """Return when a mail says that it was written; one that cannot be read is another time."""
    try:
        written = parsedate_to_datetime(text(mail, "Date"))
    except (TypeError, ValueError, IndexError, OverflowError):
        return otherwise
    return from_seconds((written if written.tzinfo else written.replace(tzinfo=UTC)).timestamp(), otherwise)
