"""Stripe: payments, subscriptions and refunds, told by webhooks signed with the endpoint's secret."""

import hashlib
import hmac
from datetime import timedelta
from typing import ClassVar

from connectors.comparing import any_alike
from connectors.events.stripe_reading import read_event
from connectors.events.stripe_settings import StripeSettings
from connectors.events.told import Told
from evergreet.contracts import Capabilities, WebhookRequest
from evergreet.errors import NotGenuine

TOLERANCE = timedelta(minutes=5)
"""How far the time of a signature may be from ours: Stripe's own default."""


class Stripe(Told[StripeSettings]):
    """Is told by Stripe what customers paid."""

    name: ClassVar[str] = "stripe"
    provider = "Stripe"
    consent_to = "promotions"
    settings_class = StripeSettings
    capabilities: ClassVar[Capabilities] = Capabilities(
        channel="events", webhooks=True, proven_by=("the stripe package", "published objects and signatures")
    )

    _read = staticmethod(read_event)

    def verify(self, request: WebhookRequest) -> None:
        """Raise `NotGenuine` unless the body was signed with one of our secrets, at most five minutes ago.

        https://docs.stripe.com/webhooks#verify-manually. Any of several signatures of version 1 may fit.
        """
        parts = [part.strip().partition("=") for part in request.headers.get("stripe-signature", "").split(",")]
        stamped = next((value for name, _, value in parts if name == "t"), "")
        given = [value.encode("utf-8", "replace") for name, _, value in parts if name == "v1"]
        if not (stamped and given):
            raise NotGenuine("the signature or a part of it is missing")
        if not (stamped.isascii() and stamped.isdecimal() and len(stamped) <= 12):
            raise NotGenuine("the time of the signature cannot be read")
        if abs(request.received_at.timestamp() - int(stamped)) > TOLERANCE.total_seconds():
            raise NotGenuine("the time of the signature is too far from now")
        signed = stamped.encode() + b"." + request.body
        right = [hmac.new(key, signed, hashlib.sha256).hexdigest().encode() for key in self._keys]
        if not any_alike(given, right):
            raise NotGenuine("the signature is not that of the body")
