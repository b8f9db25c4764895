"""What Amazon SES is asked to send: one whole MIME message in a request, with tags that come back.

https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html and `…/dg/send-email-raw.html`.
"""

import re
from base64 import b64encode
from dataclasses import dataclass

import orjson

from connectors.email.checks import refuse_header_names
from connectors.email.mime import compose
from connectors.email.ses_settings import SesSettings
from evergreet.contracts import EmailMessage
from evergreet.errors import Misconfigured, Permanent

KEY = "evergreet_key"
ROW = "evergreet_row"
"""Tags that carry the message's key and ledger row; they come back with every event of the message."""
SINGLE = "/v2/email/outbound-emails"
BULK = "/v2/email/outbound-bulk-emails"
MOST_BYTES = 40_000_000
"""Octets of a message in base64 (https://docs.aws.amazon.com/ses/latest/dg/quotas.html)."""
RESERVED = frozenset(
    ["x-ses-configuration-set", "x-ses-message-tags", "x-ses-source-arn", "x-ses-from-arn", "x-ses-return-path-arn",
     "x-ses-list-management-options", "x-ses-tenant", "dkim-signature"]
)  # fmt: skip
"""Headers that SES reads itself: they would overrule what the request says."""

_TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")


@dataclass(frozen=True, slots=True)
class Request:
    """One call: `places` are those of its messages in the batch, in its own order."""

    path: str
    body: bytes
    places: tuple[int, ...]


def single(place: int, message: EmailMessage, settings: SesSettings) -> Request:
    """Return the request for one message; raises `Permanent` or `Misconfigured` where it cannot be sent as it is.

    The sender is said in the message alone: `FromEmailAddress` would take the place of the whole From header.
    """
    mail = compose(message)
    refuse_header_names(tuple(message.headers), RESERVED)
    if not mail.content.isascii():
        raise _international(message)
    content = {
        "Destination": {"ToAddresses": [mail.recipient]},
        "Content": {"Raw": {"Data": b64encode(mail.content).decode("ascii")}},
        **tagged("EmailTags", message),
        **common(settings),
    }
    body = orjson.dumps(content)
    if len(body) > MOST_BYTES:
        raise Permanent("The message is larger than the 40 MB that Amazon SES takes.")
    return Request(SINGLE, body, (place,))


def _international(message: EmailMessage) -> Permanent | Misconfigured:
    """Say whose address is not ASCII before its @: SES does not know SMTPUTF8 (RFC 6531)."""
    ours = (message.sender, message.reply_to or message.sender)
    if all(mailbox.address.rpartition("@")[0].isascii() for mailbox in ours):
        return Permanent(
            "The recipient's address cannot be written to: what stands before the @ is not ASCII, which Amazon SES "
            "does not know."
        )
    return Misconfigured(
        "What stands before the @ of the sender's or reply address is not ASCII, which Amazon SES does not know."
    )


def tagged(field: str, message: EmailMessage) -> dict[str, list[dict[str, str]]]:
    """Return a field with the tags of a message; none where there is no row, or the key can be no tag."""
    if not message.row or not _TAG.fullmatch(message.key):
        return {}
    return {field: [{"Name": KEY, "Value": message.key}, {"Name": ROW, "Value": str(message.row)}]}


def common(settings: SesSettings) -> dict[str, str]:
    """Return what stands in every request."""
    return {"ConfigurationSetName": settings.configuration_set} if settings.configuration_set else {}
