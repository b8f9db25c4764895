"""Each answer of SendGrid, and each way of not answering, ends in the right outcome; nobody is asked for twice."""

import itertools
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
import pytest
import trustme

from connectors.email.sendgrid import SendGrid
from evergreet.contracts import Accepted, EmailMessage, Outcome
from evergreet.errors import Misconfigured, Permanent, Retryable
from tests.connectors.email.conftest import SENDGRID_KEY
from tests.connectors.email.letters import letter
from tests.connectors.email.sendgrid_sink import Judge, Sink, errors
from tests.connectors.email.sendgrid_wire import Conduct, WireServer
from tests.connectors.email.splits import HELLO, crowd, split_letter
from tests.connectors.provider_sink import Told

Connect = Callable[..., SendGrid]
DATE = "Tue, 10 Mar 2026 12:00:00 GMT"
DATE_SECONDS = 1773144000
INVALID = "Does not contain a valid address."


def places(body: dict[str, Any], bad: Collection[str]) -> list[int]:
    """Where in a request the bad recipients stand, by key."""
    keys = [personal["custom_args"]["evergreet_key"] for personal in body["personalizations"]]
    return [place for place, key in enumerate(keys) if key in bad]


def naming(bad: Collection[str], where: str = "to.0.email", message: str = INVALID) -> Judge:
    """Refuse a request and name every bad recipient in it."""
    return lambda body: (
        errors(*[(f"personalizations.{place}.{where}", message) for place in found])
        if (found := places(body, bad))
        else None
    )


def silent(bad: Collection[str], message: str = "Bad Request", where: str | None = None) -> Judge:
    """Refuse a request that has a bad recipient and name nobody."""
    return lambda body: errors((where, message)) if places(body, bad) else None


def answering(told: Told, _: dict[str, Any]) -> Told:
    return told


def once_each(sink: Sink, batch: list[EmailMessage], outcomes: list[Outcome]) -> None:
    """Whoever is accepted has one mail, nobody else has any."""
    accepted = [m.key for m, outcome in zip(batch, outcomes, strict=True) if isinstance(outcome, Accepted)]
    assert Counter(mail.custom_args["evergreet_key"] for mail in sink.mails) == Counter(accepted)


def kinds(outcomes: list[Outcome]) -> Counter[str]:
    return Counter(type(outcome).__name__ for outcome in outcomes)


# 400


@pytest.mark.parametrize("bad", [{"1.3"}, {"1.0", "1.99"}, {f"1.{n}" for n in range(100)}])
def test_recipients_that_are_named_fail_and_the_others_go_in_one_more_request(
    sink: Sink, sendgrid_at: Connect, bad: set[str]
) -> None:
    sink.judge = naming(bad)
    batch = crowd(100)
    outcomes = sendgrid_at(sink.url).send(batch)
    once_each(sink, batch, outcomes)
    for message, outcome in zip(batch, outcomes, strict=True):
        assert isinstance(outcome, Permanent if message.key in bad else Accepted), outcome
        assert not isinstance(outcome, Permanent) or outcome.address_invalid
    assert sink.groups == [100, 100 - len(bad)][: 2 if len(bad) < 100 else 1]


def test_what_is_wrong_with_one_but_not_with_the_address_suppresses_nobody(sink: Sink, sendgrid_at: Connect) -> None:
    sink.judge = naming({"1.1"}, "headers", "The header is not allowed, said anna@customer.example.")
    outcomes = sendgrid_at(sink.url).send(crowd(3))
    assert isinstance(outcomes[1], Permanent)
    assert not outcomes[1].address_invalid
    assert outcomes[1].reason == "SendGrid answers 400: The header is not allowed, said (address) (headers)"
    assert kinds(outcomes) == {"Accepted": 2, "Permanent": 1}


