"""What a message says, read without a store: names, times, traits, and what is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from evergreet.importing.rejects import Rejected
from evergreet.ingest.messages import Message, Request, event_name, read_message
from evergreet.presets import vocabulary
from tests.conftest import NOW


def read(call: str, request: Request | None = None, **told: Any) -> Message:
    message = read_message(call, {"userId": "u1", "messageId": "m1", **told}, request or Request(NOW))
    assert message is not None
    return message


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Order Completed", "order_completed"), ("Product List Viewed", "product_list_viewed"),
        ("Products Searched", "products_searched"), ("Email Link Clicked", "email_link_clicked"),
        ("order_placed", "order_placed"), ("orderCompleted", "order_completed"), ("Signed Up", "signed_up"),
        (" checkout-started ", "checkout_started"), ("iOS App Opened", "ios_app_opened"),
        ("Käufe gezählt", "käufe_gezählt"), ("!!!", "!!!"),
    ],
)  # fmt: skip
def test_names_are_written_as_the_vocabulary_writes_them(written: str, name: str) -> None:
    assert event_name(written, {}) == name


def test_a_name_may_be_called_otherwise_by_what_is_written_or_by_what_it_becomes() -> None:
    for names in ({"Order Completed": "order_placed"}, {"order_completed": "order_placed"}):
        assert event_name("Order Completed", names) == "order_placed"


def test_a_page_and_a_screen_are_looked_at() -> None:
    assert (page := read("page", name="Home", category="Shop", properties={"path": "/"})).name == "page_viewed"
    assert page.content == {"name": "Home", "category": "Shop", "path": "/"}
    assert read("screen", name="Cart").name in vocabulary.VISITS


def moment(value: timedelta) -> str:
    return (NOW + value).isoformat()


DAYS = timedelta(days=1)


@pytest.mark.parametrize(
    ("told", "at"),
    [
        ({}, timedelta()),
        ({"timestamp": moment(-DAYS)}, -DAYS),
        ({"timestamp": moment(-DAYS), "sentAt": moment(timedelta())}, -DAYS),
        # A clock two years ahead: what it calls an hour before sending was an hour ago.
        ({"timestamp": moment(730 * DAYS - DAYS / 24), "sentAt": moment(730 * DAYS)}, -DAYS / 24),
        ({"originalTimestamp": moment(-9 * DAYS), "timestamp": moment(DAYS), "sentAt": moment(-8 * DAYS)}, -DAYS),
        ({"timestamp": moment(-DAYS), "sentAt": "yesterday"}, -DAYS),
        ({"timestamp": moment(DAYS), "sentAt": moment(timedelta())}, timedelta()),
        ({"timestamp": moment(DAYS / 2)}, timedelta()),
        ({"timestamp": "2026-03-10T11:00:00"}, -DAYS / 24),
        ({"timestamp": (NOW - DAYS).timestamp() * 1000}, -DAYS),
    ],
)  # fmt: skip
def test_when_it_happened_is_told_by_our_clock(told: dict[str, Any], at: timedelta) -> None:
    assert read("track", event="x", **told).at == NOW + at


def test_a_batch_says_for_its_messages_when_it_was_sent_and_where_from() -> None:
    request = Request(NOW, context={"locale": "de-AT", "timezone": "Europe/Vienna"}, sent_at=moment(DAYS))
    message = read("identify", request, timestamp=moment(DAYS / 2), context={"locale": "en-GB"})
    assert (message.at, message.content) == (NOW - DAYS / 2, {"locale": "en-GB", "timezone": "Europe/Vienna"})


def test_traits_become_fields_of_a_contact() -> None:
    traits = {
        "email": "maya@example.com", "firstName": "Maya", "lastName": "Lin", "name": "Maya Lin", "phone": "+49 30 1",
        "createdAt": "2025-01-01T00:00:00Z", "address": {"country": "DE", "city": "Berlin"}, "plan": "pro",
        "consent": {"news": True}, "source_id": "another",
    }  # fmt: skip
    assert read("identify", traits=traits).content == {
        "email": "maya@example.com", "first_name": "Maya", "last_name": "Lin", "name": "Maya Lin", "phone": "+49 30 1",
        "created_at": "2025-01-01T00:00:00Z", "address": {"country": "DE", "city": "Berlin"}, "country": "DE",
        "plan": "pro", "consent.news": True, "consent_source": "identify",
    }  # fmt: skip


def test_without_an_id_a_message_with_a_time_is_itself_again_and_one_without_is_another() -> None:
    def id_of(**told: Any) -> str:
        return read("track", event="x", messageId=None, **told).id

    at = moment(-DAYS)
    assert id_of(timestamp=at, sentAt=moment(DAYS)) == id_of(timestamp=at, sentAt=moment(2 * DAYS))
    assert id_of(timestamp=at) != id_of(timestamp=at, properties={"a": 1})
    assert id_of() != id_of()


DEEP: Any = 1
for _ in range(70):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("call", "told", "sentence"),
    [
        ("track", {}, "event is empty"),
        ("track", {"event": "x", "userId": None}, "neither userId nor anonymousId"),
        ("track", {"event": "x", "userId": ["u"]}, "userId is ['u'], not text"),
        ("track", {"event": "x", "userId": "u" * 256}, "256 characters"),
        ("track", {"event": "x" * 101}, "event has 101 characters"),
        ("track", {"event": "x", "messageId": "m" * 256}, "messageId has 256"),
        ("track", {"event": "x", "properties": ["a"]}, "properties is ['a'], not an object"),
        ("track", {"event": "x", "properties": {"a": "\x00"}}, "NUL character"),
        ("track", {"event": "x", "properties": {"a": "\ud83d"}}, "half a character"),
        ("track", {"event": "x", "properties": {"a": 2**70}}, "64 bits"),
        ("track", {"event": "x", "properties": {"a": 2**63}}, "64 bits"),
        ("track", {"event": "x", "properties": {"a": DEEP}}, "levels"),
        ("track", {"event": "x", "properties": {"a": "b" * 33_000}}, "32 KB"),
        ("track", {"event": "x", "timestamp": "soon"}, "timestamp is 'soon'"),
        ("track", {"event": "x", "timestamp": moment(3 * DAYS)}, "in the future"),
        ("track", {"event": "x", "timestamp": "1971-01-01", "sentAt": "9999-01-01T00:00:00Z"}, "years apart"),
        ("alias", {}, "userId and previousId"),
        ("group", {"userId": ""}, "neither userId"),
        ("explode", {}, "type is 'explode'"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_a_sentence(call: str, told: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Rejected) as rejected:
        read(call, **told)
    assert sentence in str(rejected.value)


def test_an_empty_list_is_the_empty_object_that_php_writes() -> None:
    assert read("track", event="x", properties=[]) == read("track", event="x", properties={})
    assert read("identify", traits=[]).content == {}


@pytest.mark.parametrize("told", [None, "x", 3, ["a"]])
def test_a_message_is_an_object(told: Any) -> None:
    with pytest.raises(Rejected, match="not an object"):
        read_message("track", told, Request(NOW))


def test_a_group_says_nothing_to_us() -> None:
    assert read_message("group", {"userId": "u1", "groupId": "g"}, Request(NOW)) is None


def test_what_was_before_1970_by_our_clock_happened_then() -> None:
    message = read("track", event="x", timestamp="1971-01-01T00:00:00Z", sentAt="2100-01-01T00:00:00Z")
    assert message.at == datetime(1970, 1, 1, tzinfo=UTC)
