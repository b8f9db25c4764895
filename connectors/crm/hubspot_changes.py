"""What changed in HubSpot, page by page, by its search: https://developers.hubspot.com/docs/api-reference/crm-search-v3.

A search gives 200 contacts a page and 10,000 in all. So each page is a search of its own, from the moment of the last
contact that is certain; contacts of one millisecond that fill a page are told apart by their ids. What changed lately
may not be in the index yet, or stand in it with an older moment than it has: nothing within the lag counts as certain,
and the next pull begins there.

Search knows no deleted contacts. They have a list of their own, which has no order: it is read through now and then.
So are the lists of an account that the settings name (`hubspot_lists`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from urllib.parse import quote

import orjson

from connectors.calling import Caller
from connectors.crm.hubspot_answers import asked, next_of, results_of
from connectors.crm.hubspot_lists import read_page
from connectors.crm.hubspot_reading import (
    CHANGED,
    NEVER,
    NUMBER,
    Kinds,
    changed,
    is_id,
    milliseconds,
    moment,
    properties_read,
    read_contacts,
)
from connectors.crm.hubspot_settings import HubSpotSettings
from connectors.json_bodies import text_in
from evergreet.contracts import CrmContact, CrmMembers, CrmPage
from evergreet.errors import DataError, Misconfigured, Permanent, Retryable

CONTACTS = "/crm/v3/objects/contacts"
PAGE = 200
"""The most that one page of a search holds; of a list it is 100."""
MOST = 10_000
LAST = 4_102_444_800_000
"""The year 2100, in milliseconds."""

Raw: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pull is; times are milliseconds since 1970 of HubSpot's clock.

    `since`: contacts that changed before it have been told. `tied`: of those of just that millisecond, up to this id.
    `skip`: so many of the search from there have been told, none of them certain. `began`: when this pull did; 0
    between two. `gone`: when the list of the deleted was last read; `listed` is how far it is read now. `lists`: when
    those of the settings were; `list` is the one that is read now, told up to that `member`, `after` where to go on.
    """

    since: int = 0
    tied: int | None = None
    skip: str = ""
    began: int = 0
    gone: int = 0
    listed: str | None = None
    lists: int = 0
    list: str | None = None
    member: int = 0
    after: str = ""

    @classmethod
    def read(cls, cursor: str) -> "Place":
        """Read a cursor; raises `DataError`."""
        if not cursor:
            return cls()
        try:
            found = cls(**orjson.loads(cursor))
            kinds = (int, int | None, str, int, int, str | None, int, str | None, int, str)
            if not all(isinstance(value, kind) for value, kind in zip(asdict(found).values(), kinds, strict=True)):
                raise TypeError
            if not all(0 <= at <= LAST for at in (found.since, found.began, found.gone, found.lists)):
                raise ValueError
        except (ValueError, TypeError):
            raise DataError("The cursor is none of HubSpot's: begin anew, with an empty one.") from None
        return found

    def __str__(self) -> str:
        plain = asdict(Place())
        return orjson.dumps({name: value for name, value in asdict(self).items() if value != plain[name]}).decode()


def changed_since(caller: Caller, settings: HubSpotSettings, kinds: Kinds, cursor: str) -> CrmPage:
    """Return the next page of what changed."""
    place = Place.read(cursor)
    if place.listed is not None:
        return _deleted(caller, settings, place)
    if place.list is not None:
        return _members(caller, settings, place)
    content, now = asked(caller, "POST", f"{CONTACTS}/search", _search(place, settings))
    results, more = results_of(content), next_of(content)
    place = place if place.began else replace(place, began=milliseconds(now), gone=place.gone or milliseconds(now))
    contacts, unreadable = read_contacts(results, settings, kinds)
    following = _after(place, results, more, place.began - settings.lag_seconds * 1000)
    following = following or _searched(place, settings)
    return CrmPage(tuple(contacts), str(following), following.began > 0, tuple(unreadable))


def _search(place: Place, settings: HubSpotSettings) -> Raw:
    since = str(place.since)
    if place.tied is None:
        filters, order = [{"propertyName": CHANGED, "operator": "GTE", "value": since}], CHANGED
    else:
        filters = [
            {"propertyName": CHANGED, "operator": "EQ", "value": since},
            {"propertyName": NUMBER, "operator": "GT", "value": str(place.tied)},
        ]
        order = NUMBER
    return {
        "filterGroups": [{"filters": filters}], "sorts": [order], "properties": properties_read(settings),
        "limit": PAGE, **({"after": place.skip} if place.skip else {}),
    }  # fmt: skip


