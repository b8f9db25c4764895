"""Erasing a person: what is emptied, and what stays because the ledger has to balance without it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    String,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlmodel import col

from evergreet.consent import store_suppression
from evergreet.database import ingest_position
from evergreet.mailboxes import lock_mailbox, mark
from evergreet.tally import add_to_tally, tidy
from evergreet.tokens import Tokens
from models import (
    Attempt,
    AuditLog,
    Contact,
    ContactAlias,
    ContactMerge,
    CrmMember,
    CrmRow,
    Enrollment,
    Message,
    ProviderEvent,
    StoredRequest,
    Suppression,
)


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure touched."""

    contact_id: int
    already: bool
    had_address: bool
    messages: int


def erase(connection: Connection, contact_id: int, *, tokens: Tokens, at: datetime, actor: str) -> Erased:
    """Forget a person: only keyed hashes of address and phone stay, so that a re-import cannot write to them again.

    Whoever was merged into them is forgotten as well.

    Emptied: email, address, phone, locale, timezone and attributes, and the address in the ledger and in
    what providers said about it. Kept: ids, times and events, without which the ledger would not balance;
    no address belongs into the properties of an event. `actor` is who did it, for the audit log.
    """
    contact_id, mailbox = lock_mailbox(connection, contact_id, phone_too=True)
    contact = next(row for row in mailbox if row.id == contact_id)
    if contact.erased_at is not None:
        return Erased(contact_id, already=True, had_address=False, messages=0)
    merged, others = _merged(connection, contact_id)
    known_by = {contact.address, contact.phone, *(other[name] for other in others for name in ("address", "phone"))}
    hashes = {known: tokens.address_hashes(known)[-1] for known in sorted(filter(None, known_by))}
    for known, hashed in hashes.items():
        connection.execute(delete(Suppression).where(col(Suppression.address) == known))
        store_suppression(connection, hashed, "all", "erased", "erasure", at)
    if hashes:
        mark(connection, [row.id for row in mailbox], at)
    emails = {contact.email, *(other["email"] for other in others)}
    spellings = sorted(spelling for spelling in {*known_by, *emails} if spelling)
    everybody = [contact_id, *merged]
    for spelling in spellings:
        _forget_in_reasons(connection, everybody, spelling)
    _forget_what_was_told(connection, everybody, spellings)
    _forget_merges(connection, everybody, spellings)
    connection.execute(
        delete(ContactAlias).where(
            col(ContactAlias.contact_id) == contact_id, col(ContactAlias.source_id).in_(spellings)
        )
    )
    gone = literal("erased:") + cast(col(Message.id), String)
    records = col(CrmRow.contact_id) == contact_id
    connection.execute(delete(CrmMember).where(col(CrmMember.row_id).in_(select(col(CrmRow.id)).where(records))))
    connection.execute(delete(CrmRow).where(records, col(CrmRow.source_id).in_(spellings)))
    connection.execute(update(CrmRow).where(records).values(told={}))
    messages = connection.execute(
        update(Message)
        .where(_of(everybody), col(Message.address).is_not(None))
        # An older address of theirs leaves no hash, and a mark that no other row can have: rows stay unique.
        .values(address=case(hashes, value=col(Message.address), else_=gone) if hashes else gone)
    ).rowcount
    connection.execute(
        update(Contact)
        .where(col(Contact.id) == contact_id)
        .values(
            email=None, address=None, phone=None, locale=None, timezone=None, attributes={}, told_at=None,
            content_hash="",
            erased_at=at, changed_at=at, position=ingest_position(connection),
            # where a file knew them by their address only, the hash takes its place
            source_id=next(iter(hashes.values())) if hashes and contact.source_id in spellings else contact.source_id,
        )
    )  # fmt: skip
    connection.execute(
        insert(AuditLog).values(
            at=at,
            actor=actor,
            action="erase",
            subject=f"contact {contact_id}",
            detail={"messages": messages, "had_address": contact.address is not None},
        )
    )
    return Erased(contact_id, already=False, had_address=contact.address is not None, messages=messages)


def _merged(connection: Connection, contact_id: int) -> tuple[list[int], list[Any]]:
    """Return who was merged into a contact, and what is kept of them."""
    ids = list(connection.execute(select(col(Contact.id)).where(col(Contact.merged_into) == contact_id)).scalars())
    rows = connection.execute(
        select(col(ContactMerge.loser)).where(
            or_(col(ContactMerge.survivor_id).in_([contact_id, *ids]), col(ContactMerge.loser_id).in_(ids)),
            col(ContactMerge.undone_at).is_(None),
        )
    ).scalars()
    return ids, [loser for loser in rows if loser]


def _forget_merges(connection: Connection, contacts: Sequence[int], addresses: Sequence[str]) -> None:
    """Empty what merges keep of a person, and ids that are addresses of theirs."""
    concerned = or_(col(ContactMerge.survivor_id).in_(contacts), col(ContactMerge.loser_id).in_(contacts))
    connection.execute(update(ContactMerge).where(concerned).values(before={}, after={}, loser={}))
    gone = literal("erased:") + cast(col(Contact.id), String)
    for table, own, stands in ((ContactMerge, concerned, literal("(erased)")),
                             (Contact, col(Contact.id).in_(contacts[1:]), gone)):  # fmt: skip
        connection.execute(update(table).where(own, col(table.source_id).in_(addresses)).values(source_id=stands))


def _forget_what_was_told(connection: Connection, contacts: Sequence[int], addresses: Sequence[str]) -> None:
    """Empty the providers' events about a person, and drop stored requests: there stands more than the address."""
    own = select(col(Message.id)).where(_of(contacts))
    theirs = select(col(Attempt.request_id)).where(
        col(Attempt.message_id).in_(own), col(Attempt.request_id).is_not(None)
    )
    connection.execute(delete(StoredRequest).where(col(StoredRequest.id).in_(theirs)))
    connection.execute(
        update(ProviderEvent)
        .where(or_(col(ProviderEvent.message_id).in_(own), col(ProviderEvent.address).in_(addresses)))
        .values(address="", reason="", url="", payload={})
    )


def _of(contacts: Sequence[int]) -> ColumnElement[bool]:
    """Return which messages are these contacts', by their enrollments, for which there is an index."""
    return col(Message.enrollment_id).in_(select(col(Enrollment.id)).where(col(Enrollment.contact_id).in_(contacts)))


def _forget_in_reasons(connection: Connection, contacts: Sequence[int], address: str) -> None:
    """Providers repeat the address in what they say; take it out of the ledger's reasons, and of their tally."""
    rows = connection.execute(
        select(col(Message.id), col(Message.campaign_id), col(Message.state), col(Message.reason))
        .where(_of(contacts), col(Message.reason).contains(address, autoescape=True))
        .with_for_update(key_share=True)
    ).all()
    for row in rows:
        told = row.reason.replace(address, "(erased)")
        connection.execute(update(Message).where(col(Message.id) == row.id).values(reason=told))
        add_to_tally(connection, row.campaign_id, {(row.state, row.reason): -1, (row.state, told): 1})
    for campaign in sorted({row.campaign_id for row in rows}):
        tidy(connection, campaign, spare=0)  # what nobody has any more is not kept there either
    own = select(col(Message.id)).where(_of(contacts))
    connection.execute(
        update(Attempt)
        .where(col(Attempt.message_id).in_(own), col(Attempt.detail).contains(address, autoescape=True))
        .values(detail=func.replace(Attempt.detail, address, "(erased)"))
    )
