"""A mail server and a SendGrid that keep books of their own and have bad days, as the seed wants it.

What happens to a hand-over is drawn from the seed, the recipient and how often they were tried: it does not depend on
which worker comes first. A mail is on disk before it is answered for.
"""

import json
import os
import random
import socket
import struct
import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from tests.chaos.faults import Log
from tests.faults.sink import Mail, Sink, until

PATIENCE = 2.0
"""Seconds that the connectors wait for an answer."""
LONG = 1.5 * PATIENCE
HANGS = 2
"""Time-outs per round, since each costs its worker seconds."""

SMTP_FATES = {
    "latency": 3, "429": 3, "5xx": 1, "mailbox unknown": 1, "connection reset": 2, "answer lost": 3,
    "time-out before the body": 1, "time-out after the body": 1,
}  # fmt: skip
HTTP_FATES = {
    "latency": 3, "429 with Retry-After": 2, "429": 2, "5xx": 2, "half refused": 2, "connection reset": 2,
    "answer lost": 3, "time-out before the body": 1, "time-out after the body": 1,
}  # fmt: skip


class Weather:
    """Draws what the provider does, and remembers whom it struck."""

    def __init__(self, seed: str, log: Log, fates: dict[str, int], book: Path, share: float) -> None:
        self.seed = seed
        self.log = log
        self.fates = fates
        self.share = share
        self.calm = False
        self.struck: defaultdict[str, list[str]] = defaultdict(list)
        self._tried: Counter[str] = Counter()
        self._hangs = 0
        self._lock = threading.Lock()
        self._book = os.open(book, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write_down(self, mail: Mail) -> None:
        """Put a mail into the book; from now on the provider is responsible for it."""
        os.write(self._book, f"{json.dumps([time.time(), mail.key, mail.recipient])}\n".encode())

    def close(self) -> None:
        """Close the book."""
        os.close(self._book)

    def fate(self, recipients: list[str]) -> tuple[str, random.Random]:
        """Say what happens to a hand-over to these, and with which chances."""
        with self._lock:
            chance = random.Random(f"{self.seed} {recipients[0]} {self._tried[recipients[0]]}")
            self._tried.update(recipients)
            if self.calm or chance.random() > self.share:
                return "", chance
            (kind,) = chance.choices(list(self.fates), list(self.fates.values()))
            if kind.startswith("time-out"):
                self._hangs += 1
                if self._hangs > HANGS:
                    return "", chance
            for recipient in recipients:
                self.struck[recipient].append(kind)
        self.log.record(kind, ", ".join(recipients[:3]))
        return kind, chance


class Mailserver(Sink):
    """An SMTP server under this weather."""

    def __init__(self, weather: Weather) -> None:
        super().__init__()
        self.weather = weather

    def _at_recipient(self, recipient: str) -> bytes:
        kind, chance = self.weather.fate([recipient])
        match kind:
            case "latency":
                time.sleep(chance.uniform(0.01, 0.15))
            case "429":
                return b"451 4.7.1 come back later"
            case "5xx":
                return b"550 5.7.1 not from you"
            case "mailbox unknown":
                return b"550 5.1.1 no such user"
            case "connection reset":
                chance.choice((self.lose_at_data, self.lose_in_content))[recipient] += 1
            case "answer lost":
                self.lose_answer[recipient] += 1
            case "time-out before the body":
                time.sleep(LONG)
            case "time-out after the body":
                held = self.holding(recipient)
                threading.Timer(LONG, held.set).start()
        return b"250 ok"

    def _book(self, mail: Mail) -> None:
        self.weather.write_down(mail)
        super()._book(mail)


class SendGridServer:
    """An HTTP server that takes what SendGrid takes, under this weather."""

    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        self.mails: list[Mail] = []
        self.events: list[dict[str, Any]] = []
        """What may be told of them afterwards, in order."""
        self._open: set[Any] = set()

    @property
    def by_key(self) -> Counter[str]:
        """How many mails were taken under each key."""
        return Counter(mail.key for mail in self.mails)

    def quiet(self) -> None:
        """Wait until everything that dead clients have written is read and booked."""
        with socket.create_connection(("127.0.0.1", self.port)) as marker:  # those before it are accepted first
            marker.sendall(b"GET /v3/scopes HTTP/1.0\r\n\r\n")
            while marker.recv(1024):
                pass
        until(lambda: not self._open, "the connections to SendGrid to end")

    def __enter__(self) -> Self:
        self._server = _HttpServer(("127.0.0.1", 0), _Requests)
        self._server.sink = self
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, personal: list[dict[str, Any]]) -> None:
        """Take responsibility for these."""
        for one in personal:
            mail = Mail(one["custom_args"]["evergreet_key"], one["to"][0]["email"])
            self.weather.write_down(mail)
            self.mails.append(mail)
            self.events += [
                {
                    "event": word, "email": mail.recipient, "sg_event_id": f"{word}-{mail.key}-{len(self.mails)}",
                    "sg_message_id": f"sg-{len(self.mails)}", "timestamp": int(time.time()), "booked": time.monotonic(),
                    **one["custom_args"],
                }
                for word in ("processed", "delivered")
            ]  # fmt: skip


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    sink: SendGridServer

    def shutdown_request(self, request: Any) -> None:
        """Close it as it is: with a reset where one was asked for."""
        request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that have died."""


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _HttpServer

    def setup(self) -> None:
        self.server.sink._open.add(self.request)
        super().setup()

    def finish(self) -> None:
        try:
            with suppress(OSError):
                super().finish()
        finally:
            self.server.sink._open.discard(self.request)

    def log_message(self, format: str, *arguments: Any) -> None:
        """The book is elsewhere."""

    def do_GET(self) -> None:
        self._answer(200, {"scopes": ["mail.send"]})

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return  # its client died: nobody has it
        personal = json.loads(body)["personalizations"]
        sink = self.server.sink
        kind, chance = sink.weather.fate([one["to"][0]["email"] for one in personal])
        match kind:
            case "429 with Retry-After":
                self._refuse(429, "too many requests", {"Retry-After": "1"})
                return
            case "429":
                self._refuse(429, "too many requests")
                return
            case "half refused":
                odd = range(0, len(personal), 2)
                self._answer(400, {"errors": [_invalid(place) for place in odd]})
                return
            case "5xx":
                if chance.random() < 0.5:
                    sink.take(personal)
                self._refuse(chance.choice((500, 502, 503)), "something went wrong")
                return
            case "connection reset":
                self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                return
            case "time-out before the body":
                time.sleep(LONG)
                self.close_connection = True
                return
            case "latency":
                time.sleep(chance.uniform(0.01, 0.15))
        sink.take(personal)
        if kind == "time-out after the body":
            time.sleep(LONG)
        if kind in {"answer lost", "time-out after the body"}:
            self.close_connection = True
            return
        self.send_response(202)
        self.send_header("X-Message-Id", f"sg-{len(sink.mails)}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _refuse(self, status: int, words: str, headers: dict[str, str] | None = None) -> None:
        self._answer(status, {"errors": [{"message": words, "field": None}]}, headers)

    def _answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _invalid(place: int) -> dict[str, str]:
    return {"message": "Does not contain a valid address.", "field": f"personalizations.{place}.to.0.email"}
