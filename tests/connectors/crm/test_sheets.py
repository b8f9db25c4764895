"""A published sheet is read as a CRM: whole, followed to one other host at most, and told only where it has changed."""

import csv
import io
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
import trustme

from connectors.calling import make_client
from connectors.crm.sheets import Sheets
from connectors.crm.sheets_settings import SheetsSettings
from evergreet.errors import DataError, Misconfigured, Retryable
from evergreet.testing import CrmConnectorContract
from evergreet.testing.answering import Answering, answer

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
PATH = "/spreadsheets/d/e/2PACX-canary/pub?gid=0&single=true&output=csv"
HOST = "doc-0s-8k-sheets.googleusercontent.com"


class Sheet(ThreadingHTTPServer):
    """Serves rows as CSV under the path of a published sheet."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.rows: list[list[str]] = [["id", "email", "first_name"]]
        self.gets = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{PATH}"

    @property
    def content(self) -> bytes:
        """The rows as RFC 4180 has them, by Python's own writer."""
        written = io.StringIO()
        csv.writer(written).writerows(self.rows)
        return written.getvalue().encode()


class _Handler(BaseHTTPRequestHandler):
    server: Sheet

    def do_GET(self) -> None:
        assert self.path == PATH
        self.server.gets += 1
        self.send_response(200)
        self.send_header("Content-Type", "text/csv")
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def sheet() -> Iterator[Sheet]:
    with Sheet() as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield serving
        serving.shutdown()


@pytest.fixture
def made_at() -> Iterator[Callable[..., Sheets]]:
    """A connector for the sheet at an address, or on a server."""
    with ExitStack() as made:

        def make(url: str, client: httpx.Client | None = None) -> Sheets:
            whole = url if "/spreadsheets/" in url else f"{url}{PATH}"
            settings = SheetsSettings.model_validate({"url": whole, "page": 3, "timeout": 1, "connect_timeout": 1})
            return made.enter_context(closing(Sheets(settings, client or make_client(1), now=lambda: NOW)))

        yield make


class TestSheets(CrmConnectorContract):
    entry_point = "sheets"
    required_settings = ("EVERGREET_SHEETS_URL",)
    secrets = ("2PACX-canary",)
    writes = False

    @pytest.fixture
    def at(self, made_at: Callable[..., Sheets]) -> Callable[..., Sheets]:
        return made_at

    @pytest.fixture
    def connect(self, sheet: Sheet, made_at: Callable[..., Sheets]) -> Callable[[], Sheets]:
        return lambda: made_at(sheet.url)

    @pytest.fixture
    def put(self, sheet: Sheet) -> Callable[[str, str], str]:
        def put(email: str, name: str) -> str:
            known = next((row for row in sheet.rows if row[1] == email), None)
            if known is None:
                sheet.rows.append([email, email, name])
            else:
                known[2] = name
            return email

        return put


def test_a_sheet_that_has_not_changed_says_nothing_and_a_row_of_it_cuts_no_other(
    sheet: Sheet, made_at: Callable[..., Sheets]
) -> None:
    sheet.rows[0] = ["id", "email", "", "size", "changed_at", "deleted"]
    sheet.rows += [
        ["1", "a@example.com", "aside", "41", "2026-03-01", ""], [], ["", "nobody", "", "", "", ""], ["2"],
        ["3", "c\nd", "", '"x", 7', "yesterday", ""], ["4", "", "", "007", "", "TRUE"],
    ]  # fmt: skip
    connector = made_at(sheet.url)
    first = connector.changed_since("")
    second = connector.changed_since(first.cursor)
    assert [one.id for one in (*first.contacts, *second.contacts)] == ["1", "2", "4"]
    assert first.contacts[0].details == {"size": 41}
    assert (first.contacts[0].changed_at, first.contacts[1].changed_at) == (datetime(2026, 3, 1, tzinfo=UTC), NOW)
    assert second.contacts[0].deleted
    assert [number for number, _ in (*first.unreadable, *second.unreadable)] == ["row 3", "row 5"]
    assert sheet.gets == 1  # the pages of one sheet are of one piece
    assert made_at(sheet.url).changed_since(second.cursor).contacts == ()
    sheet.rows.append(["5"])
    assert [one.id for one in made_at(sheet.url).changed_since(second.cursor).contacts] == ["1", "2"]


def test_google_is_followed_to_the_host_of_its_contents_and_nowhere_else(
    sheet: Sheet, made_at: Callable[..., Sheets], monkeypatch: pytest.MonkeyPatch
) -> None:
    sheet.rows.append(["1", "a@example.com", "Ann"])
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(server)
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    sheet.socket = server.wrap_socket(sheet.socket, server_side=True)
    reached: list[tuple[str, int]] = []
    connect = socket.create_connection

    def routed(address: tuple[str, int], *arguments: Any, **named: Any) -> socket.socket:
        reached.append(address)
        return connect(("127.0.0.1", sheet.server_address[1]) if address[0] == HOST else address, *arguments, **named)

    monkeypatch.setattr(socket, "create_connection", routed)
    with Answering(answer(307, Location=f"https://{HOST}{PATH}")) as google:
        found = made_at(google.url, httpx.Client(verify=trusted)).changed_since("")
        assert [one.id for one in found.contacts] == ["1"]
        assert reached[-1] == (HOST, 443)
        reached.clear()
        for elsewhere in (
            f"http://{HOST}/", "https://accounts.google.com/signin", f"https://{HOST}.evil.example/",
            f"https://{HOST}:8443/", f"https://user@{HOST}/", "https://evil.example/?a.googleusercontent.com",
            "//evil.example/", "https://[::1]/", "https://googleusercontent.com/",
        ):  # fmt: skip
            google.words = answer(302, Location=elsewhere)
            with pytest.raises(Misconfigured, match="is not published"):
                made_at(google.url).changed_since("")
    assert {host for host, _ in reached} == {"127.0.0.1"}


def test_what_is_no_whole_sheet_is_a_sentence(made_at: Callable[..., Sheets]) -> None:
    with Answering(b"") as google:
        for words, kind, says in (
            (answer(200, b"id,id\n1,2\n"), Misconfigured, "a name twice"),
            (answer(200, b'id\n"1\n'), Misconfigured, "no CSV"),
            (answer(200, b"id\n1\n", Content_Length="99"), Retryable, "did not answer to the end"),
            (answer(404), Misconfigured, "not published as CSV"),
        ):
            google.words = words
            with pytest.raises(kind, match=says):
                made_at(google.url).changed_since("")
        with pytest.raises(DataError, match="--from-start"):
            made_at(google.url).changed_since('["x", -1]')
