"""The Authorization header of webhooks that their provider does not sign: a secret of ours that it was given to show.

A name and a password (RFC 7617), or a token (RFC 6750). Who knows it can tell us anything, so it travels over HTTPS.
"""

import base64
from collections.abc import Sequence

from connectors.comparing import any_alike
from evergreet.contracts import WebhookRequest
from evergreet.errors import Misconfigured, NotGenuine


def basic(user: str, password: str) -> str:
    """Return the header that a name and a password make; empty where one of them is not set."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}" if user and password else ""


def token(secret: str) -> str:
    """Return the header that a token makes; empty where it is not set."""
    return f"Bearer {secret}" if secret else ""


def verify(request: WebhookRequest, rights: Sequence[str], settings: str) -> None:
    """Raise `NotGenuine` unless the request brings one of these headers exactly, compared in constant time.

    Raises `Misconfigured` where all of them are empty; `settings` names where they are set.
    """
    if not any(rights):
        raise Misconfigured(f"{settings} are not set: choose them, and give them to the webhook.")
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    if not shown:
        raise NotGenuine("the Authorization header is missing")
    given = f"{scheme.capitalize()} {shown.strip()}".encode("utf-8", "surrogateescape")
    if not any_alike([given], (right.encode() for right in rights if right)):
        raise NotGenuine("what the Authorization header shows is not ours")
