"""Lists of HubSpot, which it calls segments now: who is on one, page by page in the order of ids.

https://developers.hubspot.com/docs/api-reference/crm-lists-v3/guide,
https://developers.hubspot.com/docs/api-reference/legacy/crm/lists/memberships/get-memberships-by-id
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from connectors.calling import Caller
from connectors.crm.hubspot_answers import asked, next_of, results_of
from connectors.crm.hubspot_reading import is_id
from connectors.json_bodies import object_in, text_in, whole_number
from evergreet.errors import Permanent, Retryable

LISTS = "/crm/v3/lists"
PAGE = 250
"""The most members that a page holds."""
OF_CONTACTS = "0-1"
LARGEST = 2**63 - 1


MISSING = "HubSpot has no list {}: it was deleted, or EVERGREET_HUBSPOT_LISTS has another id than HubSpot shows."


def read_list(caller: Caller, number: str) -> Mapping[str, Any]:
    """Return what HubSpot says of a list; raises `Permanent` where there is none of contacts with that id."""
    content, _ = asked(caller, "GET", f"{LISTS}/{number}", missing=MISSING.format(number))
    found = object_in(content, "list")
    if not found:
        raise Retryable("HubSpot's answer cannot be read.")
    if text_in(found, "objectTypeId") != OF_CONTACTS:
        raise Permanent(f"HubSpot's list {number} is none of contacts.")
    return found


def read_page(caller: Caller, number: str, told: int, after: str) -> tuple[tuple[int, ...], str]:
    """Return the next members of a list, whose ids are above the last one that was told, and where to go on.

    Who is not named is taken to have left. So whatever is not certain to be a part of the list raises: `Permanent` what
    is to be read anew the next time, from its beginning.
    """
    size = 0 if after else _size(caller, number)
    where = f"&after={quote(after, safe='')}" if after else ""
    path = f"{LISTS}/{number}/memberships?limit={PAGE}{where}"
    content, _ = asked(caller, "GET", path, missing=MISSING.format(number))
    members = [text_in(raw, "recordId") if isinstance(raw, dict) else "" for raw in results_of(content)]
    more = next_of(content)
    if not all(is_id(member) and int(member) <= LARGEST for member in members):
        raise Retryable("HubSpot's answer cannot be read.")
    numbers = tuple(int(member) for member in members)
    if any(one >= other for one, other in pairwise((told, *numbers))):
        raise Permanent(f"HubSpot tells who is on its list {number} in no order. It is read again the next time.")
    if size and not numbers and not more:
        raise Permanent(f"HubSpot says that {size:,} are on its list {number}, and names nobody.")
    return numbers, more


def _size(caller: Caller, number: str) -> int:
    """Return how many are on a list, 0 where HubSpot does not say; it must not be at work on it just now."""
    found = read_list(caller, number)
    state = text_in(found, "processingStatus")
    if state != "COMPLETE":
        raise Permanent(f"HubSpot is working out who is on its list {number} ({state}). It is read the next time.")
    return whole_number(str(found.get("size", "")))
