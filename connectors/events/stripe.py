"""Stripe: payments, subscriptions and refunds, told by webhooks signed with the endpoint's secret."""

import hashlib
import hmac
from datetime import timedelta
from typing import ClassVar, Self

from connectors.comparing import any_alike
from connectors.environment import read_settings
from connectors.events.secrets import secrets_in
from connectors.events.stripe_reading import read_event
from connectors.events.stripe_settings import StripeSettings
from evergreet.contracts import Capabilities, CustomerEvent, WebhookRequest
from evergreet.errors import NotGenuine

TOLERANCE = timedelta(minutes=5)
"""How far the time of a signature may be from ours: Stripe's own default."""


class Stripe:
    """Is told by Stripe what customers paid."""

    name: ClassVar[str] = "stripe"
    capabilities: ClassVar[Capabilities] = Capabilities(
        channel="events", webhooks=True, proven_by=("the stripe package", "published objects and signatures")
    )

    def __init__(self, settings: StripeSettings) -> None:
        self._settings = settings
        self._keys = secrets_in(settings.webhook_secret)

    @classmethod
    def from_environment(cls) -> Self:
        """Read `EVERGREET_STRIPE_…`."""
        return cls(read_settings(StripeSettings))

    def check(self) -> str:
        """Say what is set: there is nothing to ask Stripe for, which calls us."""
        topic = self._settings.consent_topic
        return (
            f"Stripe's webhooks are verified with {len(self._keys)} secret{'s' if len(self._keys) > 1 else ''}; "
            f"consent to promotions is {f'about {topic}' if topic else 'not kept'}. Stripe itself is not asked."
        )

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

    def read_events(self, request: WebhookRequest) -> list[CustomerEvent]:
        """Read the event of one request."""
        found = read_event(request, self._settings.consent_topic, self._settings.consent_wording)
        return [] if found is None else [found]

    def close(self) -> None:
        """Nothing is open."""

    def __repr__(self) -> str:
        return f"Stripe({len(self._keys)} secrets)"
