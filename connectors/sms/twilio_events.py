"""What Twilio tells of messages: status callbacks and what readers answer, signed with the account's token.

https://www.twilio.com/docs/messaging/guides/track-outbound-message-status,
https://www.twilio.com/docs/messaging/guides/webhook-request, https://www.twilio.com/docs/usage/webhooks/webhooks-security,
https://help.twilio.com/articles/223134027 (STOP, START and HELP).
"""

import hmac
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha1, sha256
from unicodedata import normalize
from urllib.parse import parse_qsl, urlsplit

from connectors.json_bodies import name_or_digest, whole_number
from evergreet.contracts import Kind, ProviderEvent, Verdict, WebhookRequest
from evergreet.errors import NotGenuine, Unreadable

ROW, KEY = "row", "key"
"""Our own in the query of a status callback."""

STATUSES: Mapping[str, Kind] = {
    "accepted": Kind.ACCEPTED,
    "scheduled": Kind.ACCEPTED,
    "queued": Kind.ACCEPTED,
    "sending": Kind.ACCEPTED,
    "sent": Kind.ACCEPTED,
    "delivered": Kind.DELIVERED,
    "partially_delivered": Kind.DELIVERED,
    "read": Kind.DELIVERED,
    "canceled": Kind.DROPPED,
}
"""`MessageStatus`; of `failed` and `undelivered` the code says more."""

FAILURES: Mapping[str, Kind] = {"failed": Kind.DROPPED, "undelivered": Kind.SOFT_BOUNCED}
"""Where the code is none of these."""

CODES: Mapping[int, tuple[Kind, Verdict]] = {
    21211: (Kind.HARD_BOUNCED, Verdict.INVALID),
    21610: (Kind.BLOCKED, Verdict.NONE),  # that STOP was told when it came
    21614: (Kind.HARD_BOUNCED, Verdict.INVALID),
    21635: (Kind.HARD_BOUNCED, Verdict.INVALID),
    30001: (Kind.DROPPED, Verdict.NONE),
    30002: (Kind.DROPPED, Verdict.NONE),
    30003: (Kind.SOFT_BOUNCED, Verdict.NONE),
    30004: (Kind.BLOCKED, Verdict.NONE),
    30005: (Kind.SOFT_BOUNCED, Verdict.NONE),  # "may no longer exist", and also a phone that is off
    30006: (Kind.SOFT_BOUNCED, Verdict.NONE),  # a landline, and also a carrier that cannot be reached
    30007: (Kind.BLOCKED, Verdict.NONE),
    30008: (Kind.SOFT_BOUNCED, Verdict.NONE),
    30009: (Kind.SOFT_BOUNCED, Verdict.NONE),
    30010: (Kind.DROPPED, Verdict.NONE),
    30017: (Kind.SOFT_BOUNCED, Verdict.NONE),
    30018: (Kind.BLOCKED, Verdict.NONE),
    30019: (Kind.DROPPED, Verdict.NONE),
    30022: (Kind.DROPPED, Verdict.NONE),
    30023: (Kind.DROPPED, Verdict.NONE),
    30024: (Kind.BLOCKED, Verdict.NONE),
    30032: (Kind.BLOCKED, Verdict.NONE),
    30034: (Kind.BLOCKED, Verdict.NONE),
    30035: (Kind.BLOCKED, Verdict.NONE),
    30036: (Kind.SOFT_BOUNCED, Verdict.NONE),
    30038: (Kind.BLOCKED, Verdict.NONE),
    30039: (Kind.BLOCKED, Verdict.NONE),
    30044: (Kind.DROPPED, Verdict.NONE),
}
"""`ErrorCode` of a message that was not delivered: only what can never arrive anywhere suppresses."""

STOP = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT", "ARRET", "ARRETE"})
"""What Twilio takes for a STOP where nothing else is set; with Advanced Opt-Out it says `OptOutType` itself.

Compared by its letters alone: `Stop!`, `opt out` and `ARRÊT` are as plain, and 47 CFR 64.1200(a)(10) asks for more than
a provider's own spelling.
"""


