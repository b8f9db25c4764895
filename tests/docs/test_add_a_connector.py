"""docs/add-a-connector.md: a stranger's connector is made as it says and passes the rules."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.documents import ROOT, Block, Workplace, blocks

PAGE = ROOT / "docs" / "add-a-connector.md"

RUN = """
from evergreet.campaign import TRANSACTIONAL, Campaign, Email, Options, Slack, event
from evergreet.clock import FrozenClock
from evergreet.database import Database, upgrade
from evergreet.engine import Engine
from evergreet.sending import opened_senders
from evergreet.settings import settings
from evergreet.template_sources import TemplateSource
from tests.conftest import NOW
from tests.story import Story, note

NOTE = TemplateSource("slack", "7" * 64, {"slack/slack.txt": "{{ contact.first_name }} ordered."})


def load(name, purpose):
    return NOTE if name == "slack" else note(name, purpose)


campaign = Campaign(
    name="large-order",
    trigger=event("order_placed", key="order_id"),
    steps=(Email("receipt", template="note", purpose=TRANSACTIONAL), Slack("tell", template="slack")),
)
database = Database("sqlite:///run.db")
upgrade(database)
story = Story(database, FrozenClock(NOW), load=load)
story.launch(campaign)
story.happened("order_placed", story.contact("ana"))
with opened_senders() as senders:
    Engine(database, senders.email, settings(), load, clock=story.clock, others=senders.others).run(campaign, Options())
assert {(row.provider, row.state) for row in story.messages} == {("spool", "accepted"), ("pager", "accepted")}
database.close()
"""
"""A campaign is run through the connectors that the settings name."""


def install(folder: Path) -> None:
    """Leave what `pip install -e .` leaves of a package: its metadata, beside its modules."""
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))


@pytest.mark.timeout(600)
def test_the_connector_is_made_step_by_step(tmp_path: Path) -> None:
    workplace = Workplace(tmp_path, str)
    for block in blocks(PAGE):
        workplace.run(block)
        if block.file == "pyproject.toml":
            install(tmp_path)
    assert "you@example.org" in (tmp_path / "spool.jsonl").read_text("utf-8")
    workplace.run(Block(0, "python", RUN))
    assert "ana@example.org" in (tmp_path / "spool.jsonl").read_text("utf-8").splitlines()[-1]
    assert (tmp_path / "pager.txt").read_text("utf-8").endswith(" team: Ana ordered.\n")


def test_the_four_places_are_those_that_ours_have() -> None:
    rows = re.findall(r"^\| the [a-z ]+ \| (.*?) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert len(rows) == 4
    assert (ROOT / "connectors/email/smtp.py").is_file()
    assert 'entry-points."evergreet.connectors"' in (ROOT / "pyproject.toml").read_text("utf-8")
    assert (ROOT / "tests/connectors/email/test_contracts.py").is_file()
    assert (ROOT / "docs/connectors.md").is_file()
