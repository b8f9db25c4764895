"""SendGrid's answers in the ledger: accepted, failed, planned again or unknown, on both stores."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from connectors.email.sendgrid import SendGrid
from evergreet.audit import audit
from evergreet.campaign import TRANSACTIONAL, Campaign, Email, event
from evergreet.contracts import WebhookRequest
from evergreet.feedback.applying import apply_waiting
from evergreet.feedback.storing import store
from evergreet.tokens import Tokens
from models import ProviderEvent, Suppression
from tests.connectors.email.sendgrid_sink import Judge, Sink, errors
from tests.connectors.email.sendgrid_wire import Conduct, WireServer
from tests.connectors.provider_sink import Told
from tests.story import TEMPLATE, Story

Connect = Callable[..., SendGrid]
NEWS = Campaign(
    name="news",
    topic="orders",
    trigger=event("order_placed", key="order_id"),
    steps=(Email("hello", template="note"),),
)
SPLIT = replace(
    TEMPLATE,
    sources=TEMPLATE.sources
    | {"note/body.txt": "Hello {{ contact.first_name }}\n{% if unsubscribe_url %}{{ unsubscribe_url }}{% endif %}"},
)
"""With a text part of its own, so that its messages travel together but for the first."""
MANY = 12
DROPPED: list[tuple[str, dict[str, str]]] = [("dropped", {"reason": "Invalid"})]
DELIVERED: list[tuple[str, dict[str, str]]] = [("delivered", {}), ("deferred", {}), ("processed", {})]


def tell(story: Story, connector: SendGrid) -> dict[str, int]:
    """Let twelve contacts meet the trigger and run through SendGrid: what the ledger says."""
    story.load = lambda _name, _purpose: SPLIT
    story.sender = connector  # type: ignore[assignment]
    story.launch(NEWS)
    story.happened("order_placed", *story.contacts(MANY, consents=["orders"]))
    story.run(NEWS)
    return story.states()


def about(address: str, told: Callable[[int], Told]) -> Judge:
    """Answer a request that has somebody in it; `told` gets the place."""

    def judge(body: dict[str, Any]) -> Told | None:
        found = [p["to"][0]["email"] for p in body["personalizations"]]
        return told(found.index(address)) if address in found else None

    return judge


def keys_sent(sink: Sink) -> list[str]:
    return sorted(mail.custom_args["evergreet_key"] for mail in sink.mails)


def test_what_is_taken_is_accepted_and_the_row_comes_back_with_every_event(
    story: Story, sink: Sink, sendgrid_at: Connect
) -> None:
    assert tell(story, sendgrid_at(sink.url)) == {"accepted": MANY}
    assert sorted(sink.groups) == [1, MANY - 1]
    by_address = {mail.address: mail for mail in sink.mails}
    assert len(by_address) == len(sink.mails) == MANY
    for message in story.messages:
        assert message.provider_id.startswith("sg-")
    assert len(set(keys_sent(sink))) == MANY
    mail = by_address["c3@example.org"]
    assert mail.subject == "Hello C3"
    assert mail.html.startswith("<p>Hello C3</p>")
    assert mail.headers["List-Unsubscribe"].strip("<>") in mail.html.replace("&amp;", "&")
    assert mail.headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


def test_marketing_goes_in_the_group_of_its_topic_and_within_the_span_and_a_receipt_goes_at_once(
    story: Story, sink: Sink, sendgrid_at: Connect
) -> None:
    both = Campaign(
        name="news", topic="orders", trigger=event("order_placed", key="order_id"),
        steps=(Email("receipt", template="note", purpose=TRANSACTIONAL), Email("hello", template="note")),
    )  # fmt: skip
    story.sender = sendgrid_at(sink.url, groups={"orders": 15}, spread_seconds=600)  # type: ignore[assignment]
    story.launch(both)
    story.happened("order_placed", *story.contacts(2, consents=["orders"]))
    story.run(both)
    receipts = [mail for mail in sink.mails if mail.headers["Feedback-ID"].startswith("receipt:")]
    letters = [mail for mail in sink.mails if mail not in receipts]
    assert [(mail.group, mail.send_at) for mail in receipts] == [(None, None)] * 2
    assert [mail.group for mail in letters] == [15, 15]
    begins = int(story.now.timestamp())
    assert all(mail.send_at is not None and begins <= mail.send_at <= begins + 600 for mail in letters)


def test_a_bad_address_fails_and_is_suppressed_and_the_others_go(
    story: Story, sink: Sink, sendgrid_at: Connect
) -> None:
    sink.judge = about(
        "c5@example.org",
        lambda place: errors((f"personalizations.{place}.to.0.email", "Does not contain a valid address.")),
    )
    states = tell(story, sendgrid_at(sink.url))
    assert states.pop("accepted") == MANY - 1
    assert list(states.values()) == [1]
    assert next(iter(states)).startswith("failed: ")
    assert [row.address for row in story.rows(Suppression)] == ["c5@example.org"]
    assert len(keys_sent(sink)) == MANY - 1


def test_somebody_who_is_refused_without_a_name_fails_and_is_not_suppressed(
    story: Story, sink: Sink, sendgrid_at: Connect
) -> None:
    sink.judge = about("c5@example.org", lambda _: errors((None, "Bad Request")))
    states = tell(story, sendgrid_at(sink.url))
    assert states == {"accepted": MANY - 1, "failed: SendGrid answers 400: Bad Request.": 1}
    assert story.rows(Suppression) == []


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(errors((None, "authorization required"), status=401), id="401"),
        pytest.param(
            errors(("from", "The from address does not match a verified Sender Identity."), status=403), id="403"
        ),
    ],
)
def test_our_own_fault_halts_the_campaign_and_everybody_stays_planned(
    story: Story, sink: Sink, sendgrid_at: Connect, told: Told
) -> None:
    sink.judge = lambda body: told
    states = tell(story, sendgrid_at(sink.url))
    assert sum(count for state, count in states.items() if state.startswith("planned")) == MANY
    sink.judge = lambda body: None
    story.clock.advance(timedelta(days=1))
    story.run(NEWS)
    assert story.states() == {"accepted": MANY}
    assert len(set(keys_sent(sink))) == len(keys_sent(sink)) == MANY


@pytest.mark.parametrize("field", ["content.1.value", "personalizations.0.headers"])
def test_what_is_wrong_with_what_all_share_fails_who_goes_alone_and_nobody_else(
    story: Story, sink: Sink, sendgrid_at: Connect, field: str
) -> None:
    sink.judge = lambda body: errors((field, "Not like that."))
    states = tell(story, sendgrid_at(sink.url))
    failed = sum(count for state, count in states.items() if state.startswith("failed: SendGrid answers 400: Not like"))
    assert failed <= 1, "the first goes alone, and it may be about that one"
    assert sum(count for state, count in states.items() if state.startswith("planned")) == MANY - failed
    sink.judge = lambda body: None
    story.clock.advance(timedelta(days=1))
    story.run(NEWS)
    assert len(set(keys_sent(sink))) == len(keys_sent(sink)) == MANY - failed


def test_a_request_that_is_too_large_goes_in_parts(story: Story, sink: Sink, sendgrid_at: Connect) -> None:
    sink.judge = lambda body: Told(413) if len(body["personalizations"]) > 2 else None
    assert tell(story, sendgrid_at(sink.url)) == {"accepted": MANY}
    assert len(set(keys_sent(sink))) == len(keys_sent(sink)) == MANY


def test_a_limit_plans_everybody_again_for_when_sendgrid_says(story: Story, sink: Sink, sendgrid_at: Connect) -> None:
    sink.judge = lambda body: Told(429, b"", {"Retry-After": "7200"})
    states = tell(story, sendgrid_at(sink.url))
    assert sum(count for state, count in states.items() if state.startswith("planned")) == MANY
    asked, told = [row for row in story.messages if row.attempts], story.now + timedelta(hours=2)
    assert {row.not_before for row in asked} == {told}
    sink.judge = lambda body: None
    story.clock.advance(timedelta(hours=2))
    story.run(NEWS)
    assert story.states() == {"accepted": MANY}


@pytest.mark.parametrize(
    "conduct",
    [
        pytest.param(Conduct(b"HTTP/1.1 500 Error\r\nContent-Length: 0\r\n\r\n"), id="500"),
        pytest.param(Conduct(b"HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n"), id="503"),
        pytest.param(Conduct(then="wait"), id="time-out after the body"),
        pytest.param(Conduct(b"HTTP/1.1 202 Acc", then="reset"), id="lost before the 202 was whole"),
    ],
)
def test_a_doubt_is_unknown_for_those_in_the_request_and_nobody_is_asked_for_again(
    story: Story, sink: Sink, sendgrid_at: Connect, conduct: Conduct
) -> None:
    with WireServer(conduct) as server:
        states = tell(story, sendgrid_at(server.url, timeout=0.5))
        unknown = sum(count for state, count in states.items() if state.startswith("unknown"))
        planned = sum(count for state, count in states.items() if state.startswith("planned"))
        assert unknown >= 1
        assert unknown + planned == MANY
        assert server.complete >= 1
    in_doubt = {row.id for row in story.messages if row.state == "unknown"}
    story.sender = sendgrid_at(sink.url)  # type: ignore[assignment]
    story.clock.advance(timedelta(days=1))
    story.run(NEWS)
    assert {row.id for row in story.messages if row.state == "unknown"} == in_doubt
    assert len(keys_sent(sink)) == planned
    assert all(one.clean for one in audit(story.database, story.clock))


def test_a_doubt_ends_when_the_event_webhook_tells_of_our_custom_arguments_in_any_order_and_twice(
    story: Story, sink: Sink, sendgrid_at: Connect
) -> None:
    sink.judge = lambda body: errors((None, "internal server error"), status=502)
    connector = sendgrid_at(sink.url)
    tell(story, connector)
    asked = [p for body in sink.bodies for p in body["personalizations"]]
    in_doubt = {str(row.id) for row in story.messages if row.state == "unknown"}
    assert in_doubt == {p["custom_args"]["evergreet_row"] for p in asked}
    events = [
        {"event": word, "sg_event_id": f"{word}-{number}", "timestamp": int(story.now.timestamp()),
         "sg_message_id": f"x{number}.recvd-1.0", "email": p["to"][0]["email"], **p["custom_args"], **more}
        for number, p in enumerate(asked)
        for word, more in (DELIVERED if number else DROPPED)
    ]  # fmt: skip
    others = {"event": "delivered", "sg_event_id": "another installation's", **asked[0]["custom_args"]}
    events.append({**others, "evergreet_key": "0" * 32})
    tokens = Tokens([key.get_secret_value() for key in story.settings.secret_keys])
    for body in (json.dumps(events), json.dumps(events[::-1])):
        told = connector.parse(WebhookRequest({}, body.encode(), story.now))
        with story.database.write() as connection:
            store(connection, "sendgrid", told, story.now)
        apply_waiting(story.database, tokens, story.clock)
    rows = {str(row.id): row for row in story.messages}
    assert {(rows[row].state, rows[row].resolution) for row in in_doubt} == {("accepted", "webhook")}
    told_of = [rows[p["custom_args"]["evergreet_row"]] for p in asked]
    assert [row.delivery for row in told_of] == ["dropped", *["delivered"] * (len(asked) - 1)]
    assert [row.provider_id for row in told_of] == [f"x{number}" for number in range(len(asked))]
    assert [row.address for row in story.rows(Suppression)] == [asked[0]["to"][0]["email"]]
    assert len(story.rows(ProviderEvent)) == len(events)
    assert all(one.clean for one in audit(story.database, story.clock))


@pytest.mark.parametrize(
    "conduct",
    [
        pytest.param(Conduct(b"HTTP/1.1 202 Accepted\r\nX-Message-Id: 7\r\nContent-Length: 9\r\n\r\n"), id="closed"),
        pytest.param(
            Conduct(b"HTTP/1.1 202 Accepted\r\nX-Message-Id: 7\r\nContent-Length: 9\r\n\r\n", then="reset"), id="reset"
        ),
    ],
)
def test_a_connection_lost_after_the_202_leaves_no_doubt(story: Story, sendgrid_at: Connect, conduct: Conduct) -> None:
    with WireServer(conduct) as server:
        assert tell(story, sendgrid_at(server.url)) == {"accepted": MANY}
        assert server.complete == server.connections
    assert {row.provider_id for row in story.messages} == {"7"}


def test_a_server_that_is_away_plans_everybody_again(story: Story, sink: Sink, sendgrid_at: Connect) -> None:
    with WireServer(Conduct()) as server:
        away = server.url
    states = tell(story, sendgrid_at(away))
    assert sum(count for state, count in states.items() if state.startswith("planned")) == MANY
    story.sender = sendgrid_at(sink.url)  # type: ignore[assignment]
    story.clock.advance(timedelta(days=1))
    story.run(NEWS)
    assert story.states() == {"accepted": MANY}


def test_the_sandbox_is_accepted_under_a_name_that_says_so(story: Story, sink: Sink, sendgrid_at: Connect) -> None:
    assert tell(story, sendgrid_at(sink.url, sandbox=True)) == {"accepted": MANY}
    assert sink.mails == []
    assert all(row.provider_id.startswith("sandbox:") for row in story.messages)
