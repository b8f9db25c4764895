"""The webhook connector: signed as the standard's own package reads it, each answer is understood, nothing is told."""

import json
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors import standard_webhooks
from connectors.addressing import is_public
from connectors.calling import make_client
from connectors.internal.webhook import LONGEST, Webhook
from connectors.internal.webhook_settings import WebhookSettings
from evergreet.contracts import Accepted, HasDestinations, WebhookMessage
from evergreet.errors import Misconfigured, Permanent, Retryable
from evergreet.testing import InternalConnectorContract
from tests.connectors.email.sendgrid_wire import SILENT, Conduct, WireServer
from tests.connectors.internal.receiver import PATH, SECRET, Receiver
from tests.connectors.provider_sink import Told


@pytest.fixture(scope="module")
def _receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def receiver(_receiver: Receiver) -> Iterator[Receiver]:
    _receiver.posts.clear()
    _receiver.taken.clear()
    _receiver.bodies.clear()
    _receiver.judge = lambda _: None
    yield _receiver
    assert _receiver.faults == []


@pytest.fixture
def at() -> Iterator[Callable[..., Webhook]]:
    with ExitStack() as made:

        def make(url: str, *, secret: str = SECRET, private: bool = True, **options: Any) -> Webhook:
            to = {"warehouse": {"url": url + PATH, "secret": secret, "private": private}}
            connector = Webhook(WebhookSettings.model_validate({"to": to, "timeout": 20, **options}), make_client(2))
            made.callback(connector.close)
            return connector

        yield make


class TestWebhook(InternalConnectorContract):
    entry_point = "webhook"
    channel = "webhook"
    to = "warehouse"
    secrets = (SECRET, SECRET.removeprefix("whsec_"), "canary-path")

    @pytest.fixture
    def connector(self, receiver: Receiver, at: Callable[..., Webhook]) -> HasDestinations:
        return at(receiver.url)

    @pytest.fixture
    def arrived(self, receiver: Receiver) -> Callable[[], list[str]]:
        return lambda: receiver.bodies

    @pytest.fixture
    def unreachable(self, at: Callable[..., Webhook]) -> HasDestinations:
        return at("http://127.0.0.1:9")

    @pytest.fixture
    def silent(self, at: Callable[..., Webhook]) -> Iterator[HasDestinations]:
        with WireServer(SILENT) as server:
            yield at(server.url, timeout=0.3)


def message(key: str = "k1", body: str = '{"name": "Maya"}', to: str = "warehouse") -> WebhookMessage:
    return WebhookMessage(key, to, body)


def test_a_receiver_of_the_standard_reads_it_with_old_and_new_secret(
    receiver: Receiver, at: Callable[..., Webhook]
) -> None:
    newer = "whsec_" + "bmV3ZXIt" * 4
    connector = at(receiver.url, secret=f"{newer} {SECRET}")
    body = '{"name": "Grüße, 明日 👍🏽", "n": 12345678901234567890123}'
    assert connector.send([message("k1", body), message("k2")]) == [Accepted("k1"), Accepted("k2")]
    assert [(named, said) for named, _, said in receiver.posts] == [("k1", json.loads(body)), ("k2", {"name": "Maya"})]
    assert receiver.posts[0][1]["webhook-signature"].count("v1,") == 2


def test_what_is_signed_is_what_was_published(fixtures: Path) -> None:
    vectors = json.loads((fixtures / "vectors" / "webhook_signatures.json").read_text("utf-8"))
    tried = 0
    for one in vectors:
        if one["scheme"] == "standard-webhooks-v1" and one["valid"]:
            given = {name.partition("-")[2]: value for name, value in one["headers"].items()}
            moment = datetime.fromtimestamp(int(given["timestamp"]), UTC)
            key = standard_webhooks.read_key(one["secret"])
            made = standard_webhooks.sign(one["body"].encode(), given["id"], moment, [key])
            assert made["webhook-signature"] in given["signature"].split(" ")
            tried += 1
    assert tried


MEANINGS = [
    (200, Accepted),
    (202, Accepted),
    (299, Accepted),
    *((status, Misconfigured) for status in (301, 302, 307, 308, 401, 403, 410)),
    *((status, Permanent) for status in (400, 404, 405, 409, 413, 415, 422)),
    *((status, Retryable) for status in (408, 425, 429, 500, 502, 503, 504, 599)),
]


def test_each_answer_has_its_outcome(receiver: Receiver, at: Callable[..., Webhook]) -> None:
    connector = at(receiver.url)
    moved = {"Location": f"{receiver.url}/elsewhere"}
    for status, meaning in MEANINGS:
        told = Told(status, b"no, not maya@example.com", {"Retry-After": "120", **moved})
        receiver.judge = lambda _, told=told: told  # type: ignore[misc]
        (outcome,) = connector.send([message()])
        assert type(outcome) is meaning, (status, outcome)
        if isinstance(outcome, Accepted):
            continue
        assert f"answers {status}: no, not (address)" in outcome.reason
        if isinstance(outcome, Retryable):
            assert (outcome.accepted, outcome.retry_after) == ("no", timedelta(minutes=2))
    assert len(receiver.posts) == len(MEANINGS), "a redirect was followed"


