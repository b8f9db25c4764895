"""What people decide about being written to: unsubscribe, suppress, pause, less often.

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
    delete,
    false,
    func,
    insert,
    select,
    update,
)
from sqlmodel import col

from evergreet.channels import SMS_TOPIC, having
from evergreet.mailboxes import lock, lock_mailbox, mark
from evergreet.store import among, insert_ignore, insert_into
from models import (
    Consent,
    Contact,
    FrequencyChoice,
    Suppression,
)

Scope = Literal["all", "marketing"]

EVERYTHING = "unsubscribed"
"""The reason of a suppression that its reader asked for; subscribing again lifts it, and no other."""


ABOUT_ADDRESSES = ("hard_bounce",)
"""Reasons of a suppression that say something about an address, and nothing of what its reader wishes."""


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
    _, mailbox = lock_mailbox(connection, contact_id)
    withdrawn = [
        row.id for row in mailbox if _decide(connection, row.id, topic, False, at=at, source=source, wording=wording)
    ]
    mark(connection, withdrawn, at)
    return bool(withdrawn)


def unsubscribe_everything(
    connection: Connection, contact_id: int, *, at: datetime, source: str, wording: str = ""
) -> bool:
    """Stop all marketing to the contact's address, topics of later included; return False when it was stopped.

    Mail that answers what the person does, such as a receipt, still goes out.
    """
    contact_id, mailbox = lock_mailbox(connection, contact_id)
    changed = False
    for row in mailbox:
        for topic in newest_consents(connection, row.id):
            changed |= _decide(connection, row.id, topic, False, at=at, source=source, wording=wording)
    address = next(row.address for row in mailbox if row.id == contact_id)
    if address is not None:
        changed |= store_suppression(connection, address, "marketing", EVERYTHING, source, at)
    if changed:
        mark(connection, [row.id for row in mailbox], at)
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
    mark(connection, sorted({contact for contact, _ in new}), at)
    return len(new)


def resubscribe(
    connection: Connection, contact_id: int, topic: str, *, at: datetime, source: str, wording: str
) -> bool:
    """Record that the contact agrees to a topic; return False when they do already.

    Lifts "unsubscribe from everything" of their address (of their number, for a topic of SMS), which has withdrawn each
    topic by itself; never a suppression of another cause, such as a bounce or a complaint.
    """
    by_sms = topic.endswith(SMS_TOPIC)
    contact_id, mailbox = lock_mailbox(connection, contact_id, phone_too=by_sms)
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
        mark(connection, [row.id for row in mailbox], at)
    elif granted:
        mark(connection, [contact_id], at)
    return bool(lifted) or granted


def suppress(connection: Connection, address: str, *, scope: Scope, reason: str, source: str, at: datetime) -> bool:
    """Never write to a normalised address or number again, or no marketing; return False when that was so already.

    A suppression only ever grows: `marketing` does not replace `all`.
    """
    contacts = lock(connection, having([address]))
    changed = store_suppression(connection, address, scope, reason, source, at)
    if changed:
        mark(connection, [row.id for row in contacts], at)
    return changed


def pause_contact(connection: Connection, contact_id: int, until: datetime | None, *, at: datetime) -> None:
    """Send the contact nothing until then; None ends the pause."""
    contact_id, _ = lock_mailbox(connection, contact_id)
    connection.execute(update(Contact).where(col(Contact.id) == contact_id).values(paused_until=until, changed_at=at))


def choose_spacing(
    connection: Connection, contact_id: int, days: int | None, *, at: datetime, source: str, wording: str = ""
) -> bool:
    """Send the contact, and others with the same address, at most one marketing message in so many days.

    None is as usual again. Returns False when all had chosen that already.
    """
    mailbox = [row.id for row in lock_mailbox(connection, contact_id)[1]]
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


def newest_consents(connection: Connection, contact_id: int) -> dict[str, Any]:
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


def store_suppression(
    connection: Connection, address: str, scope: Scope, reason: str, source: str, at: datetime
) -> bool:
    """Store a suppression; return False when one that stops as much was there. Contacts are for the caller to lock."""
    new = insert_into(connection, Suppression).values(address=address, scope=scope, reason=reason, source=source, at=at)
    stored = connection.execute(
        new.on_conflict_do_update(
            index_elements=["address"],
            set_={name: new.excluded[name] for name in ("scope", "reason", "source", "at")},
            where=outweighs(new.excluded, Suppression),
        ).returning(col(Suppression.id))
    )
    return stored.first() is not None
