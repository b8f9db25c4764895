"""Clicks: the redirect leads to what stood in the message, and what came is told as a provider tells it."""

import re
from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import select
from sqlmodel import col

from evergreet.campaign import TRANSACTIONAL, Campaign, Email, event
from evergreet.composing import message_key
from evergreet.contracts import EmailMessage
from evergreet.database import Database
from evergreet.erasure import erase
from evergreet.settings import Settings
from evergreet.template_sources import TemplateSource
from evergreet.tokens import Tokens
from evergreet.web.app import create_app
from evergreet.web.clicks import by_machine
from models import Event, Message, ProviderEvent
from tests.story import Story
from tests.web.conftest import KEY, Call, caller

_MINUTE = timedelta(minutes=1)
READER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
TEMPLATE = TemplateSource(
    name="note",
    hash="2" * 64,
    sources={
        "note/subject.txt": "Hello {{ contact.first_name }}",
        "note/body.html": '<a href="https://shop.example/sale?a=1&amp;b=2">Sale</a>'
        '<a href="https://shop.example/o/{{ event.order_id }}">Your order</a>'
        '{% if unsubscribe_url %}<a href="{{ unsubscribe_url }}">Leave</a>{% endif %}',
        "note/body.txt": "https://shop.example/sale {{ unsubscribe_url }}",
    },
)
NEWS = Campaign(
    name="news",
    topic="news",
    trigger=event("order_placed", key="order_id"),
    steps=(Email("receipt", template="note", purpose=TRANSACTIONAL), Email("hello", template="note")),
)


def sent(story: Story, people: int = 4) -> list[EmailMessage]:
    """Send a receipt and a letter to some people; the letters, in the order of their rows."""
    story.load = lambda _name, _purpose: TEMPLATE
    story.settings = Settings(
        secret_keys=(SecretStr(KEY),), track_clicks=True, public_url="https://mail.fernway.example/"
    )
    story.launch(NEWS)
    story.happened("order_placed", *story.contacts(people, consents=["news"]))
    story.run(NEWS)
    return sorted((one for one in story.sender.sent if one.topic), key=lambda one: one.row)


def links(message: EmailMessage) -> list[str]:
    return re.findall(r'href="https://mail.fernway.example(/[^"]*)"', message.html)


def opened(story: Story) -> Call:
    return caller(create_app(story.database, story.settings, story.clock))


def told(database: Database) -> list[tuple[str, int, str]]:
    with database.read() as connection:
        rows = connection.execute(select(Event).where(col(Event.source) == "webhook:links").order_by(col(Event.id)))
        return [(row.name, row.properties["message_id"], row.properties["link_url"]) for row in rows]


def test_links_of_marketing_lead_over_us_and_each_click_counts_once_in_a_minute(story: Story) -> None:
    letters = sent(story)
    receipts = [one for one in story.sender.sent if not one.topic]
    assert all("/c/" not in one.html and "https://shop.example/o/" in one.html for one in receipts)
    assert len(letters) == 4
    call = opened(story)
    orders = set()
    for letter in letters:
        sale, order, left = links(letter)
        assert left in letter.headers["List-Unsubscribe"]
        assert letter.text.startswith("https://shop.example/sale https://mail.fernway.example/u/")
        assert letter.split is None or letter.split.part("html") == letter.html
        for path, starts in ((sale, "https://shop.example/sale?a=1&b=2"), (order, "https://shop.example/o/e")):
            answer = call("GET", path, headers=READER)
            assert answer.status_code == 302
            assert answer.headers["location"].startswith(starts)
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.content == b""
            orders.add(answer.headers["location"])
    assert len(orders) == 5, "an order each, and the sale"
    assert letters[-1].split is not None, "also where messages are split"
    assert told(story.database) == [
        ("email_link_clicked", letter.row, link)
        for letter in letters
        for link in sorted({"https://shop.example/sale", _order(story, letter)}, reverse=True)
    ]
    before = told(story.database)
    call("GET", links(letters[0])[0], headers=READER)
    assert told(story.database) == before, "a doubled click"
    story.clock.advance(_MINUTE)
    call("GET", links(letters[0])[0], headers=READER)
    assert len(told(story.database)) == len(before) + 1
    with story.database.read() as connection:
        assert set(connection.execute(select(col(Message.delivery))).scalars()) == {None, "delivered"}


