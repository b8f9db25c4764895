"""A local SendGrid that keeps lists of addresses, as its description and its pages say; it knows nothing of ours."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.connectors.provider_sink import ProviderSink, Told

PAGED = ("bounces", "blocks", "invalid_emails", "spam_reports", "unsubscribes")


class Lists(ProviderSink):
    """Answers for what is in `lists` (by the last part of the path) and `groups`.

    `told` goes first: answers by the number of the request. `asked` is what was asked for: path and query.
    """

    origin = "https://api.sendgrid.com"

    def __init__(self, key: str, spec: Path | None = None) -> None:
        super().__init__(spec)
        self.key = key
        self.lists: dict[str, list[dict[str, Any]]] = {name: [] for name in PAGED}
        self.groups: list[dict[str, Any]] = []
        self.told: dict[int, Told] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []

    def take(self, method: str, path: str, headers: dict[str, str], content: bytes) -> Told:
        """Answer one request."""
        where, query = urlsplit(path).path, dict(parse_qsl(urlsplit(path).query))
        self.asked.append((where, query))
        self.is_described(method, path, headers, content)
        if headers.get("authorization") != f"Bearer {self.key}":
            return Told(401, {"errors": [{"field": None, "message": "authorization required"}]})
        if answer := self.told.pop(len(self.asked), None):
            return answer
        if where == "/v3/asm/suppressions":
            return Told(200, self.groups)
        found = [
            entry
            for entry in self.lists[where.rpartition("/")[2]]
            if int(query.get("start_time", 0)) <= entry["created"] <= int(query.get("end_time", 2**40))
        ]
        start = int(query.get("offset", 0))
        return Told(200, json.dumps(found[start : start + int(query.get("limit", 500))]).encode())
