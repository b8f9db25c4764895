"""Contacts for tests."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert
from sqlmodel import col

from evergreet.database import ingest_position
from models import Consent, Contact
from tests.conftest import NOW


def add_contact(connection: Connection, address: str | None = "maya@example.com", **values: Any) -> int:
    """Store a contact; `address` is normalised already."""
    position = ingest_position(connection)
    known: dict[str, Any] = {
        "source": "shop", "source_id": uuid.uuid4().hex, "email": address, "address": address,
        "created_at": NOW, "changed_at": NOW, "position": position, "attributes": {},
    }  # fmt: skip
    return int(connection.execute(insert(Contact).values({**known, **values}).returning(col(Contact.id))).scalar_one())


def add_consent(
    connection: Connection, contact_id: int, topic: str = "orders", granted: bool = True, at: datetime = NOW
) -> None:
    """Store what a contact agreed to."""
    connection.execute(
        insert(Consent).values(contact_id=contact_id, topic=topic, granted=granted, at=at, source="import")
    )
