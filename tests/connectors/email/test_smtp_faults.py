"""Every fault an SMTP server can show, and what a right client makes of it."""

import socket
from collections.abc import Callable
from typing import Any

import pytest

from connectors.email.smtp import Smtp
from evergreet.contracts import Accepted, Mailbox, Outcome
from evergreet.errors import Misconfigured, Permanent, Retryable
from tests.connectors.email.letters import letter
from tests.connectors.email.servers import CLOSE, HANG, RESET, Answer, ScriptedServer, say

Connect = Callable[..., Smtp]
Serve = Callable[..., ScriptedServer]


def meaning(outcome: Outcome) -> tuple[Any, ...]:
    """The part of an outcome that the engine acts on."""
    if isinstance(outcome, Accepted):
        return (Accepted,)
    if isinstance(outcome, Retryable):
        return Retryable, outcome.accepted
    if isinstance(outcome, Permanent):
        return Permanent, outcome.address_invalid
    return (Misconfigured,)


NOT_ACCEPTED = (Retryable, "no")
IN_DOUBT = (Retryable, "maybe")
REFUSED = (Permanent, False)
NO_SUCH_ADDRESS = (Permanent, True)
OUR_FAULT = (Misconfigured,)
DONE = (Accepted,)


@pytest.mark.parametrize(
    ("step", "answer", "first"),
    [
        ("MAIL", say(b"450 4.3.2 try later\r\n"), NOT_ACCEPTED),
        ("MAIL", say(b"421 4.3.2 shutting down\r\n", then="close"), NOT_ACCEPTED),
        ("MAIL", say(b"552 5.3.4 too large\r\n"), REFUSED),
        ("MAIL", say(b"552 too large\r\n"), REFUSED),
        ("RCPT", say(b"450 4.2.0 greylisted\r\n"), NOT_ACCEPTED),
        ("RCPT", say(b"452 4.2.2 mailbox full\r\n"), NOT_ACCEPTED),
        ("RCPT", say(b"421 4.7.0 slow down\r\n", then="close"), NOT_ACCEPTED),
        ("RCPT", say(b"550 5.1.1 no such user\r\n"), NO_SUCH_ADDRESS),
        ("RCPT", say(b"550-5.1.1 The account you tried\r\n550 5.1.1 does not exist\r\n"), NO_SUCH_ADDRESS),
        ("RCPT", say(b"553 5.1.3 bad syntax\r\n"), NO_SUCH_ADDRESS),
        ("RCPT", say(b"556 5.1.10 null MX\r\n"), NO_SUCH_ADDRESS),
        ("RCPT", say(b"550 5.1.2 unknown domain\r\n"), REFUSED),
        ("RCPT", say(b"550 5.1.11 not a status that says so\r\n"), REFUSED),
        ("RCPT", say(b"550 5.7.1 blocked by policy\r\n"), REFUSED),
        ("RCPT", say(b"554 5.7.1 your network is listed, see 5.1.1\r\n"), REFUSED),
        ("RCPT", say(b"552 5.2.2 mailbox full\r\n"), REFUSED),
        ("RCPT", say(b"550 no status given\r\n"), REFUSED),
        ("DATA", say(b"451 4.3.0 try later\r\n"), NOT_ACCEPTED),
        ("DATA", say(b"421 4.3.0 shutting down\r\n", then="close"), NOT_ACCEPTED),
        ("DATA", say(b"554 5.5.1 no valid recipients\r\n"), REFUSED),
        (".", say(b"451 4.3.0 try later\r\n"), NOT_ACCEPTED),
        (".", say(b"421 4.3.0 shutting down\r\n", then="close"), NOT_ACCEPTED),
        (".", say(b"554 5.7.1 looks like spam\r\n"), REFUSED),
        (".", say(b"530 5.7.0 whatever\r\n"), REFUSED),
        (".", say(b"550 5.1.1 no such user after all\r\n"), NO_SUCH_ADDRESS),
        # The connection is lost.
        ("MAIL", CLOSE, NOT_ACCEPTED),
        ("RCPT", CLOSE, NOT_ACCEPTED),
        ("RCPT", RESET, NOT_ACCEPTED),
        ("DATA", CLOSE, NOT_ACCEPTED),
        ("DATA", RESET, NOT_ACCEPTED),
        (".", CLOSE, IN_DOUBT),
        (".", RESET, IN_DOUBT),
        (".", say(b"250 2.0.0 Ok: que", then="close"), IN_DOUBT),
        (".", say(b"250-2.0.0 Ok\r\n", then="close"), IN_DOUBT),
        # The answer is none.
        ("MAIL", say(b"\x00\xff\xfe hello\r\n"), NOT_ACCEPTED),
        ("RCPT", say(b"OK\r\n"), NOT_ACCEPTED),
        ("RCPT", say(b"250-first\r\n550 second\r\n"), NOT_ACCEPTED),
        ("RCPT", say(b"2500 ok\r\n"), NOT_ACCEPTED),
        ("RCPT", say(b"354 go on\r\n"), NOT_ACCEPTED),
        ("DATA", say(b"250 ok\r\n"), NOT_ACCEPTED),
        ("RCPT", say(b"250 ok\r\n250 ok, and one nobody asked for\r\n"), NOT_ACCEPTED),
        ("DATA", say(b"354 go on\r\n250 accepted ahead of the content\r\n"), NOT_ACCEPTED),
        (".", say(b"\r\n"), IN_DOUBT),
        (".", say(b"hello\r\n"), IN_DOUBT),
        (".", say(b"354 go on\r\n"), IN_DOUBT),
        (".", say(b"250-first\r\n550 second\r\n"), IN_DOUBT),
        (".", say(b"999 what\r\n"), IN_DOUBT),
        # The answer is odd and yet one.
        ("MAIL", say(b"250-one\r\n250-two\r\n250 three\r\n"), DONE),
        ("RCPT", say(b"251 user not local; will forward\r\n"), DONE),
        ("RCPT", say(b"252 cannot verify\r\n"), DONE),
        (".", say(b"250\r\n"), DONE),
        (".", say(b"250 ok\n"), DONE),
        (".", say(b"2", b"5", b"0 ", b"ok\r", b"\n"), DONE),
        (".", say(b"250-2.0.0 one\r\n250", b"-two\r\n250 ", b"three\r\n"), DONE),
        (".", say("250 дякую\r\n".encode()), DONE),
    ],
)  # fmt: skip
def test_a_fault_of_one_message_leaves_the_next_one_unhurt(
    scripted: Serve, connect_to: Connect, step: str, answer: Answer, first: tuple[Any, ...]
) -> None:
    server = scripted({step: [answer]})
    outcomes = connect_to(server.port).send([letter("1.a"), letter("2.b")])
    assert meaning(outcomes[0]) == first, outcomes[0]
    assert meaning(outcomes[1]) == DONE, outcomes[1]
    contents = [content for content in server.contents if content]  # an empty one is for nobody (RFC 2920)
    assert len(contents) == (2 if step == "." else 1) + (first == DONE and step != ".")


