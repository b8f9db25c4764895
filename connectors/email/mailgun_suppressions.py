"""A domain's lists of addresses that Mailgun does not write to any more, read a page at a time.

https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/bounces, and the same for complaints and
unsubscribes. Pages are linked by whole addresses; one that leads elsewhere would get the key, and is not followed.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from connectors.answers import object_answered
from connectors.calling import Answered, Caller, said
from connectors.email.mailgun_answers import refusal, told, understand
from connectors.email.mailgun_events import bounce_kind
from connectors.email.suppression_lists import Reading
from connectors.json_bodies import object_in, text_in
from connectors.moments import from_text
from evergreet.contracts import Kind, Suppressed, Verdict
from evergreet.errors import ConnectorError, Misconfigured, Retryable

LISTS: Mapping[str, Verdict] = {
    "bounces": Verdict.INVALID,
    "complaints": Verdict.COMPLAINED,
    "unsubscribes": Verdict.UNSUBSCRIBED,
}
"""What the lists say of an address; of bounces only those whose answer says that the mailbox is not there."""
PAGE = 500
"""Entries asked for at once, of 1,000 that Mailgun would give."""
LONGEST_PAGE = 2 * 1024 * 1024
"""Octets of an answer: an entry holds the receiver's words."""


class Lists(Reading):
    """Goes through all lists."""

    def __init__(self, caller: Caller, domain: str, since: datetime | None, until: datetime) -> None:
        super().__init__()
        self._caller = caller
        self._since = since
        self._until = until
        self._lists = [(f"/v3/{domain}/{name}", verdict) for name, verdict in LISTS.items()]
        self._next = ""

    def _from_here(self) -> Iterator[Suppressed]:
        while self._lists:
            yield from self._turn()

    def _turn(self) -> list[Suppressed]:
        """Read the next page; an empty one is the last of its list."""
        path, verdict = self._lists[0]
        answered = self._caller.call("GET", f"{path}?{self._next or f'limit={PAGE}'}")
        if not isinstance(answered, Answered):
            raise _question(answered)
        if answered.status != 200:
            raise self._refused(answered)
        content = object_answered(answered.content)
        items, links = content.get("items"), object_in(content, "paging")
        if not isinstance(items, list):
            raise Retryable(f"What Mailgun answers to {path} is not a whole page.")
        if not items:
            del self._lists[0]
            self._next = ""
            return []
        following = self._query(text_in(links, "next"), path)
        if following == self._next:
            raise Misconfigured("Mailgun gives one page again and again. Is EVERGREET_MAILGUN_BASE_URL right?")
        self._next = following
        return [found for item in items if isinstance(item, dict) for found in self._suppressed(item, verdict)]

    def _query(self, link: str, path: str) -> str:
        """Return what to ask for the next page, where the link leads to the same list of the same server."""
        here = f"{self._caller.base_url}{path}?"
        query = link.removeprefix(here)
        if not link.startswith(here) or not re.fullmatch(r"[!-~]+", query) or "#" in query:
            raise Misconfigured("Mailgun's next page is not at EVERGREET_MAILGUN_BASE_URL, or not of the same list.")
        return query

    def _suppressed(self, item: Mapping[str, Any], verdict: Verdict) -> Iterator[Suppressed]:
        at = _moment(text_in(item, "created_at"), self._until)
        if verdict is Verdict.INVALID:
            code = item.get("code")
            if bounce_kind("", code, text_in(item, "error"), hard=False) is not Kind.HARD_BOUNCED:
                return
        tags = item.get("tags")
        if verdict is Verdict.UNSUBSCRIBED and isinstance(tags, list) and tags and "*" not in tags:
            return  # from a tag of Mailgun's, which stands for no topic of ours
        if text_in(item, "address") and (self._since is None or at >= self._since):
            yield Suppressed(text_in(item, "address"), verdict, at)

    def _refused(self, answered: Answered) -> ConnectorError:
        answer = understand(answered, (), self._caller.key)
        if isinstance(answer, Retryable | Misconfigured):
            return _question(answer)
        return _question(refusal(400, f"Mailgun answers {answered.status}: {said(told(answered), self._caller.key)}"))


def _question(fault: Retryable | Misconfigured) -> ConnectorError:
    """Return an error of a question: of that nothing can be in doubt."""
    if isinstance(fault, Retryable):
        return Retryable(fault.reason.replace("; it may have taken the request", ""), retry_after=fault.retry_after)
    return fault


def _moment(written: str, otherwise: datetime) -> datetime:
    """Read a time as in `Thu, 11 Dec 2025 01:49:40 UTC` (RFC 2822)."""
    try:
        moment = parsedate_to_datetime(written)
    except (ValueError, TypeError):
        return from_text(written, otherwise)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
