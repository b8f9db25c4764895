"""Amazon SNS over HTTPS: messages of one topic, verified by the certificate that signed them.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html, `…/sns-message-and-json-formats.html`.
The signature stands in the body, beside the address of the certificate: only Amazon's own addresses are asked for one.
SNS sets no age at which a signature ends, and repeats for days: a message that comes again is known by its id.
"""

import base64
import binascii
import logging
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

import httpx
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.x509 import load_pem_x509_certificate

from connectors.calling import Answered, Caller
from connectors.elapsed import Clock, elapsed
from connectors.json_bodies import read_json, text_in
from evergreet.contracts import WebhookRequest
from evergreet.errors import Misconfigured, NotGenuine, Retryable, Unreadable

LOG = logging.getLogger("connectors.sns")

SIGNED: Mapping[str, tuple[str, ...]] = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": (
        "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type",
    ),
    "UnsubscribeConfirmation": (
        "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type",
    ),
}  # fmt: skip
"""Types of messages, and what of each is signed, in this order; `Subject` may be missing."""

HASHES: Mapping[str, HashAlgorithm] = {"1": SHA1(), "2": SHA256()}
"""Signature versions; a topic has 1 unless it is set to 2."""

_HOST = re.compile(
    r"sns\.(?:cn(?:-[a-z]+)+-\d{1,2}\.amazonaws\.com\.cn|eusc(?:-[a-z]+)+-\d{1,2}\.amazonaws\.eu"
    r"|[a-z]{2}(?:-[a-z]+)+-\d{1,2}\.amazonaws\.com)"
)
"""SNS itself in a region of Amazon's, of China's or of the European sovereign cloud."""
_CERTIFICATE = re.compile(r"/[\w-]+\.pem", re.ASCII)
_MOST_CERTIFICATES = 8
_LONGEST_ADDRESS = 2000
_ON_ONE_LINE = frozenset(["MessageId", "Timestamp", "TopicArn"])
"""Signed parts that hold no line break: with one, a text could be cut into other parts under the same signature."""

Fetch: TypeAlias = Callable[[str], bytes]
"""Returns what stands at an address of Amazon's; raises `Retryable` where it cannot be had now."""


@dataclass(frozen=True, slots=True)
class _Certificate:
    key: RSAPublicKey
    begins: datetime
    ends: datetime


