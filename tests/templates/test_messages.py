"""Every message folder: rendered with its sample and with as little as possible, and linted."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from babel.messages.pofile import read_po, write_po

import locales
from evergreet.campaign import Purpose
from evergreet.catalogues import catalogue
from evergreet.composing import surroundings_of
from evergreet.localization import place_of
from evergreet.preferences import Preferences
from evergreet.preview import read_sample
from evergreet.rendering import MessageContext, Rendered, Renderer, TemplateSource, load_template
from evergreet.sandbox import environment
from evergreet.settings import Settings
from evergreet.template_sources import template_names, template_root
from evergreet.web import pages

SETTINGS = Settings()
NAMES = template_names(SETTINGS.templates)
LOCALES = ["en_GB", "en_US", "de_DE", "fr_CA", "ja_JP", "ar_EG", "xx_XX"]
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
HOSTILE = "<script>alert(1)</script>\" onload='x' {{ 7 * 7 }} \r\nBcc: x@example.com \u202e"
NOTHING: dict[str, Any] = dict.fromkeys(
    ("order_id", "amount", "currency", "items", "name", "sku", "quantity", "price", "description", "url", "path",
     "image_url")
)  # fmt: skip


def sample(name: str) -> MessageContext:
    return read_sample(SETTINGS.templates, name, SETTINGS)[0]


@cache
def renderer(name: str, purpose: Purpose) -> Renderer:
    return Renderer(load_template(SETTINGS.templates, name, purpose=purpose), surroundings_of(SETTINGS))


def rendered(name: str, context: MessageContext | None = None) -> Rendered:
    context = context or sample(name)
    return renderer(name, context.purpose).render_in_full(context)


class Page(HTMLParser):
    """Notes elements, and tags that are closed in another order than they were opened."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.crossed: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.crossed.append(tag)

    def handle_data(self, data: str) -> None:
        if not {"style", "title"} & set(self.open):
            self.words += data

    def all(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.elements if name == tag)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_whole_message(name: str) -> None:
    made = rendered(name)
    assert 0 < len(made.subject) <= 78
    assert len(made.html.encode()) < 102 * 1024
    assert len(made.text.split()) > 20
    for part in (made.subject, made.html, made.text):
        assert "{{" not in part
        assert "{%" not in part
        assert "None" not in part
        assert "Undefined" not in part


@pytest.mark.parametrize("name", NAMES)
def test_its_html_is_sound_and_accessible(name: str) -> None:
    page = Page(rendered(name).html)
    assert (page.open, page.crossed) == ([], [])
    assert [attributes["lang"] for attributes in page.all("html")] == ["en-GB"]
    assert {attributes.get("role") for attributes in page.all("table")} == {"presentation"}
    for image in page.all("img"):
        assert image.get("alt")
        assert str(image.get("width")).isdecimal()
        assert str(image.get("src")).startswith("https://")
        assert "width:100%" in str(image.get("style")), "as wide as a phone"
    assert len(list(page.all("h1"))) == 1
    assert {"color-scheme", "viewport"} <= {attributes.get("name") for attributes in page.all("meta")}
    assert not {"script", "form", "link", "iframe", "video"} & {tag for tag, _ in page.elements}


@pytest.mark.parametrize("name", NAMES)
def test_it_reads_right_where_mail_programs_drop_the_html_element_and_know_no_text_align_start(name: str) -> None:
    """Web mail replaces `html` and `body`; Yahoo, GMX and Outlook inherit a centre that only `start` would undo."""
    page = Page(rendered(name).html)
    inside = [(each["lang"], each["dir"]) for each in page.all("div") if "lang" in each]
    assert inside == [("en-GB", "ltr")]
    centred = {str(each.get("class")) for each in page.all("td") if each.get("align") == "center"}
    assert centred <= {"button", "panel"}
    assert not any("text-align:start" in str(attributes.get("style")) for _, attributes in page.elements)


