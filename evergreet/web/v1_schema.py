"""The OpenAPI description of what `/v1/…` takes and answers."""

from typing import Any

_TEXT = {"type": "string", "minLength": 1, "maxLength": 255}
_ID = {"anyOf": [_TEXT, {"type": "integer", "minimum": 0, "maximum": 2**53}]}
_TIME = {"type": "string", "format": "date-time"}
_OBJECT = {"type": "object"}
_NAME = {"type": "string", "minLength": 1, "maxLength": 100}
_COMMON = {"messageId": _TEXT, "timestamp": _TIME, "sentAt": _TIME, "context": _OBJECT, "writeKey": _TEXT}
_WHO = {"userId": _ID, "anonymousId": _ID}
_OWN: dict[str, tuple[dict[str, Any], list[str]]] = {
    "identify": ({**_WHO, "traits": _OBJECT}, []),
    "track": ({**_WHO, "event": _NAME, "properties": _OBJECT}, ["event"]),
    "page": ({**_WHO, "name": _TEXT, "category": _TEXT, "properties": _OBJECT}, []),
    "screen": ({**_WHO, "name": _TEXT, "properties": _OBJECT}, []),
    "group": ({**_WHO, "groupId": _ID, "traits": _OBJECT}, []),
    "alias": ({"userId": _ID, "previousId": _ID}, ["userId", "previousId"]),
}
_REFUSAL = {
    "type": "object", "required": ["success", "code", "message"],
    "properties": {"success": {"const": False}, "code": {"type": "string"}, "message": {"type": "string"}},
}  # fmt: skip
_STORED = {
    "type": "object", "required": ["success"],
    "properties": {"success": {"const": True}, "rejected": {"type": "array", "items": _OBJECT}},
}  # fmt: skip


def _answer(description: str, schema: dict[str, Any] = _REFUSAL) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


ANSWERS: dict[int | str, dict[str, Any]] = {
    200: _answer("Stored, or known already; `rejected` names messages of a batch that were left out.", _STORED),
    400: _answer("Nothing was stored: it is not JSON, or not a call."),
    401: _answer("The write key is missing or unknown."),
    404: _answer("There are no write keys here."),
    408: _answer("The body took too long."),
    413: _answer("More than 500 KB."),
    415: _answer("Packed in another way than gzip."),
    503: _answer("Nothing was stored; post it again."),
}


def call_body(call: str) -> dict[str, Any]:
    """Return the description of one call's body."""
    return _body(_schema(call))


def batch_body() -> dict[str, Any]:
    """Return the description of a batch of calls."""
    calls = []
    for call in _OWN:
        one = _schema(call)
        one["required"] = ["type", *one["required"]]
        one["properties"]["type"] = {"const": call}
        calls.append(one)
    batch = {"type": "array", "items": {"oneOf": calls}}
    return _body({"type": "object", "required": ["batch"], "properties": {**_COMMON, "batch": batch}})


def _schema(call: str) -> dict[str, Any]:
    properties, required = _OWN[call]
    schema: dict[str, Any] = {"type": "object", "required": required, "properties": {**_COMMON, **properties}}
    if "anonymousId" in properties:
        schema["anyOf"] = [{"required": ["userId"]}, {"required": ["anonymousId"]}]
    return schema


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
