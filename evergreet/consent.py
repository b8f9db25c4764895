"""What people decide about being written to: unsubscribe, suppress, pause, less often, erase.

Each function first locks the contact rows it is about, in the order of their ids, as the engine's windows
do before they ask the gates: whichever commits first wins (DESIGN §5.5). They run in the caller's writing
transaction. An address is a mailbox: what its reader decides holds for every contact that has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    SQLColumnExpression,
    String,
    case,
    cast,
    delete,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlmodel import col

from evergreet.channels import SMS_TOPIC, having
from evergreet.database import ingest_position
from evergreet.errors import DataError
from evergreet.store import among, insert_ignore, insert_into
from evergreet.tally import add_to_tally, tidy
from evergreet.tokens import Tokens
from models import (
    Attempt,
    AuditLog,
    Consent,
    Contact,
    ContactAlias,
    ContactMerge,
    CrmRow,
    Enrollment,
    FrequencyChoice,
    Message,
    ProviderEvent,
    StoredRequest,
    Suppression,
)

Scope = Literal["all", "marketing"]

EVERYTHING = "unsubscribed"
"""The reason of a suppression that its reader asked for; subscribing again lifts it, and no other."""


ABOUT_ADDRESSES = ("hard_bounce",)
"""Reasons of a suppression that say something about an address, and nothing of what its reader wishes."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure touched."""

    contact_id: int
    already: bool
    had_address: bool
    messages: int


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Consent that somebody took back elsewhere, at that time: to a topic, or to every one they agreed to.

    `by_sms`: every one of SMS, and nothing of email.
    """

    contact_id: int
    topic: str | None
    everything: bool
    at: datetime
    source: str
    by_sms: bool = False


def unsubscribe(
    connection: Connection, contact_id: int, topic: str, *, at: datetime, source: str, wording: str = ""
) -> bool:
    """Take the contact, and others with the same address, off a topic; return False when all were off it.

    `source` says where it came from ("one-click", "page", "command line"), `wording` what the person read.
    """
    _, mailbox = _lock_mailbox(connection, contact_id)
    withdrawn = [
        row.id for row in mailbox if _decide(connection, row.id, topic, False, at=at, source=source, wording=wording)
    ]
    _mark(connection, withdrawn, at)
    return bool(withdrawn)


def unsubscribe_everything(
    connection: Connection, contact_id: int, *, at: datetime, source: str, wording: str = ""
) -> bool:
    """Stop all marketing to the contact's address, topics of later included; return False when it was stopped.

    Mail that answers what the person does, such as a receipt, still goes out.
    """
    contact_id, mailbox = _lock_mailbox(connection, contact_id)
    changed = False
    for row in mailbox:
        for topic in _newest(connection, row.id):
            changed |= _decide(connection, row.id, topic, False, at=at, source=source, wording=wording)
    address = next(row.address for row in mailbox if row.id == contact_id)
    if address is not None:
        changed |= _store_suppression(connection, address, "marketing", EVERYTHING, source, at)
    if changed:
        _mark(connection, [row.id for row in mailbox], at)
    return changed


def withdraw(connection: Connection, withdrawals: Sequence[Withdrawal], *, at: datetime) -> int:
    """Record consent that was taken back elsewhere, each from its own time on; return how many are new.

    The contacts are locked. It may be told late: what somebody agreed to after it stays. Told twice, it is recorded
    once.
    """
    history: dict[int, dict[str, list[Any]]] = {each.contact_id: {} for each in withdrawals}
    for row in connection.execute(
        select(col(Consent.contact_id), col(Consent.topic), col(Consent.at), col(Consent.granted), col(Consent.source))
        .where(among(Consent.contact_id, "contacts"))
        .order_by(col(Consent.at), col(Consent.id)),
        {"contacts": sorted(history)},
    ):
        history[row.contact_id].setdefault(row.topic, []).append(row)
    new: dict[tuple[int, str], Withdrawal] = {}
    for each in sorted(withdrawals, key=lambda one: one.at):
        known = history[each.contact_id]
        concerned = {topic for topic in known if topic.endswith(SMS_TOPIC) or not each.by_sms}
        for topic in {*concerned, each.topic} if each.everything else {each.topic}:
            said = known.get(topic or "", [])
            before = [row for row in said if row.at <= each.at]
            told_before = before and not before[-1].granted
            if told_before and len(before) == len(said):  # the last word: a yes between the two may be told later
                told_before = before[-1].source == each.source
            if topic is not None and not told_before:
                new.setdefault((each.contact_id, topic), each)
    insert_ignore(
        connection, Consent,
        [
            {"contact_id": contact, "topic": topic, "granted": False, "at": one.at, "source": one.source, "wording": ""}
            for (contact, topic), one in sorted(new.items(), key=lambda pair: pair[0])
        ],
    )  # fmt: skip
    _mark(connection, sorted({contact for contact, _ in new}), at)
    return len(new)


def resubscribe(
    connection: Connection, contact_id: int, topic: str, *, at: datetime, source: str, wording: str
) -> bool:
    """Record that the contact agrees to a topic; return False when they do already.

    Lifts "unsubscribe from everything" of their address (of their number, for a topic of SMS), which has withdrawn each
    topic by itself; never a suppression of another cause, such as a bounce or a complaint.
    """
    by_sms = topic.endswith(SMS_TOPIC)
    contact_id, mailbox = _lock_mailbox(connection, contact_id, phone_too=by_sms)
    address = next(row.phone if by_sms else row.address for row in mailbox if row.id == contact_id)
    lifted = connection.execute(
        delete(Suppression).where(
            col(Suppression.address) == address,
            col(Suppression.scope) == "marketing",
            col(Suppression.reason) == EVERYTHING,
        )
    ).rowcount
    granted = _decide(connection, contact_id, topic, True, at=at, source=source, wording=wording)
    if lifted:
        _mark(connection, [row.id for row in mailbox], at)
    elif granted:
        _mark(connection, [contact_id], at)
    return bool(lifted) or granted


def suppress(connection: Connection, address: str, *, scope: Scope, reason: str, source: str, at: datetime) -> bool:
    """Never write to a normalised address or number again, or no marketing; return False when that was so already.

    A suppression only ever grows: `marketing` does not replace `all`.
    """
    contacts = _lock(connection, having([address]))
    changed = _store_suppression(connection, address, scope, reason, source, at)
    if changed:
        _mark(connection, [row.id for row in contacts], at)
    return changed


def pause_contact(connection: Connection, contact_id: int, until: datetime | None, *, at: datetime) -> None:
    """Send the contact nothing until then; None ends the pause."""
    contact_id, _ = _lock_mailbox(connection, contact_id)
    connection.execute(update(Contact).where(col(Contact.id) == contact_id).values(paused_until=until, changed_at=at))


def choose_spacing(
    connection: Connection, contact_id: int, days: int | None, *, at: datetime, source: str, wording: str = ""
) -> bool:
    """Send the contact, and others with the same address, at most one marketing message in so many days.

    None is as usual again. Returns False when all had chosen that already.
    """
    mailbox = [row.id for row in _lock_mailbox(connection, contact_id)[1]]
    changed = connection.execute(
        update(Contact)
        .where(col(Contact.id).in_(mailbox), col(Contact.spacing_days).is_distinct_from(days))
        .values(spacing_days=days, changed_at=at)
        .returning(col(Contact.id))
    ).scalars()
    choice = {"spacing_days": days, "at": at, "source": source, "wording": wording}
    rows = [{"contact_id": each, **choice} for each in sorted(changed)]
    if rows:
        connection.execute(insert(FrequencyChoice), rows)
    return bool(rows)


def erase(connection: Connection, contact_id: int, *, tokens: Tokens, at: datetime, actor: str) -> Erased:
    """Forget a person: only keyed hashes of address and phone stay, so that a re-import cannot write to them again.

    Whoever was merged into them is forgotten as well.

    Emptied: email, address, phone, locale, timezone and attributes, and the address in the ledger and in
    what providers said about it. Kept: ids, times and events, without which the ledger would not balance;
    no address belongs into the properties of an event. `actor` is who did it, for the audit log.
    """
    contact_id, mailbox = _lock_mailbox(connection, contact_id, phone_too=True)
    contact = next(row for row in mailbox if row.id == contact_id)
    if contact.erased_at is not None:
        return Erased(contact_id, already=True, had_address=False, messages=0)
    merged, others = _merged(connection, contact_id)
    known_by = {contact.address, contact.phone, *(other[name] for other in others for name in ("address", "phone"))}
    hashes = {known: tokens.address_hashes(known)[-1] for known in sorted(filter(None, known_by))}
    for known, hashed in hashes.items():
        connection.execute(delete(Suppression).where(col(Suppression.address) == known))
        _store_suppression(connection, hashed, "all", "erased", "erasure", at)
    if hashes:
        _mark(connection, [row.id for row in mailbox], at)
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
            # a file whose only id was the address: the hash in its place still finds the same contact
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


def agreed(
    contact_id: SQLColumnExpression[int], topic: SQLColumnExpression[str | None] | str | None
) -> ColumnElement[bool]:
    """Say, in a query, whether somebody's newest word on a topic is a yes."""
    newest = (
        select(col(Consent.granted))
        .where(col(Consent.contact_id) == contact_id, col(Consent.topic) == topic)
        .order_by(col(Consent.at).desc(), col(Consent.id).desc())
        .limit(1)
        .correlate_except(Consent)
        .scalar_subquery()
    )
    return func.coalesce(newest, false())


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


