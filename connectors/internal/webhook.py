"""Webhooks as Standard Webhooks has them: what campaigns tell other systems, signed, with one id at every attempt.

https://www.standardwebhooks.com. Who drops ids that it knows gets each message once; whether a receiver does, nobody
here can know. So what it may have taken and did not answer stays in doubt, unless the step says `resend_after`.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar, Self

import httpx

from connectors.addressing import is_public
from connectors.calling import Answered, Caller, make_client, said
from connectors.elapsed import Clock, elapsed
from connectors.environment import read_settings
from connectors.internal.addresses import place_of
from connectors.internal.webhook_answers import understand
from connectors.internal.webhook_settings import WebhookDestination, WebhookSettings
from connectors.standard_webhooks import sign
from evergreet.contracts import Capabilities, Outcome, WebhookMessage
from evergreet.errors import Misconfigured, Permanent

LONGEST = 256 * 1024
"""Octets of a body. The standard recommends to stay below 20 KB."""


def _now() -> datetime:
    return datetime.now(UTC)


class Webhook:
    """Posts webhooks; `send` may be called from several threads."""

    name: ClassVar[str] = "webhook"
    capabilities: ClassVar[Capabilities] = Capabilities(
        channel="webhook", connections=4, proven_by=("the standardwebhooks package", "published signatures")
    )

    def __init__(
        self,
        settings: WebhookSettings,
        client: httpx.Client,
        *,
        clock: Clock = elapsed,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._client = client
        self._now = now
        self._posts = {name: _Post(name, one, settings, client, clock) for name, one in settings.to.items()}
        # What the class declares are the defaults of the settings.
        self.capabilities = replace(type(self).capabilities, connections=settings.connections)  # type: ignore[misc]

    @classmethod
    def from_environment(cls) -> Self:
        """Read `EVERGREET_WEBHOOK_…`."""
        settings = read_settings(WebhookSettings)
        return cls(settings, make_client(settings.connections))

    @property
    def destinations(self) -> Collection[str]:
        """The names of the webhooks that are set."""
        return self._posts.keys()

    def send(self, batch: Sequence[WebhookMessage]) -> list[Outcome]:
        """Post the messages one after the other."""
        return [self._send(message) for message in batch]

    def _send(self, message: WebhookMessage) -> Outcome:
        if (post := self._posts.get(message.to)) is None:
            return Misconfigured(f"EVERGREET_WEBHOOK_TO__{message.to.upper()}__URL is not set.")
        body = message.body.encode("utf-8", "replace")
        if len(body) > LONGEST:
            return Permanent(f"The body has {len(body)} octets; a webhook has at most {LONGEST}.")
        if not message.key.isalnum():  # a full stop would let one id be read as another, with a part of its time
            return Permanent("The id of the message is not letters and digits.")
        return post.send(body, message.key, self._now())

    def check(self) -> str:
        """Ask for the head of each webhook: any answer says that it can be reached, and posts nothing."""
        if not self._posts:
            raise Misconfigured("There is no webhook: set EVERGREET_WEBHOOK_TO__NAME__URL and …__SECRET.")
        return "Reached: " + ", ".join(f"{name} ({post.check()})" for name, post in self._posts.items()) + "."

    def close(self) -> None:
        """Give back the connections."""
        self._client.close()

    def __repr__(self) -> str:
        return f"Webhook({sorted(self._posts)!r})"


class _Post:
    """One receiver."""

    def __init__(
        self, name: str, one: WebhookDestination, settings: WebhookSettings, client: httpx.Client, clock: Clock
    ) -> None:
        server, self._path = place_of(one.url)
        self._name, self._keys, self._secrets = name, one.keys, one.secret.get_secret_value().split()
        self._caller = Caller(
            f"the webhook {name}", client, server, self._path if len(self._path) > 1 else "", {},
            settings.connect_timeout, settings.timeout, clock, may_reach=None if one.private else is_public,
        )  # fmt: skip

    def send(self, body: bytes, key: str, at: datetime) -> Outcome:
        """Post one message, signed as of that moment."""
        answered = self._caller.call("POST", self._path, body, sign(body, key, at, self._keys))
        if not isinstance(answered, Answered):
            return answered
        told = answered.content.decode("utf-8", "replace")
        for secret in self._secrets:
            told = told.replace(secret, "(the secret)").replace(secret.removeprefix("whsec_"), "(the secret)")
        return understand(answered, key, self._name, said(told, self._caller.key))

    def check(self) -> str:
        """Return the server's name; raise where it does not answer."""
        answered = self._caller.call("HEAD", self._path)
        if not isinstance(answered, Answered):
            raise answered
        return httpx.URL(self._caller.base_url).host
