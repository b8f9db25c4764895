"""The unsubscribe link: RFC 8058, the page, and links that are not ours."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select
from sqlmodel import col

from evergreet.clock import FrozenClock
from evergreet.database import Database
from evergreet.erasure import erase
from evergreet.settings import Settings
from evergreet.tokens import Tokens
from evergreet.web.app import create_app
from evergreet.web.pages import Pages
from models import Consent, Suppression
from tests.contacts import add_consent, add_contact
from tests.web.conftest import KEY, Call, caller

ONE_CLICK = {"List-Unsubscribe": "One-Click"}

once = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what no store has a part in."""


def granted(database: Database) -> set[str]:
    with database.read() as connection:
        rows = connection.execute(select(Consent).order_by(col(Consent.at), col(Consent.id)))
        newest = {row.topic: row.granted for row in rows}
    return {topic for topic, given in newest.items() if given}


def suppressed(database: Database) -> dict[str, str]:
    with database.read() as connection:
        return {row.address: row.scope for row in connection.execute(select(Suppression))}


@pytest.mark.parametrize(
    "form", [{"data": ONE_CLICK}, {"files": {name: (None, value) for name, value in ONE_CLICK.items()}}],
    ids=["urlencoded", "multipart"],
)  # fmt: skip
def test_one_click_takes_off_the_topic_without_cookie_or_redirect(
    call: Call, database: Database, link: str, form: dict[str, Any]
) -> None:
    answer = call("POST", link, **form)
    assert answer.status_code == 200
    assert not {"set-cookie", "location"} & set(answer.headers)
    assert granted(database) == {"news"}
    with database.read() as connection:
        row = connection.execute(select(Consent).where(~col(Consent.granted))).one()
    assert (row.source, row.wording) == ("one-click", "List-Unsubscribe=One-Click")


@once
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_opening_the_link_changes_nothing_and_asks(call: Call, database: Database, link: str, method: str) -> None:
    for _ in range(2):
        answer = call(method, link)
        assert answer.status_code == 200
    assert granted(database) == {"orders", "news"}
    assert suppressed(database) == {}
    if method == "GET":
        assert "Stop emails about orders?" in answer.text
        assert "m•••@example.com" in answer.text
        assert "maya@" not in answer.text
        assert answer.text.count("<button") == 2
        assert 'method="post"' in answer.text
    else:
        assert answer.content == b""


def test_the_button_for_the_topic_takes_off_the_topic(call: Call, database: Database, link: str) -> None:
    answer = call("POST", link, data={"scope": "topic"})
    assert "You are unsubscribed" in answer.text
    assert granted(database) == {"news"}
    with database.read() as connection:
        row = connection.execute(select(Consent).where(~col(Consent.granted))).one()
    assert (row.source, row.wording) == ("page", "Unsubscribe from emails about orders")
    assert row.wording in call("GET", link).text


def test_the_button_for_everything_stops_all_marketing(call: Call, database: Database, link: str) -> None:
    answer = call("POST", link, data={"scope": "everything"})
    assert "no more marketing emails" in answer.text
    assert granted(database) == set()
    assert suppressed(database) == {"maya@example.com": "marketing"}


