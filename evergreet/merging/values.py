"""The values of two contacts that are one person, and of the one that was before."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from evergreet.errors import DataError
from evergreet.importing.contact_store import CONTENT, content_hash

KEPT = (*CONTENT, "told_at", "stage", "stage_since", "paused_until", "spacing_days")
"""What a merge changes of the survivor and takes from the other; `address` goes with `email`."""

_TIMES = frozenset({"created_at", "stage_since", "paused_until"})
_VALUES = ("email", "phone", "locale", "timezone")


def written(row: Any) -> dict[str, Any]:
    """Return a contact's values as JSON has them."""
    values = {name: getattr(row, name) for name in KEPT}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


def read(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as a row of a contact has them, with the digest of its content."""
    found = {
        name: datetime.fromisoformat(value) if name in _TIMES and value is not None else value
        for name, value in values.items()
    }
    return {**found, "content_hash": content_hash(found)}


def joined(survivor: Any, loser: Any) -> dict[str, Any]:
    """Return the values of both as one: of two the one that was changed last, else the survivor's.

    In the stage is who came into theirs last. A pause and a wish to be written to less often hold for both.
    """
    theirs, ours = _Times(loser), _Times(survivor)
    values = {name: getattr(survivor, name) for name in KEPT}
    attributes, told_at = dict(survivor.attributes or {}), dict(survivor.told_at or {})
    for name in (*_VALUES, *(f".{name}" for name in loser.attributes or {})):
        value = theirs.value(name)
        if value is None or (ours.value(name) is not None and theirs.at(name) <= ours.at(name)):
            continue
        told_at[name] = theirs.at(name).isoformat()
        if name.startswith("."):
            attributes[name[1:]] = value
        else:
            values[name] = value
        if name == "email":
            values["address"], told_at["address"] = loser.address, told_at["email"]
    if loser.stage is not None and (survivor.stage is None or loser.stage_since > survivor.stage_since):
        values["stage"], values["stage_since"] = loser.stage, loser.stage_since
    for name in ("paused_until", "spacing_days"):
        values[name] = max(filter(None, (getattr(survivor, name), getattr(loser, name))), default=None)
    values["created_at"] = min(survivor.created_at, loser.created_at)
    values["attributes"], values["told_at"] = attributes, told_at or None
    return {**values, "content_hash": content_hash(values)}


class _Times:
    """A contact's values by the names of `told_at`, and when each was changed."""

    def __init__(self, row: Any) -> None:
        self._row = row

    def value(self, name: str) -> Any:
        return (self._row.attributes or {}).get(name[1:]) if name.startswith(".") else getattr(self._row, name)

    def at(self, name: str) -> datetime:
        said = (self._row.told_at or {}).get(name)
        at: datetime = self._row.created_at if said is None else datetime.fromisoformat(said)
        return at


def taken_back(now: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values without what a merge brought: as they were before, but for what was changed since.

    All are as `written` gives them.
    """
    if not before:
        raise DataError("The person was erased: there is nothing to take apart.")
    values = {name: _back(now[name], before.get(name), after.get(name)) for name in KEPT}
    for name in ("attributes", "told_at"):
        were, came, known = (each.get(name) or {} for each in (before, after, now))
        back = {key: _back(known.get(key), were.get(key), came.get(key)) for key in {*were, *known}}
        values[name] = {key: value for key, value in back.items() if value is not None}
    values["told_at"] = values["told_at"] or None
    if values["email"] != now["email"]:
        values["address"] = before["address"]
    return read(values)


def _back(now: Any, before: Any, after: Any) -> Any:
    return before if now == after else now
