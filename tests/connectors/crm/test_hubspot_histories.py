"""Many histories of a HubSpot whose search lags behind: in the end the last state of each contact has been told."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.crm import hubspot_changes
from connectors.crm.hubspot_changes import changed_since
from connectors.crm.hubspot_reading import milliseconds
from connectors.crm.hubspot_settings import HubSpotSettings

LAG = 10
"""Seconds; the index is up to nine behind."""
CONTACTS = 60
SETTINGS = HubSpotSettings.model_validate({"token": "pat", "lag_seconds": LAG, "deletions_minutes": 10_000})
IS_LIKE = {"GTE": int.__ge__, "GT": int.__gt__, "EQ": int.__eq__}


class Lagging:
    """Answers searches from an index that learns of a change late; with `hydrates` it shows contacts as they are."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.hydrates = self.chance.random() < 0.7
        self.now = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
        self.states: dict[int, tuple[datetime, int]] = {}
        self.index: dict[int, tuple[datetime, int]] = {}
        self.waiting: list[tuple[datetime, int, tuple[datetime, int]]] = []
        self.is_quiet = False

    def touch(self, number: int) -> None:
        at = self.now.replace(microsecond=self.now.microsecond // 1000 * 1000)
        self.states[number] = (at, self.states.get(number, (at, 0))[1] + 1)
        self.waiting.append(
            (self.now + timedelta(seconds=self.chance.uniform(0, LAG - 1.5)), number, self.states[number])
        )

    def goes_on(self, seconds: float = 0) -> None:
        pause = self.chance.choice([0, 0, 1, 5, 200, 1500])
        self.now += timedelta(seconds=seconds) if seconds else timedelta(milliseconds=pause)
        for due in [one for one in self.waiting if one[0] <= self.now]:
            self.waiting.remove(due)
            self.index[due[1]] = max(due[2], self.index.get(due[1], due[2]))

    def lives(self, steps: int) -> None:
        for _ in range(0 if self.is_quiet else steps):
            if self.chance.random() < 0.4:
                self.touch(self.chance.randrange(1, CONTACTS))
            self.goes_on()

    def asked(self, _: Any, method: str, path: str, body: Any = None) -> tuple[Mapping[str, Any], datetime]:
        """Answer as `hubspot_answers.asked` does."""
        assert (method, path) == ("POST", "/crm/v3/objects/contacts/search")
        self.lives(self.chance.choice([0, 0, 1, 3]))
        found = []
        for number, (at, version) in self.index.items():
            values = {"hs_object_id": number, "lastmodifieddate": milliseconds(at)}
            filters = body["filterGroups"][0]["filters"]
            if all(IS_LIKE[one["operator"]](values[one["propertyName"]], int(one["value"])) for one in filters):
                order = self.chance.random()  # nobody promises one among those that sort alike
                found.append((values[body["sorts"][0]], order, number, (at, version)))
        found.sort()
        start = int(body.get("after", 0))
        assert start + hubspot_changes.PAGE <= hubspot_changes.MOST
        results = []
        for _key, _order, number, indexed in found[start : start + hubspot_changes.PAGE]:
            at, version = self.states[number] if self.hydrates else indexed
            told = {"lastmodifieddate": at.isoformat(timespec="milliseconds"), "firstname": str(version)}
            results.append({"id": str(number), "properties": told})
        behind = start + hubspot_changes.PAGE
        paging = {"paging": {"next": {"after": str(behind)}}} if behind < len(found) else {}
        return {"total": len(found), "results": results, **paging}, self.now.replace(microsecond=0)


def test_each_last_state_is_told_whatever_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubspot_changes, "PAGE", 5)
    monkeypatch.setattr(hubspot_changes, "MOST", 40)
    for seed in range(40):
        there = Lagging(seed)
        monkeypatch.setattr(hubspot_changes, "asked", there.asked)
        told: dict[int, int] = {}
        cursor = ""
        for number in range(1, there.chance.randrange(10, CONTACTS)):  # some of them in one millisecond
            there.touch(number)
            if there.chance.random() < 0.4:
                there.goes_on()
        for _ in range(there.chance.randrange(2, 6)):
            cursor = pull(cursor, told)
            there.lives(there.chance.randrange(30))
        there.is_quiet = True
        for _ in range(3):
            there.goes_on(4 * LAG)
            cursor = pull(cursor, told)
        assert told == {number: version for number, (_, version) in there.states.items()}, seed


def pull(cursor: str, told: dict[int, int]) -> str:
    """Pull to the end, and keep the newest state that was told of each contact."""
    for _ in range(300):
        page = changed_since(None, SETTINGS, {}, cursor)  # type: ignore[arg-type] # who asks is replaced
        for contact in page.contacts:
            told[int(contact.id)] = max(told.get(int(contact.id), 0), int(contact.details["first_name"]))
        assert not (page.more and page.cursor == cursor)
        cursor = page.cursor
        if not page.more:
            return cursor
    raise AssertionError("it reads for ever")
