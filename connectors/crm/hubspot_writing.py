"""What is written to HubSpot: properties of contacts, notes, tasks, subscriptions and lists.

https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/guide, `…/crm-notes-v3/guide`, `…/crm-tasks-v3/guide`.
It has no key that makes a note or a task once; what names one in a request (`objectWriteTraceId`) only makes the answer
say which were taken where not all were.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from typing import Any

from connectors.answers import object_answered
from connectors.crm.hubspot_answers import names_in, told
from connectors.crm.hubspot_changes import CONTACTS
from connectors.crm.hubspot_consent import subscribe
from connectors.crm.hubspot_events import tell
from connectors.crm.hubspot_memberships import put_on_lists
from connectors.crm.hubspot_people import NO_SUCH, find_out
from connectors.crm.hubspot_reading import milliseconds
from connectors.crm.hubspot_requests import Requests
from connectors.crm.hubspot_settings import HubSpotSettings
from connectors.crm.parts import Item, harmless
from connectors.json_bodies import object_in, text_in
from evergreet.contracts import (
    Accepted,
    CrmConsent,
    CrmLastMessage,
    CrmMembership,
    CrmNote,
    CrmStage,
    CrmTask,
    Outcome,
    Push,
)
from evergreet.errors import Permanent, Retryable

LONGEST = 65_536
"""Characters of a note or of a task's text."""
PATHS: Mapping[type, str] = {
    CrmStage: f"{CONTACTS}/batch/update",
    CrmLastMessage: f"{CONTACTS}/batch/update",
    CrmNote: "/crm/v3/objects/notes/batch/create",
    CrmTask: "/crm/v3/objects/tasks/batch/create",
}
UPDATES = {PATHS[CrmStage]}
ASSOCIATIONS: Mapping[type, int] = {CrmNote: 202, CrmTask: 204}
"""HubSpot's own types of association: note to contact, task to contact."""


def write(requests: Requests, batch: Sequence[Push | CrmMembership]) -> list[Outcome]:
    """Write a batch; return one outcome for each."""
    people = find_out(requests, batch)
    outcomes = people.outcomes
    items: dict[type, dict[str, Item]] = {kind: {} for kind in PATHS}
    as_events: dict[int, tuple[str, CrmNote]] = {}
    for place, push in enumerate(batch):
        if place in outcomes or isinstance(push, CrmConsent | CrmMembership):
            continue
        if isinstance(push, CrmNote) and requests.settings.note_event:
            as_events[place] = (people.ids[place], push)
            continue
        content = _content(push, requests.settings)
        if isinstance(content, Permanent):
            outcomes[place] = content
        elif isinstance(push, (CrmNote, CrmTask)):
            items[type(push)][str(place)] = _associated(str(place), people.ids[place], type(push), content, place)
        else:  # of what is about one contact the last stands
            number = people.ids[place]
            before = items[type(push)].get(number)
            places = [*before.places, place] if before else [place]
            items[type(push)][number] = Item(number, {"id": number, "properties": content}, places)
    for kind, path in PATHS.items():
        told = requests.in_parts(list(items[kind].values()), partial(_hand_over, requests, path))
        outcomes |= {place: harmless(one) if path in UPDATES else one for place, one in told.items()}
    outcomes |= tell(requests, as_events)
    for place, push in enumerate(batch):
        if isinstance(push, CrmConsent) and place not in outcomes:
            outcomes[place] = harmless(subscribe(requests, people.emails[place], push))
    memberships = {
        place: (people.ids[place], push)
        for place, push in enumerate(batch)
        if isinstance(push, CrmMembership) and place not in outcomes
    }
    outcomes |= put_on_lists(requests, memberships)
    return [outcomes[place] for place in range(len(batch))]