def test_it_speaks_the_contacts_language_and_stores_the_words_that_were_read(
    database: Database, clock: FrozenClock, tmp_path: Path
) -> None:
    folder = tmp_path / "locales" / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    words = {"Stop emails about %(topic)s?": "Keine E-Mails mehr über %(topic)s?", "orders": "Bestellungen",
             "Unsubscribe from emails about %(topic)s": "E-Mails über %(topic)s abbestellen",
             "Unsubscribe from all marketing emails": "Alle Werbung abbestellen",
             "We send them to <strong>%(mailbox)s</strong>.": "Wir senden sie an <strong>%(mailbox)s</strong>.",
             "You are unsubscribed": "Du bist abgemeldet"}  # fmt: skip
    (folder / "evergreet.po").write_text("".join(f'msgid "{a}"\nmsgstr "{b}"\n\n' for a, b in words.items()), "utf-8")
    with database.write() as connection:
        contact = add_contact(connection, locale="de_AT")
        for topic in ("orders", "news"):
            add_consent(connection, contact, topic)
    call = caller(create_app(database, Settings(secret_keys=(SecretStr(KEY),), templates=str(tmp_path)), clock))
    link = f"/u/{Tokens([KEY]).sign_unsubscribe(contact, 'orders')}"
    asked = call("GET", link).text
    assert '<html lang="de" dir="ltr">' in asked
    for said in ("Keine E-Mails mehr über Bestellungen?", "Wir senden sie an <strong>m•••@example.com</strong>.",
                 ">E-Mails über Bestellungen abbestellen<", ">Alle Werbung abbestellen<",
                 "One press is enough."):  # fmt: skip
        assert said in asked
    assert "<h1>Du bist abgemeldet</h1>" in call("POST", link, data={"scope": "topic"}).text
    call("POST", link, data={"scope": "everything"})
    with database.read() as connection:
        told = select(col(Consent.wording)).where(~col(Consent.granted)).order_by(col(Consent.id))
        assert connection.execute(told).scalars().all() == [
            "E-Mails über Bestellungen abbestellen",
            "Alle Werbung abbestellen",
        ]


def test_one_click_never_means_everything(call: Call, database: Database, link: str) -> None:
    call("POST", link, data={**ONE_CLICK, "scope": "everything"})
    assert granted(database) == {"news"}
    assert suppressed(database) == {}


def test_the_same_post_again_is_harmless(call: Call, database: Database, clock: FrozenClock, link: str) -> None:
    """Of a no the first and the last time are kept: a yes of in between may be told later, by a CRM."""
    said = []
    for _ in range(3):
        said.append(clock.instant)
        for _ in range(2):
            assert call("POST", link, data=ONE_CLICK).status_code == 200
        clock.advance(timedelta(days=1))
    assert granted(database) == {"news"}
    with database.read() as connection:
        told = connection.execute(select(col(Consent.at)).where(~col(Consent.granted)).order_by(col(Consent.id)))
        assert [at.replace(microsecond=0) for at in told.scalars()] == [said[0], said[-1]]


@once
@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"data": {"scope": "nothing"}},
        {"data": {"List-Unsubscribe": "No"}},
        {"json": ONE_CLICK},
        {"content": b"\xff\xfe", "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
        {"content": b"--x\r\nbroken", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        {"content": b"", "headers": {"Content-Type": "multipart/form-data"}},
        {"files": {"List-Unsubscribe": ("a.txt", b"One-Click")}},
    ],
)
def test_a_post_that_does_not_say_what_is_refused_with_a_sentence(
    call: Call, database: Database, link: str, request_: dict[str, Any]
) -> None:
    answer = call("POST", link, **request_)
    assert answer.status_code == 400
    assert "Nothing was changed." in answer.text
    assert granted(database) == {"orders", "news"}


@once
def test_a_large_body_is_refused_whatever_its_length_says(call: Call, database: Database, link: str) -> None:
    async def endless() -> Any:
        for _ in range(100):
            yield b"x" * 1000

    urlencoded = {"Content-Type": "application/x-www-form-urlencoded"}
    for content in (b"List-Unsubscribe=One-Click&x=" + b"x" * 20_000, endless()):
        answer = call("POST", link, content=content, headers=urlencoded)
        assert answer.status_code == 413
        assert "too large" in answer.text
    assert granted(database) == {"orders", "news"}


@once
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_links_that_are_not_ours_all_get_the_same_page(
    call: Call, database: Database, link: str, maya: int, method: str
) -> None:
    ours = Tokens([KEY])
    wrong = [
        link[:-1],
        link[:-20],
        link + "x",
        "/u/x",
        "/u/" + "a" * 5000,
        "/u/%00",
        "/u/%2e%2e",
        "/u/" + Tokens(["another key"]).sign_unsubscribe(maya, "orders"),
        "/u/" + ours.sign_unsubscribe(999_999, "orders"),
        "/u/" + ours.sign_unsubscribe(maya, "orders").replace(".", "."[:0], 1),
        "/u/",
        "/u",
        "/nothing/here",
    ]
    pages = set()
    for path in wrong:
        answer = call(
            method, path, headers={"Accept-Language": "de"}, **({"data": ONE_CLICK} if method == "POST" else {})
        )
        assert answer.status_code == 404, path
        pages.add(answer.text)
    assert len(pages) == 1
    assert "Nothing was changed." in pages.pop()
    assert granted(database) == {"orders", "news"}


