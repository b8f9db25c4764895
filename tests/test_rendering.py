"""Rendering one message: hostile values, missing values, languages, threads, and errors in one line."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape

from evergreet.campaign import Purpose
from evergreet.rendering import (
    MessageContext,
    Renderer,
    RenderError,
    Surroundings,
    TemplateSource,
    load_template,
)
from evergreet.template_sources import COMPANY_NAMES, MESSAGE_NAMES

SURROUNDINGS = Surroundings("Fernway & Co", "14 Mill Lane, Bristol", "https://www.fernway.example")
CONTEXT = MessageContext(
    contact={"id": 1, "first_name": "Maya", "email": "maya@example.com"},
    event={"order_id": "A-1", "amount": 12.5, "currency": "GBP"},
    occurred_at=datetime(2026, 3, 10, 23, 30, tzinfo=UTC),
    options={"discount": 10},
    locale="en_GB",
    timezone="Europe/London",
    purpose=Purpose.TRANSACTIONAL,
    campaign="thank-you",
    step="receipt",
    topic="orders",
)


def renderer(body: str = "<p>Hello</p>", subject: str = "Hello", **more: str) -> Renderer:
    files = {"m/subject.txt": subject, "m/body.html": body, **more}
    return Renderer(TemplateSource("m", "hash", files), SURROUNDINGS)


def test_the_names_a_template_is_checked_against_are_those_it_gets() -> None:
    assert {field.name for field in fields(MessageContext)} | {
        "language",
        "direction",
        "preferences_url",
    } == MESSAGE_NAMES
    assert {field.name for field in fields(Surroundings)} == COMPANY_NAMES


def test_values_are_escaped_in_html_and_plain_in_subject_and_text() -> None:
    evil = replace(CONTEXT, contact={"first_name": "<b>Ma\"ya</b> & 'co'"})
    made = renderer("<p>{{ contact.first_name }} {{ company }}</p>", "For {{ contact.first_name }}",
                    **{"m/body.txt": "{{ contact.first_name }}"}).render(evil)  # fmt: skip
    assert made.html == "<p>&lt;b&gt;Ma&#34;ya&lt;/b&gt; &amp; &#39;co&#39; Fernway &amp; Co</p>"
    assert made.subject == "For <b>Ma\"ya</b> & 'co'"
    assert made.text == "<b>Ma\"ya</b> & 'co'\n"


def test_a_value_is_never_run_as_a_template() -> None:
    made = renderer("{{ contact.first_name }}").render(replace(CONTEXT, contact={"first_name": "{{ 7 * 7 }}"}))
    assert made.html == "{{ 7 * 7 }}"


@given(st.text(max_size=40))
def test_a_subject_is_one_line_whatever_the_name_is(name: str) -> None:
    made = RENDERS_NAME.render(replace(CONTEXT, contact={"first_name": name}))
    assert len(made.subject.splitlines()) == 1
    assert made.subject.isprintable() or not any(ord(char) < 32 or ord(char) == 127 for char in made.subject)


RENDERS_NAME = renderer(subject="Hello {{ contact.first_name }}")


def test_a_line_break_in_a_name_does_not_become_a_header() -> None:
    made = RENDERS_NAME.render(replace(CONTEXT, contact={"first_name": "Maya\r\nBcc: all@example.com\x00"}))
    assert made.subject == "Hello Maya Bcc: all@example.com"


def test_an_empty_subject_is_an_error_that_names_the_file() -> None:
    with pytest.raises(RenderError, match=r"^m/subject\.txt, line 1: the subject is empty$"):
        renderer(subject="{% if false %}x{% endif %}").render(CONTEXT)


def test_control_characters_are_taken_out() -> None:
    made = renderer("<p>{{ contact.first_name }}</p>", **{"m/body.txt": "{{ contact.first_name }}"}).render(
        replace(CONTEXT, contact={"first_name": "Ma\x00y\x1ba\r"})
    )
    assert (made.html, made.text) == ("<p>Maya</p>", "Maya\n")


def test_a_missing_value_is_one_line_with_template_line_and_what_to_do() -> None:
    with pytest.raises(RenderError) as error:
        renderer("<p>\n{{ event.tracking }}\n</p>").render(CONTEXT)
    assert str(error.value) == (
        "m/body.html, line 2: there is no 'tracking' here for this contact; "
        "ask `… is defined` first, or add `|default(…)`"
    )


def test_an_error_in_a_macro_names_the_macros_file() -> None:
    macros = {"_base/c.html": "{% macro price(value) %}\n\n{{ value|money('EUR') }}{% endmacro %}"}
    with pytest.raises(RenderError, match=r"^_base/c\.html, line 3: 'n/a' is not a number$"):
        renderer('{% from "_base/c.html" import price %}{{ price("n/a") }}', **macros).render(CONTEXT)


@pytest.mark.parametrize(
    "body",
    [
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ 1 / 0 }}",
        "{{ contact.first_name + 5 }}",
        "{{ contact() }}",
        "{{ event|first|int|date }}",
    ],
)
def test_any_failure_is_a_render_error_in_one_line_and_the_next_contact_is_fine(body: str) -> None:
    made = renderer("{% if contact.id == 1 %}" + body + "{% endif %}fine")
    with pytest.raises(RenderError) as error:
        made.render(CONTEXT)
    assert len(str(error.value).splitlines()) == 1
    assert str(error.value).startswith("m/body.html, line 1: ")
    assert made.render(replace(CONTEXT, contact={"id": 2})).html == "fine"


@pytest.mark.parametrize(
    "escape",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ contact.__class__.__init__.__globals__ }}",
        "{{ contact['__class__'] }}",
        "{{ contact|attr('__class__') }}",
        "{{ contact.get.__self__ }}",
        "{{ _.__globals__ }}",
        "{{ gettext.__globals__ }}",
        "{{ ('{0.__class__.__mro__}').format(contact) }}",
        "{{ ('%s'|format).__class__ }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ range(10000000)|list }}",
        "{{ occurred_at.__reduce__() }}",
        "{% include '/etc/passwd' %}",
        "{% include '../pyproject.toml' %}",
        "{{ options.update({'discount': 90}) }}",
        "{{ event['clear']() }}",
        "{{ namespace().__class__ }}",
        "{{ lipsum() }}",
        "{{ [1, 2]|random }}",
    ],
)
def test_a_template_cannot_leave_its_sandbox_or_change_its_data(escape: str) -> None:
    before = json.dumps([dict(CONTEXT.contact), dict(CONTEXT.options), dict(CONTEXT.event)])
    with pytest.raises(RenderError):
        renderer(escape).render(CONTEXT)
    assert json.dumps([dict(CONTEXT.contact), dict(CONTEXT.options), dict(CONTEXT.event)]) == before


def test_data_wins_over_the_methods_of_dict() -> None:
    event = {"items": [{"name": "Mug"}], "keys": "k", "get": "g"}
    made = renderer("{{ event.items[0].name }} {{ event['keys'] }} {{ event['get'] }}").render(
        replace(CONTEXT, event=event)
    )
    assert made.html == "Mug k g"
    made = renderer("{{ event.items is defined }} {{ event['values'] is defined }} {{ event.get('items') }}").render(
        CONTEXT
    )
    assert made.html == "False False None"


def test_the_text_part_is_derived_with_its_links_and_without_the_preheader() -> None:
    body = (
        '<div style="display:none">Hidden</div><table role="presentation"><tr><td><h1>Hi</h1><p>Read '
        '<a href="https://a.example/?x=1&amp;y=2">this</a>.</p></td></tr></table>'
    )
    assert renderer(body).render(CONTEXT).text == "Hi\n\nRead this <https://a.example/?x=1&y=2>.\n"


def test_words_and_lang_follow_the_catalogue_among_the_sources() -> None:
    made = renderer(
        '<p lang="{{ language }}">{% trans name=contact.first_name %}Hello {{ name }}{% endtrans %}</p>',
        **{"locales/de.po": 'msgid "Hello %(name)s"\nmsgstr "Hallo %(name)s"\n'},
    )
    german = replace(CONTEXT, locale="de_AT", contact={"first_name": "<i>"})
    assert made.render(german).html == '<p lang="de">Hallo &lt;i&gt;</p>'
    assert made.render(CONTEXT).html == '<p lang="en-GB">Hello Maya</p>'


@pytest.mark.parametrize(
    ("body", "text", "url", "complaint"),
    [
        ("<a href='{{ unsubscribe_url }}'>x</a>", "{{ unsubscribe_url }}", None, "none was given"),
        ("<p>no link</p>", "{{ unsubscribe_url }}", "https://a.example/u/t", r"m/body\.html: .* must carry"),
        ("<a href='{{ unsubscribe_url }}'>x</a>", "nothing", "https://a.example/u/t", r"m/body\.txt: .* must carry"),
    ],
)
def test_a_marketing_message_without_its_unsubscribe_link_is_not_made(
    body: str, text: str, url: str | None, complaint: str
) -> None:
    context = replace(CONTEXT, purpose=Purpose.MARKETING, unsubscribe_url=url)
    with pytest.raises(RenderError, match=complaint):
        renderer(body, **{"m/body.txt": text}).render(context)


@pytest.mark.parametrize("name", ["thank_you/receipt", "thank_you/check_in"])
def test_stored_sources_give_the_same_bytes_without_files(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = load_template("templates", name)
    from_files = Renderer(source, SURROUNDINGS).render(CONTEXT)
    stored = json.loads(json.dumps(asdict(source)))

    def forbidden(*_arguments: Any, **_named: Any) -> Any:
        raise AssertionError("a stored template touched the file system")

    monkeypatch.setattr(Path, "open", forbidden)
    monkeypatch.setattr(Path, "read_text", forbidden)
    monkeypatch.setattr("builtins.open", forbidden)
    again = Renderer(TemplateSource(**stored), SURROUNDINGS).render(CONTEXT)
    assert again == from_files


def test_threads_do_not_see_each_others_contact_language_or_zone() -> None:
    made = renderer(
        "{{ contact.id }} {{ _('Hello') }} {{ event.amount|money('EUR') }} {{ occurred_at|date }}",
        **{"locales/de.po": 'msgid "Hello"\nmsgstr "Hallo"\n'},
    )
    kinds = [("de_DE", "Europe/Berlin"), ("en_GB", "Europe/London"), ("en_US", "America/New_York")]
    contexts = [
        replace(CONTEXT, contact={"id": n}, event={"amount": n}, locale=kinds[n % 3][0], timezone=kinds[n % 3][1])
        for n in range(300)
    ]
    alone = [made.render(context).html for context in contexts]
    barrier = threading.Barrier(6)

    def together(part: int) -> list[str]:
        barrier.wait(30)
        return [made.render(context).html for context in contexts[part::6]]

    with ThreadPoolExecutor(6) as pool:
        parts = list(pool.map(together, range(6)))
    assert [parts[n % 6][n // 6] for n in range(300)] == alone
    assert "Hallo" in alone[0]
    assert "Hello" in alone[1]


SHEETS = """<!DOCTYPE html><html><head><style>
@media (prefers-color-scheme: dark) { .ink { color: white !important } }
[data-ogsc] .ink { color: white }</style>
<style data-inline>
.ink { color: #123456; margin: 0 }
a:hover { color: red }
@media (max-width: 480px) { .ink { padding: 0 !important } }
</style></head><body><!--[if mso]><table><tr><td><![endif]-->
<p class="ink" style="margin: 4px">{{ contact.first_name }}</p>
</body></html>"""


def test_a_style_sheet_of_its_own_is_worked_in_and_media_queries_survive() -> None:
    made = renderer(SHEETS)
    for name in ("Maya", "Max", "<b>"):
        rendered = made.render(replace(CONTEXT, contact={"first_name": name}))
        assert 'style="color: #123456;margin: 4px"' in rendered.html
        assert "@media (max-width: 480px) { .ink { padding: 0 !important } }" in rendered.html
        assert "data-inline" not in rendered.html
        kept = SHEETS.partition("<style>")[2].partition("</style>")[0]
        assert f"<style>{kept}</style>" in rendered.html  # a sheet without the mark stays as it is
        assert "<!--[if mso]>" in rendered.html
        assert str(escape(name)) in rendered.html
        assert rendered.split is None


def test_without_the_mark_nothing_of_a_message_is_touched() -> None:
    body = SHEETS.replace("<style data-inline>", "<style>")
    assert renderer(body).render(CONTEXT).html == body.replace("{{ contact.first_name }}", "Maya")
