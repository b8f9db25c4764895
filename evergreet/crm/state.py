"""What a CRM is to know of contacts: their stage, the last message they got, and what they said to being written to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select
from sqlmodel import col

from evergreet.channels import WENT_TO_CONTACTS
from evergreet.consent import ABOUT_ADDRESSES
from evergreet.contracts import CrmConsent, CrmLastMessage, CrmRecord, CrmStage, Push
from evergreet.store import among
from models import CampaignRow, Consent, Contact, CrmRow, Message, Suppression

CONSENT = "consent:"
"""What the kinds begin with that are about consent, before the topic."""
EVERYTHING = CONSENT
"""That without one is about everything."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is to stand in one record, by kind, as JSON has it; `pushed` is what was written there last."""

    row: int
    record: CrmRecord
    state: Mapping[str, Any]
    pushed: Mapping[str, Any]

    def pushes(self) -> dict[str, Push]:
        """Return what is to be written, by kind."""
        return {
            kind: _push(self.record, kind, said) for kind, said in self.state.items() if said != self.pushed.get(kind)
        }


def _push(record: CrmRecord, kind: str, said: Sequence[Any]) -> Push:
    what, at = said[0], datetime.fromisoformat(said[1])
    if kind == "stage":
        return CrmStage(record, what, at)
    if kind == "message":
        return CrmLastMessage(record, what, at)
    return CrmConsent(record, what, at, kind.removeprefix(CONSENT))


def read(connection: Connection, source: str, rows: Sequence[int]) -> list[Known]:
    """Return what is known of the people of these records, but of those who were erased.

    What the CRM itself told of consent is not told to it.
    """
    found = connection.execute(
        select(
            col(CrmRow.id), col(CrmRow.source_id), col(CrmRow.pushed), col(Contact.id).label("contact"),
            col(Contact.address), col(Contact.stage), col(Contact.stage_since),
        )
        .join(Contact, col(Contact.id) == col(CrmRow.contact_id))
        .where(among(CrmRow.id, "rows"), col(Contact.erased_at).is_(None))
        .order_by(col(CrmRow.id)),
        {"rows": list(rows)},
    ).all()  # fmt: skip
    contacts = sorted({row.contact for row in found})
    messages, consents = _last_messages(connection, contacts), _consents(connection, contacts, f"crm:{source}")
    suppressed = _suppressed(connection, [row.address for row in found if row.address])
    known = []
    for row in found:
        state: dict[str, Any] = {}
        if row.stage is not None and row.stage_since is not None:
            state["stage"] = [row.stage, row.stage_since.isoformat()]
        if row.contact in messages:
            state["message"] = messages[row.contact]
        state |= consents.get(row.contact, {})
        if row.address not in suppressed:
            state |= _back_again(consents.get(row.contact, {}), (row.pushed or {}).get(EVERYTHING))
        elif suppressed[row.address].source != f"crm:{source}":
            state[EVERYTHING] = [False, suppressed[row.address].at.isoformat()]
        known.append(Known(row.id, CrmRecord(row.source_id, row.address or ""), state, row.pushed or {}))
    return known


def _last_messages(connection: Connection, contacts: Sequence[int]) -> dict[int, list[str]]:
    """Return the name and the time of the last message that each was sent, by the index of the caps."""
    last = (
        select(col(Message.contact_id).label("contact"), func.max(col(Message.sent_at)).label("at"))
        .where(
            among(Message.contact_id, "contacts"),
            col(Message.sent_at).is_not(None),
            col(Message.state) == "accepted",
            WENT_TO_CONTACTS,
        )
        .group_by(col(Message.contact_id))
        .subquery()
    )
    rows = connection.execute(
        select(col(Message.contact_id), col(CampaignRow.name), col(Message.step_key), last.c.at)
        .join(last, (last.c.contact == col(Message.contact_id)) & (last.c.at == col(Message.sent_at)))
        .join(CampaignRow, col(CampaignRow.id) == col(Message.campaign_id))
        .where(among(Message.contact_id, "contacts"), col(Message.state) == "accepted", WENT_TO_CONTACTS)
        .order_by(col(Message.id)),
        {"contacts": contacts},
    )
    return {contact: [f"{campaign}/{step}", at.isoformat()] for contact, campaign, step, at in rows.tuples()}


def _consents(connection: Connection, contacts: Sequence[int], own: str) -> dict[int, dict[str, Any]]:
    """Return the last word of each on each topic, where that did not come from the CRM itself."""
    rows = connection.execute(
        select(col(Consent.contact_id), col(Consent.topic), col(Consent.granted), col(Consent.at), col(Consent.source))
        .where(among(Consent.contact_id, "contacts"))
        .order_by(col(Consent.at), col(Consent.id)),
        {"contacts": contacts},
    )
    newest = {(row.contact_id, row.topic): row for row in rows}
    found: dict[int, dict[str, Any]] = {}
    for (contact, topic), row in newest.items():
        if row.source != own:
            found.setdefault(contact, {})[f"{CONSENT}{topic}"] = [row.granted, row.at.isoformat()]
    return found


def _back_again(consents: Mapping[str, Any], written: Any) -> dict[str, Any]:
    """Return the yes to everything that takes back a no that was written: of who has agreed to something here since."""
    if not written or written[0]:
        return {}
    since = datetime.fromisoformat(written[1])
    agreed = [at for granted, at in consents.values() if granted and datetime.fromisoformat(at) > since]
    return {EVERYTHING: [True, max(agreed, key=datetime.fromisoformat)]} if agreed else {}


def _suppressed(connection: Connection, addresses: Sequence[str]) -> dict[str, Any]:
    """Return since when no marketing goes to an address, and who says so, unless it is the address that is no good."""
    rows = connection.execute(
        select(col(Suppression.address), col(Suppression.at), col(Suppression.source)).where(
            col(Suppression.address).in_(addresses), col(Suppression.reason).not_in(ABOUT_ADDRESSES)
        )
    )
    return {row.address: row for row in rows}
