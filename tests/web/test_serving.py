"""`evergreet serve` as a process of its own, on a real socket."""

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlmodel import col

from evergreet.database import Database
from evergreet.tokens import Tokens
from models import Consent
from tests.web.conftest import KEY


@dataclass
class Serving:
    """A server that runs, and what it has said so far."""

    port: int = 0
    lines: list[str] = field(default_factory=list)
    heard: threading.Condition = field(default_factory=threading.Condition)

    def listen(self, lines: Iterable[str]) -> None:
        """Keep what the process says until it ends."""
        for line in lines:
            with self.heard:
                self.lines.append(line)
                self.heard.notify_all()

    def said(self, pattern: str) -> re.Match[str]:
        """Wait until it says that; everything it said before is in `lines` then."""
        with self.heard:
            found = self.heard.wait_for(lambda: re.search(pattern, "".join(self.lines)), timeout=60)
        assert found, "".join(self.lines)
        return found

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        said = answer.read().decode()
        connection.close()
        return answer.status, said


@pytest.fixture
def serving(database: Database, database_url: str) -> Iterator[Serving]:
    process = subprocess.Popen(
        [Path(sys.executable).parent / "evergreet", "serve", "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "EVERGREET_DATABASE_URL": database_url, "EVERGREET_SECRET_KEYS": f'["{KEY}"]'},
    )  # fmt: skip
    assert process.stdout is not None
    server = Serving()
    reader = threading.Thread(target=server.listen, args=(process.stdout,))
    reader.start()
    try:
        server.port = int(server.said(r"running on http://127\.0\.0\.1:(\d+)")[1])
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(30)
        reader.join(30)
        process.stdout.close()
    assert code in {0, 130}


def test_it_unsubscribes_over_a_real_socket_and_logs_no_token(
    serving: Serving, database: Database, link: str, maya: int
) -> None:
    token = link.removeprefix("/u/")
    assert Tokens([KEY]).read_unsubscribe(token).contact_id == maya
    assert serving.ask("GET", "/health")[0] == 200
    assert serving.ask("GET", link)[0] == 200
    assert serving.ask("HEAD", link) == (200, "")
    assert serving.ask("GET", f"{link}x?from=mail")[0] == 404
    form = "application/x-www-form-urlencoded"
    assert serving.ask("POST", link, b"List-Unsubscribe=One-Click", Content_Type=form)[0] == 200
    with database.read() as connection:
        row = connection.execute(select(Consent).where(~col(Consent.granted))).one()
    assert (row.contact_id, row.topic, row.source) == (maya, "orders", "one-click")
    assert serving.ask("GET", "/last")[0] == 404
    serving.said("GET /last")
    said = "".join(serving.lines)
    assert "GET /u/…" in said
    assert "POST /u/…" in said
    assert token[:12] not in said
    assert KEY not in said


def test_a_body_without_end_is_cut_off(serving: Serving, link: str) -> None:
    with socket.create_connection(("127.0.0.1", serving.port), timeout=30) as raw:
        raw.sendall(
            f"POST {link} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        answer = b""
        with contextlib.suppress(ConnectionError):  # it may cut us off while we are still talking
            for _ in range(40):
                raw.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
            answer = raw.recv(65536)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 413 ")
    serving.said(r"POST /u/… HTTP/1\.1. 413")