@pytest.mark.parametrize("name", NAMES)
def test_its_colours_for_the_dark_and_its_widths_for_phones_survive(name: str) -> None:
    sheet = re.search(r"<style>(.*?)</style>", rendered(name).html, re.DOTALL)
    assert sheet
    for asked in ("@media (max-width: 480px) {", "@media (prefers-color-scheme: dark) {"):
        assert asked in sheet[1]


@pytest.mark.parametrize("name", NAMES)
def test_it_leans_to_neither_side_so_that_it_reads_from_right_to_left_too(name: str) -> None:
    context = sample(name)
    source = load_template(SETTINGS.templates, name, purpose=context.purpose)
    arabic = 'msgid "All of us at %(company)s"\nmsgstr "كلنا في %(company)s"\n'
    source = replace(source, sources=source.sources | {"locales/ar.po": arabic})
    page = Page(Renderer(source, surroundings_of(SETTINGS)).render(replace(context, locale="ar_EG")).html)
    assert [(html["lang"], html["dir"]) for html in page.all("html")] == [("ar", "rtl")]
    assert "كلنا في Fernway Supply" in page.words
    for tag, attributes in page.elements:
        style = str(attributes.get("style"))
        assert not re.search(r"(text-align|float): ?(left|right)|(margin|padding|border)-(left|right):", style), tag
        for sides in re.findall(r"(?:padding|margin):([^\s;]+) ([^\s;]+) ([^\s;]+) ([^\s;]+);", style):
            assert sides[1] == sides[3], (tag, style)
        assert attributes.get("align") != "right" or "text-align:end" in style, tag


@pytest.mark.parametrize("name", NAMES)
def test_its_links_are_absolute_https(name: str) -> None:
    made = rendered(name)
    links = [str(attributes.get("href")) for attributes in Page(made.html).all("a")]
    assert links
    for link in [*links, *re.findall(r"\w+://\S+", made.text)]:
        assert re.fullmatch(r"https://[a-z0-9.-]+(/[A-Za-z0-9./_%-]*)?", link)


@pytest.mark.parametrize("name", NAMES)
def test_its_footer_says_who_writes_and_why_and_how_to_stop(name: str) -> None:
    context, made = sample(name), rendered(name)
    for part in (made.html, made.text):
        assert SETTINGS.postal_address in part
        assert "You get this email because" in part
        wanted = context.purpose is Purpose.MARKETING
        assert ("/u/preview" in part) is wanted
        assert ("unsubscribe" in part.lower()) is wanted


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("locale", LOCALES)
def test_it_renders_in_every_locale(name: str, locale: str) -> None:
    made = rendered(name, replace(sample(name), locale=locale, timezone="Pacific/Kiritimati"))
    assert Page(made.html).crossed == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "contact",
    [
        {},
        {"id": 1, "first_name": None, "last_name": None, "email": None, "locale": None, "timezone": None},
        {"first_name": ""},
    ],
)
@pytest.mark.parametrize(
    "event", [{}, NOTHING, {"items": 3, "name": 4, "description": 5, "url": 6, "path": 7, "image_url": 8}]
)
def test_it_survives_a_contact_and_an_event_that_say_nothing(
    name: str, contact: dict[str, Any], event: dict[str, Any]
) -> None:
    made = rendered(name, replace(sample(name), contact=contact, event=event, locale="xx_XX"))
    assert Page(made.html).crossed == []
    for part in (made.subject, made.html, made.text):
        assert "None" not in part


@pytest.mark.parametrize("name", NAMES)
def test_hostile_values_stay_text(name: str) -> None:
    event = {"order_id": HOSTILE, "amount": "9.5", "currency": "EUR",
             "items": [{"name": HOSTILE, "quantity": "2", "price": "4.75"}, HOSTILE, {}],
             "name": HOSTILE, "description": HOSTILE, "quantity": "2", "price": "4.75", "url": "javascript:alert(1)",
             "path": "/" + HOSTILE, "image_url": "data:" + HOSTILE}  # fmt: skip
    made = rendered(name, replace(sample(name), contact={"first_name": HOSTILE}, event=event))
    page = Page(made.html)
    assert (page.open, page.crossed) == ([], [])
    assert not any(tag == "script" or "onload" in attributes for tag, attributes in page.elements)
    assert "<script>alert(1)</script>" in page.words
    assert len(made.subject.splitlines()) == 1
    for link in page.all("a"):
        assert re.fullmatch(r"https://[^<\s]+", str(link["href"]))


