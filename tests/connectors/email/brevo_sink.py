"""A local Brevo for tests: it takes what the vendor's description and its pages allow, and each key once.

It reads versions as its pages say: what one does not say itself comes from the request.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from tests.connectors.provider_sink import ProviderSink, Told

Judge = Callable[[list[dict[str, Any]]], Told | None]
VERSION = {"to", "cc", "bcc", "replyTo", "subject", "htmlContent", "textContent", "params", "headers"}
REQUEST = VERSION | {"sender", "tags", "messageVersions", "attachment", "scheduledAt", "batchId", "templateId"}
PLACEHOLDER = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)


def problem(status: int, code: str, message: str = "no") -> Told:
    return Told(status, {"code": code, "message": message})


class BrevoSink(ProviderSink):
    """Takes requests at `url` with the key; `judge` may say what is answered to one that breaks no rule."""

    origin = "https://api.brevo.com"

    def __init__(self, key: str, spec: Path | None = None) -> None:
        super().__init__(spec)
        self.key = key
        self.judge: Judge = lambda mails: None
        self.account: Told = Told(
            200,
            {"organization_id": "o", "user_id": 1, "enterprise": False, "email": "a@shop.com", "firstName": "A",
             "lastName": "B", "companyName": "Fernway", "relay": {"enabled": True, "data": {}}, "plan": [],
             "address": {"street": "1", "city": "B", "zipCode": "1", "country": "DE"}},
        )  # fmt: skip
        self.blocked: list[dict[str, Any]] = []
        self.pages: list[dict[str, str]] = []
        self.asked: list[dict[str, Any]] = []
        self.mails: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.sizes: list[int] = []

    def take(self, method: str, path: str, headers: dict[str, str], content: bytes) -> Told:
        """Answer one request."""
        if headers.get("api-key") != self.key:
            return problem(401, "unauthorized", "Key not found")
        if (method, path) == ("GET", "/v3/account"):
            return self.account
        where = urlsplit(path)
        if (method, where.path) == ("GET", "/v3/smtp/blockedContacts"):
            self.is_described("GET", path, headers, None)
            return self._blocked(dict(parse_qsl(where.query)))
        if (method, path) != ("POST", "/v3/smtp/email"):
            return problem(404, "document_not_found")
        self.is_described("POST", path, headers, content)
        asked = json.loads(content)
        key = asked.get("headers", {}).get("idempotencyKey", "")
        if headers.get("idempotencykey") != key or UUID(key).version != 4:
            self.faults.append(f"keys {key!r} and {headers.get('idempotencykey')!r}")
        self.keys.append(key)
        if key in self.keys[:-1]:
            return problem(400, "duplicate_parameter", "idempotencyKey is already used")
        return self._request(asked)

    def _blocked(self, asked: dict[str, str]) -> Told:
        self.pages.append(asked)
        if told := self.judge([]):
            return told
        if ("startDate" in asked) != ("endDate" in asked) or not 0 <= int(asked.get("limit", "50")) <= 100:
            return problem(400, "invalid_parameter")
        first, last = asked.get("startDate", ""), asked.get("endDate", "9")
        listed = [one for one in self.blocked if first <= one["blockedAt"][:10] <= last]
        listed.sort(key=lambda one: one["blockedAt"], reverse=asked.get("sort") != "asc")
        start = int(asked.get("offset", "0"))
        return Told(200, {"count": len(listed), "contacts": listed[start : start + int(asked.get("limit", "50"))]})

    def _request(self, asked: dict[str, Any]) -> Told:
        self.asked.append(asked)
        versions = asked.get("messageVersions")
        mails = [{**asked, **version} for version in versions] if versions else [asked]
        self.sizes.append(len(mails))
        if not set(asked) <= REQUEST or not 1 <= len(mails) <= 1000 or (versions and "to" in asked):
            self.faults.append(f"{sorted(asked)} with {len(mails)} messages")
        for version in versions or []:
            if not set(version) <= VERSION:
                self.faults.append(f"a version with {sorted(version)}")
        for mail in mails:
            people = [*mail["to"], mail["sender"], *([mail["replyTo"]] if "replyTo" in mail else [])]
            parts = [mail["subject"], mail["htmlContent"], mail["textContent"]]
            if (
                len(mail["to"]) != 1
                or not all(parts)
                or any(PLACEHOLDER.search(part) for part in parts)
                or any(len(person.get("name", "x")) not in range(1, 71) for person in people)
                or not "".join(f"{name}{value}" for name, value in mail["headers"].items()).isascii()
            ):
                self.faults.append(f"not to be sent: {mail}")
        if told := self.judge(mails):
            return told
        start = len(self.mails)
        self.mails += mails
        names = [f"<{start + place}.1@smtp-relay.mailin.fr>" for place in range(len(mails))]
        return Told(201, {"messageIds": names} if versions else {"messageId": names[0]})
