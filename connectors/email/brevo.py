"""Brevo: up to 1,000 messages of one sender in a request, with an idempotency key that lives for a quarter of an hour.

What comes with one key is done once, and a second time refused. So a request whose answer got lost is stored and
repeated: where Brevo never had it, it goes; where Brevo had it, nobody gets two, and a webhook tells of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import ClassVar
from uuid import uuid4

import httpx

from connectors.authorization import basic, token, verify
from connectors.calling import Answered
from connectors.email.brevo_answers import understand, understand_account
from connectors.email.brevo_events import read_events
from connectors.email.brevo_payload import requests_of, with_key, written
from connectors.email.brevo_settings import BrevoSettings
from connectors.email.brevo_suppressions import Lists
from connectors.email.parts import hand_over_in_parts, write_each
from connectors.http_connector import HttpConnector
from evergreet.contracts import Capabilities, EmailMessage, Outcome, ProviderEvent, Request, Suppressed, WebhookRequest

LONGEST_ANSWER = 512 * 1024
"""Octets: an answer has some 70 for each of up to 1,000 messages."""


class Brevo(HttpConnector[BrevoSettings]):
    """Hands messages to Brevo; `send` and `hand_over` may be called from several threads."""

    name: ClassVar[str] = "brevo"
    provider = "Brevo"
    settings_class = BrevoSettings
    longest_answer = LONGEST_ANSWER
    capabilities: ClassVar[Capabilities] = Capabilities(
        batch_limit=1000,
        window=500,
        connections=2,
        idempotency=timedelta(minutes=15),
        sandbox=True,
        webhooks=True,
        suppressions=True,
        again=429,  # after any 5xx it tells no more
        proven_by=("its OpenAPI description", "the brevo-python package", "published events"),
    )

    def prepare(self, batch: Sequence[EmailMessage]) -> tuple[list[Request], dict[int, Outcome]]:
        """Return requests of up to 1,000 messages of one sender each, and what cannot be sent as it is."""
        contents, refused = write_each(batch, lambda message: written(message, self._settings))
        return list(requests_of(contents, self._settings)), refused

    def hand_over(self, body: bytes, key: str, count: int) -> list[Outcome]:
        """Hand over a request, for the first time or again; again it is taken only where it was not there before."""
        content, named = with_key(body, key)
        # Its pages show the key among the headers of the mail, and call it a header of the request: it stands in both.
        answered = self._caller.call("POST", "/v3/smtp/email", content, {"idempotencyKey": named})
        if not isinstance(answered, Answered):
            return [answered] * count
        return understand(answered, count, sandbox=self._settings.sandbox, secret=self._key)

    def send(self, batch: Sequence[EmailMessage]) -> list[Outcome]:
        """Hand the messages over; an answer that stands for everybody ends the batch.

        Each request has a key of its own: nobody stores it, so nobody can repeat it.
        """
        return hand_over_in_parts(
            batch, self.prepare, lambda body, count: self.hand_over(body, uuid4().hex, count)
        )  # fmt: skip

    def check(self) -> str:
        """Ask for the account."""
        answered = self._caller.call("GET", "/v3/account")
        if not isinstance(answered, Answered):
            raise answered
        found = f"{httpx.URL(self._settings.base_url).host} answers and {understand_account(answered, self._key)}"
        return f"{found}; sandbox mode is on, so nobody gets any mail." if self._settings.sandbox else f"{found}."

    def verify(self, request: WebhookRequest) -> None:
        """Raise `NotGenuine` unless a webhook shows the token, or the name and the password, that we gave it."""
        settings = self._settings
        rights = (
            token(settings.webhook_token.get_secret_value()),
            basic(settings.webhook_user, settings.webhook_password.get_secret_value()),
        )
        verify(request, rights, "EVERGREET_BREVO_WEBHOOK_TOKEN, or …_WEBHOOK_USER and …_WEBHOOK_PASSWORD,")

    def parse(self, request: WebhookRequest) -> list[ProviderEvent]:
        """Read the events of one request."""
        return read_events(request, self._key)

    def suppressions(self, since: datetime | None, until: datetime) -> Iterator[Suppressed]:
        """Read whom Brevo does not write to any more."""
        return Lists(self._caller, since, until)

    @property
    def _key(self) -> str:
        return self._settings.api_key.get_secret_value()

    def _headers(self) -> Mapping[str, str]:
        return {"api-key": self._key, "Accept": "application/json"}
