"""Reports as mail servers write them, about a message of which a key is known."""

from collections.abc import Mapping

POSTFIX = {"Original-Recipient": "rfc822;{address}", "Final-Recipient": "rfc822; {address}"}
GONE = {"Action": "failed", "Status": "5.1.1", "Diagnostic-Code": "smtp; 550 5.1.1 <{address}>: no such user"}


def dsn(
    key: str = "k1",
    address: str = "ana@example.org",
    fields: Mapping[str, str] = POSTFIX | GONE,
    *,
    returned: str = "message/rfc822",
    message_id: str = "<1@mx.example>",
    head: str = "",
) -> bytes:
    """Write a report about one recipient (RFC 3464, appendix C)."""
    told = "\r\n".join(f"{name}: {value.replace('{address}', address)}" for name, value in fields.items())
    identity = f"Message-ID: {message_id}\r\n" if message_id else ""
    mail = f"From: shop@shop.example\r\nTo: {address}\r\nMessage-ID: <{key}@shop.example>\r\n\r\nhi\r\n"
    return (
        f"Return-Path: <>\r\nDate: Sun, 15 Mar 2026 08:00:00 +0000\r\n{identity}{head}"
        'Auto-Submitted: auto-replied\r\nContent-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n'
        "\r\n--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n"
        f"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\n{told}\r\n\r\n"
        + (f"--b\r\nContent-Type: {returned}\r\n\r\n{mail}\r\n" if returned else "")
        + "--b--\r\n"
    ).encode()


def arf(key: str = "k1", address: str = "ana@example.org", kind: str = "abuse", told: str = "") -> bytes:
    """Write a complaint (RFC 5965, appendix B); `told` stands in the machine's part, such as the recipient."""
    return (
        "From: abuse@provider.example\r\nMessage-ID: <c1@provider.example>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type="feedback-report"; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nA complaint.\r\n"
        f"--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: {kind}\r\nVersion: 1\r\n"
        f"{told}\r\n"
        f"--b\r\nContent-Type: message/rfc822\r\n\r\nTo: Ana <{address}>\r\nMessage-ID: <{key}@shop.example>\r\n\r\n"
        "hi\r\n--b--\r\n"
    ).encode()


QMAIL = (
    b"From: MAILER-DAEMON@mx.example\r\nMessage-ID: <q1@mx.example>\r\nSubject: failure notice\r\n\r\n"
    b"Hi. This is the qmail-send program at mx.example.\r\nI'm afraid I wasn't able to deliver your message.\r\n\r\n"
    b"<ana@example.org>:\r\n192.0.2.1 does not like recipient.\r\n"
    b"Remote host said: 550 5.1.1 <ana@example.org>: no such user\r\nGiving up on 192.0.2.1.\r\n\r\n"
    b"--- Below this line is a copy of the message.\r\n\r\n"
    b"Return-Path: <shop@shop.example>\r\nMessage-ID: <k1@shop.example>\r\nTo: ana@example.org\r\n\r\nhi\r\n"
)
"""A failure notice of qmail: https://cr.yp.to/proto/qsbmf.txt."""


def answer(key: str = "k1", address: str = "ana@example.org", head: str = "") -> bytes:
    """Write what somebody answers."""
    return (
        f"From: Ana <{address}>\r\nMessage-ID: <a-{key}@example.org>\r\nDate: Sun, 15 Mar 2026 08:00:00 +0000\r\n"
        f"In-Reply-To: <{key}@shop.example>\r\n{head}Content-Type: text/plain\r\n\r\nIs it warm?\r\n"
    ).encode()


VACATION = (
    b"From: ana@example.org\r\nSubject: Out of office\r\nAuto-Submitted: auto-replied\r\n"
    b"In-Reply-To: <k1@shop.example>\r\nContent-Type: text/plain\r\n\r\nBack on Monday: 550 5.1.1\r\n"
)
READ = (
    b'Message-ID: <r@x>\r\nContent-Type: multipart/report; report-type=disposition-notification; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: message/disposition-notification\r\n\r\n"
    b"Final-Recipient: rfc822;ana@example.org\r\nDisposition: manual-action/MDN-sent; displayed\r\n\r\n--b--\r\n"
)
OTHERS = (VACATION, READ, b"", b"\x00\xff" * 50)
"""Mails that are no report about a delivery, or nothing at all."""
