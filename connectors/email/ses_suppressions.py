"""The account's suppression list in one region, read a page at a time.

https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_ListSuppressedDestinations.html: addresses that bounced hard
or complained, those that somebody put there by hand included. What may pass is not on it.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from connectors.answers import object_answered
from connectors.calling import Answered
from connectors.email.ses_answers import refusal, refused
from connectors.email.suppression_lists import Reading
from connectors.json_bodies import text_in
from connectors.moments import from_seconds
from evergreet.contracts import Suppressed, Verdict
from evergreet.errors import ConnectorError, Misconfigured, Permanent, Retryable

PATH = "/v2/email/suppression/addresses"
REASONS: Mapping[str, Verdict] = {"BOUNCE": Verdict.INVALID, "COMPLAINT": Verdict.COMPLAINED}
"""Why an address is on the list; one for a reason that is not known is passed over."""
PAGE = 100
"""Entries asked for at once: an answer is far below what is read of one."""

Call = Callable[[str], tuple[Answered | Retryable | Misconfigured, tuple[str, ...]]]
"""Asks for a path, signed; returns also what is not to be repeated of the answer."""


class Lists(Reading):
    """Goes through the list."""

    def __init__(self, call: Call, since: datetime | None, until: datetime) -> None:
        super().__init__()
        self._call = call
        self._since = since
        self._until = until
        self._token = ""
        self._over = False

    def _from_here(self) -> Iterator[Suppressed]:
        while not self._over:
            yield from self._turn()

    def _turn(self) -> list[Suppressed]:
        answered, secrets = self._call(f"{PATH}?{self._query()}")
        if not isinstance(answered, Answered):
            raise answered
        if answered.status != 200:
            raise self._refused(answered, secrets)
        content = object_answered(answered.content)
        listed, token = content.get("SuppressedDestinationSummaries"), text_in(content, "NextToken")
        if not isinstance(listed, list):
            raise Retryable("What Amazon SES answers is not a whole page of its suppression list.")
        if token and token == self._token:
            raise Misconfigured("Amazon SES gives one page again and again. Is EVERGREET_SES_BASE_URL right?")
        self._token, self._over = token, not token
        return list(self._entries(listed))

    def _query(self) -> str:
        """Return the query in the order in which it is signed."""
        asked = {"EndDate": _written(self._until), "NextToken": self._token, "PageSize": str(PAGE)}
        if self._since is not None:
            asked["StartDate"] = _written(self._since)
        return urlencode({name: value for name, value in asked.items() if value}, safe="-_.~", quote_via=quote)

    def _refused(self, answered: Answered, secrets: tuple[str, ...]) -> ConnectorError:
        if refusal(answered, secrets).code == "InvalidNextTokenException":
            self._token = ""  # it has ended: from the beginning
            return Retryable("The place in Amazon SES's suppression list is no longer known: it is read anew.")
        error = refused(answered, secrets)
        return Misconfigured(error.reason) if isinstance(error, Permanent) else error

    def _entries(self, listed: list[Any]) -> Iterator[Suppressed]:
        for entry in listed:
            verdict = REASONS.get(text_in(entry, "Reason")) if isinstance(entry, dict) else None
            if verdict is not None:
                at = from_seconds(entry.get("LastUpdateTime"), self._until)
                yield Suppressed(text_in(entry, "EmailAddress"), verdict, at)


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
