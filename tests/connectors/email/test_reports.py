"""Reports of other servers are read in the shapes of Postfix, Exim, Exchange, Sendmail and the RFCs."""

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connectors.email.reports import MOST_PARTS, MOST_RECIPIENTS, read_report
from connectors.email.smtp import Smtp
from evergreet.contracts import Kind, ProviderEvent, ReportReader, Verdict
from tests.bounces.reports import GONE, OTHERS, POSTFIX, QMAIL, answer, arf, dsn

NOW = datetime(2026, 3, 15, 9, tzinfo=UTC)
DEAD = (Kind.HARD_BOUNCED, Verdict.INVALID)


def one(mail: bytes) -> ProviderEvent:
    (event,) = read_report(mail, NOW)
    return event


def meaning(**fields: str) -> tuple[Kind, Verdict]:
    told = {name.replace("_", "-").title(): value for name, value in fields.items()}
    event = one(dsn(fields={**POSTFIX, **told}))
    return event.kind, event.verdict


def test_a_report_of_a_real_postfix_is_read(fixtures: Path) -> None:
    event = one((fixtures / "dsn" / "postfix-3.7-dsn-1.eml").read_bytes())
    assert (event.kind, event.verdict) == DEAD
    assert (event.key, event.address, event.row) == ("k1", "hard@test.invalid", 0)
    assert event.at == datetime(2026, 11, 21, 17, 55, tzinfo=UTC)
    assert event.reason == "5.1.1 550 5.1.1 <(address)>: no such user"
    assert event.raw["recipient"]["Final-Recipient"] == "rfc822; u@hard.invalid"
    assert "hard" not in event.id, "an id outlives the person"
    assert isinstance(Smtp, ReportReader)


@pytest.mark.parametrize(
    ("status", "answer", "expected"),
    [
        ("5.1.1", "", DEAD),
        ("5.1.1 (bad destination mailbox address)", "X-Notes; Recipient not found", DEAD),
        ("5.1.10", "smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", DEAD),
        ("5.0.0", "smtp; 550-5.1.1 The email account that you tried to reach does not exist.", DEAD),  # Exim
        ("", "SMTP; 550 #5.1.1 unknown", DEAD),
        ("5.1.6", "smtp; 551 moved", DEAD),
        ("5.0.0", "", (Kind.SOFT_BOUNCED, Verdict.NONE)),  # Exim, of a domain that it cannot route to
        ("5.0.0", "smtp; 550 no such user here", (Kind.SOFT_BOUNCED, Verdict.NONE)),
        ("5.0.0", "smtp; 450 4.1.1 try later", (Kind.SOFT_BOUNCED, Verdict.NONE)),
        ("5.1.1", "smtp; 450 4.1.1 try later", (Kind.SOFT_BOUNCED, Verdict.NONE)),
        ("5.1.1", "smtp; 451 greylisted", (Kind.SOFT_BOUNCED, Verdict.NONE)),
        ("5.1.1", "smtp; 550 5.7.1 your address is on a list", (Kind.BLOCKED, Verdict.NONE)),
        ("5.1.2", "", (Kind.SOFT_BOUNCED, Verdict.NONE)),
        ("5.2.1", "smtp; 550 5.2.1 disabled", (Kind.SOFT_BOUNCED, Verdict.NONE)),
        ("5.2.2", "smtp; 552 5.2.2 full", (Kind.SOFT_BOUNCED, Verdict.NONE)),
        ("5.3.4", "", (Kind.BLOCKED, Verdict.NONE)),
        ("5.7.606", "smtp;550 5.7.606 banned", (Kind.BLOCKED, Verdict.NONE)),
        ("4.4.7", "smtp; 550 4.4.7 QUEUE.Expired; message expired", (Kind.SOFT_BOUNCED, Verdict.NONE)),
        ("5.1.1.9", "dns; 5.1.1.9 does not answer", (Kind.SOFT_BOUNCED, Verdict.NONE)),
        ("nonsense", "", (Kind.SOFT_BOUNCED, Verdict.NONE)),
    ],
)
def test_only_a_mailbox_that_does_not_exist_suppresses(
    status: str, answer: str, expected: tuple[Kind, Verdict]
) -> None:
    assert meaning(action="failed", status=status, diagnostic_code=answer) == expected
    assert meaning(action="delayed", status=status, diagnostic_code=answer) == (Kind.DEFERRED, Verdict.NONE)


