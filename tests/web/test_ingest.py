"""`/v1/…` as Segment's HTTP API documents it: keys, bodies, limits, and answers that clients understand."""

import gzip
import json
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import func, select
from sqlmodel import col

from evergreet import database as databases
from evergreet.clock import FrozenClock
from evergreet.database import Database
from evergreet.errors import ConfigurationError
from evergreet.settings import Settings, settings
from evergreet.web.app import create_app
from evergreet.web.ingest import Intake
from evergreet.web.posts import is_among
from evergreet.web.webhooks import Posted
from models import Contact, Event
from tests.web.conftest import KEY, Call, caller

KEYS = ("the-first-write-key", "the-second-write-key")
TRACK = {"userId": "u1", "event": "Order Completed", "properties": {"order_id": "1"}, "messageId": "m1"}
Post = Callable[..., httpx.Response]


@pytest.fixture
def store(sqlite_url: str) -> Database:
    return Database(sqlite_url)


@pytest.fixture
def call(store: Database, clock: FrozenClock) -> Call:
    """Send requests to an application that takes events, over an SQLite store."""
    given = tuple(SecretStr(key) for key in KEYS)
    return caller(create_app(store, Settings(secret_keys=(SecretStr(KEY),), write_keys=given), clock))


@pytest.fixture
def post(call: Call) -> Post:
    def send(path: str, body: Any = None, key: str | None = KEYS[0], **arguments: Any) -> httpx.Response:
        auth = None if key is None else (key, "")
        content = {"json": body} if body is not None else {}
        return call("POST", f"/v1/{path}", auth=auth, **content, **arguments)

    return send


def names(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(select(col(Event.name)).order_by(col(Event.id))).scalars())


def contacts(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(Contact)).scalar_one()


def test_each_call_is_taken_and_answered_as_segment_does(post: Post, store: Database) -> None:
    who = {"userId": "u1"}
    for path, body in (
        ("track", TRACK), ("track", TRACK), ("identify", {**who, "traits": {"email": "maya@example.com"}}),
        ("page", {**who, "name": "Home"}), ("screen", {**who, "name": "Cart"}), ("group", {**who, "groupId": "g"}),
        ("alias", {"previousId": "old", **who}), ("batch", {"batch": [{"type": "track", **TRACK, "messageId": "m2"}]}),
        ("import", {"batch": [{"type": "track", "userId": "old", "event": "login"}]}), ("batch", {"batch": []}),
    ):  # fmt: skip
        answer = post(path, body)
        assert (answer.status_code, answer.json()) == (200, {"success": True}), path
        assert answer.headers["cache-control"] == "no-store"
    assert names(store) == ["order_completed", "page_viewed", "page_viewed", "order_completed", "login"]
    assert contacts(store) == 1


