"""Shopify: orders, refunds and customers, told by webhooks signed with the app's secret."""

import base64
import hashlib
import hmac
from typing import ClassVar

from connectors.comparing import any_alike
from connectors.events.shopify_reading import read_event
from connectors.events.shopify_settings import ShopifySettings
from connectors.events.told import Told
from evergreet.contracts import Capabilities, WebhookRequest
from evergreet.errors import NotGenuine


class Shopify(Told[ShopifySettings]):
    """Is told by Shopify what customers order."""

    name: ClassVar[str] = "shopify"
    provider = "Shopify"
    consent_to = "email marketing"
    settings_class = ShopifySettings
    capabilities: ClassVar[Capabilities] = Capabilities(
        channel="events",
        webhooks=True,
        proven_by=(
            "its own @shopify/shopify-api package for Node",
            "examples of its documentation",
            "signatures of openssl",
        ),
    )

    _read = staticmethod(read_event)

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
