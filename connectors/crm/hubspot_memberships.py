"""Putting contacts on HubSpot's lists, and taking them off: static ones only, and told again it is no harm.

https://developers.hubspot.com/docs/api-reference/legacy/crm/lists/memberships/update-list-memberships
"""

from collections.abc import Mapping, Sequence
from functools import partial

from connectors.answers import object_answered
from connectors.crm.hubspot_lists import LISTS, read_list
from connectors.crm.hubspot_people import NO_SUCH
from connectors.crm.hubspot_requests import Requests
from connectors.crm.parts import Item, harmless
from connectors.json_bodies import text_in
from evergreet.contracts import Accepted, CrmMembership, Outcome
from evergreet.errors import Misconfigured, Permanent, Retryable


def put_on_lists(requests: Requests, memberships: Mapping[int, tuple[str, CrmMembership]]) -> dict[int, Outcome]:
    """Put contacts on lists, or take them off; both by place of a batch. Of several words about one the last stands."""
    outcomes: dict[int, Outcome] = {}
    items: dict[tuple[str, bool], dict[str, Item]] = {}
    wanted: dict[tuple[str, str], tuple[bool, list[int]]] = {}
    for place, (contact, push) in memberships.items():
        before = wanted.get((push.list, contact), (False, []))[1]
        wanted[push.list, contact] = (push.member, [*before, place])
    for (name, contact), (member, places) in wanted.items():
        items.setdefault((name, member), {})[contact] = Item(contact, {}, places)
    for (name, member), named in items.items():
        number = requests.settings.lists.get(name)
        if number is None:
            fault = Misconfigured(f"EVERGREET_HUBSPOT_LISTS does not say what the list {name} is in HubSpot.")
            outcomes |= {place: fault for item in named.values() for place in item.places}
        else:
            told = requests.in_parts(list(named.values()), partial(_put, requests, number, member))
            outcomes |= {place: harmless(outcome) for place, outcome in told.items()}
    return outcomes


def _put(requests: Requests, number: str, member: bool, part: Sequence[Item]) -> dict[str, Outcome]:
    """Make a request; a refusal that stands for everybody is a fault of ours, whoever was asked about."""
    where = f"{LISTS}/{number}/memberships/{'add' if member else 'remove'}"
    try:
        answered = requests.change(where, [item.name for item in part], "PUT")
    except Permanent as fault:
        try:
            found = read_list(requests.caller, number)
        except Permanent as other:
            raise Misconfigured(other.reason) from None
        if text_in(found, "processingType") == "DYNAMIC":
            raise Misconfigured(
                f"HubSpot itself works out who is on its list {number}, so nobody can be put there: name a static one."
            ) from None
        raise fault from None
    missing = object_answered(answered.content).get("recordIdsMissing")
    if not isinstance(missing, list):
        raise Retryable("HubSpot's answer does not say what became of it.", accepted="maybe")
    return {item.name: Permanent(NO_SUCH) if item.name in missing else Accepted(item.name) for item in part}
