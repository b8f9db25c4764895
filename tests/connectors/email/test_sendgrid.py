"""SendGrid passes the contract, and what it is asked to send is what its own SDK would ask."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from connectors.email.sendgrid import SendGrid
from connectors.email.sendgrid_settings import SendGridSettings
from evergreet.cli import app
from evergreet.contracts import Accepted, EmailSender, Mailbox
from evergreet.errors import Misconfigured, Permanent
from evergreet.testing import Arrived, EmailConnectorContract
from tests.connectors.email.conftest import SENDGRID_KEY
from tests.connectors.email.letters import letter
from tests.connectors.email.sendgrid_sink import Mail, Sink
from tests.connectors.email.sendgrid_wire import SILENT, WireServer
from tests.connectors.email.splits import HELLO, crowd, split_letter

Connect = Callable[..., SendGrid]


def arrival(mail: Mail) -> Arrived:
    """A mail as its reader has it: white space around a subject is no part of it (RFC 5322 §2.2)."""
    return Arrived((mail.address,), mail.subject.strip(), mail.text, mail.html, f"<{mail.message_id}>", mail.headers)


class TestSendGrid(EmailConnectorContract):
    entry_point = "sendgrid"
    required_settings = ("EVERGREET_SENDGRID_API_KEY",)
    secrets = (SENDGRID_KEY,)
    keeps_message_id = False  # SendGrid writes its own; ours comes back as a custom argument

    @pytest.fixture
    def connector(self, sink: Sink, sendgrid_at: Connect) -> EmailSender:
        return sendgrid_at(sink.url)

    @pytest.fixture
    def arrived(self, sink: Sink) -> Callable[[], list[Arrived]]:
        return lambda: [arrival(mail) for mail in list(sink.mails)]

    @pytest.fixture
    def unreachable(self, sendgrid_at: Connect) -> Iterator[EmailSender]:
        with Sink("another") as server:
            yield sendgrid_at(server.url)

    @pytest.fixture
    def silent(self, sendgrid_at: Connect) -> Iterator[EmailSender]:
        with WireServer(SILENT) as server:
            yield sendgrid_at(server.url, timeout=0.3)


# One request


def test_people_of_one_skeleton_travel_in_one_request(sink: Sink, sendgrid_at: Connect) -> None:
    batch = crowd(1000)
    outcomes = sendgrid_at(sink.url).send(batch)
    assert outcomes == [Accepted("sg-1")] * 1000
    assert sink.groups == [1000]
    for message, mail in zip(batch, sink.mails, strict=True):
        assert (mail.subject, mail.html, mail.text) == (message.subject, message.html, message.text)
        assert (mail.address, mail.custom_args) == (message.to.address, {"evergreet_key": message.key})


def test_more_than_a_thousand_travel_in_several(sink: Sink, sendgrid_at: Connect) -> None:
    assert len(sendgrid_at(sink.url).send(crowd(2001))) == 2001
    assert sink.groups == [1000, 1000, 1]
    assert len({mail.address for mail in sink.mails}) == 2001


def test_skeletons_senders_and_reply_addresses_are_not_mixed(sink: Sink, sendgrid_at: Connect) -> None:
    other = replace(HELLO, key="other", subject=("Bye ", 0))
    messages = [
        *crowd(3),
        *[replace(m, key=f"2{m.key}", sender=Mailbox("bills@fernway.example")) for m in crowd(2)],
        *[replace(m, key=f"3{m.key}", reply_to=Mailbox("answers@fernway.example")) for m in crowd(2)],
        *crowd(4, other),
    ]
    sendgrid_at(sink.url).send(messages)
    assert sorted(sink.groups) == [2, 2, 3, 4]
    got = {mail.custom_args["evergreet_key"] + mail.subject: mail for mail in sink.mails}
    for message in messages:
        mail = got[message.key + message.subject]
        assert mail.sender == message.sender.address
        assert mail.reply_to == (message.reply_to.address if message.reply_to else None)


def test_an_address_stands_once_in_a_request_however_it_is_written(sink: Sink, sendgrid_at: Connect) -> None:
    addresses = ["anna@customer.example", "ANNA@customer.example", "bo@straße.example", "Bo@xn--strae-oqa.example"]
    batch = [split_letter(HELLO, (f"P{n}", "1"), f"1.{n}", address) for n, address in enumerate([*addresses] * 2)]
    assert all(isinstance(outcome, Accepted) for outcome in sendgrid_at(sink.url).send(batch))
    assert sink.groups == [2, 2, 2, 2]
    assert sorted(mail.custom_args["evergreet_key"] for mail in sink.mails) == [f"1.{n}" for n in range(8)]


def test_a_message_that_cannot_be_split_goes_alone_with_its_whole_content(sink: Sink, sendgrid_at: Connect) -> None:
    batch = [*crowd(2), letter("2.a"), letter("2.b", to=Mailbox("bo@customer.example"))]
    sendgrid_at(sink.url).send(batch)
    assert sink.groups == [2, 1, 1]
    assert "substitutions" not in sink.bodies[1]["personalizations"][0]
    assert sink.bodies[1]["content"][1] == {"type": "text/html", "value": "<p>Thank you, Anna.</p>"}


def test_a_message_alone_of_its_skeleton_needs_no_substitutions(sink: Sink, sendgrid_at: Connect) -> None:
    sendgrid_at(sink.url).send(crowd(1))
    assert "substitutions" not in sink.bodies[0]["personalizations"][0]
    assert sink.mails[0].subject == "Hello Person 0"


def test_whose_subject_comes_out_empty_goes_alone_with_a_space(sink: Sink, sendgrid_at: Connect) -> None:
    bare = replace(HELLO, key="bare", subject=(0,))
    batch = [split_letter(bare, (name, "1"), f"1.{n}") for n, name in enumerate(["Anna", "", "Bo"])]
    sendgrid_at(sink.url).send(batch)
    assert sink.groups == [2, 1]
    assert [mail.subject for mail in sink.mails] == ["Anna", "Bo", " "]


@pytest.mark.parametrize("limit", [10_000, 300])
def test_what_differs_too_much_goes_alone(sink: Sink, sendgrid_at: Connect, limit: int) -> None:
    large = split_letter(HELLO, ("ä" * (limit // 2), "1"), "2.a")
    batch = [*crowd(2), large]
    sendgrid_at(sink.url, substitution_bytes=limit).send(batch)
    assert sink.groups == [2, 1]
    assert sink.mails[2].html == large.html


def test_a_request_stays_below_the_largest_that_is_taken(
    sink: Sink, sendgrid_at: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.email.sendgrid_payload.MOST_BYTES", 30_000)
    batch = [replace(message, headers={"X-Data": "d" * 900}) for message in crowd(100)]
    sendgrid_at(sink.url).send(batch)
    assert sink.groups == [25, 25, 25, 25]
    assert all(int(headers["content-length"]) < 30_000 for headers in sink.headers)
    assert [mail.html for mail in sink.mails] == [message.html for message in batch]


def test_a_slot_that_has_no_value_or_a_skeleton_that_cannot_be_used_does_no_harm(
    sink: Sink, sendgrid_at: Connect
) -> None:
    odd = [
        replace(HELLO, key="few", slots=3), replace(HELLO, key="none", slots=1),
        replace(HELLO, key="minus", text=(-1,)), replace(HELLO, key="half", html=("\ud800", 0)),
    ]  # fmt: skip
    batch = [
        replace(message, key=f"{n}{message.key}", html="<p>whole</p>", text="whole")
        for n, skeleton in enumerate(odd)
        for message in [split_letter(HELLO, ("A", "B"), key) for key in ("1.a", "1.b")]
        for message in [replace(message, split=replace(message.split, skeleton=skeleton))]  # type: ignore[type-var]
    ]
    assert all(isinstance(outcome, Accepted) for outcome in sendgrid_at(sink.url).send(batch))
    assert sink.groups == [1] * 8
    assert {mail.html for mail in sink.mails} == {"<p>whole</p>"}


def test_half_a_character_is_refused_for_that_message_alone(sink: Sink, sendgrid_at: Connect) -> None:
    bad = split_letter(HELLO, ("\ud800", "1"), "2.a", "c@customer.example")
    lone = replace(letter("2.b"), html="\udfff")
    name = replace(letter("2.c"), to=Mailbox("\ud800@customer.example"))
    outcomes = sendgrid_at(sink.url).send([*crowd(2), bad, lone, name])
    assert [type(outcome) for outcome in outcomes] == [Accepted, Accepted, Permanent, Permanent, Permanent]


def test_names_are_cleared_of_what_sendgrid_does_not_take(sink: Sink, sendgrid_at: Connect) -> None:
    message = letter(to=Mailbox("b@c.example", "Berg; Anna, <b@evil.example>"), sender=Mailbox("a@b.co", "Fern, Inc."))
    sendgrid_at(sink.url).send([replace(message, to=Mailbox("b@c.example", " ,; ")), message])
    assert [mail.name for mail in sink.mails] == ["", "Berg Anna b@evil.example"]
    assert sink.bodies[0]["from"] == {"email": "a@b.co", "name": "Fern Inc."}
    assert sink.bodies[0]["personalizations"][0]["to"] == [{"email": "b@c.example"}]


@pytest.mark.parametrize("name", ["X-SG-ID", "x-sg-eid", "Received", "DKIM-Signature", "Cc", "Message-ID", "Bad Name"])
def test_a_reserved_header_is_refused(sink: Sink, sendgrid_at: Connect, name: str) -> None:
    (outcome,) = sendgrid_at(sink.url).send([letter(headers={name: "x"})])
    assert isinstance(outcome, Permanent)
    assert sink.bodies == []


def test_a_mailbox_that_is_not_ascii_is_refused_and_a_domain_is_written_in_punycode(
    sink: Sink, sendgrid_at: Connect
) -> None:
    batch = [letter(to=Mailbox("jürgen@customer.example")), letter(to=Mailbox("anna@bücher.example"))]
    refused, accepted = sendgrid_at(sink.url).send(batch)
    assert isinstance(refused, Permanent)
    assert not refused.address_invalid
    assert isinstance(accepted, Accepted)
    assert sink.mails[0].address == "anna@xn--bcher-kva.example"


def test_a_sender_that_is_none_is_our_fault(sink: Sink, sendgrid_at: Connect) -> None:
    (outcome,) = sendgrid_at(sink.url).send([letter(sender=Mailbox("nobody"))])
    assert isinstance(outcome, Misconfigured)
    assert sink.bodies == []


def test_the_text_comes_first_and_an_empty_part_is_left_out(sink: Sink, sendgrid_at: Connect) -> None:
    sendgrid_at(sink.url).send([letter("1.a"), letter("1.b", text=""), letter("1.c", html="", text="", subject="")])
    assert [[part["type"] for part in body["content"]] for body in sink.bodies] == [
        ["text/plain", "text/html"], ["text/html"], ["text/plain"],
    ]  # fmt: skip
    assert (sink.bodies[2]["subject"], sink.bodies[2]["content"][0]["value"]) == (" ", " ")


def test_a_marketing_message_carries_the_group_of_its_topic_and_no_request_mixes_two(
    sink: Sink, sendgrid_at: Connect
) -> None:
    many = {f"topic-{n}": 100 + n for n in range(30)}
    topics = ["topic-1", "topic-28", "without-group", ""] * 3
    batch = [replace(message, topic=topic) for message, topic in zip(crowd(12), topics, strict=True)]
    alone = replace(letter("2.a"), topic="topic-1")
    sendgrid_at(sink.url, groups=many).send([*batch, alone])
    assert sorted(sink.groups) == [1, 3, 3, 3, 3]
    by_key = {mail.custom_args["evergreet_key"]: mail.group for mail in sink.mails}
    assert by_key == {message.key: many.get(message.topic) for message in [*batch, alone]}
    shown = [body["asm"]["groups_to_display"] for body in sink.bodies if "asm" in body]
    assert [(groups[0], len(set(groups)), len(groups)) for groups in shown] == [
        (101, 25, 25),
        (128, 25, 25),
        (101, 25, 25),
    ]


def test_a_burst_is_spread_for_marketing_alone_and_the_same_each_time(sink: Sink, sendgrid_at: Connect) -> None:
    batch = [replace(message, topic="news" if n % 2 else "") for n, message in enumerate(crowd(200))]
    connector = sendgrid_at(sink.url, spread_seconds=600)
    connector.send(batch)
    connector.send([*batch[:2], replace(letter("2.a"), topic="news")])
    held = {mail.custom_args["evergreet_key"]: mail.send_at for mail in sink.mails[:200]}
    assert {held[message.key] for message in batch if not message.topic} == {None}
    begins = int(letter().date.timestamp())
    offsets = sorted(at - begins for at in held.values() if at is not None)
    assert len(offsets) == 100
    assert 0 <= offsets[0] < 100
    assert 500 < offsets[-1] <= 600
    again = {mail.custom_args["evergreet_key"]: mail.send_at for mail in sink.mails[200:]}
    assert again.pop("2.a") is not None
    assert again == {key: held[key] for key in again}


# Settings, sandbox, check


def test_in_the_sandbox_nothing_reaches_anybody(sink: Sink, sendgrid_at: Connect) -> None:
    connector = sendgrid_at(sink.url, sandbox=True)
    assert connector.send(crowd(2)) == [Accepted("sandbox:1.0"), Accepted("sandbox:1.1")]
    assert sink.mails == []
    assert len(sink.looked_at) == 2
    assert connector.check() == "127.0.0.1 answers and the key may send mail; sandbox mode is on, so nobody gets any."


def test_tracking_is_off_unless_asked_for(sink: Sink, sendgrid_at: Connect) -> None:
    sendgrid_at(sink.url).send([letter()])
    sendgrid_at(sink.url, click_tracking=True, open_tracking=True).send([letter()])
    quiet, tracked = (body["tracking_settings"] for body in sink.bodies)
    assert quiet == {
        "click_tracking": {"enable": False, "enable_text": False}, "open_tracking": {"enable": False},
        "subscription_tracking": {"enable": False}, "ganalytics": {"enable": False},
    }  # fmt: skip
    assert tracked["click_tracking"] == {"enable": True, "enable_text": True}
    assert tracked["open_tracking"] == {"enable": True}
    assert "mail_settings" not in sink.bodies[0]


def test_the_key_travels_in_its_header_only(sink: Sink, sendgrid_at: Connect) -> None:
    connector = sendgrid_at(sink.url)
    connector.send([letter()])
    assert sink.headers[0]["authorization"] == f"Bearer {SENDGRID_KEY}"
    assert sink.headers[0]["content-type"] == "application/json"
    assert SENDGRID_KEY not in f"{sink.bodies} {connector!r} {vars(connector)} {connector._client.headers}"


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("BASE_URL", "http://api.sendgrid.com", "plain text"),
        ("BASE_URL", "https://api.sendgrid.com/v3", "without a path"),
        ("BASE_URL", "https://user:pass@api.sendgrid.com", "without a path"),
        ("BASE_URL", "api.sendgrid.com", "https://"),
        ("API_KEY", "two words", "ASCII"),
        ("API_KEY", f"{SENDGRID_KEY}\n", "ASCII"),
        ("WINDOW", "1001", "1000"),
        ("CATEGORIES", '["' + "x" * 256 + '"]', "255"),
        ("CATEGORIES", '["news", "offers", "news"]', "twice"),
        ("CATEGORIES", '["Grüße"]', "pattern"),
        ("GROUPS", '{"news": 7, "offers": 7}', "one group"),
        ("IP_POOL", "x", "pattern"),
        ("SPREAD_SECONDS", "3601", "3600"),
    ],
)
def test_a_wrong_setting_is_named_and_not_told(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv("EVERGREET_SENDGRID_API_KEY", SENDGRID_KEY)
    monkeypatch.setenv(f"EVERGREET_SENDGRID_{variable}", value)
    with pytest.raises(Misconfigured, match=f"^EVERGREET_SENDGRID_{variable}") as refused:
        SendGrid.from_environment()
    assert words in refused.value.reason
    assert SENDGRID_KEY not in refused.value.reason


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, sink: Sink) -> None:
    values = {
        "API_KEY": SENDGRID_KEY,
        "BASE_URL": f"{sink.url}/",
        "WINDOW": "7",
        "CONNECTIONS": "2",
        "CATEGORIES": '["a"]',
    }
    for name, value in values.items():
        monkeypatch.setenv(f"EVERGREET_SENDGRID_{name}", value)
    connector = SendGrid.from_environment()
    assert (connector.capabilities.window, connector.capabilities.connections) == (7, 2)
    assert connector.check() == "127.0.0.1 answers and the key may send mail; sandbox mode is off."
    assert isinstance(connector.send([letter()])[0], Accepted)
    assert sink.bodies[0]["categories"] == ["a"]
    connector.close()


def test_the_check_can_be_typed(monkeypatch: pytest.MonkeyPatch, sink: Sink) -> None:
    monkeypatch.setenv("EVERGREET_SENDGRID_BASE_URL", sink.url)
    for key, code, words in ((SENDGRID_KEY, 0, "may send mail"), ("SG.other", 1, "401")):
        monkeypatch.setenv("EVERGREET_SENDGRID_API_KEY", key)
        result = CliRunner().invoke(app, ["connectors", "check", "sendgrid", "--json"])
        assert result.exit_code == code
        assert words in json.loads(result.output)["found"]
        assert key not in result.output
    assert sink.bodies == []


def test_what_the_class_declares_are_the_defaults_of_the_settings() -> None:
    settings = SendGridSettings.model_validate({"api_key": "x"})
    declared = SendGrid.capabilities
    assert (declared.window, declared.connections) == (settings.window, settings.connections)
    assert (declared.splits, declared.sandbox, declared.idempotency, declared.find) == (True, True, None, False)
