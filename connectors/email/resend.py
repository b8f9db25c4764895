"""Resend: up to 100 messages in a request, with an idempotency key that lives for a day.

What comes with one key is done once. So a request whose answer got lost is stored, and repeated as it was.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import ClassVar

import httpx

from connectors.calling import Answered, bearer
from connectors.email.parts import hand_over_in_parts, write_each
from connectors.email.resend_answers import understand, understand_check
from connectors.email.resend_events import read_events
from connectors.email.resend_payload import MOST, written
from connectors.email.resend_settings import ResendSettings
from connectors.email.resend_suppressions import Lists
from connectors.http_connector import HttpConnector
from connectors.standard_webhooks import verify
from evergreet.contracts import Capabilities, EmailMessage, Outcome, ProviderEvent, Request, Suppressed, WebhookRequest


class Resend(HttpConnector[ResendSettings]):
    """Hands messages to Resend; `send` and `hand_over` may be called from several threads."""

    name: ClassVar[str] = "resend"
    provider = "Resend"
    settings_class = ResendSettings
    capabilities: ClassVar[Capabilities] = Capabilities(
        batch_limit=1000,
        window=100,
        connections=2,
        idempotency=timedelta(hours=24),
        webhooks=True,
        suppressions=True,
        proven_by=("its OpenAPI description", "the resend package", "published events and signatures"),
    )

    def prepare(self, batch: Sequence[EmailMessage]) -> tuple[list[Request], dict[int, Outcome]]:
        """Return requests of up to 100 messages each, and what cannot be sent as it is."""
        contents, refused = write_each(batch, written)
        good = list(contents.items())
        parts = [good[start : start + MOST] for start in range(0, len(good), MOST)]
        return [
            Request(b"[" + b",".join(content for _, content in part) + b"]", tuple(place for place, _ in part))
            for part in parts
        ], refused

    def hand_over(self, body: bytes, key: str, count: int) -> list[Outcome]:
        """Hand over a request, for the first time or again; the answer stays the first one for a day."""
        headers = {"Idempotency-Key": key, "x-batch-validation": "permissive"}
        answered = self._caller.call("POST", "/emails/batch", body, headers)
        if not isinstance(answered, Answered):
            return [answered] * count
        return understand(answered, count, self._key)

    def send(self, batch: Sequence[EmailMessage]) -> list[Outcome]:
        """Hand the messages over; an answer that stands for everybody ends the batch.

        The key of a request is its digest: the same messages again within a day are not sent twice.
        """
        return hand_over_in_parts(
            batch, self.prepare,
            lambda body, count: self.hand_over(body, f"evergreet-{blake2b(body, digest_size=20).hexdigest()}", count),
        )  # fmt: skip

    def check(self) -> str:
        """Ask for one email of the account: also what a key may not see says whether it is one."""
        answered = self._caller.call("GET", "/emails?limit=1")
        if not isinstance(answered, Answered):
            raise answered
        return f"{httpx.URL(self._settings.base_url).host} answers and {understand_check(answered, self._key)}."

    def verify(self, request: WebhookRequest) -> None:
        """Raise `NotGenuine` unless a webhook of our account signed it."""
        verify(request, self._settings.webhook_secret.get_secret_value(), "EVERGREET_RESEND_WEBHOOK_SECRET")

    def parse(self, request: WebhookRequest) -> list[ProviderEvent]:
        """Read the event of one request."""
        return read_events(request, self._key)

    def suppressions(self, since: datetime | None, until: datetime) -> Iterator[Suppressed]:
        """Read whom Resend does not write to any more."""
        return Lists(self._caller, since, until)

    @property
    def _key(self) -> str:
        return self._settings.api_key.get_secret_value()

    def _headers(self) -> Mapping[str, str]:
        return bearer(self._key)