def _lock(connection: Connection, which: ColumnElement[bool]) -> list[Any]:
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


def _lock_mailbox(connection: Connection, contact_id: int, *, phone_too: bool = False) -> tuple[int, list[Any]]:
    """Lock the contact and all others that have its address (or its phone number).

    Where it was merged, which a link in an old message does not know, that is whoever has taken its place. Returns who
    it is, and all of them.
    """
    theirs = (Contact.address, Contact.phone) if phone_too else (Contact.address,)
    same = (
        col(column) == select(col(column)).where(col(Contact.id) == contact_id).scalar_subquery() for column in theirs
    )
    rows = _lock(connection, or_(col(Contact.id) == contact_id, *same))
    contact = next((row for row in rows if row.id == contact_id), None)
    if contact is None:
        raise DataError(f"There is no contact {contact_id}.")
    if contact.merged_into is not None:
        return _lock_mailbox(connection, contact.merged_into, phone_too=phone_too)
    return contact_id, rows


def _mark(connection: Connection, contacts: list[int], at: datetime) -> None:
    """Tell the engine and the stages that something about these contacts changed."""
    if contacts:
        connection.execute(
            update(Contact)
            .where(col(Contact.id).in_(contacts))
            .values(changed_at=at, position=ingest_position(connection))
        )