def test_only_who_has_a_key_may_post(post: Post, store: Database, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    keyed = {**TRACK, "writeKey": KEYS[1]}
    for body, key, headers in (
        (TRACK, None, {}), (TRACK, "wrong-key-of-somebody", {}), (keyed, "wrong-key-of-somebody", {}), (keyed, "", {}),
        ({**TRACK, "writeKey": KEYS[1][:-1]}, None, {}), ({**TRACK, "writeKey": [KEYS[1]]}, None, {}),
        ({**TRACK, "writeKey": "\ud83d"}, None, {}), (TRACK, None, {b"Authorization": b"Basic \xe9"}),
        (TRACK, None, {"Authorization": f"Bearer {KEYS[0]}"}), (keyed, None, {"Authorization": "Basic ////"}),
    ):  # fmt: skip
        answer = post("track", content=json.dumps(body).encode(), key=key, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), (body, key, headers)
        assert answer.headers["www-authenticate"].startswith("Basic")
    assert names(store) == []
    assert post("track", TRACK, key=KEYS[1]).status_code == 200
    assert post("track", keyed, key=None).status_code == 200
    assert post("batch", {"batch": [], "writeKey": KEYS[0]}, key=None).status_code == 200
    assert not [key for key in KEYS if key in caplog.text]


def test_keys_are_compared_as_a_whole_and_none_is_no_key() -> None:
    assert [is_among(key, KEYS) for key in (*KEYS, KEYS[0][:-1], "", None, 3)] == [True, True, *[False] * 4]
    assert not is_among("", [])


def test_without_keys_nothing_is_taken_and_the_log_says_why(
    store: Database, clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    closed = caller(create_app(store, Settings(secret_keys=(SecretStr(KEY),)), clock))
    answer = closed("POST", "/v1/track", json={**TRACK, "writeKey": ""}, auth=("", ""))
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "EVERGREET_WRITE_KEYS is not set" in caplog.text


@pytest.mark.parametrize(
    "written", [" first-key-of-two-, second-key-of-two", '["first-key-of-two-", "second-key-of-two"]']
)
def test_keys_are_written_with_commas_or_as_a_list(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("EVERGREET_WRITE_KEYS", written)
    keys = Settings().write_keys
    assert [key.get_secret_value() for key in keys] == ["first-key-of-two-", "second-key-of-two"]
    assert "first" not in repr(Settings())


@pytest.mark.parametrize("written", ["short", '["long-enough-to-be-a-key"', '["long-enough-to-be-a-key", "short"]'])
def test_a_key_that_could_be_guessed_or_read_wrong_is_refused(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("EVERGREET_WRITE_KEYS", written)
    with pytest.raises(ConfigurationError, match="EVERGREET_WRITE_KEYS") as error:
        settings()
    assert "long-enough" not in str(error.value)
    assert "short" not in str(error.value)


PACKED = gzip.compress(json.dumps(TRACK).encode())


def test_a_packed_body_is_unpacked_in_bounds(post: Post, store: Database) -> None:
    def packed(body: bytes, encoding: str = "gzip") -> int:
        return post("track", content=body, headers={"Content-Encoding": encoding}).status_code

    assert [packed(PACKED), packed(PACKED, "GZip"), packed(json.dumps(TRACK).encode(), "identity")] == [200] * 3
    bomb = gzip.compress(b'{"userId": "' + b" " * 50_000_000 + b'"}')
    assert [packed(bomb), packed(bomb[:2000])] == [413, 413]
    assert [packed(body) for body in (PACKED[:-9], PACKED + b"x", PACKED + PACKED, b"", b"{}")] == [400] * 5
    assert [packed(PACKED, name) for name in ("br", "gzip, gzip", "deflate")] == [415] * 3
    assert names(store) == ["order_completed"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 5000, b"{}", b'{"batch": {}}',
     b'{"batch": 3}', b'{"batch": [], "a": NaN}', b'{"batch": [], "a": 1e999}',
     json.dumps({"batch": [1] * 2501}).encode(), b'{"batch": [' + b"[" * 900 + b"]" * 900 + b"]}",
     json.dumps({"batch": [TRACK]}).encode()],
)  # fmt: skip
def test_what_is_no_batch_is_a_bad_request_in_words(post: Post, store: Database, body: bytes) -> None:
    answer = post("batch", content=body)
    assert answer.status_code == 400
    told = answer.json()
    assert (told["success"], told["code"], told["message"][-1]) == (False, "invalid_request", ".")
    assert names(store) == []


def test_a_request_and_a_message_may_not_be_larger_than_at_segment(post: Post, store: Database) -> None:
    large = {**TRACK, "properties": {"text": "x" * 32_000}, "type": "track"}
    batch = [{**large, "messageId": f"m{n}"} for n in range(15)]
    assert post("batch", {"batch": batch}).json() == {"success": True}
    assert post("batch", {"batch": [*batch, large]}).status_code == 413
    assert "32 KB" in post("track", {**large, "properties": {"text": "x" * 33_000}}).json()["message"]
    assert len(names(store)) == 15


def test_what_cannot_be_used_is_left_out_and_named_and_the_rest_is_stored(
    post: Post, store: Database, caplog: pytest.LogCaptureFixture
) -> None:
    halves = r'{"type":"track","userId":"u1","event":"x","messageId":"h\ud83d","properties":{"name":"cut \ud83d"}}'
    good = json.dumps({"type": "track", **TRACK})
    strange = '{"type":"track","userId":"u1","event":"x","timestamp":"Maya was here","messageId":"t"}'
    unclear = '{"type":"identify","userId":"u2","traits":{"unsubscribed":"?"}}'
    rest = f'7,{{"type":"explode","userId":"u1","messageId":{{}}}},{unclear}'
    answer = post("batch", content=f'{{"batch":[{halves},{good},{strange},{rest}]}}'.encode())
    assert (answer.status_code, answer.json()["success"]) == (200, True)
    told = [(one["place"], one["messageId"], one["message"][:14]) for one in answer.json()["rejected"]]
    assert told == [
        (0, "h?", "broken charact"), (2, "t", "unreadable tim"), (3, None, "wrong type: a "),
        (4, None, "unknown type: "), (5, None, "not yes or no:"),
    ]  # fmt: skip
    assert names(store) == ["order_completed"]
    assert "5 of 6 messages" in caplog.text
    assert "Maya" not in caplog.text


def test_what_had_waited_and_cannot_be_used_is_no_fault_of_who_posts_now(
    post: Post, store: Database, caplog: pytest.LogCaptureFixture
) -> None:
    assert post("identify", {"anonymousId": "x", "traits": {"unsubscribed": "?"}}).json() == {"success": True}
    assert post("track", {**TRACK, "anonymousId": "x"}).json() == {"success": True}
    assert names(store) == ["order_completed"]
    assert "not yes or no" in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "track", 405), ("POST", "nothing", 404), ("PUT", "", 404)]
)
def test_programs_are_answered_in_json(call: Call, method: str, path: str, status: int) -> None:
    answer = call(method, f"/v1/{path}")
    assert (answer.status_code, answer.json()["success"]) == (status, False)


def test_a_store_that_is_locked_or_away_is_asked_again_later(
    post: Post, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "BUSY_SECONDS", 0.05)
    other = sqlite3.connect(str(store.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        answer = post("track", TRACK)
    finally:
        other.close()
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "unavailable", "5")
    assert post("track", TRACK).json() == {"success": True}
    with store.write() as connection:
        connection.exec_driver_sql("DROP TABLE posted_message")
    assert post("track", {**TRACK, "messageId": "m2"}).status_code == 503
    assert names(store) == ["order_completed"]


def test_what_two_servers_are_told_at_once_is_stored_once(database: Database, clock: FrozenClock) -> None:
    given = Settings(secret_keys=(SecretStr(KEY),), write_keys=(SecretStr(KEYS[0]),))
    servers = [Intake(database, given, clock) for _ in range(2)]
    batch: list[dict[str, Any]] = []
    for n in range(20):
        batch.append({"type": "identify", "userId": f"u{n}", "anonymousId": "x", "messageId": f"i{n}"})
        batch.append({"type": "track", "userId": f"u{n}", "anonymousId": f"x{n}", "event": "x", "messageId": f"t{n}"})
    told = Posted({}, json.dumps({"batch": batch, "writeKey": KEYS[0]}).encode())
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda n: servers[n % 2].take("batch", told), range(6)))
    assert [answer.status_code for answer in answers] == [200] * 6
    assert (len(names(database)), contacts(database)) == (20, 20)
