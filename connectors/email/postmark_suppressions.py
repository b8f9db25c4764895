"""Each stream's addresses that Postmark does not write to any more, read as they come: one list without pages.

https://postmarkapp.com/developer/api/suppressions-api#suppression-dump: hard bounces, complaints, and what a reader or
somebody of yours decided. What may pass is not on it.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from connectors.calling import Answered, Caller
from connectors.email.postmark_answers import refusal
from connectors.email.postmark_events import SUPPRESSIONS
from connectors.email.suppression_lists import Reading
from connectors.json_bodies import read_objects, text_in
from connectors.moments import from_text
from evergreet.contracts import Suppressed
from evergreet.errors import ConnectorError, Misconfigured, Permanent, Retryable, Unreadable

LONGEST_WAIT = 600.0
"""Seconds for one list."""

_BEGINS = re.compile(rb'\s*\{\s*"Suppressions"\s*:\s*')
_LONGEST_BEGINNING = 1024
_ENDS = re.compile(rb"\}\s*$")


class Lists(Reading):
    """Goes through the streams."""

    def __init__(self, caller: Caller, streams: Iterable[str], since: datetime | None, until: datetime) -> None:
        super().__init__()
        self._caller = caller
        self._streams = list(streams)
        # Days are asked for, of a clock of theirs; one more than is needed costs little.
        self._query = f"?fromdate={since - timedelta(days=1):%Y-%m-%d}" if since is not None else ""
        self._until = until

    def _from_here(self) -> Iterator[Suppressed]:
        while self._streams:
            path = f"/message-streams/{quote(self._streams[0], safe='')}/suppressions/dump{self._query}"
            try:
                for entry in read_objects(_listed(self._caller.pieces(path, self._refused, LONGEST_WAIT))):
                    yield from self._suppressed(entry)
            except Unreadable:
                raise Retryable("What Postmark answers is not a whole list of suppressions.") from None
            del self._streams[0]

    def _suppressed(self, entry: dict[str, Any]) -> Iterator[Suppressed]:
        """Read an entry; one for a reason that is not known is passed over."""
        known = SUPPRESSIONS.get(text_in(entry, "SuppressionReason"))
        if known is not None:
            at = from_text(text_in(entry, "CreatedAt"), self._until)
            yield Suppressed(text_in(entry, "EmailAddress"), known[1], at)

    def _refused(self, answered: Answered) -> ConnectorError:
        error = refusal(answered, self._caller.key)
        if isinstance(error, Permanent):
            return Misconfigured(error.reason)
        if isinstance(error, Retryable) and error.accepted == "maybe":  # of a question nothing is in doubt
            return Retryable(f"Postmark answers {answered.status} to a question for a list.")
        return error


def _listed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what stands under `Suppressions`, as it comes; raises `Unreadable` where something else stands there."""
    held, begun = b"", False
    for piece in pieces:
        held += piece
        if not begun:
            if (found := _BEGINS.match(held)) is None:
                if len(held) > _LONGEST_BEGINNING:
                    break
                continue
            held, begun = held[found.end() :], True
        last = _ENDS.search(held)  # perhaps the end of it all
        yield held[: last.start()] if last else held
        held = held[last.start() :] if last else b""
    if not begun or held.strip() != b"}":
        raise Unreadable("The body is not an object with one list.")