@pytest.mark.parametrize("where", ["from.email", "headers"])
def test_an_address_that_is_not_the_recipients_suppresses_nobody(sink: Sink, sendgrid_at: Connect, where: str) -> None:
    sink.judge = naming({"1.1"}, where)
    outcomes = sendgrid_at(sink.url).send(crowd(3))
    assert isinstance(outcomes[1], Permanent)
    assert not outcomes[1].address_invalid


def test_a_recipient_alone_that_is_named_fails(sink: Sink, sendgrid_at: Connect) -> None:
    sink.judge = naming({"1.a"}, "to", "The to array must have at least one email object with a valid email address.")
    (outcome,) = sendgrid_at(sink.url).send([letter("1.a")])
    assert isinstance(outcome, Permanent)
    assert outcome.address_invalid


def test_one_who_is_named_twice_is_named_once(sink: Sink, sendgrid_at: Connect) -> None:
    sink.judge = lambda body: errors(
        *[(f"personalizations.{n}.{where}", words) for n in places(body, {"1.1"})
          for where, words in (("headers", "no"), ("to.0.email", INVALID))]
    ) if places(body, {"1.1"}) else None  # fmt: skip
    outcomes = sendgrid_at(sink.url).send(crowd(3))
    assert kinds(outcomes) == {"Accepted": 2, "Permanent": 1}
    assert isinstance(outcomes[1], Permanent)
    assert outcomes[1].address_invalid


@pytest.mark.parametrize("bad", [{"1.0"}, {f"1.{n}" for n in range(0, 200, 23)}])
def test_recipients_that_are_not_named_are_found_by_halves(sink: Sink, sendgrid_at: Connect, bad: set[str]) -> None:
    sink.judge = silent(bad)
    batch = crowd(200)
    outcomes = sendgrid_at(sink.url).send(batch)
    once_each(sink, batch, outcomes)
    for message, outcome in zip(batch, outcomes, strict=True):
        assert isinstance(outcome, Permanent if message.key in bad else Accepted), outcome
        assert not isinstance(outcome, Permanent) or not outcome.address_invalid
    assert len(sink.bodies) <= 4 + 2 * 8 * len(bad)


def test_a_refusal_that_names_nobody_and_meets_everybody_is_our_fault_after_four_requests(
    sink: Sink, sendgrid_at: Connect
) -> None:
    sink.judge = lambda body: errors((None, "Your account is not allowed to do that"))
    outcomes = sendgrid_at(sink.url).send([*crowd(500), letter("2.a")])
    assert kinds(outcomes) == {"Misconfigured": 501}
    assert sink.groups == [500, 1, 1, 1]
    assert "Your account is not allowed to do that" in str(outcomes[0])


@pytest.mark.parametrize("field", ["from", "from.email", "reply_to.email", "content", "subject", "tracking_settings"])
def test_what_is_wrong_for_everybody_is_our_fault_at_once(sink: Sink, sendgrid_at: Connect, field: str) -> None:
    sink.judge = lambda body: errors((field, "Not like that."))
    outcomes = sendgrid_at(sink.url).send([*crowd(50), letter("2.a")])
    assert kinds(outcomes) == {"Misconfigured": 51}
    assert sink.groups == [50]
    assert str(outcomes[0]).startswith(f"SendGrid answers 400: Not like that ({field})")


@pytest.mark.parametrize("field", ["send_at", "custom_args"])
def test_what_holds_nothing_of_a_recipients_own_is_our_fault_whoever_is_named(
    sink: Sink, sendgrid_at: Connect, field: str
) -> None:
    sink.judge = naming({"1.3"}, field, "Scheduling more than 72 hours in advance is forbidden.")
    outcomes = sendgrid_at(sink.url).send([*crowd(10), letter("2.a")])
    assert kinds(outcomes) == {"Misconfigured": 11}
    assert sink.groups == [10]


