"""A local Postmark for tests: it takes what Postmark's own package can read, within the limits of its pages."""

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from postmark.models.outbound import Email
from postmark.utils.message_utils import validate_formatted_email
from pydantic import ValidationError

from tests.connectors.provider_sink import ProviderSink, Told

Judge = Callable[[dict[str, Any]], tuple[int, str] | None]
FIELDS = {field.alias for field in Email.model_fields.values()}
STREAMS = {"outbound": "Transactional", "broadcast": "Broadcasts", "inbound": "Inbound"}


class PostmarkSink(ProviderSink):
    """Takes batches at `url` with the token; `judge` may give a message a code, `instead` answer a whole batch."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self.token = token
        self.judge: Judge = lambda mail: None
        self.instead: Callable[[list[dict[str, Any]]], Told | None] = lambda batch: None
        self.server: dict[str, Any] = {"Name": "Shop", "DeliveryType": "Live", "TrackOpens": False}
        self.streams: dict[str, dict[str, Any]] = {}
        self.mails: list[dict[str, Any]] = []
        self.sizes: list[int] = []
        self.suppressed: dict[str, list[dict[str, Any]]] = {}
        self.dumps: list[tuple[str, dict[str, str]]] = []
        self.searches: list[dict[str, str]] = []

    def take(self, method: str, path: str, headers: dict[str, str], content: bytes) -> Told:
        """Answer one request."""
        if headers.get("x-postmark-server-token") != self.token:
            return Told(401, {"ErrorCode": 10, "Message": "No Account or Server API tokens were supplied."})
        if headers.get("accept") != "application/json":
            self.faults.append(f"Accept: {headers.get('accept')}")
        where = urlsplit(path)
        if (method, path) == ("GET", "/server"):
            return Told(200, {"ID": 1, "TrackLinks": "None", **self.server})
        if method == "GET" and (stream := re.fullmatch("/message-streams/([^/]+)/suppressions/dump", where.path)):
            asked = dict(parse_qsl(where.query, strict_parsing=bool(where.query)))
            self.dumps.append((stream[1], asked))
            first = asked.get("fromdate", "")
            listed = [one for one in self.suppressed.get(stream[1], []) if one["CreatedAt"][:10] >= first]
            return self.instead([]) or Told(200, {"Suppressions": listed})
        if method == "GET" and (stream := re.fullmatch("/message-streams/(.+)", path)):
            if stream[1] not in STREAMS:
                return Told(
                    422, {"ErrorCode": 1226, "Message": "The message stream for the provided 'ID' was not found."}
                )
            return Told(
                200, {"ID": stream[1], "MessageStreamType": STREAMS[stream[1]], **self.streams.get(stream[1], {})}
            )
        if (method, where.path) == ("GET", "/messages/outbound"):
            return self._search(
                {name: values[0] for name, values in parse_qs(where.query, strict_parsing=True).items()}
            )
        if (method, path) != ("POST", "/email/batch"):
            return Told(404, {"ErrorCode": 0, "Message": "not found"})
        return self._batch(headers, content)

    def _batch(self, headers: dict[str, str], content: bytes) -> Told:
        batch = json.loads(content)
        self.sizes.append(len(batch))
        if not 1 <= len(batch) <= 500 or len(content) > 50_000_000 or headers["content-type"] != "application/json":
            self.faults.append(f"{len(batch)} messages, {len(content)} octets, {headers['content-type']}")
        for mail in batch:
            self._look_at(mail)
        return self.instead(batch) or Told(200, [self._entry(mail) for mail in batch])

    def _look_at(self, mail: dict[str, Any]) -> None:
        try:
            read = Email.model_validate(mail)
            for address in filter(None, (read.sender, read.to, read.reply_to)):
                validate_formatted_email(address.replace(".example", ".com"))
        except (ValidationError, ValueError) as error:
            self.faults.append(str(error))
            return
        metadata = read.metadata
        if (
            not set(mail) <= FIELDS
            or not (read.html_body or read.text_body)
            or len(metadata) > 10
            or any(len(name) > 20 or len(value) > 80 for name, value in metadata.items())
        ):
            self.faults.append(f"{sorted(mail)} {metadata}")

    def _entry(self, mail: dict[str, Any]) -> dict[str, Any]:
        if judged := self.judge(mail):
            return {"ErrorCode": judged[0], "Message": judged[1]}
        self.mails.append(mail)
        return {
            "To": mail["To"], "SubmittedAt": "2026-03-10T07:25:01.4178645-05:00", "ErrorCode": 0, "Message": "OK",
            "MessageID": f"00000000-0000-0000-0000-{len(self.mails):012}",
        }  # fmt: skip

    def _search(self, asked: dict[str, str]) -> Told:
        """List the messages of a stream that have a value in their metadata, as the package reads them."""
        self.searches.append(asked)
        wanted = {name.removeprefix("metadata_"): value for name, value in asked.items() if "metadata_" in name}
        if len(wanted) != 1 or not {"count", "offset"} <= set(asked):
            self.faults.append(f"search {asked}")
        listed = [
            {
                "Tag": "", "MessageID": f"00000000-0000-0000-0000-{place:012}", "MessageStream": mail["MessageStream"],
                "To": [{"Email": "anna@customer.com", "Name": None}], "Recipients": ["anna@customer.com"],
                "ReceivedAt": "2026-03-10T07:25:01Z", "From": "hello@fernway.com", "Subject": mail["Subject"],
                "Status": "Sent", "TrackOpens": False, "TrackLinks": "None", "Metadata": mail.get("Metadata", {}),
                "Sandboxed": False,
            }
            for place, mail in enumerate(self.mails, 1)
            if mail["MessageStream"] == asked.get("messagestream", "outbound")
            and wanted.items() <= mail.get("Metadata", {}).items()
        ]  # fmt: skip
        return Told(200, {"TotalCount": len(listed), "Messages": listed})
