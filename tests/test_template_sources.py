"""Loading a template: what belongs to it, its hash, and sentences for what is wrong."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment

from evergreet.campaign import Purpose
from evergreet.errors import ConfigurationError, DefinitionError
from evergreet.template_sources import load_template, template_names

Write = Callable[[str, str], None]
GOOD = "<p>{{ contact.first_name }}</p>"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "acme"
    files = {
        "spring/offer/subject.txt": "Spring",
        "spring/offer/body.html": '{% extends "_base/layout.html" %}{% block content %}Hello{% endblock %}',
        "spring/offer/preview.json": "{}",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def write(root: Path) -> Write:
    def to(name: str, text: str) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")

    return to


def complaint(root: Path, purpose: Purpose | None = None) -> str:
    with pytest.raises(DefinitionError) as error:
        load_template(str(root), "spring/offer", purpose=purpose)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_a_template_has_its_files_and_all_it_uses_and_not_its_sample() -> None:
    source = load_template("templates", "thank_you/receipt")
    assert set(source.sources) == {
        "_base/components.html",
        "_base/components.txt",
        "_base/layout.html",
        "_base/layout.txt",
        "thank_you/receipt/body.html",
        "thank_you/receipt/body.txt",
        "thank_you/receipt/subject.txt",
    }
    assert json.loads(json.dumps(asdict(source))) == asdict(source)


def test_the_hash_is_that_of_the_content(root: Path, write: Write) -> None:
    first = load_template(str(root), "spring/offer")
    assert load_template(str(root), "spring/offer") == first
    write("spring/offer/preview.json", '{"other": 1}')
    assert load_template(str(root), "spring/offer").hash == first.hash
    write("spring/offer/body.html", '{% extends "_base/layout.html" %}{% block content %}Hello!{% endblock %}')
    changed = load_template(str(root), "spring/offer")
    assert changed.hash != first.hash
    write("_base/layout.html", "a layout of our own")
    assert load_template(str(root), "spring/offer").hash not in {first.hash, changed.hash}


def test_a_company_uses_our_base_until_it_has_its_own(root: Path, write: Write) -> None:
    assert "Unsubscribe" in load_template(str(root), "spring/offer").sources["_base/layout.html"]
    write("_base/layout.html", "ours {{ company }}")
    assert load_template(str(root), "spring/offer").sources["_base/layout.html"] == "ours {{ company }}"


def test_a_root_is_a_package_or_a_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    assert template_names("acme") == template_names("./acme") == ["spring/offer"]
    assert "thank_you/receipt" in template_names("templates")
    with pytest.raises(ConfigurationError, match="EVERGREET_TEMPLATES=nowhere: there is no such package"):
        template_names("nowhere")


@pytest.mark.parametrize("name", ["spring/ofer", "_base", "", "../acme/spring/offer", "/etc", "spring"])
def test_a_wrong_name_is_answered_with_those_there_are(root: Path, name: str) -> None:
    with pytest.raises(DefinitionError, match=r"There is no template .* There are: spring/offer\."):
        load_template(str(root), name)


@pytest.mark.parametrize("file", ["subject.txt", "body.html"])
def test_a_missing_part_is_named(root: Path, file: str) -> None:
    (root / "spring/offer" / file).unlink()
    assert complaint(root) == f"Template 'spring/offer' has no {file}: create {root / 'spring/offer' / file}."


@pytest.mark.parametrize(
    ("body", "line", "says"),
    [
        ("<p>\n{{ contact.first_name }</p>", 2, "unexpected '}'"),
        ("<p>\n\n{{ 5|monney('EUR') }}", 3, "No filter named 'monney'"),
        ("{% if x %}", 1, "Unexpected end of template"),
        (
            "a\n{{ contcat.first_name }}",
            2,
            "there is no variable 'contcat'. Did you mean 'contact'? A template knows: ",
        ),
        ("a\n\n{% if discount %}x{% endif %}", 3, "there is no variable 'discount'."),
        ('a\n{% include "_base/gone.html" %}', 2, "There is no file _base/gone.html in "),
        ('{% include "../../secret.txt" %}', 1, "There is no file ../../secret.txt in "),
        (
            'a\n{% include "spring/offer/body.html" %}',
            2,
            "without end: spring/offer/body.html → spring/offer/body.html.",
        ),
        ("a\n{% extends event.layout %}", 2, "write the file it uses as a plain text"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(root: Path, write: Write, body: str, line: int, says: str) -> None:
    (root.parent / "secret.txt").write_text("secret", encoding="utf-8")
    write("spring/offer/body.html", body)
    said = complaint(root)
    assert said.startswith(f"{root}/spring/offer/body.html, line {line}: ")
    assert says in said
    assert not said.endswith("..")


def test_a_mistake_in_a_base_file_names_that_file(root: Path, write: Write) -> None:
    write("_base/layout.html", "x\n{{ nothing }}")
    assert complaint(root).startswith(f"{root}/_base/layout.html, line 2: there is no variable 'nothing'.")


def test_files_that_use_each_other_in_a_circle_are_named_in_order(root: Path, write: Write) -> None:
    write("spring/part.html", '{% include "spring/offer/body.html" %}')
    write("spring/offer/body.html", '{% include "spring/part.html" %}')
    assert complaint(root) == (
        f"{root}/spring/part.html, line 1: this uses itself without end: "
        "spring/offer/body.html → spring/part.html → spring/offer/body.html."
    )
    write("spring/offer/body.html", '{% extends "_base/layout.html" %}')
    write("spring/part.html", "x")
    assert load_template(str(root), "spring/offer").sources


def test_a_file_that_is_not_utf8_is_named(root: Path) -> None:
    (root / "spring/offer/subject.txt").write_bytes("Grüße".encode("latin-1"))
    assert "this file is not UTF-8" in complaint(root)


def test_a_macro_is_told_to_take_what_it_needs_as_a_parameter(root: Path, write: Write) -> None:
    write("_base/m.html", "{% macro hello() %}\n{{ contact.first_name }} of {{ company }}{% endmacro %}")
    write("spring/offer/body.html", '{% from "_base/m.html" import hello %}{{ hello() }}')
    said = complaint(root)
    assert said.startswith(f"{root}/_base/m.html, line 2: a macro does not see 'contact'")


def test_what_a_macro_file_would_keep_from_its_first_contact_is_refused(root: Path, write: Write) -> None:
    write("_base/m.html", "{% set hello = _('Hello') %}{% macro say() %}{{ hello }}{% endmacro %}")
    write("spring/offer/body.html", '{% from "_base/m.html" import say %}{{ say() }}')
    assert "_base/m.html, line 1: this is worked out once and kept for all contacts" in complaint(root)


def test_names_made_in_a_template_are_known_in_its_blocks(root: Path, write: Write) -> None:
    write(
        "spring/offer/body.html",
        '{% extends "_base/layout.html" %}{% from "_base/components.html" import button as push %}'
        "{% set one, two = 1, 2 %}{% macro mine() %}x{% endmacro %}"
        "{% block content %}{{ push('a', 'b') }}{{ one + two }}{{ mine() }}{% endblock %}",
    )
    assert load_template(str(root), "spring/offer").sources


@pytest.mark.parametrize(
    ("body", "missing"),
    [(GOOD, "unsubscribe link"), (GOOD + "<a href='{{ unsubscribe_url }}'>Unsubscribe</a>", "postal address")],
)
def test_a_marketing_message_shows_unsubscribe_link_and_postal_address(
    root: Path, write: Write, body: str, missing: str
) -> None:
    assert load_template(str(root), "spring/offer", purpose=Purpose.MARKETING).sources
    write("spring/offer/body.html", body)
    assert f"a marketing message must show the {missing}" in complaint(root, Purpose.MARKETING)
    assert load_template(str(root), "spring/offer", purpose=Purpose.TRANSACTIONAL).sources


def test_translations_of_its_own_words_belong_to_a_template(root: Path, write: Write) -> None:
    write("spring/offer/subject.txt", "{{ _('Spring is here') }} {{ ngettext('one day', 'days', 2) }}")
    write(
        "locales/de/LC_MESSAGES/evergreet.po",
        'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n\n'
        'msgid "Spring is here"\nmsgstr "Der Frühling ist da"\n\nmsgid "Not used here"\nmsgstr "Anderes"\n\n'
        'msgid "one day"\nmsgid_plural "days"\nmsgstr[0] "ein Tag"\nmsgstr[1] "Tage"\n\n'
        '#, fuzzy\nmsgid "Unsubscribe"\nmsgstr "?"\n',
    )
    first = load_template(str(root), "spring/offer")
    kept = first.sources["locales/de.po"]
    assert "Der Frühling ist da" in kept
    assert "Tage" in kept
    assert "Anderes" not in kept
    assert "?" not in kept
    assert load_template(str(root), "spring/offer").hash == first.hash


def test_a_companys_own_catalogue_comes_before_ours_and_ours_fills_in(
    root: Path, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = tmp_path / "ours"
    (ours / "de" / "LC_MESSAGES").mkdir(parents=True)
    (ours / "de" / "LC_MESSAGES" / "evergreet.po").write_text(
        'msgid "Unsubscribe"\nmsgstr "Abmelden"\n\nmsgid "Rather not get these?"\nmsgstr "Lieber nicht?"\n',
        encoding="utf-8",
    )
    monkeypatch.setattr("evergreet.catalogues._folders", lambda folder: [folder / "locales", ours])
    write("locales/de/LC_MESSAGES/evergreet.po", 'msgid "Unsubscribe"\nmsgstr "Abbestellen"\n')
    kept = load_template(str(root), "spring/offer").sources["locales/de.po"]
    assert "Abbestellen" in kept
    assert "Abmelden" not in kept
    assert "Lieber nicht?" in kept


def test_what_stands_there_unchanged_is_read_and_not_checked_again(
    root: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []
    parse = Environment.parse

    def counted(self: Environment, source: str, name: str | None = None, filename: str | None = None) -> Any:
        parsed.append(str(name))
        return parse(self, source, name, filename)

    monkeypatch.setattr(Environment, "parse", counted)
    first = load_template(str(root), "spring/offer")
    assert "spring/offer/body.html" in parsed
    parsed.clear()
    assert load_template(str(root), "spring/offer") is first
    assert parsed == []
    write("spring/offer/body.txt", "In plain text")
    assert load_template(str(root), "spring/offer").sources["spring/offer/body.txt"] == "In plain text"
    write("locales/de/LC_MESSAGES/evergreet.po", 'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n')
    parsed.clear()
    load_template(str(root), "spring/offer")
    assert "spring/offer/body.html" in parsed
    (root / "spring/offer/body.html").unlink()
    assert "has no body.html" in complaint(root)
