"""docs/templates.md says what is so."""

import re
from dataclasses import replace
from pathlib import Path

from evergreet.composing import surroundings_of
from evergreet.preview import read_sample, render
from evergreet.rendering import Rendered, Renderer, TemplateSource
from evergreet.settings import Settings
from evergreet.template_sources import COMPANY_NAMES, MESSAGE_NAMES, template_root

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "templates.md").read_text(encoding="utf-8")


def test_it_lists_every_variable() -> None:
    named = {name for row in re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert named == MESSAGE_NAMES | COMPANY_NAMES


def test_it_lists_every_component() -> None:
    components = (template_root("templates") / "_base" / "components.html").read_text(encoding="utf-8")
    listed = PAGE[PAGE.index("and the parts:") : PAGE.index("## Change a text")]
    assert set(re.findall(r"`(\w+)`", listed)) == set(re.findall(r"{% macro (\w+)\(", components))


def test_its_examples_render() -> None:
    examples = "".join(re.findall(r"```jinja\n(.*?)```", PAGE, re.DOTALL))
    settings = Settings()
    context, _ = read_sample("templates", "thank_you/receipt", settings)
    source = TemplateSource("m", "", {"m/subject.txt": "x", "m/body.html": "x", "m/body.txt": examples})
    renderer = Renderer(source, surroundings_of(settings))
    said = renderer.render(context).text
    for words in ("Hello Maya,", "£86.50", "10 March 2026", "10/03/2026, 18:42", "1,200"):
        assert words in said
    assert "Hello,\n" in renderer.render(replace(context, contact={})).text


def test_its_sample_is_one(tmp_path: Path) -> None:
    (sample,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "receipt").mkdir()
    (tmp_path / "receipt" / "preview.json").write_text(sample, "utf-8")
    context, event = read_sample(str(tmp_path), "receipt", Settings())
    assert event == "order_placed"
    said = render(Settings(), "thank_you/receipt", context)
    assert isinstance(said, Rendered)
    assert "Mug" in said.text
