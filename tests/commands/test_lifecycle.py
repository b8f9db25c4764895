"""`evergreet stages` and `evergreet lifecycle …` as a person types them, on the embedded default."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert
from sqlmodel import col
from typer.testing import CliRunner

from evergreet.cli import app
from evergreet.database import Database, ingest_position
from evergreet.errors import ConfigurationError, DataError
from evergreet.lifecycle import PRESETS, Lifecycle, Rule, Stage
from evergreet.settings import settings
from models import Contact, Event
from tests.documents import ROOT, blocks


@pytest.fixture(autouse=True)
def _store(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two contacts; one bought ten days ago, three days after looking around."""
    monkeypatch.setenv("EVERGREET_DATABASE_URL", sqlite_url)
    now = datetime.now(UTC)
    with Database(sqlite_url).write() as connection:
        stamps = {"source": "test", "position": ingest_position(connection)}
        for number in (1, 2):
            connection.execute(
                insert(Contact).values(id=number, source_id=str(number), created_at=now, changed_at=now, **stamps)
            )
        for name, days in (("product_viewed", 13), ("order_placed", 10)):
            connection.execute(
                insert(Event).values(
                    contact_id=1, name=name, occurred_at=now - timedelta(days=days), ingested_at=now,
                    source_id=name, **stamps,
                )
            )  # fmt: skip


