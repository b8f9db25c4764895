"""Store what a webhook told, once, in one transaction; applying it comes later."""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection

from evergreet.channels import read_destination
from evergreet.contracts import ProviderEvent
from evergreet.errors import DataError
from evergreet.ledger import storable
from evergreet.store import insert_ignore
from models import ProviderEvent as Row

_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def store(connection: Connection, connector: str, events: Sequence[ProviderEvent], now: datetime) -> None:
    """Store events of a connector; those that are known by their id are passed over.

    In the order of their ids: two requests with the same events wait for each other, and never both.
    """
    insert_ignore(connection, Row, sorted((_row(connector, e, now) for e in events), key=lambda row: row["event_id"]))


def _row(connector: str, event: ProviderEvent, now: datetime) -> dict[str, Any]:
    return {
        "connector": connector, "event_id": storable(event.id, 255), "kind": event.kind, "verdict": event.verdict,
        "at": min(event.at, now),  # a clock that is ahead decides nothing that somebody does later
        "received_at": now, "address": storable(_normalised(event.address), 320), "row": event.row,
        "key": storable(event.key, 100),
        "provider_id": storable(event.provider_id, 998), "reason": storable(event.reason, 500),
        "url": storable(event.url, 2000), "machine": event.machine, "topic": storable(event.topic, 100),
        "payload": _payload(event.raw),
    }  # fmt: skip


def _normalised(address: str) -> str:
    """Return an address as contacts have it, by which an erasure finds it; as it was told where it is none."""
    try:
        return read_destination(address)
    except DataError:
        return address


def _payload(raw: Any) -> Any:
    """Return what was sent without NUL and halves of characters, which PostgreSQL keeps in no text."""
    try:
        written = orjson.dumps(raw)
    except TypeError:
        written = json.dumps(raw, ensure_ascii=False, default=str).encode("utf-8", "replace")
        raw = orjson.loads(written)
    return orjson.loads(_NUL.sub(rb"\1\\ufffd", written)) if b"\\u0000" in written else raw
