"""Amazon SES passes the contract; each answer has its outcome; requests are those of botocore's own client."""

import base64
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from email.utils import parseaddr
from typing import Any

import httpx
import pytest
from botocore.config import Config
from botocore.session import Session

from connectors.calling import make_client
from connectors.email import ses_signing
from connectors.email.ses import Ses
from connectors.email.ses_answers import CODES
from connectors.email.ses_settings import SesSettings
from connectors.email.ses_signing import Signer, credentials_of
from evergreet.contracts import Accepted, EmailMessage, EmailSender, Mailbox
from evergreet.errors import Misconfigured, Permanent, Retryable
from evergreet.testing import Arrived, EmailConnectorContract
from tests.connectors.email.letters import letter
from tests.connectors.email.sendgrid_wire import SILENT, Conduct, WireServer
from tests.connectors.email.ses_sink import ACCOUNT, KEY_ID, REGION, SECRET, TOKEN, SesSink, model, told_off
from tests.connectors.provider_sink import Told
from tests.story import Story

Connect = Callable[..., Ses]


@pytest.fixture
def sink() -> Iterator[SesSink]:
    """A local SES; a request that breaks one of its rules fails the test."""
    with SesSink() as running:
        yield running
    assert running.faults == []


def settings_for(url: str, **options: Any) -> SesSettings:
    return SesSettings.model_validate(
        {"region": REGION, "access_key_id": KEY_ID, "secret_access_key": SECRET, "base_url": url, "timeout": 20,
         **options}
    )  # fmt: skip


@pytest.fixture
def at() -> Iterator[Connect]:
    with ExitStack() as made:

        def make(url: str, **options: Any) -> Ses:
            outside = {name: options.pop(name) for name in ("client", "clock") if name in options}
            settings = settings_for(url, **options)
            client = outside.pop("client", None) or make_client(settings.connections)
            connector = Ses(settings, client, Signer(settings.region, credentials_of(settings)), **outside)
            made.callback(connector.close)
            return connector

        yield make


def raw(params: dict[str, Any]) -> bytes:
    return base64.b64decode(params["Content"]["Raw"]["Data"])


class TestSes(EmailConnectorContract):
    entry_point = "ses"
    required_settings = ("EVERGREET_SES_REGION",)
    secrets = (KEY_ID, SECRET, TOKEN)
    keeps_message_id = False  # SES writes its own; our key comes back as a tag

    @pytest.fixture
    def connector(self, sink: SesSink, at: Connect) -> EmailSender:
        return at(sink.url, session_token=TOKEN)

    @pytest.fixture
    def arrived(self, sink: SesSink) -> Callable[[], list[Arrived]]:
        return lambda: [
            Arrived.from_mime(tuple(params["Destination"]["ToAddresses"]), raw(params))
            for params in list(sink.requests)
        ]

    @pytest.fixture
    def unreachable(self, at: Connect) -> Iterator[EmailSender]:
        with SesSink("ANOTHER") as server:
            yield at(server.url, session_token=TOKEN)

    @pytest.fixture
    def silent(self, at: Connect) -> Iterator[EmailSender]:
        with WireServer(SILENT) as server:
            yield at(server.url, timeout=0.3)


def test_a_message_carries_key_row_and_configuration_set(sink: SesSink, at: Connect) -> None:
    message = replace(letter("ab12", headers={"X-Campaign": "c"}), row=7)
    assert at(sink.url, configuration_set="events").send([message, letter("1.b", to=Mailbox("b@bücher.example"))]) == [
        Accepted("ses-0"), Accepted("ses-1"),
    ]  # fmt: skip
    first, second = sink.requests
    assert first["EmailTags"] == [
        {"Name": "evergreet_key", "Value": "ab12"}, {"Name": "evergreet_row", "Value": "7"},
    ]  # fmt: skip
    assert first["ConfigurationSetName"] == "events"
    assert b'From: "Fernway Supply"' in raw(first) or b"From: Fernway Supply <hello@" in raw(first)
    assert "EmailTags" not in second
    assert second["Destination"] == {"ToAddresses": ["b@xn--bcher-kva.example"]}


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (letter(to=Mailbox("ännä@customer.example")), Permanent),
        (letter(sender=Mailbox("hellö@fernway.example")), Misconfigured),
        (letter(reply_to=Mailbox("hellö@fernway.example")), Misconfigured),
        (letter(headers={"X-SES-Configuration-Set": "another"}), Permanent),
    ],
    ids=["recipient", "sender", "reply", "header that SES obeys"],
)
def test_what_ses_would_not_take_is_not_asked_for(
    sink: SesSink, at: Connect, message: EmailMessage, kind: type[Exception]
) -> None:
    outcomes = at(sink.url).send([message, letter("2.b")])
    assert [type(outcome) for outcome in outcomes] == [kind, Accepted]
    assert "nnä" not in str(outcomes[0])


