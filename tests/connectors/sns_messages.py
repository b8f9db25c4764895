"""Messages as SNS posts them, signed with a key made here, and the certificate of that key."""

import base64
import hashlib
from datetime import datetime, timedelta
from functools import cache
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from evergreet.testing.webhooks import RECEIVED

ARN = "arn:aws:sns:eu-central-1:123456789012:SES_Events"
CERTIFICATE_URL = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-12345abcde.pem"
Signed: TypeAlias = dict[str, str | None]


@cache
def _key(another: bool) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@cache
def certificate(ends: datetime = RECEIVED + timedelta(days=365), another: bool = False) -> bytes:
    """The certificate of the key that signs, or of another one."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    built = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(_key(another).public_key())
        .serial_number(1).not_valid_before(ends - timedelta(days=730)).not_valid_after(ends)
    )  # fmt: skip
    return built.sign(_key(another), SHA256()).public_bytes(Encoding.PEM)


def sns_message(
    text: str, *, version: str = "2", subject: str | None = None, kind: str = "Notification", arn: str = ARN,
    url: str = "",
) -> Signed:  # fmt: skip
    """A message with its signature, as the documentation of SNS has it."""
    message: Signed = {
        "Type": kind, "MessageId": hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:36], "TopicArn": arn,
        "Message": text, "Timestamp": "2026-03-10T11:59:59.675Z", "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE_URL,
    }  # fmt: skip
    names = ["Message", "MessageId"]
    if kind == "Notification":
        names += ["Subject"] if subject is not None else []
        message |= {"Subject": subject} if subject is not None else {}
        message["UnsubscribeURL"] = "https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=x"
    else:
        names += ["SubscribeURL"]
        message |= {"Token": "abc", "SubscribeURL": url}
    names += ["Timestamp", *(["Token"] if kind != "Notification" else []), "TopicArn", "Type"]
    signed = "".join(f"{name}\n{message[name]}\n" for name in names).encode()
    signature = _key(False).sign(signed, padding.PKCS1v15(), SHA1() if version == "1" else SHA256())
    message["Signature"] = base64.b64encode(signature).decode()
    return message
