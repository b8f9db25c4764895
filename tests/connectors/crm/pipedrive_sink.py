"""A local Pipedrive for tests: it holds persons, pages by places in their order, and keeps what is written."""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

from evergreet.contracts import CrmConsent, CrmLastMessage, CrmNote, CrmRecord, CrmStage, CrmTask, Push
from tests.connectors.provider_sink import ProviderSink, Told

Judge = Callable[[str, str, Any], Told | None]
START = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
STAGE, LAST, LAST_AT, NEWS = (digit * 40 for digit in "abcd")
KEYS = [digit * 40 for digit in "abcdef"]


def written(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def refused(status: int, words: str) -> Told:
    return Told(status, {"success": False, "error": words, "code": "ERR_UNKNOWN"})


@dataclass(eq=False)
class PipedriveSink(ProviderSink):
    """Serves at `url` with the token; `judge` may answer a request before it is looked at."""

    origin = "https://api.pipedrive.com"
    token: str
    judge: Judge = lambda method, path, content: None
    persons: dict[int, dict[str, Any]] = field(default_factory=dict)
    notes: list[dict[str, Any]] = field(default_factory=list)
    activities: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.now = START

    def forget(self) -> None:
        """Begin anew, for another test."""
        for one in fields(self):
            if one.default_factory is not MISSING:
                setattr(self, one.name, one.default_factory())
            elif one.name != "token":
                setattr(self, one.name, one.default)
        self.faults, self.now = [], START

    # What happens in Pipedrive

    def add(self, number: int, email: str = "", at: datetime | None = None, **fields: Any) -> None:
        emails = [{"value": email, "primary": True, "label": "work"}] if email else []
        self.persons[number] = {
            "id": number, "emails": emails, "phones": [], "is_deleted": False, "marketing_status": "no_consent",
            "custom_fields": {}, "update_time": written(at or self._tick()), **fields,
        }  # fmt: skip

    def change(self, number: int, **fields: Any) -> None:
        self.persons[number] |= {**fields, "update_time": written(self._tick())}

    def _tick(self) -> datetime:
        assert self.now is not None
        self.now += timedelta(seconds=1)
        return self.now

    def arrived(self) -> list[Push]:
        """Tell what was written, as what it means."""
        pushes: list[Push] = []
        records = {number: CrmRecord(str(number), one["emails"][0]["value"]) for number, one in self.persons.items()}
        for number, one in self.persons.items():
            own = one["custom_fields"]
            if STAGE in own:
                pushes.append(CrmStage(records[number], own[STAGE], START))
            if LAST in own:
                pushes.append(CrmLastMessage(records[number], own[LAST], START))
            if NEWS in own:
                pushes.append(CrmConsent(records[number], own[NEWS] == "yes", START, "news"))
            if one["marketing_status"] == "unsubscribed":
                pushes.append(CrmConsent(records[number], False, START))
        for note in self.notes:
            found = re.fullmatch("<p><b>(.*?)</b></p>(.*)", note["content"])
            assert found
            pushes.append(CrmNote(records[note["person_id"]], "", unescape(found[1]), _plain(found[2]), START))
        for one in self.activities:
            about = records[one["participants"][0]["person_id"]]
            pushes.append(CrmTask(about, "", one["subject"], _plain(one["note"]), START))
        return pushes

    # What is asked

    def take(self, method: str, path: str, headers: dict[str, str], content: bytes) -> Told:
        """Answer one request."""
        body: Any = json.loads(content) if content else None
        self.asked.append((method, path, body))
        if headers.get("x-api-token") != self.token:
            return refused(401, "unauthorized access")
        if told := self.judge(method, path, body):
            return told
        where = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(where.query, strict_parsing=bool(where.query)).items()}
        match method, where.path.strip("/").split("/"):
            case "GET", ["api", "v2", "persons"]:
                return self._list(query)
            case "GET", ["api", "v2", "persons", "search"]:
                return self._search(query)
            case "GET", ["api", "v2", "personFields"]:
                return Told(200, {"success": True, "data": [{"field_code": one} for one in KEYS]})
            case "PATCH", ["api", "v2", "persons", number]:
                return self._update(int(number), body)
            case "POST", ["v1", "notes"]:
                return self._make(self.notes, body, body["person_id"])
            case "POST", ["api", "v2", "activities"]:
                return self._make(self.activities, body, body["participants"][0]["person_id"])
        return Told(404, b"<html>")

    def _list(self, query: dict[str, str]) -> Told:
        if int(query.get("limit", 100)) > 500 or len(query.get("custom_fields", "").split(",")) > 15:
            self.faults.append(f"a list of {query}")
        named = query.get("ids")
        found = sorted(
            (one["update_time"], number) for number, one in self.persons.items()
            if not one["is_deleted"] and one["update_time"] >= query.get("updated_since", "")
            and (named is None or str(number) in named.split(","))
        )  # fmt: skip
        if "cursor" in query:
            place = json.loads(urlsafe_b64decode(query["cursor"]))
            found = [one for one in found if one >= (place["fieldValue"], place["id"])]
        limit = int(query.get("limit", 100))
        page = [self._shown(number, query) for _, number in found[:limit]]
        following = None
        if len(found) > limit:
            at, number = found[limit]
            place = {"field": "update_time", "fieldValue": at, "sortDirection": "asc", "id": number}
            following = urlsafe_b64encode(json.dumps(place).encode()).decode()
        return Told(200, {"success": True, "data": page, "additional_data": {"next_cursor": following}})

    def _shown(self, number: int, query: dict[str, str]) -> dict[str, Any]:
        person = dict(self.persons[number])
        if query.get("include_fields") != "marketing_status":
            del person["marketing_status"]
        if keys := query.get("custom_fields"):
            person["custom_fields"] = {key: person["custom_fields"].get(key) for key in keys.split(",")}
        return person

    def _search(self, query: dict[str, str]) -> Told:
        if (query["fields"], query["exact_match"]) != ("email", "true"):
            self.faults.append(f"a search of {query}")
        items = [
            {"result_score": 0.3, "item": {"id": number, "emails": [each["value"] for each in one["emails"]]}}
            for number, one in self.persons.items()
            if query["term"].lower() in [each["value"].lower() for each in one["emails"]]
        ]  # fmt: skip
        return Told(200, {"success": True, "data": {"items": items}, "additional_data": {"next_cursor": None}})

    def _update(self, number: int, body: dict[str, Any]) -> Told:
        person = self.persons.get(number)
        if person is None or person["is_deleted"]:
            return refused(404, "Person not found.")
        if "bad" in body.get("custom_fields", {}).values():
            return refused(400, "Validation failed for ada@customer.example")
        self.change(number, **{**body, "custom_fields": {**person["custom_fields"], **body.get("custom_fields", {})}})
        return Told(200, {"success": True, "data": {"id": number}})

    def _make(self, held: list[dict[str, Any]], body: dict[str, Any], number: int) -> Told:
        if number not in self.persons:
            return refused(404, "Person not found.")
        held.append(body)
        return Told(201, {"success": True, "data": {"id": 100 + len(held)}})


def _plain(html: str) -> str:
    return unescape(html.replace("</p><p>", "\n").removeprefix("<p>").removesuffix("</p>"))
