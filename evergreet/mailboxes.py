"""Contacts locked, with all who have the same address: an address is a mailbox, and its reader decides for all of them.

Rows are locked in the order of their ids, as the engine's windows do before they ask the gates: whichever commits first
wins (DESIGN §5.5).
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    or_,
    select,
    update,
)
from sqlmodel import col

from evergreet.database import ingest_position
from evergreet.errors import DataError
from models import (
    Contact,
)


def standing_for(connection: Connection, contact_id: int) -> int:
    """Return who has taken the place of a contact that was merged, else the contact, be it there or not."""
    merged = select(col(Contact.merged_into)).where(col(Contact.id) == contact_id)
    return connection.execute(merged).scalar() or contact_id


def contacts_of(connection: Connection, address: str) -> list[int]:
    """Return the contacts that have a normalised address, in the order of their ids."""
    return list(
        connection.execute(select(col(Contact.id)).where(col(Contact.address) == address).order_by(col(Contact.id)))
        .scalars()
    )  # fmt: skip


def lock(connection: Connection, which: ColumnElement[bool]) -> list[Any]:
    """Lock contacts, and return what decisions of theirs need to know."""
    return list(
        connection.execute(
            select(
                col(Contact.id), col(Contact.address), col(Contact.email), col(Contact.source_id),
                col(Contact.erased_at), col(Contact.phone), col(Contact.merged_into),
            )
            .where(which)
            .order_by(col(Contact.id))
            .with_for_update(key_share=True)
        )
    )  # fmt: skip


def lock_mailbox(connection: Connection, contact_id: int, *, phone_too: bool = False) -> tuple[int, list[Any]]:
    """Lock the contact and all others that have its address (or its phone number).

    Where it was merged, which a link in an old message does not know, that is whoever has taken its place. Returns who
    it is, and all of them.
    """
    theirs = (Contact.address, Contact.phone) if phone_too else (Contact.address,)
    same = (
        col(column) == select(col(column)).where(col(Contact.id) == contact_id).scalar_subquery() for column in theirs
    )
    rows = lock(connection, or_(col(Contact.id) == contact_id, *same))
    contact = next((row for row in rows if row.id == contact_id), None)
    if contact is None:
        raise DataError(f"There is no contact {contact_id}.")
    if contact.merged_into is not None:
        return lock_mailbox(connection, contact.merged_into, phone_too=phone_too)
    return contact_id, rows


def mark(connection: Connection, contacts: list[int], at: datetime) -> None:
    """Tell the engine and the stages that something about these contacts changed."""
    if contacts:
        connection.execute(
            update(Contact)
            .where(col(Contact.id).in_(contacts))
            .values(changed_at=at, position=ingest_position(connection))
        )
