"""What Amazon SES's answer means for the messages of a request.

https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html, `…/API_SendBulkEmail.html`,
`…/APIReference-V2/CommonErrors.html` and, for the quotas, `…/dg/manage-sending-quotas-errors.html`.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from connectors.answers import object_answered
from connectors.calling import Answered, said
from connectors.json_bodies import object_in, text_in
from evergreet.contracts import Accepted, Outcome
from evergreet.errors import Misconfigured, Permanent, Refused, Retryable

Meaning = Literal["ours", "later", "message", "maybe"]
"""Whose matter a code is: our fault, a limit, this message alone, or one that leaves a doubt."""

CODES: Mapping[str, Meaning] = {
    "MessageRejected": "message",
    "BadRequestException": "message",
    "InvalidParameterValue": "message",
    "ValidationException": "message",
    "SerializationException": "message",
    "MailFromDomainNotVerifiedException": "ours",
    "AccountSuspendedException": "ours",
    "SendingPausedException": "ours",
    "NotFoundException": "ours",
    "ConflictException": "later",
    "LimitExceededException": "later",
    "TooManyRequestsException": "later",
    "ThrottlingException": "later",
    "Throttling": "later",
    "RequestThrottledException": "later",
    "RequestTimeoutException": "later",
    "AccessDeniedException": "ours",
    "ExpiredTokenException": "ours",
    "IncompleteSignature": "ours",
    "IncompleteSignatureException": "ours",
    "InvalidClientTokenId": "ours",
    "InvalidSignatureException": "ours",
    "MissingAuthenticationToken": "ours",
    "MissingAuthenticationTokenException": "ours",
    "NotAuthorized": "ours",
    "OptInRequired": "ours",
    "RequestExpired": "ours",
    "SignatureDoesNotMatch": "ours",
    "UnrecognizedClientException": "ours",
    "InternalFailure": "maybe",
    "InternalServerError": "maybe",
    "InternalServiceErrorException": "maybe",
    "InternalServiceError": "maybe",
    "ServiceUnavailable": "maybe",
    "ServiceUnavailableException": "maybe",
}
"""Codes of errors, whatever status they come with; what is not among them goes by its status."""

STATUSES: Mapping[str, Meaning] = {
    "MESSAGE_REJECTED": "message",
    "INVALID_PARAMETER": "message",
    "MAIL_FROM_DOMAIN_NOT_VERIFIED": "ours",
    "CONFIGURATION_SET_NOT_FOUND": "ours",
    "CONFIGURATION_SET_DOES_NOT_EXIST": "ours",
    "TEMPLATE_NOT_FOUND": "ours",
    "TEMPLATE_DOES_NOT_EXIST": "ours",
    "ACCOUNT_SUSPENDED": "ours",
    "INVALID_SENDING_POOL_NAME": "ours",
    "ACCOUNT_SENDING_PAUSED": "ours",
    "CONFIGURATION_SET_SENDING_PAUSED": "ours",
    "ACCOUNT_THROTTLED": "later",
    "ACCOUNT_DAILY_QUOTA_EXCEEDED": "later",
    "TRANSIENT_FAILURE": "later",
    "FAILED": "later",
}
"""What is said of single entries of a bulk request; one that is not known leaves a doubt."""

ABOUT_US = (
    "not verified", "configuration set", "from address", "fromemailaddress", "sender", "send from", "tenant",
    "paused", "suspended",
)  # fmt: skip
"""Words by which a refusal is no matter of the recipient, in small letters.