def test_no_markup_is_copied_from_message_to_message() -> None:
    """What two messages need is a component; what a campaign's messages share is its layout."""
    seen: dict[str, str] = {}
    for name in NAMES:
        for file in ("body.html", "body.txt"):
            for line in (template_root("templates") / name / file).read_text(encoding="utf-8").splitlines():
                if len(line) > 60 and not re.match("{% (extends|from|set) ", line):
                    assert seen.setdefault(line, name) == name, line


def test_the_receipt_shows_the_order() -> None:
    made = rendered("thank_you/receipt")
    for part in (Page(made.html).words, made.text):
        for said in ("FW-20417", "10 March 2026", "Waxed cotton day pack", "£58.00", "£24.00", "£86.50", "Maya"):
            assert said in part


def test_the_receipt_is_dated_in_the_contacts_zone_and_priced_in_their_locale() -> None:
    made = rendered("thank_you/receipt", replace(sample("thank_you/receipt"), timezone="Asia/Tokyo", locale="de_DE"))
    assert "11 March 2026" in made.text
    assert "86,50 £" in made.text.replace("\u00a0", " ")


def test_a_receipt_without_items_has_its_total_and_one_without_currency_a_plain_number() -> None:
    event = {"order_id": "A-1", "amount": 12}
    made = rendered("thank_you/receipt", replace(sample("thank_you/receipt"), event=event))
    assert "Total: 12.00" in made.text
    assert "12.00" in Page(made.html).words


def test_the_check_in_helps_everyone_alike_and_offers_nothing_for_it() -> None:
    made = rendered("thank_you/check_in")
    links = {str(attributes["href"]) for attributes in Page(made.html).all("a")}
    assert {"https://www.fernway.example/help", "https://www.fernway.example/returns"} <= links
    said = re.sub(r"https://\S+", "", made.subject + made.text).lower()
    for word in ("review", "rating", "star", "voucher", "discount", "coupon", "gift", "%", "happy?"):
        assert word not in said


def test_every_component_can_be_used() -> None:
    base = template_root("templates") / "_base" / "components.html"
    body = (
        '{% from "_base/components.html" import button, coupon, facts, greeting, heading, link, order_lines, '
        "paragraph, picture, points, product, rating, section, sign_off, small_print %}<div>"
        "{{ heading('<Hi>') }}{% call section('Part') %}{% call paragraph() %}{{ link('x', 'https://a.example') }}"
        "{% endcall %}{% endcall %}{{ button('Go', 'https://a.example/go') }}{{ coupon('SAVE-10', 'Until <May>') }}"
        "{{ rating('How was it?', 'https://a.example/r?o=1') }}{{ facts([('A', 'b'), ('C', '')]) }}"
        "{{ order_lines([{'name': 'Mug', 'quantity': 2, 'price': '1.50'}, 'Gift'], 3, 'EUR') }}"
        "{{ greeting({}) }}{{ sign_off('Bye') }}{% call small_print() %}Small{% endcall %}{{ points(['One', {}]) }}"
        "{{ product({'name': 'Pot', 'quantity': 3, 'price': 2}, 'EUR', 'https://a.example/pot') }}"
        "{{ product({'name': 'Rake', 'quantity': 4}, none, 'https://a.example/rake') }}"
        "{{ product({}, none, 'https://a.example/none') }}"
        "{{ picture('https://a.example/p.jpg', 'A <pot>', 'https://a.example/pot') }}</div>"
    )
    sources = {"m/subject.txt": "x", "m/body.html": body, "_base/components.html": base.read_text(encoding="utf-8")}
    made = Renderer(TemplateSource("m", "", sources), surroundings_of(SETTINGS)).render(sample("thank_you/receipt"))
    page = Page(made.html)
    assert (page.open, page.crossed) == ([], [])
    links = [str(attributes["href"]) for attributes in page.all("a")]
    assert [link for link in links if "rating=" in link] == [f"https://a.example/r?o=1&rating={n}" for n in range(1, 6)]
    assert "https://a.example/none" not in links
    assert [(image["src"], image["alt"]) for image in page.all("img")] == [("https://a.example/p.jpg", "A <pot>")]
    for said in ("<Hi>", "SAVE-10", "Until <May>", "Mug", "2 × €1.50", "€3.00", "Gift", "Hello,", "Bye", "Small",
                 "One", "Item", "Pot", "3 × €2.00", "Rake", "× 4"):  # fmt: skip
        assert said in page.words
    assert "C" not in page.words.split()


