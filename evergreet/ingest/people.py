"""Whom the ids in a batch mean: contacts of one source, by their own id or by another that they go by."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from typing import Any

from sqlalchemy import CompoundSelect, Connection, Select, String, bindparam, delete, literal, select, union_all
from sqlmodel import col

from evergreet.importing.bulk import Same, insert_columns
from evergreet.store import among_texts
from models import Contact, ContactAlias
from models import Table as Models

ALIAS = Models.metadata.tables["contact_alias"]


@dataclass(slots=True)
class People:
    """What is known of the ids, and what a batch adds. A contact is named by its `source_id`.

    `made_for` are addresses whose contact has the address as its id; `aliases` are ids that mean another contact from
    now on; `made` are contacts that are not there yet.
    """

    source: str
    known: dict[str, str]
    addresses: dict[str, str]
    made_for: set[str]
    aliases: dict[str, str] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, connection: Connection, source: str, ids: Iterable[str], addresses: Iterable[str]) -> "People":
        """Look ids and normalised addresses up; of several contacts with an address, the oldest."""
        mailboxes = _mailboxes(connection, source, sorted(set(addresses)))
        made_for = {address for address, contact in mailboxes.items() if address == contact}
        return cls(source, _known(connection, source, sorted(set(ids))), mailboxes, made_for)

    def of(self, name: str | None) -> str | None:
        """Return the contact that an id means; None where it means none."""
        return None if name is None else self.known.get(name)

    def of_user(self, user: str, address: str | None = None) -> str:
        """Return the contact of a user's id, which is there from now on.

        Who is not known by the id is the contact that was made for their address, where one was.
        """
        if user not in self.known:
            if address in self.made_for:
                self._alias(user, str(address))
            else:
                self._make(user)
        return self.known[user]

    def of_address(self, address: str) -> str:
        """Return the contact with an address; one that is new has the address as its id."""
        if address not in self.addresses:
            self.addresses[address] = self.known.get(address) or self._make(address)
            self.made_for.add(address)
        return self.addresses[address]

    def rename(self, previous: str, user: str) -> None:
        """Let both ids mean one contact: the known one of the two; where both are known, the second one's."""
        contact = self.known.get(previous)
        if contact is not None and user not in self.known:
            self._alias(user, contact)
        else:
            self.met(previous, self.of_user(user))

    def met(self, other: str | None, contact: str) -> None:
        """Learn that an id means this contact."""
        if other is not None and self.known.get(other) != contact:
            self._alias(other, contact)

    def write(self, connection: Connection, now: datetime) -> None:
        """Store what ids mean from now on; the contacts are there by now."""
        if not self.aliases:
            return
        numbers = dict(
            connection.execute(
                select(col(Contact.source_id), col(Contact.id))
                .where(col(Contact.source) == self.source, among_texts(col(Contact.source_id), "contacts")),
                {"contacts": sorted(set(self.aliases.values()))},
            ).tuples().all()
        )  # fmt: skip
        names = sorted(name for name, contact in self.aliases.items() if contact in numbers)
        connection.execute(
            delete(ContactAlias).where(
                col(ContactAlias.source) == self.source, among_texts(col(ContactAlias.source_id), "names")
            ),
            {"names": names},
        )
        ids = [numbers[self.aliases[name]] for name in names]
        insert_columns(
            connection, ALIAS, {"source": Same(self.source), "source_id": names, "contact_id": ids, "at": Same(now)}
        )

    def _alias(self, name: str, contact: str) -> None:
        self.known[name] = self.aliases[name] = contact

    def _make(self, name: str) -> str:
        self.made.add(name)
        self.known[name] = name
        return name


def _ids_asked() -> CompoundSelect[Any]:
    source, ids = bindparam("source", type_=String), "ids"
    own: Select[Any] = select(
        col(Contact.source_id), col(Contact.source_id).label("contact"), literal(0).label("alias")
    )
    aliased: Select[Any] = select(col(ContactAlias.source_id), col(Contact.source_id), literal(1))
    return union_all(
        own.where(col(Contact.source) == source, among_texts(col(Contact.source_id), ids)),
        aliased.join(Contact, col(Contact.id) == col(ContactAlias.contact_id)).where(
            # Who is of another source by now was merged: their own id leads there, too.
            col(ContactAlias.source) == source,
            col(Contact.source) == source,
            among_texts(col(ContactAlias.source_id), ids),
        ),
    )


_IDS = _ids_asked()


def _known(connection: Connection, source: str, ids: Sequence[str]) -> dict[str, str]:
    """Return contacts by id; what an alias says goes before what a contact is called itself."""
    found = connection.execute(_IDS, {"source": source, "ids": ids})
    return {name: contact for name, contact, _ in sorted(found.tuples(), key=itemgetter(2))}


def _mailboxes(connection: Connection, source: str, addresses: Sequence[str]) -> dict[str, str]:
    if not addresses:
        return {}
    found = connection.execute(
        select(col(Contact.address), col(Contact.source_id))
        .where(col(Contact.source) == source, among_texts(col(Contact.address), "addresses"))
        .order_by(col(Contact.id).desc()),
        {"addresses": addresses},
    )
    return {str(address): contact for address, contact in found.tuples()}
