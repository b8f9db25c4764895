"""Pipedrive: persons that changed are read in the order of change; fields, notes and activities are written back.

Its webhooks are not signed: they show a name and a password that we chose. They say whose person changed; it is then
read, and who is not there any more was deleted.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import httpx

from connectors.authorization import basic, verify
from connectors.crm.pipedrive_answers import asked
from connectors.crm.pipedrive_changes import CUSTOM_KEY, changed_since, id_of, persons_of, persons_path, read_persons
from connectors.crm.pipedrive_settings import PipedriveSettings
from connectors.crm.pipedrive_writing import write
from connectors.events.words import pass_over
from connectors.http_connector import HttpConnector
from connectors.json_bodies import object_in, read_json, text_in
from evergreet.contracts import Capabilities, CrmContact, CrmPage, Outcome, Push, WebhookRequest
from evergreet.errors import Misconfigured, Permanent, Unreadable


class Pipedrive(HttpConnector[PipedriveSettings]):
    """Reads and writes the persons of a Pipedrive company; all of it may be called from several threads."""

    name: ClassVar[str] = "pipedrive"
    provider = "Pipedrive"
    settings_class = PipedriveSettings
    longest_answer = 8 * 1024 * 1024  # 500 persons with some fields
    capabilities: ClassVar[Capabilities] = Capabilities(
        channel="crm", batch_limit=100, window=100, connections=2, webhooks=True,
        proven_by=("its own pipedrive package for Node",),
    )  # fmt: skip

    def changed_since(self, cursor: str) -> CrmPage:
        """Return the next page of persons that changed."""
        return changed_since(self._caller, self._settings, cursor)

    def push(self, batch: Sequence[Push]) -> list[Outcome]:
        """Write back, one after the other; an answer that stands for everybody ends the batch."""
        return write(self._caller, self._settings, batch, self._clock)

    def check(self) -> str:
        """Ask for the fields of persons, and say which of those that are read and written are not there."""
        settings = self._settings
        try:
            content, _ = asked(self._caller, "/api/v2/personFields?limit=500")
        except Permanent as fault:
            raise Misconfigured(fault.reason) from None
        known = {text_in(one, "field_code") for one in persons_of(content) if isinstance(one, dict)}
        own = (settings.stage_field, settings.last_message_field, settings.last_message_at_field)
        wanted = [*settings.fields, *own, *settings.topic_fields.values()]
        missing = [key for key in dict.fromkeys(wanted) if len(key) == CUSTOM_KEY and key not in known]
        if missing:
            raise Misconfigured(f"Pipedrive's persons have no {', '.join(missing)}: see docs/connectors/pipedrive.md.")
        return f"{httpx.URL(settings.base_url).host} answers, and its persons have all fields that are named."

    def verify(self, request: WebhookRequest) -> None:
        """Raise `NotGenuine` unless it shows the name and the password of our webhooks."""
        right = basic(self._settings.webhook_user, self._settings.webhook_password.get_secret_value())
        verify(request, [right], "EVERGREET_PIPEDRIVE_WEBHOOK_USER and …_PASSWORD")

    def read_changes(self, request: WebhookRequest) -> list[CrmContact]:
        """Read the person that a request names: https://pipedrive.readme.io/docs/guide-for-webhooks-v2."""
        told = read_json(request.body)
        if not isinstance(told, dict):
            raise Unreadable("The body is not an event.")
        number = _person(object_in(told, "meta"))
        if not number:
            return []
        content, now = asked(self._caller, persons_path(self._settings, {"ids": number}))
        contacts, _ = read_persons(persons_of(content), self._settings)
        return [one for one in contacts if one.id == number] or [CrmContact(number, now, deleted=True)]

    @property
    def _key(self) -> str:
        return self._settings.token.get_secret_value()

    def _headers(self) -> Mapping[str, str]:
        return {"x-api-token": self._key}


def _person(meta: Mapping[str, Any]) -> str:
    """Return whose person it is about; in the first version of webhooks the words are others."""
    kind = text_in(meta, "entity") or text_in(meta, "object")
    if kind != "person":
        pass_over("pipedrive", kind)
        return ""
    return id_of(meta.get("entity_id")) or ("" if "entity_id" in meta else id_of(meta.get("id")))
