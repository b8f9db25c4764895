"""What of a record is news: what its CRM did not say already when it was read last."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from evergreet.contracts import Agreement, CrmContact
from evergreet.importing.contact_store import Said
from evergreet.importing.rejects import Rejected
from evergreet.importing.values import as_text, check_json

COLUMNS = ("phone", "locale", "timezone", "created_at")
"""The details that are columns of a contact; all others are attributes, but for the stage."""

_UNSAID = object()


@dataclass(slots=True)
class News:
    """What has changed there: the address, details and the stage (None: they are gone), and what is kept for next time.

    `unsubscribed` is None where it is as it was; for somebody who left it is news again with another address. They have
    been off since `left_at`.
    """

    email: str | None
    columns: dict[str, Any]
    attributes: dict[str, Any]
    stage: str | None
    unsubscribed: bool | None
    left_at: datetime
    consents: dict[str, Said]
    told: dict[str, Any]


def news(contact: CrmContact, before: Mapping[str, Any], source: str) -> News:
    """Compare a record with what it said before; raises `Rejected` for one that a store cannot hold.

    What it never said and does not say now is no news: an empty field of a CRM erases nothing that others know.
    """
    check_json([contact.email, dict(contact.details)])
    try:
        details: dict[str, Any] = orjson.loads(orjson.dumps(dict(contact.details), option=orjson.OPT_NON_STR_KEYS))
    except (TypeError, ValueError) as error:
        raise Rejected("wrong type", f"a detail is no JSON value: {error}") from None
    known: dict[str, Any] = before.get("details") or {}
    changed = {
        name: value
        for name, value in details.items()
        if value != known.get(name, _UNSAID) and not (value is None and name not in known)
    }
    stage = changed.pop("stage", None)
    if "stage" in details:
        changed |= {f"{source}_stage": details["stage"]} if details["stage"] != known.get("stage") else {}
    columns = {name: changed.pop(name) for name in COLUMNS if name in changed}
    email, was = contact.email.strip(), before.get("email", "")
    left = contact.unsubscribed
    since: str = (left and before.get("since")) or contact.changed_at.isoformat()
    # A no without a time of its own has that of the record: told before, it is not said anew, whatever else changed.
    off = sorted({one.topic for one in contact.agreements if not one.granted and one.at == contact.changed_at})
    before_off = before.get("off", ())
    known_off = off if "" in before_off else [topic for topic in off if topic in before_off]
    said = [one for one in contact.agreements if one.granted or one.topic not in known_off]
    as_it_was = left == before.get("unsubscribed", False) and not (left and email != was)
    return News(
        email=None if email == was else email, columns=columns, attributes=changed,
        stage=as_text(stage, "stage", 100),
        unsubscribed=None if as_it_was else left, left_at=datetime.fromisoformat(since),
        consents=_consents(said, f"crm:{source}"),
        told={
            "email": email, "unsubscribed": left, "details": {**known, **details},
            **({"since": since} if left else {}), **({"off": off} if off else {}),
        },
    )  # fmt: skip


def said(told: Mapping[str, Any], topic: str, granted: bool, at: str) -> dict[str, Any]:
    """Return what a record will say that has taken a yes or a no, so that it is no news: without a topic to everything.

    A no comes back with the time of whatever changed the record last, and would go before a yes of meanwhile.
    """
    off = {*told.get("off", ())} - {topic} | (set() if granted else {topic})
    found = {name: value for name, value in told.items() if name != "off" and (topic or name != "since")}
    if not topic:
        found |= {"unsubscribed": not granted, **({} if granted else {"since": at})}
    return {**found, **({"off": sorted(off)} if off else {})}


def _consents(agreements: Sequence[Agreement], source: str) -> dict[str, Said]:
    """Return the last word on each topic; of a yes and a no of the same moment the no."""
    found: dict[str, Said] = {}
    for one in sorted(agreements, key=lambda each: (each.at, not each.granted)):
        topic = as_text(one.topic, "topic", 100)
        if topic:
            check_json([topic, one.wording])
            found[topic] = Said(one.granted, one.at, source, as_text(one.wording, "wording", 2000) or "")
    return found
