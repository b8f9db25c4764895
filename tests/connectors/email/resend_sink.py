"""A local Resend for tests: it takes what the vendor's description allows, and does what comes with one key once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.connectors.provider_sink import ProviderSink, Told

Judge = Callable[[list[dict[str, Any]]], Told | None]


class ResendSink(ProviderSink):
    """Takes batches at `url` with the key; `judge` may say what is answered to one that breaks no rule."""

    origin = "https://api.resend.com"

    def __init__(self, key: str, spec: Path | None = None) -> None:
        super().__init__(spec)
        self.key = key
        self.judge: Judge = lambda batch: None
        self.listed: Told = Told(200, {"object": "list", "data": []})
        self.suppressed: list[dict[str, Any]] = []
        self.pages: list[dict[str, str]] = []
        self.mails: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.answers: dict[str, tuple[bytes, Told]] = {}

    def take(self, method: str, path: str, headers: dict[str, str], content: bytes) -> Told:
        """Answer one request."""
        if headers.get("authorization") != f"Bearer {self.key}":
            return Told(401, {"statusCode": 401, "name": "invalid_api_key", "message": "API key is invalid"})
        if (method, path) == ("GET", "/emails?limit=1"):
            return self.listed
        where = urlsplit(path)
        if (method, where.path) == ("GET", "/suppressions"):
            return self._page(dict(parse_qsl(where.query)))
        if (method, path) != ("POST", "/emails/batch"):
            return Told(404, {"statusCode": 404, "name": "not_found", "message": "not found"})
        key = headers.get("idempotency-key", "")
        if not 0 < len(key) <= 256:
            self.faults.append(f"key {key!r}")
        self.keys.append(key)
        if key in self.answers:
            known, told = self.answers[key]
            if known != content:
                return Told(409, {"statusCode": 409, "name": "invalid_idempotent_request", "message": "other"})
            return told
        told = self._batch(headers, content)
        if told.status == 200:
            self.answers[key] = content, told
        return told

    def _page(self, asked: dict[str, str]) -> Told:
        """Answer a question for a page of the list, as its documentation and its package have it."""
        self.pages.append(asked)
        if told := self.judge([]):
            return told
        if not asked.keys() <= {"limit", "after", "origin"} or not 1 <= int(asked["limit"]) <= 100:
            self.faults.append(f"page {asked}")
        names = [one["id"] for one in self.suppressed]
        start = names.index(asked["after"]) + 1 if "after" in asked else 0
        page = self.suppressed[start : start + int(asked["limit"])]
        more = start + len(page) < len(names)
        return Told(200, {"object": "list", "has_more": more, "data": page})

    def _batch(self, headers: dict[str, str], content: bytes) -> Told:
        self.is_described("POST", "/emails/batch", headers, content)
        batch = json.loads(content)
        if not 1 <= len(batch) <= 100:
            self.faults.append(f"{len(batch)} messages")
        for mail in batch:
            if not mail["to"] or not mail["subject"] or not (mail.get("html") or mail.get("text")):
                self.faults.append("an empty field")
        if told := self.judge(batch):
            return told
        start = len(self.mails)
        self.mails += batch
        return Told(200, {"data": [{"id": f"re-{start + place}"} for place in range(len(batch))]})