def test_every_action_of_the_rfc_has_its_meaning_and_another_has_none() -> None:
    for action, kind in [
        ("Failed", Kind.HARD_BOUNCED), ("delayed", Kind.DEFERRED), ("relayed (to X.400)", Kind.ACCEPTED),
        ("delivered", Kind.DELIVERED), ("expanded", Kind.DELIVERED), ("vanished", Kind.UNKNOWN), ("", Kind.UNKNOWN),
    ]:  # fmt: skip
        assert meaning(action=action, status="5.1.1")[0] is kind


def test_the_key_stands_in_the_returned_mail_or_headers_or_in_what_the_report_answers() -> None:
    for returned in ("message/rfc822", "text/rfc822-headers", "message/global-headers", "message/global"):
        assert one(dsn(returned=returned)).key == "k1"
    assert one(dsn(returned="")).key == ""
    assert one(dsn(returned="", head="In-Reply-To: <k2@shop.example>\r\n")).key == "k2"
    assert one(dsn(returned="", head="References: <a@b.example>\r\n <k3@shop.example>\r\n")).key == "k3"


def test_a_recipient_is_whom_we_wrote_to_in_any_spelling() -> None:
    def recipient(**fields: str) -> str:
        told = {name.title() + "-Recipient": value for name, value in fields.items()}
        return one(dsn(fields={**told, **GONE})).address

    assert recipient(final="RFC822;<ana@example.org>") == "ana@example.org"
    assert recipient(original="rfc822;ana@example.org", final="rfc822;b@else.example") == "ana@example.org"
    assert recipient(original="x400; /C=de/", final="rfc822 ; ana@example.org") == "ana@example.org"
    assert recipient(original=r"utf-8; \x{E9}lan@example.org") == "élan@example.org"
    assert recipient() == ""
    international = dsn().replace(b"message/delivery-status", b"message/global-delivery-status")
    assert (one(international).address, one(international).kind) == ("ana@example.org", Kind.HARD_BOUNCED)


def test_a_report_has_one_event_for_each_recipient_told_again_it_is_the_same() -> None:
    second = b"Final-Recipient: rfc822; ben@example.org\r\nAction: delayed\r\nStatus: 4.2.2\r\n\r\n"
    mail = dsn().replace(b"no such user\r\n\r\n", b"no such user\r\n\r\n" + second)
    told = read_report(mail, NOW)
    assert [(event.address, event.kind) for event in told] == [
        ("ana@example.org", Kind.HARD_BOUNCED), ("ben@example.org", Kind.DEFERRED),
    ]  # fmt: skip
    assert told == read_report(mail, NOW)
    assert len({event.id for event in [*told, one(dsn(message_id="<2@mx.example>"))]}) == 3
    assert one(dsn(message_id="")).id == one(dsn(message_id="")).id != one(dsn("k2", message_id="")).id
    many = dsn().replace(b"no such user\r\n\r\n", b"no such user\r\n\r\n" + second * 500)
    assert len(read_report(many, NOW)) == MOST_RECIPIENTS


FIELDS = b"Final-Recipient: rfc822; ana@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n"
WHOLE = b"Reporting-MTA: dns; mx.example\r\n"
GROUPS = WHOLE + b"\r\n" + FIELDS
PLAIN = dsn(fields={"Final-Recipient": "rfc822; {address}", "Action": "failed", "Status": "5.1.1"})


