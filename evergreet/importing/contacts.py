"""Contacts from a file: new ones stored, known ones merged with the columns that the file has.

What makes a row unusable rejects it: no id, an unreadable consent or time of consent, an unknown stage. What
only is no use is left out and counted: an invalid email, phone, locale, timezone or `created_at`.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from evergreet.importing.contact_store import ContactRow, ContactStore, Said
from evergreet.importing.mapping import Plan
from evergreet.importing.people import address_or_none, locale_or_none, phone_or_none, timezone_or_none
from evergreet.importing.records import Record
from evergreet.importing.rejects import Rejected, shown
from evergreet.importing.storing import Outcome, Setting, missing
from evergreet.importing.times import as_time
from evergreet.importing.values import as_boolean, as_object, as_text, digest

FIELDS = (
    "source_id", "email", "phone", "locale", "timezone", "created_at", "attributes", "stage", "stage_at",
    "unsubscribed", "consent.", "consent_at", "consent_source", "consent_wording",
)  # fmt: skip


class ContactImport:
    """Reads and stores contacts; unique by source and source id."""

    def __init__(
        self,
        plan: Plan,
        setting: Setting,
        *,
        stages: Callable[[], Collection[str]] | None = None,
        region: str | None = None,
        cause: str = "import",
    ) -> None:
        self._plan = plan
        self._setting = setting
        self._stages = stages
        self._region = region
        self._cause = cause
        self._topics = [name.removeprefix("consent.") for name in plan.fields if name.startswith("consent.")]

    def shape(self, record: Record) -> ContactRow:
        """Check one record; raises Rejected for one that cannot be used."""
        values, plan = record.values, self._plan
        source_id = as_text(plan.get(values, "source_id"), "source_id", 255)
        if source_id is None:
            raise missing("source_id")
        changes, warnings = self._person(values)
        row = ContactRow(
            record, source_id, changes,
            attributes={**plan.rest(values), **as_object(plan.get(values, "attributes"), "attributes")},
            stage=self._stage(values), stage_at=self._time(values, "stage_at"),
            unsubscribed=as_boolean(plan.get(values, "unsubscribed"), "unsubscribed") or False,
            consents=self._consents(values),
            warnings=tuple(warnings),
        )  # fmt: skip
        content = digest(row.content())
        first, line = self._setting.memory.first(source_id, content, record.line)
        if first != content:
            raise Rejected("id stands twice", f"source_id {shown(source_id)} is on line {line:,} with other content")
        return row

    def _person(self, values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        changes: dict[str, Any] = {}
        warnings: list[str] = []
        for name in ("email", "phone", "locale", "timezone"):
            if not self._plan.holds(values, name):
                continue
            written = as_text(self._plan.get(values, name), name, 1000)
            found = (
                self._read(name, written)
                if written
                else dict.fromkeys(("email", "address") if name == "email" else (name,))
            )
            if found is None:
                warnings.append(f"{name} is not valid and was left out")
            else:
                changes.update(found)
        try:
            created = self._time(values, "created_at")
        except Rejected:
            created = None
            warnings.append("created_at is not a usable time and was left out")
        if created is not None:
            changes["created_at"] = created
        return changes, warnings

    def _read(self, name: str, written: str) -> dict[str, str] | None:
        if name == "email":
            address = address_or_none(written)
            return {"email": address.written, "address": address.normalised} if address else None
        if name == "phone":
            found = phone_or_none(written, self._region)
        else:
            found = locale_or_none(written) if name == "locale" else timezone_or_none(written)
        return {name: found} if found else None

    def _time(self, values: dict[str, Any], name: str) -> datetime | None:
        return as_time(self._plan.get(values, name), name, self._setting.zone, self._setting.now)

    def _stage(self, values: dict[str, Any]) -> str | None:
        stage = as_text(self._plan.get(values, "stage"), "stage", 100)
        if stage is not None and self._stages is not None and stage not in (known := self._stages()):
            raise Rejected("unknown stage", f"stage is {shown(stage)}; the lifecycle has {', '.join(known)}")
        return stage

    def _consents(self, values: dict[str, Any]) -> dict[str, Said]:
        at = self._time(values, "consent_at")
        source = as_text(self._plan.get(values, "consent_source"), "consent_source", 100) or ""
        wording = as_text(self._plan.get(values, "consent_wording"), "consent_wording", 2000) or ""
        found = {}
        for topic in self._topics:
            if len(topic) > 100:
                raise Rejected("too long", f"the topic {shown(topic)} has more than 100 characters")
            granted = as_boolean(self._plan.get(values, f"consent.{topic}"), f"consent.{topic}")
            if granted is not None:
                found[topic] = Said(granted, at, source, wording)
        return found

    def store(self, connection: Connection, rows: Sequence[ContactRow]) -> Outcome:
        """Store a batch in the caller's writing transaction."""
        return ContactStore(self._setting, self._cause).store(connection, rows)