ANSWERS: list[tuple[Told, type[Exception], str | None, int | None]] = [
    (told_off("MessageRejected", "The message can't be sent because it contains invalid content."), Permanent, None, 0),
    (told_off("BadRequestException", "Illegal address ann@customer.example"), Permanent, None, 0),
    (told_off("NewlyInventedException", "No"), Permanent, None, 0),
    (
        told_off("MessageRejected", "Email address is not verified. The following identities failed: a@b.example"),
        Misconfigured, None, 0,
    ),
    (told_off("MessageRejected", "Sending paused for this account. For more information, …"), Misconfigured, None, 0),
    (told_off("AccountSendingPausedException", "no"), Misconfigured, None, 0),
    (told_off("BadRequestException", "Invalid FromEmailAddress."), Misconfigured, None, 0),
    (told_off("MailFromDomainNotVerifiedException", "no"), Misconfigured, None, 0),
    (told_off("AccountSuspendedException", "no"), Misconfigured, None, 0),
    (told_off("SendingPausedException", "no"), Misconfigured, None, 0),
    (told_off("NotFoundException", "Configuration set <x> does not exist.", 404), Misconfigured, None, 0),
    (told_off("ExpiredTokenException", "The security token is expired", 403), Misconfigured, None, 0),
    (told_off("AccessDeniedException", "not authorized to perform: ses:SendRawEmail", 403), Misconfigured, None, 0),
    (told_off("TooManyRequestsException", "Maximum sending rate exceeded.", 429), Retryable, "no", 10),
    (told_off("TooManyRequestsException", "Daily message quota exceeded.", 429), Retryable, "no", 3600),
    (told_off("ThrottlingException", "Maximum sending rate exceeded.", 400), Retryable, "no", 10),
    (told_off("LimitExceededException", "too many"), Retryable, "no", 10),
    (Told(429, {"__type": "com.amazonaws.ses#TooManyRequestsException"}), Retryable, "no", 10),
    (Told(429, b"slow down"), Retryable, "no", 10),
    (told_off("InternalServiceErrorException", "oops", 500), Retryable, "maybe", 0),
    (Told(503, b"<html>"), Retryable, "maybe", 0),
    (Told(200, b"<html>"), Retryable, "maybe", 0),
    (Told(200, {"MessageId": ""}), Retryable, "maybe", 0),
    (Told(202, {"MessageId": "x"}), Retryable, "maybe", 0),
    (Told(400, b"<html>"), Misconfigured, None, 0),
    (Told(404, b"<html>"), Misconfigured, None, 0),
    (Told(413, b"<html>"), Permanent, None, 0),
    (Told(302, b"", {"location": "http://127.0.0.1:1/"}), Misconfigured, None, 0),
]  # fmt: skip


@pytest.mark.parametrize(("told", "kind", "accepted", "pause"), ANSWERS, ids=[str(n) for n in range(len(ANSWERS))])
def test_each_answer_has_its_outcome_and_what_stands_for_everybody_ends_the_batch(
    sink: SesSink, at: Connect, told: Told, kind: type[Exception], accepted: str | None, pause: int
) -> None:
    asked: list[Any] = []

    def judge(params: dict[str, Any]) -> Told | None:
        asked.append(params)
        return told if len(asked) == 1 else None

    sink.judge = judge
    first, second = at(sink.url).send([letter("a"), letter("b")])
    assert type(first) is kind
    assert "@" not in str(first)
    if isinstance(first, Retryable):
        assert (first.accepted, first.retry_after) == (accepted, timedelta(seconds=pause) if pause else None)
    if kind is Permanent:
        assert isinstance(second, Accepted)
    else:
        assert isinstance(second, Retryable | Misconfigured)
        assert not isinstance(second, Retryable) or second.accepted == "no"
        assert len(asked) == 1