def test_who_looks_ahead_counts_as_a_machine() -> None:
    reader = {name.lower(): value for name, value in READER.items()}
    assert not by_machine("GET", reader)
    assert by_machine("HEAD", reader)
    for name, value in (
        ("sec-purpose", "prefetch;prerender"), ("purpose", "prefetch"), ("x-moz", "Prefetch"), ("user-agent", ""),
        ("user-agent", "Mozilla/5.0 (compatible; SomethingBot/2.0)"), ("user-agent", "python-requests/2"),
    ):  # fmt: skip
        assert by_machine("GET", reader | {name: value}), (name, value)


def test_a_machine_is_led_on_and_told_under_another_name(story: Story) -> None:
    (letter,) = sent(story, 1)
    answer = opened(story)("HEAD", links(letter)[0], headers=READER)
    assert (answer.status_code, answer.content) == (302, b"")
    assert told(story.database) == [("email_link_clicked_by_machine", letter.row, "https://shop.example/sale")]


def test_links_of_somebody_who_was_erased_lead_on_and_nothing_is_stored(story: Story) -> None:
    (letter,) = sent(story, 1)
    with story.database.write() as connection:
        contact = story.messages[0].contact_id
        erase(connection, contact, tokens=Tokens([KEY]), at=story.now, actor="test")
    answer = opened(story)("GET", links(letter)[0], headers=READER)
    assert answer.headers["location"] == "https://shop.example/sale?a=1&b=2"
    assert story.rows(ProviderEvent) == []


def test_a_link_that_is_not_ours_leads_nowhere(call: Call) -> None:
    (token,) = Tokens([KEY]).sign_clicks(1, message_key("a", "b", "c", "d"), ["https://shop.example/"])
    (other,) = Tokens(["another key"]).sign_clicks(1, "0" * 32, ["https://evil.example/"])
    wrong = ["x", other, token[:-1], token + "A", token.replace(token[40], "!"), "%2F%2Fevil.example", "//evil.example",
             "https://evil.example", "javascript:alert(1)", f"{token}%0d%0aLocation:%20https://evil.example",
             "..%2f..%2fu", "A" * 5000]  # fmt: skip
    for path in wrong:
        for method in ("GET", "HEAD"):
            answer = call(method, f"/c/{path}")
            assert (answer.status_code, "location" in answer.headers) == (404, False), path
            assert method == "HEAD" or "There is nothing here" in answer.text
    answer = call("GET", f"/c/{token}?url=https://evil.example&next=//evil.example", headers={"Host": "evil.example"})
    assert answer.headers["location"] == "https://shop.example/"
    assert call("POST", f"/c/{token}").status_code == 405


def test_while_the_database_takes_nothing_links_lead_on_and_clicks_wait(
    story: Story, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    letters = sent(story, 2)
    call = opened(story)
    with monkeypatch.context() as patched:
        patched.setattr("evergreet.web.clicks.store", _broken)
        assert call("GET", links(letters[0])[0], headers=READER).status_code == 302
    assert told(story.database) == []
    assert "1 clicks wait" in caplog.text
    call("GET", links(letters[1])[0], headers=READER)
    assert [row for _, row, _ in told(story.database)] == [letter.row for letter in letters]


def _broken(*_arguments: object) -> None:
    raise OSError("no space left")


def _order(story: Story, letter: EmailMessage) -> str:
    with story.database.read() as connection:
        occurrence = connection.execute(
            select(col(Message.occurrence)).where(col(Message.id) == letter.row)
        ).scalar_one()
    return f"https://shop.example/o/{occurrence.rpartition(':')[2]}"
