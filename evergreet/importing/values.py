"""What stands in a cell or a JSON value, read as text, number or yes/no; and the digest of a row's content."""

import json
import math
import re
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Literal, TypeAlias

import orjson

from evergreet.importing.rejects import Rejected, shown

Kind: TypeAlias = Literal["text", "number", "boolean"]

_WORDS = {"true": True, "yes": True, "y": True, "t": True, "on": True, "1": True,
          "false": False, "no": False, "n": False, "f": False, "off": False, "0": False}  # fmt: skip
_BEFORE_COLONS = ('":', " :", "\t:", "\r:")
"""How a name in an object can end: each name of a JSON text shows in the count of one of these."""
_PLAIN_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?")
_LONGEST_NUMBER = 32
_LONGEST_EXACT = 15
"""Digits that a double keeps exactly: a longer decimal stays text."""
_PLAIN = frozenset({str, int, bool, type(None)})
DEEPEST = 64
"""Levels of JSON."""
_QUICK_DEPTH = 4


def as_text(value: Any, field: str, limit: int) -> str | None:
    """Return stripped text of at most `limit` characters; None when there is nothing in it."""
    if type(value) is str:
        text = value.strip()
    elif value is None:
        return None
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Rejected("wrong type", f"{field} is {shown(value)}, not text")
    else:
        text = str(value)
    if len(text) > limit:
        raise Rejected("too long", f"{field} has {len(text):,} characters, {limit} are allowed")
    return text or None


def as_boolean(value: Any, field: str) -> bool | None:
    """Return yes or no from a boolean or one of the usual words; never guesses."""
    if value is None or isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if not word:
        return None
    if word not in _WORDS:
        raise Rejected("not yes or no", f"{field} is {shown(value)}; write true or false")
    return _WORDS[word]


def as_number(value: Any, field: str) -> int | float | None:
    """Return a number from a number or from text such as `12`, `-3.50` or `1e3`."""
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    word = str(value).strip()
    if not word:
        return None
    try:
        number = int(word) if word.lstrip("+-").isdecimal() else float(word)
    except ValueError:
        raise Rejected("not a number", f"{field} is {shown(value)}") from None
    return _storable(number, field)


def as_object(value: Any, field: str) -> dict[str, Any]:
    """Return a JSON object, also from its text; empty when there is none."""
    if isinstance(value, str):
        value = read_object(value) if value.strip() else None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Rejected("wrong type", f"{field} is {shown(value)}, not an object")
    return value


def typed(value: Any, kind: Kind, field: str) -> Any:
    """Read a value as the type the mapping gives it; text keeps its spaces."""
    if kind == "number":
        return as_number(value, field)
    if kind == "boolean":
        return as_boolean(value, field)
    return value if value is None or isinstance(value, str) else as_text(value, field, 1_000_000)


def recognised(text: str) -> str | int | float:
    """Read a CSV cell as a number where it is a plain one: no leading zeros, no plus, exact as a double."""
    return _recognised(text) if len(text) <= _LONGEST_NUMBER else text


@lru_cache(maxsize=1024)
def _recognised(text: str) -> str | int | float:
    if not _PLAIN_NUMBER.fullmatch(text):
        return text
    if "." not in text:
        return int(text)
    return float(text) if len(text.replace("-", "").replace(".", "")) <= _LONGEST_EXACT else text


def check_text(text: str) -> None:
    """Refuse what a store cannot hold: NUL characters (PostgreSQL) and halves of characters (both)."""
    if "\x00" in text:
        raise Rejected("NUL character", "the row has a NUL character, which a database cannot hold")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            letter = text[error.start]
            if "\udc80" <= letter <= "\udcff":
                detail = f"byte {ord(letter) - 0xDC00:#04x} is not UTF-8; mend it or say --encoding"
                raise Rejected("wrong encoding", detail) from None
            raise Rejected("broken character", "the row has half a character (a lone surrogate)") from None


def check_json(value: Any, depth: int = 0) -> None:
    """Refuse JSON values that a store cannot hold or would change."""
    if depth > DEEPEST:
        raise Rejected("nested too deeply", f"more than {DEEPEST} levels")
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, (int, float)):
        _storable(value, "a value")
    elif isinstance(value, dict):
        for key, item in value.items():
            check_text(key)
            check_json(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            check_json(item, depth + 1)


def read_object(raw: str) -> dict[str, Any]:
    """Parse the text of one JSON object that a store can hold."""
    check_text(raw)
    quickly = _read_plainly(raw)
    return _read_carefully(raw) if quickly is None else quickly


def _read_plainly(raw: str) -> dict[str, Any] | None:
    """Parse an object the quick way; None where there is anything about it that wants a second look."""
    try:
        found = orjson.loads(raw)
    except ValueError:
        return None
    if type(found) is not dict or "\\u0000" in raw:
        return None
    names = _names(found)
    # As many names as the text can have: none stands twice, and none hides in a text.
    return found if names == sum(map(raw.count, _BEFORE_COLONS)) else None


def _names(value: dict[str, Any], depth: int = 0) -> float:
    """Count the names in an object; not a number where a store could not hold the object, or where it is deep."""
    names: float = len(value)
    for item in value.values():
        kind = type(item)
        if kind is str:
            continue
        if kind is int or kind is float:
            if not -(2**63) < item < 2**63:  # the quick way reads longer numbers as fractions
                return math.nan
        elif kind is dict and depth < _QUICK_DEPTH:
            names += _names(item, depth + 1)
        elif kind is not bool and item is not None:
            return math.nan
    return names


def _read_carefully(raw: str) -> dict[str, Any]:
    try:
        found = json.loads(raw, parse_constant=_refuse_constant, object_pairs_hook=_object)
    except RecursionError:
        raise Rejected("nested too deeply", "the JSON has too many levels") from None
    except ValueError as error:
        raise Rejected("not JSON", str(error)) from None
    if not isinstance(found, dict):
        raise Rejected("not JSON", f"the line holds {shown(found)}, not an object in braces")
    check_json(found)
    return found


def _refuse_constant(name: str) -> Any:
    raise Rejected("not a number", f"{name} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Rejected("not JSON", "a name stands twice in the same object")
    return found


def _storable(number: int | float, field: str) -> int | float:
    if isinstance(number, float) and not math.isfinite(number):
        raise Rejected("not a number", f"{field} is NaN or infinite")
    if isinstance(number, int) and not -(2**63) <= number < 2**63:
        raise Rejected("number too large", f"{field} needs more than 64 bits; write it as text")
    return number


def canonical(content: Any) -> bytes:
    """Return the one JSON form of a content: sorted keys, and 5.0 written as 5, as databases may give it back."""
    return orjson.dumps(_plain(content), option=orjson.OPT_SORT_KEYS)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    if isinstance(value, dict):
        return {key: item if type(item) in _PLAIN else _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [item if type(item) in _PLAIN else _plain(item) for item in value]
    return value


def digest(content: Any) -> str:
    """Return the digest of a content: 128 bits in hexadecimal."""
    return blake2b(canonical(content), digest_size=16).hexdigest()