def verify(request: WebhookRequest, url: str, token: str) -> None:
    """Raise `NotGenuine` unless Twilio signed this request to that URL (without its query).

    The signature is over the URL and the sorted parameters of the form, or over the URL alone where its query has the
    digest of the body. Which port stands in the URL differs, so both are tried.
    """
    given = request.headers.get("x-twilio-signature", "")
    parts = urlsplit(url + (f"?{request.query}" if request.query else ""))
    signed = "".join(name + value for name, value in sorted(set(_form(request.body))))
    digest = dict(parse_qsl(request.query, errors="replace")).get("bodySHA256")
    if digest is not None:
        if not hmac.compare_digest(digest.encode(), sha256(request.body).hexdigest().encode()):
            raise NotGenuine("The body is not the one that was signed.")
        signed = ""
    host = parts.netloc.rpartition("@")[2]
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    ported = host if name != host else f"{host}:{443 if parts.scheme == 'https' else 80}"
    good = False
    for each in {host, name, ported}:
        signature = signature_of(parts._replace(netloc=each).geturl() + signed, token)
        good |= hmac.compare_digest(signature.encode(), given.encode("utf-8", "replace"))
    if not good:
        raise NotGenuine("The signature is missing, or not one of this account for this URL.")


def signature_of(text: str, token: str) -> str:
    """Return Twilio's signature of a text."""
    return b64encode(hmac.new(token.encode(), text.encode("utf-8", "replace"), sha1).digest()).decode()


def read_events(request: WebhookRequest) -> list[ProviderEvent]:
    """Read the one event of a request: what became of a message, or what somebody wrote."""
    form = dict(_form(request.body))
    name, status = form.get("MessageSid") or form.get("SmsSid", ""), form.get("MessageStatus", form.get("SmsStatus"))
    if not name or status is None:
        raise Unreadable("The body tells of no message.")
    if status in {"received", "receiving"}:
        return [_answer(request, form, name)]
    ours = dict(parse_qsl(request.query, errors="replace"))
    code = whole_number(form.get("ErrorCode", ""))
    kind, verdict = _meaning(status, code)
    return [
        ProviderEvent(
            id=name_or_digest(f"{name}:{status}", request.body), kind=kind, verdict=verdict, at=request.received_at,
            raw=form, address=form.get("To", ""), row=whole_number(ours.get(ROW, "")), key=ours.get(KEY, ""),
            provider_id=name, reason=f"Twilio says {status}, code {code}" if code else "",
        )
    ]  # fmt: skip


def _meaning(status: str, code: int) -> tuple[Kind, Verdict]:
    if status in FAILURES:
        return CODES.get(code, (FAILURES[status], Verdict.NONE))
    return STATUSES.get(status, Kind.UNKNOWN), Verdict.NONE


def _answer(request: WebhookRequest, form: Mapping[str, str], name: str) -> ProviderEvent:
    """Read what somebody wrote; Twilio's name for it is that of no message of ours."""
    said = form.get("OptOutType") or form.get("Body", "")[:100]
    stopped = "".join(filter(str.isalnum, normalize("NFKD", said))).upper() in STOP
    return ProviderEvent(
        id=name_or_digest(f"{name}:received", request.body), at=request.received_at, raw=form,
        kind=Kind.UNSUBSCRIBED if stopped else Kind.REPLIED,
        verdict=Verdict.UNSUBSCRIBED if stopped else Verdict.NONE,
        address=form.get("From", ""),
    )  # fmt: skip


def _form(body: bytes) -> list[tuple[str, str]]:
    """Read a form as Twilio posts it, empty fields included."""
    try:
        text = body.decode("ascii", "replace")
        return parse_qsl(text, keep_blank_values=True, encoding="utf-8", errors="replace", max_num_fields=200)
    except ValueError:  # more fields than Twilio has
        return []