def written(part: bytes, head: bytes = b"") -> bytes:
    """Put a machine's part, as some server wrote it, where that of a report stands."""
    assert GROUPS in PLAIN
    kind = b"Content-Type: message/delivery-status\r\n"
    return PLAIN.replace(kind + b"\r\n" + GROUPS, kind + head + b"\r\n" + part)


def as_mixed(mail: bytes) -> bytes:
    return mail.replace(b"multipart/report; report-type=delivery-status", b"multipart/mixed")


@pytest.mark.parametrize(
    "mail",
    [
        pytest.param(PLAIN, id="RFC 3464"),
        pytest.param(as_mixed(PLAIN), id="OpenSMTPD"),
        pytest.param(
            b"Message-ID: <o@x>\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n"
            + PLAIN[PLAIN.index(b"Content-Type") :]
            + b"\r\n--o--\r\n",
            id="within another, Domino",
        ),
        pytest.param(written(WHOLE + FIELDS), id="one group for all, AOL"),
        pytest.param(written(b"\r\n" + FIELDS), id="no group for the mail, SurfControl"),
        pytest.param(
            written(GROUPS.replace(b": ", b" : ").replace(b"rfc822", b"rfc/822"), b"X-Date_Form : d\r\n"),
            id="colons apart, Mimecast",
        ),
        pytest.param(
            written(GROUPS.replace(b"Action", b"Diagnostic-Code: smtp; 550-5.1.1 no\r\n550 5.1.1 such user\r\nAction")),
            id="lines not indented, MessageLabs",
        ),
        pytest.param(written(GROUPS + b"\r\n--other\r\nContent-Type: text/rfc822-headers\r\n"), id="another boundary"),
        pytest.param(
            written(base64.encodebytes(GROUPS), b"Content-Transfer-Encoding: base64\r\n"),
            id="in base64, against the RFC",
        ),
        pytest.param(PLAIN.replace(b"\r\n", b"\n"), id="UNIX"),
        pytest.param(QMAIL, id="qmail"),
        pytest.param(QMAIL.replace(b"message.\r\n\r\n<", b"message.\r\n<"), id="qmail, in one"),
        pytest.param(
            b"Message-ID: <m@x>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n"
            + QMAIL[QMAIL.index(b"Hi.") : QMAIL.index(b"---")]
            + b"--b\r\nContent-Type: message/rfc822\r\n\r\n"
            + QMAIL[QMAIL.index(b"Return-Path") :]
            + b"--b--\r\n",
            id="qmail with MIME",
        ),
    ],
)
def test_servers_write_reports_in_forms_of_their_own(mail: bytes) -> None:
    event = one(mail)
    assert (event.kind, event.verdict) == DEAD
    assert (event.address, event.key) == ("ana@example.org", "k1")


def test_qmail_names_each_recipient_and_its_own_codes() -> None:
    second = b"<ben@example.org>:\r\nSorry, I couldn't find any host named example.org. (#5.1.2)\r\n\r\n"
    third = b"<cy@example.org>:\r\nSorry, no mailbox here by that name. (#5.1.1)\r\n\r\n"
    told = read_report(QMAIL.replace(b"--- Below", second + third + b"--- Below"), NOW)
    assert [(event.address, event.kind, event.key) for event in told] == [
        ("ana@example.org", Kind.HARD_BOUNCED, "k1"), ("ben@example.org", Kind.SOFT_BOUNCED, "k1"),
        ("cy@example.org", Kind.HARD_BOUNCED, "k1"),
    ]  # fmt: skip
    assert read_report(QMAIL[: QMAIL.index(b"<ana")], NOW) == []
    assert read_report(b"\r\nDid you see?\r\n> " + QMAIL[QMAIL.index(b"Hi.") :], NOW) == []


