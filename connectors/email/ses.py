"""Amazon SES, API v2: one MIME message in a request or, where it is the same either way, up to 50 of one template.

SES has no idempotency key and cannot be asked for a message. So nothing is repeated of which it is not certain that
nothing was accepted; doubts are resolved by its events, which bring our key and row back as tags.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import ClassVar, Self

import httpx

from connectors.calling import Answered, Caller, make_client
from connectors.elapsed import Clock, elapsed
from connectors.email.ses_answers import understand, understand_account, understand_bulk
from connectors.email.ses_bulk import Groups
from connectors.email.ses_events import read_events
from connectors.email.ses_payload import BULK, Request, single
from connectors.email.ses_settings import SesSettings
from connectors.email.ses_signing import Signer, credentials_of
from connectors.email.ses_suppressions import Lists
from connectors.environment import read_settings
from connectors.sns import Fetch, Topic, fetcher
from evergreet.contracts import Capabilities, EmailMessage, Outcome, ProviderEvent, Suppressed, WebhookRequest
from evergreet.errors import Misconfigured, Permanent, Refused, Retryable


class Ses:
    """Hands messages to Amazon SES; `send` may be called from several threads."""

    name: ClassVar[str] = "ses"
    capabilities: ClassVar[Capabilities] = Capabilities(
        batch_limit=1000, window=50, connections=4, webhooks=True, suppressions=True,
        proven_by=("botocore's service model", "botocore's client", "moto", "published events"),
    )  # fmt: skip

    def __init__(
        self,
        settings: SesSettings,
        client: httpx.Client,
        signer: Signer,
        *,
        fetch: Fetch | None = None,
        clock: Clock = elapsed,
    ) -> None:
        self._settings = settings
        self._client = client
        self._signer = signer
        self._clock = clock
        self._caller = Caller(
            "Amazon SES", client, settings.url, "", {}, settings.connect_timeout, settings.timeout, clock
        )  # fmt: skip
        fetch = fetch or fetcher(client, settings.connect_timeout, settings.timeout, clock)
        self._topic = Topic(settings.topic_arn, "EVERGREET_SES_TOPIC_ARN", fetch)
        # What the class declares are the defaults of the settings.
        self.capabilities = replace(  # type: ignore[misc]
            type(self).capabilities, window=settings.window, connections=settings.connections, splits=settings.bulk
        )

    @classmethod
    def from_environment(cls) -> Self:
        """Read `EVERGREET_SES_…`."""
        settings = read_settings(SesSettings)
        return cls(settings, make_client(settings.connections), Signer(settings.region, credentials_of(settings)))

    def send(self, batch: Sequence[EmailMessage]) -> list[Outcome]:
        """Hand the messages over, one request after another.

        After `batch_seconds` no further request is begun. An answer that stands for everybody (our fault, a limit, a
        doubt, nobody there) ends the batch: of what was not begun nothing was accepted.
        """
        requests, outcomes = self._pack(batch, range(len(batch)), bulk=self._settings.bulk)
        ends = self._clock() + self._settings.batch_seconds
        down: Retryable | Misconfigured | None = None
        todo = requests[::-1]
        while todo:
            request = todo.pop()
            if down is None and self._clock() > ends:
                down = Retryable("Not begun: the requests before it took too long.", accepted="no")
            try:
                answers = [down] * len(request.places) if down else self._ask(request)
            except Refused:  # of a request for several, in which nobody is named
                alone, refused = self._pack(batch, request.places, bulk=False)
                todo += alone[::-1]
                outcomes |= refused
                continue
            outcomes |= dict(zip(request.places, answers, strict=True))
            down = down or _stands_for_everybody(answers)
        return [outcomes[place] for place in range(len(batch))]

    def check(self) -> str:
        """Ask what the account may do."""
        answered, secrets = self._call("GET", "/v2/email/account", None)
        if not isinstance(answered, Answered):
            raise answered
        return f"{httpx.URL(self._settings.url).host} answers and {understand_account(answered, secrets)}."

    def verify(self, request: WebhookRequest) -> None:
        """Raise `NotGenuine` unless our topic in Amazon SNS signed it."""
        self._topic.verify(request)

    def parse(self, request: WebhookRequest) -> list[ProviderEvent]:
        """Read the event of one request; one that asks whether we subscribe to our topic is answered with yes."""
        told = self._topic.read(request)
        return [] if told is None else read_events(*told, request.received_at)

    def suppressions(self, since: datetime | None, until: datetime) -> Iterator[Suppressed]:
        """Read whom the account does not write to any more in this region."""
        return Lists(lambda path: self._call("GET", path, None), since, until)

    def close(self) -> None:
        """Give back the connections."""
        self._client.close()

    def __repr__(self) -> str:
        return f"Ses({self._settings.url!r})"

    def _pack(
        self, batch: Sequence[EmailMessage], places: Iterable[int], *, bulk: bool
    ) -> tuple[list[Request], dict[int, Outcome]]:
        """Return the requests for the messages at some places, and by place what cannot be sent as it is."""
        groups, alone, refused = Groups(self._settings), [], dict[int, Outcome]()
        for place in places:
            try:
                if not (bulk and groups.take(place, batch[place])):
                    alone.append(single(place, batch[place], self._settings))
            except (Permanent, Misconfigured) as fault:
                fault.__context__ = None
                refused[place] = fault.with_traceback(None)
        return [*groups.requests(), *alone], refused

    def _ask(self, request: Request) -> list[Outcome]:
        answered, secrets = self._call("POST", request.path, request.body)
        if not isinstance(answered, Answered):
            return [answered] * len(request.places)
        if request.path == BULK:
            return understand_bulk(answered, len(request.places), secrets)
        return [understand(answered, secrets)]

    def _call(
        self, method: str, path: str, body: bytes | None
    ) -> tuple[Answered | Retryable | Misconfigured, tuple[str, ...]]:
        """Make one signed call; return also what is not to be repeated of the answer."""
        try:
            headers, credentials = self._signer.sign(method, f"{self._settings.url}{path}", body)
        except (Retryable, Misconfigured) as fault:
            fault.__context__ = None
            return fault.with_traceback(None), ()
        secrets = tuple(secret for secret in credentials if secret)
        return self._caller.call(method, path, body, headers), secrets


def _stands_for_everybody(answers: Sequence[Outcome]) -> Retryable | Misconfigured | None:
    """Return why nothing more is to be begun after these answers; None where there is no reason."""
    for answer in answers:
        if isinstance(answer, Misconfigured):
            return answer
        if isinstance(answer, Retryable) and answer.accepted == "maybe":
            return Retryable("Not begun: the request before it ended in doubt.", accepted="no")
    later = [answer for answer in answers if isinstance(answer, Retryable)]
    return later[0] if len(later) == len(answers) else None  # some of a request may have to wait and the next not