@pytest.mark.parametrize("named", ["everybody", "the first"])
def test_a_refusal_that_names_people_for_what_they_share_is_our_fault(
    sink: Sink, sendgrid_at: Connect, named: str
) -> None:
    everybody = {message.key for message in crowd(500)}
    words = "Header cannot be one of the reserved keys."
    sink.judge = (
        naming(everybody, "headers", words)
        if named == "everybody"
        else lambda body: errors(("personalizations.0.headers", words))
    )
    outcomes = sendgrid_at(sink.url).send([*crowd(500), letter("2.a")])
    assert kinds(outcomes) == {"Misconfigured": 501}
    assert sink.groups == ([500] if named == "everybody" else [500, 1, 1, 1])
    assert str(outcomes[0]).startswith(f"SendGrid answers 400: {words[:-1]} (headers). It says so of ")


def test_a_refusal_that_names_one_for_what_is_not_shared_is_theirs(sink: Sink, sendgrid_at: Connect) -> None:
    sink.judge = naming({"1.7", "1.70"}, "headers", "The header is not allowed.")
    batch = crowd(100)
    outcomes = sendgrid_at(sink.url).send(batch)
    assert kinds(outcomes) == {"Accepted": 98, "Permanent": 2}
    assert isinstance(outcomes[70], Permanent)
    once_each(sink, batch, outcomes)
    assert sink.groups == [100, 1, 1, 1, 95]


@pytest.mark.parametrize("where", ["personalizations.{}.substitutions", None])
def test_whose_substitutions_are_refused_goes_alone_with_the_whole_content(
    sink: Sink, sendgrid_at: Connect, where: str | None
) -> None:
    def counted_otherwise(body: dict[str, Any]) -> Told | None:
        words = "Substitutions are limited to 10000 bytes per personalization block."
        long = [place for place in places(body, {"1.3", "1.8"}) if body["personalizations"][place].get("substitutions")]
        return errors(*[(where and where.format(place), words) for place in long]) if long else None

    sink.judge = counted_otherwise
    batch = crowd(20)
    outcomes = sendgrid_at(sink.url).send(batch)
    assert kinds(outcomes) == {"Accepted": 20}
    once_each(sink, batch, outcomes)
    got = {mail.custom_args["evergreet_key"]: mail for mail in sink.mails}
    assert [(got[m.key].subject, got[m.key].html, got[m.key].text) for m in batch] == [
        (m.subject, m.html, m.text) for m in batch
    ]
    if where:
        assert sink.groups == [20, 18, 1, 1]


def test_a_refusal_that_names_a_thousand_is_read_to_its_end(sink: Sink, sendgrid_at: Connect) -> None:
    bad = {f"1.{n}" for n in range(1000) if n % 10}
    sink.judge = naming(bad, message=f"{INVALID} {'See the reference of errors. ' * 8}")
    outcomes = sendgrid_at(sink.url).send(crowd(1000))
    assert kinds(outcomes) == {"Accepted": 100, "Permanent": 900}
    assert sink.groups == [1000, 100]


def test_the_content_of_one_message_alone_is_no_fault_of_ours(sink: Sink, sendgrid_at: Connect) -> None:
    sink.judge = silent({"1.a"}, "Bad content.", "content.0.value")
    outcomes = sendgrid_at(sink.url).send([letter("1.a"), letter("1.b")])
    assert kinds(outcomes) == {"Permanent": 1, "Accepted": 1}


def test_addresses_that_sendgrid_holds_for_the_same_are_found_by_halves(sink: Sink, sendgrid_at: Connect) -> None:
    def same(body: dict[str, Any]) -> Told | None:
        plain = [personal["to"][0]["email"].replace(".", "") for personal in body["personalizations"]]
        return (
            errors(("personalizations", "You have included a@b.co more than once."))
            if len(plain) > len(set(plain))
            else None
        )

    sink.judge = same
    twins = [split_letter(HELLO, ("A", "1"), f"2.{n}", f"{'an.na' if n else 'anna'}@gmail.example") for n in range(2)]
    batch = [twins[0], *crowd(20), twins[1]]
    outcomes = sendgrid_at(sink.url).send(batch)
    assert kinds(outcomes) == {"Accepted": 22}
    once_each(sink, batch, outcomes)


