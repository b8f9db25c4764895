"""SMTP against a real server: what arrives, how it is secured, and how connections are used."""

import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme

from connectors.elapsed import elapsed
from connectors.email.mime import Mime, compose
from connectors.email.smtp import Smtp
from connectors.email.smtp_opening import open_session
from connectors.email.smtp_settings import SmtpSettings
from evergreet.contracts import Accepted, Mailbox
from evergreet.errors import Misconfigured, Permanent, Retryable
from tests.connectors.email.letters import letter
from tests.connectors.email.servers import CLOSE, RealServer, ScriptedServer, say, until

Connect = Callable[..., Smtp]
Serve = Callable[..., ScriptedServer]
Real = Callable[..., RealServer]
CANARY = "canary-d0nt-tell"
_WITH_AUTH = say(b"250-scripted.test\r\n250 AUTH PLAIN\r\n")


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # it has TLS from the start
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_message_arrives_over_verified_tls_after_signing_in(
    real: Real, connect_to: Connect, ca_file: Path, security: str
) -> None:
    server = real(security=security, user="shop", password=CANARY)
    smtp = connect_to(
        server.port, host="localhost", security=security, ca_file=ca_file, username="shop", password=CANARY
    )
    assert smtp.send([letter()]) == [Accepted("Q1")]
    (arrival,) = server.arrivals
    assert (arrival.sender, arrival.recipients) == ("hello@fernway.example", ["anna@customer.example"])
    assert (arrival.user, arrival.tls) == ("shop", True)
    assert arrival.content == compose(letter()).content
    assert smtp.check() == f"localhost:{server.port} answers over TLSv1.3 with a verified certificate, signed in."


def test_a_message_arrives_in_plain_text_where_that_is_asked_for(real: Real, connect_to: Connect) -> None:
    server = real()
    smtp = connect_to(server.port)
    assert smtp.send([letter()]) == [Accepted("Q1")]
    assert smtp.check() == f"127.0.0.1:{server.port} answers in plain text, without signing in."


def test_bounces_go_to_the_return_path_where_one_is_set(real: Real, connect_to: Connect) -> None:
    server = real()
    assert connect_to(server.port, return_path="bounces@mail.example").send([letter()]) == [Accepted("Q1")]
    (arrival,) = server.arrivals
    assert (arrival.sender, arrival.content) == ("bounces@mail.example", compose(letter()).content)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_of_an_unknown_authority_is_not_accepted(real: Real, connect_to: Connect, security: str) -> None:
    server = real(security=security)
    smtp = connect_to(server.port, host="localhost", security=security)
    (outcome,) = smtp.send([letter()])
    assert isinstance(outcome, Misconfigured)
    assert "EVERGREET_SMTP_CA_FILE" in outcome.reason
    assert not server.arrivals
    with pytest.raises(Misconfigured, match="cannot be trusted"):
        smtp.check()


def test_a_certificate_for_another_name_is_not_accepted(
    authority: trustme.CA, connect_to: Connect, ca_file: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.example").configure_cert(context)
    with RealServer(context, security="starttls") as server:
        smtp = connect_to(server.port, host="localhost", security="starttls", ca_file=ca_file)
        (outcome,) = smtp.send([letter()])
        assert isinstance(outcome, Misconfigured)
        assert "EVERGREET_SMTP_HOST" in outcome.reason
        assert not server.arrivals


def test_a_server_without_starttls_gets_neither_password_nor_message(scripted: Serve, connect_to: Connect) -> None:
    server = scripted()
    smtp = connect_to(server.port, security="starttls", username="shop", password=CANARY)
    (outcome,) = smtp.send([letter()])
    assert isinstance(outcome, Misconfigured)
    assert "does not offer STARTTLS" in outcome.reason
    assert [line.split()[0] for line in server.conversations[0].commands] == ["ehlo"]


_WITH_STARTTLS = say(b"250-scripted.test\r\n250 STARTTLS\r\n")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (say(b"454 4.7.0 TLS not available just now\r\n"), Retryable),
        (say(b"501 5.5.4 no\r\n"), Misconfigured),
        (say(b"220 go ahead\r\n250 smuggled ahead of TLS\r\n"), Retryable),
        (say(b"220 go ahead\r\n", then="close"), Retryable),
        pytest.param(
            say(b"220 go ahead\r\n", then="reset"),
            Retryable,
            # ssl.wrap_socket itself leaves the socket to the garbage collector here
            marks=pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
        ),
        (say(b"220 go ahead\r\n", then="hang"), Retryable),
    ],
)
def test_a_server_whose_tls_does_not_start_gets_no_message(
    scripted: Serve, connect_to: Connect, answer: Any, kind: type[Exception]
) -> None:
    server = scripted({"EHLO": _WITH_STARTTLS, "STARTTLS": answer})
    (outcome,) = connect_to(server.port, security="starttls", timeout=0.5).send([letter()])
    assert isinstance(outcome, kind), outcome
    assert not server.contents


