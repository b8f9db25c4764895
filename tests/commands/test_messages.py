"""preview, unsubscribe, suppress and erase as a person calls them."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest
from sqlalchemy import insert, select
from sqlmodel import col
from typer.testing import CliRunner, Result

from evergreet.campaign import Campaign, Email, Options, event, pick
from evergreet.campaigns import register
from evergreet.cli import app
from evergreet.conditions import did_not
from evergreet.database import Database, ingest_position
from evergreet.errors import DataError, DefinitionError, EvergreetError
from evergreet.settings import settings
from evergreet.template_sources import template_names
from evergreet.tokens import Tokens
from models import AuditLog, Consent, Contact, Event, Suppression
from tests.browser import measure
from tests.conftest import NOW
from tests.contacts import add_consent, add_contact
from tests.story import note

Run = Callable[..., str]


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command and return what it says; what a person can mend is raised."""
    monkeypatch.setenv("EVERGREET_DATABASE_URL", database_url)
    monkeypatch.setenv("EVERGREET_SECRET_KEYS", '["a key"]')
    settings.cache_clear()

    def call(*arguments: object) -> str:
        answer: Result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if isinstance(answer.exception, EvergreetError):
            raise answer.exception
        assert answer.exit_code == 0, answer.output
        return answer.output

    return call


@pytest.fixture
def maya(database: Database) -> int:
    with database.write() as connection:
        contact = add_contact(connection, locale="de_DE", timezone="Asia/Tokyo", attributes={"first_name": "Maya"})
        add_consent(connection, contact)
    return contact


