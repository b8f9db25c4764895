"""Postmark's webhooks: a name and a password, each event to its kind, no verdict on what may pass."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from postmark.models.bounces.enums import BounceType

from connectors.calling import make_client
from connectors.email.postmark import Postmark
from connectors.email.postmark_events import BOUNCES, RECORDS
from connectors.email.postmark_settings import PostmarkSettings
from evergreet.contracts import Kind, ProviderEvent, Verdict, WebhookSource
from evergreet.errors import Misconfigured, NotGenuine
from evergreet.testing import WebhookContract
from evergreet.testing.webhooks import RECEIVED, Sign, Told, request

USER, PASSWORD, TOKEN = "postmark", "canary:webhook-secret", "canary-token"
MESSAGE = "2706ee8a-737c-4285-b032-ccd317af53ed"


def credentials(user: str = USER, password: str = PASSWORD) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def told(word: str, **more: Any) -> bytes:
    return json.dumps(
        {"RecordType": word, "MessageID": MESSAGE, "ReceivedAt": "2026-03-10T11:59:50.1234567-00:00",
         "Recipient": "anna@customer.example", "Metadata": {"evergreet_key": "ab12", "evergreet_row": "7"}, **more}
    ).encode()  # fmt: skip


def make(**options: str) -> Postmark:
    values = {"server_token": TOKEN, "webhook_user": USER, "webhook_password": PASSWORD, **options}
    settings = PostmarkSettings.model_validate({"base_url": "http://127.0.0.1:1", **values})
    return Postmark(settings, make_client(settings.connections))


@pytest.fixture
def source() -> Iterator[Postmark]:
    connector = make()
    yield connector
    connector.close()


class TestPostmarkWebhooks(WebhookContract):
    secrets = (PASSWORD, TOKEN, credentials()["Authorization"].removeprefix("Basic "))
    words = {word: kind for word, (kind, _) in RECORDS.items()}
    signs_the_body = False  # Postmark shows the name and the password of its URL, and signs nothing

    @pytest.fixture
    def source(self) -> Iterator[WebhookSource]:
        connector = make()
        yield connector
        connector.close()

    @pytest.fixture
    def sign(self) -> Sign:
        return lambda body: credentials()

    @pytest.fixture
    def told(self) -> Told:
        return told


def read(source: Postmark, body: Any) -> ProviderEvent:
    (event,) = source.parse(request(body if isinstance(body, bytes) else json.dumps(body).encode(), {}))
    return event


def test_only_the_whole_name_and_password_open_it(source: Postmark) -> None:
    good = credentials()["Authorization"].removeprefix("Basic ")
    source.verify(request(b"{}", {"Authorization": f"basic {good}"}))
    wrong = [credentials("", PASSWORD), credentials(USER, ""), credentials(USER.upper()), credentials("a", "b"),
             {"Authorization": f"Bearer {good}"}, {"Authorization": good}, {"Authorization": "Basic é"}]  # fmt: skip
    for headers in wrong:
        with pytest.raises(NotGenuine):
            source.verify(request(b"{}", headers))


@pytest.mark.parametrize("missing", ["webhook_user", "webhook_password"])
def test_without_a_name_and_a_password_nothing_is_taken(missing: str) -> None:
    source = make(**{missing: ""})
    with pytest.raises(Misconfigured, match="EVERGREET_POSTMARK_WEBHOOK_USER and EVERGREET_POSTMARK_WEBHOOK_PASSWORD"):
        source.verify(request(b"{}", credentials("", "")))
    source.close()


def test_published_events_have_their_kinds(fixtures: Path, source: Postmark) -> None:
    published = json.loads((fixtures / "webhooks" / "postmark_events.json").read_text("utf-8"))
    events = {name: read(source, case["raw_event"]) for name, case in published.items()}
    assert {name: (event.kind, event.verdict, event.address) for name, event in events.items()} == {
        "test_bounce_event": (Kind.HARD_BOUNCED, Verdict.INVALID, "bounce@example.com"),
        "test_open_event": (Kind.OPENED, Verdict.NONE, "recipient@example.com"),
        "test_spam_event": (Kind.COMPLAINED, Verdict.COMPLAINED, "spam@example.com"),
        "test_resubscribe": (Kind.GROUP_RESUBSCRIBED, Verdict.NONE, "john@example.com"),
        "test_bounce_unsubscribe_variant": (Kind.UNSUBSCRIBED, Verdict.UNSUBSCRIBED, ""),
    }
    bounce = events["test_bounce_event"]
    assert bounce.at == datetime(2016, 4, 27, 20, 28, 50, 396393, UTC)
    assert (bounce.provider_id, bounce.reason[:14]) == (MESSAGE, "smtp;550 5.1.1")
    assert len({event.id for event in events.values()}) == len(events)


def test_every_type_of_bounce_that_their_package_knows_is_in_the_table() -> None:
    assert {kind.value for kind in BounceType} == set(BOUNCES)


@pytest.mark.parametrize("word", [*BOUNCES, "Newly invented", ""])
def test_only_a_bounce_about_the_address_suppresses(source: Postmark, word: str) -> None:
    event = read(source, told("Bounce", Type=word, Details="smtp;550 5.1.1 no such user"))
    assert event.kind == BOUNCES.get(word, (Kind.SOFT_BOUNCED,))[0]
    assert (event.verdict is Verdict.INVALID) == (word in {"HardBounce", "BadEmailAddress"})
    assert (event.row, event.key, event.provider_id) == (7, "ab12", MESSAGE)


@pytest.mark.parametrize("details", ["smtp;452 4.2.2 full", "421 try later", "4.4.1 no answer", "smtp;552 5.2.2 full"])
def test_what_the_receiver_says_may_pass_passes_whatever_it_is_called(source: Postmark, details: str) -> None:
    event = read(source, told("Bounce", Type="HardBounce", Details=details))
    assert (event.kind, event.verdict) == (Kind.SOFT_BOUNCED, Verdict.NONE)


@pytest.mark.parametrize(
    ("change", "kind", "verdict"),
    [
        ({"SuppressionReason": "ManualSuppression", "Origin": "Recipient"}, Kind.UNSUBSCRIBED, Verdict.UNSUBSCRIBED),
        ({"SuppressionReason": "HardBounce", "Origin": "Recipient"}, Kind.HARD_BOUNCED, Verdict.INVALID),
        ({"SuppressionReason": "SpamComplaint", "Origin": "Recipient"}, Kind.COMPLAINED, Verdict.COMPLAINED),
        ({"SuppressionReason": "Newly invented"}, Kind.UNKNOWN, Verdict.NONE),
        ({"SuppressionReason": None, "SuppressSending": False}, Kind.GROUP_RESUBSCRIBED, Verdict.NONE),
    ],
)
def test_a_change_of_subscription_says_why(
    source: Postmark, change: dict[str, Any], kind: Kind, verdict: Verdict
) -> None:
    event = read(source, told("SubscriptionChange", **{"SuppressSending": True, **change}))
    assert (event.kind, event.verdict) == (kind, verdict)


def test_one_bounce_that_two_webhooks_tell_is_one_event(source: Postmark) -> None:
    change = {"SuppressSending": True, "SuppressionReason": "HardBounce"}
    bounce = read(source, told("Bounce", Type="HardBounce", ID=1))
    assert read(source, told("SubscriptionChange", **change)).id == bounce.id
    manual = [told("SubscriptionChange", **change, MessageID=name, Recipient=who)
              for name in (None, "00000000-0000-0000-0000-000000000000") for who in ("a@x.com", "b@x.com")]  # fmt: skip
    events = [read(source, body) for body in manual]
    assert len({event.id for event in events}) == 4
    assert {event.provider_id for event in events} == {""}


def test_an_opening_by_a_mail_program_that_loads_everything_is_a_machines(source: Postmark) -> None:
    assert read(source, told("Open", UserAgent="Mozilla/5.0")).machine
    assert not read(source, told("Open", UserAgent="Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko")).machine
    click = read(source, told("Click", OriginalLink="https://shop.example/", UserAgent="Mozilla/5.0"))
    assert (click.url, click.machine) == ("https://shop.example/", False)


def test_mail_that_answers_one_of_ours_is_an_answer_and_nothing_else_of_it_is_kept(source: Postmark) -> None:
    name = "2706ee8a-737c-4285-b032-ccd317af53ed"
    inbound = {
        "FromFull": {"Email": "anna@customer.example", "Name": "Anna"}, "MessageID": "in-1", "TextBody": "Is it warm?",
        "Date": "Tue, 10 Mar 2026 11:00:00 +0100", "Headers": [{"Name": "In-Reply-To", "Value": f"<{name}@mtasv.net>"}],
    }  # fmt: skip
    event = read(source, inbound)
    assert (event.id, event.kind, event.verdict) == ("in-1", Kind.REPLIED, Verdict.NONE)
    assert (event.address, event.provider_id, event.key, event.at.hour) == ("anna@customer.example", name, "", 10)
    assert "warm" not in str(event.raw)
    automatic = {"Name": "Auto-Submitted", "Value": "auto-replied"}
    for headers in ([], [*inbound["Headers"], automatic], [5, {"Name": 5}, {"Name": "In-Reply-To"}], None):
        assert source.parse(request(json.dumps(inbound | {"Headers": headers}).encode(), {})) == []


@pytest.mark.parametrize("body", [{"RecordType": "Inbound"}, {"FromFull": {"Email": "a@b.c"}, "Subject": "Hi"}])
def test_incoming_mail_is_no_event(source: Postmark, body: dict[str, Any]) -> None:
    assert source.parse(request(json.dumps(body).encode(), {})) == []


def test_fields_of_any_shape_are_kept(source: Postmark) -> None:
    event = read(source, told("Bounce", Type=[], Metadata=5, MessageID={}, Email=7, Details={}, ReceivedAt="soon"))
    assert (event.kind, event.at, event.row, event.address) == (
        Kind.SOFT_BOUNCED, RECEIVED, 0, "anna@customer.example",
    )  # fmt: skip
