"""What is written to Salesforce: fields of contacts, and tasks; up to 200 records in a request.

https://developer.salesforce.com/docs/platform/api-rest/guide/resources-composite-sobjects-collections.html. A note is a
task that is completed, which the activity timeline shows as such.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from connectors.crm.parts import Item, Parts, harmless
from connectors.crm.salesforce_answers import refused_record
from connectors.crm.salesforce_changes import MOST_NAMED, records_of
from connectors.crm.salesforce_session import Session
from connectors.crm.salesforce_settings import SalesforceSettings
from connectors.crm.salesforce_soql import is_id, query, quoted
from connectors.elapsed import Clock
from connectors.json_bodies import text_in
from evergreet.contracts import Accepted, CrmConsent, CrmLastMessage, CrmNote, CrmStage, CrmTask, Outcome, Push
from evergreet.errors import Permanent, Retryable

MOST = 200
PATH = "/composite/sobjects"
LONGEST_SUBJECT, LONGEST_TEXT = 255, 32_000
NO_SUCH = "Salesforce has no such contact."
KINDS: tuple[type, ...] = (CrmStage, CrmLastMessage, CrmConsent, CrmNote, CrmTask)

Fields: TypeAlias = dict[str, Any]


def write(session: Session, settings: SalesforceSettings, batch: Sequence[Push], clock: Clock) -> list[Outcome]:
    """Write a batch; return one outcome for each."""
    parts = Parts("Salesforce", MOST, clock)
    ids, outcomes = _find_ids(session, settings, batch, parts)
    items: dict[type, dict[str, Item]] = {kind: {} for kind in KINDS}
    for place, push in enumerate(batch):
        if place in outcomes:
            continue
        content = _content(push, settings)
        if isinstance(content, Permanent):
            outcomes[place] = content
            continue
        if isinstance(push, (CrmNote, CrmTask)):
            record = {"attributes": {"type": "Task"}, "WhoId": ids[place], **content}
            items[type(push)][str(place)] = Item(str(place), record, [place])
            continue
        before = items[type(push)].get(ids[place])  # of what is about one contact the last stands
        record = {**(before.content if before else {}), "attributes": {"type": settings.object}, "Id": ids[place]}
        places = [*before.places, place] if before else [place]
        items[type(push)][ids[place]] = Item(ids[place], record | content, places)
    for kind, held in items.items():
        told = parts.in_parts(list(held.values()), partial(_hand_over, session, settings, kind))
        again = kind not in {CrmNote, CrmTask} or settings.key_field
        outcomes |= {place: harmless(one) if again else one for place, one in told.items()}
    return [outcomes[place] for place in range(len(batch))]


def _find_ids(
    session: Session, settings: SalesforceSettings, batch: Sequence[Push], parts: Parts
) -> tuple[dict[int, str], dict[int, Outcome]]:
    """Return the ids of those who are meant by place, and what became of those who were not found."""
    ids: dict[int, str] = {}
    outcomes: dict[int, Outcome] = {}
    unknown: dict[str, Item] = {}
    for place, push in enumerate(batch):
        number, email = push.record.id, push.record.email.strip().lower()
        if is_id(number):
            ids[place] = number
        elif "@" not in email:
            outcomes[place] = Permanent("Neither an id of Salesforce's nor an address of the contact is known.")
        else:
            unknown.setdefault(email, Item(email, {}, [])).places.append(place)

    def ask(part: Sequence[Item]) -> dict[str, Outcome]:
        """Of several contacts with an address the oldest is meant."""
        named = ", ".join(quoted(item.name.encode("utf-8", "replace").decode()) for item in part)
        found, _ = session.ask("GET", query(
            f"SELECT Id, Email FROM {settings.object} WHERE Email IN ({named}) ORDER BY CreatedDate DESC, Id DESC"
        ))  # fmt: skip
        known = {
            text_in(raw, "Email").lower(): text_in(raw, "Id")
            for raw in records_of(found) if isinstance(raw, dict) and is_id(raw.get("Id"))
        }  # fmt: skip
        ids.update({place: known[item.name] for item in part for place in item.places if item.name in known})
        return {item.name: Permanent(NO_SUCH) for item in part if item.name not in known}

    outcomes |= parts.in_parts(list(unknown.values()), ask, MOST_NAMED // 3)
    return ids, outcomes


def _content(push: Push, settings: SalesforceSettings) -> Fields | Permanent:
    """Return the fields that say it; those that have no name are left out."""
    match push:
        case CrmStage():
            content: Fields = {settings.stage_field: push.stage}
        case CrmLastMessage():
            at = push.at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
            content = {settings.last_message_field: push.name, settings.last_message_at_field: at}
        case CrmConsent(topic=""):
            content = {"HasOptedOutOfEmail": not push.granted}
        case CrmConsent():
            content = {settings.topic_fields.get(push.topic, ""): push.granted}
        case CrmNote():
            content = {"Status": "Completed", **_task(push.key, push.title, push.text, settings)}
            content["ActivityDate"] = push.at.date().isoformat()
        case CrmTask():
            content = {"Status": "Not Started", **_task(push.key, push.title, push.text, settings)}
            content["ActivityDate"] = push.due_at.date().isoformat()
    content.pop("", None)
    if not content:
        return Permanent("It is written to no field: EVERGREET_SALESFORCE_…_FIELD names none.")
    if len(content.get("Subject", "")) > LONGEST_SUBJECT or len(content.get("Description", "")) > LONGEST_TEXT:
        return Permanent(
            f"Salesforce takes subjects of up to {LONGEST_SUBJECT} and texts of {LONGEST_TEXT:,} characters."
        )
    return content


def _task(key: str, title: str, text: str, settings: SalesforceSettings) -> Fields:
    owner = {"OwnerId": settings.task_owner} if settings.task_owner else {}
    return {"Subject": title, "Description": text, settings.key_field: key, **owner}


def _hand_over(
    session: Session, settings: SalesforceSettings, kind: type, part: Sequence[Item]
) -> Mapping[str, Outcome]:
    """Make a request; its answer has a result for each record, in order."""
    makes = kind in {CrmNote, CrmTask}
    by_key = f"{PATH}/Task/{settings.key_field}" if settings.key_field else PATH
    results = session.change(
        "POST" if makes and not settings.key_field else "PATCH", by_key if makes else PATH,
        {"allOrNone": False, "records": [item.content for item in part]},
    )  # fmt: skip
    if not isinstance(results, list) or len(results) != len(part):
        raise Retryable("Salesforce did it, and its answer cannot be read.", accepted="maybe")
    return {item.name: _taken(item, result) for item, result in zip(part, results, strict=True)}


def _taken(item: Item, result: Any) -> Outcome:
    if not isinstance(result, dict) or not isinstance(result.get("success"), bool):
        return Retryable("Salesforce's answer does not say what became of it.", accepted="maybe")
    if not result["success"]:
        return refused_record(result, "")
    return Accepted(text_in(result, "id") or item.name)