def test_speaking_tls_to_a_server_that_does_not_is_named(scripted: Serve, connect_to: Connect) -> None:
    (outcome,) = connect_to(scripted().port, security="tls", timeout=2).send([letter()])
    assert isinstance(outcome, Misconfigured)
    assert "EVERGREET_SMTP_SECURITY" in outcome.reason


def test_a_server_that_refuses_our_tls_is_our_fault(scripted: Serve, connect_to: Connect) -> None:
    alert = bytes([0x15, 3, 3, 0, 2, 2, 70])  # fatal: protocol_version (RFC 8446 §6.2)
    (outcome,) = connect_to(scripted({"connect": say(alert)}).port, security="tls").send([letter()])
    assert isinstance(outcome, Misconfigured)
    assert "ALERT_PROTOCOL_VERSION" in outcome.reason


def test_a_secret_that_a_server_quotes_at_the_end_of_a_long_answer_is_not_told_in_part(
    scripted: Serve, connect_to: Connect
) -> None:
    for padding in range(280, 300):
        server = scripted({"EHLO": _WITH_AUTH, "AUTH": say(b"535 " + b"x" * padding + f" {CANARY}\r\n".encode())})
        (outcome,) = connect_to(server.port, username="shop", password=CANARY).send([letter()])
        assert CANARY[:4] not in str(outcome)


def test_a_wrong_password_is_our_fault_and_is_not_told(real: Real, connect_to: Connect, ca_file: Path) -> None:
    server = real(security="starttls", user="shop", password="right")
    smtp = connect_to(
        server.port, host="localhost", security="starttls", ca_file=ca_file, username="shop", password=CANARY
    )
    outcomes = smtp.send([letter("1.a"), letter("2.b")])
    assert all(isinstance(outcome, Misconfigured) for outcome in outcomes)
    assert "535" in str(outcomes[0])
    assert CANARY not in repr(outcomes) + str(outcomes[0]) + repr(smtp) + repr(vars(smtp)["_settings"])
    assert not server.arrivals


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (say(b"454 4.7.0 sign-in is not available just now\r\n"), Retryable),
        (say(b"421 4.7.0 too many tries\r\n", then="close"), Retryable),
        (CLOSE, Retryable),
        (say(b"535 5.7.8 wrong\r\n"), Misconfigured),
        (say(b"534 5.7.9 too weak\r\n"), Misconfigured),
        (say(f"535 5.7.8 {CANARY} is wrong, as is AHNob3AAY2FuYXJ5LWQwbnQtdGVsbA==\r\n".encode()), Misconfigured),
        (say(b"334 x\r\n"), Misconfigured),
        (say(b"334 \r\n"), Misconfigured),
        (say(b"nonsense\r\n"), Retryable),
    ],
)
def test_signing_in_fails(scripted: Serve, connect_to: Connect, answer: Any, kind: type[Exception]) -> None:
    credentials = b64encode(f"\0shop\0{CANARY}".encode()).decode()
    server = scripted({"EHLO": _WITH_AUTH, "AUTH": answer, credentials.upper(): answer})  # a challenge is answered
    (outcome,) = connect_to(server.port, username="shop", password=CANARY).send([letter()])
    assert isinstance(outcome, kind), outcome
    assert CANARY not in str(outcome)
    assert "AHNob3AA" not in str(outcome)
    assert not server.contents


def test_a_server_that_offers_no_sign_in_is_named(scripted: Serve, connect_to: Connect) -> None:
    (outcome,) = connect_to(scripted().port, username="shop", password=CANARY).send([letter()])
    assert isinstance(outcome, Misconfigured)
    assert "does not offer to sign in" in outcome.reason


def test_a_password_that_cannot_be_sent_is_not_told_either(scripted: Serve, connect_to: Connect) -> None:
    server = scripted({"EHLO": _WITH_AUTH})
    (outcome,) = connect_to(server.port, username="shop", password=f"{CANARY}-ü").send([letter()])
    assert isinstance(outcome, Misconfigured)
    assert "ASCII" in outcome.reason
    assert CANARY not in repr(outcome)
    assert outcome.__traceback__ is None
    assert outcome.__context__ is None


def test_a_ca_file_that_is_not_there_is_named(connect_to: Connect, tmp_path: Path) -> None:
    smtp = connect_to(25, security="tls", ca_file=tmp_path / "none.pem")
    with pytest.raises(Misconfigured, match=r"EVERGREET_SMTP_CA_FILE=.*none\.pem"):
        smtp.check()


