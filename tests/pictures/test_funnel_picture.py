"""The picture of the funnel says its numbers, and stays readable whatever the stages are called."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest

from evergreet.funnel import StageFigures
from evergreet.lifecycle import Lifecycle, Stage, lifecycle
from evergreet.pictures.funnel import draw_funnel, said
from tests.pictures.laid_out import assert_readable

SVG = "{http://www.w3.org/2000/svg}"
DAY = timedelta(days=1)
TITLES = (
    "Onboarding of customers who came through a partner and have not yet been called",
    "W" * 60,
    "Donaudampfschifffahrtsgesellschaftskapitänskajüte <b>& more",
    "顧客のオンボーディングとサポートの段階についての長い名前",
    "x",
)
LONG = Lifecycle("long-name-" * 12, tuple(Stage(f"s{n}", title) for n, title in enumerate(TITLES)), ())


def figures(rules: Lifecycle, *rows: tuple[int, int, int, timedelta | None]) -> list[StageFigures]:
    return [StageFigures(stage.name, stage.title, *row) for stage, row in zip(rules.stages, rows, strict=True)]


AWKWARD = figures(
    LONG, (12_345_678, 98_765_432, 1, 5 * DAY), (3, 12, 9, DAY), (0, 0, 0, None), (1, 1, 0, 9_999 * DAY),
    (0, 0, 0, None),
)  # fmt: skip


def texts(svg: str) -> list[str]:
    return [str(element.text) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_the_numbers_stand_in_the_picture_and_in_its_description() -> None:
    rules = Lifecycle("shop", (Stage("new", "New"), Stage("old", "Old & loyal")), ())
    svg = draw_funnel(
        rules, figures(rules, (3, 1000, 250, 9 * DAY), (250, 250, 0, None)), datetime(2026, 1, 1, tzinfo=UTC)
    )
    shown = texts(svg)
    assert shown[0] == "Lifecycle shop"
    assert shown[1] == "253 contacts in its stages; moves since 2026-01-01 00:00 UTC"
    assert shown[shown.index("New") :][:5] == ["New", "3", "1,000", "25%", "9.0 days"]
    assert shown[shown.index("Old & loyal") :][:5] == ["Old & loyal", "250", "250", "–", "–"]
    root = ElementTree.fromstring(svg)
    assert (root.get("role"), root.get("aria-labelledby")) == ("img", "title description")
    assert root.findtext(f"{SVG}desc") == (
        "New: 3 there now, 1000 entered, 250 of them went on (25%), after 9.0 days (median). "
        "Old & loyal: 250 there now, 250 entered."
    )


def test_bars_are_as_long_as_their_numbers() -> None:
    rules = Lifecycle("shop", (Stage("new", "New"), Stage("old", "Old")), ())
    svg = draw_funnel(rules, figures(rules, (100, 400, 200, None), (300, 1, 0, None)))
    drawn = list(ElementTree.fromstring(svg).iter(f"{SVG}rect"))
    bars = {
        kind: [float(str(bar.get("width"))) for bar in drawn if bar.get("class") == kind]
        for kind in ("pale", "strong", "other")
    }
    entered, converted, now = (bars[kind][:2] for kind in ("pale", "strong", "other"))
    assert entered[0] == 2 * converted[0] == 4 * now[0]
    assert now[1] == 3 * now[0]
    assert (entered[1], converted[1]) == (2, 0)  # one contact is still to be seen, nobody is not


@pytest.mark.parametrize("count", [0, 1])
def test_a_lifecycle_of_one_stage_and_nobody_has_a_picture(count: int) -> None:
    rules = Lifecycle("empty", (Stage("new", "New"),), ())
    assert "New" in texts(draw_funnel(rules, figures(rules, (count, count, 0, None))))


def test_times_are_said_as_people_say_them() -> None:
    assert [said(span) for span in (timedelta(0), DAY / 1440, DAY / 24, DAY, 2 * DAY, 14.25 * DAY, 4166.6 * DAY)] == [
        "0 minutes", "1 minute", "60 minutes", "24.0 hours", "2.0 days", "14.2 days", "4,167 days",
    ]  # fmt: skip


@pytest.mark.browser
def test_names_of_any_length_meet_nothing(tmp_path: Path) -> None:
    assert_readable(tmp_path, draw_funnel(LONG, AWKWARD, datetime(2026, 1, 1, tzinfo=UTC)))


@pytest.mark.browser
def test_the_default_lifecycle_is_readable(tmp_path: Path) -> None:
    rules = lifecycle("experience")
    rows = figures(rules, *((30 * n, 90 * n, 60 * n, n * DAY) for n in range(6, 0, -1)))
    assert_readable(tmp_path, draw_funnel(rules, rows))
