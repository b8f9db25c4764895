"""What changed in Salesforce, page by page, in the order of `SystemModstamp` and id.

Each page is a query of its own behind the last record of the one before, so that no query locator has to live on. What
was deleted or merged is asked for as well (`queryAll`), as long as it is in the recycle bin. A change becomes visible
when its transaction ends, with the time at which it was made: the next pull begins some minutes before this one did.

https://developer.salesforce.com/docs/platform/api-rest/guide/resources-queryall.html,
https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/system_fields.htm
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import orjson

from connectors.crm.salesforce_session import Session
from connectors.crm.salesforce_settings import SalesforceSettings
from connectors.crm.salesforce_soql import is_id, moment, query, quoted, written
from connectors.json_bodies import text_in
from evergreet.contracts import CrmContact, CrmPage
from evergreet.errors import DataError, Retryable

PAGE = 2000
"""The most that Salesforce gives at once."""
SYSTEM = ("Id", "SystemModstamp", "IsDeleted", "MasterRecordId", "Email", "HasOptedOutOfEmail")
MOST_NAMED = 300
"""Ids or addresses in one query: its URL may have 16,000 characters."""

_NEVER = datetime(1970, 1, 2, tzinfo=UTC)

Raw: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pull is: behind a record, by its time and id; and when the pull began, by Salesforce's clock.

    Or in the results of a job that reads everything, behind a place of Salesforce's own.
    """

    since: str = ""
    id: str = ""
    began: str = ""
    job: str = ""
    locator: str = ""

    @classmethod
    def read(cls, cursor: str) -> "Place":
        """Read a cursor; raises `DataError`."""
        try:
            found = cls(**orjson.loads(cursor)) if cursor else cls()
            times_are = all(not at or (moment(at) is not None and len(at) == 20) for at in (found.since, found.began))
            if not times_are or (found.id and not (is_id(found.id) and found.since)):
                raise ValueError
            if (found.job or found.locator) and not (
                is_id(found.job) and found.began and isinstance(found.locator, str)
            ):
                raise ValueError
        except (ValueError, TypeError):
            raise DataError("The cursor is none of Salesforce's: begin anew, with an empty one.") from None
        return found

    def __str__(self) -> str:
        return orjson.dumps({name: value for name, value in asdict(self).items() if value}).decode()


def fields_read(settings: SalesforceSettings) -> list[str]:
    """Return all fields of a record that are asked for."""
    return list(dict.fromkeys([*SYSTEM, *settings.fields]))


def changed_since(session: Session, settings: SalesforceSettings, place: Place) -> CrmPage:
    """Return the next page of what changed."""
    where = ""
    if place.since:
        behind = f" AND (SystemModstamp > {place.since} OR Id > {quoted(place.id)})" if place.id else ""
        where = f" WHERE SystemModstamp >= {place.since}{behind}"
    found, now = session.ask("GET", query(
        f"{select(settings)}{where} ORDER BY SystemModstamp, Id LIMIT {PAGE}", deleted=True
    ))  # fmt: skip
    records = records_of(found)
    place = place if place.began else replace(place, began=written(now))
    last = next((raw for raw in reversed(records) if _is_whole(raw)), None)
    more = len(records) >= PAGE or found.get("done") is False
    if more:
        if last is None:
            raise Retryable("Salesforce's answer cannot be read.")
        following = replace(place, since=_changed(last), id=last["Id"])
    else:
        following = next_pull(place, settings)
    return page_of(session, settings, records, following, more=more)


def page_of(
    session: Session, settings: SalesforceSettings, records: Sequence[Any], following: Place, *, more: bool
) -> CrmPage:
    """Return a page with these records, and where to go on."""
    contacts = tuple(_contact(raw, settings) for raw in _with_survivors(session, settings, records))
    return CrmPage(contacts, str(following), more, tuple(_unreadable(raw) for raw in records if not _is_whole(raw)))


def next_pull(place: Place, settings: SalesforceSettings) -> Place:
    """Return where the pull behind this one begins: some minutes before this one did."""
    began = moment(place.began) or _NEVER
    return Place(since=written(began - timedelta(seconds=settings.lag_seconds)))


def records_of(found: Any) -> list[Any]:
    """Return the records of an answer; raises a typed error where it is no such answer."""
    records = found.get("records") if isinstance(found, dict) else None
    if not isinstance(records, list):
        raise Retryable("Salesforce's answer cannot be read.")
    return records


def _with_survivors(session: Session, settings: SalesforceSettings, records: Sequence[Any]) -> list[Raw]:
    """Return the records, and in place of those that were merged what they are in now, with `merged`: their ids."""
    known: dict[str, Raw] = {raw["Id"]: raw for raw in records if _is_whole(raw)}
    read = list(known)
    asked: set[str] = set()
    while missing := {_merged_into(raw) for raw in known.values()} - {""} - known.keys() - asked:
        some = sorted(missing)[:MOST_NAMED]
        asked.update(some)
        named = ", ".join(map(quoted, some))
        found, _ = session.ask("GET", query(f"{select(settings)} WHERE Id IN ({named})", deleted=True))
        known |= {raw["Id"]: raw for raw in records_of(found) if _is_whole(raw)}
    merged: dict[str, list[str]] = {}
    for name in read:
        into = _end_of(name, known)
        merged.setdefault(into, [])
        if into != name:
            merged[into].append(name)
    return [{**known[name], "merged": tuple(taken)} for name, taken in merged.items()]


def _end_of(name: str, known: Mapping[str, Raw]) -> str:
    """Return the record that one is in now; itself where the trail is lost."""
    for _ in known:
        into = _merged_into(known[name])
        if into not in known:
            break
        name = into
    return name


def _contact(raw: Raw, settings: SalesforceSettings) -> CrmContact:
    at = moment(raw["SystemModstamp"])
    assert at is not None  # it is whole
    if raw.get("IsDeleted") is True:
        return CrmContact(raw["Id"], at, deleted=True)
    return CrmContact(
        id=raw["Id"], changed_at=at, email=text_in(raw, "Email").strip(),
        details={name: _value(raw, way) for way, name in settings.fields.items()},
        unsubscribed=raw.get("HasOptedOutOfEmail") is True, merged=raw["merged"],
    )  # fmt: skip


def _value(raw: Raw, way: str) -> Any:
    found: Any = raw
    for name in way.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, (str, int, float)) and found != "" else None


def _merged_into(raw: Raw) -> str:
    into = raw.get("MasterRecordId")
    return into if raw.get("IsDeleted") is True and is_id(into) and isinstance(into, str) else ""


def _is_whole(raw: Any) -> bool:
    return isinstance(raw, dict) and is_id(raw.get("Id")) and moment(raw.get("SystemModstamp")) is not None


def _changed(raw: Raw) -> str:
    at = moment(raw["SystemModstamp"])
    return written(at) if at else ""


def _unreadable(raw: Any) -> tuple[str, str]:
    name = raw.get("Id") if isinstance(raw, dict) else None
    if isinstance(name, str) and is_id(name):
        return name, "It cannot be read when the contact changed."
    return "", "A contact of Salesforce's has no id."


def select(settings: SalesforceSettings) -> str:
    """Return the question for all records, without its conditions."""
    return f"SELECT {', '.join(fields_read(settings))} FROM {settings.object}"
