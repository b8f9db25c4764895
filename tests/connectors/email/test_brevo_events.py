"""Brevo's webhooks: a token or a password, each event to its kind, no verdict on what may pass."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.calling import make_client
from connectors.email.brevo import Brevo
from connectors.email.brevo_events import WORDS
from connectors.email.brevo_settings import BrevoSettings
from evergreet.contracts import Kind, ProviderEvent, Verdict, WebhookSource
from evergreet.errors import Misconfigured, NotGenuine
from evergreet.testing import WebhookContract
from evergreet.testing.webhooks import RECEIVED, Sign, Told, request

TOKEN, KEY = "canary-webhook-token", "xkeysib-canary"
SHOWN = {"Authorization": f"Bearer {TOKEN}"}


def told(word: str, **more: Any) -> bytes:
    custom = '{"evergreet_key":"ab12","evergreet_row":"7"}'
    known = {"event": word, "email": "anna@customer.example", "id": 5, "message-id": "<1.2@smtp-relay.mailin.fr>",
             "ts_epoch": 1_773_143_990_000, "X-Mailin-custom": custom}  # fmt: skip
    return json.dumps(known | more).encode()


def make(**options: str) -> Brevo:
    settings = BrevoSettings.model_validate({"api_key": KEY, "base_url": "http://127.0.0.1:1", **options})
    return Brevo(settings, make_client(settings.connections))


@pytest.fixture
def source() -> Iterator[Brevo]:
    connector = make(webhook_token=TOKEN)
    yield connector
    connector.close()


class TestBrevoWebhooks(WebhookContract):
    secrets = (TOKEN, KEY)
    words = {word: kind for word, (kind, _) in WORDS.items()}
    signs_the_body = False  # Brevo shows the token that it was given, and signs nothing

    @pytest.fixture
    def source(self) -> Iterator[WebhookSource]:
        connector = make(webhook_token=TOKEN)
        yield connector
        connector.close()

    @pytest.fixture
    def sign(self) -> Sign:
        return lambda body: SHOWN

    @pytest.fixture
    def told(self) -> Told:
        return told


def read(source: Brevo, body: Any) -> ProviderEvent:
    (event,) = source.parse(request(body if isinstance(body, bytes) else json.dumps(body).encode(), {}))
    return event


def test_a_token_or_a_name_and_a_password_open_it_whichever_is_set() -> None:
    basic = {"Authorization": f"Basic {base64.b64encode(b'brevo:secret').decode()}"}
    both = make(webhook_token=TOKEN, webhook_user="brevo", webhook_password="secret")
    one, other = make(webhook_token=TOKEN), make(webhook_user="brevo", webhook_password="secret")
    for source, headers in ((both, SHOWN), (both, basic), (one, SHOWN), (other, basic)):
        source.verify(request(b"{}", headers))
    for source, headers in ((one, basic), (other, SHOWN), (both, {"Authorization": f"Basic {TOKEN}"}), (both, {})):
        with pytest.raises(NotGenuine):
            source.verify(request(b"{}", headers))
    for source in (both, one, other):
        source.close()


@pytest.mark.parametrize("options", [{}, {"webhook_user": "brevo"}, {"webhook_password": "secret"}])
def test_without_either_nothing_is_taken(options: dict[str, str]) -> None:
    source = make(**options)
    with pytest.raises(Misconfigured, match="EVERGREET_BREVO_WEBHOOK_TOKEN"):
        source.verify(request(b"{}", {"Authorization": "Bearer "}))
    source.close()


def test_published_events_have_their_kinds(fixtures: Path, source: Brevo) -> None:
    published = json.loads((fixtures / "webhooks" / "brevo_events.json").read_text("utf-8"))
    events = {name: read(source, case["raw_event"]) for name, case in published.items()}
    assert {name: (event.kind, event.verdict, event.machine) for name, event in events.items()} == {
        "test_sent_event": (Kind.ACCEPTED, Verdict.NONE, False),
        "test_hard_bounce": (Kind.HARD_BOUNCED, Verdict.INVALID, False),
        "test_blocked": (Kind.DROPPED, Verdict.NONE, False),
        "test_complaint": (Kind.COMPLAINED, Verdict.COMPLAINED, False),
        "test_error_email": (Kind.DROPPED, Verdict.NONE, False),
        "test_opened_event": (Kind.OPENED, Verdict.NONE, False),
        "test_proxy_open_event": (Kind.OPENED, Verdict.NONE, True),
        "test_clicked_event": (Kind.CLICKED, Verdict.NONE, False),
    }
    sent = events["test_sent_event"]
    assert (sent.address, sent.provider_id) == (
        "recipient@example.com",
        "201803062010.27287306012@smtp-relay.mailin.fr",
    )
    assert sent.at == datetime(2018, 3, 6, 19, 10, 23, tzinfo=UTC)
    assert events["test_complaint"].at == datetime(2020, 11, 9, 14, 54, 14, tzinfo=UTC)  # `ts_event`
    assert events["test_error_email"].at == datetime(2020, 11, 9, 14, 53, 43, tzinfo=UTC)  # in seconds
    assert events["test_clicked_event"].url == "https://example.com/click/me"
    assert events["test_complaint"].provider_id == "201798300811.5787683@relay.domain.com"


def test_events_in_a_list_are_each_read_and_known_by_what_they_say(source: Brevo) -> None:
    listed = [json.loads(told(word)) for word in ("delivered", "opened", "delivered")] + [5]
    events = source.parse(request(json.dumps(listed).encode(), {}))
    assert [event.kind for event in events] == [Kind.DELIVERED, Kind.OPENED, Kind.DELIVERED, Kind.UNKNOWN]
    assert events[0].id == events[2].id == read(source, told("delivered")).id != events[1].id


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("550 5.1.1 no such user", Kind.HARD_BOUNCED),
        ("", Kind.HARD_BOUNCED),
        ("smtp; 452-4.2.2 mailbox full", Kind.SOFT_BOUNCED),
        ("552 5.2.2 mailbox full", Kind.SOFT_BOUNCED),
        ("550 5.7.1 blocked", Kind.BLOCKED),
        ("4.4.1 no answer from host", Kind.SOFT_BOUNCED),
        ("host 10.4.2.2 said: 550 gone", Kind.HARD_BOUNCED),
    ],
)
def test_what_the_receiver_says_may_pass_passes_whatever_it_is_called(source: Brevo, reason: str, kind: Kind) -> None:
    event = read(source, told("hard_bounce", reason=reason))
    assert (event.kind, event.verdict is Verdict.INVALID) == (kind, kind is Kind.HARD_BOUNCED)


@pytest.mark.parametrize(
    "custom", ["some_custom_header", "", "[1]", "{}", '{"evergreet_row": 7}', '"\\ud800"', 5, None]
)
def test_a_header_that_is_not_ours_names_no_row(source: Brevo, custom: Any) -> None:
    event = read(source, told("delivered", **{"X-Mailin-custom": custom}))
    assert (event.kind, event.row, event.key) == (Kind.DELIVERED, 0, "")


def test_fields_of_any_shape_are_kept(source: Brevo) -> None:
    event = read(source, told("hard_bounce", reason=[], email={}, ts_epoch="soon", **{"message-id": 5}))
    assert (event.kind, event.at, event.address, event.provider_id) == (Kind.HARD_BOUNCED, RECEIVED, "", "")


def test_mail_that_answers_one_of_ours_is_an_answer_and_other_mail_is_no_event(source: Brevo) -> None:
    item: dict[str, Any] = {
        "Uuid": ["in-1"], "MessageId": "<a@customer.example>", "InReplyTo": "<1.2@smtp-relay.mailin.fr>",
        "From": {"Name": "Anna", "Address": "anna@customer.example"}, "SentAtDate": "Tue, 10 Mar 2026 11:00:00 +0100",
        "Headers": {"Received": ["by a", "by b"], "In-Reply-To": "<1.2@smtp-relay.mailin.fr>"}, "RawTextBody": "Hello?",
    }  # fmt: skip
    others: list[Any] = [
        item | {"InReplyTo": None}, item | {"Headers": {"Auto-Submitted": "auto-replied"}}, {}, 5, item | {"From": 5},
    ]  # fmt: skip
    event = read(source, {"items": [*others, item]})
    assert (event.id, event.kind, event.address) == ("in-1", Kind.REPLIED, "anna@customer.example")
    assert (event.provider_id, event.key, event.at.hour) == ("1.2@smtp-relay.mailin.fr", "", 10)
    assert "Hello" not in str(event.raw)