"Account is paused" may come as `MessageRejected`:
https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-error-messages.html.
"""

HINTS: Mapping[str, str] = {
    "AccessDeniedException": "Allow the key ses:SendEmail, ses:SendRawEmail and, for bulk, ses:SendBulkEmail.",
    "ExpiredTokenException": "The temporary key has ended.",
    "InvalidSignatureException": "Check EVERGREET_SES_SECRET_ACCESS_KEY, and this machine's clock.",
    "SignatureDoesNotMatch": "Check EVERGREET_SES_SECRET_ACCESS_KEY, and this machine's clock.",
    "RequestExpired": "Check this machine's clock.",
    "UnrecognizedClientException": "Check EVERGREET_SES_ACCESS_KEY_ID.",
    "InvalidClientTokenId": "Check EVERGREET_SES_ACCESS_KEY_ID.",
    "MailFromDomainNotVerifiedException": "Verify the sender's domain in EVERGREET_SES_REGION.",
    "NotFoundException": "Check EVERGREET_SES_CONFIGURATION_SET and EVERGREET_SES_REGION.",
    "SendingPausedException": "Sending is paused for the account or the configuration set.",
    "AccountSuspendedException": "AWS has to lift it.",
}

_SOON = timedelta(seconds=10)
_QUOTA = timedelta(hours=1)
"""The daily quota is one of any 24 hours: some of it comes back all the time."""


class Refusal(NamedTuple):
    """An error as it was told."""

    code: str
    words: str


def understand(answered: Answered, secrets: tuple[str, ...]) -> Outcome:
    """Return what became of the one message of a request."""
    if answered.status == 200:
        name = text_in(object_answered(answered.content), "MessageId")
        return Accepted(name) if name else _unread()
    return refused(answered, secrets)


def understand_bulk(answered: Answered, count: int, secrets: tuple[str, ...]) -> list[Outcome]:
    """Return one outcome per entry; raises `Refused` where a request is refused for what one of them may hold."""
    if answered.status != 200:
        outcome = refused(answered, secrets)
        if isinstance(outcome, Permanent):
            raise Refused(outcome.reason)
        return [outcome] * count
    results = object_answered(answered.content).get("BulkEmailEntryResults")
    if not isinstance(results, list) or len(results) != count:
        return [_unread()] * count
    return [_entry(one, secrets) if isinstance(one, dict) else _unread() for one in results]


def _entry(result: Mapping[str, Any], secrets: tuple[str, ...]) -> Outcome:
    status, name = text_in(result, "Status"), text_in(result, "MessageId")
    if status == "SUCCESS":
        return Accepted(name) if name else _unread()
    words = f"Amazon SES answers {_clean(status or 'nothing', secrets)}: {_clean(text_in(result, 'Error'), secrets)}"
    if status == "ACCOUNT_DAILY_QUOTA_EXCEEDED":
        return Retryable(words, accepted="no", retry_after=_QUOTA)
    return _outcome(STATUSES.get(status, "maybe"), words, "")


def refused(answered: Answered, secrets: tuple[str, ...]) -> Retryable | Permanent | Misconfigured:
    """Return what an error means for the messages of its request."""
    told, status = refusal(answered, secrets), answered.status
    words = f"Amazon SES answers {status}{f' {told.code}' if told.code else ''}: {told.words}"
    meaning = CODES.get(told.code)
    if meaning is None:
        if status >= 500 or status < 300:  # a success that its pages do not have leaves a doubt as well
            meaning = "maybe"
        elif status in {408, 429}:
            meaning = "later"
        else:
            meaning = "message" if status == 413 or (status in {400, 422} and told.code) else "ours"
    if not told.code:
        return _outcome(meaning, words, "Is EVERGREET_SES_BASE_URL right?" if meaning == "ours" else "")
    return _outcome(meaning, words, HINTS.get(told.code, ""))


def _outcome(meaning: Meaning, words: str, hint: str) -> Retryable | Permanent | Misconfigured:
    lowered = words.lower()
    if meaning == "message" and any(word in lowered for word in ABOUT_US):
        meaning = "ours"
    if meaning == "later":
        return Retryable(f"{words}.", accepted="no", retry_after=_QUOTA if "quota" in lowered else _SOON)
    if meaning == "maybe":
        return Retryable(f"{words}; it may have taken the message.", accepted="maybe")
    if meaning == "message":
        return Permanent(f"{words}.")
    return Misconfigured(f"{words}. {hint}".rstrip())


def refusal(answered: Answered, secrets: tuple[str, ...]) -> Refusal:
    """Return the code and the words of an error.

    The code stands in a header or in the body, with a namespace before a `#` or a place after a `:`
    (https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html). A signature that does not fit is answered with
    all that was signed, a session token as well: none of it is repeated.
    """
    content = object_answered(answered.content)
    code = answered.headers.get("x-amzn-errortype") or text_in(content, "__type") or text_in(content, "code")
    code = code or text_in(object_in(content, "Error"), "Code")
    words = (
        text_in(content, "message") or text_in(content, "Message") or text_in(object_in(content, "Error"), "Message")
    )
    words = words.partition("The Canonical String")[0]
    code = code.partition(":")[0].rpartition("#")[2].strip()
    return Refusal(_clean(code, secrets)[:80], _clean(words, secrets) or "without a reason")


def understand_account(answered: Answered, secrets: tuple[str, ...]) -> str:
    """Say what the account may do, from the answer to `GetAccount`; raises the typed error of any other answer."""
    content = object_answered(answered.content)
    if answered.status != 200:
        told = refusal(answered, secrets)
        if told.code == "AccessDeniedException" and "GetAccount" in told.words:
            return "knows the key, which may not ask about the account (ses:GetAccount)"
        raise refused(answered, secrets)
    if not isinstance(content.get("SendingEnabled"), bool):
        raise Misconfigured("What answers there is not Amazon SES. Is EVERGREET_SES_BASE_URL right?")
    if not content["SendingEnabled"] or content.get("EnforcementStatus") == "SHUTDOWN":
        raise Misconfigured("Sending is switched off for this account in this region: see the reputation page of SES.")
    quota = object_in(content, "SendQuota")
    limits = [
        f"{quota[name]:g} {unit}"
        for name, unit in (("Max24HourSend", "mails a day"), ("MaxSendRate", "a second"))
        if isinstance(quota.get(name), int | float) and quota[name] >= 0
    ]
    may = f"the account may send {' and '.join(limits)}" if limits else "the account may send without a quota"
    if content.get("ProductionAccessEnabled") is False:
        may += "; it is in the sandbox, so only verified addresses get any"
    return may


def _unread() -> Retryable:
    return Retryable("Amazon SES took the request and its answer cannot be read.", accepted="maybe")


def _clean(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        text = text.replace(secret, "(a secret)")
    return said(text, "")
