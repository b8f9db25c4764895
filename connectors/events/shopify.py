"""Shopify: orders, refunds and customers, told by webhooks signed with the app's secret."""

import base64
import hashlib
import hmac
from typing import ClassVar, Self

from connectors.comparing import any_alike
from connectors.environment import read_settings
from connectors.events.secrets import secrets_in
from connectors.events.shopify_reading import read_event
from connectors.events.shopify_settings import ShopifySettings
from evergreet.contracts import Capabilities, CustomerEvent, WebhookRequest
from evergreet.errors import NotGenuine


class Shopify:
    """Is told by Shopify what customers order."""

    name: ClassVar[str] = "shopify"
    capabilities: ClassVar[Capabilities] = Capabilities(
        channel="events",
        webhooks=True,
        proven_by=(
            "its own @shopify/shopify-api package for Node",
            "examples of its documentation",
            "signatures of openssl",
        ),
    )

    def __init__(self, settings: ShopifySettings) -> None:
        self._settings = settings
        self._keys = secrets_in(settings.webhook_secret)

    @classmethod
    def from_environment(cls) -> Self:
        """Read `EVERGREET_SHOPIFY_…`."""
        return cls(read_settings(ShopifySettings))

    def check(self) -> str:
        """Say what is set: there is nothing to ask Shopify for, which calls us."""
        topic = self._settings.consent_topic
        return (
            f"Shopify's webhooks are verified with {len(self._keys)} secret{'s' if len(self._keys) > 1 else ''}; "
            f"consent to email marketing is {f'about {topic}' if topic else 'not kept'}. Shopify itself is not asked."
        )

    def verify(self, request: WebhookRequest) -> None:
        """Raise `NotGenuine` unless the body was signed with one of our secrets.

        https://shopify.dev/docs/apps/build/webhooks/verify-deliveries. The signature has no time: what is posted again
        is known by what it tells, and does nothing.
        """
        given = request.headers.get("x-shopify-hmac-sha256", "").encode("utf-8", "replace")
        if not given:
            raise NotGenuine("the header of the signature is missing")
        right = [base64.b64encode(hmac.new(key, request.body, hashlib.sha256).digest()) for key in self._keys]
        if not any_alike([given], right):
            raise NotGenuine("the signature is not that of the body")

    def read_events(self, request: WebhookRequest) -> list[CustomerEvent]:
        """Read the event of one request."""
        found = read_event(request, self._settings.consent_topic, self._settings.consent_wording)
        return [] if found is None else [found]

    def close(self) -> None:
        """Nothing is open."""

    def __repr__(self) -> str:
        return f"Shopify({len(self._keys)} secrets)"
