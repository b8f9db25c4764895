"""Postmark: up to 500 messages in a request, in the message stream of their kind.

Postmark has no idempotency key. What is in doubt is looked for by the key in the metadata of messages, or its webhook
tells of it; nothing is repeated of which it is not certain that it was not accepted.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Self
from urllib.parse import quote, urlencode

import httpx

from connectors.authorization import basic, verify
from connectors.calling import Answered, Caller, make_client
from connectors.elapsed import Clock, elapsed
from connectors.email.parts import hand_over_in_parts, write_each
from connectors.email.postmark_answers import understand
from connectors.email.postmark_events import read_events
from connectors.email.postmark_payload import KEY, LONGEST_VALUE, requests_of, written
from connectors.email.postmark_reading import about_server, about_stream, found_message
from connectors.email.postmark_settings import PostmarkSettings
from connectors.environment import read_settings
from evergreet.contracts import Capabilities, EmailMessage, Found, Outcome, ProviderEvent, Request, WebhookRequest

LONGEST_ANSWER = 1024 * 1024
"""Octets: an answer has some 200 for each of up to 500 messages, more where one is refused."""


class Postmark:
    """Hands messages to Postmark; `send` may be called from several threads."""

    name: ClassVar[str] = "postmark"
    capabilities: ClassVar[Capabilities] = Capabilities(
        batch_limit=500,
        window=500,
        connections=2,
        sandbox=True,
        find=True,
        webhooks=True,
        proven_by=("its own postmark-python package", "published events"),
    )

    def __init__(self, settings: PostmarkSettings, client: httpx.Client, *, clock: Clock = elapsed) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        self._caller = Caller(
            "Postmark",
            client,
            settings.base_url,
            self._token,
            {"X-Postmark-Server-Token": self._token, "Accept": "application/json"},
            settings.connect_timeout,
            settings.timeout,
            clock,
            LONGEST_ANSWER,
        )
        # What the class declares are the defaults of the settings.
        self.capabilities = replace(  # type: ignore[misc]
            type(self).capabilities, window=settings.window, connections=settings.connections
        )

    @classmethod
    def from_environment(cls) -> Self:
        """Read `EVERGREET_POSTMARK_…`."""
        settings = read_settings(PostmarkSettings)
        return cls(settings, make_client(settings.connections))

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
        found = [about_server(self._get("/server"), self._token)]
        for stream, (kind, setting) in self._streams.items():
            answered = self._get(f"/message-streams/{quote(stream)}")
            found.append(about_stream(answered, stream, kind, setting, self._token))
        return f"{httpx.URL(self._settings.base_url).host} answers and {'; '.join(filter(None, found))}."

    def verify(self, request: WebhookRequest) -> None:
        """Raise `NotGenuine` unless a webhook brings the name and the password that we wrote into its URL."""
        right = basic(self._settings.webhook_user, self._settings.webhook_password.get_secret_value())
        verify(request, [right], "EVERGREET_POSTMARK_WEBHOOK_USER and EVERGREET_POSTMARK_WEBHOOK_PASSWORD")

    def parse(self, request: WebhookRequest) -> list[ProviderEvent]:
        """Read the event of one request; incoming mail is none."""
        return read_events(request, self._token)

    def close(self) -> None:
        """Give back the connections."""
        self._client.close()

    def __repr__(self) -> str:
        return f"Postmark({self._settings.base_url!r})"

    @property
    def _token(self) -> str:
        return self._settings.server_token.get_secret_value()

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
        return understand(answered, count, self._token)

    def _get(self, path: str) -> Answered:
        answered = self._caller.call("GET", path)
        if not isinstance(answered, Answered):
            raise answered
        return answered
