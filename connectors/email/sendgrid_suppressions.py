"""SendGrid's lists of addresses that it does not write to any more, read a page at a time.

https://www.twilio.com/docs/sendgrid/api-reference/bounces-api/retrieve-all-bounces, and the same for invalid emails,
spam reports and global unsubscribes; `…/suppressions-suppressions/retrieve-all-suppressions` for unsubscribe groups.
Blocks are not asked for: "SendGrid does not treat the blocks list as a suppression list - subsequent sends to emails on
this list will be sent like normal" (https://www.twilio.com/docs/sendgrid/glossary/blocks).
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from connectors.calling import Answered, Caller
from connectors.email.sendgrid_answers import understand_refused_list
from connectors.email.sendgrid_events import bounce_kind, topic_of
from connectors.email.suppression_lists import Reading
from connectors.json_bodies import read_objects, text_in
from connectors.moments import from_seconds
from evergreet.contracts import Kind, Suppressed, Verdict
from evergreet.errors import ConnectorError, Misconfigured, Retryable, Unreadable

BOUNCES = "/v3/suppression/bounces"
LISTS: Mapping[str, Verdict] = {
    BOUNCES: Verdict.INVALID,
    "/v3/suppression/invalid_emails": Verdict.INVALID,
    "/v3/suppression/spam_reports": Verdict.COMPLAINED,
    "/v3/suppression/unsubscribes": Verdict.UNSUBSCRIBED,
}
"""Lists that come in pages, and what they say of an address; not every bounce does."""
GROUPS = "/v3/asm/suppressions"
"""Who left which group: one list without pages, and without a span of time to ask for."""
PAGE = 500
"""The most entries that SendGrid gives at once."""
LONGEST_WAIT = 600.0
"""Seconds for one answer."""


class Lists(Reading):
    """Goes through all lists."""

    def __init__(self, caller: Caller, topics: Mapping[int, str], since: datetime | None, until: datetime) -> None:
        super().__init__()
        self._caller = caller
        self._topics = topics
        self._since = since
        self._until = until
        self._lists = list(LISTS)
        self._offset = 0

    def _from_here(self) -> Iterator[Suppressed]:
        while self._lists:
            path, last = self._lists[0], None
            while page := list(islice(self._entries(f"{path}?{self._query()}"), PAGE + 1)):
                if page == last:
                    raise Misconfigured(
                        "SendGrid gives one page again and again. Is EVERGREET_SENDGRID_BASE_URL right?"
                    )
                self._offset, last = self._offset + len(page), page
                for entry in page:
                    if path != BOUNCES or bounce_kind(entry) is Kind.HARD_BOUNCED:
                        yield self._suppressed(entry, LISTS[path], "created")
            del self._lists[0]
            self._offset = 0
        if self._topics:
            for entry in self._entries(GROUPS):
                found = self._suppressed(entry, Verdict.UNSUBSCRIBED_TOPIC, "created_at")
                if found.topic and (self._since is None or found.at >= self._since):
                    yield found

    def _query(self) -> str:
        span = {"end_time": int(self._until.timestamp())}
        if self._since is not None:
            span["start_time"] = int(self._since.timestamp())
        return urlencode({**span, "limit": PAGE, "offset": self._offset})

    def _entries(self, path: str) -> Iterator[dict[str, Any]]:
        try:
            yield from read_objects(self._caller.pieces(path, self._refused, LONGEST_WAIT))
        except Unreadable:
            raise Retryable(f"What SendGrid answers to {path.partition('?')[0]} is not a whole list.") from None

    def _refused(self, answered: Answered) -> ConnectorError:
        return understand_refused_list(answered, self._caller.key)

    def _suppressed(self, entry: Mapping[str, Any], verdict: Verdict, time: str) -> Suppressed:
        topic = topic_of(entry.get("group_id"), self._topics)
        return Suppressed(text_in(entry, "email"), verdict, from_seconds(entry.get(time), self._until), topic)
