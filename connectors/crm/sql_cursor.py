"""A place in the rows of a query, by the column of their changes and their ids, as text and back."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from connectors.rows import MILLISECONDS
from evergreet.errors import Misconfigured

_KINDS: dict[str, Any] = {
    "datetime": datetime.fromisoformat, "date": date.fromisoformat, "Decimal": Decimal, "UUID": UUID, "int": int,
    "float": float, "str": str, "None": lambda _: None,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """What is told next: rows behind this one, by the values that the database gave; without an id, from it on."""

    changed: Any
    id: Any

    @classmethod
    def read(cls, cursor: str) -> "Place | None":
        """Read a cursor; None is the beginning. Raises ValueError for one of nowhere."""
        if not cursor:
            return None
        try:
            (changed_kind, changed), (id_kind, number) = json.loads(cursor)
            return cls(_KINDS[changed_kind](changed), _KINDS[id_kind](number))
        except (TypeError, KeyError, ArithmeticError) as error:
            raise ValueError from error

    def __str__(self) -> str:
        return json.dumps([_written(value) for value in (self.changed, self.id)])

    def overlapping(self, now: datetime, seconds: float) -> "Place":
        """Return a place before what was changed in the last seconds, where this one is among it.

        Whatever was changed then may stand in a transaction that is not committed yet, and be seen only later.
        """
        since: Any = now - timedelta(seconds=seconds)
        if isinstance(self.changed, int | float | Decimal):  # seconds since 1970, or milliseconds
            count = int(since.timestamp())
            since = count * 1000 if self.changed >= MILLISECONDS else count
        elif type(self.changed) is not datetime:
            return self
        elif not self.changed.tzinfo:
            since = since.replace(tzinfo=None)
        return Place(since, None) if self.changed > since else self


def _written(value: Any) -> tuple[str, str]:
    kind = type(value).__name__
    if value is None:
        return "None", ""
    if kind not in _KINDS:
        raise Misconfigured(
            f"The query gives {kind} where it is read by times and ids: cast the column to another type."
        )
    if isinstance(value, datetime) and value.tzinfo:
        value = value.astimezone(UTC)
    return kind, value.isoformat() if isinstance(value, date) else str(value)
