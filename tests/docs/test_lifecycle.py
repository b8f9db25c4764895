"""docs/lifecycle.md tells of the five models what their files say."""

import re

from evergreet.errors import DefinitionError
from evergreet.lifecycle import LIFE_STAGES, PRESETS, lifecycle
from tests.documents import ROOT

PAGE = (ROOT / "docs" / "lifecycle.md").read_text("utf-8")


def test_the_stages_of_each_model_are_those_of_its_file() -> None:
    told = dict(re.findall(r"^\| `(\w+)`(?: \(default\))? \| (.*?→.*?) \|", PAGE, re.MULTILINE))
    assert {name: stages.split(" → ") for name, stages in told.items()} == {
        name: [stage.title for stage in lifecycle(name).stages] for name in PRESETS
    }


def test_each_life_stage_is_what_the_table_says() -> None:
    (heading,) = re.findall(r"^\| life stage \|(.*)\|$", PAGE, re.MULTILINE)
    models = re.findall(r"`(\w+)`", heading)
    for word in LIFE_STAGES:
        (row,) = re.findall(rf"^\| {word} \|(.*)\|$", PAGE, re.MULTILINE)
        told = dict(zip(models, (re.findall(r"`(\w+)`", cell) for cell in row.split("|")), strict=True))
        assert told == {name: meaning(name, word) for name in PRESETS}


def meaning(name: str, word: str) -> list[str]:
    try:
        return list(lifecycle(name).meaning(word))
    except DefinitionError:
        return []
