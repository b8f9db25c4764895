"""Who is meant: ids of contacts in HubSpot and their addresses, where one of both is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connectors.crm.hubspot_answers import asked, results_of
from connectors.crm.hubspot_changes import CONTACTS
from connectors.crm.hubspot_reading import is_id
from connectors.crm.hubspot_requests import Requests
from connectors.crm.parts import Item
from connectors.json_bodies import object_in, text_in
from evergreet.contracts import CrmConsent, CrmMembership, Outcome, Push
from evergreet.errors import Permanent

NO_SUCH = "HubSpot has no such contact."
_EMAILS = ["email", "hs_additional_emails"]


@dataclass(frozen=True, slots=True)
class People:
    """By place of a batch: ids, addresses, and what became of those who were not found."""

    ids: dict[int, str] = field(default_factory=dict)
    emails: dict[int, str] = field(default_factory=dict)
    outcomes: dict[int, Outcome] = field(default_factory=dict)


def find_out(requests: Requests, batch: Sequence[Push | CrmMembership]) -> People:
    """Ask for the ids of those known by address, and for the addresses of those whose consent is known by id."""
    people = People()
    by_email: dict[str, Item] = {}
    by_id: dict[str, Item] = {}
    for place, push in enumerate(batch):
        number, email = push.record.id, push.record.email.strip().lower()
        if not is_id(number) and "@" not in email:
            people.outcomes[place] = Permanent("Neither an id of HubSpot's nor an address of the contact is known.")
        elif not is_id(number):
            by_email.setdefault(email, Item(email, {"id": email}, [])).places.append(place)
        elif isinstance(push, CrmConsent) and not email:
            by_id.setdefault(number, Item(number, {"id": number}, [])).places.append(place)
        else:
            people.ids[place], people.emails[place] = number, email

    def read(part: Sequence[Item], how: Mapping[str, str]) -> list[Any]:
        content, _ = asked(requests.caller, "POST", f"{CONTACTS}/batch/read", {
            "properties": _EMAILS, "propertiesWithHistory": [], **how, "inputs": [item.content for item in part],
        })  # fmt: skip
        return [raw for raw in results_of(content) if isinstance(raw, dict)]

    def find_ids(part: Sequence[Item]) -> dict[str, Outcome]:
        found = {email: text_in(raw, "id") for raw in read(part, {"idProperty": "email"}) for email in _emails(raw)}
        for item in part:
            if item.name in found:
                people.ids.update(dict.fromkeys(item.places, found[item.name]))
                people.emails.update(dict.fromkeys(item.places, item.name))
        return {item.name: Permanent(NO_SUCH) for item in part if item.name not in found}

    def find_emails(part: Sequence[Item]) -> dict[str, Outcome]:
        found = {text_in(raw, "id"): emails[0] for raw in read(part, {}) if (emails := _emails(raw))}
        people.emails.update({place: found[item.name] for item in part for place in item.places if item.name in found})
        return {
            item.name: Permanent("HubSpot has no such contact, or no address of it.")
            for item in part if item.name not in found
        }  # fmt: skip

    people.outcomes.update(requests.in_parts(list(by_email.values()), find_ids))
    people.outcomes.update(requests.in_parts(list(by_id.values()), find_emails))
    return people


def _emails(raw: Mapping[str, Any]) -> list[str]:
    """Return all addresses of a contact, its main one first, in small letters."""
    properties = object_in(raw, "properties")
    written = ";".join(text_in(properties, name) for name in _EMAILS).lower().split(";")
    return [email for part in written if (email := part.strip())]
