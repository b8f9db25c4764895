"""Mailgun: up to 1,000 recipients of one skeleton in a request, by its recipient variables.

Mailgun has no idempotency key, and a request is accepted whole or not at all. So nothing is repeated of which it is not
certain that nothing was accepted: after a refusal the same people are asked for again in smaller requests; after a
time-out they are all in doubt.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import ClassVar

import httpx

from connectors.authorization import basic
from connectors.brake import Brake
from connectors.calling import Answered, said
from connectors.email.mailgun_answers import Answer, told, understand
from connectors.email.mailgun_delivery import Delivery
from connectors.email.mailgun_events import read_events, verify
from connectors.email.mailgun_payload import Request, encoded, pack
from connectors.email.mailgun_settings import MailgunSettings
from connectors.email.mailgun_suppressions import LONGEST_PAGE, Lists
from connectors.http_connector import HttpConnector
from evergreet.contracts import Capabilities, EmailMessage, Outcome, ProviderEvent, Suppressed, WebhookRequest
from evergreet.errors import Misconfigured, Retryable


class Mailgun(HttpConnector[MailgunSettings]):
    """Hands messages to Mailgun; `send` may be called from several threads."""

    name: ClassVar[str] = "mailgun"
    provider = "Mailgun"
    settings_class = MailgunSettings
    longest_answer = LONGEST_PAGE
    capabilities: ClassVar[Capabilities] = Capabilities(
        batch_limit=1000,
        window=500,
        connections=4,
        splits=True,
        sandbox=True,
        webhooks=True,
        suppressions=True,
        proven_by=(
            "its OpenAPI description",
            "the mailgun and django-anymail packages",
            "published events and signatures",
        ),
    )

    def send(self, batch: Sequence[EmailMessage]) -> list[Outcome]:
        """Hand the messages over in as few requests as may be.

        After `batch_seconds` no further request is begun. An answer that stands for everybody (our fault, a limit, a
        doubt, nobody there) ends the batch: of what was not begun nothing was accepted.
        """
        requests, outcomes = pack(batch, self._settings)
        ends = self._clock() + self._settings.batch_seconds
        Delivery(self._ask, outcomes, Brake("Mailgun", ends, self._clock), self._settings.sandbox).work(requests)
        return [outcomes[place] for place in range(len(batch))]

    def check(self) -> str:
        """Ask for a message from nobody to nobody: it is refused, after the key and the domain were looked at.

        A sending key of the domain may ask for nothing else.
        """
        answered = self._post(*encoded([("o:testmode", b"yes")]))
        if not isinstance(answered, Answered):
            raise answered
        words = told(answered)
        if answered.status != 400 or "parameter" not in words.lower():
            answer = understand(answered, (), self._key)
            if isinstance(answer, Retryable | Misconfigured):
                raise answer
            raise Misconfigured(f"Mailgun answers {answered.status} to a message from nobody: {said(words, self._key)}")
        where = httpx.URL(self._settings.base_url).host
        found = f"{where} answers and takes the key for {self._settings.domain}"
        return f"{found}; test mode is on, so nobody gets any mail." if self._settings.sandbox else f"{found}."

    def verify(self, request: WebhookRequest) -> None:
        """Raise `NotGenuine` unless Mailgun signed it with our key, within a day."""
        verify(request, self._settings.signing_key.get_secret_value())

    def parse(self, request: WebhookRequest) -> list[ProviderEvent]:
        """Read the event of one request."""
        return read_events(request, self._key)

    def suppressions(self, since: datetime | None, until: datetime) -> Iterator[Suppressed]:
        """Read whom Mailgun does not write to any more from this domain."""
        return Lists(self._caller, self._settings.domain, since, until)

    def __repr__(self) -> str:
        return f"Mailgun({self._settings.base_url!r}, {self._settings.domain!r})"

    @property
    def _key(self) -> str:
        return self._settings.api_key.get_secret_value()

    def _headers(self) -> Mapping[str, str]:
        return {"Authorization": basic("api", self._key)}

    def _post(self, body: bytes, kind: str) -> Answered | Retryable | Misconfigured:
        return self._caller.call("POST", f"/v3/{self._settings.domain}/messages", body, {"Content-Type": kind})

    def _ask(self, request: Request) -> Answer:
        answered = self._post(*request.form())
        if not isinstance(answered, Answered):
            return answered
        return understand(answered, [recipient.address for recipient in request.recipients], self._key)
