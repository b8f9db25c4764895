"""Messages of one template in one request: exact however the values are put in, and alone where that is not certain."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.header import decode_header, make_header
from email.utils import parseaddr
from random import Random
from typing import Any

import pytest

from connectors.calling import make_client
from connectors.email.ses import Ses
from connectors.email.ses_answers import STATUSES
from connectors.email.ses_bulk import Groups
from connectors.email.ses_settings import SesSettings
from connectors.email.ses_signing import Signer, credentials_of
from evergreet.contracts import Accepted, EmailMessage, Mailbox, Skeleton
from evergreet.errors import Misconfigured, Permanent, Retryable
from tests.connectors.email.sendgrid_wire import SILENT, WireServer
from tests.connectors.email.ses_sink import KEY_ID, REGION, SECRET, SesSink, model, told_off
from tests.connectors.email.splits import HELLO, crowd, split_letter
from tests.connectors.provider_sink import Told
from tests.story import TEMPLATE, Story

ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;", "`": "&#x60;", "=": "&#x3D;"}
MARK = re.compile(r"(\\*)(\{\{\{?)\s*([A-Za-z0-9_]*)\s*(\}\}\}?)")
Connect = Callable[..., Ses]


@pytest.fixture
def sink() -> Iterator[SesSink]:
    with SesSink() as running:
        yield running
    assert running.faults == []


@pytest.fixture
def at() -> Iterator[Connect]:
    made: list[Ses] = []

    def make(url: str, **options: Any) -> Ses:
        settings = SesSettings.model_validate(
            {"region": REGION, "access_key_id": KEY_ID, "secret_access_key": SECRET, "base_url": url, "timeout": 20,
             "bulk": True, **options}
        )  # fmt: skip
        client = make_client(settings.connections)
        made.append(Ses(settings, client, Signer(settings.region, credentials_of(settings))))
        return made[-1]

    yield make
    for connector in made:
        connector.close()


def rendered(template: str, data: dict[str, str], escaping: bool) -> str:
    """Put values in as Handlebars does, with its escaping or as SES says without; what it would trip over fails."""

    def put(found: re.Match[str]) -> str:
        slashes, opens, name, closes = found.groups()
        assert not slashes, "a backslash before a mark"
        assert (opens, closes) == ("{{", "}}"), "three braces"
        value = data[name]
        return "".join(ESCAPES.get(c, c) for c in value) if escaping else value

    assert "{{" not in MARK.sub("", template)
    return MARK.sub(put, template)


def contents(bulk: dict[str, Any], escaping: bool) -> Iterator[tuple[str, str, str, str]]:
    """Each recipient's address, subject, HTML and text."""
    template = bulk["DefaultContent"]["Template"]["TemplateContent"]
    for entry in bulk["BulkEmailEntries"]:
        data = json.loads(entry["ReplacementEmailContent"]["ReplacementTemplate"]["ReplacementTemplateData"])
        subject, html, text = (rendered(template[part], data, escaping) for part in ("Subject", "Html", "Text"))
        yield parseaddr(entry["Destination"]["ToAddresses"][0])[1], subject, html, text


def test_fifty_go_in_a_request_and_each_gets_its_own(sink: SesSink, at: Connect) -> None:
    connector = at(sink.url, configuration_set="events")
    assert connector.capabilities.splits
    headers = {"List-Unsubscribe": f"<https://mail.fernway.example/u/{'x' * 300}>", "X-Campaign": "c"}
    batch = [
        replace(message, row=n + 1, key=f"{n:032x}", headers=headers, reply_to=Mailbox("a@fernway.example", "Zoë"))
        for n, message in enumerate(crowd(120))
    ]
    outcomes = connector.send(batch)
    assert [len(bulk["BulkEmailEntries"]) for bulk in sink.bulks] == [50, 50, 20]
    assert [outcome.provider_id for outcome in outcomes if isinstance(outcome, Accepted)] == [
        f"bulk-{n // 50}-{n % 50}" for n in range(120)
    ]
    wanted = [(message.to.address, message.subject, message.html, message.text) for message in batch]
    for escaping in (True, False):
        assert [one for bulk in sink.bulks for one in contents(bulk, escaping)] == wanted
    bulk = sink.bulks[2]
    assert bulk["ConfigurationSetName"] == "events"
    assert bulk["FromEmailAddress"] == '"Fernway Supply" <hello@fernway.example>'
    assert [str(make_header(decode_header(one))) for one in bulk["ReplyToAddresses"]] == ["Zoë <a@fernway.example>"]
    entry = bulk["BulkEmailEntries"][19]
    assert entry["ReplacementTags"] == [
        {"Name": "evergreet_key", "Value": f"{119:032x}"}, {"Name": "evergreet_row", "Value": "120"},
    ]  # fmt: skip
    assert {one["Name"]: one["Value"] for one in entry["ReplacementHeaders"]} == headers


