"""Whom the records of a CRM are about."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, String, bindparam, exists, literal, select, union_all
from sqlmodel import col

from evergreet.contracts import CrmContact
from evergreet.importing.people import address_or_none
from evergreet.importing.rejects import Rejected
from evergreet.importing.values import check_text
from evergreet.store import among_texts
from models import Contact, ContactAlias, CrmRow


@dataclass(slots=True)
class Whose:
    """The contact that a record is about, by its own source and id there; `id` is None until it is stored.

    `record` is what is known of the record. `by` says how the contact was found where the record is new to it.
    """

    source: str
    source_id: str
    id: int | None = None
    erased: bool = False
    address: str | None = None
    record: Any = None
    by: str = ""


_SOURCE = bindparam("source", type_=String)
_CONTACT = (col(Contact.id), col(Contact.source), col(Contact.source_id), col(Contact.address), col(Contact.erased_at))
_RECORD = (col(CrmRow.changed_at), col(CrmRow.told), col(CrmRow.gone_at))


def _named(source_id: Any, rank: int) -> Select[Any]:
    return select(source_id.label("key"), literal(rank).label("rank"), *_CONTACT)


_BY_ID = union_all(
    _named(col(Contact.source_id), 1).where(
        col(Contact.source) == _SOURCE, among_texts(col(Contact.source_id), "keys")
    ),
    _named(col(ContactAlias.source_id), 0)
    .join(Contact, col(Contact.id) == col(ContactAlias.contact_id))
    .where(col(ContactAlias.source) == _SOURCE, among_texts(col(ContactAlias.source_id), "keys")),
)
_RECORDS: Select[Any] = (
    select(col(CrmRow.source_id).label("key"), *_CONTACT, *_RECORD)
    .join(Contact, col(Contact.id) == col(CrmRow.contact_id))
    .where(col(CrmRow.source) == _SOURCE, among_texts(col(CrmRow.source_id), "keys"))
)
_TAKEN = exists().where(
    col(CrmRow.contact_id) == col(Contact.id), col(CrmRow.source) == _SOURCE, col(CrmRow.gone_at).is_(None)
)
_BY_ADDRESS: Select[Any] = (
    select(col(Contact.address).label("key"), *_CONTACT)
    .where(among_texts(col(Contact.address), "keys"), col(Contact.source) != _SOURCE, ~_TAKEN)
    .order_by(col(Contact.id))
)
"""Of several contacts with an address the oldest, but none that another record of the same CRM is about: two records
with one address are two people, such as a family with one mailbox, until the CRM itself merges them."""


class People:
    """Whom the records of a page are about, looked up in three statements, and one for each kind of id in `ids`."""

    def __init__(
        self, connection: Connection, source: str, contacts: Sequence[CrmContact], ids_elsewhere: Mapping[str, str]
    ) -> None:
        ids = {name for one in contacts for name in (one.id, *one.merged)}
        addresses = {address for one in contacts if not one.deleted and (address := normalised(one.email))}
        self._source = source
        self._records = {row.key: row for row in _ask(connection, _RECORDS, source, ids)}
        found = sorted(_ask(connection, _BY_ID, source, ids), key=lambda row: row.rank, reverse=True)
        self._by_id = {row.key: row for row in found}  # what an alias says goes before what a contact is called itself
        self._elsewhere: dict[str, dict[str, Any]] = {}
        for detail, other in ids_elsewhere.items():
            told = {name for one in contacts if (name := _id_in(one, detail))}
            rows = sorted(_ask(connection, _BY_ID, other, told), key=lambda row: row.rank, reverse=True)
            self._elsewhere[detail] = {row.key: row for row in rows}
        self._by_address: dict[str, list[Any]] = {}
        for row in _ask(connection, _BY_ADDRESS, source, addresses):
            self._by_address.setdefault(row.key, []).append(row)

    def of(self, contact: CrmContact) -> Whose:
        """Return whom a record is about: as before, or by its id, or one of elsewhere, or its address."""
        record = self._records.get(contact.id)
        if record is not None:
            return _whose(record, record=record)
        if contact.id in self._by_id:
            return _whose(self._by_id[contact.id])
        for name in contact.merged:
            known = self._records.get(name) or self._by_id.get(name)
            if known is not None:
                return _whose(known, by="id")
        for detail, known_there in self._elsewhere.items():
            name = _id_in(contact, detail)
            if name in known_there:
                return _whose(known_there[name], by="id")
        alike = self._by_address.get(normalised(contact.email))
        if alike:
            return _whose(alike.pop(0), by="address")
        return Whose(self._source, contact.id)


def _id_in(contact: CrmContact, detail: str) -> str:
    """Return the id that a detail is; empty where it is none, or none that a store can hold."""
    value = contact.details.get(detail)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int) or isinstance(value, bool):
        return ""
    try:
        check_text(name := str(value).strip())
    except (Rejected, ValueError):  # Python writes no number of 4,301 digits
        return ""
    return name


def normalised(email: str) -> str:
    """Return the address in the form in which addresses are compared; empty where it is none."""
    address = address_or_none(email) if email else None
    return address.normalised if address and len(address.normalised) <= 255 else ""


def _ask(connection: Connection, query: Any, source: str, keys: Iterable[str]) -> Sequence[Any]:
    wanted = sorted(keys)
    return connection.execute(query, {"source": source, "keys": wanted}).all() if wanted else ()


def _whose(row: Any, *, record: Any = None, by: str = "") -> Whose:
    return Whose(row.source, row.source_id, row.id, row.erased_at is not None, row.address, record, by)
