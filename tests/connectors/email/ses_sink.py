"""A local Amazon SES for tests: it takes what botocore's model of the service allows, signed by Signature Version 4."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from botocore.session import Session
from botocore.validate import ParamValidator

from tests.connectors.provider_sink import ProviderSink, Told

REGION = "eu-central-1"
KEY_ID, SECRET, TOKEN = "AKIACANARYKEY", "canary/secret+d0nt/tell", "canary-session-token=="
Judge = Callable[[dict[str, Any]], Told | None]
OPERATIONS = {
    ("POST", "/v2/email/outbound-emails"): "SendEmail",
    ("POST", "/v2/email/outbound-bulk-emails"): "SendBulkEmail",
    ("GET", "/v2/email/account"): "GetAccount",
    ("GET", "/v2/email/suppression/addresses"): "ListSuppressedDestinations",
}
ACCOUNT = {
    "EnforcementStatus": "HEALTHY", "ProductionAccessEnabled": True, "SendingEnabled": True,
    "SendQuota": {"Max24HourSend": 50000.0, "MaxSendRate": 14.0, "SentLast24Hours": 3.0},
}  # fmt: skip
TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")


@cache
def model() -> Any:
    return Session().get_service_model("sesv2")


def told_off(code: str, message: str, status: int = 400) -> Told:
    """An error as SES tells it."""
    return Told(status, {"message": message}, {"x-amzn-ErrorType": f"{code}:http://internal.amazon.com/coral/"})


class SesSink(ProviderSink):
    """Takes requests at `url` with the key; `judge` may say what is answered to one that breaks no rule."""

    def __init__(self, key_id: str = KEY_ID) -> None:
        super().__init__()
        self.key_id = key_id
        self.judge: Judge = lambda params: None
        self.account: Told = Told(200, ACCOUNT)
        self.requests: list[dict[str, Any]] = []
        self.bulks: list[dict[str, Any]] = []
        self.pages: list[Told] = []
        self.queries: list[str] = []

    def take(self, method: str, path: str, headers: dict[str, str], content: bytes) -> Told:
        """Answer one request."""
        where = urlsplit(path)
        operation = OPERATIONS.get((method, where.path))
        if operation is None:
            return Told(404, {"message": "no such thing"}, {"x-amzn-ErrorType": "UnknownOperationException"})
        if f"Credential={self.key_id}/" not in headers.get("authorization", ""):
            return told_off(
                "UnrecognizedClientException", "The security token included in the request is invalid.", 403
            )
        if not self.is_signed(method, path, headers, content):
            return told_off("InvalidSignatureException", "The request signature we calculated does not match.", 403)
        if operation == "GetAccount":
            return self.account
        if operation == "ListSuppressedDestinations":
            self.queries.append(where.query)
            return self.pages.pop(0)
        params = json.loads(content)
        self.is_modelled(operation, params)
        if told := self.judge(params):
            return told
        if operation == "SendEmail":
            self.requests.append(params)
            return Told(200, {"MessageId": f"ses-{len(self.requests) - 1}"})
        self.bulks.append(params)
        names = [f"bulk-{len(self.bulks) - 1}-{n}" for n in range(len(params["BulkEmailEntries"]))]
        return Told(200, {"BulkEmailEntryResults": [{"Status": "SUCCESS", "MessageId": name} for name in names]})

    def is_signed(self, method: str, path: str, headers: Mapping[str, str], content: bytes) -> bool:
        """Work the signature out by hand (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html)."""
        found = re.fullmatch(
            rf"AWS4-HMAC-SHA256 Credential={self.key_id}/(\d{{8}})/{REGION}/ses/aws4_request, "
            r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})",
            headers.get("authorization", ""),
        )
        if found is None:
            return False
        day, names, signature = found.groups()
        wanted = {"host", "x-amz-date", *({"content-type"} if content else ())}
        if not wanted <= set(names.split(";")) or ("x-amz-security-token" in headers) != ("security" in names):
            return False
        lines = [f"{name}:{' '.join(headers[name].split())}\n" for name in names.split(";")]
        where = urlsplit(path)
        query = "&".join(sorted(where.query.split("&")))
        request = "\n".join([method, where.path, query, "".join(lines), names, hashlib.sha256(content).hexdigest()])
        scope = f"{day}/{REGION}/ses/aws4_request"
        text = "\n".join(
            ["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, hashlib.sha256(request.encode()).hexdigest()]
        )
        key = f"AWS4{SECRET}".encode()
        for part in (day, REGION, "ses", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return hmac.compare_digest(hmac.new(key, text.encode(), hashlib.sha256).hexdigest(), signature)

    def is_modelled(self, operation: str, params: dict[str, Any]) -> None:
        """Hold a request against the service's model, and against what stands in its prose alone."""
        shape = model().operation_model(operation).input_shape
        typed = json.loads(json.dumps(params))
        raw = typed.get("Content", {}).get("Raw", {})
        if "Data" in raw:
            raw["Data"] = base64.b64decode(raw["Data"], validate=True)
            if any(len(line) > 998 for line in raw["Data"].split(b"\r\n")) or not raw["Data"].isascii():
                self.faults.append("a line of the message is too long, or not ASCII")
        report = ParamValidator().validate(typed, shape)
        if report.has_errors():
            self.faults.append(report.generate_report())
        self.faults += list(_beyond(shape, typed, operation))
        entries = params.get("BulkEmailEntries", [{}])
        if not 1 <= len(entries) <= 50:
            self.faults.append(f"{len(entries)} entries")
        tags = [*params.get("EmailTags", ()), *(tag for entry in entries for tag in entry.get("ReplacementTags", ()))]
        for tag in tags:
            if not TAG.fullmatch(tag["Name"]) or not TAG.fullmatch(tag["Value"]):
                self.faults.append(f"the tag {tag}")


def _beyond(shape: Any, value: Any, where: str) -> Any:
    """Name what breaks a greatest length, a pattern or a list of values: botocore's validator leaves them out."""
    most = shape.metadata.get("max")
    if most is not None and isinstance(value, str | bytes | list) and len(value) > most:
        yield f"{where} is longer than {most}"
    if shape.metadata.get("enum") and value not in shape.metadata["enum"]:
        yield f"{where} is {value!r}"
    if (pattern := shape.metadata.get("pattern")) and not re.fullmatch(pattern, value):
        yield f"{where} is not {pattern}"
    if shape.type_name == "structure" and isinstance(value, dict):
        for name in value.keys() & shape.members.keys():
            yield from _beyond(shape.members[name], value[name], f"{where}.{name}")
    if shape.type_name == "list" and isinstance(value, list):
        for one in value:
            yield from _beyond(shape.member, one, f"{where}[]")
