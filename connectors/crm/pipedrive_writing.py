"""What is written to Pipedrive: custom fields, notes and activities, one request each.

https://developers.pipedrive.com/docs/api/v1/Persons#updatePerson, `…/Notes#addNote`, `…/Activities#addActivity`.
"""

from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import urlencode

from connectors.answers import object_answered
from connectors.calling import Caller
from connectors.crm.parts import Parts, harmless
from connectors.crm.pipedrive_answers import asked, called
from connectors.crm.pipedrive_changes import PERSONS, id_of
from connectors.crm.pipedrive_settings import PipedriveSettings
from connectors.elapsed import Clock
from connectors.json_bodies import object_in
from evergreet.contracts import (
    Accepted,
    CrmConsent,
    CrmLastMessage,
    CrmNote,
    CrmRecord,
    CrmStage,
    CrmTask,
    Outcome,
    Push,
)
from evergreet.errors import Permanent, Retryable

NO_SUCH = "Pipedrive has no such person."


def write(caller: Caller, settings: PipedriveSettings, batch: Sequence[Push], clock: Clock) -> list[Outcome]:
    """Write a batch; return one outcome for each."""
    parts, known = Parts("Pipedrive", 1, clock), dict[str, str]()
    outcomes = []
    for push in batch:
        outcome = parts.alone(lambda push=push: _write(caller, settings, push, known))  # type: ignore[misc]
        outcomes.append(outcome if isinstance(push, (CrmNote, CrmTask)) else harmless(outcome))
    return outcomes


def _write(caller: Caller, settings: PipedriveSettings, push: Push, known: dict[str, str]) -> Outcome:
    method, path, content = _request(push, settings)
    number = id_of(push.record.id) or _find(caller, push.record, known)
    if isinstance(push, CrmNote):
        content["person_id"] = int(number)
    elif isinstance(push, CrmTask):
        content["participants"] = [{"person_id": int(number), "primary": True}]
    else:
        path = f"{path}/{number}"
    made = id_of(object_in(object_answered(called(caller, method, path, content).content), "data").get("id"))
    if not made:
        raise Retryable("Pipedrive did it, and its answer cannot be read.", accepted="maybe")
    return Accepted(made)


def _find(caller: Caller, record: CrmRecord, known: dict[str, str]) -> str:
    """Return the id of who has an address, the oldest of several; it is asked for once in a batch."""
    email = record.email.strip().lower()
    if "@" not in email:
        raise Permanent("Neither an id of Pipedrive's nor an address of the person is known.")
    if email not in known:
        query = urlencode({"term": email, "fields": "email", "exact_match": "true", "limit": "100"}, errors="replace")
        content, _ = asked(caller, f"{PERSONS}/search?{query}")
        items = object_in(content, "data").get("items")
        found = [
            object_in(one, "item") for one in (items if isinstance(items, list) else ()) if isinstance(one, dict)
        ]  # fmt: skip
        ids = [int(id_of(one.get("id"))) for one in found if id_of(one.get("id")) and _has(one, email)]
        known[email] = str(min(ids)) if ids else ""
    if not known[email]:
        raise Permanent(NO_SUCH)
    return known[email]


def _has(item: Any, email: str) -> bool:
    emails = item.get("emails")
    return any(str(one).strip().lower() == email for one in (emails if isinstance(emails, list) else ()))


def _request(push: Push, settings: PipedriveSettings) -> tuple[str, str, dict[str, Any]]:
    """Return method, path and content; raises `Permanent` where there is nothing to write it to."""
    match push:
        case CrmNote():
            text = f"<p><b>{escape(push.title)}</b></p>{_html(push.text)}"
            return "POST", "/v1/notes", {"content": text, "add_time": push.at.strftime("%Y-%m-%d %H:%M:%S")}
        case CrmTask():
            owner = {"owner_id": int(settings.task_owner)} if settings.task_owner else {}
            return "POST", "/api/v2/activities", {
                "subject": push.title, "type": settings.task_type, "due_date": push.due_at.date().isoformat(),
                "note": _html(push.text), **owner,
            }  # fmt: skip
        case CrmConsent(topic=""):
            if not settings.marketing:
                raise Permanent("EVERGREET_PIPEDRIVE_MARKETING is off: there is no marketing status to write it to.")
            return "PATCH", PERSONS, {"marketing_status": "subscribed" if push.granted else "unsubscribed"}
        case CrmStage():
            fields = {settings.stage_field: push.stage}
        case CrmLastMessage():
            fields = {
                settings.last_message_field: push.name, settings.last_message_at_field: push.at.date().isoformat(),
            }  # fmt: skip
        case CrmConsent():
            fields = {settings.topic_fields.get(push.topic, ""): "yes" if push.granted else "no"}
    fields.pop("", None)
    if not fields:
        raise Permanent("It is written to no field: EVERGREET_PIPEDRIVE_…_FIELD names none.")
    return "PATCH", PERSONS, {"custom_fields": fields}


def _html(text: str) -> str:
    return "".join(f"<p>{escape(line)}</p>" for line in text.splitlines() if line.strip())
