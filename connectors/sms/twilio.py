"""Twilio: SMS, one request for each, with a status callback that names our row.

Twilio has no idempotency key, and a list of messages to a number does not say which of them is ours. So what is in
doubt stays so until a status callback tells of it.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar
from urllib.parse import urlencode

import httpx

from connectors.answers import object_answered
from connectors.authorization import basic
from connectors.calling import Answered
from connectors.http_connector import HttpConnector
from connectors.sms.twilio_answers import refused, understand
from connectors.sms.twilio_events import KEY, ROW, read_events, verify
from connectors.sms.twilio_settings import TwilioSettings
from evergreet.contracts import Capabilities, Outcome, ProviderEvent, SmsMessage, WebhookRequest
from evergreet.errors import Misconfigured, Permanent, Retryable

LONGEST = 1600
"""Characters of a text (https://www.twilio.com/docs/messaging/api/message-resource)."""

LONGEST_BATCH = 60.0
"""Seconds after which no message of a batch is begun: who answers STOP meanwhile is not written to."""


class Twilio(HttpConnector[TwilioSettings]):
    """Hands SMS to Twilio; `send` may be called from several threads."""

    name: ClassVar[str] = "twilio"
    provider = "Twilio"
    settings_class = TwilioSettings
    capabilities: ClassVar[Capabilities] = Capabilities(
        channel="sms",
        batch_limit=100,
        window=10,
        connections=4,
        webhooks=True,
        taken=204,  # an empty 200 is an error to it: it looks for an answer in it
        proven_by=("its OpenAPI description", "the twilio package", "published signatures"),
    )

    @property
    def _key(self) -> str:
        return self._settings.password.get_secret_value()

    @property
    def _account(self) -> str:
        return f"/2010-04-01/Accounts/{self._settings.account_sid}"

    def _headers(self) -> Mapping[str, str]:
        return {"Authorization": basic(self._settings.user, self._key)}

    def send(self, batch: Sequence[SmsMessage]) -> list[Outcome]:
        """Hand the messages over one after the other; an answer that stands for everybody ends the batch."""
        outcomes: list[Outcome] = []
        ends = self._clock() + LONGEST_BATCH
        for message in batch:
            if self._clock() > ends:
                rest = len(batch) - len(outcomes)
                return outcomes + [Retryable("Not begun: those before it took too long.")] * rest
            outcome = self._send(message)
            outcomes.append(outcome)
            if isinstance(outcome, Retryable | Misconfigured):
                rest = len(batch) - len(outcomes)
                return outcomes + [Retryable("Not begun: the one before it was not taken.")] * rest
        return outcomes

    def _send(self, message: SmsMessage) -> Outcome:
        try:
            body = self._written(message)
        except Permanent as fault:
            return fault
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answered = self._caller.call("POST", f"{self._account}/Messages.json", body, form)
        return understand(answered, self._key) if isinstance(answered, Answered) else answered

    def _written(self, message: SmsMessage) -> bytes:
        settings = self._settings
        number = message.to.removeprefix("+")
        if not (message.to.startswith("+") and number.isascii() and number.isdecimal() and 6 < len(number) <= 15):
            raise Permanent("The recipient's number is not one in E.164.")
        if not message.body.strip() or len(message.body) > LONGEST:
            raise Permanent(f"Twilio takes a text of 1 to {LONGEST} characters; this one has {len(message.body)}.")
        if "\0" in message.body or not message.key.isprintable():
            raise Permanent("A control character stands in the text or in the key.")
        fields = {"To": message.to, "Body": message.body}
        if settings.sender:
            fields["From"] = settings.sender
        else:
            fields["MessagingServiceSid"] = settings.messaging_service_sid
        if settings.webhook:
            fields["StatusCallback"] = f"{settings.webhook}?{urlencode({ROW: message.row, KEY: message.key})}"
        return urlencode(fields, errors="replace").encode()

    def check(self) -> str:
        """Ask for one message of the account, which its key must be able to see."""
        answered = self._caller.call("GET", f"{self._account}/Messages.json?PageSize=1")
        if not isinstance(answered, Answered):
            raise answered
        if answered.status != 200:
            raise refused(answered, self._key)
        if "messages" not in object_answered(answered.content):
            raise Misconfigured("What answers there is not Twilio. Is EVERGREET_TWILIO_BASE_URL right?")
        told = f"tells {self._settings.webhook}" if self._settings.webhook else "tells nothing of what it delivers"
        return f"{httpx.URL(self._settings.base_url).host} answers, knows the account and {told}."

    def verify(self, request: WebhookRequest) -> None:
        """Raise `NotGenuine` unless our account signed it."""
        token = self._settings.auth_token.get_secret_value()
        if not token or not self._settings.webhook:
            missing = "EVERGREET_PUBLIC_URL" if token else "EVERGREET_TWILIO_AUTH_TOKEN"
            raise Misconfigured(f"{missing} is not set: Twilio's signature cannot be verified.")
        verify(request, self._settings.webhook, token)

    def parse(self, request: WebhookRequest) -> list[ProviderEvent]:
        """Read the event of one request."""
        return read_events(request)