def test_too_many_refusals_end_the_batch_and_nobody_is_lost(
    sink: Sink, sendgrid_at: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.brake.MOST_REFUSALS", 20)
    sink.judge = lambda body: errors(("personalizations.0.to.0.email", INVALID))
    outcomes = sendgrid_at(sink.url).send(crowd(30))
    assert kinds(outcomes) == {"Permanent": 20, "Retryable": 10}
    assert all(outcome.accepted == "no" for outcome in outcomes if isinstance(outcome, Retryable))
    assert len(sink.bodies) == 20


@pytest.mark.parametrize(
    "content", [b"", b"<html>Bad Request</html>", b"[]", b'{"errors": "x"}', b'{"errors": [1, {"field": 7}]}', b"\xff{"]
)
def test_a_refusal_without_sense_is_about_the_message_when_it_is_alone(
    sink: Sink, sendgrid_at: Connect, content: bytes
) -> None:
    sink.judge = lambda body: Told(400, content)
    (outcome,) = sendgrid_at(sink.url).send([letter()])
    assert isinstance(outcome, Permanent)
    assert not outcome.address_invalid


@pytest.mark.parametrize(
    "field",
    ["personalizations.7.to", "personalizations.x", "personalizations[9].to", f"personalizations.{'1' * 5000}.to"],
)
def test_a_place_that_is_not_in_the_request_is_nobody(sink: Sink, sendgrid_at: Connect, field: str) -> None:
    sink.judge = silent({"1.1"}, INVALID, field)
    outcomes = sendgrid_at(sink.url).send(crowd(4))
    assert kinds(outcomes) == {"Accepted": 3, "Permanent": 1}


# Other answers


@pytest.mark.parametrize("status", [401, 403, 301, 307, 404, 405, 406, 415, 422])
def test_what_a_person_must_mend_ends_the_batch(sink: Sink, sendgrid_at: Connect, status: int) -> None:
    sink.judge = lambda body: errors((None, "access forbidden"), status=status, Location="/v3/elsewhere")
    outcomes = sendgrid_at(sink.url).send([*crowd(10), letter("2.a")])
    assert kinds(outcomes) == {"Misconfigured": 11}
    assert str(status) in str(outcomes[0])
    assert "EVERGREET_SENDGRID_" in str(outcomes[0]) or status == 403
    assert len(sink.headers) == 1, "a redirect is not followed"


def test_a_request_that_is_too_large_is_halved(sink: Sink, sendgrid_at: Connect) -> None:
    sink.judge = lambda body: (
        errors((None, "content too large"), status=413) if len(body["personalizations"]) > 30 else None
    )
    batch = crowd(100)
    outcomes = sendgrid_at(sink.url).send(batch)
    assert kinds(outcomes) == {"Accepted": 100}
    once_each(sink, batch, outcomes)
    assert sorted(sink.groups) == [25, 25, 25, 25, 50, 50, 100]


def test_a_message_that_is_too_large_by_itself_fails(sink: Sink, sendgrid_at: Connect) -> None:
    sink.judge = lambda body: errors((None, "content too large"), status=413)
    outcomes = sendgrid_at(sink.url).send(crowd(2))
    assert kinds(outcomes) == {"Permanent": 2}
    assert "413" in str(outcomes[0])


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"Date": DATE, "X-RateLimit-Reset": str(DATE_SECONDS + 42)}, timedelta(seconds=42)),
        ({"Date": DATE, "X-RateLimit-Reset": str(DATE_SECONDS - 5)}, timedelta(seconds=1)),
        ({"Date": DATE, "X-RateLimit-Reset": str(DATE_SECONDS * 1000)}, None),
        ({"Date": DATE, "X-RateLimit-Reset": "soon", "Retry-After": "7"}, timedelta(seconds=7)),
        ({"Date": "never", "X-RateLimit-Reset": str(DATE_SECONDS)}, None),
        ({"Date": DATE, "X-RateLimit-Reset": "nan"}, None),
        ({"Date": DATE, "Retry-After": "7"}, timedelta(seconds=7)),
        ({"Date": DATE, "Retry-After": DATE}, None),
        ({}, None),
    ],
)
def test_a_limit_says_when_to_come_again(
    sendgrid_at: Connect, headers: dict[str, str], pause: timedelta | None
) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    said = f"HTTP/1.1 429 TOO MANY REQUESTS\r\n{lines}Content-Length: 0\r\nConnection: close\r\n\r\n".encode()
    with WireServer(Conduct(said)) as server:
        outcomes = sendgrid_at(server.url).send([*crowd(10), letter("2.a")])
        assert server.connections == 1, "what was not begun waits as well"
    for outcome in outcomes:
        assert isinstance(outcome, Retryable)
        assert (outcome.accepted, outcome.retry_after) == ("no", pause)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 200, 201, 599])
