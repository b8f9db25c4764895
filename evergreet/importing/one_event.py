"""One event by hand, by the rules of an import: the same checks, replays and corrections."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select
from sqlmodel import col

from evergreet.clock import Clock
from evergreet.database import Database, exclusive
from evergreet.errors import DataError
from evergreet.explain import find_contacts
from evergreet.importing.events import FIELDS, EventImport
from evergreet.importing.mapping import Columns, bind
from evergreet.importing.memory import RowMemory
from evergreet.importing.records import Record
from evergreet.importing.rejects import Rejected
from evergreet.importing.storing import Setting
from evergreet.importing.values import check_text
from models import Event

PLACE = Path("the event")
"""What stands in sentences where an import names its file."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of the event: `stored`, `duplicate` (nothing changed) or `corrected`.

    `first`: none of this name was known before.
    """

    result: str
    source: str
    source_id: str
    occurred_at: datetime
    first: bool


def record_event(
    database: Database,
    name: str,
    properties: Mapping[str, Any],
    *,
    contact: str | None,
    source: str,
    source_id: str | None,
    at: datetime | None,
    clock: Clock,
) -> Recorded:
    """Store one event about a contact (id, address or id in its source), or about the business without one.

    The same `source_id` again with the same content changes nothing, with other content it is a correction. Without
    `at` it happens now, or when it did where it is known. Raises DataError for what an import would reject.
    """
    try:
        for text in (name, source, source_id or ""):
            check_text(text)
    except Rejected as problem:
        raise DataError(f"The event was not stored: {problem}.") from None
    with database.write() as connection:
        contact_source, contact_id = _one(connection, contact) if contact is not None else (None, None)
        for each in sorted({source, contact_source or source}):  # as the import locks: nobody tells it meanwhile
            exclusive(connection, f"import:{each}")
        now = clock.now(connection)
        moment = at or _known(connection, source, source_id) or now
        values: dict[str, Any] = {"name": name, "occurred_at": moment.isoformat(), "properties": json.dumps(properties)}
        if source_id is not None:
            values["source_id"] = source_id
        if contact_id is not None:
            values["contact"] = contact_id
        memory = RowMemory()
        try:
            plan = bind(Columns(), list(values), FIELDS, are_text=False, path=PLACE)
            importer = EventImport(
                plan, Setting(PLACE, source, None, now, clock, memory), contact_source=contact_source
            )
            row = importer.shape(Record(1, "", values))
            known = connection.execute(select(col(Event.id)).where(col(Event.name) == row.name).limit(1)).first()
            outcome = importer.store(connection, [row])
        except Rejected as problem:
            raise DataError(f"The event was not stored: {problem}.") from None
        finally:
            memory.close()
        result = next(each for each in ("stored", "corrected", "duplicate") if getattr(outcome, each))
        return Recorded(result, source, row.source_id, row.occurred_at, known is None)


def _known(connection: Connection, source: str, source_id: str | None) -> datetime | None:
    """Return when the event happened that is stored under this id, so that saying it again is a replay."""
    return connection.execute(
        select(col(Event.occurred_at)).where(
            col(Event.source) == source, col(Event.source_id) == source_id, ~col(Event.superseded)
        )
    ).scalar_one_or_none()


def _one(connection: Connection, written: str) -> tuple[str, str]:
    found = find_contacts(connection, written)
    if len(found) > 1:
        ids = ", ".join(str(row.id) for row in found)
        raise DataError(f"{len(found)} contacts are {written!r}; say which one by its id: --contact ({ids}).")
    return found[0].source, found[0].source_id