def test_what_outlook_calls_junk_is_a_complaint_about_whom_it_names() -> None:
    """https://sendersupport.olc.protection.outlook.com/pm/services.aspx (JMRP)."""
    mail = (
        b"From: staff@hotmail.com\r\nSubject: complaint about message from 192.0.2.1\r\nMessage-ID: <j@x>\r\n"
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n'
        b"X-HmXmrOriginalRecipient: ana@example.org\r\nMessage-ID: <k1@shop.example>\r\n\r\nhi\r\n--b--\r\n"
    )
    event = one(mail)
    assert (event.verdict, event.address, event.key) == (Verdict.COMPLAINED, "ana@example.org", "k1")
    assert read_report(mail.replace(b"X-HmXmrOriginalRecipient", b"X-Else"), NOW) == []


def test_complaints_are_read_and_reports_that_are_none_suppress_nobody() -> None:
    event = one(arf(told="Original-Rcpt-To: <ana@example.org>\r\n"))
    assert (event.kind, event.verdict) == (Kind.COMPLAINED, Verdict.COMPLAINED)
    assert (event.key, event.address, event.at, event.reason) == ("k1", "ana@example.org", NOW, "abuse")
    assert one(arf()).address == "ana@example.org", "the copy of our mail says whom it was to"
    assert one(arf(kind="Fraud")).verdict is Verdict.COMPLAINED
    for kind in ("not-spam", "auth-failure"):
        assert (one(arf(kind=kind)).kind, one(arf(kind=kind)).verdict) == (Kind.DELIVERED, Verdict.NONE)


def test_that_a_reader_answers_is_told_and_that_a_machine_does_is_not() -> None:
    event = one(answer())
    assert (event.kind, event.verdict, event.key, event.address) == (
        Kind.REPLIED,
        Verdict.NONE,
        "k1",
        "ana@example.org",
    )
    assert event.at == datetime(2026, 3, 15, 8, tzinfo=UTC)
    assert event.raw == {"mail": {"Message-ID": "<a-k1@example.org>", "In-Reply-To": "<k1@shop.example>",
                                  "Date": "Sun, 15 Mar 2026 08:00:00 +0000"}}  # fmt: skip
    assert one(answer(head="Auto-Submitted: no\r\n")).id == event.id != one(answer("k2")).id
    mixed = b"Content-Type: multipart/mixed; boundary=b"
    assert one(answer().replace(b"Content-Type: text/plain", mixed)).kind is Kind.REPLIED
    for head in (
        "Auto-Submitted: auto-replied", "Precedence: bulk", "Return-Path: <>", "X-Auto-Response-Suppress: All",
        "List-Id: <l.example>", "X-Autoreply: yes",
    ):  # fmt: skip
        assert read_report(answer(head=f"{head}\r\n"), NOW) == [], head
    for other in (answer("").replace(b"In-Reply-To: <@shop.example>\r\n", b""), answer().replace(b"From", b"X-From")):
        assert read_report(other, NOW) == []


def test_what_is_no_report_says_nothing_and_nothing_makes_it_fail() -> None:
    for mail in OTHERS:
        assert read_report(mail, NOW) == []
    whole = dsn(head="X-Note: \xff\xfe\r\n")
    for end in range(0, len(whole), 7):
        read_report(whole[:end], NOW)
    cut = whole[: whole.index(b"Sorry")] + whole[whole.index(b"Sorry") :].replace(b"hi\r\n\r\n--b--\r\n", b"")
    assert one(cut).verdict is Verdict.INVALID, "what came back of our mail may be cut off"
    deep = b"Content-Type: multipart/report; boundary=b\r\n\r\n" + b"--b\r\nContent-Type: message/rfc822\r\n\r\n" * 5000
    assert read_report(deep, NOW) == []
    assert deep.lower().count(b"content-type:") > MOST_PARTS
    for date in (b"Date: never", b"Date: 1 Jan 0001 00:00:00 -9999", b"Date: Sun, 99 Mar 2026 08:00:00 +0000"):
        assert one(whole.replace(b"Date: Sun, 15 Mar 2026 08:00:00 +0000", date)).at == NOW