@pytest.mark.parametrize(
    "answer",
    [
        say(b"550 5.7.1 sender not allowed\r\n"),
        say(b"553 5.1.8 sender's domain does not exist\r\n"),
        say(b"530 5.7.0 authentication required\r\n"),
        say(b"501 5.1.7 bad sender\r\n"),
    ],
)
def test_a_sender_that_is_refused_is_our_fault(scripted: Serve, connect_to: Connect, answer: Answer) -> None:
    server = scripted({"MAIL": answer})
    outcomes = connect_to(server.port).send([letter("1.a"), letter("2.b")])
    assert [meaning(outcome) for outcome in outcomes] == [OUR_FAULT, OUR_FAULT]
    assert not server.contents


@pytest.mark.parametrize("step", ["RCPT", "DATA"])
def test_a_refusal_for_want_of_signing_in_is_our_fault(scripted: Serve, connect_to: Connect, step: str) -> None:
    server = scripted({step: say(b"530 5.7.0 must issue STARTTLS and sign in first\r\n")})
    assert [meaning(outcome) for outcome in connect_to(server.port).send([letter()])] == [OUR_FAULT]


def test_nobody_listening_means_not_accepted_for_all_and_one_try(connect_to: Connect) -> None:
    tries = []

    def refuse(address: tuple[str, int], timeout: float) -> socket.socket:
        tries.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    smtp = connect_to(25, connect=refuse)
    outcomes = smtp.send([letter("1.a"), letter("2.b", to=Mailbox("none")), letter("3.c")])
    assert [meaning(outcome) for outcome in outcomes] == [NOT_ACCEPTED, REFUSED, NOT_ACCEPTED]
    assert tries == [("127.0.0.1", 25)]
    with pytest.raises(Retryable, match=r"No connection to 127\.0\.0\.1:25: Connection refused\."):
        smtp.check()