def test_no_answer_is_a_doubt_only_where_the_whole_of_it_was_sent(at: Callable[..., Webhook]) -> None:
    half = Conduct(b"HTTP/1.1 200", then="close")
    for conduct in (half, Conduct(then="reset")):
        with WireServer(conduct) as server:
            (outcome,) = at(server.url, timeout=0.3).send([message()])
        assert isinstance(outcome, Retryable)
        assert outcome.accepted == "maybe"
    endless = Conduct(b"HTTP/1.1 500 No\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 200_000, then="wait")
    with WireServer(endless) as server:
        (outcome,) = at(server.url, timeout=0.5).send([message()])
    assert isinstance(outcome, Retryable)
    assert (outcome.accepted, len(outcome.reason) < 500) == ("no", True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (outcome,) = at(f"http://127.0.0.1:{port}").send([message()])
    assert isinstance(outcome, Retryable)
    assert outcome.accepted == "no"


def test_nothing_is_written_to_a_private_address_unless_it_is_allowed(
    receiver: Receiver, at: Callable[..., Webhook], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address of the connection counts, not what a name led to when somebody looked."""
    resolve, port = socket.getaddrinfo, int(receiver.url.rpartition(":")[2])
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **named: resolve("127.0.0.1", *rest, **named)
    )  # fmt: skip
    with WireServer(SILENT) as server:
        port = int(server.url.rpartition(":")[2])
        (outcome,) = at(f"https://shop.example:{port}", private=False, timeout=5).send([message()])
        assert isinstance(outcome, Misconfigured)
        assert "shop.example is an address of a private network" in outcome.reason
        assert server.complete == 0
    for inside in ("10.0.0.8", "169.254.169.254", "100.64.0.1", "::1", "fe80::1%eth0", "::ffff:10.0.0.8",
                   "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "0.0.0.0", "224.0.0.1", "fd00::1"):  # fmt: skip
        assert not is_public(inside), inside
    for outside in ("93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"):
        assert is_public(outside), outside


def test_what_cannot_be_posted_is_refused_alone(receiver: Receiver, at: Callable[..., Webhook]) -> None:
    large = message("large", json.dumps("x" * LONGEST))
    outcomes = at(receiver.url).send([message("a"), large, message("b.1"), message("c", to="nowhere"), message("d")])
    assert [type(one) for one in outcomes] == [Accepted, Permanent, Permanent, Misconfigured, Accepted]
    assert receiver.taken == ["a", "d"]


def test_what_a_receiver_repeats_of_its_secret_is_kept_nowhere(
    receiver: Receiver, at: Callable[..., Webhook], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said = f"{SECRET} {SECRET.removeprefix('whsec_')} {PATH}".encode()
    receiver.judge = lambda _: Told(400, said)
    connector = at(receiver.url)
    (outcome,) = connector.send([message()])
    assert isinstance(outcome, Permanent)
    settings = WebhookSettings.model_validate({"to": {"a": {"url": f"https://x.example{PATH}", "secret": SECRET}}})
    texts = [outcome.reason, repr(vars(connector)), repr(settings), caplog.text]
    assert "HTTP Request: POST" in caplog.text
    for secret in (SECRET, SECRET.removeprefix("whsec_"), "canary-path"):
        assert secret not in "\n".join(texts)


def test_settings_come_from_the_environment_and_a_wrong_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREET_WEBHOOK_TO__WAREHOUSE__URL", "https://shop.example/in")
    with pytest.raises(Misconfigured, match="EVERGREET_WEBHOOK_TO__WAREHOUSE__SECRET is not set"):
        Webhook.from_environment()
    monkeypatch.setenv("EVERGREET_WEBHOOK_TO__WAREHOUSE__SECRET", "whsec_dG9vIHNob3J0")
    with pytest.raises(Misconfigured, match=r"24 to 64 octets") as told:
        Webhook.from_environment()
    assert "dG9vIHNob3J0" not in str(told.value)
    monkeypatch.setenv("EVERGREET_WEBHOOK_TO__WAREHOUSE__SECRET", SECRET)
    connector = Webhook.from_environment()
    assert list(connector.destinations) == ["warehouse"]
    connector.close()
    for url in ("http://shop.example/in", "http://127.0.0.1/in", "https://me:pw@shop.example/in", "ftp://x", "shop"):
        monkeypatch.setenv("EVERGREET_WEBHOOK_TO__WAREHOUSE__URL", url)
        with pytest.raises(Misconfigured, match="EVERGREET_WEBHOOK_TO__WAREHOUSE"):
            Webhook.from_environment()
    monkeypatch.setenv("EVERGREET_WEBHOOK_TO", "{")
    with pytest.raises(Misconfigured, match="EVERGREET_WEBHOOK_"):
        Webhook.from_environment()


def test_a_check_says_what_it_reached(receiver: Receiver, at: Callable[..., Webhook]) -> None:
    assert at(receiver.url).check() == "Reached: warehouse (127.0.0.1)."
    assert receiver.posts == []
    nowhere = Webhook(WebhookSettings(), httpx.Client())
    with pytest.raises(Misconfigured, match="EVERGREET_WEBHOOK_TO__NAME__URL"):
        nowhere.check()
    nowhere.close()