def test_what_is_on_the_wire_is_the_envelope_and_the_message(scripted: Serve, connect_to: Connect) -> None:
    server = scripted()
    message = letter(subject="...", text=".\n..\r.", headers={"X-Data": "."})
    connect_to(server.port).send([message])
    assert server.contents == [compose(message).content]
    commands = server.conversations[0].commands
    assert commands[1:] == ["MAIL FROM:<hello@fernway.example>", "RCPT TO:<anna@customer.example>", "DATA"]


def test_a_line_that_begins_with_a_dot_does_not_end_the_message(scripted: Serve) -> None:
    server = scripted()
    settings = SmtpSettings(host="127.0.0.1", port=server.port, security="none")
    session = open_session(settings, None, socket.create_connection, elapsed)
    content = b"X: 1\r\n\r\n.\r\n..\r\nRCPT TO:<evil@d.co>\r\n"
    assert session.hand_over(Mime("a@b.co", "c@d.co", content, False), "1.a") == Accepted("4XYZ12")
    session.end()
    assert server.contents == [b"X: 1\r\n\r\n..\r\n...\r\nRCPT TO:<evil@d.co>\r\n"]


def test_an_address_that_carries_a_command_reaches_nobody(scripted: Serve, connect_to: Connect) -> None:
    server = scripted()
    evil = letter("1.a", to=Mailbox("x@d.co>\r\nRCPT TO:<evil"))
    outcomes = connect_to(server.port).send([evil, letter("2.b")])
    assert isinstance(outcomes[0], Permanent)
    assert outcomes[1] == Accepted("4XYZ12")
    assert [line for line in server.conversations[0].commands if line.startswith("RCPT")] == [
        "RCPT TO:<anna@customer.example>"
    ]


def test_nothing_is_connected_to_for_a_batch_that_is_refused_whole(scripted: Serve, connect_to: Connect) -> None:
    server = scripted()
    connect_to(server.port).send([letter(subject="a\nb")])
    assert not server.conversations


def test_international_domains_reach_the_server_in_punycode(real: Real, connect_to: Connect) -> None:
    server = real()
    connect_to(server.port).send(
        [letter(to=Mailbox("anna@bücher.example", "Ånna, B"), sender=Mailbox("a@grüße.example"))]
    )
    (arrival,) = server.arrivals
    assert (arrival.sender, arrival.recipients) == ("a@xn--gre-6ka8l.example", ["anna@xn--bcher-kva.example"])
    assert len(arrival.message["To"].addresses) == 1


def test_an_international_mailbox_is_written_to_where_the_server_takes_it(real: Real, connect_to: Connect) -> None:
    server = real()
    smtp = connect_to(server.port)
    assert smtp.send([letter("1.a", to=Mailbox("jürgen@bücher.example")), letter("2.b")]) == [
        Accepted("Q1"),
        Accepted("Q2"),
    ]
    assert server.arrivals[0].recipients == ["jürgen@xn--bcher-kva.example"]
    assert server.arrivals[1].content == compose(letter("2.b")).content


def test_an_international_mailbox_is_refused_where_the_server_does_not(scripted: Serve, connect_to: Connect) -> None:
    server = scripted()
    smtp = connect_to(server.port)
    outcomes = smtp.send(
        [letter("1.a", to=Mailbox("jürgen@d.co")), letter("2.b", sender=Mailbox("grüße@d.co")), letter("3.c")]
    )
    assert isinstance(outcomes[0], Permanent)
    assert "recipient" in outcomes[0].reason
    assert isinstance(outcomes[1], Misconfigured)
    assert outcomes[2] == Accepted("4XYZ12")
    assert len(server.contents) == 1


def test_a_connection_is_used_for_a_batch_and_for_the_next(real: Real, connect_to: Connect) -> None:
    server = real()
    smtp = connect_to(server.port)
    for batch in range(3):
        assert all(isinstance(o, Accepted) for o in smtp.send([letter(f"{batch}.{n}") for n in range(4)]))
    assert len(server.arrivals) == 12
    assert len(server.peers) == 1


def test_a_connection_is_replaced_after_the_messages_it_may_carry(real: Real, connect_to: Connect) -> None:
    server = real()
    smtp = connect_to(server.port, messages_per_connection=3)
    assert all(isinstance(o, Accepted) for o in smtp.send([letter(f"1.{n}") for n in range(7)]))
    assert (len(server.arrivals), len(server.peers)) == (7, 3)


