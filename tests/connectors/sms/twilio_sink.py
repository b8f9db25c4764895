"""A local Twilio for tests: it takes what the vendor's description allows."""

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from tests.connectors.provider_sink import ProviderSink, Told

ACCOUNT = "AC" + "0a" * 16
Judge = Callable[[dict[str, str]], Told | None]


class TwilioSink(ProviderSink):
    """Takes messages at `url` with the token; `judge` may say what is answered to one that breaks no rule."""

    origin = "https://api.twilio.com"

    def __init__(self, user: str, password: str, spec: Path | None = None) -> None:
        super().__init__(spec)
        self.right = "Basic " + b64encode(f"{user}:{password}".encode()).decode()
        self.judge: Judge = lambda form: None
        self.listed: Told = Told(200, {"messages": []})
        self.forms: list[dict[str, str]] = []

    def take(self, method: str, path: str, headers: dict[str, str], content: bytes) -> Told:
        """Answer one request."""
        if headers.get("authorization") != self.right:
            return Told(401, {"code": 20003, "message": "Authenticate", "status": 401})
        if urlsplit(path).path != f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json":
            return Told(404, {"code": 20404, "message": "The requested resource was not found", "status": 404})
        self.is_described(method, path, headers, content)
        if method == "GET":
            return self.listed
        pairs = parse_qsl(content.decode(), keep_blank_values=True, strict_parsing=True)
        form = dict(pairs)
        if len(form) != len(pairs) or not form.get("To") or not form.get("Body"):
            self.faults.append(f"fields {sorted(form)}")
        if ("From" in form) == ("MessagingServiceSid" in form):
            self.faults.append("one sender is needed")
        if told := self.judge(form):
            return told
        self.forms.append(form)
        return Told(201, {"sid": f"SM{len(self.forms):032x}", "status": "queued", "error_code": None})
