"""The picture of the lift says its numbers as text, and stays readable whatever they are."""

from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest

from evergreet.conversions import GoalFigures
from evergreet.lift import NOBODY, Group
from evergreet.pictures.lift import draw_lift
from evergreet.report import CampaignReport
from tests.conftest import NOW
from tests.pictures.laid_out import assert_readable

SVG = "{http://www.w3.org/2000/svg}"
SENTENCES = ("With the campaign more people convert: & so on.", "Some may still convert. " * 12)


def made(treated: Group, held_out: Group, *, name: str = "thank-you", of_all: Group = NOBODY) -> CampaignReport:
    enrolled = Group(treated.contacts + held_out.contacts, treated.converted + held_out.converted, 3)
    goal = GoalFigures(enrolled, treated, held_out, of_all, window=timedelta(days=60))
    return CampaignReport(name, "live", NOW, None, 1_234, 5, (), goal, SENTENCES)


def texts(svg: str) -> list[str]:
    return [str(element.text) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def widths(svg: str) -> dict[str, float]:
    drawn = ElementTree.fromstring(svg).iter(f"{SVG}rect")
    return {str(bar.get("class")): float(str(bar.get("width"))) for bar in drawn if bar.get("class")}


def test_both_groups_are_there_with_their_numbers_and_what_they_mean() -> None:
    svg = draw_lift(made(Group(1100, 82), Group(124, 3)))
    shown = texts(svg)
    assert shown[:2] == ["thank-you: who converted", "1,234 enrollments as of 2026-03-10 12:00 UTC"]
    assert shown[2:6] == ["With the campaign", "82 of 1,100 contacts", "7.5%", "95% between 6.0% and 9.2%"]
    assert shown[6:10] == ["Held out", "3 of 124 contacts", "2.4%", "95% between 0.8% and 6.9%"]
    assert SENTENCES[0] in shown
    description = ElementTree.fromstring(svg).findtext(f"{SVG}desc")
    assert description is not None
    assert description.startswith(
        "With the campaign: 82 of 1,100 contacts, 7.5%. Held out: 3 of 124 contacts, 2.4%. With"
    )


def test_bars_are_as_long_as_their_rates_and_spans_as_their_intervals() -> None:
    svg = draw_lift(made(Group(100, 50), Group(100, 25)))
    assert widths(svg)["pale"] == pytest.approx(2 * widths(svg)["warm"], abs=0.2)
    spans = [
        str(path.get("d")) for path in ElementTree.fromstring(svg).iter(f"{SVG}path") if path.get("class") == "span"
    ]
    assert len(spans) == 2
    low, high = (float(part.split()[0]) for part in (spans[0][1:], spans[0].partition("H")[2].replace("M", " ")))
    assert low < 280 + widths(svg)["pale"] < high


def test_where_nobody_is_held_out_all_who_were_enrolled_are_drawn() -> None:
    assert texts(draw_lift(made(Group(10, 3), Group())))[2:5] == ["Enrolled", "3 of 10 contacts", "30.0%"]


def test_who_is_held_out_from_all_marketing_is_a_bar_of_its_own() -> None:
    shown = texts(draw_lift(made(Group(100, 50), Group(100, 25), of_all=Group(10, 1))))
    assert shown[10:13] == ["Held out from all", "1 of 10 contacts", "10.0%"]


def test_a_group_with_nobody_in_it_is_said_in_words() -> None:
    svg = draw_lift(made(Group(), Group(10, 3)))
    assert "nobody yet" in texts(svg)
    assert "nan" not in svg.lower()
    assert "None" not in svg


def test_without_a_goal_there_are_sentences_only() -> None:
    svg = draw_lift(CampaignReport("plain", "live", NOW, NOW, 3, 0, (), None, ("It has no goal.",)))
    assert texts(svg) == [
        "plain: who converted", "3 enrollments caused since 2026-03-10 12:00 UTC, as of 2026-03-10 12:00 UTC",
        "It has no goal.",
    ]  # fmt: skip


@pytest.mark.browser
@pytest.mark.parametrize(
    ("treated", "held_out"),
    [(Group(110_000_000, 8_200_000), Group(1, 0)), (Group(10, 10), Group(10, 10)), (Group(), Group(3, 0))],
)
def test_no_text_meets_another_or_a_bar(tmp_path: Path, treated: Group, held_out: Group) -> None:
    assert_readable(tmp_path, draw_lift(made(treated, held_out, name="new-product-announcement-" * 4 + "x")))