def test_a_closed_port_is_refused_by_the_system_itself(connect_to: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert [meaning(outcome) for outcome in connect_to(port).send([letter()])] == [NOT_ACCEPTED]


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), OUR_FAULT),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), NOT_ACCEPTED),
        (UnicodeError("label empty or too long"), OUR_FAULT),
        (TimeoutError("timed out"), NOT_ACCEPTED),
        (OSError(113, "No route to host"), NOT_ACCEPTED),
    ],
)
def test_a_host_that_cannot_be_reached(connect_to: Connect, error: Exception, wanted: tuple[Any, ...]) -> None:
    def fail(address: tuple[str, int], timeout: float) -> socket.socket:
        raise error

    assert [meaning(outcome) for outcome in connect_to(25, connect=fail).send([letter()])] == [wanted]


@pytest.mark.parametrize(
    ("step", "answer", "wanted"),
    [
        ("connect", say(b"421 4.3.2 too busy\r\n", then="close"), NOT_ACCEPTED),
        ("connect", say(b"554 5.7.1 no mail from you\r\n", then="close"), OUR_FAULT),
        ("connect", CLOSE, NOT_ACCEPTED),
        ("connect", RESET, NOT_ACCEPTED),
        ("connect", HANG, NOT_ACCEPTED),
        ("connect", say(b"SSH-2.0-OpenSSH_9.2\r\n"), NOT_ACCEPTED),
        ("connect", say(b"220 " + b"x" * 1_000_000, then="hang"), NOT_ACCEPTED),
        ("EHLO", say(b"421 4.3.2 too busy\r\n", then="close"), NOT_ACCEPTED),
        ("EHLO", CLOSE, NOT_ACCEPTED),
        ("EHLO", HANG, NOT_ACCEPTED),
    ],
)
def test_a_server_that_does_not_open_the_channel(
    scripted: Serve, connect_to: Connect, step: str, answer: Answer, wanted: tuple[Any, ...]
) -> None:
    server = scripted({step: answer})
    outcomes = connect_to(server.port, timeout=0.5).send([letter("1.a"), letter("2.b")])
    assert [meaning(outcome) for outcome in outcomes] == [wanted, wanted]
    assert len(server.conversations) == 1, "a connection that cannot be opened stands for the whole batch"
    assert not server.contents


def test_a_server_that_knows_no_ehlo_is_greeted_the_old_way(scripted: Serve, connect_to: Connect) -> None:
    server = scripted({"EHLO": say(b"502 5.5.1 not implemented\r\n")})
    assert [meaning(outcome) for outcome in connect_to(server.port).send([letter()])] == [DONE]
    assert server.conversations[0].commands[1].startswith("helo ")


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "."])
@pytest.mark.parametrize(
    ("answer", "patience"),
    [
        (HANG, 0.5),
        # 10 MB and no end are cut off early; the second connection needs its time while the server has them in hand.
        (say(b"250-going on\r\n" * 700_000, then="hang"), 1.5),
        (say(b"250 " + b"x" * 10_000_000, then="hang"), 1.5),
        (say(b"250-going on\r\n", then="hang"), 0.5),
    ],
    ids=["silent", "endless lines", "endless line", "half an answer"],
)
def test_an_answer_that_does_not_come_or_does_not_end_is_bounded(
    scripted: Serve, connect_to: Connect, step: str, answer: Answer, patience: float
) -> None:
    server = scripted({step: [answer]})
    outcomes = connect_to(server.port, timeout=patience).send([letter("1.a"), letter("2.b")])
    assert meaning(outcomes[0]) == (IN_DOUBT if step == "." else NOT_ACCEPTED)
    assert meaning(outcomes[1]) == DONE


def test_an_answer_that_trickles_does_not_outlast_the_time_limit(scripted: Serve, connect_to: Connect) -> None:
    """Each line comes well within the limit, the answer as a whole never does."""
    server = scripted({".": say(b"250-wait\r\n", then="trickle")})
    (outcome,) = connect_to(server.port, timeout=0.5).send([letter()])
    assert meaning(outcome) == IN_DOUBT


def test_a_connection_lost_in_the_middle_of_the_content_leaves_no_doubt(scripted: Serve, connect_to: Connect) -> None:
    """The content is larger than what two systems buffer, so the end cannot have left."""
    server = scripted({"DATA": say(b"354 go on\r\n", then="reset")})
    (outcome,) = connect_to(server.port).send([letter(html="x" * 30_000_000)])
    assert meaning(outcome) == NOT_ACCEPTED
    assert not server.contents


def test_a_server_that_takes_no_more_of_the_content_leaves_no_doubt(scripted: Serve, connect_to: Connect) -> None:
    server = scripted({"DATA": say(b"354 go on\r\n", then="hang")})
    (outcome,) = connect_to(server.port, timeout=0.5).send([letter(html="x" * 30_000_000)])
    assert meaning(outcome) == NOT_ACCEPTED