def test_an_sms_is_shown_with_its_segments_alone_and_among_all(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine" / "text"
    folder.mkdir(parents=True)
    (folder / "sms.txt").write_text("Hello {{ contact.first_name }} <3", "utf-8")
    sample = {
        "purpose": "marketing", "topic": "offers", "occurred_at": "2026-03-10T12:00Z", "contact": {"first_name": "Zoë"},
    }  # fmt: skip
    (folder / "preview.json").write_text(json.dumps(sample), "utf-8")
    monkeypatch.setenv("EVERGREET_TEMPLATES", str(tmp_path / "mine"))
    settings.cache_clear()
    *text, segments, page = run("preview", "text", "--out", tmp_path / "out").splitlines()
    assert text == ["Hello Zoë <3", "Reply STOP to opt out."]
    assert segments == "35 characters, UCS-2, 1 segment"
    assert "Hello Zoë &lt;3" in Path(page).read_text("utf-8")
    gallery = run("preview", "--all", "--out", tmp_path / "all").splitlines()[-1]
    assert "offers/sms · 35 characters, UCS-2, 1 segment" in Path(gallery).read_text("utf-8")
    (folder / "body.html").write_text("<p>Hello</p>", "utf-8")
    with pytest.raises(DefinitionError, match="two messages"):
        run("preview", "text")


def test_a_number_is_suppressed_as_an_address_is(run: Run, database: Database) -> None:
    assert run("suppress", "+44 7700 900123") == "Suppressed +447700900123 (all).\n"
    with pytest.raises(DataError, match="is no phone number"):
        run("suppress", "+0")
    with database.read() as connection:
        assert connection.execute(select(col(Suppression.address))).scalars().all() == ["+447700900123"]


def test_a_preview_shows_the_sample_on_a_page_with_both_widths(run: Run, tmp_path: Path) -> None:
    subject, page = run("preview", "thank_you/receipt", "--out", tmp_path / "out").splitlines()
    assert subject == "Thank you for your order FW-20417"
    shown = Path(page).read_text(encoding="utf-8")
    assert shown.count("<iframe") == 2
    assert "£86.50" in shown
    assert "£86.50" in (tmp_path / "out" / "message.html").read_text(encoding="utf-8")
    assert "£86.50" in (tmp_path / "out" / "message.txt").read_text(encoding="utf-8")


def test_a_preview_of_a_contact_shows_their_newest_order(
    run: Run, database: Database, maya: int, tmp_path: Path
) -> None:
    with database.write() as connection:
        position = ingest_position(connection)
        for number, name in enumerate(["order_placed", "order_placed", "page_viewed"]):
            connection.execute(
                insert(Event).values(
                    contact_id=maya,
                    name=name,
                    occurred_at=NOW + timedelta(days=number),
                    source="shop",
                    source_id=str(number),
                    ingested_at=NOW,
                    position=position,
                    properties={"order_id": f"A-{number}", "amount": 5 + number, "currency": "EUR"},
                )
            )
    run("preview", "thank_you/receipt", "--contact", maya, "--out", tmp_path)
    text = (tmp_path / "message.txt").read_text(encoding="utf-8")
    assert "Thank you, Maya" in text
    assert "A-1" in text
    assert "6,00 €" in text.replace("\u00a0", " ")
    assert "11 March 2026" in text


def test_a_preview_of_a_contact_takes_an_event_of_the_business_too(
    run: Run, database: Database, maya: int, tmp_path: Path
) -> None:
    with database.write() as connection:
        position = ingest_position(connection)
        for contact, name, product in [(maya, "page_viewed", "Boots"), (None, "product_launched", "Larch stove"),
                                       (None, "price_changed", "Rake")]:  # fmt: skip
            connection.execute(
                insert(Event).values(
                    contact_id=contact, name=name, occurred_at=NOW, source="shop", source_id=name,
                    ingested_at=NOW, position=position, properties={"name": product},
                )
            )  # fmt: skip
    said = run("preview", "new_product_announcement/announcement", "--contact", maya, "--out", tmp_path)
    assert said.startswith("New: Larch stove")


def test_a_preview_of_a_contact_without_events_is_still_a_message(run: Run, maya: int, tmp_path: Path) -> None:
    assert run("preview", "thank_you/check_in", "--contact", maya, "--out", tmp_path).startswith("Maya, how is")
    by_address = ("--contact", "Maya@example.com", "--out", tmp_path)
    assert run("preview", "thank_you/check_in", *by_address).startswith("Maya, how is")


def test_a_preview_of_a_contact_has_what_the_campaign_has_for_them_now(
    run: Run, database: Database, maya: int, tmp_path: Path
) -> None:
    class Offer(Options):
        discount_percent: int = 33
        code: str = "BACK33"

    steps = (Email("letter", template="note"),)
    checklist = pick(
        "milestone",
        *((did_not(name), {"title": f"Now {name}", "text": "", "path": "/"}) for name in ("signed_up", "looked")),
        ever=True,
    )
    with database.write() as connection:
        for name, picks in (("win-back", ()), ("onboarding-nudges", (checklist,))):
            campaign = Campaign(name=name, topic="t", trigger=event("signed_up"), steps=steps, picks=picks)
            register(connection, campaign, Offer(), note, NOW)
        connection.execute(
            insert(Event).values(
                contact_id=maya, name="signed_up", occurred_at=NOW, source="shop", source_id="1", ingested_at=NOW,
                position=ingest_position(connection), properties={},
            )
        )  # fmt: skip
    run("preview", "win_back/we_miss_you", "--contact", maya, "--out", tmp_path)
    assert "Your code: BACK33\n33% off your next order" in (tmp_path / "message.txt").read_text("utf-8")
    assert run("preview", "onboarding_nudges/next_step", "--contact", maya, "--out", tmp_path).splitlines()[0] == (
        "A good place to start: Now looked"
    )


def test_a_preview_is_read_in_the_locale_that_was_asked_for(run: Run, tmp_path: Path) -> None:
    run("preview", "thank_you/receipt", "--locale", "de-AT", "--out", tmp_path)
    assert "€ 86,50" in (tmp_path / "message.txt").read_text("utf-8").replace("\u00a0", " ").replace("£", "€")
    with pytest.raises(DataError, match="--locale german: there is no such locale; write one as in de, de_AT or pt_BR"):
        run("preview", "--all", "--locale", "german", "--out", tmp_path)


def test_a_preview_of_an_erased_contact_shows_nothing_of_them(run: Run, maya: int, tmp_path: Path) -> None:
    run("erase", maya, "--confirm", "maya@example.com")
    with pytest.raises(DataError, match=f"Contact {maya} was erased: nothing is written to them"):
        run("preview", "thank_you/receipt", "--contact", maya, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_preview_of_what_would_be_shown_wrongly_is_written_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes are counted with links as they are sent: led over the page that counts clicks."""
    folder = tmp_path / "acme" / "note"
    folder.mkdir(parents=True)
    body = '{% extends "_base/layout.html" %}{% block content %}\n<a href="/x">x</a>{{ links|safe }}{% endblock %}'
    links = f'<a href="https://www.fernway.example/{"x" * 50}">x</a>' * 600
    (folder / "body.html").write_text("{% set links = '" + links + "' %}" + body, "utf-8")
    (folder / "subject.txt").write_text("Note", "utf-8")
    sample = {"purpose": "marketing", "topic": "news", "occurred_at": "2026-03-10T12:00Z", "contact": {}}
    (folder / "preview.json").write_text(json.dumps(sample), "utf-8")
    monkeypatch.setenv("EVERGREET_TEMPLATES", str(tmp_path / "acme"))
    for tracked in ("false", "true"):
        monkeypatch.setenv("EVERGREET_TRACK_CLICKS", tracked)
        settings.cache_clear()
        answer = CliRunner().invoke(app, ["preview", "note", "--out", str(tmp_path / "out")])
        assert answer.exit_code == 1
        page = (tmp_path / "out" / "preview.html").read_text("utf-8")
        told = "note/body.html, line 2: this link leads nowhere: '/x'. Write it whole, with https://."
        assert told in answer.output
        assert told in unescape(page)
        assert ("Gmail shows the first 102 KB" in answer.output) is (tracked == "true")
        assert re.search(r"1\d\d\.\d KB of HTML" if tracked == "true" else r" \d\d\.\d KB of HTML", page)


def test_a_preview_of_what_is_not_there_says_what_there_is(run: Run) -> None:
    with pytest.raises(DefinitionError, match="Did you mean 'thank_you/receipt'"):
        run("preview", "thank_you/recept")
    for nobody in ("404", "9" * 30, "²", "nobody@example.org"):
        with pytest.raises(EvergreetError, match=f"no contact '{nobody}'"):
            run("preview", "thank_you/receipt", "--contact", nobody)


@pytest.mark.parametrize(
    ("sample", "says"),
    [
        (None, "has no sample: create "),
        ("{", "this is not JSON"),
        ("[]", "it is not an object"),
        ('{"contakt": {}}', "it has 'contakt'; a sample has: "),
        ('{"purpose": "fun", "occurred_at": "2026-03-10", "contact": {}}', "needs a purpose"),
        ('{"purpose": "transactional", "occurred_at": "soon", "contact": {}}', "needs a purpose"),
        ('{"purpose": "transactional", "occurred_at": "2026-03-10"}', "needs a purpose"),
    ],
)
def test_a_sample_that_cannot_be_used_is_a_sentence(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: str | None, says: str
) -> None:
    folder = tmp_path / "acme" / "note"
    folder.mkdir(parents=True)
    (folder / "subject.txt").write_text("Note", encoding="utf-8")
    (folder / "body.html").write_text("<p>Note</p>", encoding="utf-8")
    if sample is not None:
        (folder / "preview.json").write_text(sample, encoding="utf-8")
    monkeypatch.setenv("EVERGREET_TEMPLATES", str(tmp_path / "acme"))
    settings.cache_clear()
    with pytest.raises(DefinitionError) as error:
        run("preview", "note")
    assert str(folder / "preview.json") in str(error.value)
    assert says in str(error.value)


def gallery(folder: Path, *options: str) -> tuple[Result, str]:
    settings.cache_clear()
    answer = CliRunner().invoke(app, ["preview", "--all", "--out", str(folder), *options])
    assert answer.exception is None or isinstance(answer.exception, SystemExit), answer.exception
    return answer, (folder / "index.html").read_text(encoding="utf-8")


def test_a_gallery_has_every_message_at_both_widths_in_both_schemes_by_campaign(tmp_path: Path) -> None:
    answer, page = gallery(tmp_path / "gallery")
    names = template_names(settings().templates)
    assert answer.exit_code == 0
    assert answer.output == f"{len(names)} messages\n{(tmp_path / 'gallery' / 'index.html').resolve()}\n"
    assert [file.name for file in (tmp_path / "gallery").iterdir()] == ["index.html"]
    assert re.findall(r'<article id="(.*?)">', page) == names
    assert re.findall(r"<h2>(.*?)</h2>", page) == sorted({name.partition("/")[0] for name in names})
    for name in names:
        for where in ("a phone, light", "a desktop, light", "a phone, dark", "a desktop, dark"):
            assert page.count(f'title="{name} on {where}"') == 1
    assert page.count('sandbox="allow-same-origin"') == page.count("<iframe") == 4 * len(names)
    for said in ("Thank you for your order FW-20417", "Your order is in. This email is your receipt.", "KB of HTML",
                 "- Waxed cotton day pack: £58.00"):  # fmt: skip
        assert said in page


def test_a_gallery_fetches_nothing(tmp_path: Path) -> None:
    _, page = gallery(tmp_path)
    assert "default-src 'none'" in page
    frames = [unescape(frame) for frame in re.findall(r'srcdoc="(.*?)"', page, re.DOTALL)]
    for html in (re.sub(r'srcdoc=".*?"', "", page, flags=re.DOTALL), *frames):
        assert not re.search(r"\bsrc=[\"'](?!data:)|url\(|@import|<link", html)
    assert any("<img" in frame for frame in frames)


def test_a_gallery_answers_a_messages_question_for_the_scheme_itself(tmp_path: Path) -> None:
    _, page = gallery(tmp_path)
    assert "prefers-color-scheme" not in page
    light, dark = (
        unescape(re.findall(rf'title="thank_you/receipt on a phone, {scheme}" srcdoc="(.*?)"', page, re.DOTALL)[0])
        for scheme in ("light", "dark")
    )
    assert "@media (max-width: 0) {\n  .page { background-color: #121916" in light
    assert "@media (min-width: 0) {\n  .page { background-color: #121916" in dark


def test_a_gallery_of_nothing_says_what_a_message_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acme").mkdir()
    monkeypatch.setenv("EVERGREET_TEMPLATES", str(tmp_path / "acme"))
    answer, page = gallery(tmp_path / "out")
    assert answer.exit_code == 0
    assert answer.output.startswith("0 messages\n")
    assert f"There are no messages in {tmp_path / 'acme'} yet." in page


def test_a_gallery_shows_what_is_broken_and_all_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = {"purpose": "transactional", "occurred_at": "2026-03-10", "contact": {"first_name": "<b>Maya</b>"}}
    for name, body in [
        ("good", "<p>Hello {{ contact.first_name }}</p>"),
        ("later/misspelt", "<p>{{ contcat.first_name }}</p>"),
        ("later/missing", "<p>{{ contact.shoe_size }}</p>"),
        ("later/unsampled", "<p>Hi</p>"),
        ("later/unclosed", "<p>\n<b>Hi</p>"),
    ]:
        folder = tmp_path / "acme" / name
        folder.mkdir(parents=True)
        (folder / "subject.txt").write_text("For {{ contact.first_name }}", encoding="utf-8")
        (folder / "body.html").write_text(body, encoding="utf-8")
        if not name.endswith("unsampled"):
            (folder / "preview.json").write_text(json.dumps(sample), encoding="utf-8")
    monkeypatch.setenv("EVERGREET_TEMPLATES", str(tmp_path / "acme"))
    answer, page = gallery(tmp_path / "out")
    assert answer.exit_code == 1
    assert f"5 messages\n{(tmp_path / 'out' / 'index.html').resolve()}\n" in answer.output
    for name, says in [
        ("later/misspelt", "there is no variable &#39;contcat&#39;. Did you mean &#39;contact&#39;?"),
        ("later/missing", "there is no &#39;shoe_size&#39; here for this contact"),
        ("later/unsampled", "has no sample: create "),
    ]:
        shown = page.partition(f'<article id="{name}">')[2].partition("</article>")[0]
        assert says in shown
        assert unescape(says) in answer.output
        assert "<iframe" not in shown
    assert "<strong>3 cannot be made</strong>, <strong>1 to be mended</strong>" in page
    assert page.count("<iframe") == 8
    told = "later/unclosed/body.html, line 2: <b> is opened here and not closed: write </b> where it ends."
    assert told in answer.output
    shown = page.partition('<article id="later/unclosed">')[2].partition("</article>")[0]
    assert told in unescape(shown)
    assert "For &lt;b&gt;Maya&lt;/b&gt;" in page


@pytest.mark.parametrize("wrong", [[], ["thank_you/receipt", "--all"], ["--all", "--contact", "1"]])
def test_a_preview_is_of_one_message_or_of_all(run: Run, wrong: list[str]) -> None:
    with pytest.raises(DataError, match="Say which"):
        run("preview", *wrong)


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_gallery_can_be_looked_through_on_a_phone(tmp_path: Path, dark: bool) -> None:
    """Nothing scrolls sideways but the desktop frames, and each frame is as high as its message."""
    _, page = gallery(tmp_path / "out")
    if dark:
        page = page.replace('id="light" checked', 'id="light"').replace('id="dark"', 'id="dark" checked')
        page = page.replace('loading="lazy"', "")
    for measured in measure(tmp_path, {"gallery": page}, [320, 375, 1240], dark=False):
        assert measured["scrolls"] <= measured["width"], measured["wide"]
        assert [faint for faint in measured["faint"] if faint[0]] == []
        frames = measured["frames"]
        assert len(frames) == 2 * len(template_names(settings().templates))
        for frame in frames:
            assert "Fernway Supply" in frame["text"], frame["title"]
            assert frame["title"].endswith("dark" if dark else "light")
            assert frame["hidden"] <= 0, frame["title"]
            assert frame["background"] == ("18,25,22" if dark else "243,241,234")


def test_unsubscribing_by_address_and_by_id(run: Run, database: Database, maya: int) -> None:
    assert run("unsubscribe", " Maya@EXAMPLE.com ", "--topic", "orders") == (
        f"Unsubscribed contact {maya} from topic orders.\n"
    )
    assert run("unsubscribe", maya, "--topic", "orders") == "Nothing to do: off topic orders already.\n"
    said = json.loads(run("unsubscribe", maya, "--everything", "--json"))
    assert said == {"contacts": [maya], "topic": None, "changed": True}
    with database.read() as connection:
        newest = connection.execute(select(Consent).order_by(col(Consent.id).desc())).first()
        assert newest is not None
        assert (newest.granted, newest.source) == (False, "command line")
        assert [row.scope for row in connection.execute(select(Suppression))] == ["marketing"]


@pytest.mark.parametrize("choice", [[], ["--topic", "orders", "--everything"]])
def test_unsubscribing_says_from_what(run: Run, maya: int, choice: list[str]) -> None:
    with pytest.raises(DataError, match="Say which"):
        run("unsubscribe", maya, *choice)


def test_nobody_and_nonsense_are_sentences(run: Run) -> None:
    with pytest.raises(DataError, match=r"evergreet suppress who@example\.com"):
        run("unsubscribe", "who@example.com", "--everything")
    with pytest.raises(DataError, match="not an email address"):
        run("suppress", "who is this")
    with pytest.raises(DataError, match="no contact 404"):
        run("suppress", "404")
    with pytest.raises(DataError, match="no contact 404"):
        run("erase", "404", "--confirm", "404")


def test_suppressing_an_address_and_a_contact(run: Run, database: Database, maya: int) -> None:
    assert run("suppress", "Who@example.com", "--reason", "asked by phone") == "Suppressed who@example.com (all).\n"
    assert run("suppress", maya, "--scope", "marketing") == "Suppressed maya@example.com (marketing).\n"
    assert run("suppress", maya, "--scope", "marketing").startswith("Nothing to do")
    with database.read() as connection:
        rows = {row.address: (row.scope, row.reason) for row in connection.execute(select(Suppression))}
    assert rows == {"who@example.com": ("all", "asked by phone"), "maya@example.com": ("marketing", "asked")}


@pytest.mark.parametrize("confirm", [[], ["--confirm", "noor@example.com"], ["--confirm", "yes"]])
def test_erasing_needs_the_address_once_more(run: Run, database: Database, maya: int, confirm: list[str]) -> None:
    with pytest.raises(DataError, match="nothing was erased yet"):
        run("erase", maya, *confirm)
    with database.read() as connection:
        assert connection.execute(select(Contact)).one().erased_at is None


def test_erasing_by_address_takes_all_who_have_it_and_says_what_was_done(
    run: Run, database: Database, maya: int
) -> None:
    with database.write() as connection:
        twin = add_contact(connection)
    said = run("erase", "maya@example.com", "--confirm", "MAYA@example.com")
    assert said == f"Erased contacts {maya}, {twin}; 0 ledger rows keep a keyed hash in place of the address.\n"
    with database.read() as connection:
        assert [row.email for row in connection.execute(select(Contact))] == [None, None]
        assert [row.address for row in connection.execute(select(Suppression))] == (
            Tokens(["a key"]).address_hashes("maya@example.com")
        )
        assert {row.action for row in connection.execute(select(AuditLog))} == {"erase"}
    assert run("erase", maya, "--confirm", maya) == f"Nothing to do: contact {maya} had been erased already.\n"
