"""`evergreet report CAMPAIGN` as a person types it, on the embedded default."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evergreet.campaign import Campaign, Email, event
from evergreet.cli import app
from evergreet.clock import FrozenClock
from evergreet.conditions import did
from evergreet.database import Database
from evergreet.durations import days
from evergreet.errors import DataError, EvergreetError
from tests.documents import ROOT, blocks
from tests.story import Story

HALF = Campaign(
    name="thank-you",
    topic="orders",
    trigger=event("order_placed", key="order_id"),
    steps=(Email("hello", template="note"),),
    goal=did("review_submitted", within=days(30)),
    holdout=50,
)


@pytest.fixture(autouse=True)
def _store(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty who ordered ten days ago, and two who could not be written to; all who got the mail wrote a review."""
    monkeypatch.setenv("EVERGREET_DATABASE_URL", sqlite_url)
    story = Story(Database(sqlite_url), FrozenClock(datetime.now(UTC) - timedelta(days=10)))
    people = story.contacts(40, consents=["orders"])
    story.launch(HALF)
    story.happened("order_placed", *people, story.contact("mute", address=None), story.contact("no", consents=[]))
    story.run(HALF)
    got = [row.contact_id for row in story.messages if row.state == "accepted"]
    story.happened("review_submitted", *got, at=story.now + timedelta(days=1))
    story.database.close()


def evergreet(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    if result.exception:
        raise result.exception
    return result.output


def test_the_report_as_a_table() -> None:
    said = evergreet("report", "thank-you")
    assert "thank-you (live)" in said
    for expected in ("hello marketing", "no_address", "no_consent", "holdout", "with the campaign", "held out"):
        assert expected in said
    assert "42 enrollments; 0 more were outside the audience." in said
    assert "Compared with those held out from it, more people convert: +100.0 percentage points" in said
    assert "None of those held out from it has converted, so there is no relative lift." in said
    assert "contacts may still convert within the goal's window" in said


def test_the_report_for_a_machine() -> None:
    found = json.loads(evergreet("report", "thank-you", "--json"))
    (step,) = found["steps"]
    goal = found["goal"]
    accepted = step["balance"]["accepted"]
    assert step["balance"]["due"] == 42
    assert step["reasons"]["skipped: holdout"] == 40 - accepted
    assert (goal["treated"]["contacts"], goal["treated"]["converted"]) == (accepted, accepted)
    assert goal["held_out"] == {
        "contacts": 40 - accepted, "converted": 0, "still_open": 40 - accepted, "rate": 0.0,
        "interval": [0.0, pytest.approx(goal["held_out"]["interval"][1])],
    }  # fmt: skip
    assert goal["lift"]["certain"] is True
    assert goal["lift"]["relative"] is None
    assert goal["lift_of_all"] is None
    assert goal["window_seconds"] == 30 * 86_400


def test_the_report_as_a_picture(tmp_path: Path) -> None:
    assert "Drawn to lift.svg." in evergreet("report", "thank-you", "--picture", "lift.svg")
    assert "With the campaign" in (tmp_path / "lift.svg").read_text("utf-8")
    with pytest.raises(DataError, match="cannot be written to no_folder"):
        evergreet("report", "thank-you", "--picture", "no_folder/lift.svg")


def test_since_leaves_out_what_was_caused_before() -> None:
    later = json.loads(evergreet("report", "thank-you", "--since", "9d", "--json"))
    assert (later["enrollments"], later["goal"]["enrolled"]["contacts"]) == (0, 0)
    assert later["goal"]["enrolled"]["rate"] is None
    assert later["steps"][0]["balance"]["due"] == 0
    assert json.loads(evergreet("report", "thank-you", "--since", "11d", "--json"))["enrollments"] == 42


def test_an_unknown_campaign_is_a_sentence() -> None:
    with pytest.raises(EvergreetError, match="'thanks' is not in the ledger yet"):
        evergreet("report", "thanks")


def test_a_report_needs_neither_campaign_files_nor_prefect(sqlite_url: str) -> None:
    code = (
        "import sys\nfrom evergreet.cli import app\napp(['report', 'thank-you'], standalone_mode=False)\n"
        "assert not {'flows', 'prefect'} & set(sys.modules)\n"
    )
    environment = {**os.environ, "EVERGREET_DATABASE_URL": sqlite_url, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "thank-you (live)" in done.stdout


def test_the_commands_of_the_page_work() -> None:
    found = list(blocks(ROOT / "docs" / "report.md"))
    assert [block.kind for block in found] == ["bash"]
    for line in found[0].text.splitlines():
        evergreet(*line.partition("#")[0].split()[1:])
