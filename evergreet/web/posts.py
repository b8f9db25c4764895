"""Bodies of requests to `/v1/…`: who may post, unpacked and parsed in bounds, answered as Segment's clients expect."""

import base64
import hmac
import json
import math
import zlib
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import JSONResponse

from evergreet.web.guard import POST_LIMIT

CODES = {
    HTTPStatus.UNAUTHORIZED: "unauthorized", HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed", HTTPStatus.REQUEST_TIMEOUT: "timeout",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large", HTTPStatus.SERVICE_UNAVAILABLE: "unavailable",
}  # fmt: skip
"""The words of answers, beside `invalid_request`; Segment's clients report them."""

RETRY_AFTER = "5"
"""Seconds after which what was not stored may be posted again."""


class Refused(Exception):
    """A request is not taken: the status, and a sentence that says nothing of its content."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


def refusal(status: int, sentence: str) -> JSONResponse:
    """Return the answer to a request that is not taken."""
    code = CODES.get(HTTPStatus(status), "invalid_request")
    headers = {HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": 'Basic realm="write key"'},
               HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": RETRY_AFTER}}  # fmt: skip
    told = {"success": False, "code": code, "message": sentence}
    return JSONResponse(told, status, headers=headers.get(HTTPStatus(status)))


def unpacked(body: bytes, encoding: str) -> bytes:
    """Return a body as it was before it was packed; raises Refused for one that would be larger than allowed."""
    if encoding in {"", "identity"}:
        return body
    if encoding not in {"gzip", "x-gzip"}:
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body is packed in another way than gzip.")
    unpacking = zlib.decompressobj(wbits=31)
    try:
        plain = unpacking.decompress(body, POST_LIMIT + 1)
    except zlib.error:
        raise Refused(HTTPStatus.BAD_REQUEST, "The body says it is gzip, and is not.") from None
    if len(plain) > POST_LIMIT:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {POST_LIMIT // 1024} KB.")
    if not unpacking.eof or unpacking.unused_data:
        raise Refused(HTTPStatus.BAD_REQUEST, "The body is not one whole gzip stream.")
    return plain


def parsed(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body is; values that no store can hold are found message by message."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        try:  # the halves of characters that JavaScript writes where it cuts a text
            found = json.loads(body, parse_constant=_no_number, parse_float=_number)
        except (ValueError, RecursionError):
            raise Refused(HTTPStatus.BAD_REQUEST, "The body is not JSON.") from None
    if not isinstance(found, dict):
        raise Refused(HTTPStatus.BAD_REQUEST, "The body is not a JSON object.")
    return found


def _number(written: str) -> float:
    number = float(written)
    return number if math.isfinite(number) else _no_number(written)


def _no_number(written: str) -> float:
    raise ValueError(f"{written} is no number of JSON")


def write_key(authorization: str) -> str | None:
    """Return the key of an Authorization header: the user name of basic authentication; None where it is another."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[0]
    except ValueError:
        return ""


def is_among(key: object, keys: Sequence[str]) -> bool:
    """Compare a key with all there are, in a time that says nothing of them."""
    given = key.encode("utf-8", "surrogatepass") if isinstance(key, str) else b""
    return sum(hmac.compare_digest(given, each.encode()) for each in keys) > 0