ALONE = {
    "escaped": split_letter(HELLO, ("O'Brien", "5")),
    "ampersand": split_letter(HELLO, ("Tom &amp; Co", "5")),
    "equals sign": split_letter(HELLO, ("https://x.example/?a=1", "5")),
    "mark in a value": split_letter(HELLO, ("{{v1}}", "5")),
    "brace in a value": split_letter(HELLO, ("a{b", "5")),
    "backslash in a value": split_letter(HELLO, ("a\\", "5")),
    "break in a value": replace(split_letter(HELLO, ("a", "5\r\n6")), subject="Hello a"),
    "mark in the skeleton": split_letter(replace(HELLO, html=("<p>{{x}} ", 0, 1, "</p>")), ("a", "b")),
    "half a mark across a slot": split_letter(replace(HELLO, html=("<p>{", 0, "}", 1, "</p>")), ("a", "b")),
    "brace before a slot": split_letter(replace(HELLO, html=("<p>", 0, "{", 1, "</p>")), ("a", "b")),
    "brace after a slot": split_letter(replace(HELLO, text=(0, "}", 1, ".")), ("a", "b")),
    "backslash before a slot": split_letter(replace(HELLO, text=("C:\\", 0, 1)), ("a", "b")),
    "braces of two pieces": split_letter(replace(HELLO, text=(0, " {", "{ ", 1)), ("a", "b")),
    "NUL": split_letter(replace(HELLO, text=(0, "\x00", 1)), ("a", "b")),
    "no text": split_letter(replace(HELLO, text=()), ("a", "b")),
    "white space around the subject": split_letter(replace(HELLO, subject=(" ", 0)), ("a", "b")),
    "a name that is long": replace(
        split_letter(HELLO, ("a", "b")), to=Mailbox("c@customer.example", "山田" * 20)
    ),
    "a header without a value": replace(split_letter(HELLO, ("a", "b")), headers={"X-Empty": ""}),
    "values without end": split_letter(HELLO, ("a", "b" * 300_000)),
}  # fmt: skip


@pytest.mark.parametrize("message", ALONE.values(), ids=ALONE.keys())
def test_what_could_come_out_otherwise_goes_alone(sink: SesSink, at: Connect, message: EmailMessage) -> None:
    alike = replace(message, key="2.b")
    assert all(isinstance(outcome, Accepted) for outcome in at(sink.url).send([message, alike]))
    assert (len(sink.requests), sink.bulks) == (2, [])


def test_whatever_they_hold_what_goes_together_comes_out_as_it_was() -> None:
    random = Random(5)
    pieces = ["{", "}", "{{", "}}", "\\", "v0", "a", " ", "&", "<b>", "\n", "Ü", "{{v0}}", "😀"]

    def text(most: int) -> str:
        return "".join(random.choices(pieces, k=random.randint(0, most)))

    groups = Groups(SesSettings.model_validate({"region": REGION}))
    together: dict[str, EmailMessage] = {}
    for n in range(3000):
        pieces_of = [[random.choice([0, 1, text(2)]) for _ in range(random.randint(1, 4))] for _ in range(2)]
        html, plain = (tuple(piece for piece in part if isinstance(piece, str | int)) for part in pieces_of)
        values = ("".join(random.choices(["a", "Ü", " ", "b"], k=3)), "x" if random.random() < 0.7 else text(2))
        skeleton = Skeleton(f"s{n}", 2, ("Hello",), html, plain)
        message = split_letter(skeleton, values, f"1.{n}", f"c{n}@customer.example")
        if groups.take(n, message):
            together[message.to.address] = message
    assert 1000 < len(together) < 2000
    seen = [json.loads(request.body) for request in groups.requests()]
    for escaping in (True, False):
        for address, subject, html_part, text_part in (one for bulk in seen for one in contents(bulk, escaping)):
            message = together[address]
            assert (subject, html_part, text_part) == (message.subject, message.html, message.text)
    assert sum(len(bulk["BulkEmailEntries"]) for bulk in seen) == len(together)


def test_a_message_that_cannot_be_sent_keeps_no_other_from_it(sink: SesSink, at: Connect) -> None:
    batch = crowd(3)
    batch[1] = replace(batch[1], to=Mailbox("not an address"))
    outcomes = at(sink.url).send(batch)
    assert [type(outcome) for outcome in outcomes] == [Accepted, Permanent, Accepted]
    assert len(sink.bulks) == 1


def test_a_request_is_no_larger_than_a_megabyte(sink: SesSink, at: Connect) -> None:
    batch = crowd(12, replace(HELLO, html=("<p>", 0, "x" * 400_000, 1, "</p>")))
    batch = [split_letter(one.split.skeleton, ("a", "b" * 90_000), one.key) for one in batch if one.split]
    assert all(isinstance(outcome, Accepted) for outcome in at(sink.url).send(batch))
    assert len(sink.bulks) == 2
    assert all(len(json.dumps(bulk)) <= 1_001_000 for bulk in sink.bulks)