@pytest.fixture(scope="module")
def marked() -> str:
    """A German catalogue in which every translation is the message itself, in brackets."""
    with (Path(locales.__file__).parent / "evergreet.pot").open("rb") as file:
        words = read_po(file, locale="de")
    for message in words:
        if message.id:
            ids = message.id if isinstance(message.id, tuple) else (message.id,)
            message.string = tuple(f"⟦{one}⟧" for one in ids) if len(ids) > 1 else f"⟦{ids[0]}⟧"
    written = BytesIO()
    write_po(written, words)
    return written.getvalue().decode()


def without_translations(text: str) -> set[str]:
    """Return the words of a text that stand in no brackets."""
    inner = re.compile("⟦[^⟦⟧]*⟧")
    while inner.search(text):
        text = inner.sub(" ", text)
    return set(re.findall(r"[^\W\d_]{3,}", re.sub(r"https://\S+", " ", text)))


@pytest.mark.parametrize("name", NAMES)
def test_every_word_of_its_own_is_translated_and_the_rest_is_data(name: str, marked: str) -> None:
    context = replace(sample(name), locale="de_AT", timezone="Europe/Vienna")
    source = load_template(SETTINGS.templates, name, purpose=context.purpose)
    source = replace(source, sources=source.sources | {"locales/de.po": marked})
    made = Renderer(source, surroundings_of(SETTINGS)).render(context)
    title = made.html.partition("<title>")[2].partition("</title>")[0]
    data = f"{context.event} {context.contact} {context.options} {context.picked} {surroundings_of(SETTINGS)} März"
    for part in (made.subject, title, Page(made.html).words, made.text):
        assert "⟦" in part or part in data
        assert {word for word in without_translations(part) if word not in data} == set()


def test_every_word_of_the_pages_is_translated(marked: str) -> None:
    shown, place = pages.Pages(SETTINGS), place_of("de_AT", "Europe/Vienna", {"de": catalogue("de", marked)})
    known = Preferences(1, None, None, None, {"news": True}, datetime(2026, 3, 10, tzinfo=UTC), 30, silenced=True)
    mailbox = "m•••@example.com"
    for page in (
        shown.ask("news", mailbox, "t", place),
        *(shown.done("news", mailbox, "t", place, everything=everything) for everything in (False, True)),
        shown.preferences(known, mailbox, place, saved=True),
        *(shown._page(name, place) for name in ("missing.html", "later.html")),
        shown._page("refused.html", place, sentence="News."),
    ):
        html = Page(bytes(page.body).decode())
        assert [each["lang"] for each in html.all("html")] == ["de"]
        assert without_translations(html.words) <= {"Fernway", "Supply", "example", "com", "News", "news", "März"}


def test_the_catalogue_template_lists_every_word_of_the_templates() -> None:
    """`locales/babel.cfg` says how to write it anew."""
    jinja, words = environment({}), set()
    own = Path(pages.__file__).parent
    for path in [*template_root("templates").rglob("*"), *own.glob("*.html")]:
        if path.suffix in {".html", ".txt"}:
            for _line, _function, message in jinja.extract_translations(path.read_text(encoding="utf-8")):  # type: ignore[attr-defined]
                words.add(message if isinstance(message, str) else message[0])
    with (Path(locales.__file__).parent / "evergreet.pot").open("rb") as file:
        ids = [message.id for message in read_po(file) if message.id]
    listed = {each if isinstance(each, str) else each[0] for each in ids}
    assert listed == words
