"""HubSpot: contacts that changed are read by its search, and what Evergreet knows is written back by the hundred.

Its webhooks say whose contact changed and not how it stands: it is then read.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import httpx

from connectors.calling import bearer
from connectors.crm.hubspot_answers import asked, not_found, results_of
from connectors.crm.hubspot_changes import CONTACTS, changed_since
from connectors.crm.hubspot_lists import read_list
from connectors.crm.hubspot_reading import NEVER, Kinds, kinds_of, opt_outs_read, properties_read, read_contacts
from connectors.crm.hubspot_requests import MOST, Requests
from connectors.crm.hubspot_settings import PROPERTIES, HubSpotSettings
from connectors.crm.hubspot_webhooks import contacts_named, verify
from connectors.crm.hubspot_writing import write
from connectors.http_connector import HttpConnector
from connectors.json_bodies import text_in
from evergreet.contracts import Capabilities, CrmContact, CrmMembership, CrmPage, Outcome, Push, WebhookRequest
from evergreet.errors import Misconfigured, Permanent


class HubSpot(HttpConnector[HubSpotSettings]):
    """Reads and writes the contacts of a HubSpot account; all of it may be called from several threads."""

    name: ClassVar[str] = "hubspot"
    provider = "HubSpot"
    settings_class = HubSpotSettings
    longest_answer = 8 * 1024 * 1024  # 200 contacts with some hundred properties
    capabilities: ClassVar[Capabilities] = Capabilities(
        channel="crm",
        batch_limit=1000,
        window=100,
        connections=2,
        webhooks=True,
        proven_by=("descriptions made from its own package", "the hubspot-api-client package", "published signatures"),
    )

    _known_kinds: Kinds | None = None

    def changed_since(self, cursor: str) -> CrmPage:
        """Return the next page of contacts that changed, or were deleted."""
        return changed_since(self._caller, self._settings, self._kinds(), cursor)

    def push(self, batch: Sequence[Push | CrmMembership]) -> list[Outcome]:
        """Write back; an answer that stands for everybody ends the batch."""
        return write(Requests(self._caller, self._settings, self._clock), batch)

    @property
    def lists(self) -> Collection[str]:
        """Return what the lists are called that people can be put on."""
        return self._settings.lists.keys()

    def check(self) -> str:
        """Ask for what is read and written: HubSpot passes over properties that it does not know."""
        settings = self._settings
        written = (settings.stage_property, settings.last_message_property, settings.last_message_at_property)
        wanted = dict.fromkeys([*settings.properties, *opt_outs_read(settings), *filter(None, written)])
        try:
            known = {text_in(one, "name") for one in self._described(wanted) if isinstance(one, dict)}
            for number in settings.lists.values():
                read_list(self._caller, number)
        except Permanent as fault:
            raise Misconfigured(fault.reason) from None
        missing = [name for name in wanted if name not in known]
        if missing:
            raise Misconfigured(f"HubSpot's contacts have no {', '.join(missing)}: see docs/connectors/hubspot.md.")
        lists = f", and all {len(settings.lists)} lists" if settings.lists else ""
        told = "its webhooks are taken" if settings.secret.get_secret_value() and settings.webhook else "no webhooks"
        return f"{httpx.URL(settings.base_url).host} answers and has all {len(wanted)} properties{lists}; {told}."

    def verify(self, request: WebhookRequest) -> None:
        """Raise `NotGenuine` unless HubSpot signed it with the app's secret."""
        secret, url = self._settings.secret.get_secret_value(), self._settings.webhook
        if not (secret and url):
            missing = "EVERGREET_PUBLIC_URL" if secret else "EVERGREET_HUBSPOT_SECRET"
            raise Misconfigured(f"{missing} is not set: HubSpot's signature cannot be verified.")
        verify(request, url, secret)

    def read_changes(self, request: WebhookRequest) -> list[CrmContact]:
        """Read the contacts that a request names; who is not there any more is deleted."""
        named = contacts_named(request)
        ids = list(named)
        return [
            replace(contact, changed_at=max(contact.changed_at, named.get(contact.id, NEVER)))
            for start in range(0, len(ids), MOST)
            for contact in self._read(ids[start : start + MOST])
        ]

    def _read(self, ids: Sequence[str]) -> list[CrmContact]:
        content, now = asked(self._caller, "POST", f"{CONTACTS}/batch/read", {
            "properties": properties_read(self._settings), "propertiesWithHistory": [],
            "inputs": [{"id": number} for number in ids],
        })  # fmt: skip
        contacts, _ = read_contacts(results_of(content), self._settings, self._kinds())
        gone = not_found(content)
        return contacts + [CrmContact(number, now, deleted=True) for number in ids if number in gone]

    def _kinds(self) -> Kinds:
        """Return what kind of value properties have, asked for once where there are others than those it came with."""
        if self._known_kinds is None:
            own = [name for name in self._settings.properties if name not in PROPERTIES]
            self._known_kinds = kinds_of(self._described(own)) if own else {}
        return self._known_kinds

    def _described(self, names: Iterable[str]) -> list[Any]:
        wanted = [{"name": name} for name in names]
        described: list[Any] = []
        for start in range(0, len(wanted), MOST):
            content, _ = asked(self._caller, "POST", "/crm/v3/properties/contacts/batch/read", {
                "archived": False, "inputs": wanted[start : start + MOST],
            })  # fmt: skip
            described += results_of(content)
        return described

    @property
    def _key(self) -> str:
        return self._settings.token.get_secret_value()

    def _headers(self) -> Mapping[str, str]:
        return bearer(self._key)
