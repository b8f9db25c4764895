"""HubSpot's contacts, read: properties are texts, and one that is empty is null or not there.

https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/guide; merges in
https://knowledge.hubspot.com/records/merge-records.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from math import isfinite
from typing import Any, Literal, TypeAlias
from zoneinfo import available_timezones

from connectors.crm.hubspot_settings import HubSpotSettings
from connectors.json_bodies import object_in, text_in
from evergreet.contracts import Agreement, CrmContact

CHANGED = "lastmodifieddate"
"""When a contact changed; of all other objects it is `hs_lastmodifieddate`."""
NUMBER = "hs_object_id"
OPTED_OUT = "hs_email_optout"
"""From all email; `hs_email_optout_ID` is of one subscription type."""
MERGED = ("hs_merged_object_ids", "hs_calculated_merged_vids")
Kind: TypeAlias = Literal["number", "bool"]
Kinds: TypeAlias = Mapping[str, Kind]
NEVER = datetime(1970, 1, 1, tzinfo=UTC)

_ID = re.compile("[0-9]{1,20}")
_ESCAPES = (("_slash_", "/"), ("_hyphen_", "-"), ("_plus_", "+"))


def properties_read(settings: HubSpotSettings) -> list[str]:
    """Return all properties of a contact that are asked for."""
    own = ["email", CHANGED, NUMBER, OPTED_OUT, *MERGED]
    return list(dict.fromkeys([*own, *settings.properties, *opt_outs_read(settings)]))


def opt_outs_read(settings: HubSpotSettings) -> list[str]:
    """Return the properties that say who opted out of what is a topic of ours."""
    return [f"{OPTED_OUT}_{number}" for number in settings.subscriptions.values()]


def kinds_of(known: Iterable[Any]) -> dict[str, Kind]:
    """Return which properties are numbers or yes and no, of those that HubSpot describes; all others are texts."""
    kinds: dict[str, Kind] = {}
    for one in known:
        if isinstance(one, dict) and text_in(one, "type") == "number":
            kinds[text_in(one, "name")] = "number"
        elif isinstance(one, dict) and "bool" in (text_in(one, "type"), text_in(one, "fieldType")[:4]):
            kinds[text_in(one, "name")] = "bool"
    return kinds


def is_id(written: Any) -> bool:
    """Return whether this is an id of HubSpot's."""
    return isinstance(written, str) and _ID.fullmatch(written) is not None


def read_contacts(
    results: Iterable[Any], settings: HubSpotSettings, kinds: Kinds
) -> tuple[list[CrmContact], list[tuple[str, str]]]:
    """Read contacts; return them, and the ids of those that cannot be read with a sentence."""
    contacts, unreadable = [], []
    for raw in results:
        number = text_in(raw, "id") if isinstance(raw, dict) else ""
        if not is_id(number):
            unreadable.append(("", "A contact of HubSpot's has no id."))
        elif (changed_at := changed(raw)) is None:
            unreadable.append((number, "It cannot be read when the contact changed."))
        else:
            contacts.append(_contact(number, changed_at, object_in(raw, "properties"), settings, kinds))
    return contacts, unreadable


def changed(raw: Mapping[str, Any]) -> datetime | None:
    """Return when a contact changed; None where that cannot be read."""
    return moment(text_in(object_in(raw, "properties"), CHANGED) or text_in(raw, "updatedAt"))


def moment(written: str) -> datetime | None:
    """Read a time of HubSpot's: ISO 8601, always with a zone; None for anything else."""
    try:
        found = datetime.fromisoformat(written)
        return found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, OverflowError):
        return None


def milliseconds(at: datetime) -> int:
    """Return a time as HubSpot's filters want it; what is between two of them is in the earlier one."""
    since = at - NEVER
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000


def _contact(
    number: str, at: datetime, properties: Mapping[str, Any], settings: HubSpotSettings, kinds: Kinds
) -> CrmContact:
    details = {
        name: _value(name, text_in(properties, theirs), settings, kinds.get(theirs))
        for theirs, name in settings.properties.items()
    }
    return CrmContact(
        id=number, changed_at=at, email=text_in(properties, "email").strip(), details=details,
        agreements=tuple(
            Agreement(topic, False, at)
            for topic, subscription in settings.subscriptions.items()
            if text_in(properties, f"{OPTED_OUT}_{subscription}") == "true"
        ),
        unsubscribed=text_in(properties, OPTED_OUT) == "true",
        merged=_merged(number, properties),
    )  # fmt: skip


def _value(name: str, written: str, settings: HubSpotSettings, kind: Kind | None) -> str | float | bool | None:
    match name, kind:
        case "timezone", _:
            return _zone(written)
        case "stage", _:  # as we call it, where one stage alone is called so there
            ours = [stage for stage, theirs in settings.stages.items() if theirs == written]
            return ours[0] if len(ours) == 1 else written or None
        case _, "number":
            return _number(written)
        case _, "bool":
            return {"true": True, "false": False}.get(written)
    return written or None


def _number(written: str) -> float | None:
    try:
        number = float(written)
    except ValueError:
        return None
    if not isfinite(number):
        return None
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _merged(number: str, properties: Mapping[str, Any]) -> tuple[str, ...]:
    """Read the ids of merged contacts: `12;34`, and as it was before `12:1735689600000;34:…`."""
    parts = ";".join(text_in(properties, name) for name in MERGED).split(";")
    ids = dict.fromkeys(part.partition(":")[0].strip() for part in parts)
    return tuple(one for one in ids if is_id(one) and one != number)


def _zone(written: str) -> str | None:
    """Return the IANA zone that HubSpot means by `europe_slash_berlin`; what is one already stays."""
    name = written
    for escape, mark in _ESCAPES:
        name = name.replace(escape, mark)
    return _zones().get(name.lower(), written) or None


@cache
def _zones() -> Mapping[str, str]:
    return {name.lower(): name for name in available_timezones()}
