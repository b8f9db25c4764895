"""Events that conditions can ask for, from what providers told: `did("email_opened")`."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from evergreet.contracts import Kind
from evergreet.feedback.placing import Place
from evergreet.feedback.words import BY_MACHINE, NAMES, SMS_NAMES

_BOUNCES = {Kind.SOFT_BOUNCED: "soft", Kind.HARD_BOUNCED: "hard", Kind.BLOCKED: "blocked"}
_OWN_PATHS = re.compile(r"/(?:u|preferences)/|/c/[\w-]{54,}$")
"""Paths of our own links: who goes there does not come to visit, a click that is led over us is told by ourselves, and
nobody needs the token."""


def facts_of(events: Sequence[Any], places: Mapping[int, Place]) -> list[dict[str, Any]]:
    """Return rows of `event` for what happened to messages of the ledger, but for times of storage."""
    facts = []
    for event in events:
        place, kind = places.get(event.id), Kind(event.kind)
        if place is None or kind not in (names := SMS_NAMES if place.channel == "sms" else NAMES):
            continue
        properties: dict[str, Any] = {"campaign_name": place.campaign, "step": place.step_key}
        properties["message_id"] = place.message_id
        if kind is Kind.CLICKED:
            link = _link(event.url)
            if link is None:
                continue
            properties["link_url"] = link
        if kind in _BOUNCES:
            properties["bounce"] = _BOUNCES[kind]
        facts.append(
            {
                "contact_id": place.contact_id, "occurred_at": event.at, "properties": properties,
                "name": BY_MACHINE.get(kind, names[kind]) if event.machine else names[kind],
                "source": f"webhook:{event.connector}", "source_id": event.event_id,
            }
        )  # fmt: skip
    return facts


def _link(url: str) -> str | None:
    """Return where a link led, without what may name a person; None where it is one of our own."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if _OWN_PATHS.match(parts.path):
        return None
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else ""
