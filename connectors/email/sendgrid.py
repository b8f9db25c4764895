"""SendGrid: up to 1,000 recipients of one skeleton in a request, over its v3 Web API.

SendGrid has no idempotency key, and a request is accepted whole or not at all. So nothing is repeated of which it is
not certain that nothing was accepted: after a refusal the same people are asked for again in smaller requests; after a
time-out they are all in doubt.
"""

import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar, Self

import httpx

from connectors.elapsed import Clock, elapsed
from connectors.email.sendgrid_answers import Answer, Answered, said, understand, understand_scopes
from connectors.email.sendgrid_delivery import Delivery
from connectors.email.sendgrid_events import read_events, verify
from connectors.email.sendgrid_payload import Request, pack
from connectors.email.sendgrid_settings import SendGridSettings
from connectors.environment import read_settings
from evergreet.contracts import Capabilities, EmailMessage, Outcome, ProviderEvent, WebhookRequest
from evergreet.errors import Misconfigured, Retryable

LONGEST_ANSWER = 64 * 1024
"""Octets of an answer that are read."""
MAY_SEND = "mail.send"


class SendGrid:
    """Hands messages to SendGrid; `send` may be called from several threads."""

    name: ClassVar[str] = "sendgrid"
    capabilities: ClassVar[Capabilities] = Capabilities(
        batch_limit=1000, window=1000, connections=4, splits=True, sandbox=True, webhooks=True
    )

    def __init__(self, settings: SendGridSettings, client: httpx.Client, *, clock: Clock = elapsed) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        # What the class declares are the defaults of the settings.
        self.capabilities = replace(  # type: ignore[misc]
            type(self).capabilities, window=settings.window, connections=settings.connections
        )

    @classmethod
    def from_environment(cls) -> Self:
        """Read `EVERGREET_SENDGRID_…`."""
        settings = read_settings(SendGridSettings)
        return cls(settings, make_client(settings))

    def send(self, batch: Sequence[EmailMessage]) -> list[Outcome]:
        """Hand the messages over in as few requests as may be.

        After `batch_seconds` no further request is begun. An answer that stands for everybody (our fault, a limit, a
        doubt, nobody there) ends the batch: of what was not begun nothing was accepted.
        """
        requests, outcomes = pack(batch, self._settings)
        keys = [message.key for message in batch]
        ends = self._clock() + self._settings.batch_seconds
        Delivery(self._ask, keys, outcomes, ends, self._clock).work(requests)
        return [outcomes[position] for position in range(len(batch))]

    def check(self) -> str:
        """Ask what the key may do."""
        answered = self._call("GET", "/v3/scopes")
        if isinstance(answered, Retryable | Misconfigured):
            raise answered
        if MAY_SEND not in understand_scopes(answered, self._key):
            raise Misconfigured("The key of EVERGREET_SENDGRID_API_KEY may not send mail: give it Mail Send.")
        host = httpx.URL(self._settings.base_url).host
        if self._settings.sandbox:
            return f"{host} answers and the key may send mail; sandbox mode is on, so nobody gets any."
        return f"{host} answers and the key may send mail; sandbox mode is off."

    def verify(self, request: WebhookRequest) -> None:
        """Raise `NotGenuine` unless the event webhook of our account signed it."""
        verify(request, self._settings.verification_key.get_secret_value())

    def parse(self, request: WebhookRequest) -> list[ProviderEvent]:
        """Read the events of one request."""
        return read_events(request, self._key)

    def close(self) -> None:
        """Give back the connections."""
        self._client.close()

    def __repr__(self) -> str:
        return f"SendGrid({self._settings.base_url!r})"

    @property
    def _key(self) -> str:
        return self._settings.api_key.get_secret_value()

    def _ask(self, request: Request) -> Answer:
        answered = self._call("POST", "/v3/mail/send", request.body())
        if not isinstance(answered, Answered):
            return answered
        return understand(
            answered, recipients=len(request.recipients), sandbox=self._settings.sandbox, secret=self._key
        )

    def _call(self, method: str, path: str, body: bytes | None = None) -> Answered | Retryable | Misconfigured:
        """Make one call. Redirects are not followed; what the status says holds also if the rest gets lost."""
        progress = _Progress()
        settings = self._settings
        try:
            with self._client.stream(
                method, f"{settings.base_url}{path}", content=body,
                headers={"Authorization": f"Bearer {self._key}", "Accept-Encoding": "identity"} | (
                    {} if body is None else {"Content-Type": "application/json"}
                ),
                timeout=httpx.Timeout(settings.timeout, connect=settings.connect_timeout), follow_redirects=False,
                extensions={"trace": progress},
            ) as response:  # fmt: skip
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Answered(response.status_code, headers, self._read(response))
        except httpx.TransportError as error:
            return _unanswered(error, progress, settings)

    def _read(self, response: httpx.Response) -> bytes:
        """Return what follows the headers: so much, for so long, and as far as it arrives."""
        content = bytearray()
        ends = self._clock() + self._settings.timeout
        with suppress(httpx.TransportError):
            for piece in response.iter_raw():
                content += piece
                if len(content) > LONGEST_ANSWER or self._clock() > ends:
                    break
        return bytes(content[:LONGEST_ANSWER])


def make_client(settings: SendGridSettings) -> httpx.Client:
    """Return a client with as many connections as the settings allow."""
    most = settings.connections
    return httpx.Client(limits=httpx.Limits(max_connections=most, max_keepalive_connections=most))


class _Progress:
    """Is told by the transport how far a request got.

    `cut_short`: writing it failed, so the server cannot have the whole of it. A transport that tells nothing leaves
    a doubt.
    """

    def __init__(self) -> None:
        self.cut_short = False

    def __call__(self, event: str, _: Any) -> None:
        if event.endswith((".send_request_headers.failed", ".send_request_body.failed")):
            self.cut_short = True


def _unanswered(
    error: httpx.TransportError, progress: _Progress, settings: SendGridSettings
) -> Retryable | Misconfigured:
    """Say what a call without an answer means; only what is certain not to have been taken may be tried again."""
    what = said(str(error) or type(error).__name__, settings.api_key.get_secret_value())
    where = httpx.URL(settings.base_url).host
    if isinstance(error, httpx.PoolTimeout):
        return Retryable("All connections to SendGrid are in use.", accepted="no")
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError | httpx.UnsupportedProtocol):
        if _is_about_trust(error):
            return Misconfigured(f"The certificate of {where} cannot be trusted: {what}.")
        return Retryable(f"{where} cannot be reached: {what}.", accepted="no")
    if progress.cut_short:
        return Retryable(f"{where} did not take the whole request: {what}.", accepted="no")
    return Retryable(
        f"{where} had the whole request and did not answer: {what}; it may have taken it.", accepted="maybe"
    )


def _is_about_trust(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None
