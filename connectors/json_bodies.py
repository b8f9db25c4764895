"""Bodies that providers post, read as JSON."""

import re
from typing import Any

import orjson

from evergreet.errors import Unreadable

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


def _whole(escape: re.Match[bytes]) -> bytes:
    is_half = len(escape[0]) == 6 and escape[0][2:3] in b"dD" and escape[0][1:2] == b"u"
    return rb"\ufffd" if is_half else escape[0]
