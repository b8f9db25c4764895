"""A receiver of webhooks that Standard Webhooks' own package judges, and a Slack that knows its incoming webhooks."""

import json
from collections.abc import Callable
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.connectors.provider_sink import ProviderSink, Told

SECRET = "whsec_Y2FuYXJ5LXNlY3JldC1kMG50LXRlbGwtaXQ="
PATH = "/hooks/canary-path-d0nt-tell?from=evergreet"


class Receiver(ProviderSink):
    """Takes what is signed; `judge` may say something else than 204 to an id. `posts` are those that were signed."""

    def __init__(self, secret: str = SECRET) -> None:
        super().__init__()
        self.posts: list[tuple[str, dict[str, str], Any]] = []
        self.bodies: list[str] = []
        self.taken: list[str] = []
        self.judge: Callable[[str], Told | None] = lambda _: None
        self._genuine = Webhook(secret)

    def take(self, method: str, path: str, headers: dict[str, str], content: bytes) -> Told:
        """Verify a post as a receiver does that follows the standard."""
        if path != PATH:
            return Told(404)
        if method == "HEAD":
            return Told(405)
        if len(content) < int(headers["content-length"]):  # whoever posted it died over it
            return Told(400)
        try:
            said = self._genuine.verify(content, headers)
        except WebhookVerificationError as error:
            self.faults.append(str(error))
            return Told(401)
        if headers["content-type"] != "application/json":
            self.faults.append(f"posted as {headers['content-type']}")
        self.posts.append((headers["webhook-id"], headers, said))
        told = self.judge(headers["webhook-id"]) or Told(204)
        if 200 <= told.status < 300:
            self.taken.append(headers["webhook-id"])
            self.bodies.append(content.decode())
        return told


class SlackSink(ProviderSink):
    """One incoming webhook; `requests` are what was posted, whoever did it."""

    path = "/services/T0CANARY/B0CANARY/d0nttellanybody"

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[str, str, str, Any]] = []
        self.answer: Told | None = None

    def take(self, method: str, path: str, headers: dict[str, str], content: bytes) -> Told:
        """Answer in Slack's own words."""
        if path != self.path:
            return Told(404, b"no_service")
        said = json.loads(content)
        if said == {}:
            return Told(400, b"no_text")
        self.requests.append((method, path, headers["content-type"].partition(";")[0], said))
        return self.answer or Told(200, b"ok")
