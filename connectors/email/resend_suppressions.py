"""The team's addresses that Resend sends nothing to any more, read a page at a time.

https://resend.com/docs/api-reference/suppressions/list-suppressions: pages go on after an id, so that new entries move
none. It cannot be asked for those of a time: the whole list is read, and older entries are passed over.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from connectors.answers import object_answered
from connectors.calling import Answered, Caller
from connectors.email.resend_answers import refusal
from connectors.email.resend_events import ORIGINS
from connectors.email.suppression_lists import Reading
from connectors.json_bodies import text_in
from connectors.moments import from_text
from evergreet.contracts import Suppressed
from evergreet.errors import ConnectorError, Misconfigured, Permanent, Retryable

PATH = "/suppressions"
PAGE = 100
"""The most entries that Resend gives at once."""


class Lists(Reading):
    """Goes through the list."""

    def __init__(self, caller: Caller, since: datetime | None, until: datetime) -> None:
        super().__init__()
        self._caller = caller
        self._since = since
        self._until = until
        self._after = ""
        self._over = False

    def _from_here(self) -> Iterator[Suppressed]:
        while not self._over:
            yield from self._turn()

    def _turn(self) -> list[Suppressed]:
        after = f"&after={quote(self._after, safe='')}" if self._after else ""
        answered = self._caller.call("GET", f"{PATH}?limit={PAGE}{after}")
        if not isinstance(answered, Answered):
            raise _question(answered)
        if answered.status != 200:
            raise _question(refusal(answered, self._caller.key))
        content = object_answered(answered.content)
        listed = content.get("data")
        if not isinstance(listed, list) or not isinstance(content.get("has_more"), bool):
            raise Retryable("What Resend answers is not a whole page of its suppressions.")
        entries = [entry for entry in listed if isinstance(entry, dict)]
        last = text_in(entries[-1], "id") if entries else ""
        if content["has_more"] and last in {"", self._after}:
            raise Misconfigured("Resend gives one page again and again. Is EVERGREET_RESEND_BASE_URL right?")
        self._after, self._over = last, not content["has_more"]
        return [found for entry in entries for found in self._suppressed(entry)]

    def _suppressed(self, entry: Mapping[str, Any]) -> Iterator[Suppressed]:
        """Read an entry; one of an origin that is not known is passed over."""
        known = ORIGINS.get(text_in(entry, "origin"))
        at = from_text(text_in(entry, "created_at"), self._until)
        if known is not None and (self._since is None or at >= self._since):
            yield Suppressed(text_in(entry, "email"), known[1], at)


def _question(fault: Retryable | Permanent | Misconfigured) -> ConnectorError:
    """Return an error of a question: of that nothing can be in doubt."""
    if isinstance(fault, Permanent):
        return Misconfigured(fault.reason)
    if isinstance(fault, Retryable):
        return Retryable(fault.reason.replace("; it may have taken the request", ""), retry_after=fault.retry_after)
    return fault
