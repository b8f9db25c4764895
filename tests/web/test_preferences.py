"""The page of preferences: what is shown, what a choice changes, and that nothing else changes anything."""

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import insert, select, update
from sqlmodel import col

from evergreet.campaign import MARKETING, TRANSACTIONAL, Campaign, Email, event
from evergreet.clock import FrozenClock
from evergreet.consent import suppress
from evergreet.database import Database
from evergreet.erasure import erase
from evergreet.settings import Settings
from evergreet.tokens import Tokens
from evergreet.web.app import create_app
from models import CampaignRow, Consent, Contact, FrequencyChoice, Suppression
from tests.conftest import NOW
from tests.contacts import add_consent, add_contact
from tests.story import Story
from tests.web.conftest import KEY, Call, caller
from tests.web.test_unsubscribe import granted, suppressed

Change = Callable[..., str]


@pytest.fixture
def page(link: str) -> str:
    """Her preferences: the token is that of the unsubscribe link."""
    return link.replace("/u/", "/preferences/")


def chosen(html: str) -> dict[str, bool]:
    """Return the topics of a page, and whether they are ticked."""
    boxes = re.findall(r'<input type="checkbox" name="topic" value="([^"]*)"( checked)?>', html)
    return {unescape(topic): bool(ticked) for topic, ticked in boxes}


def rows(database: Database) -> list[tuple[str, bool, str, str]]:
    with database.read() as connection:
        found = connection.execute(
            select(Consent).where(col(Consent.source) == "preferences").order_by(col(Consent.id))
        )
        return [(row.topic, row.granted, row.source, row.wording) for row in found]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_opening_the_page_shows_what_was_chosen_and_changes_nothing(
    call: Call, database: Database, page: str, method: str
) -> None:
    answer = call(method, page)
    assert answer.status_code == 200
    assert granted(database) == {"orders", "news"}
    assert rows(database) == []
    if method == "HEAD":
        assert answer.content == b""
        return
    assert chosen(answer.text) == {"news": True, "orders": True}
    assert "m•••@example.com" in answer.text
    assert "maya@" not in answer.text
    assert 'method="post"' in answer.text
    assert "<script" not in answer.text
    assert not {"set-cookie", "location"} & set(answer.headers)
    assert len(re.findall(r"<label[^>]*><input", answer.text)) == len(
        re.findall(r'type="(?:radio|checkbox)"', answer.text)
    )
    assert page.removeprefix("/") in call("GET", page.replace("/preferences/", "/u/")).text


def test_topics_are_left_and_taken_up_with_the_words_that_stood_there(
    call: Call, database: Database, page: str
) -> None:
    form = {"shown": ["news", "orders"], "topic": ["news"], "pause": "keep", "action": "save"}
    answer = call("POST", page, data=form)
    assert answer.status_code == 200
    assert 'role="status"' in answer.text
    assert chosen(answer.text) == {"news": True, "orders": False}
    assert granted(database) == {"news"}
    assert rows(database) == [("orders", False, "preferences", "What do you want to read about? Orders")]
    for _ in range(2):
        call("POST", page, data=form | {"topic": ["news", "orders"]})
    assert granted(database) == {"news", "orders"}
    assert len(rows(database)) == 2, "told twice, it is decided once"


def test_only_topics_that_were_shown_and_are_known_change(call: Call, database: Database, page: str) -> None:
    call("POST", page, data={"shown": ["news", "secret"], "topic": ["secret"], "action": "save"})
    assert granted(database) == {"orders"}
    call("POST", page, data={"topic": ["news"], "action": "save"})
    assert granted(database) == {"orders"}, "what was not on the page is not touched"


def test_everything_stops_all_marketing_and_one_topic_alone_comes_back(
    call: Call, database: Database, page: str
) -> None:
    answer = call("POST", page, data={"action": "everything"})
    assert chosen(answer.text) == {"news": False, "orders": False}
    assert (granted(database), suppressed(database)) == (set(), {"maya@example.com": "marketing"})
    assert {row[3] for row in rows(database)} == {"Unsubscribe from all marketing emails"}
    answer = call("POST", page, data={"shown": ["news", "orders"], "topic": ["news"], "action": "save"})
    assert chosen(answer.text) == {"news": True, "orders": False}
    assert (granted(database), suppressed(database)) == ({"news"}, {})


def test_a_break_holds_for_the_mailbox_until_it_ends(
    call: Call, database: Database, clock: FrozenClock, page: str
) -> None:
    with database.write() as connection:
        add_contact(connection)

    def paused() -> set[timedelta | None]:
        with database.read() as connection:
            found = connection.execute(select(col(Contact.paused_until))).scalars()
            return {None if until is None else until - clock.instant for until in found}

    for days in (7, 30, 90):
        answer = call("POST", page, data={"pause": str(days), "action": "save"})
        assert paused() == {timedelta(days=days)}
    assert "Paused until June 8, 2026" in answer.text
    call("POST", page, data={"pause": "keep", "action": "save"})
    assert paused() == {timedelta(days=90)}
    assert granted(database) == {"orders", "news"}, "a break takes back no consent"
    assert "No break" in call("POST", page, data={"pause": "end", "action": "save"}).text
    assert paused() == {None}


