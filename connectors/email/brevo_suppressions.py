"""The account's addresses that Brevo sends no transactional email to any more, read a page at a time.

https://developers.brevo.com/reference/gettransacblockedcontacts; an address is blocked for one sender or for all of the
account's, and stands for itself here. The oldest come first, so that new ones move no page.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from connectors.answers import object_answered
from connectors.calling import Answered, Caller
from connectors.email.brevo_answers import refusal
from connectors.email.statuses import kind_said
from connectors.email.suppression_lists import Reading
from connectors.json_bodies import object_in, text_in
from connectors.moments import from_text
from evergreet.contracts import Suppressed, Verdict
from evergreet.errors import ConnectorError, Misconfigured, Permanent, Retryable

PATH = "/v3/smtp/blockedContacts"
REASONS: Mapping[str, Verdict] = {
    "unsubscribedViaMA": Verdict.UNSUBSCRIBED,
    "unsubscribedViaEmail": Verdict.UNSUBSCRIBED,
    "unsubscribedViaApi": Verdict.UNSUBSCRIBED,
    "adminBlocked": Verdict.UNSUBSCRIBED,  # somebody of the company decided, until the reader agrees anew
    "hardBounce": Verdict.INVALID,
    "contactFlaggedAsSpam": Verdict.COMPLAINED,
}
"""`code` of the reason; an address that is blocked for one that is not known is passed over."""
PAGE = 100
"""The most entries that Brevo gives at once."""


class Lists(Reading):
    """Goes through the list."""

    def __init__(self, caller: Caller, since: datetime | None, until: datetime) -> None:
        super().__init__()
        self._caller = caller
        self._until = until
        self._span: dict[str, str] = {}
        if since is not None:  # days of the account's clock, and neither without the other; none that is to come
            first = since.astimezone(UTC) - timedelta(days=1)
            self._span = {"startDate": f"{first:%Y-%m-%d}", "endDate": f"{until.astimezone(UTC):%Y-%m-%d}"}
        self._offset = 0
        self._over = False
        self._last: list[Any] = []

    def _from_here(self) -> Iterator[Suppressed]:
        while not self._over:
            yield from self._turn()

    def _turn(self) -> list[Suppressed]:
        query = urlencode({**self._span, "limit": PAGE, "offset": self._offset, "sort": "asc"})
        answered = self._caller.call("GET", f"{PATH}?{query}")
        if not isinstance(answered, Answered):
            raise _question(answered)
        if answered.status != 200:
            raise _question(refusal(answered, self._caller.key))
        content = object_answered(answered.content)
        count, listed = content.get("count", 0), content.get("contacts", [])
        if not isinstance(listed, list) or not isinstance(count, int) or (not listed and count > self._offset):
            raise Retryable("What Brevo answers is not a whole page of its blocked contacts.")
        if listed and listed == self._last:
            raise Misconfigured("Brevo gives one page again and again. Is EVERGREET_BREVO_BASE_URL right?")
        self._offset, self._last = self._offset + len(listed), listed
        self._over = not listed or self._offset >= count
        return [found for entry in listed if isinstance(entry, dict) for found in self._suppressed(entry)]

    def _suppressed(self, entry: Mapping[str, Any]) -> Iterator[Suppressed]:
        reason = object_in(entry, "reason")
        verdict = REASONS.get(text_in(reason, "code"))
        may_pass = verdict is Verdict.INVALID and kind_said(text_in(reason, "message")) is not None
        if verdict is not None and not may_pass:
            yield Suppressed(text_in(entry, "email"), verdict, from_text(text_in(entry, "blockedAt"), self._until))


def _question(fault: Retryable | Permanent | Misconfigured) -> ConnectorError:
    """Return an error of a question: of that nothing can be in doubt."""
    if isinstance(fault, Permanent):
        return Misconfigured(fault.reason)
    if isinstance(fault, Retryable):
        return Retryable(fault.reason.replace("; it may have taken the request", ""), retry_after=fault.retry_after)
    return fault