def test_every_error_that_the_model_names_has_a_meaning() -> None:
    for operation in ("SendEmail", "SendBulkEmail", "GetAccount"):
        assert {shape.name for shape in model().operation_model(operation).error_shapes} <= CODES.keys()


def test_a_signature_that_does_not_fit_is_told_without_what_was_signed(sink: SesSink, at: Connect) -> None:
    told = (
        "The request signature does not match. The Canonical String for this request should have been\n'POST\n" + TOKEN
    )
    sink.judge = lambda params: told_off("InvalidSignatureException", told, 403)
    (outcome,) = at(sink.url, session_token=TOKEN).send([letter("a")])
    assert isinstance(outcome, Misconfigured)
    assert "clock" in str(outcome)
    assert "Canonical" not in str(outcome)


@pytest.mark.parametrize(("takes", "accepted"), [(40, "no"), (None, "maybe")])
def test_a_lost_connection_is_a_doubt_only_after_the_whole_request(
    at: Connect, takes: int | None, accepted: str
) -> None:
    with WireServer(Conduct(takes=takes, then="reset")) as server:
        body = "x" * (8_000_000 if takes else 10)
        (outcome,) = at(server.url).send([letter("k", text=body)])
    assert isinstance(outcome, Retryable)
    assert outcome.accepted == accepted


def test_after_the_time_of_a_batch_nothing_is_begun(sink: SesSink, at: Connect) -> None:
    seconds = iter([0.0, 1.0, 1.0, 2.0, 100.0, 100.0, 100.0])
    outcomes = at(sink.url, clock=lambda: next(seconds, 100.0)).send([letter("a"), letter("b"), letter("c")])
    assert isinstance(outcomes[0], Accepted)
    assert isinstance(outcomes[-1], Retryable)
    assert outcomes[-1].accepted == "no"
    assert len(sink.requests) < 3


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (Told(200, ACCOUNT), r"50000 mails a day and 14 a second\.$"),
        (Told(200, {"SendingEnabled": True, "SendQuota": {"Max24HourSend": -1.0}}), "without a quota"),
        (Told(200, {**ACCOUNT, "ProductionAccessEnabled": False}), "sandbox"),
        (told_off("AccessDeniedException", "User is not authorized to perform: ses:GetAccount", 403), "ses:GetAccount"),
    ],
)
def test_a_check_says_what_the_account_may_do(sink: SesSink, at: Connect, told: Told, says: str) -> None:
    sink.account = told
    found = at(sink.url).check()
    assert re.search(says, found), found


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (Told(200, {**ACCOUNT, "SendingEnabled": False}), "switched off"),
        (Told(200, {**ACCOUNT, "EnforcementStatus": "SHUTDOWN"}), "switched off"),
        (Told(200, {"hello": "there"}), "not Amazon SES"),
    ],
)
def test_a_check_says_what_is_wrong_with_the_account(sink: SesSink, at: Connect, told: Told, says: str) -> None:
    sink.account = told
    with pytest.raises(Misconfigured, match=says):
        at(sink.url).check()


