"""What changed in Pipedrive, page by page, in the order of `update_time`.

https://developers.pipedrive.com/docs/api/v1/Persons#getPersons. Its cursor is a place in that order and not a number of
persons (`{"field": "id", "fieldValue": 7, …}` in base64): who changes meanwhile comes again behind it, and nobody is
passed over. Deleted persons are on no list; webhooks tell of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from urllib.parse import urlencode

import orjson

from connectors.calling import Caller
from connectors.crm.pipedrive_answers import asked
from connectors.crm.pipedrive_settings import PipedriveSettings
from connectors.json_bodies import object_in, text_in
from evergreet.contracts import CrmContact, CrmPage
from evergreet.errors import DataError, Permanent, Retryable

PERSONS = "/api/v2/persons"
PAGE = 500
CUSTOM_KEY = 40
"""Characters of a custom field's key; no other field has so many."""

Raw: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pull is: since when it reads, Pipedrive's own place in that, and when the pull began there."""

    since: str = ""
    next: str = ""
    began: str = ""

    @classmethod
    def read(cls, cursor: str) -> "Place":
        """Read a cursor; raises `DataError`."""
        try:
            found = cls(**orjson.loads(cursor)) if cursor else cls()
            if not isinstance(found.next, str) or any(at and moment(at) is None for at in (found.since, found.began)):
                raise ValueError
        except (ValueError, TypeError):
            raise DataError("The cursor is none of Pipedrive's: begin anew, with an empty one.") from None
        return found

    def __str__(self) -> str:
        return orjson.dumps({name: value for name, value in asdict(self).items() if value}).decode()


def changed_since(caller: Caller, settings: PipedriveSettings, cursor: str) -> CrmPage:
    """Return the next page of what changed."""
    place = Place.read(cursor)
    path = persons_path(settings, {
        **({"updated_since": place.since} if place.since else {}), "sort_by": "update_time", "sort_direction": "asc",
        "limit": str(PAGE), **({"cursor": place.next} if place.next else {}),
    })  # fmt: skip
    try:
        content, now = asked(caller, path)
    except Permanent as fault:
        if place.next:
            raise DataError(f"{fault.reason}. If it is about the cursor, begin anew with an empty one.") from None
        raise
    place = place if place.began else replace(place, began=written(now))
    contacts, unreadable = read_persons(persons_of(content), settings)
    following = text_in(object_in(content, "additional_data"), "next_cursor")
    if following:
        return CrmPage(tuple(contacts), str(replace(place, next=following)), True, tuple(unreadable))
    began = moment(place.began) or now
    done = Place(since=written(began - timedelta(seconds=settings.lag_seconds)))
    return CrmPage(tuple(contacts), str(done), False, tuple(unreadable))


def persons_path(settings: PipedriveSettings, query: Mapping[str, str]) -> str:
    """Return the path that asks for persons, with all that is read of them."""
    custom = [name for name in settings.fields if len(name) == CUSTOM_KEY]
    return f"{PERSONS}?" + urlencode({
        **query, **({"include_fields": "marketing_status"} if settings.marketing else {}),
        **({"custom_fields": ",".join(custom)} if custom else {}),
    })  # fmt: skip


def persons_of(content: Raw) -> list[Any]:
    """Return what an answer lists; raises a typed error where it is no such answer."""
    data = content.get("data")
    if not isinstance(data, list):
        raise Retryable("Pipedrive's answer cannot be read.")
    return data


def read_persons(listed: Iterable[Any], settings: PipedriveSettings) -> tuple[list[CrmContact], list[tuple[str, str]]]:
    """Read persons; return them, and the ids of those that cannot be read with a sentence."""
    contacts, unreadable = [], []
    for raw in listed:
        number = id_of(raw.get("id")) if isinstance(raw, dict) else ""
        if not number:
            unreadable.append(("", "A person of Pipedrive's has no id."))
        elif (at := moment(text_in(raw, "update_time") or text_in(raw, "add_time"))) is None:
            unreadable.append((number, "It cannot be read when the person changed."))
        else:
            contacts.append(_contact(number, at, raw, settings))
    return contacts, unreadable


def id_of(value: Any) -> str:
    """Return an id of Pipedrive's, a whole number, as text; empty where it is none."""
    written = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    return written if written.isascii() and written.isdecimal() and len(written) <= 18 else ""


def moment(value: Any) -> datetime | None:
    """Read a time of Pipedrive's: RFC 3339, or as its first version writes it without a zone, which is UTC."""
    try:
        found = datetime.fromisoformat(value)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, TypeError, OverflowError):
        return None


def written(at: datetime) -> str:
    """Return a time as Pipedrive wants it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _contact(number: str, at: datetime, raw: Raw, settings: PipedriveSettings) -> CrmContact:
    if raw.get("is_deleted") is True:
        return CrmContact(number, at, deleted=True)
    return CrmContact(
        id=number, changed_at=at, email=_main(raw.get("emails")).strip(),
        details={name: _value(raw, key) for key, name in settings.fields.items()},
        unsubscribed=raw.get("marketing_status") == "unsubscribed",
    )  # fmt: skip


def _value(raw: Raw, key: str) -> Any:
    if key == "phone":
        return _main(raw.get("phones")) or None
    found = object_in(raw, "custom_fields").get(key) if len(key) == CUSTOM_KEY else raw.get(key)
    found = found.get("value") if isinstance(found, dict) else found
    return found if isinstance(found, (str, int, float)) and found != "" else None


def _main(listed: Any) -> str:
    """Return the primary one of emails or phones, or the first."""
    known = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    known.sort(key=lambda one: one.get("primary") is not True)
    return next((text for one in known if (text := text_in(one, "value"))), "")
