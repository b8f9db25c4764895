"""A local Mailgun for tests: it takes what the vendor's description and its pages allow, and fills variables in.

Forms are taken apart here, octet by octet, so that what a client writes is what is looked at.
"""

import base64
import json
import re
from collections.abc import Callable
from email.utils import parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.connectors.provider_sink import ProviderSink, Told

Form = dict[str, list[str]]
Judge = Callable[[list[str]], Told | None]
DOMAIN = "mg.fernway.example"
OPTIONS = {"o:tracking", "o:tracking-clicks", "o:tracking-opens", "o:testmode", "o:tag"}
FIELDS = {"from", "to", "subject", "html", "text", "recipient-variables"}


def problem(status: int, message: str) -> Told:
    return Told(status, {"message": message})


def taken_apart(headers: dict[str, str], content: bytes) -> Form:
    """A form's fields, as multipart or urlencoded."""
    kind, _, boundary = headers["content-type"].partition("; boundary=")
    if kind == "application/x-www-form-urlencoded":
        fields = parse_qsl(content.decode(), keep_blank_values=True, strict_parsing=True)
    else:
        assert kind == "multipart/form-data"
        begins, *parts, ends = content.split(b"--" + boundary.encode())
        assert (begins, ends) == (b"", b"--\r\n")
        fields = []
        for part in parts:
            head, _, inside = part.removeprefix(b"\r\n").removesuffix(b"\r\n").partition(b"\r\n\r\n")
            named = re.fullmatch(r'Content-Disposition: form-data; name="([^"]+)"', head.decode())
            assert named is not None, head
            fields.append((named[1], inside.decode()))
    form: Form = {}
    for name, value in fields:
        form.setdefault(name, []).append(value)
    return form


def filled(text: str, variables: dict[str, Any]) -> str:
    """A text as its recipient has it: in one pass, and what is not known stays."""
    return re.sub(r"%recipient\.([^%\s]+)%", lambda found: str(variables.get(found[1], found[0])), text)


class MailgunSink(ProviderSink):
    """Takes forms at `url` with the key; `judge` may say what is answered to one that breaks no rule."""

    origin = "https://api.mailgun.net"

    def __init__(self, key: str, spec: Path | None = None) -> None:
        super().__init__(spec)
        self.right = f"Basic {base64.b64encode(f'api:{key}'.encode()).decode()}"
        self.judge: Judge = lambda recipients: None
        self.forms: list[Form] = []
        self.sizes: list[int] = []
        self.mails: list[dict[str, Any]] = []
        self.lists: dict[str, list[dict[str, Any]]] = {"bounces": [], "complaints": [], "unsubscribes": []}
        self.asked: list[str] = []

    def take(self, method: str, path: str, headers: dict[str, str], content: bytes) -> Told:
        """Answer one request."""
        self.asked.append(f"{method} {path}")
        if headers.get("authorization") != self.right:
            return Told(401, b"Forbidden")
        where = urlsplit(path)
        if not where.path.startswith(f"/v3/{DOMAIN}/"):
            return problem(404, "Domain not found")
        name = where.path.rpartition("/")[2]
        if method == "GET" and name in self.lists:
            return self._page(name, dict(parse_qsl(where.query)))
        if (method, name) != ("POST", "messages"):
            return Told(200, b"Mailgun Magnificent API")
        form = taken_apart(headers, content)
        if "from" not in form:
            return problem(400, "from parameter is missing")
        # openapi-core leaves fields of a multipart form as octets where a field may be of two types.
        plain = headers | {"content-type": "application/x-www-form-urlencoded"}
        self.is_described("POST", path, plain, urlencode(form, doseq=True).encode())
        return self._message(form)

    def _message(self, form: Form) -> Told:
        listed = form["to"]
        addresses = [parseaddr(one)[1] for one in listed]
        variables = json.loads(form.get("recipient-variables", ["{}"])[0])
        known = {name for name in form if name in FIELDS | OPTIONS or name.startswith(("h:", "v:"))}
        single = all(len(form[name]) == 1 for name in form if name not in {"to", "o:tag"})
        send_options = sum(len(name) + len(value) for name in form if ":" in name for value in form[name])
        if known != set(form) or not single or not {"html", "text"} & set(form):
            self.faults.append(f"not to be sent: {sorted(form)}")
        if len(set(addresses)) < len(addresses) or (len(addresses) > 1) != ("recipient-variables" in form):
            self.faults.append(f"{len(addresses)} recipients, {len(variables)} of them with variables")
        if variables and set(variables) != set(addresses):
            self.faults.append("variables for others than the recipients")
        if not "".join(
            f"{name}{form[name]}" for name in form if name.startswith("h:") and "Reply" not in name
        ).isascii():
            self.faults.append("a header that is not ASCII")
        if send_options > 16_384:
            return problem(400, "Send options (parameters starting with o:, h:, or v:) are limited to 16KB total")
        if len(addresses) > 1000:
            return problem(400, "Too many recipients; max is 1000")
        if told := self.judge(addresses):
            return told
        self.forms.append(form)
        self.sizes.append(len(addresses))
        for address, to in zip(addresses, listed, strict=True):
            own = variables.get(address, {})
            got = {name: filled(values[0], own) for name, values in form.items()} | {"to": to}
            self.mails.append(got | {"tags": form.get("o:tag", [])})
        return Told(200, {"id": f"<2026.{len(self.forms)}@{DOMAIN}>", "message": "Queued. Thank you."})

    def _page(self, name: str, asked: dict[str, str]) -> Told:
        start, limit = int(asked.get("address", 0)), int(asked["limit"])
        items = self.lists[name][start : start + limit]
        link = f"{self.url}/v3/{DOMAIN}/{name}?page=next&limit={limit}&address="
        paging = {
            "first": link + "0",
            "last": link + "0",
            "previous": link + "0",
            "next": f"{link}{start + len(items)}",
        }
        return Told(200, {"items": items, "paging": paging})
