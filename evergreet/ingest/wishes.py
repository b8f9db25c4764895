"""What customers ask of a shop about what is known of them, and the shop passes on: to be forgotten, or to be told.

Shops have to pass it on, and whoever gets it has to act: https://shopify.dev/docs/apps/build/compliance/privacy-law-compliance.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, insert, select, union
from sqlmodel import col

from evergreet import erasure, mailboxes
from evergreet.addresses import read_address
from evergreet.contracts import Customer, CustomerEvent, Wish
from evergreet.errors import EvergreetError
from evergreet.tokens import Tokens
from models import AuditLog, Contact, ContactAlias

LOG = logging.getLogger("evergreet.web")


def carry_out(
    connection: Connection, source: str, told: Sequence[CustomerEvent], tokens: Tokens, now: datetime
) -> Counter[str]:
    """Erase whom the shop says, note who asks for their data; return why some of it was not done, with counts.

    It is about the contact that the shop's id means, else about all who have the address. Told again, nothing is left
    to do. In the caller's writing transaction.
    """
    left: Counter[str] = Counter()
    for each in told:
        contacts = _meant(connection, source, each.customer)
        if not contacts:
            left["no contact"] += 1
        for contact in contacts:
            if each.wish is Wish.FORGET:
                erasure.erase(connection, contact, tokens=tokens, at=now, actor=f"webhook:{source}")
            else:
                _note(connection, source, contact, each.id, now)
    return left


def _meant(connection: Connection, source: str, customer: Customer) -> list[int]:
    if customer.id:
        alias = select(col(ContactAlias.contact_id)).where(
            col(ContactAlias.source) == source, col(ContactAlias.source_id) == customer.id
        )
        own = select(col(Contact.id)).where(col(Contact.source) == source, col(Contact.source_id) == customer.id)
        if found := sorted(connection.execute(union(alias, own)).scalars()):
            return found
    try:
        return mailboxes.contacts_of(connection, read_address(customer.email).normalised)
    except EvergreetError:
        return []


def _note(connection: Connection, source: str, contact: int, name: str, now: datetime) -> None:
    """Leave a row and a line for whoever answers, once; nobody is written to."""
    noted = {"actor": f"webhook:{source}", "action": "data_request", "subject": f"contact {contact}, {name}"[:300]}
    if connection.execute(select(col(AuditLog.id)).filter_by(**noted)).first() is not None:
        return
    connection.execute(insert(AuditLog).values(at=now, detail={}, **noted))
    LOG.warning("Contact %d asks by %s for what is stored of them: answer within a month", contact, source)
