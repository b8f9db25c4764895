"""Salesforce: contacts or leads that changed are read in the order of change; fields and tasks are written back."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import ClassVar

import httpx

from connectors.authorization import basic
from connectors.crm.salesforce_bulk import begin_job, read_job
from connectors.crm.salesforce_changes import Place, changed_since, fields_read
from connectors.crm.salesforce_session import Session
from connectors.crm.salesforce_settings import SalesforceSettings
from connectors.crm.salesforce_writing import write
from connectors.elapsed import Clock, elapsed
from connectors.http_connector import HttpConnector
from evergreet.contracts import Capabilities, CrmPage, Outcome, Push
from evergreet.errors import Misconfigured, Permanent


class Salesforce(HttpConnector[SalesforceSettings]):
    """Reads and writes the contacts of a Salesforce org; all of it may be called from several threads."""

    name: ClassVar[str] = "salesforce"
    provider = "Salesforce"
    settings_class = SalesforceSettings
    longest_answer = 16 * 1024 * 1024  # 2,000 records with some hundred fields
    capabilities: ClassVar[Capabilities] = Capabilities(
        channel="crm", batch_limit=1000, window=200, connections=2, proven_by=("the simple-salesforce package",)
    )

    def __init__(
        self, settings: SalesforceSettings, client: httpx.Client, *, clock: Clock = elapsed,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:  # fmt: skip
        super().__init__(settings, client, clock=clock)
        self._session = Session(self._caller, settings, now)

    def changed_since(self, cursor: str) -> CrmPage:
        """Return the next page of contacts that changed, were merged or deleted."""
        place = Place.read(cursor)
        if place.job:
            return read_job(self._session, self._settings, place)
        if self._settings.bulk and not cursor:
            return begin_job(self._session, self._settings)
        return changed_since(self._session, self._settings, place)

    def push(self, batch: Sequence[Push]) -> list[Outcome]:
        """Write back; an answer that stands for everybody ends the batch."""
        return write(self._session, self._settings, batch, self._clock)

    def check(self) -> str:
        """Ask what fields a contact has for us, and whether those that are written may be changed."""
        settings = self._settings
        try:
            known = self._session.described()
        except Permanent as fault:
            raise Misconfigured(fault.reason) from None
        own = (settings.stage_field, settings.last_message_field, settings.last_message_at_field)
        written = [*filter(None, own), "HasOptedOutOfEmail", *settings.topic_fields.values()]
        read = [way for way in fields_read(settings) if "." not in way]
        missing = [name for name in dict.fromkeys([*read, *written]) if name not in known]
        if missing:
            raise Misconfigured(
                f"Salesforce shows no {', '.join(missing)} of a {settings.object}: see docs/connectors/salesforce.md."
            )
        locked = [name for name in written if known[name].get("updateable") is not True]
        if locked:
            raise Misconfigured(f"Salesforce does not let the app change {', '.join(locked)}: see its permissions.")
        host = httpx.URL(settings.base_url).host
        return f"{host} lets the app in and has all {len(read)} fields of a {settings.object}."

    def _headers(self) -> Mapping[str, str]:
        """Those of the door: the app signs in, and goes on with what it gets there."""
        settings = self._settings
        return {} if settings.username else {"Authorization": basic(settings.client_id, self._key)}

    @property
    def _key(self) -> str:
        settings = self._settings
        return (settings.private_key if settings.username else settings.client_secret).get_secret_value()
