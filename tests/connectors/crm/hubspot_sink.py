"""A local HubSpot for tests: it holds contacts, and does with them what its documentation says.

A request is judged by the descriptions made from HubSpot's own package, and by limits that stand only in prose: 100
records in a batch, 200 in a page of a search, 10,000 in all of them, one sort.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from evergreet.contracts import CrmConsent, CrmLastMessage, CrmNote, CrmRecord, CrmStage, CrmTask, Push
from tests.connectors.provider_sink import ProviderSink, Told, description

Judge = Callable[[str, str, Any], Told | None]
START = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
STAGES = ["subscriber", "lead", "opportunity", "customer", "evangelist"]
NOT_FOUND = "Could not get some CONTACT objects, they may be deleted or not exist. Check that ids are valid."
SPECS = {
    "/crm/v3/objects/contacts": "crm_contacts",
    "/crm/v3/objects/": "crm_objects",
    "/crm/v3/properties/": "crm_properties",
    "/crm/v3/lists/": "crm_lists",
    "/communication-preferences/": "communication_preferences",
    "/events/v3/send": "events_send",
}


LIKE: dict[str, Callable[[int, int], bool]] = {"GTE": int.__ge__, "GT": int.__gt__, "EQ": int.__eq__}


@cache
def milliseconds(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def written(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Contact:
    """A contact in HubSpot; `indexed`: when the search says that it changed."""

    properties: dict[str, str]
    changed: datetime
    indexed: datetime | None = None
    archived: datetime | None = None

    def shown(self, number: int, names: list[str]) -> dict[str, Any]:
        own = {**self.properties, "hs_object_id": str(number), "lastmodifieddate": written(self.changed)}
        return {
            "id": str(number), "createdAt": "2026-01-01T00:00:00Z", "updatedAt": written(self.changed),
            "archived": self.archived is not None, **({"archivedAt": written(self.archived)} if self.archived else {}),
            "properties": {name: own.get(name) for name in names},
        }  # fmt: skip


@dataclass
class ContactList:
    """A list in HubSpot; `size` is what it says of it where that is not so."""

    members: set[int] = field(default_factory=set)
    kind: str = "MANUAL"
    state: str = "COMPLETE"
    about: str = "0-1"
    size: int | None = None

    def shown(self, number: str) -> dict[str, Any]:
        return {
            "listId": number, "listVersion": 1, "name": f"List {number}", "objectTypeId": self.about,
            "processingType": self.kind, "processingStatus": self.state,
            "size": len(self.members) if self.size is None else self.size,
        }  # fmt: skip


@dataclass(eq=False)
class HubSpotSink(ProviderSink):
    """Serves at `url` with the token; `judge` may answer a request before it is looked at."""

    origin = "https://api.hubapi.com"
    token: str
    specs: Path | None = None
    judge: Judge = lambda method, path, content: None
    contacts: dict[int, Contact] = field(default_factory=dict)
    made: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"notes": [], "tasks": []})
    subscribed: dict[tuple[str, str], str] = field(default_factory=dict)
    lists: dict[str, ContactList] = field(default_factory=dict)
    events: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    types: tuple[str, ...] = ("101", "102")
    unknown: set[str] = field(default_factory=set)
    kinds: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.now = START

    def forget(self) -> None:
        """Begin anew, for another test."""
        for one in fields(self):
            if one.default_factory is not MISSING:
                setattr(self, one.name, one.default_factory())
            elif one.name not in {"specs", "client_id", "client_secret", "token"}:
                setattr(self, one.name, one.default)
        self.faults, self.now = [], START

    # What happens in HubSpot

    def add(self, number: int, email: str = "", at: datetime | None = None, **properties: str) -> None:
        held = {**({"email": email} if email else {}), **properties}
        self.contacts[number] = Contact(held, at or self._tick())

    def change(self, number: int, **properties: str) -> None:
        contact = self.contacts[number]
        contact.properties |= properties
        contact.changed = self._tick()

    def archive(self, number: int) -> None:
        self.contacts[number].archived = self._tick()

    def _tick(self) -> datetime:
        assert self.now is not None
        self.now += timedelta(seconds=1)
        return self.now

    def arrived(self, stages: dict[str, str], topics: dict[str, str]) -> list[Push]:
        """Tell what was written, as what it means; `stages` and `topics` by their names here."""
        pushes: list[Push] = []
        records = {str(number): self._record(number) for number in self.contacts}
        for number, contact in self.contacts.items():
            record, held = records[str(number)], contact.properties
            if held.get("lifecyclestage"):
                pushes.append(CrmStage(record, stages[held["lifecyclestage"]], START))
            if held.get("evergreet_last_message"):
                pushes.append(CrmLastMessage(record, held["evergreet_last_message"], START))
            states = {one: self.subscribed.get((record.email, one)) for one in self.types}
            pushes += [
                CrmConsent(record, states[one] == "SUBSCRIBED", START, topics[one]) for one in topics if states[one]
            ]
            if set(states.values()) == {"NOT_SUBSCRIBED"}:
                pushes.append(CrmConsent(record, False, START))
        for one in self.made["notes"]:
            title, text = re.fullmatch("<p><strong>(.*?)</strong></p>(.*)", one["properties"]["hs_note_body"]).groups()  # type: ignore[union-attr]
            about = records[one["associations"][0]["to"]["id"]]
            pushes.append(CrmNote(about, "", unescape(title), _plain(text), START))
        for one in self.made["tasks"]:
            about, told = records[one["associations"][0]["to"]["id"]], one["properties"]
            pushes.append(CrmTask(about, "", told["hs_task_subject"], _plain(told["hs_task_body"]), START))
        return pushes

    def _record(self, number: int) -> CrmRecord:
        return CrmRecord(str(number), self.contacts[number].properties.get("email", ""))

    # What is asked

    def take(self, method: str, path: str, headers: dict[str, str], content: bytes) -> Told:
        """Answer one request."""
        body: Any = json.loads(content) if content else None
        self.asked.append((method, path, body))
        if headers.get("authorization") != f"Bearer {self.token}":
            return Told(401, {"status": "error", "message": "Authentication credentials not found.",
                              "category": "INVALID_AUTHENTICATION", "correlationId": "x"})  # fmt: skip
        if told := self.judge(method, path, body):
            return told
        if self.specs is not None:
            name = next(name for prefix, name in SPECS.items() if path.startswith(prefix))
            self._description = description(self.specs / f"{name}.json")
            self.is_described(method, path, headers, content)
        where = urlsplit(path)
        match method, where.path.removeprefix("/crm/v3/").split("/"):
            case "POST", ["objects", "contacts", "search"]:
                return self._search(body)
            case "GET", ["objects", "contacts"]:
                return self._list(parse_qs(where.query))
            case "POST", ["objects", "contacts", "batch", "read"]:
                return self._read(body)
            case "POST", ["objects", "contacts", "batch", "update"]:
                return self._update(body)
            case "POST", ["objects", "notes" | "tasks" as kind, "batch", "create"]:
                return self._make(kind, body)
            case "POST", ["properties", "contacts", "batch", "read"]:
                known = [one["name"] for one in body["inputs"] if one["name"] not in self.unknown]
                return self._batch([{"name": name, **self.kinds.get(name, {"type": "string"})} for name in known], [])
            case "POST", ["", "events", "v3", "send", "batch"]:
                return self._occur(body["inputs"])
            case _, ["lists", number, *rest]:
                return self._list_of(number, rest, body, parse_qs(where.query))
        return self._preferences(method, where.path, body)

    def _occur(self, inputs: list[dict[str, Any]]) -> Told:
        if not 1 <= len(inputs) <= 500:
            self.faults.append(f"a batch of {len(inputs)} events")
        for one in inputs:
            if one["eventName"] not in self.events:
                unknown = {"eventName": [one["eventName"]]}
                return Told(400, {"category": "VALIDATION_ERROR", "message": "No event definition", "context": unknown})
            if any(len(value) > 256 for value in one["properties"].values()):
                return _wrong("VALIDATION_ERROR", "A property value is too long")
        for one in inputs:
            self.events[one["eventName"]].setdefault(one["uuid"], one)  # "the first will be accepted"
        return Told(204, b"")

    def _list_of(self, number: str, rest: list[str], body: Any, query: dict[str, list[str]]) -> Told:
        found = self.lists.get(number)
        if found is None:
            return Told(404, {"status": "error", "message": f"List does not exist with ID {number}.",
                              "correlationId": "x", "category": "OBJECT_NOT_FOUND"})  # fmt: skip
        match rest:
            case []:
                return Told(200, {"list": found.shown(number)})
            case ["memberships"]:
                if not 1 <= (limit := int(query.get("limit", ["100"])[0])) <= 250:
                    self.faults.append(f"a page of {limit} members")
                last = int(b64decode(query["after"][0])) if "after" in query else 0
                following = sorted(member for member in found.members if member > last)
                page = following[:limit]
                results = [{"recordId": str(one), "membershipTimestamp": written(START)} for one in page]
                more = {"next": {"after": b64encode(str(page[-1]).encode()).decode()}} if following[limit:] else {}
                return Told(
                    200, {"total": len(found.members), "results": results, **({"paging": more} if more else {})}
                )
            case ["memberships", "add" | "remove" as word]:
                if found.kind == "DYNAMIC":
                    return _wrong("VALIDATION_ERROR", "Memberships of a DYNAMIC list cannot be changed")
                asked = {int(one) for one in body}
                missing = {one for one in asked if self._number(str(one), None) is None}
                there = asked - missing
                changed = there - found.members if word == "add" else there & found.members
                found.members = found.members | there if word == "add" else found.members - there
                return Told(200, {
                    "recordsIdsAdded": [str(one) for one in sorted(changed)] if word == "add" else [],
                    "recordIdsRemoved": [str(one) for one in sorted(changed)] if word == "remove" else [],
                    "recordIdsMissing": [str(one) for one in sorted(missing)],
                })  # fmt: skip
        return Told(405, b"")

    def _search(self, body: dict[str, Any]) -> Told:
        if body.get("limit", 10) > 200 or len(body["sorts"]) > 1 or int(body.get("after", 0)) + 200 > 10_000:
            self.faults.append(f"a search of {body}")
        ((order, *_), (group, *_)) = body["sorts"], body["filterGroups"]
        filters = [(one["propertyName"], LIKE[one["operator"]], int(one["value"])) for one in group["filters"]]
        found = []
        for number, contact in self.contacts.items():
            values = {"hs_object_id": number, "lastmodifieddate": milliseconds(contact.indexed or contact.changed)}
            if contact.archived is None and all(is_like(values[name], value) for name, is_like, value in filters):
                found.append((values[order], number))
        # Of those that sort alike the younger ones come first: nobody promises another order.
        found.sort(key=lambda one: (one[0], -one[1]))
        start, limit = int(body.get("after", 0)), body.get("limit", 10)
        page = [self.contacts[number].shown(number, body["properties"]) for _, number in found[start : start + limit]]
        return Told(200, {"total": len(found), "results": page, **_paging(start + limit, len(found))})

    def _list(self, query: dict[str, list[str]]) -> Told:
        assert query["archived"][0].lower() == "true"
        gone = sorted(number for number, contact in self.contacts.items() if contact.archived)
        start, limit = int(query.get("after", ["0"])[0]), int(query["limit"][0])
        if limit > 100:
            self.faults.append(f"a list of {limit}")
        page = [self.contacts[number].shown(number, query["properties"]) for number in gone[start : start + limit]]
        return Told(200, {"results": page, **_paging(start + limit, len(gone))})

    def _read(self, body: dict[str, Any]) -> Told:
        names = self._names(body["inputs"])
        found, missing = [], []
        for name in names:
            number = self._number(name, body.get("idProperty"))
            if number is None:
                missing.append(name)
            else:
                found.append(self.contacts[number].shown(number, body["properties"]))
        return self._batch(found, missing)

    def _number(self, name: str, by: str | None) -> int | None:
        for number, contact in self.contacts.items():
            emails = f"{contact.properties.get('email', '')};{contact.properties.get('hs_additional_emails', '')}"
            if contact.archived is None and name in (emails.split(";") if by == "email" else [str(number)]):
                return number
        return None

    def _update(self, body: dict[str, Any]) -> Told:
        names = self._names(body["inputs"])
        if len(set(names)) < len(names):
            return _wrong("VALIDATION_ERROR", "Duplicate IDs found in batch input")
        for one in body["inputs"]:
            for name, value in one["properties"].items():
                if name in self.unknown:
                    problem = {"isValid": False, "error": "PROPERTY_DOESNT_EXIST", "name": name}
                    return _wrong("VALIDATION_ERROR", f"Property values were not valid: [{json.dumps(problem)}]")
                if name == "lifecyclestage" and value not in STAGES:
                    return _wrong("VALIDATION_ERROR", f"{value} was not one of the allowed options")
        done, missing = [], []
        for one in body["inputs"]:
            number = self._number(one["id"], one.get("idProperty"))
            if number is None:
                missing.append(one["id"])
                continue
            properties = dict(one["properties"])
            had = self.contacts[number].properties.get("lifecyclestage")
            if had and STAGES.index(properties.get("lifecyclestage", had)) < STAGES.index(had):
                properties["lifecyclestage"] = had
            self.change(number, **properties)
            done.append(self.contacts[number].shown(number, [*properties, "hs_object_id"]))
        return self._batch(done, missing)

    def _make(self, kind: str, body: dict[str, Any]) -> Told:
        self._names([{"id": one["objectWriteTraceId"]} for one in body["inputs"]])
        done, errors = [], []
        for one in body["inputs"]:
            ((about, *_),) = [one["associations"]]
            if about["types"] != [{"associationCategory": "HUBSPOT_DEFINED",
                                   "associationTypeId": {"notes": 202, "tasks": 204}[kind]}]:  # fmt: skip
                self.faults.append(f"associations {about}")
            if self._number(about["to"]["id"], None) is None:
                errors.append({"status": "error", "category": "VALIDATION_ERROR", "message": "No such CONTACT",
                               "context": {"objectWriteTraceId": [one["objectWriteTraceId"]]}, "errors": [],
                               "links": {}})  # fmt: skip
                continue
            self.made[kind].append(one)
            number = f"{len(self.made[kind])}00"
            done.append({**one, "id": number, "createdAt": written(START), "updatedAt": written(START)})
        return self._batch(done, [], errors, status=201)

    def _preferences(self, method: str, path: str, body: Any) -> Told:
        match method, path.removeprefix("/communication-preferences/v3/").split("/"):
            case "GET", ["definitions"]:
                listed = [{"id": one, "name": one, "description": "", "isActive": True, "isDefault": False,
                           "isInternal": False, "createdAt": "2026-01-01T00:00:00Z",
                           "updatedAt": "2026-01-01T00:00:00Z"} for one in self.types]  # fmt: skip
                return Told(200, {"subscriptionDefinitions": listed})
            case "GET", ["status", "email", email]:
                listed = [{"id": one, "status": self.subscribed.get((unquote(email), one), "NOT_SUBSCRIBED"),
                           "name": one, "description": "", "sourceOfStatus": "SUBSCRIPTION_STATUS"}
                          for one in self.types]  # fmt: skip
                return Told(200, {"recipient": unquote(email), "subscriptionStatuses": listed})
            case "POST", ["subscribe" | "unsubscribe" as word]:
                key = (body["emailAddress"], body["subscriptionId"])
                state = "SUBSCRIBED" if word == "subscribe" else "NOT_SUBSCRIBED"
                if self.subscribed.get(key) == state:
                    return _wrong("VALIDATION_ERROR", f"{key[0]} is already {word}d for subscription {key[1]}")
                if word == "subscribe" and key in self.subscribed:
                    return _wrong("VALIDATION_ERROR", f"{key[0]} has opted out and cannot be subscribed")
                self.subscribed[key] = state
                return Told(200, {"id": key[1], "name": "", "description": "", "status": state})
        return Told(404, b"<html>")

    def _names(self, inputs: list[dict[str, Any]]) -> list[str]:
        names = [one["id"] for one in inputs]
        if not 1 <= len(names) <= 100:
            self.faults.append(f"a batch of {len(names)}")
        return names

    def _batch(self, found: list[Any], missing: list[str], errors: list[Any] | None = None, status: int = 200) -> Told:
        errors = list(errors or [])
        if missing:
            errors.append({"status": "error", "category": "OBJECT_NOT_FOUND", "message": NOT_FOUND,
                           "context": {"ids": missing}})  # fmt: skip
        told = {"status": "COMPLETE", "results": found, "startedAt": written(START), "completedAt": written(START)}
        return Told(207, {**told, "numErrors": len(errors), "errors": errors}) if errors else Told(status, told)


def _plain(html: str) -> str:
    return unescape(html.replace("</p><p>", "\n").removeprefix("<p>").removesuffix("</p>"))


def _paging(following: int, total: int) -> dict[str, Any]:
    return {"paging": {"next": {"after": str(following), "link": "x"}}} if following < total else {}


def _wrong(category: str, message: str) -> Told:
    return Told(400, {"status": "error", "message": message, "category": category, "correlationId": "x"})