class Topic:
    """The topic that we listen to; `setting` is where its ARN is set. May be called from several threads."""

    def __init__(self, arn: str, setting: str, fetch: Fetch) -> None:
        self._arn = arn
        self._setting = setting
        self._fetch = fetch
        self._lock = threading.Lock()
        self._certificates: dict[str, _Certificate] = {}

    def verify(self, request: WebhookRequest) -> None:
        """Raise `NotGenuine` unless SNS signed this message of our topic.

        Raises `Misconfigured` where there is no topic, `Retryable` where the certificate cannot be had now.
        """
        if not self._arn:
            raise Misconfigured(f"{self._setting} is not set: copy the ARN of the SNS topic there.")
        if request.headers.get("x-amz-sns-rawdelivery", "").lower() == "true":
            raise NotGenuine("raw message delivery leaves the signature out: switch it off for this subscription")
        message = _message(request)
        if text_in(message, "TopicArn") != self._arn:
            raise NotGenuine("it is of another topic")
        algorithm = HASHES.get(text_in(message, "SignatureVersion"))
        if algorithm is None:
            raise NotGenuine("the version of the signature is none that is known")
        try:
            signature = base64.b64decode(text_in(message, "Signature"), validate=True)
        except (binascii.Error, ValueError):
            raise NotGenuine("the signature cannot be read") from None
        signed = _string_to_sign(message)
        certificate = self._certificate(text_in(message, "SigningCertURL"))
        if not certificate.begins <= request.received_at <= certificate.ends:
            raise NotGenuine("the certificate of the signature is not valid now")
        try:
            certificate.key.verify(signature, signed, PKCS1v15(), algorithm)
        except InvalidSignature:
            raise NotGenuine("the signature is not that of the message") from None

    def read(self, request: WebhookRequest) -> tuple[str, str] | None:
        """Return id and text of a notification that is genuine; None where the message is about the subscription.

        A subscription of our topic is confirmed; it was us who asked for it, or somebody who may change the topic.
        """
        message = _message(request)
        kind = text_in(message, "Type")
        if kind == "SubscriptionConfirmation":
            self._confirm(text_in(message, "SubscribeURL"))
        elif kind == "UnsubscribeConfirmation":
            LOG.warning("The subscription to %s was ended: nothing more will be told from there.", self._arn)
        if kind != "Notification":
            return None
        return text_in(message, "MessageId"), text_in(message, "Message")

    def _confirm(self, url: str) -> None:
        asked = parse_qs(urlsplit(url).query) if _is_amazons(url) else {}
        if asked.get("Action") != ["ConfirmSubscription"] or asked.get("TopicArn") != [self._arn]:
            raise Unreadable("The address at which the subscription is confirmed is not that of our topic.")
        self._fetch(url)
        LOG.info("The subscription to %s is confirmed.", self._arn)

    def _certificate(self, url: str) -> _Certificate:
        if not _is_amazons(url) or not _CERTIFICATE.fullmatch(urlsplit(url).path) or urlsplit(url).query:
            raise NotGenuine("the certificate of the signature is not at an address of Amazon SNS")
        if (known := self._certificates.get(url)) is not None:
            return known
        # Nothing is verified yet: whoever knows our topic can name addresses, and must keep neither others nor threads.
        if not self._lock.acquire(blocking=False):
            raise Retryable("A certificate of Amazon SNS is being asked for.")
        try:
            known = self._certificates.get(url) or _read_certificate(self._fetch(url))
            while len(self._certificates) >= _MOST_CERTIFICATES:
                del self._certificates[next(iter(self._certificates))]
            self._certificates[url] = known
            return known
        finally:
            self._lock.release()


def fetcher(client: httpx.Client, connect: float, timeout: float, clock: Clock = elapsed) -> Fetch:
    """Return what gets something from an address of Amazon's: bounded, redirects not followed."""

    def fetch(url: str) -> bytes:
        where = httpx.URL(url)
        caller = Caller("Amazon SNS", client, f"https://{where.host}", "", {}, connect, timeout, clock)
        answered = caller.call("GET", where.raw_path.decode("ascii"))
        if not isinstance(answered, Answered):
            raise answered
        if answered.status != 200:
            raise Retryable(f"{where.host} answers {answered.status} when asked for {where.path}.")
        return answered.content

    return fetch


def _message(request: WebhookRequest) -> Mapping[str, Any]:
    try:
        message = read_json(request.body)
    except Unreadable:
        message = None
    if not isinstance(message, dict):
        raise NotGenuine("it is no message of Amazon SNS")
    return message


def _string_to_sign(message: Mapping[str, Any]) -> bytes:
    names = SIGNED.get(text_in(message, "Type"))
    if names is None:
        raise NotGenuine("it is of no type that Amazon SNS has")
    parts = []
    for name in names:
        value = message.get(name)
        if name == "Subject" and value is None:
            continue
        if not isinstance(value, str):
            raise NotGenuine("a part of what is signed is missing")
        if name in _ON_ONE_LINE and "\n" in value:
            raise NotGenuine("a part of what is signed holds a line break")
        parts.append(f"{name}\n{value}\n")
    return "".join(parts).encode()


def _is_amazons(url: str) -> bool:
    """Return whether an address is one of SNS itself, reached over HTTPS."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url or len(url) > _LONGEST_ADDRESS:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and _HOST.fullmatch(parts.netloc) is not None and not parts.fragment


def _read_certificate(content: bytes) -> _Certificate:
    try:
        found = load_pem_x509_certificate(content)
        key = found.public_key()
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPublicKey):
        raise Retryable("What Amazon SNS has where its certificate should be is none.")
    return _Certificate(key, found.not_valid_before_utc, found.not_valid_after_utc)