def evergreet(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    if result.exception:
        raise result.exception
    return result.output


def test_stages_moves_contacts_and_the_second_time_nobody() -> None:
    assert evergreet("stages").splitlines() == [
        "2 contacts with news evaluated, 4 moves.",
        "  Awareness: 2 entered",
        "  Engagement: 1 entered",
        "  Purchase: 1 entered",
    ]
    assert evergreet("stages") == "0 contacts with news evaluated, 0 moves.\n"


def test_stages_answers_a_machine() -> None:
    report = json.loads(evergreet("stages", "--json"))
    assert report["entered"] == {"awareness": 2, "engagement": 1, "purchase": 1}
    assert (report["moved"], report["evaluated"]) == (4, 2)


def test_show_names_the_stages_the_contacts_in_them_and_the_rules() -> None:
    assert "none yet" in evergreet("lifecycle", "show")
    evergreet("stages")
    shown = evergreet("lifecycle", "show")
    assert "none yet" not in shown
    assert "A purchase, from wherever: the loop back." in shown
    described = json.loads(evergreet("lifecycle", "show", "--json"))
    assert {stage["name"]: stage["contacts"] for stage in described["stages"]} == {
        "awareness": 1, "engagement": 0, "evaluation": 0, "purchase": 1, "experience": 0, "bonding": 0,
    }  # fmt: skip
    assert described["rules"][0]["on"] == ["order_placed", "order_completed", "purchase"]


def test_show_names_a_stage_that_the_lifecycle_does_not_have(sqlite_url: str) -> None:
    with Database(sqlite_url).write() as connection:
        connection.execute(Contact.__table__.update().values(stage="vip"))  # type: ignore[attr-defined]
    assert "not in this lifecycle; counts as awareness" in evergreet("lifecycle", "show")
    described = json.loads(evergreet("lifecycle", "show", "--json"))
    assert described["elsewhere"] == [{"name": "vip", "counts_as": "awareness", "contacts": 2}]
    assert json.loads(evergreet("lifecycle", "funnel", "--json"))[0]["now"] == 2


def test_show_names_events_that_never_came(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "has ever come" not in evergreet("lifecycle", "show")
    names = ("product_viewed", "order_plcaed", "contract_signed", "lead_scored")
    ours = Lifecycle("ours", (Stage("a", "A"), Stage("b", "B")), (Rule("b", on=names),))
    monkeypatch.setattr("evergreet.lifecycle.lifecycle", lambda _name: ours)
    with Database(settings().database_url.get_secret_value()).write() as connection:
        connection.execute(Event.__table__.update().where(col(Event.name) == "order_placed").values(name="lead_scored"))  # type: ignore[attr-defined]
    shown = evergreet("lifecycle", "show")
    assert "No event contract_signed has ever come." in shown
    assert "No event order_plcaed has ever come; did you mean order_placed?" in shown
    assert shown.count("has ever come") == 2
    assert json.loads(evergreet("lifecycle", "show", "--json"))["never_seen"] == ["contract_signed", "order_plcaed"]


def test_the_funnel_as_a_table_and_for_a_machine() -> None:
    assert "2 more are in no stage yet" in evergreet("lifecycle", "funnel")
    evergreet("stages")
    shown = evergreet("lifecycle", "funnel")
    assert "3.0 days" in shown
    assert "in no stage yet" not in shown
    figures = {one["stage"]: one for one in json.loads(evergreet("lifecycle", "funnel", "--json"))}
    assert figures["awareness"] == {
        "stage": "awareness", "title": "Awareness", "now": 1, "entered": 2, "converted": 1, "conversion": 0.5,
        "median_seconds": 0.0,
    }  # fmt: skip
    assert figures["engagement"]["median_seconds"] == 3 * 86_400
    assert figures["bonding"]["conversion"] is None
    later = {one["stage"]: one for one in json.loads(evergreet("lifecycle", "funnel", "--since", "11d", "--json"))}
    assert (later["engagement"]["entered"], later["purchase"]["entered"]) == (0, 1)


def test_the_funnel_as_a_picture(tmp_path: Path) -> None:
    evergreet("stages")
    assert "Drawn to funnel.svg." in evergreet("lifecycle", "funnel", "--picture", "funnel.svg")
    assert "3.0 days" in (tmp_path / "funnel.svg").read_text("utf-8")
    assert json.loads(evergreet("lifecycle", "funnel", "--json", "--picture", "again.svg"))
    assert (tmp_path / "again.svg").exists()
    with pytest.raises(DataError, match="cannot be written to no_folder"):
        evergreet("lifecycle", "funnel", "--picture", "no_folder/funnel.svg")
    with pytest.raises(DataError, match=r"a name such as funnel\.svg, not funnel\.png"):
        evergreet("lifecycle", "funnel", "--picture", "funnel.png")
    assert not (tmp_path / "funnel.png").exists()


@pytest.mark.parametrize("name", PRESETS)
def test_one_setting_chooses_the_model(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREET_LIFECYCLE", name)
    settings.cache_clear()
    evergreet("stages")
    described = json.loads(evergreet("lifecycle", "show", "--json"))
    assert described["name"] == name
    assert sum(stage["contacts"] for stage in described["stages"]) == 2
    titles = [one["title"] for one in json.loads(evergreet("lifecycle", "funnel", "--json"))]
    assert titles == [stage["title"] for stage in described["stages"]]
    assert all(title.split()[0] in evergreet("lifecycle", "show") for title in titles)


def test_a_wrong_time_or_lifecycle_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="is not a time"):
        evergreet("lifecycle", "funnel", "--since", "yesterday")
    with pytest.raises(DataError, match="lies in the future"):
        evergreet("lifecycle", "funnel", "--since", "2999-01-01")
    monkeypatch.setenv("EVERGREET_LIFECYCLE", "mine")
    settings.cache_clear()
    with pytest.raises(ConfigurationError, match="EVERGREET_LIFECYCLE=mine"):
        evergreet("lifecycle", "show")


def test_the_commands_and_the_example_of_the_page_work() -> None:
    found = list(blocks(ROOT / "docs" / "lifecycle.md"))
    assert [block.kind for block in found] == ["bash", "python"]
    for line in found[0].text.splitlines():
        evergreet(*line.partition("#")[0].split()[1:])
    example: dict[str, object] = {}
    exec(found[1].text, example)
    assert "ours" in example
