"""docs/add-a-campaign.md: its campaign is made as it says, and it leaves no word out."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from evergreet import triggers
from evergreet.campaign import Campaign, Email
from tests.documents import ROOT, Workplace, blocks

PAGE = ROOT / "docs" / "add-a-campaign.md"
TEXT = PAGE.read_text("utf-8")


def table(title: str) -> str:
    """The rows of the table with that heading of its first column."""
    found = re.search(rf"^\| {re.escape(title)} \|.*\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    assert found, title
    return found[1]


def named(title: str) -> set[str]:
    """The words in the first column of a table."""
    return {
        word for row in re.findall(r"^\| (`.*?`) \|", table(title), re.MULTILINE) for word in re.findall(r"`(\w+)", row)
    }


@pytest.mark.timeout(600)
def test_the_campaign_is_made_step_by_step(tmp_path: Path) -> None:
    workplace = Workplace(tmp_path, str)
    for block in blocks(PAGE):
        workplace.run(block)
    (mail,) = [path for path in (tmp_path / ".evergreet/outbox/new").glob("*.eml") if b"ana@" in path.read_bytes()]
    assert b"Subject: Welcome, Ana" in mail.read_bytes()


def test_every_word_of_a_step_and_of_a_campaign_has_a_row() -> None:
    assert named("word of a step") == {field.name for field in fields(Email)} - {"kind"}
    told_above = {"name", "trigger", "steps"}
    assert named("word of a campaign") == {field.name for field in fields(Campaign)} - told_above


def test_every_trigger_has_a_row_with_its_arguments() -> None:
    assert named("trigger") == {"event", "stage_entered", "silence", "anniversary", "broadcast"}
    rows = table("trigger")
    for name in named("trigger"):
        made = getattr(triggers, name)
        keywords = [
            each for each, about in made.__annotations__.items() if each in (made.__kwdefaults__ or {}) and about
        ]
        row = next(line for line in rows.splitlines() if line.startswith(f"| `{name}("))
        assert [each for each in keywords if f"{each}=" not in row] == []
