"""Notes as occurrences of a custom event, which HubSpot shows on the timeline, and by which its workflows and lists go.

https://developers.hubspot.com/docs/api-reference/events-send-event-completions-v3/guide. One with an id that is known
already is not taken again within a year, so that a note is made once, however often it is told. Its timeline API is for
partners whose apps have such events already: https://developers.hubspot.com/docs/api/crm/timeline.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from uuid import NAMESPACE_OID, uuid5

from connectors.crm.hubspot_requests import Requests
from connectors.crm.parts import Item, harmless
from evergreet.contracts import Accepted, CrmNote, Outcome

PATH = "/events/v3/send/batch"
LONGEST = 256
"""Characters of a property of an event: longer ones are refused, with all that is in the request."""


def tell(requests: Requests, notes: Mapping[int, tuple[str, CrmNote]]) -> dict[int, Outcome]:
    """Tell of notes; both by place of a batch, with the ids of contacts."""
    items = [
        Item(str(place), {
            "eventName": requests.settings.note_event, "objectId": contact, "occurredAt": note.at.isoformat(),
            "uuid": str(uuid5(NAMESPACE_OID, note.key)),
            "properties": {"title": _short(note.title), "text": _short(note.text)},
        }, [place])
        for place, (contact, note) in notes.items()
    ]  # fmt: skip
    told = requests.in_parts(items, partial(_send, requests))
    return {place: harmless(outcome) for place, outcome in told.items()}


def _send(requests: Requests, part: Sequence[Item]) -> dict[str, Outcome]:
    requests.change(PATH, {"inputs": [item.content for item in part]})  # its answer says nothing, and is none
    return {item.name: Accepted(item.content["uuid"]) for item in part}


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
