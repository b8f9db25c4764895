"""SendGrid: up to 1,000 recipients of one skeleton in a request, over its v3 Web API.

SendGrid has no idempotency key, and a request is accepted whole or not at all. So nothing is repeated of which it is
not certain that nothing was accepted: after a refusal the same people are asked for again in smaller requests; after a
time-out they are all in doubt.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import ClassVar

import httpx

from connectors.brake import Brake
from connectors.calling import Answered, bearer
from connectors.elapsed import Clock, elapsed
from connectors.email.sendgrid_answers import Answer, understand, understand_scopes
from connectors.email.sendgrid_delivery import Delivery
from connectors.email.sendgrid_events import public_key, read_events, verify
from connectors.email.sendgrid_payload import Request, pack, pack_whole
from connectors.email.sendgrid_settings import SendGridSettings
from connectors.email.sendgrid_suppressions import Lists
from connectors.http_connector import HttpConnector
from evergreet.contracts import Capabilities, EmailMessage, Outcome, ProviderEvent, Suppressed, WebhookRequest
from evergreet.errors import Misconfigured, Retryable

MAY_SEND = "mail.send"


class SendGrid(HttpConnector[SendGridSettings]):
    """Hands messages to SendGrid; `send` may be called from several threads."""

    name: ClassVar[str] = "sendgrid"
    provider = "SendGrid"
    settings_class = SendGridSettings
    longest_answer = 512 * 1024  # a refusal may name each of a thousand
    capabilities: ClassVar[Capabilities] = Capabilities(
        batch_limit=1000,
        window=1000,
        connections=4,
        splits=True,
        sandbox=True,
        webhooks=True,
        suppressions=True,
        proven_by=("its OpenAPI description", "the sendgrid package", "published events and signatures"),
    )

    def __init__(self, settings: SendGridSettings, client: httpx.Client, *, clock: Clock = elapsed) -> None:
        super().__init__(settings, client, clock=clock)
        self._topics = {group: topic for topic, group in settings.groups.items()}

    def send(self, batch: Sequence[EmailMessage]) -> list[Outcome]:
        """Hand the messages over in as few requests as may be.

        After `batch_seconds` no further request is begun. An answer that stands for everybody (our fault, a limit, a
        doubt, nobody there) ends the batch: of what was not begun nothing was accepted.
        """
        requests, outcomes = pack(batch, self._settings)
        keys = [message.key for message in batch]
        ends = self._clock() + self._settings.batch_seconds
        brake = Brake("SendGrid", ends, self._clock)
        Delivery(self._ask, partial(self._whole, batch), keys, outcomes, brake).work(requests)
        return [outcomes[position] for position in range(len(batch))]

    def check(self) -> str:
        """Ask what the key may do, and look whether the one of the event webhook is one, where it is set."""
        answered = self._caller.call("GET", "/v3/scopes")
        if isinstance(answered, Retryable | Misconfigured):
            raise answered
        if MAY_SEND not in understand_scopes(answered, self._key):
            raise Misconfigured("The key of EVERGREET_SENDGRID_API_KEY may not send mail: give it Mail Send.")
        if written := self._settings.verification_key.get_secret_value():
            public_key(written)
        host = httpx.URL(self._settings.base_url).host
        if self._settings.sandbox:
            return f"{host} answers and the key may send mail; sandbox mode is on, so nobody gets any."
        return f"{host} answers and the key may send mail; sandbox mode is off."

    def verify(self, request: WebhookRequest) -> None:
        """Raise `NotGenuine` unless the event webhook of our account signed it."""
        verify(request, self._settings.verification_key.get_secret_value())

    def parse(self, request: WebhookRequest) -> list[ProviderEvent]:
        """Read the events of one request."""
        return read_events(request, self._key, self._topics)

    def suppressions(self, since: datetime | None, until: datetime) -> Iterator[Suppressed]:
        """Read what SendGrid does not write to any more, but for what may pass and groups that are not ours."""
        return Lists(self._caller, self._topics, since, until)

    @property
    def _key(self) -> str:
        return self._settings.api_key.get_secret_value()

    def _headers(self) -> Mapping[str, str]:
        return bearer(self._key)

    def _whole(self, batch: Sequence[EmailMessage], position: int) -> Request | None:
        return pack_whole(position, batch[position], self._settings)

    def _ask(self, request: Request) -> Answer:
        answered = self._caller.call("POST", "/v3/mail/send", request.body())
        if not isinstance(answered, Answered):
            return answered
        return understand(
            answered, recipients=len(request.recipients), sandbox=self._settings.sandbox, secret=self._key
        )