def _content(
    push: CrmStage | CrmLastMessage | CrmNote | CrmTask, settings: HubSpotSettings
) -> dict[str, str] | Permanent:
    """Return the properties that say it; those that have no name are left out."""
    match push:
        case CrmStage():
            content = {settings.stage_property: settings.stages.get(push.stage, push.stage)}
        case CrmLastMessage():
            content = {
                settings.last_message_property: push.name,
                settings.last_message_at_property: str(milliseconds(push.at)),
            }
        case CrmNote():
            text = f"<p><strong>{escape(push.title)}</strong></p>{_html(push.text)}"
            content = {"hs_timestamp": str(milliseconds(push.at)), "hs_note_body": text}
        case CrmTask():
            content = {
                "hs_timestamp": str(milliseconds(push.due_at)), "hs_task_subject": push.title,
                "hs_task_body": _html(push.text), "hs_task_status": "NOT_STARTED", "hs_task_type": "TODO",
                **({"hubspot_owner_id": settings.task_owner} if settings.task_owner else {}),
            }  # fmt: skip
    content.pop("", None)
    if not content:
        return Permanent("It is written to no property: EVERGREET_HUBSPOT_…_PROPERTY is empty.")
    if max(map(len, content.values())) > LONGEST:
        return Permanent(f"HubSpot takes texts of up to {LONGEST:,} characters.")
    return content


def _html(text: str) -> str:
    return "".join(f"<p>{escape(line)}</p>" for line in text.splitlines() if line.strip())


def _associated(name: str, number: str, kind: type, properties: Mapping[str, str], place: int) -> Item:
    types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": ASSOCIATIONS[kind]}]
    return Item(name, {
        "properties": properties, "associations": [{"to": {"id": number}, "types": types}], "objectWriteTraceId": name,
    }, [place])  # fmt: skip


def _hand_over(requests: Requests, path: str, part: Sequence[Item]) -> dict[str, Outcome]:
    """Make a request and match its answer: by name, else by order where all are there and none is named."""
    answered = requests.change(path, {"inputs": [item.content for item in part]})
    content = object_answered(answered.content)
    outcomes, nameless = _errors(content, requests.caller.key)
    outcomes = {item.name: outcomes[item.name] for item in part if item.name in outcomes}
    listed = content.get("results")
    results = [raw for raw in listed if isinstance(raw, dict)] if isinstance(listed, list) else []
    left = {item.name: item for item in part if item.name not in outcomes}
    named = {text_in(raw, "objectWriteTraceId") or text_in(raw, "id"): raw for raw in results}
    if not left.keys() & named.keys() and len(results) == len(left) and path not in UPDATES:
        named = dict(zip(left, results, strict=True))
    for name, item in left.items():
        if name in named:
            outcomes[name] = _taken(item, named[name], requests.settings)
        elif nameless is not None and named.keys() <= left.keys():  # who was taken is known
            outcomes[name] = nameless
        else:  # a contact that was merged into another, for one
            outcomes[name] = Retryable("HubSpot's answer does not say what became of it.", accepted="maybe")
    return outcomes


def _errors(content: Mapping[str, Any], secret: str) -> tuple[dict[str, Outcome], Outcome | None]:
    """Read the errors of an answer that is good for some: by name, and one that names nobody."""
    named: dict[str, Outcome] = {}
    nameless = None
    errors = content.get("errors")
    for error in errors if isinstance(errors, list) else []:
        if not isinstance(error, dict):
            continue
        category = text_in(error, "category")
        outcome: Outcome = Permanent(f"HubSpot refuses it: {told(error, secret)}")
        if category == "OBJECT_NOT_FOUND":
            outcome = Permanent(NO_SUCH)
        elif category == "RATE_LIMITS":
            outcome = Retryable(f"HubSpot does not take it now: {told(error, secret)}")
        names = [*names_in(error, "ids"), *names_in(error, "objectWriteTraceId")]
        named |= dict.fromkeys(names, outcome)
        nameless = nameless if names else outcome
    return named, nameless


def _taken(item: Item, raw: Mapping[str, Any], settings: HubSpotSettings) -> Outcome:
    """Return what a result means: a lifecycle stage that would go backward is not changed, and nothing else says so."""
    wanted = item.content["properties"].get(settings.stage_property)
    kept = text_in(object_in(raw, "properties"), settings.stage_property)
    if wanted and kept and kept != wanted:
        return Permanent(f"HubSpot keeps the contact in its stage {kept}: a lifecycle stage only moves forward there.")
    return Accepted(text_in(raw, "id"))
