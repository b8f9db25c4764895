"""A local SendGrid for tests: it takes what the vendor's description and its pages of limits allow, and keeps books.

It knows nothing of the connector: what it takes in is checked against SendGrid's own OpenAPI description where that is
at hand, and the rules that stand in prose only are checked here. A request that breaks one is answered as SendGrid
would, and is remembered as a fault.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.connectors.provider_sink import ProviderSink, Told

RESERVED = {
    "x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding", "to", "from",
    "subject", "reply-to", "cc", "bcc",
}  # fmt: skip


@dataclass(frozen=True)
class Mail:
    """One mail as it would go out: what was common, with one recipient's values in it."""

    address: str
    name: str
    sender: str
    reply_to: str | None
    subject: str
    text: str
    html: str
    headers: Mapping[str, str]
    custom_args: Mapping[str, str]
    message_id: str
    group: int | None
    send_at: int | None


Judge = Callable[[dict[str, Any]], Told | None]


def errors(*problems: tuple[str | None, str], status: int = 400, **headers: str) -> Told:
    """What SendGrid answers: problems as field and message."""
    listed = [{"message": message, "field": where, "help": None} for where, message in problems]
    return Told(status, {"errors": listed}, {name.replace("_", "-"): value for name, value in headers.items()})


def expand(part: str, substitutions: Mapping[str, str]) -> str:
    """Replace each tag by its value, one after another, as SendGrid does."""
    for tag, value in substitutions.items():
        part = part.replace(tag, value)
    return part


def mails_of(body: Mapping[str, Any], message_id: str) -> list[Mail]:
    """Return the mails that a request stands for."""
    parts = {part["type"]: part["value"] for part in body["content"]}
    mails = []
    for personal in body["personalizations"]:
        values = personal.get("substitutions", {})
        (to,) = personal["to"]
        mails.append(
            Mail(
                address=to["email"],
                name=to.get("name", ""),
                sender=body["from"]["email"],
                reply_to=body.get("reply_to", {}).get("email"),
                subject=expand(personal.get("subject", body.get("subject", "")), values),
                text=expand(parts.get("text/plain", ""), values),
                html=expand(parts.get("text/html", ""), values),
                headers={**body.get("headers", {}), **personal.get("headers", {})},
                custom_args={**body.get("custom_args", {}), **personal.get("custom_args", {})},
                message_id=message_id,
                group=body.get("asm", {}).get("group_id"),
                send_at=personal.get("send_at", body.get("send_at")),
            )
        )
    return mails


def prose_faults(body: Mapping[str, Any], size: int) -> list[tuple[str, str]]:
    """Return what breaks a rule that stands in SendGrid's pages only, as field and message."""
    personalizations = body["personalizations"]
    found = []
    if size >= 30_000_000:
        found.append(("", "The total size of your email must be less than 30MB."))
    if len(personalizations) > 1000:
        found.append(("personalizations", "The personalization block is limited to 1000 personalizations."))
    if not body.get("content") or not all(part["value"] for part in body["content"]):
        found.append(("content.0.value", "The content value must be a string at least one character in length."))
    if [part["type"] for part in body.get("content", [])] not in (
        ["text/plain", "text/html"], ["text/plain"], ["text/html"],
    ):  # fmt: skip
        found.append(("content", "If present, text/plain must be first, followed by text/html."))
    if not body.get("subject") and not all(p.get("subject") for p in personalizations):
        found.append(("subject", "The subject is required."))
    if "asm" in body and not (1 <= len(body["asm"].get("groups_to_display", [0])) <= 25):
        found.append(("asm.groups_to_display", "You can specify up to 25 groups to display."))
    seen = set()
    for place, personal in enumerate(personalizations):
        for address in [box["email"].lower() for box in personal["to"]]:
            if address in seen:
                found.append(("personalizations", f"You have included {address} more than once."))
            seen.add(address)
        found += [(f"personalizations.{place}.{where}", message) for where, message in personal_faults(body, personal)]
    return found


def personal_faults(body: Mapping[str, Any], personal: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what is wrong with one personalization."""
    found = []
    if not personal["to"]:
        found.append(("to", "The to array is required."))
    if any(set(",;") & set(box.get("name", "")) for box in [*personal["to"], body["from"], body.get("reply_to", {})]):
        found.append(("to", "A name holds , or ;."))
    given = {**body.get("headers", {}), **personal.get("headers", {})}
    if RESERVED & {name.lower() for name in given} or not all(isinstance(value, str) for value in given.values()):
        found.append(("headers", "A header is reserved or not a string."))
    if sum(len(text.encode()) for pair in personal.get("substitutions", {}).items() for text in pair) > 10_000:
        found.append(("substitutions", "Substitutions exceed 10,000 bytes."))
    if len(json.dumps(personal.get("custom_args", {}))) >= 10_000:
        found.append(("custom_args", "Custom arguments exceed 10,000 bytes."))
    return found


class Sink(ProviderSink):
    """Takes requests at `url` with the key; `judge` may say what is answered to one that breaks no rule."""

    origin = "https://api.sendgrid.com"

    def __init__(self, key: str, spec: Path | None = None) -> None:
        super().__init__(spec)
        self.key = key
        self.judge: Judge = lambda body: None
        self.scopes: Told = Told(200, {"scopes": ["mail.send", "alerts.read"]})
        self.bodies: list[dict[str, Any]] = []
        self.mails: list[Mail] = []
        self.looked_at: list[Mail] = []
        self.headers: list[dict[str, str]] = []

    @property
    def groups(self) -> list[int]:
        """How many recipients each request had."""
        return [len(body["personalizations"]) for body in self.bodies]

    def take(self, method: str, path: str, headers: dict[str, str], content: bytes) -> Told:
        """Answer one request."""
        self.headers.append(headers)
        if headers.get("authorization") != f"Bearer {self.key}":
            return errors((None, "The provided authorization grant is invalid, expired, or revoked"), status=401)
        if (method, path) == ("GET", "/v3/scopes"):
            return self.scopes
        if (method, path) != ("POST", "/v3/mail/send"):
            return errors((None, "not found"), status=404)
        return self._mail(headers, content)

    def _mail(self, headers: dict[str, str], content: bytes) -> Told:
        if not self.is_described("POST", "/v3/mail/send", headers, content):
            return errors((None, "Bad Request"))
        body = json.loads(content)
        self.bodies.append(body)
        if found := prose_faults(body, len(content)):
            self.faults += [f"{where}: {message}" for where, message in found]
            return errors(*found)
        if told := self.judge(body):
            return told
        message_id = f"sg-{len(self.bodies)}"
        if body.get("mail_settings", {}).get("sandbox_mode", {}).get("enable"):
            self.looked_at += mails_of(body, message_id)
            return Told(200)
        self.mails += mails_of(body, message_id)
        return Told(202, b"", {"X-Message-Id": message_id})