def _newest(connection: Connection, contact_id: int) -> dict[str, Any]:
    """Return the newest consent of each topic, as the gates see it: by time, then by order of arrival."""
    rows = connection.execute(
        select(col(Consent.topic), col(Consent.granted), col(Consent.at))
        .where(col(Consent.contact_id) == contact_id)
        .order_by(col(Consent.at), col(Consent.id))
    )
    return {row.topic: row for row in rows}


def _decide(
    connection: Connection,
    contact_id: int,
    topic: str,
    granted: bool,
    *,
    at: datetime,
    source: str,
    wording: str,
) -> bool:
    """Record a decision; return whether it is new.

    It is always the newest, also after a row that an import dated into the future. Of a no that is said again the first
    and the last time are kept: a yes between the two may be told later, by a CRM.
    """
    newest, before = (*_last_two(connection, contact_id, topic), None, None)[:2]
    stands = newest is not None and newest.granted is granted
    if newest is not None and stands and (granted or at <= newest.at):
        return False
    moment = at if newest is None else max(at, newest.at + timedelta(microseconds=1))
    if newest is not None and stands and newest.source == source and before is not None and not before.granted:
        again = update(Consent).where(col(Consent.id) == newest.id).values(at=moment, wording=wording)
        connection.execute(again)
        return False
    connection.execute(
        insert(Consent).values(
            contact_id=contact_id, topic=topic, granted=granted, at=moment, source=source, wording=wording
        )
    )
    return not stands


def _last_two(connection: Connection, contact_id: int, topic: str) -> Sequence[Any]:
    """Return the newest decisions about a topic, as the gates see them, the last one first."""
    return connection.execute(
        select(col(Consent.id), col(Consent.granted), col(Consent.at), col(Consent.source))
        .where(col(Consent.contact_id) == contact_id, col(Consent.topic) == topic)
        .order_by(col(Consent.at).desc(), col(Consent.id).desc())
        .limit(2)
    ).all()


def outweighs(new: Any, known: Any) -> Any:
    """Say whether a suppression takes the place of the `known` one of its address: rows, or columns in a query.

    One that stops more does. What a CRM said it may take back, and a merge is undone: so anybody else's word takes the
    place of theirs.
    """
    passing, newer = (one.source.startswith("crm:") | one.source.startswith("merge:") for one in (known, new))
    return (known.scope == "marketing") & ((new.scope == "all") | (passing > newer))


def _store_suppression(
    connection: Connection, address: str, scope: Scope, reason: str, source: str, at: datetime
) -> bool:
    new = insert_into(connection, Suppression).values(address=address, scope=scope, reason=reason, source=source, at=at)
    stored = connection.execute(
        new.on_conflict_do_update(
            index_elements=["address"],
            set_={name: new.excluded[name] for name in ("scope", "reason", "source", "at")},
            where=outweighs(new.excluded, Suppression),
        ).returning(col(Suppression.id))
    )
    return stored.first() is not None


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
    for table, own, mark in ((ContactMerge, concerned, literal("(erased)")),
                             (Contact, col(Contact.id).in_(contacts[1:]), gone)):  # fmt: skip
        connection.execute(update(table).where(own, col(table.source_id).in_(addresses)).values(source_id=mark))


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
