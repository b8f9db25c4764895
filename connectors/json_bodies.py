"""Bodies that providers post, read as JSON."""

import codecs
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any

import orjson

from evergreet.errors import Unreadable

_LONGEST_NAME = 200
_LONGEST_OBJECT = 64 * 1024
"""Characters of one object of a list."""
_MARKS = {"": "[", "[": "]", "}": ",]"}
"""What may stand after what, beside objects."""
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


def read_objects(pieces: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the objects of a list, one after another as its text comes in; raises `Unreadable`, also after some."""
    decoded, parse = codecs.getincrementaldecoder("utf-8")("replace"), json.JSONDecoder().raw_decode
    text, at, before = "", 0, ""
    for piece in pieces:
        text, at = text[at:] + decoded.decode(piece), 0
        while at < len(text):
            mark = text[at]
            if mark in " \t\r\n":
                at += 1
            elif mark in _MARKS.get(before, ""):
                at, before = at + 1, mark
            elif mark != "{" or before not in {"[", ","}:
                raise Unreadable("The body is not a list of objects.")
            else:
                try:
                    found, at = parse(text, at)
                except (ValueError, RecursionError):  # also of a number with thousands of digits
                    if len(text) - at > _LONGEST_OBJECT:
                        raise Unreadable("The body is not a list of objects.") from None
                    break  # the rest of it is in the next piece
                before = "}"
                yield found
    if before != "]":
        raise Unreadable("The body is not a whole list of objects.")


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