def test_an_answer_that_leaves_a_doubt_leaves_it_for_that_request_only(
    sink: Sink, sendgrid_at: Connect, status: int
) -> None:
    sink.judge = lambda body: errors((None, "internal server error"), status=status)
    outcomes = sendgrid_at(sink.url).send([*crowd(10), letter("2.a"), letter("2.b")])
    assert [(type(o), getattr(o, "accepted", "")) for o in outcomes] == [
        *[(Retryable, "maybe")] * 10, *[(Retryable, "no")] * 2,
    ]  # fmt: skip
    assert sink.groups == [10]


def test_a_request_that_timed_out_at_sendgrid_was_not_taken(sink: Sink, sendgrid_at: Connect) -> None:
    sink.judge = lambda body: errors((None, "request timeout"), status=408)
    (outcome,) = sendgrid_at(sink.url).send([letter()])
    assert isinstance(outcome, Retryable)
    assert outcome.accepted == "no"


def test_a_mail_that_is_taken_in_spite_of_the_sandbox_has_its_name(sink: Sink, sendgrid_at: Connect) -> None:
    sink.judge = lambda body: Told(202, b"", {"X-Message-Id": "real"})
    assert sendgrid_at(sink.url, sandbox=True).send([letter()]) == [Accepted("real")]


def test_a_mail_that_got_no_name_is_known_by_its_key(sink: Sink, sendgrid_at: Connect) -> None:
    sink.judge = lambda body: Told(202)
    assert sendgrid_at(sink.url).send([letter("1.a")]) == [Accepted("1.a")]


def test_reasons_hold_neither_addresses_nor_the_key(sink: Sink, sendgrid_at: Connect) -> None:
    for status in (400, 401, 403, 404, 413, 429, 500):
        for field in (None, "from", "personalizations.0.to", "personalizations.0.headers"):
            words = f"{'x' * 290} {SENDGRID_KEY} <anna@customer.example>\nis wrong"
            refusal = errors((field, words), status=status)
            sink.judge = partial(answering, refusal)
            for outcome in sendgrid_at(sink.url).send([letter()]):
                assert not isinstance(outcome, Accepted)
                told = f"{outcome} {outcome!r} {outcome.__dict__}"
                assert SENDGRID_KEY[:6] not in told
                assert "customer.example" not in told
                assert "\n" not in str(outcome)
                assert (outcome.__traceback__, outcome.__context__) == (None, None)


# No answer

LARGE = 24_000_000
"""Octets: more than all buffers between two sockets of this machine take in."""
TOOK = b"HTTP/1.1 202 Accepted\r\nX-Message-Id: 7\r\nContent-Length: 100\r\n\r\n"


def large() -> EmailMessage:
    return replace(letter(), html="x" * LARGE)


