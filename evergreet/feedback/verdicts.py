"""What provider events say about addresses: suppressed, or off a topic, for everybody who has the address."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select
from sqlmodel import col

from evergreet.channels import having, is_number, read_destination
from evergreet.consent import EVERYTHING, Withdrawal, withdraw
from evergreet.contracts import Verdict
from evergreet.errors import DataError
from evergreet.feedback.placing import Place
from evergreet.importing.storing import Entry, suppress_all
from evergreet.store import among
from models import Consent, Contact

_FOREVER = {Verdict.INVALID: "hard_bounce", Verdict.COMPLAINED: "complaint"}
_MARKS = ("hmac:", "erased:")


@dataclass(frozen=True, slots=True)
class Judgement:
    """One verdict on a normalised address: when it was made, who told, its topic and its contact where they are known.

    The contact may have another address by now, also by a merge.
    """

    event_id: int
    verdict: Verdict
    at: datetime
    source: str
    address: str
    topic: str | None
    contact_id: int = 0


def judgements(events: Sequence[Any], places: Mapping[int, Place]) -> list[Judgement]:
    """Return the verdicts of these events, but those on what is no address."""
    found = []
    for event in events:
        place = places.get(event.id)
        if event.verdict and (address := _address(event.address, place)) is not None:
            topic = event.topic or (place.topic if place is not None else None)
            source = f"webhook:{event.connector}"
            contact = place.contact_id if place is not None else 0
            found.append(Judgement(event.id, Verdict(event.verdict), event.at, source, address, topic, contact))
    return found


def _address(told: str, place: Place | None) -> str | None:
    """Return the address that the message went to, else what the provider says."""
    if place is not None and place.address and not place.address.startswith(_MARKS):
        return place.address
    try:
        return read_destination(told)
    except DataError:
        return None


def carry_out(connection: Connection, judged: Sequence[Judgement], position: int, now: datetime) -> int:
    """Suppress addresses and withdraw consents; return how many of these are new. The contacts are locked.

    An unsubscription counts from when it was made: who agreed to something after it stays on.
    """
    if not judged:
        return 0
    contacts = _contacts(connection, {one.address for one in judged})
    people = _people(connection, {one.contact_id for one in judged})
    everybody = {*people, *(contact for each in contacts.values() for contact in each)}
    agreed = _newest_grants(connection, sorted(everybody))
    entries: dict[str, Entry] = {}
    withdrawals: list[Withdrawal] = []
    for one in sorted(judged, key=lambda each: each.at):
        by_sms = is_number(one.address)
        own, addresses = {*contacts.get(one.address, ())}, {one.address}
        if (person := people.get(one.contact_id)) is not None and one.verdict is not Verdict.INVALID:
            own.add(one.contact_id)
            addresses |= {person.phone if by_sms else person.address} - {None}
        if one.verdict in _FOREVER:
            known = entries.get(one.address)
            if known is None or known.scope != "all":
                entries[one.address] = Entry(one.address, "all", _FOREVER[one.verdict], one.source, one.at)
            addresses.remove(one.address)
        else:
            everything = one.verdict is Verdict.UNSUBSCRIBED or one.topic is None
            withdrawals += [
                Withdrawal(contact, one.topic, everything, one.at, one.source, by_sms) for contact in sorted(own)
            ]
            addresses = addresses if everything else set()
        if not any(agreed.get(contact, one.at) > one.at for contact in own):
            for address in addresses - entries.keys():
                entries[address] = Entry(address, "marketing", EVERYTHING, one.source, one.at)
    withdrawn = withdraw(connection, withdrawals, at=now) if withdrawals else 0
    return withdrawn + len(suppress_all(connection, entries, position, now))


def _newest_grants(connection: Connection, contacts: Sequence[int]) -> dict[int, datetime]:
    """Return when each last agreed to something."""
    rows = connection.execute(
        select(col(Consent.contact_id), func.max(col(Consent.at)))
        .where(among(Consent.contact_id, "contacts"), col(Consent.granted))
        .group_by(col(Consent.contact_id)),
        {"contacts": sorted(contacts)},
    )
    return dict(rows.tuples().all())


def _people(connection: Connection, contacts: Iterable[int]) -> dict[int, Any]:
    """Return how contacts are reached now; nobody who was erased."""
    rows = connection.execute(
        select(col(Contact.id), col(Contact.address), col(Contact.phone)).where(
            among(Contact.id, "contacts"), col(Contact.erased_at).is_(None)
        ),
        {"contacts": sorted(contacts)},
    )
    return {row.id: row for row in rows}


def _contacts(connection: Connection, addresses: Iterable[str]) -> Mapping[str, list[int]]:
    found: dict[str, list[Any]] = {}
    wanted = set(addresses)
    for row in connection.execute(
        select(col(Contact.id), col(Contact.address), col(Contact.phone)).where(having(wanted))
    ):
        for address in wanted.intersection((row.address, row.phone)):
            found.setdefault(address, []).append(row.id)
    return found