def test_less_often_is_chosen_and_taken_back(call: Call, database: Database, clock: FrozenClock, page: str) -> None:
    def ticked() -> list[str]:
        return re.findall(r'name="often" value="([^"]*)" checked', call("GET", page).text)

    assert ticked() == ["usual"]
    for often, days in (("7", 7), ("30", 30), (None, 30), ("30", 30), ("usual", None)):
        form = {"pause": "keep", "action": "save"} | ({} if often is None else {"often": often})
        assert call("POST", page, data=form).status_code == 200
        assert ticked() == [str(days or "usual")]
    with database.read() as connection:
        rows = connection.execute(select(FrequencyChoice).order_by(col(FrequencyChoice.id))).all()
    assert [(row.spacing_days, row.at, row.source, row.wording) for row in rows] == [
        (7, clock.instant, "preferences", "How often may we write? At most once a week"),
        (30, clock.instant, "preferences", "How often may we write? At most once a month"),
        (None, clock.instant, "preferences", "How often may we write? As usual"),
    ]
    assert granted(database) == {"orders", "news"}


def test_a_choice_that_is_none_changes_nothing(call: Call, database: Database, page: str) -> None:
    forms: list[dict[str, str]] = [
        {}, {"action": "delete"}, {"action": "save", "pause": "9999"}, {"action": "save", "pause": "-1"},
        {"action": "save", "often": "1"}, {"action": "save", "often": ""},
    ]  # fmt: skip
    for form in forms:
        assert call("POST", page, data=form | {"shown": "news"}).status_code == 400
    many = {"shown": [f"t{number}" for number in range(400)], "action": "save"}
    assert call("POST", page, data=many).status_code == 400
    assert call("POST", page, data={"shown": "x" * 20_000, "action": "save"}).status_code == 413
    assert granted(database) == {"orders", "news"}
    assert rows(database) == []


def test_links_that_are_not_ours_and_people_who_were_erased_look_the_same(
    call: Call, database: Database, maya: int, page: str
) -> None:
    wrong = [
        "/preferences/x",
        page[:-1],
        page + "a",
        f"/preferences/{Tokens([KEY]).sign_unsubscribe(maya + 99, 'news')}",
    ]
    with database.write() as connection:
        erase(connection, maya, tokens=Tokens([KEY]), at=NOW, actor="test")
    form = {"action": "save", "shown": "news", "topic": "news"}
    answers = [call("GET", path) for path in [*wrong, page]] + [
        call("POST", path, data=form) for path in [*wrong, page]
    ]
    assert {(answer.status_code, answer.text) for answer in answers} == {(404, answers[0].text)}
    assert granted(database) == {"orders", "news"}


def test_an_address_that_is_suppressed_for_another_cause_stays_so_and_is_told(
    call: Call, database: Database, page: str
) -> None:
    with database.write() as connection:
        suppress(connection, "maya@example.com", scope="all", reason="hard_bounce", source="test", at=NOW)
    assert "we do not write to this address" in call("GET", page).text
    call("POST", page, data={"shown": ["news", "orders"], "topic": ["news"], "action": "save"})
    with database.read() as connection:
        assert [row.reason for row in connection.execute(select(Suppression))] == ["hard_bounce"]


def test_topics_of_live_campaigns_are_offered_where_they_send_marketing(story: Story) -> None:
    def campaign(name: str, purpose: object) -> Campaign:
        step = Email("letter", template="note", purpose=purpose)  # type: ignore[arg-type]
        return Campaign(name=name, topic=name, trigger=event("order_placed", key="order_id"), steps=(step,))

    for name, purpose in (("offers", MARKETING), ("receipts", TRANSACTIONAL), ("old", MARKETING)):
        story.launch(campaign(name, purpose))
    contact = story.contact("ana", consents=("news", "news/sms"))
    with story.database.write() as connection:
        connection.execute(update(CampaignRow).where(col(CampaignRow.name) == "old").values(state="archived"))
    call = caller(create_app(story.database, Settings(secret_keys=(SecretStr(KEY),)), story.clock))
    page = f"/preferences/{Tokens([KEY]).sign_unsubscribe(contact, 'offers')}"
    assert chosen(call("GET", page).text) == {"news": True, "offers": False}
    call("POST", page, data={"shown": ["news", "offers"], "topic": ["news", "offers"], "action": "save"})
    assert granted(story.database) == {"news", "news/sms", "offers"}


def test_it_speaks_the_contacts_language_and_a_topic_may_have_a_name_there(
    database: Database, clock: FrozenClock, tmp_path: Path
) -> None:
    folder = tmp_path / "locales" / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    words = {"Save": "Speichern", "product news": "Neues im Sortiment", "Paused until %(until)s": "Pause bis %(until)s",
             "What do you want to read about?": "Worüber möchtest du lesen?"}  # fmt: skip
    (folder / "evergreet.po").write_text("".join(f'msgid "{a}"\nmsgstr "{b}"\n\n' for a, b in words.items()), "utf-8")
    with database.write() as connection:
        contact = add_contact(
            connection, locale="de_DE", timezone="Europe/Berlin", paused_until=NOW + timedelta(days=7)
        )
        add_consent(connection, contact, "product-news")
        connection.execute(insert(Consent).values(contact_id=contact, topic="<b>", granted=True, at=NOW, source="x"))
    settings = Settings(secret_keys=(SecretStr(KEY),), templates=str(tmp_path))
    call = caller(create_app(database, settings, clock))
    page = f"/preferences/{Tokens([KEY]).sign_unsubscribe(contact, 'product-news')}"
    text = call("GET", page).text
    assert '<html lang="de" dir="ltr">' in text
    assert "Speichern" in text
    assert "Pause bis 17. März 2026" in text
    assert "<span>Neues im Sortiment</span>" in text
    assert "<b>" not in text
    call("POST", page, data={"shown": ["product-news"], "action": "save"})
    assert rows(database)[0][3] == "Worüber möchtest du lesen? Neues im Sortiment"