def test_their_own_client_writes_the_same_request(sink: SesSink, at: Connect) -> None:
    message = replace(letter("ab12"), row=7)
    at(sink.url, configuration_set="events", session_token=TOKEN).send([message])
    (ours,) = sink.requests
    client = Session().create_client(
        "sesv2", region_name=REGION, endpoint_url=sink.url, aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET,
        aws_session_token=TOKEN, config=Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip
    told = client.send_email(
        Destination={"ToAddresses": ["anna@customer.example"]}, Content={"Raw": {"Data": raw(ours)}},
        EmailTags=[{"Name": "evergreet_key", "Value": "ab12"}, {"Name": "evergreet_row", "Value": "7"}],
        ConfigurationSetName="events",
    )  # fmt: skip
    client.close()
    assert told["MessageId"] == "ses-1"
    assert sink.requests[1] == ours


class Moto(httpx.BaseTransport):
    """Hands what httpx would send to moto, which stands in for the servers that `requests` would reach."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        import requests

        answer = requests.request(
            request.method, str(request.url), data=request.read(), headers=dict(request.headers), timeout=5
        )
        return httpx.Response(answer.status_code, headers=dict(answer.headers), stream=httpx.ByteStream(answer.content))


def test_moto_takes_it_from_a_verified_sender_and_from_nobody_else(at: Connect) -> None:
    from moto import mock_aws
    from moto.ses.models import ses_backends

    with mock_aws():
        connector = at("", client=httpx.Client(transport=Moto()))
        (refused,) = connector.send([letter("a")])
        assert isinstance(refused, Misconfigured)
        assert "authority to send" in str(refused)
        backend = ses_backends["123456789012"][REGION]
        backend.verify_email_identity("hello@fernway.example")
        (outcome,) = connector.send([replace(letter("ab12"), row=7)])
        assert isinstance(outcome, Accepted)
        (taken,) = backend.sent_messages
    assert taken.id == outcome.provider_id
    assert {parseaddr(one)[1] for one in taken.destinations} == {"anna@customer.example"}  # it reads To as well
    got = Arrived.from_mime((), taken.raw_data.encode())
    assert (got.subject, got.html.strip()) == ("Thank you for your order", "<p>Thank you, Anna.</p>")


def test_without_a_key_the_credentials_are_those_that_the_aws_tools_find(
    sink: SesSink, at: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    without = {"access_key_id": "", "secret_access_key": ""}
    (outcome,) = at(sink.url, **without).send([letter("a")])
    assert isinstance(outcome, Misconfigured)
    assert "EVERGREET_SES_ACCESS_KEY_ID" in str(outcome)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    assert at(sink.url, **without).send([letter("a")]) == [Accepted("ses-0")]


def test_credentials_that_cannot_be_renewed_are_tried_again_later(sink: SesSink, at: Connect) -> None:
    connector = at(sink.url)

    class Ended:
        def get_frozen_credentials(self) -> None:
            raise RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired.")

    found = ses_signing._Found()
    found._found = Ended()
    connector._signer = Signer(REGION, found.now)
    (outcome,) = connector.send([letter("a")])
    assert isinstance(outcome, Retryable)
    assert (outcome.accepted, sink.requests) == ("no", [])


def test_half_a_key_and_a_missing_package_are_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="come together"):
        settings_for("", secret_access_key="")
    monkeypatch.setitem(sys.modules, "botocore.auth", None)
    with pytest.raises(Misconfigured, match=r"pip install 'evergreet\[ses\]'"):
        Signer(REGION, lambda: pytest.fail("not asked"))


def test_importing_the_connector_imports_no_botocore() -> None:
    program = "import sys, connectors.email.ses; assert not [m for m in sys.modules if m.startswith('botocore')]"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0


def test_an_answer_that_got_lost_is_unknown_in_the_ledger_and_nobody_is_asked_for_again(
    story: Story, sink: SesSink, at: Connect
) -> None:
    lost: list[Any] = []

    def loses(params: dict[str, Any]) -> Told | None:
        address = params["Destination"]["ToAddresses"][0]
        if address == "bob@example.org" and not lost:
            lost.append(params)
            return Told(504, b"gateway")
        return None

    sink.judge = loses
    story.sender = at(sink.url)  # type: ignore[assignment]
    story.launch()
    story.happened("order_placed", story.contact("ana"), story.contact("bob"), story.contact("cid"))
    story.run()
    states = story.states()
    assert sum(count for state, count in states.items() if state.startswith("unknown")) == 1
    story.clock.advance(timedelta(days=1))
    story.run()
    assert story.states()["accepted"] == 2
    sent = [params["Destination"]["ToAddresses"][0] for params in sink.requests]
    assert sorted(sent) == ["ana@example.org", "cid@example.org"]
    rows = {tag["Value"] for params in sink.requests for tag in params["EmailTags"] if tag["Name"] == "evergreet_row"}
    assert rows == {str(row.id) for row in story.messages if row.state == "accepted"}