@pytest.mark.parametrize(
    ("asked", "title"),
    [
        ("fr;q=0.9, de-CH, en;q=0.5", "Hier ist nichts"),
        ("en-GB, de;q=0.9", "There is nothing here"),
        ("de;q=0.4,en;q=0.7", "There is nothing here"),
        ("fr, *;q=0.1", "There is nothing here"),
        ("de;q=" + "9" * 600 + ",\u0000,;;,", "There is nothing here"),
        ("", "There is nothing here"),
    ],
)
def test_who_has_no_whole_link_reads_the_language_of_their_browser(tmp_path: Path, asked: str, title: str) -> None:
    folder = tmp_path / "locales" / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    (folder / "evergreet.po").write_text('msgid "There is nothing here"\nmsgstr "Hier ist nichts"\n', "utf-8")
    page = Pages(Settings(templates=str(tmp_path))).missing(asked)
    assert page.status_code == 404
    assert f"<h1>{title}</h1>".encode() in page.body
    assert f'<html lang="{"de" if title.startswith("Hier") else "en"}'.encode() in page.body


def test_a_link_signed_with_an_old_key_works_after_a_change_of_keys(call: Call, database: Database, maya: int) -> None:
    token = Tokens([KEY]).sign_unsubscribe(maya, "orders")
    assert Tokens([KEY, "newer"]).read_unsubscribe(token).contact_id == maya
    assert call("POST", f"/u/{token}", data=ONE_CLICK).status_code == 200
    assert granted(database) == {"news"}


def test_the_link_of_an_erased_person_still_answers(
    call: Call, database: Database, clock: FrozenClock, link: str, maya: int
) -> None:
    with database.write() as connection:
        erase(connection, maya, tokens=Tokens([KEY]), at=clock.instant, actor="t")
    assert "•••" not in call("GET", link).text
    assert call("POST", link, data=ONE_CLICK).status_code == 200
    assert call("POST", link, data={"scope": "everything"}).status_code == 200
    assert granted(database) == set()


@once
def test_a_strange_topic_or_address_is_text_on_the_page(call: Call, database: Database) -> None:
    with database.write() as connection:
        contact = add_contact(connection, "m@example.com", email='"<b>"@example.com')
    page = call("GET", f"/u/{Tokens([KEY]).sign_unsubscribe(contact, '<script>x</script>')}").text
    assert "<script>" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;" in page


@once
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_refused(call: Call, link: str, method: str) -> None:
    answer = call(method, link)
    assert answer.status_code == 405
    assert {"GET", "POST", "HEAD"} >= {word.strip() for word in answer.headers["allow"].split(",")}


def test_a_store_that_is_down_is_a_page_that_says_try_again(
    call: Call, database: Database, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evergreet.errors import EvergreetError

    def down() -> Any:
        raise EvergreetError("No connection to the database postgresql://host/name")

    monkeypatch.setattr(database, "read", down)
    monkeypatch.setattr(database, "write", down)
    for answer in (call("GET", link), call("POST", link, data=ONE_CLICK)):
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "120"
        assert "in a few minutes" in answer.text
        assert "postgresql" not in answer.text


@once
@pytest.mark.parametrize("path", ["link", "/health", "/nothing"])
def test_nothing_may_be_cached_framed_indexed_or_run_scripts(call: Call, link: str, path: str) -> None:
    answer = call("GET", link if path == "link" else path)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "noindex" in answer.headers["x-robots-tag"]
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "<script" not in answer.text
    assert "set-cookie" not in answer.headers


@once
@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/redoc"])
def test_the_application_does_not_describe_itself(call: Call, path: str) -> None:
    assert call("GET", path).status_code == 404