@pytest.mark.parametrize("quit_answer", [CLOSE, RESET, HANG, say(b"500 what\r\n"), say(b"x" * 100_000, then="hang")])
def test_an_error_at_quit_changes_nothing(scripted: Serve, connect_to: Connect, quit_answer: Answer) -> None:
    server = scripted({"QUIT": quit_answer})
    smtp = connect_to(server.port, timeout=0.5, messages_per_connection=1)
    outcomes = smtp.send([letter("1.a"), letter("2.b")])
    smtp.close()
    assert outcomes == [Accepted("4XYZ12"), Accepted("4XYZ12")]
    assert len(server.conversations) == len(server.contents) == 2


@pytest.mark.parametrize(
    "farewell",
    [say(b"421 4.7.0 too many messages on this connection\r\n", then="close"), CLOSE, RESET, say(b"421 4.7.0 bye\r\n")],
)
def test_a_server_that_closes_after_a_mail_is_connected_to_again(
    scripted: Serve, connect_to: Connect, farewell: Answer
) -> None:
    then = say(b"250 2.0.0 Ok\r\n")
    server = scripted({"MAIL": [then, farewell, then, farewell, then]})
    outcomes = connect_to(server.port).send([letter("1.a"), letter("2.b"), letter("3.c")])
    assert [meaning(outcome) for outcome in outcomes] == [DONE, DONE, DONE]
    assert len(server.conversations) == 3
    assert len(server.contents) == 3


def test_a_server_that_closes_right_after_the_answer_is_connected_to_again(
    scripted: Serve, connect_to: Connect
) -> None:
    server = scripted({".": say(b"250 2.0.0 Ok\r\n", then="close")})
    smtp = connect_to(server.port)
    outcomes = [*smtp.send([letter("1.a"), letter("2.b")]), *smtp.send([letter("3.c")])]
    assert [meaning(outcome) for outcome in outcomes] == [DONE, DONE, DONE]
    assert len(server.conversations) == len(server.contents) == 3


def test_connecting_again_is_tried_once_and_its_failure_is_told(scripted: Serve, connect_to: Connect) -> None:
    server = scripted(
        {"MAIL": [say(b"250 2.0.0 Ok\r\n"), CLOSE]}, {"connect": say(b"421 4.3.2 too busy\r\n", then="close")}
    )
    outcomes = connect_to(server.port).send([letter("1.a"), letter("2.b"), letter("3.c")])
    assert [meaning(outcome) for outcome in outcomes] == [DONE, NOT_ACCEPTED, NOT_ACCEPTED]
    assert len(server.conversations) == 2


def test_a_connection_that_breaks_at_once_when_fresh_is_not_tried_again(scripted: Serve, connect_to: Connect) -> None:
    server = scripted({"MAIL": CLOSE})
    (outcome,) = connect_to(server.port).send([letter()])
    assert meaning(outcome) == NOT_ACCEPTED
    assert len(server.conversations) == 1


@pytest.mark.parametrize("rset", [CLOSE, HANG, say(b"421 bye\r\n", then="close"), say(b"500 what\r\n")])
def test_a_connection_that_cannot_be_reset_is_replaced(scripted: Serve, connect_to: Connect, rset: Answer) -> None:
    server = scripted({"RCPT": [say(b"550 5.1.1 no such user\r\n")], "RSET": [rset]})
    outcomes = connect_to(server.port, timeout=0.5).send([letter("1.a"), letter("2.b")])
    assert [meaning(outcome) for outcome in outcomes] == [NO_SUCH_ADDRESS, DONE]
    assert len(server.conversations) == 2


def test_a_refused_recipient_is_reset_on_the_same_connection(scripted: Serve, connect_to: Connect) -> None:
    server = scripted({"RCPT": [say(b"550 5.1.1 no such user\r\n")]})
    connect_to(server.port).send([letter("1.a"), letter("2.b")])
    (conversation,) = server.conversations
    assert [line.split()[0] for line in conversation.commands] == [
        "ehlo",
        "MAIL",
        "RCPT",
        *(["DATA"] if server.pipelining else []),
        "RSET",
        "MAIL",
        "RCPT",
        "DATA",
    ]


