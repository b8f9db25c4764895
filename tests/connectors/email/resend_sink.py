"""A local Resend for tests: it takes what the vendor's description allows, and does what comes with one key once."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest

from tests.connectors.email.sendgrid_sink import Told, description

Judge = Callable[[list[dict[str, Any]]], Told | None]


class ResendSink(ThreadingHTTPServer):
    """Takes batches at `url` with the key; `judge` may say what is answered to one that breaks no rule."""

    daemon_threads = True

    def __init__(self, key: str, spec: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.key = key
        self.judge: Judge = lambda batch: None
        self.listed: Told = Told(200, {"object": "list", "data": []})
        self.mails: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.faults: list[str] = []
        self.answers: dict[str, tuple[bytes, Told]] = {}
        self.lock = threading.Lock()
        self._description = description(spec) if spec else None
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None = None, error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:  # fmt: skip
        self.shutdown()
        self.server_close()
        self._thread.join(10)

    def take(self, method: str, path: str, headers: dict[str, str], content: bytes) -> Told:
        """Answer one request."""
        with self.lock:
            if headers.get("authorization") != f"Bearer {self.key}":
                return Told(401, {"statusCode": 401, "name": "invalid_api_key", "message": "API key is invalid"})
            if (method, path) == ("GET", "/emails?limit=1"):
                return self.listed
            if (method, path) != ("POST", "/emails/batch"):
                return Told(404, {"statusCode": 404, "name": "not_found", "message": "not found"})
            key = headers.get("idempotency-key", "")
            if not 0 < len(key) <= 256:
                self.faults.append(f"key {key!r}")
            self.keys.append(key)
            if key in self.answers:
                known, told = self.answers[key]
                if known != content:
                    return Told(409, {"statusCode": 409, "name": "invalid_idempotent_request", "message": "other"})
                return told
            told = self._batch(headers, content)
            if told.status == 200:
                self.answers[key] = content, told
            return told

    def _batch(self, headers: dict[str, str], content: bytes) -> Told:
        if self._description is not None:
            request = MockRequest(
                "https://api.resend.com", "post", "/emails/batch", headers=headers, data=content,
                content_type=headers.get("content-type", ""),
            )  # fmt: skip
            try:
                self._description.validate_request(request)
            except OpenAPIError as error:
                self.faults.append(f"{error} {getattr(error.__cause__, 'schema_errors', '')}"[:1000])
        batch = json.loads(content)
        if not 1 <= len(batch) <= 100:
            self.faults.append(f"{len(batch)} messages")
        for mail in batch:
            if not mail["to"] or not mail["subject"] or not (mail.get("html") or mail.get("text")):
                self.faults.append("an empty field")
        if told := self.judge(batch):
            return told
        start = len(self.mails)
        self.mails += batch
        return Told(200, {"data": [{"id": f"re-{start + place}"} for place in range(len(batch))]})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ResendSink

    def _serve(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        told = self.server.take(self.command, self.path, headers, content)
        answer = told.content if isinstance(told.content, bytes) else json.dumps(told.content).encode()
        self.send_response(told.status)
        for name, value in told.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = _serve

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""
