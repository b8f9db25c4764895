"""A local provider for tests: an HTTP server that knows nothing of the connectors, and checks what it gets.

What a request may be stands in the vendor's own OpenAPI description, where that is at hand; what breaks it is
remembered as a fault.
"""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl, urlsplit

from openapi_core import Config, OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest


@dataclass(frozen=True)
class Told:
    """An answer."""

    status: int
    content: Mapping[str, Any] | list[Any] | bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@cache
def description(spec: Path) -> OpenAPI:
    """A vendor's own description of its API."""
    return OpenAPI.from_dict(json.loads(spec.read_text("utf-8")), config=Config(spec_validator_cls=None))


class ProviderSink(ThreadingHTTPServer):
    """Serves at `url`; one `take` at a time."""

    origin: ClassVar[str]
    """The provider's address in its description, as in https://api.example.com."""
    now: datetime | None = None
    """What its clock says, where that matters."""
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, spec: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faults: list[str] = []
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
        """Answer one request; header names in small letters."""
        raise NotImplementedError

    def is_described(self, method: str, path: str, headers: Mapping[str, str], content: bytes | None) -> bool:
        """Check a request against the vendor's description; what is not as described is a fault."""
        if self._description is None:
            return True
        where = urlsplit(path)
        request = MockRequest(
            self.origin, method.lower(), where.path, headers=dict(headers), data=content or None,
            args=dict(parse_qsl(where.query)), content_type=headers.get("content-type", ""),
        )  # fmt: skip
        try:
            self._description.validate_request(request)
        except OpenAPIError as error:
            self.faults.append(f"{error} {getattr(error.__cause__, 'schema_errors', '')}"[:1000])
            return False
        return True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits some 40 ms for the client to say that it has the headers
    server: ProviderSink

    def _serve(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        content = self.rfile.read(size)
        if len(content) < size:  # half a request: whoever sent it is gone
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.server.lock:
            told = self.server.take(self.command, self.path, headers, content)
        answer = told.content if isinstance(told.content, bytes) else json.dumps(told.content).encode()
        self.send_response(told.status)
        for name, value in {"Content-Type": "application/json", **told.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def date_time_string(self, timestamp: float | None = None) -> str:
        now = self.server.now
        return super().date_time_string(timestamp if now is None else now.timestamp())

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""
