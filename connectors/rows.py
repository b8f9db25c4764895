"""Rows of a table, whatever it is kept in, read as contacts of a CRM."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from evergreet.contracts import Agreement, CrmContact

YES = frozenset({"true", "yes", "y", "t", "on", "1"})
NO = frozenset({"false", "no", "n", "f", "off", "0", ""})

_PLAIN_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?")
"""A number that a text is read as: no leading zeros, no plus, exact as a double; as in an import."""
_LONGEST_EXACT = 15
MILLISECONDS = 100_000_000_000
"""A count since 1970 from which on it is one of milliseconds: as seconds it would be the year 5138."""
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


class RowColumns(BaseModel):
    """Which column is what. One that is not there is passed over, but for the id; all others are details."""

    columns: dict[str, str] = Field(
        default={}, description='JSON: columns that are called otherwise here, {"Vorname": "first_name"}.'
    )
    id_column: str = Field(default="id", min_length=1, description="Column of the id of a contact.")
    email_column: str = Field(default="email", description="Column of the address.")
    changed_at_column: str = Field(
        default="changed_at",
        min_length=1,
        description="Column of when the row was changed: a time, in UTC where it names no zone.",
    )
    unsubscribed_column: str = Field(
        default="unsubscribed", description="Column that says who gets no marketing (true or false)."
    )
    deleted_column: str = Field(default="deleted", description="Column that says what is deleted (true or false).")


class NoContact(Exception):
    """A row cannot be read as a contact; says why."""


@dataclass(frozen=True, slots=True)
class RowReader:
    """Reads rows. `are_text`: its values are cells, in which plain numbers are numbers and nothing is None."""

    names: RowColumns
    are_text: bool

    def contact(self, row: Mapping[str, Any], otherwise: datetime | None = None) -> CrmContact:
        """Return the contact of a row; raises `NoContact`. `otherwise` is when it was changed where no column says."""
        names = self.names
        values = dict(row)
        number = _identifier(values.pop(names.id_column, None))
        written = values.pop(names.changed_at_column, None)
        changed_at = otherwise if written in (None, "") else _moment(written, names.changed_at_column)
        if changed_at is None:
            raise NoContact(f"it has no {names.changed_at_column}")
        if _says_yes(values.pop(names.deleted_column, None), names.deleted_column):
            return CrmContact(number, changed_at, deleted=True)
        email = values.pop(names.email_column, None)
        unsubscribed = _says_yes(values.pop(names.unsubscribed_column, None), names.unsubscribed_column)
        agreements = _agreements(values, changed_at)
        details = {names.columns.get(name, name): self._detail(value) for name, value in values.items()}
        return CrmContact(
            number, changed_at, "" if email is None else str(email).strip(), details, agreements, unsubscribed
        )

    def _detail(self, value: Any) -> Any:
        if not self.are_text or not isinstance(value, str):
            return _plain(value)
        if value == "":
            return None
        if not _PLAIN_NUMBER.fullmatch(value):
            return value
        if "." not in value:
            return int(value)
        return float(value) if len(value.replace("-", "").replace(".", "")) <= _LONGEST_EXACT else value


def _identifier(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or isinstance(value, bool | float | dict | list | bytes) or not str(value).strip():
        raise NoContact("it has no id")
    return str(value).strip()


def _moment(value: Any, name: str) -> datetime:
    """Read a time: ISO 8601, a count of (milli)seconds since 1970, or a database's own; without a zone it is UTC."""
    try:
        if isinstance(value, datetime):
            found = value
        elif isinstance(value, date):
            found = datetime.combine(value, time())
        elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            found = _counted(Decimal(str(value)))
        else:
            text = str(value).strip()
            found = _counted(Decimal(text)) if re.fullmatch(r"\d{9,}(\.\d+)?", text) else datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError, ArithmeticError):
        raise NoContact(f"its {name} is no time") from None
    if not _FIRST <= found < _LAST:
        raise NoContact(f"its {name} is before 1970 or after 2200")
    return found


def _counted(count: Decimal) -> datetime:
    seconds = count / 1000 if count >= MILLISECONDS else count
    return _FIRST + timedelta(microseconds=int(seconds * 1_000_000))


def _says_yes(value: Any, name: str) -> bool:
    word = "" if value is None else str(value).strip().lower()
    if word in YES:
        return True
    if word in NO:
        return False
    raise NoContact(f"its {name} is neither yes nor no")


def _agreements(values: dict[str, Any], changed_at: datetime) -> tuple[Agreement, ...]:
    """Take `consent.TOPIC` out of a row. A yes counts from `consent_at` on, and without it not at all.

    A row is changed for many reasons: its own time would give consent again to somebody who took it back meanwhile.
    """
    written = values.pop("consent_at", None)
    wording = values.pop("consent_wording", None)
    at = None if written in (None, "") else _moment(written, "consent_at")
    found = []
    for name in [name for name in values if name.startswith("consent.")]:
        value = values.pop(name)
        if value in (None, ""):
            continue
        granted = _says_yes(value, name)
        if at is not None or not granted:
            topic = name.removeprefix("consent.")
            found.append(Agreement(topic, granted, at or changed_at, str(wording or "") if granted else ""))
    return tuple(found)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: times as ISO 8601, exact numbers as numbers where they stay exact."""
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        if value.is_finite() and value == value.to_integral_value():
            return int(value)
        return float(value) if len(value.as_tuple().digits) <= _LONGEST_EXACT else str(value)
    if isinstance(value, UUID | timedelta):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        raise NoContact("it has a value of bytes, which is no text")
    return value