def test_nobody_listens(sendgrid_at: Connect) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    outcomes = sendgrid_at(f"http://127.0.0.1:{port}").send([*crowd(3), letter("2.a")])
    assert kinds(outcomes) == {"Retryable": 4}
    assert {outcome.accepted for outcome in outcomes if isinstance(outcome, Retryable)} == {"no"}


def test_there_is_no_such_server(sendgrid_at: Connect) -> None:
    (outcome,) = sendgrid_at("https://sendgrid.invalid").send([letter()])
    assert isinstance(outcome, Retryable)
    assert outcome.accepted == "no"


def test_a_server_that_is_never_reached(sendgrid_at: Connect) -> None:
    def unreachable(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("timed out", request=request)

    client = httpx.Client(transport=httpx.MockTransport(unreachable))
    (outcome,) = sendgrid_at("http://127.0.0.1", client=client).send([letter()])
    assert isinstance(outcome, Retryable)
    assert outcome.accepted == "no"


def test_a_transport_that_tells_nothing_leaves_a_doubt(sendgrid_at: Connect) -> None:
    def breaks(request: httpx.Request) -> httpx.Response:
        raise httpx.WriteError("broken pipe", request=request)

    client = httpx.Client(transport=httpx.MockTransport(breaks))
    (outcome,) = sendgrid_at("http://127.0.0.1", client=client).send([letter()])
    assert isinstance(outcome, Retryable)
    assert outcome.accepted == "maybe"


def test_a_server_that_speaks_no_tls_gets_nothing(sendgrid_at: Connect) -> None:
    with WireServer(Conduct(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        (outcome,) = sendgrid_at(server.url.replace("http:", "https:"), timeout=2, connect_timeout=2).send([letter()])
        assert isinstance(outcome, Retryable)
        assert outcome.accepted == "no"
        assert server.complete == 0


def test_a_certificate_that_nobody_vouches_for_is_our_fault(authority: trustme.CA, sendgrid_at: Connect) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with Sink(SENDGRID_KEY) as sink:
        sink.socket = context.wrap_socket(sink.socket, server_side=True)
        sink.handle_error = lambda *_: None  # type: ignore[method-assign]
        connector = sendgrid_at(sink.url.replace("http://127.0.0.1", "https://localhost"))
        (outcome,) = connector.send([letter()])
        assert isinstance(outcome, Misconfigured)
        assert "cannot be trusted" in outcome.reason
        with pytest.raises(Misconfigured, match="cannot be trusted"):
            connector.check()
        assert sink.headers == []


@pytest.mark.parametrize(
    ("conduct", "accepted"),
    [
        pytest.param(Conduct(takes=0, then="wait"), "no", id="time-out in the body"),
        pytest.param(Conduct(takes=1_000_000, then="reset"), "no", id="reset in the body"),
        pytest.param(Conduct(takes=1_000_000, then="close"), "no", id="closed in the body"),
        pytest.param(Conduct(then="wait"), "maybe", id="time-out after the body"),
        pytest.param(Conduct(then="reset"), "maybe", id="reset after the body"),
        pytest.param(Conduct(then="close"), "maybe", id="closed after the body"),
        pytest.param(Conduct(b"220 hello\r\n"), "maybe", id="no HTTP"),
        pytest.param(Conduct(TOOK[:30]), "maybe", id="lost in the headers of the 202"),
        pytest.param(Conduct(TOOK[:30], then="wait"), "maybe", id="time-out in the headers of the 202"),
        pytest.param(Conduct(b"HTTP/1.1 100 Continue\r\n\r\n"), "maybe", id="lost after a 100"),
    ],
)
def test_whether_a_request_may_have_been_taken_depends_on_who_had_all_of_it(
    sendgrid_at: Connect, conduct: Conduct, accepted: str
) -> None:
    with WireServer(conduct) as server:
        first, second = sendgrid_at(server.url, timeout=2).send([large(), letter("2.a")])
        assert isinstance(first, Retryable), first
        assert first.accepted == accepted, first
        assert isinstance(second, Retryable), second
        assert second.accepted == "no"
        assert server.connections == 1, "nothing is repeated, nor begun after a doubt"
        assert server.complete == (accepted == "maybe")


@pytest.mark.parametrize("then", ["close", "reset", "wait"])
def test_a_connection_lost_after_the_202_does_not_undo_it(sendgrid_at: Connect, then: Any) -> None:
    with WireServer(Conduct(TOOK, then=then)) as server:
        assert sendgrid_at(server.url, timeout=1).send(crowd(3)) == [Accepted("7")] * 3


def test_a_connection_lost_after_a_400_is_still_a_refusal(sendgrid_at: Connect) -> None:
    with WireServer(Conduct(b'HTTP/1.1 400 Bad\r\nContent-Length: 100\r\n\r\n{"errors": [')) as server:
        (outcome,) = sendgrid_at(server.url).send([letter()])
    assert isinstance(outcome, Permanent)


def test_an_answer_without_end_is_not_read_to_its_end(sendgrid_at: Connect) -> None:
    said = b"HTTP/1.1 401 No\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 9_000_000
    with WireServer(Conduct(said)) as server:
        (outcome,) = sendgrid_at(server.url).send([letter()])
    assert isinstance(outcome, Misconfigured)


def test_a_batch_that_takes_too_long_is_given_back(sink: Sink, sendgrid_at: Connect) -> None:
    clock = itertools.count()
    connector = sendgrid_at(sink.url, batch_seconds=5, clock=lambda: float(next(clock)))
    outcomes = connector.send([letter(f"1.{n}") for n in range(20)])
    went = [isinstance(outcome, Accepted) for outcome in outcomes]
    assert went == sorted(went, reverse=True)
    assert 0 < sum(went) < 20
    assert len(sink.mails) == sum(went)
    assert all(outcome.accepted == "no" for outcome in outcomes if isinstance(outcome, Retryable))


def test_a_batch_that_finds_no_free_connection_is_given_back(sendgrid_at: Connect) -> None:
    def busy(request: httpx.Request) -> httpx.Response:
        raise httpx.PoolTimeout("", request=request)

    client = httpx.Client(transport=httpx.MockTransport(busy))
    (outcome,) = sendgrid_at("http://127.0.0.1", client=client).send([letter()])
    assert isinstance(outcome, Retryable)
    assert outcome.reason == "All connections to SendGrid are in use."
    assert outcome.accepted == "no"


# The check


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (Told(200, {"scopes": ["alerts.read"]}), "Mail Send"),
        (Told(200, b"<html>welcome</html>"), "not SendGrid"),
        (Told(401, {"errors": [{"message": "expired"}]}), "EVERGREET_SENDGRID_API_KEY"),
        (Told(403, {"errors": [{"message": "access forbidden"}]}), "Mail Send"),
        (Told(404), "EVERGREET_SENDGRID_BASE_URL"),
        (Told(302, b"", {"Location": "https://elsewhere.example"}), "EVERGREET_SENDGRID_BASE_URL"),
    ],
)
def test_the_check_says_what_a_person_must_mend(sink: Sink, sendgrid_at: Connect, told: Told, words: str) -> None:
    sink.scopes = told
    with pytest.raises(Misconfigured, match=words):
        sendgrid_at(sink.url).check()
    assert sink.bodies == []


def test_the_check_looks_at_the_key_of_the_event_webhook_where_it_is_set(sink: Sink, sendgrid_at: Connect) -> None:
    with pytest.raises(Misconfigured, match="EVERGREET_SENDGRID_VERIFICATION_KEY is not a public key") as refused:
        sendgrid_at(sink.url, verification_key="MFkwEwYHKoZIzj0C").check()
    assert "MFkwEwYH" not in str(refused.value)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_the_check_says_what_passes(sink: Sink, sendgrid_at: Connect, status: int) -> None:
    sink.scopes = Told(status)
    with pytest.raises(Retryable, match=str(status)):
        sendgrid_at(sink.url).check()
