"""The Slack connector: Slack's own package posts the same; each of Slack's words has its outcome; nothing is told."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
from slack_sdk.webhook import WebhookClient

from connectors.calling import make_client
from connectors.internal.slack import LONGEST, Slack
from connectors.internal.slack_answers import LATER, OURS, REFUSED
from connectors.internal.slack_settings import SlackSettings
from evergreet.contracts import Accepted, HasDestinations, SlackNote
from evergreet.errors import Misconfigured, Permanent, Retryable
from evergreet.testing import InternalConnectorContract
from tests.connectors.email.sendgrid_wire import SILENT, WireServer
from tests.connectors.internal.receiver import SlackSink
from tests.connectors.provider_sink import Told


@pytest.fixture(scope="module")
def _sink() -> Iterator[SlackSink]:
    with SlackSink() as running:
        yield running


@pytest.fixture
def sink(_sink: SlackSink) -> SlackSink:
    _sink.requests.clear()
    _sink.answer = None
    return _sink


@pytest.fixture
def at() -> Iterator[Callable[..., Slack]]:
    with ExitStack() as made:

        def make(url: str, path: str = SlackSink.path, **options: Any) -> Slack:
            settings = SlackSettings.model_validate({"to": {"team": {"url": url + path}}, "timeout": 20, **options})
            connector = Slack(settings, make_client(2))
            made.callback(connector.close)
            return connector

        yield make


class TestSlack(InternalConnectorContract):
    entry_point = "slack"
    channel = "slack"
    secrets = ("d0nttell", "B0CANARY")

    @pytest.fixture
    def connector(self, sink: SlackSink, at: Callable[..., Slack]) -> HasDestinations:
        return at(sink.url)

    @pytest.fixture
    def arrived(self, sink: SlackSink) -> Callable[[], list[str]]:
        return lambda: [said["text"] for _, _, _, said in sink.requests]

    @pytest.fixture
    def unreachable(self, at: Callable[..., Slack]) -> HasDestinations:
        return at("http://127.0.0.1:9")

    @pytest.fixture
    def silent(self, at: Callable[..., Slack]) -> Iterator[HasDestinations]:
        with WireServer(SILENT) as server:
            yield at(server.url, timeout=0.3)


def note(text: str = "Maya placed an order.", to: str = "team") -> SlackNote:
    return SlackNote("k1", to, text)


def test_slacks_own_package_posts_the_same(sink: SlackSink, at: Callable[..., Slack]) -> None:
    connector = at(sink.url)
    text = '*Maya* &amp; Noor: "<https://shop.example|1042>"\n明日 👍🏽'
    assert connector.send([note(text)]) == [Accepted("")]
    answer = WebhookClient(f"{sink.url}{sink.path}").send(text=text)
    assert (answer.status_code, answer.body) == (200, "ok")
    ours, theirs = sink.requests
    assert ours == theirs == ("POST", sink.path, "application/json", {"text": text})


def test_each_of_slacks_words_has_its_outcome(sink: SlackSink, at: Callable[..., Slack]) -> None:
    connector = at(sink.url)
    told: list[tuple[Told, type[Exception], str]] = [
        *((Told(400, word.encode()), Permanent, "") for word in sorted(REFUSED)),
        *((Told(status, word.encode()), Misconfigured, "") for word in sorted(OURS) for status in (400, 403, 404, 410)),
        *((Told(429, word.encode(), {"Retry-After": "30"}), Retryable, "no") for word in [*sorted(LATER), ""]),
        (Told(400, b"a new word"), Permanent, ""),
        (Told(404, b"<html>"), Misconfigured, ""),
        (Told(302, b"", {"Location": "/elsewhere"}), Misconfigured, ""),
        (Told(500, b"rollup_error"), Retryable, "maybe"),
        (Told(503, b""), Retryable, "maybe"),
        (Told(200, b"<html>a proxy says hello"), Retryable, "maybe"),
        (Told(200, b""), Retryable, "maybe"),
    ]
    for answer, meaning, accepted in told:
        sink.answer = answer
        (outcome,) = connector.send([note()])
        assert type(outcome) is meaning, (answer, outcome)
        assert getattr(outcome, "accepted", "") == accepted, answer
        if answer.status == 429:
            assert outcome.retry_after == timedelta(seconds=30)  # type: ignore[union-attr]
    assert len(sink.requests) == len(told)


def test_what_cannot_be_posted_is_refused_alone(sink: SlackSink, at: Callable[..., Slack]) -> None:
    outcomes = at(sink.url).send([note(), note(" "), note("x" * (LONGEST + 1)), note(to="elsewhere"), note("z")])
    assert [type(one) for one in outcomes] == [Accepted, Permanent, Permanent, Misconfigured, Accepted]


def test_what_slack_repeats_of_its_address_is_kept_nowhere(
    sink: SlackSink, at: Callable[..., Slack], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    sink.answer = Told(400, f"what is {sink.path}?".encode())
    connector = at(sink.url)
    (outcome,) = connector.send([note()])
    assert isinstance(outcome, Permanent)
    monkeypatch.setenv("EVERGREET_SLACK_TO__TEAM__URL", f"http://hooks.slack.com{sink.path}")
    with pytest.raises(Misconfigured, match=r"EVERGREET_SLACK_TO__TEAM__URL.*plain text") as refused:
        Slack.from_environment()
    assert "HTTP Request: POST" in caplog.text
    assert "d0nttell" not in "\n".join([outcome.reason, repr(vars(connector)), str(refused.value), caplog.text])


def test_a_check_says_what_is_wrong(sink: SlackSink, at: Callable[..., Slack]) -> None:
    assert at(sink.url).check() == "Slack takes notes for team."
    with pytest.raises(Misconfigured, match=r"no_service.*make a new one"):
        at(sink.url, "/services/T0/B0/old").check()
    with pytest.raises(Misconfigured, match="EVERGREET_SLACK_TO__NAME"):
        Slack(SlackSettings(), make_client(1)).check()
