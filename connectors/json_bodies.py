"""Bodies that providers post, read as JSON."""

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import orjson

from evergreet.errors import Unreadable

_LONGEST_NAME = 200
_ESCAPES = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|u[dD][89a-fA-F]..|.)", re.DOTALL)


def read_json(body: bytes) -> Any:
    """Return what a body says; raises `Unreadable`.

    Half a character (a lone surrogate, as JavaScript writes a text that was cut) becomes U+FFFD: a body that is refused
    is lost with all that is in it.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return orjson.loads(_ESCAPES.sub(_whole, body))
    except orjson.JSONDecodeError:
        raise Unreadable("The body is not JSON in UTF-8.") from None


def text_in(raw: Mapping[str, Any], name: str) -> str:
    """Return a text that stands under a name; empty where there is none."""
    value = raw.get(name)
    return value if isinstance(value, str) else ""


def object_in(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object that stands under a name; empty where there is none."""
    value = raw.get(name)
    return value if isinstance(value, dict) else {}


def whole_number(text: str) -> int:
    """Return the number that a text of ours came back with; 0 where it is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else 0


def name_or_digest(name: str, content: bytes) -> str:
    """Return what an event is known by: the provider's name for it or, where that cannot be kept, its digest."""
    return name if 0 < len(name) <= _LONGEST_NAME else f"digest:{blake2b(content, digest_size=16).hexdigest()}"


def _whole(escape: re.Match[bytes]) -> bytes:
    is_half = len(escape[0]) == 6 and escape[0][2:3] in b"dD" and escape[0][1:2] == b"u"
    return rb"\ufffd" if is_half else escape[0]
