"""HTTP basic authentication (RFC 7617) of webhooks that their provider does not sign: a name and a password of ours."""

import base64
import hmac

from evergreet.contracts import WebhookRequest
from evergreet.errors import Misconfigured, NotGenuine


def verify(request: WebhookRequest, user: str, password: str, settings: str) -> None:
    """Raise `NotGenuine` unless the request brings exactly this name and password, compared in constant time.

    `settings` names where they are set, for the `Misconfigured` that is raised where they are not.
    """
    if not user or not password:
        raise Misconfigured(f"{settings} are not set: choose them, and write them into the URL of the webhook.")
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        raise NotGenuine("the name and the password are missing")
    right = base64.b64encode(f"{user}:{password}".encode())
    if not hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), right):
        raise NotGenuine("the name or the password is not ours")
