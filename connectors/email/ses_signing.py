"""Signature Version 4 of requests to Amazon SES, made by botocore.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html. Only botocore's signer and its credentials are
used: its client would read answers without a bound, and does not say of a lost connection how far the request got.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from connectors.email.ses_settings import SesSettings
from evergreet.errors import Misconfigured, Retryable

_NEEDED = "Amazon SES needs botocore: pip install 'evergreet[ses]'."


class Credentials(NamedTuple):
    """What signs, as it is now; `token` comes with a temporary key."""

    access_key: str
    secret_key: str
    token: str | None

    def __repr__(self) -> str:
        return "Credentials()"


Source: TypeAlias = Callable[[], Credentials]


class Signer:
    """Signs requests; may be called from several threads."""

    def __init__(self, region: str, source: Source) -> None:
        try:  # an extra, and a tenth of a second that only who sends through SES pays
            from botocore.auth import SigV4Auth  # noqa: PLC0415
            from botocore.awsrequest import AWSRequest  # noqa: PLC0415
        except ImportError:
            raise Misconfigured(_NEEDED) from None
        logging.getLogger("botocore.auth").setLevel(logging.INFO)  # at DEBUG it would write the session token down
        self._region = region
        self._source = source
        self._auth: Callable[..., Any] = SigV4Auth
        self._request: Callable[..., Any] = AWSRequest

    def sign(self, method: str, url: str, body: bytes | None) -> tuple[Mapping[str, str], Credentials]:
        """Return the headers of a request's signature, and with what it was signed.

        Raises `Misconfigured` or `Retryable` where there are no credentials.
        """
        credentials = self._source()
        headers = {} if body is None else {"Content-Type": "application/json"}
        request = self._request(method=method, url=url, data=body or b"", headers=headers)
        self._auth(credentials, "ses", self._region).add_auth(request)
        return {name: str(value) for name, value in request.headers.items()}, credentials


def credentials_of(settings: SesSettings) -> Source:
    """Return where the credentials come from: the settings or, without a key there, where the AWS tools look.

    Those of a role are renewed before they end; asking the machine for them is bounded to a second or two by botocore.
    """
    key, secret, token = (
        secret.get_secret_value()
        for secret in (settings.access_key_id, settings.secret_access_key, settings.session_token)
    )
    if key:
        given = Credentials(key, secret, token or None)
        return lambda: given
    return _Found().now


class _Found:
    """What botocore's own chain finds, looked for when it is needed first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: Any = None

    def now(self) -> Credentials:
        try:
            from botocore.exceptions import BotoCoreError  # noqa: PLC0415
            from botocore.session import Session  # noqa: PLC0415
        except ImportError:
            raise Misconfigured(_NEEDED) from None
        with self._lock:
            try:
                if self._found is None:
                    self._found = Session().get_credentials()
                frozen = None if self._found is None else self._found.get_frozen_credentials()
            except (BotoCoreError, RuntimeError, ValueError) as error:  # its words may hold parts of a file with keys
                raise Retryable(
                    f"The AWS credentials cannot be read or renewed ({type(error).__name__}); nothing was sent."
                ) from None
        if frozen is None or not frozen.access_key or not frozen.secret_key:
            raise Misconfigured(
                "There are no AWS credentials: set EVERGREET_SES_ACCESS_KEY_ID and EVERGREET_SES_SECRET_ACCESS_KEY, or "
                "give this machine a profile or a role."
            )
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token)