def test_each_entry_has_its_status_and_a_wait_of_one_ends_nothing(sink: SesSink, at: Connect) -> None:
    statuses = {
        "SUCCESS": Accepted, "MESSAGE_REJECTED": Permanent, "INVALID_PARAMETER": Permanent, "FAILED": Retryable,
        "TRANSIENT_FAILURE": Retryable, "ACCOUNT_THROTTLED": Retryable, "ACCOUNT_DAILY_QUOTA_EXCEEDED": Retryable,
        "NEWLY_INVENTED": Retryable,
    }  # fmt: skip
    results = [{"Status": status, "Error": f"about c@customer.example {status}"} for status in statuses]
    results[0] = {"Status": "SUCCESS", "MessageId": "m-1"}
    sink.judge = lambda params: Told(200, {"BulkEmailEntryResults": results[: len(params["BulkEmailEntries"])]})
    outcomes = at(sink.url).send(crowd(len(statuses)))
    assert [type(outcome) for outcome in outcomes] == list(statuses.values())
    assert [outcome.accepted for outcome in outcomes if isinstance(outcome, Retryable)] == [*["no"] * 4, "maybe"]
    assert "customer.example" not in str(outcomes)
    sink.judge = lambda params: Told(
        200, {"BulkEmailEntryResults": [{"Status": "FAILED"}, *[{"Status": "SUCCESS", "MessageId": "m"}] * 49]}
    )
    assert [type(outcome) for outcome in at(sink.url).send(crowd(100))] == [Retryable, *[Accepted] * 49] * 2


@pytest.mark.parametrize("status", [status for status, meaning in STATUSES.items() if meaning == "ours"])
def test_what_is_our_fault_in_one_entry_ends_the_batch(sink: SesSink, at: Connect, status: str) -> None:
    sink.judge = lambda params: Told(200, {"BulkEmailEntryResults": [{"Status": status}] * 50})
    outcomes = at(sink.url).send(crowd(60))
    assert {type(outcome) for outcome in outcomes} == {Misconfigured}


def test_every_status_of_the_model_is_known() -> None:
    shape = model().operation_model("SendBulkEmail").output_shape.members["BulkEmailEntryResults"].member
    assert set(shape.members["Status"].enum) - {"SUCCESS"} <= STATUSES.keys()


def test_a_request_that_is_refused_as_a_whole_is_asked_for_one_by_one(sink: SesSink, at: Connect) -> None:
    def judge(params: dict[str, Any]) -> Told | None:
        if "BulkEmailEntries" in params or params["Destination"]["ToAddresses"] == ["c1.1@customer.example"]:
            return told_off("BadRequestException", "Something about an address")
        return None

    sink.judge = judge
    outcomes = at(sink.url).send(crowd(3))
    assert [type(outcome) for outcome in outcomes] == [Accepted, Permanent, Accepted]
    assert len(sink.requests) == 2


@pytest.mark.parametrize(
    "told",
    [Told(200, b"<html>"), Told(200, {"BulkEmailEntryResults": [{"Status": "SUCCESS", "MessageId": "x"}]}), Told(500)],
)
def test_in_doubt_are_all_of_a_request_and_nobody_after_it(sink: SesSink, at: Connect, told: Told) -> None:
    sink.judge = lambda params: told
    outcomes = at(sink.url).send(crowd(70))
    assert all(isinstance(outcome, Retryable) for outcome in outcomes)
    assert [outcome.accepted for outcome in outcomes if isinstance(outcome, Retryable)] == ["maybe"] * 50 + ["no"] * 20


def test_a_silent_server_leaves_a_request_in_doubt(at: Connect) -> None:
    with WireServer(SILENT) as server:
        outcomes = at(server.url, timeout=0.3).send(crowd(60))
    assert [o.accepted for o in outcomes if isinstance(o, Retryable)] == ["maybe"] * 50 + ["no"] * 10


def test_what_the_engine_composes_goes_together(story: Story, sink: SesSink, at: Connect) -> None:
    from tests.connectors.email.test_sendgrid_ledger import NEWS

    text = replace(
        TEMPLATE, sources={**TEMPLATE.sources, "note/body.txt": "{{ contact.first_name }}: {{ unsubscribe_url }}"}
    )
    story.load = lambda _name, _purpose: text
    story.sender = at(sink.url)  # type: ignore[assignment]
    story.launch(NEWS)
    story.happened("order_placed", *story.contacts(12, consents=["orders"]))
    story.run(NEWS)
    assert story.states() == {"accepted": 12}
    (bulk,) = sink.bulks
    assert len(sink.requests) == 1, "the first of a kind is rendered in full, and has no skeleton"
    found = {address: (subject, html) for address, subject, html, _ in contents(bulk, escaping=True)}
    assert found["c3@example.org"][0] == "Hello C3"
    for entry in bulk["BulkEmailEntries"]:
        (address,) = entry["Destination"]["ToAddresses"]
        headers = {one["Name"]: one["Value"] for one in entry["ReplacementHeaders"]}
        assert headers["List-Unsubscribe"].strip("<>") in found[parseaddr(address)[1]][1]
    assert {row.provider_id for row in story.messages} == {"ses-0", *(f"bulk-0-{n}" for n in range(11))}