def test_threads_share_connections_without_mixing_messages(real: Real, connect_to: Connect) -> None:
    server = real()
    smtp = connect_to(server.port, connections=3)
    with ThreadPoolExecutor(6) as threads:
        batches = threads.map(
            lambda batch: smtp.send([letter(f"{batch}.{n}", subject=f"{batch}.{n}") for n in range(5)]), range(12)
        )
        assert all(isinstance(outcome, Accepted) for batch in batches for outcome in batch)
    wanted = {f"{batch}.{n}" for batch in range(12) for n in range(5)}
    assert {a.message["Subject"] for a in server.arrivals} == wanted
    assert all(a.message["Message-ID"] == f"<{a.message['Subject']}@fernway.example>" for a in server.arrivals)
    assert len(server.arrivals) == len(wanted)
    assert len(server.peers) <= 3


def test_a_batch_that_finds_no_free_connection_in_time_is_given_back(scripted: Serve, connect_to: Connect) -> None:
    server = scripted({".": say(then="hang")})
    smtp = connect_to(server.port, connections=1, batch_seconds=0.2, timeout=5)
    first = threading.Thread(target=smtp.send, args=([letter("1.a")],))
    first.start()
    until(lambda: bool(server.contents))
    (outcome,) = smtp.send([letter("2.b")])
    assert isinstance(outcome, Retryable)
    assert outcome.accepted == "no"
    server.__exit__(None, None, None)
    first.join(10)


def test_a_stranger_exception_leaves_no_connection_behind_in_an_unknown_state(
    scripted: Serve, connect_to: Connect
) -> None:
    server = scripted()
    smtp = connect_to(server.port)
    smtp.send([letter("1.a")])
    with pytest.raises(AttributeError):
        smtp.send([letter("2.b"), None])  # type: ignore[list-item]
    assert [type(o) for o in smtp.send([letter("3.c")])] == [Accepted]


def test_closing_says_goodbye_and_a_connection_in_use_ends_with_its_batch(scripted: Serve, connect_to: Connect) -> None:
    server = scripted()
    smtp = connect_to(server.port)
    smtp.send([letter("1.a")])
    smtp.close()
    smtp.close()
    until(lambda: server.conversations[0].commands[-1].lower() == "quit")
    smtp.send([letter("2.b")])
    until(lambda: server.conversations[1].commands[-1].lower() == "quit")


def test_the_settings_say_what_is_missing_or_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured, match=r"^EVERGREET_SMTP_HOST is not set\.$"):
        Smtp.from_environment()
    monkeypatch.setenv("EVERGREET_SMTP_HOST", "mail.fernway.example")
    monkeypatch.setenv("EVERGREET_SMTP_USERNAME", "shop")
    with pytest.raises(Misconfigured, match="EVERGREET_SMTP_PASSWORD are set together"):
        Smtp.from_environment()
    monkeypatch.setenv("EVERGREET_SMTP_PASSWORD", CANARY)
    monkeypatch.setenv("EVERGREET_SMTP_SECURITY", "none")
    with pytest.raises(Misconfigured, match="plain text") as refused:
        Smtp.from_environment()
    assert CANARY not in refused.value.reason
    monkeypatch.setenv("EVERGREET_SMTP_SECURITY", "tls")
    monkeypatch.setenv("EVERGREET_SMTP_PORT", CANARY)
    with pytest.raises(Misconfigured, match="EVERGREET_SMTP_PORT") as refused:
        Smtp.from_environment()
    assert CANARY not in refused.value.reason


@pytest.mark.parametrize(("security", "port"), [("starttls", 587), ("tls", 465), ("none", 25)])
def test_the_port_follows_the_security(security: Any, port: int) -> None:
    assert SmtpSettings(host="mail.fernway.example", security=security).server == ("mail.fernway.example", port)


def test_settings_hold_no_secret_in_sight() -> None:
    settings = SmtpSettings.model_validate(
        {"host": "mail.fernway.example", "username": f"u-{CANARY}", "password": CANARY}
    )
    assert CANARY not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


def test_the_window_and_the_connections_come_from_the_settings(connect_to: Connect) -> None:
    capabilities = connect_to(25, window=7, connections=2).capabilities
    assert (capabilities.window, capabilities.connections) == (7, 2)
    assert Smtp.capabilities.window == SmtpSettings(host="x").window
    assert Smtp.capabilities.connections == SmtpSettings(host="x").connections


def test_we_introduce_ourselves_by_the_name_of_the_settings(scripted: Serve, connect_to: Connect) -> None:
    server = scripted()
    connect_to(server.port, helo="mailer.fernway.example").send([letter()])
    assert server.conversations[0].commands[0] == "ehlo mailer.fernway.example"
