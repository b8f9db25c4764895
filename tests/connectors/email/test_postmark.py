"""Postmark passes the contract; each answer and each code has its outcome; a doubt ends when it is found."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from email.utils import parseaddr
from typing import Any

import pytest
from postmark.models.outbound import TrackLinksOption
from postmark.sync import ServerClient

from connectors.calling import make_client
from connectors.elapsed import Clock, elapsed
from connectors.email.postmark import Postmark
from connectors.email.postmark_payload import requests_of
from connectors.email.postmark_settings import PostmarkSettings
from evergreet.campaign import Campaign, Email, event
from evergreet.contracts import Accepted, EmailSender, Finder, Found
from evergreet.errors import Misconfigured, Permanent, Retryable
from evergreet.reconcile import Reconciled, reconcile
from evergreet.testing import Arrived, EmailConnectorContract
from models import Suppression
from tests.connectors.email.letters import letter
from tests.connectors.email.postmark_sink import PostmarkSink
from tests.connectors.email.sendgrid_wire import SILENT, Conduct, WireServer
from tests.connectors.provider_sink import Told
from tests.story import Story

TOKEN = "canary-d0nt-tell-5f1c"
UNSUBSCRIBE = {"List-Unsubscribe": "<https://mail.fernway.example/u/abc>"}
NEWS = Campaign(
    name="news", topic="orders", trigger=event("order_placed", key="order_id"), steps=(Email("hello", template="note"),)
)
At = Callable[..., Postmark]


@pytest.fixture
def sink() -> Iterator[PostmarkSink]:
    """A local Postmark; a request that breaks one of its rules fails the test."""
    with PostmarkSink(TOKEN) as running:
        yield running
    assert running.faults == []


@pytest.fixture
def at() -> Iterator[At]:
    with ExitStack() as made:

        def make(url: str, clock: Clock = elapsed, **options: Any) -> Postmark:
            values = {"server_token": TOKEN, "base_url": url, "timeout": 20, **options}
            settings = PostmarkSettings.model_validate(values)
            connector = Postmark(settings, make_client(settings.connections), clock=clock)
            made.callback(connector.close)
            return connector

        yield make


def arrival(mail: dict[str, Any]) -> Arrived:
    return Arrived(
        (parseaddr(mail["To"])[1],), mail["Subject"], mail.get("TextBody", ""), mail.get("HtmlBody", ""), "",
        {header["Name"]: header["Value"] for header in mail.get("Headers", [])},
    )  # fmt: skip


class TestPostmark(EmailConnectorContract):
    entry_point = "postmark"
    required_settings = ("EVERGREET_POSTMARK_SERVER_TOKEN",)
    secrets = (TOKEN,)
    keeps_message_id = False  # Postmark writes its own; our key comes back in the metadata

    @pytest.fixture
    def connector(self, sink: PostmarkSink, at: At) -> EmailSender:
        return at(sink.url)

    @pytest.fixture
    def arrived(self, sink: PostmarkSink) -> Callable[[], list[Arrived]]:
        return lambda: [arrival(mail) for mail in list(sink.mails)]

    @pytest.fixture
    def unreachable(self, at: At) -> Iterator[EmailSender]:
        with PostmarkSink("another") as server:
            yield at(server.url)

    @pytest.fixture
    def silent(self, at: At) -> Iterator[EmailSender]:
        with WireServer(SILENT) as server:
            yield at(server.url, timeout=0.3)


def test_five_hundred_go_in_a_request_and_each_gets_its_own_name(sink: PostmarkSink, at: At) -> None:
    """The answer to so many is longer than that of other providers."""
    batch = [replace(letter(f"{n:032x}"), row=n + 1) for n in range(501)]
    outcomes = at(sink.url).send(batch)
    assert [outcome.provider_id[-12:] for outcome in outcomes if isinstance(outcome, Accepted)] == [
        f"{n + 1:012}" for n in range(501)
    ]
    assert sink.sizes == [500, 1]
    assert sink.mails[500]["Metadata"] == {"evergreet_key": f"{500:032x}", "evergreet_row": "501"}


def test_no_request_is_larger_than_fifty_megabytes() -> None:
    contents = [(place, b"x" * 9_999_990) for place in (3, 5, 6, 8, 9, 11)]
    requests = list(requests_of(contents))
    assert [request.places for request in requests] == [(3, 5, 6, 8, 9), (11,)]
    assert max(len(request.body) for request in requests) <= 50_000_000


def test_the_stream_is_that_of_the_mail_and_nothing_is_tracked_unless_asked(sink: PostmarkSink, at: At) -> None:
    mails = [letter("a"), letter("b", headers=UNSUBSCRIBE)]
    at(sink.url).send([*mails, replace(letter("c"), topic="news")])
    assert sink.mails.pop()["MessageStream"] == "broadcast"
    options = {"open_tracking": True, "link_tracking": "HtmlOnly", "tag": "shop", "broadcast_stream": "news"}
    at(sink.url, **options).send(mails)
    told = [[mail.get(name) for name in ("MessageStream", "TrackOpens", "TrackLinks", "Tag")] for mail in sink.mails]
    assert told == [
        ["outbound", False, "None", None], ["broadcast", False, "None", None],
        ["outbound", True, "HtmlOnly", "shop"], ["news", True, "HtmlOnly", "shop"],
    ]  # fmt: skip


def test_a_key_that_is_longer_than_metadata_may_be_stays_away(sink: PostmarkSink, at: At) -> None:
    at(sink.url).send([replace(letter("k" * 81), row=7)])
    assert sink.mails[0]["Metadata"] == {"evergreet_row": "7"}
    assert at(sink.url).find(["k" * 81]) == {}
    assert sink.searches == []


CODES: list[tuple[int, str, type[Exception]]] = [
    (300, "Invalid 'To' address: 'ann@customer.example'.", Permanent),
    (300, "Invalid 'From' address: 'x'.", Misconfigured),
    (300, "Error parsing 'Reply-To': Illegal email domain '+' in address 'x@+'.", Misconfigured),
    (406, "Found inactive addresses: ann@customer.example. They generated a hard bounce.", Permanent),
    (10, "The Server Token you provided is not valid.", Misconfigured),
    (400, "The 'From' address you supplied is not a Sender Signature.", Misconfigured),
    (401, "The Sender Signature is not confirmed.", Misconfigured),
    (405, "You ran out of credits.", Misconfigured),
    (412, "Your account is pending approval.", Misconfigured),
    (413, "Your account may not send.", Misconfigured),
    (1235, "The 'MessageStream' provided does not exist on this server.", Misconfigured),
    (100, "The API is offline for maintenance.", Retryable),
    (429, "Too many requests.", Retryable),
    (77_777, "Something new.", Permanent),
]


@pytest.mark.parametrize(("code", "words", "kind"), CODES)
def test_each_code_of_one_message_has_its_outcome_and_the_others_are_accepted(
    sink: PostmarkSink, at: At, code: int, words: str, kind: type[Exception]
) -> None:
    sink.judge = lambda mail: (code, words) if mail["Metadata"]["evergreet_key"] == "b" else None
    outcomes = at(sink.url).send([letter("a"), letter("b"), letter("c")])
    assert [type(outcome) for outcome in outcomes] == [Accepted, kind, Accepted]
    assert len(sink.mails) == 2
    assert "ann@" not in str(outcomes[1])
    assert not getattr(outcomes[1], "address_invalid", False)
    assert getattr(outcomes[1], "accepted", "no") == "no"


def test_a_code_that_nobody_knows_is_our_fault_where_everybody_gets_it(sink: PostmarkSink, at: At) -> None:
    sink.judge = lambda mail: (77_777, "Something new.")
    assert {type(outcome) for outcome in at(sink.url).send([letter("a"), letter("b")])} == {Misconfigured}
    sink.judge = lambda mail: (300, "Invalid metadata content.")
    assert {type(outcome) for outcome in at(sink.url).send([letter(key) for key in "abc"])} == {Misconfigured}
    sink.judge = lambda mail: (300, f"Invalid 'To' address: '{mail['Metadata']['evergreet_key']}'.")
    assert {type(outcome) for outcome in at(sink.url).send([letter(key) for key in "abc"])} == {Permanent}
    sink.judge = lambda mail: (406, "Found inactive addresses.")
    assert {type(outcome) for outcome in at(sink.url).send([letter("a"), letter("b")])} == {Permanent}


ANSWERS: list[tuple[Told, type[Exception], str | None]] = [
    (Told(200, b"<html>"), Retryable, "maybe"),
    (Told(200, {"ErrorCode": 0, "Message": "OK"}), Retryable, "maybe"),
    (Told(200, [{"ErrorCode": 0, "MessageID": "x"}]), Retryable, "maybe"),
    (Told(200, [{"ErrorCode": 0}, {"ErrorCode": "0", "MessageID": "x"}]), Retryable, "maybe"),
    (Told(200, [5, None]), Retryable, "maybe"),
    (Told(200, [{"ErrorCode": []}, {"ErrorCode": {}}]), Retryable, "maybe"),
    (Told(500, {"ErrorCode": 0, "Message": "oops"}), Retryable, "maybe"),
    (Told(503, b"<html>gateway"), Retryable, "maybe"),
    (Told(503, {"ErrorCode": 100, "Message": "Maintenance"}), Retryable, "no"),
    (Told(429, {"ErrorCode": 429, "Message": "slow down"}, {"Retry-After": "7"}), Retryable, "no"),
    (Told(422, {"ErrorCode": 412, "Message": "pending"}), Misconfigured, None),
    (Told(422, {"ErrorCode": 300, "Message": "Invalid 'To' address"}), Permanent, None),
    (Told(422, b"?"), Permanent, None),
    (Told(413, b""), Permanent, None),
    (Told(401, {"ErrorCode": 10, "Message": "token"}), Misconfigured, None),
    (Told(403, b"<html>Forbidden"), Misconfigured, None),
    (Told(415, b""), Misconfigured, None),
    (Told(302, b"", {"location": "http://127.0.0.1:1/"}), Misconfigured, None),
]


@pytest.mark.parametrize(("told", "kind", "accepted"), ANSWERS, ids=[str(n) for n in range(len(ANSWERS))])
def test_each_answer_has_its_outcome(
    sink: PostmarkSink, at: At, told: Told, kind: type[Exception], accepted: str | None
) -> None:
    sink.instead = lambda batch: told
    for outcome in at(sink.url).send([letter("a"), letter("b")]):
        assert type(outcome) is kind
        if isinstance(outcome, Retryable):
            assert outcome.accepted == accepted
            assert outcome.retry_after == (timedelta(seconds=7) if told.status == 429 else None)


def test_what_is_refused_as_a_whole_is_asked_for_in_halves(sink: PostmarkSink, at: At) -> None:
    sink.instead = lambda batch: (
        Told(422, {"ErrorCode": 403, "Message": "a field"}) if any("bad" in mail["Subject"] for mail in batch) else None
    )
    outcomes = at(sink.url).send([letter(f"k{n}", subject="bad" if n == 5 else "good") for n in range(8)])
    assert [isinstance(outcome, Accepted) for outcome in outcomes] == [n != 5 for n in range(8)]
    assert len(sink.mails) == 7


def test_what_is_refused_as_a_whole_whoever_is_in_it_is_our_fault_and_nobody_elses(sink: PostmarkSink, at: At) -> None:
    asked: list[int] = []

    def refuse(batch: list[dict[str, Any]]) -> Told:
        asked.append(len(batch))
        return Told(422, {"ErrorCode": 77_777, "Message": "Something new."})

    sink.instead = refuse
    outcomes = at(sink.url).send([letter(f"k{n}") for n in range(40)])
    assert {type(outcome) for outcome in outcomes} == {Misconfigured}
    assert asked == [40, 1, 1, 1]


def test_after_a_minute_no_smaller_request_is_begun(sink: PostmarkSink, at: At) -> None:
    now = [0.0]

    def refuse(batch: list[dict[str, Any]]) -> Told | None:
        now[0] += 25
        return Told(422, {"ErrorCode": 403, "Message": "a field"}) if len(batch) > 1 else None

    sink.instead = refuse
    outcomes = at(sink.url, clock=lambda: now[0]).send([letter(f"k{n}") for n in range(8)])
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Accepted)] == [0, 4]
    assert {outcome.accepted for outcome in outcomes if isinstance(outcome, Retryable)} == {"no"}


@pytest.mark.parametrize(("takes", "accepted"), [(40, "no"), (None, "maybe")])
def test_a_lost_connection_is_a_doubt_only_after_the_whole_request(at: At, takes: int | None, accepted: str) -> None:
    with WireServer(Conduct(takes=takes, then="reset")) as server:
        (outcome,) = at(server.url).send([letter("k", text="x" * (8_000_000 if takes else 10))])
    assert isinstance(outcome, Retryable)
    assert outcome.accepted == accepted


def test_a_message_is_found_in_either_stream_and_what_is_not_found_stays_unknown(sink: PostmarkSink, at: At) -> None:
    connector = at(sink.url)
    assert isinstance(connector, Finder)
    connector.send([letter("k&1"), letter("k2", headers=UNSUBSCRIBE)])
    assert connector.find(["k&1", "k2", "k3"]) == {
        "k&1": Found(True, "00000000-0000-0000-0000-000000000001"),
        "k2": Found(True, "00000000-0000-0000-0000-000000000002"),
    }
    assert [asked["messagestream"] for asked in sink.searches] == ["outbound", *["outbound", "broadcast"] * 2]


def test_a_filter_that_is_not_understood_finds_nobody_else(sink: PostmarkSink, at: At) -> None:
    connector = at(sink.url)
    connector.send([letter("k1")])
    listed = {"TotalCount": 1, "Messages": [{"MessageID": "m", "Metadata": {"evergreet_key": "k1"}}, 5]}
    sink._search = lambda asked: Told(200, listed)  # type: ignore[method-assign]
    assert connector.find(["k2"]) == {}
    sink._search = lambda asked: Told(429, {"ErrorCode": 429})  # type: ignore[method-assign]
    assert connector.find(["k1"]) == {}


def test_a_check_says_what_there_is_and_what_postmark_does_by_itself(sink: PostmarkSink, at: At) -> None:
    assert at(sink.url).check() == "127.0.0.1 answers and the token is for the live server 'Shop'."
    sink.server = {"Name": "Try", "DeliveryType": "Sandbox", "TrackOpens": True}
    sink.streams["broadcast"] = {"SubscriptionManagementConfiguration": {"UnsubscribeHandlingType": "Postmark"}}
    found = at(sink.url).check()
    assert "sandbox server 'Try', so nobody gets any mail" in found
    assert "it tracks openings whatever a mail says" in found
    assert "adds unsubscribe links of its own to mails of 'broadcast'" in found
    assert "'outbound' is of the type Transactional" in at(sink.url, broadcast_stream="outbound").check()


def test_a_check_names_the_stream_that_cannot_be_used(sink: PostmarkSink, at: At) -> None:
    for stream, words in (("nowhere", "no message stream 'nowhere'"), ("inbound", "for incoming mail")):
        with pytest.raises(Misconfigured, match=rf"{words}.* EVERGREET_POSTMARK_TRANSACTIONAL_STREAM"):
            at(sink.url, transactional_stream=stream).check()
    sink.streams["broadcast"] = {"ArchivedAt": "2026-01-01T00:00:00Z"}
    with pytest.raises(Misconfigured, match="archived"):
        at(sink.url).check()
    sink.server = {"Name": 5}
    with pytest.raises(Misconfigured, match="not Postmark"):
        at(sink.url).check()


def test_their_own_package_writes_the_same_request_and_reads_the_answers(sink: PostmarkSink, at: At) -> None:
    connector = at(sink.url, tag="shop")
    connector.send([replace(letter("ab12", headers={"X-Campaign": "c", **UNSUBSCRIBE}), row=7), letter("cd34")])
    ours = list(sink.mails)
    common = {
        "sender": '"Fernway Supply" <hello@fernway.example>', "to": '"Anna Berg" <anna@customer.example>',
        "subject": "Thank you for your order", "html_body": "<p>Thank you, Anna.</p>",
        "text_body": "Thank you, Anna.", "tag": "shop", "track_opens": False, "track_links": TrackLinksOption.NONE,
    }  # fmt: skip
    headers = [{"name": name, "value": value} for name, value in {"X-Campaign": "c", **UNSUBSCRIBE}.items()]
    first = {"message_stream": "broadcast", "metadata": {"evergreet_key": "ab12", "evergreet_row": "7"}}
    second = {"message_stream": "outbound", "metadata": {"evergreet_key": "cd34"}}
    with ServerClient(TOKEN, retries=0, base_url=sink.url) as client:
        answered = client.outbound.send_batch([{**common, **first, "headers": headers}, {**common, **second}])
        assert [one.success for one in answered] == [True, True]
        theirs = [{name: value for name, value in mail.items() if value != []} for mail in sink.mails[2:]]
        assert theirs == ours
        page = client.outbound.list(count=10, metadata={"evergreet_key": "cd34"}, message_stream="outbound")
        assert [message.metadata["evergreet_key"] for message in page.items] == ["cd34", "cd34"]
        assert connector.find(["cd34"]) == {"cd34": Found(True, page.items[0].message_id)}
    assert sink.searches[0] == sink.searches[1]


def test_through_the_ledger_an_inactive_recipient_fails_unsuppressed_and_the_others_go(
    story: Story, sink: PostmarkSink, at: At
) -> None:
    sink.judge = lambda mail: (406, "Found inactive addresses.") if "c3@" in mail["To"] else None
    story.sender = at(sink.url)  # type: ignore[assignment]
    story.launch(NEWS)
    story.happened("order_placed", *story.contacts(5, consents=["orders"]))
    story.run(NEWS)
    assert story.states() == {"accepted": 4, "failed: Postmark answers 406: Found inactive addresses": 1}
    assert story.rows(Suppression) == []
    assert {mail["MessageStream"] for mail in sink.mails} == {"broadcast"}
    assert {mail["Metadata"]["evergreet_row"] for mail in sink.mails} < {str(row.id) for row in story.messages}


def test_a_doubt_ends_when_postmark_lists_the_message_and_nobody_gets_two(
    story: Story, sink: PostmarkSink, at: At
) -> None:
    """The answer is lost behind the server; the message is listed only later."""
    taken = sink._batch

    def loses(headers: dict[str, str], content: bytes) -> Told:
        taken(headers, content)
        return Told(504, b"gateway")

    sink._batch = loses  # type: ignore[method-assign]
    story.sender = at(sink.url)  # type: ignore[assignment]
    story.launch()
    story.happened("order_placed", story.contact("ana"))
    story.run()
    (state,) = story.states()
    assert re.match("unknown: Postmark answers 504", state)
    story.clock.advance(timedelta(minutes=10))
    mails, sink.mails = sink.mails, []
    assert reconcile(story.database, story.sender, story.settings, story.clock) == Reconciled({}, 1)
    sink.mails = mails
    assert reconcile(story.database, story.sender, story.settings, story.clock) == Reconciled({"found": 1}, 0)
    assert story.states() == {"accepted": 1}
    assert story.messages[0].provider_id == "00000000-0000-0000-0000-000000000001"
    story.run()
    assert sink.sizes == [1]