def test_messages_that_would_be_begun_too_late_are_given_back(scripted: Serve, connect_to: Connect) -> None:
    now = [0.0]
    server = scripted({".": say(b"250 2.0.0 Ok\r\n")})

    def clock() -> float:
        now[0] += 1.0  # every look at the clock is a second later
        return now[0]

    outcomes = connect_to(server.port, timeout=100, batch_seconds=20, clock=clock).send(
        [letter(f"{n}.a") for n in range(9)]
    )
    accepted = [meaning(outcome) for outcome in outcomes].count(DONE)
    assert 1 <= accepted < 9
    assert [meaning(outcome) for outcome in outcomes] == [DONE] * accepted + [NOT_ACCEPTED] * (9 - accepted)
    assert len(server.contents) == accepted


def test_a_size_that_the_server_announces_is_kept(scripted: Serve, connect_to: Connect) -> None:
    server = scripted({"EHLO": say(b"250-scripted.test\r\n250 SIZE 5000\r\n")})
    outcomes = connect_to(server.port).send([letter("1.a", html="x" * 5000), letter("2.b")])
    assert [meaning(outcome) for outcome in outcomes] == [REFUSED, DONE]
    assert len(server.contents) == 1


def test_reasons_are_one_short_line_without_addresses(scripted: Serve, connect_to: Connect) -> None:
    text = (
        b"550-5.1.1 <anna@customer.example>: no\tsuch\x1b[31m user\r\n550-5.1.1 "
        + b"at all " * 100
        + b"\r\n550 5.1.1 anna@customer.example\r\n"
    )
    server = scripted({"RCPT": say(text)})
    (outcome,) = connect_to(server.port).send([letter()])
    assert isinstance(outcome, Permanent)
    assert outcome.reason.startswith(
        "The server refused the recipient: 550 5.1.1 <(address)>: no such [31m user 5.1.1 at all"
    )
    assert "anna" not in outcome.reason
    assert outcome.reason.isprintable()
    assert len(outcome.reason) < 400


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (b"250 2.0.0 Ok: queued as 4FJ3kL12z9\r\n", "4FJ3kL12z9"),
        (b"250 OK id=1qL2yX-0003Fk-Gf\r\n", "1qL2yX-0003Fk-Gf"),
        (b"250 Ok 0102018b2f4c9f6e-5c1d7d0e-0000-0000-0000-000000000000-000000\r\n",
         "0102018b2f4c9f6e-5c1d7d0e-0000-0000-0000-000000000000-000000"),
        (b"250 2.0.0 OK  1609459200 a1si123.123 - gsmtp\r\n", "1.a1b2c3"),
        (b"250 OK\r\n", "1.a1b2c3"),
    ],
)  # fmt: skip
def test_the_name_the_server_gives_is_kept_and_the_key_where_it_gives_none(
    scripted: Serve, connect_to: Connect, answer: bytes, name: str
) -> None:
    server = scripted({".": say(answer)})
    assert connect_to(server.port).send([letter()]) == [Accepted(name)]


PIPELINING = say(b"250-scripted.test\r\n250 PIPELINING\r\n")


@pytest.mark.parametrize("dot", [say(b"554 5.5.1 no valid recipients\r\n"), say(b"250 ok\r\n"), CLOSE, HANG])
def test_a_server_that_waits_for_a_content_without_a_recipient_gets_an_empty_one(
    scripted: Serve, connect_to: Connect, dot: Answer
) -> None:
    server = scripted({"EHLO": PIPELINING, "RCPT": [say(b"550 5.1.1 no such user\r\n")], ".": [dot]})
    outcomes = connect_to(server.port, timeout=0.5).send([letter("1.a"), letter("2.b")])
    assert [meaning(outcome) for outcome in outcomes] == [NO_SUCH_ADDRESS, DONE]
    assert server.contents[0] == b""
    assert len(server.contents) == 2


def test_nothing_is_sent_to_a_recipient_whose_sender_was_refused(scripted: Serve, connect_to: Connect) -> None:
    server = scripted({"EHLO": PIPELINING, "MAIL": [say(b"451 4.3.0 later\r\n")]})
    outcomes = connect_to(server.port).send([letter("1.a"), letter("2.b")])
    assert [meaning(outcome) for outcome in outcomes] == [NOT_ACCEPTED, DONE]
    assert len(server.contents) == 1
    assert server.contents[0] != b""


def test_answers_to_what_was_sent_together_are_not_mixed_up(scripted: Serve, connect_to: Connect) -> None:
    """One answer too many, and nothing more is believed on that connection."""
    server = scripted({"EHLO": PIPELINING, "MAIL": [say(b"250 ok\r\n250 ok\r\n")]})
    outcomes = connect_to(server.port).send([letter("1.a"), letter("2.b")])
    assert [meaning(outcome) for outcome in outcomes] == [NOT_ACCEPTED, DONE]
    assert len(server.conversations) == 2