def _after(place: Place, results: Sequence[Any], more: str, horizon: int) -> Place | None:
    """Return where to go on; None where the search is at its end, or with what it may be certain of."""
    if place.tied is not None:
        numbers = [int(raw["id"]) for raw in results if isinstance(raw, dict) and is_id(raw.get("id"))]
        if more and numbers and max(numbers) > place.tied:
            return replace(place, tied=max(numbers))
        return replace(place, since=place.since + 1, tied=None)
    if not more:
        return None
    moments = [milliseconds(at) for raw in results if isinstance(raw, dict) and (at := changed(raw)) is not None]
    certain = [at for at in moments if place.since <= at <= horizon]
    if certain != sorted(certain):
        raise Retryable(
            "HubSpot's search is out of order, as when its index is far behind. Should it stay so, set "
            "EVERGREET_HUBSPOT_LAG_SECONDS higher."
        )
    if not certain:
        return replace(place, skip=more) if more.isdecimal() and int(more) + PAGE <= MOST else None
    if certain[-1] == place.since:
        return replace(place, tied=0, skip="")
    return replace(place, since=certain[-1], skip="")


def _searched(place: Place, settings: HubSpotSettings) -> Place:
    """Return what follows a search that is at its end: the deleted, but not at first, when nobody is known who was."""
    done = replace(place, since=max(place.began - settings.lag_seconds * 1000, 0), tied=None, skip="")
    if place.began - place.gone >= settings.deletions_minutes * 60_000:
        return replace(done, listed="")
    return _told(done, settings)


def _told(place: Place, settings: HubSpotSettings) -> Place:
    """Return what follows the deleted: the first list, or the next pull."""
    if settings.lists and (not place.lists or place.began - place.lists >= settings.lists_minutes * 60_000):
        return replace(place, list=next(iter(settings.lists)))
    return replace(place, began=0)


def _deleted(caller: Caller, settings: HubSpotSettings, place: Place) -> CrmPage:
    """Read a page of the list of deleted contacts, which HubSpot keeps for 90 days."""
    after = f"&after={quote(place.listed, safe='')}" if place.listed else ""
    content, _ = asked(caller, "GET", f"{CONTACTS}?limit=100&archived=true&properties={NUMBER}{after}")
    results, more = results_of(content), next_of(content)
    since = NEVER + timedelta(milliseconds=place.gone, seconds=-settings.lag_seconds)
    gone = [
        CrmContact(raw["id"], at, deleted=True)
        for raw in results
        if isinstance(raw, dict) and is_id(raw.get("id")) and (at := _deleted_at(raw)) is not None and at >= since
    ]
    read = replace(place, listed=None, gone=place.began)
    following = replace(place, listed=more) if more else _told(read, settings)
    return CrmPage(tuple(gone), str(following), following.began > 0)


def _members(caller: Caller, settings: HubSpotSettings, place: Place) -> CrmPage:
    """Read a page of a list. One that cannot be read keeps nothing else from being read, and nobody leaves it."""
    name, names = str(place.list), list(settings.lists)
    more, unreadable, parts = "", [], []
    upto: int | None = None
    if name in names:
        try:
            members, more = read_page(caller, settings.lists[name], place.member, place.after)
        except (Permanent, Misconfigured) as fault:
            unreadable.append((f"list {name}", fault.reason))
        else:
            upto = members[-1] if more and members else place.member if more else None
            parts.append(CrmMembers(name, members, place.member, upto))
    following = names[names.index(name) + 1 :] if name in names else []
    if more:
        after = replace(place, member=upto or 0, after=more)
    else:
        after = replace(place, list=following[0] if following else None, member=0, after="")
    if after.list is None:
        after = replace(after, lists=place.began, began=0)
    return CrmPage((), str(after), after.began > 0, tuple(unreadable), tuple(parts))


def _deleted_at(raw: Raw) -> datetime | None:
    return moment(text_in(raw, "archivedAt") or text_in(raw, "updatedAt"))
