"""A sheet of Google's that is published as CSV, as a CRM: a contact a row.

It is got as a whole each time. Where nothing in it has changed nothing is told; else all rows are, and what they said
before is no news. https://support.google.com/docs/answer/183965, https://www.rfc-editor.org/rfc/rfc4180
"""

import csv
import io
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import ClassVar, Self
from urllib.parse import urljoin, urlsplit

import httpx

from connectors.answers import pause
from connectors.calling import Answered, Caller, make_client, said
from connectors.crm.sheets_settings import SheetsSettings
from connectors.elapsed import Clock, elapsed
from connectors.environment import read_settings
from connectors.rows import NoContact, RowReader
from evergreet.contracts import Capabilities, CrmContact, CrmPage
from evergreet.errors import ConnectorError, DataError, Misconfigured, Retryable

LONGEST = 32 * 1024 * 1024
"""Octets of a sheet."""
CONTENT_HOST = ".googleusercontent.com"
"""Where Google sends who asks for a published sheet; nobody is followed elsewhere."""


class _Elsewhere(ConnectorError):
    """The sheet is to be got from another address."""


@dataclass(frozen=True, slots=True)
class _Sheet:
    """A sheet as it was got: its rows, by the names in its first one."""

    digest: str
    header: list[str]
    rows: list[list[str]]


class _Silence(logging.Filter):
    """Takes the link of the sheet out of what httpx writes into its log: all URLs."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._hidden = (urlsplit(url).path, f"{CONTENT_HOST}/")

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                "(the sheet)" if any(hidden in str(each) for hidden in self._hidden) else each for each in record.args
            )
        return True


class Sheets:
    """Reads one sheet; it is kept in memory while its pages are told."""

    name: ClassVar[str] = "sheets"
    capabilities: ClassVar[Capabilities] = Capabilities(channel="crm", proven_by=("Python's csv package, RFC 4180",))

    def __init__(
        self, settings: SheetsSettings, client: httpx.Client, *, clock: Clock = elapsed,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:  # fmt: skip
        self._settings = settings
        self._client = client
        self._clock = clock
        self._now = now
        self._reader = RowReader(settings, are_text=True)
        self._kept: _Sheet | None = None
        self._silence = _Silence(settings.url.get_secret_value())
        logging.getLogger("httpx").addFilter(self._silence)

    @classmethod
    def from_environment(cls) -> Self:
        """Read `EVERGREET_SHEETS_…`."""
        return cls(read_settings(SheetsSettings), make_client(1))

    def check(self) -> str:
        """Get the sheet, and say how many rows it has."""
        sheet = self._get()
        return f"The published sheet has {len(sheet.rows):,} rows, with {', '.join(sheet.header[:20])}."

    def changed_since(self, cursor: str) -> CrmPage:
        """Return the next rows of the sheet, from its beginning where it has changed."""
        try:
            digest, start = json.loads(cursor) if cursor else ("", 0)
            if type(digest) is not str or type(start) is not int or start < 0:
                raise ValueError
        except (ValueError, TypeError):
            raise DataError("This place in the sheet is none: read it again with --from-start.") from None
        sheet = self._kept
        if sheet is None or sheet.digest != digest or start >= len(sheet.rows):
            sheet = self._kept = self._get()
        if sheet.digest != digest:
            start = 0
        told = sheet.rows[start : start + self._settings.page]
        end = start + len(told)
        contacts: list[CrmContact] = []
        unreadable: list[tuple[str, str]] = []
        now = self._now()
        for number, cells in enumerate(told, start=start + 2):
            try:
                contacts.append(self._reader.contact(_values(sheet.header, cells), now))
            except NoContact as problem:
                unreadable.append((f"row {number}", str(problem)))
        place = json.dumps([sheet.digest, end])
        return CrmPage(tuple(contacts), place, end < len(sheet.rows), tuple(unreadable))

    def close(self) -> None:
        """Give back the connections."""
        self._client.close()
        logging.getLogger("httpx").removeFilter(self._silence)

    def __repr__(self) -> str:
        return "Sheets(a published sheet)"

    def _get(self) -> _Sheet:
        """Get the sheet, from the one other place that Google may send us to."""
        url = self._settings.url.get_secret_value()
        try:
            content = self._content(url)
        except _Elsewhere as elsewhere:
            target = urlsplit(urljoin(url, elsewhere.reason))
            if target.scheme != "https" or target.netloc != (target.hostname or "") or not (
                target.netloc.endswith(CONTENT_HOST)
            ):  # fmt: skip
                raise Misconfigured(
                    "The sheet is not published: Google sends us elsewhere, such as to sign in."
                ) from None
            try:
                content = self._content(target.geturl())
            except _Elsewhere:
                raise Retryable("Google sends us from one place to another, and not to the sheet.") from None
        return _read(content, self._settings.id_column)

    def _content(self, url: str) -> bytes:
        parts = urlsplit(url)
        caller = Caller(
            "Google Sheets", self._client, f"{parts.scheme}://{parts.netloc}", parts.path, {"Accept": "text/csv"},
            self._settings.connect_timeout, self._settings.timeout, self._clock,
        )  # fmt: skip
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        content = bytearray()
        for piece in caller.pieces(path, lambda answered: _refused(answered, parts.path), self._settings.timeout):
            content += piece
            if len(content) > LONGEST:
                raise Misconfigured(f"The sheet has more than {LONGEST // 1024 // 1024} MB.")
        return bytes(content)


def _refused(answered: Answered, secret: str) -> ConnectorError:
    status = answered.status
    if status in {301, 302, 303, 307, 308} and answered.headers.get("location"):
        return _Elsewhere(answered.headers["location"])
    if status == 429 or status >= 500:
        return Retryable(f"Google Sheets answers {status}.", retry_after=pause(answered.headers, "retry-after"))
    words = said(answered.content.decode("utf-8", "replace"), secret) if status not in {401, 403, 404, 410} else ""
    return Misconfigured(f"Google Sheets answers {status}: the sheet is not published as CSV, or not any more. {words}")


def _read(content: bytes, id_column: str) -> _Sheet:
    """Read a sheet; what is none, such as a page that asks to sign in, is a fault of the settings."""
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error):
        raise Misconfigured("What Google Sheets gives is no CSV in UTF-8: publish the sheet as CSV.") from None
    header = [name.strip() for name in rows[0]] if rows else []
    if id_column not in header:
        raise Misconfigured(f"The sheet has no column {id_column!r} in its first row, or is not published as CSV.")
    named = [name for name in header if name]
    if len(set(named)) < len(named):
        raise Misconfigured("The sheet's first row has a name twice; rename one of the columns.")
    return _Sheet(blake2b(content, digest_size=16).hexdigest(), header, [row for row in rows[1:] if any(row)])


def _values(header: list[str], cells: list[str]) -> Mapping[str, str]:
    """Return a row by the names of its columns; those without a name are passed over, and what is cut off is empty."""
    padded = [*cells, *[""] * (len(header) - len(cells))]
    return {name: cell for name, cell in zip(header, padded, strict=False) if name}
