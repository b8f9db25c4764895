"""Postmark: up to 500 messages in a request, in the message stream of their kind.

Postmark has no idempotency key. What is in doubt is looked for by the key in the metadata of messages, or its webhook
tells of it; nothing is repeated of which it is not certain that it was not accepted.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import ClassVar
from urllib.parse import quote, urlencode

import httpx

from connectors.authorization import basic, verify
from connectors.calling import Answered
from connectors.email.parts import hand_over_in_parts, write_each
from connectors.email.postmark_answers import understand
from connectors.email.postmark_events import read_events
from connectors.email.postmark_payload import KEY, LONGEST_VALUE, requests_of, written
from connectors.email.postmark_reading import about_server, about_stream, found_message
from connectors.email.postmark_settings import PostmarkSettings
from connectors.email.postmark_suppressions import Lists
from connectors.http_connector import HttpConnector
from evergreet.contracts import (
    Capabilities,
    EmailMessage,
    Found,
    Outcome,
    ProviderEvent,
    Request,
    Suppressed,
    WebhookRequest,
)

LONGEST_ANSWER = 1024 * 1024
"""Octets: an answer has some 200 for each of up to 500 messages, more where one is refused."""


class Postmark(HttpConnector[PostmarkSettings]):
    """Hands messages to Postmark; `send` may be called from several threads."""

    name: ClassVar[str] = "postmark"
    provider = "Postmark"
    settings_class = PostmarkSettings
    longest_answer = LONGEST_ANSWER
    capabilities: ClassVar[Capabilities] = Capabilities(
        batch_limit=500,
        window=500,
        connections=2,
        sandbox=True,
        find=True,
        webhooks=True,
        suppressions=True,
        proven_by=("its own postmark-python package", "published events"),
    )

    def send(self, batch: Sequence[EmailMessage]) -> list[Outcome]:
        """Hand the messages over; an answer that stands for everybody ends the batch."""
        return hand_over_in_parts(batch, self._prepare, self._ask, self._clock)

    def find(self, keys: Sequence[str]) -> dict[str, Found]:
        """Look for messages by the key in their metadata, in both streams.

        What is not listed may not be listed yet, or not any more, so only what is found is certain. An answer that is
        none ends it.
        """
        found: dict[str, Found] = {}
        for key in (key for key in keys if len(key) <= LONGEST_VALUE):
            for stream in self._streams:
                asked = urlencode({"count": 10, "offset": 0, "messagestream": stream, f"metadata_{KEY}": key})
                answered = self._caller.call("GET", f"/messages/outbound?{asked}")
                if not isinstance(answered, Answered) or answered.status != 200:
                    return found
                if name := found_message(answered.content, key):
                    found[key] = Found(True, name)
                    break
        return found

    def check(self) -> str:
        """Ask which server the token is for, and whether its streams are there."""
        found = [about_server(self._get("/server"), self._key)]
        for stream, (kind, setting) in self._streams.items():
            answered = self._get(f"/message-streams/{quote(stream)}")
            found.append(about_stream(answered, stream, kind, setting, self._key))
        return f"{httpx.URL(self._settings.base_url).host} answers and {'; '.join(filter(None, found))}."

    def verify(self, request: WebhookRequest) -> None:
        """Raise `NotGenuine` unless a webhook brings the name and the password that we wrote into its URL."""
        right = basic(self._settings.webhook_user, self._settings.webhook_password.get_secret_value())
        verify(request, [right], "EVERGREET_POSTMARK_WEBHOOK_USER and EVERGREET_POSTMARK_WEBHOOK_PASSWORD")

    def parse(self, request: WebhookRequest) -> list[ProviderEvent]:
        """Read the event of one request; incoming mail is none."""
        return read_events(request, self._key)

    def suppressions(self, since: datetime | None, until: datetime) -> Iterator[Suppressed]:
        """Read whom Postmark does not write to any more, in both streams."""
        return Lists(self._caller, self._streams, since, until)

    @property
    def _key(self) -> str:
        return self._settings.server_token.get_secret_value()

    def _headers(self) -> Mapping[str, str]:
        return {"X-Postmark-Server-Token": self._key, "Accept": "application/json"}

    @property
    def _streams(self) -> dict[str, tuple[str, str]]:
        """The streams that are used: what type each has to be, and which setting names it."""
        settings = self._settings
        return {
            settings.transactional_stream: ("Transactional", "EVERGREET_POSTMARK_TRANSACTIONAL_STREAM"),
            settings.broadcast_stream: ("Broadcasts", "EVERGREET_POSTMARK_BROADCAST_STREAM"),
        }

    def _prepare(self, batch: Sequence[EmailMessage]) -> tuple[list[Request], dict[int, Outcome]]:
        contents, refused = write_each(batch, lambda message: written(message, self._settings))
        return list(requests_of(list(contents.items()))), refused

    def _ask(self, body: bytes, count: int) -> list[Outcome]:
        answered = self._caller.call("POST", "/email/batch", body)
        if not isinstance(answered, Answered):
            return [answered] * count
        return understand(answered, count, self._key)

    def _get(self, path: str) -> Answered:
        answered = self._caller.call("GET", path)
        if not isinstance(answered, Answered):
            raise answered
        return answered
