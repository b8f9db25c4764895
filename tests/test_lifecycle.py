"""The words of a lifecycle check themselves; presets are found by name."""

from collections.abc import Callable
from pathlib import Path

import pytest

from evergreet.conditions import attribute, did, everyone, in_stage_for, last, stage_is
from evergreet.durations import days
from evergreet.errors import ConfigurationError, DefinitionError
from evergreet.lifecycle import Lifecycle, Rule, Stage, lifecycle

TWO = (Stage("new", "New"), Stage("old", "Old"))


def test_a_lifecycle_of_two_stages_is_accepted() -> None:
    moves = Lifecycle(
        "mine", TWO, (Rule("old", on=("login",)), Rule("new", when=in_stage_for(days(9)), from_=("old",)))
    )
    assert moves.first.name == "new"
    assert [rule.to for rule in moves.event_rules] == ["old"]
    assert [rule.to for rule in moves.time_rules] == ["new"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Lifecycle("mine", (), ()), "no stages"),
        (lambda: Lifecycle("mine", (*TWO, Stage("new", "Again")), ()), "'new' stands twice"),
        (lambda: Lifecycle("mine", TWO, (Rule("gone", on=("login",)),)), "no stage 'gone'"),
        (lambda: Lifecycle("mine", TWO, (Rule("old", on=("login",), from_=("gone",)),)), "no stage 'gone'"),
        (lambda: Lifecycle("mine", TWO, (Rule("old", when=~stage_is("gone")),)), "no stage 'gone'"),
        (lambda: Lifecycle("mine", TWO, (Rule("old"),)), "neither on= nor when="),
        (lambda: Lifecycle("mine", TWO, (Rule("old", when=did("a"), from_=("new", "old")),)), "never end"),
        (lambda: Lifecycle("mine", TWO, (Rule("old", on=("a",), from_=()),)), "matches no stage"),
        (lambda: Lifecycle("mine", TWO, (Rule("old", on="login"),)), "as tuples"),  # type: ignore[arg-type]
        (lambda: Stage("Not Good", "Name"), "small letters"),
        (lambda: Stage("", "No name"), "small letters"),
        (lambda: Stage("x" * 101, "Long"), "100 characters"),
        (lambda: Stage("vip", "VIP", also=("vip",)), "cannot stand for 'vip'; the life stages are: awareness"),
        (lambda: Stage("vip", "VIP", also="loyalty"), r"also=\('loyalty',\)"),  # type: ignore[arg-type]
        (lambda: Lifecycle("mine", TWO, ()).stage("gone"), "it has: new, old"),
    ],
)
def test_what_could_never_work_is_refused_with_a_sentence(make: Callable[[], object], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        make()


def test_a_rule_knows_the_events_and_the_data_it_asks_about() -> None:
    rule = Rule("old", on=("a",), when=(did("b") | ~last("c").less_than(days(1))) & (attribute("plan") == "x"))
    assert rule.event_names == {"a", "b", "c"}
    assert rule.asks_contact
    assert not Rule("old", on=("a",), when=everyone).asks_contact


def test_a_name_means_the_stage_of_that_name_and_those_that_stand_for_it() -> None:
    moves = Lifecycle(
        "mine",
        (
            Stage("lead", "Lead", also=("awareness", "engagement")),
            Stage("purchase", "Order"),
            Stage("again", "Again", also=("purchase", "loyalty")),
        ),
        (),
    )
    assert moves.meaning("purchase") == ("purchase", "again")
    assert moves.meaning("awareness") == ("lead",)
    assert moves.meaning("lead") == ("lead",)
    with pytest.raises(DefinitionError, match=r"'mine' has no stage 'advocacy'.*knows: lead, purchase, again, aware"):
        moves.meaning("advocacy")


def test_a_company_names_a_lifecycle_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acme_lifecycle.py").write_text(
        "from evergreet.lifecycle import Lifecycle, Stage\n"
        "ours = Lifecycle('acme', (Stage('lead', 'Lead'),), ())\nnothing = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert lifecycle("acme_lifecycle:ours").name == "acme"
    with pytest.raises(ConfigurationError, match="not a Lifecycle"):
        lifecycle("acme_lifecycle:nothing")


@pytest.mark.parametrize("name", ["expereince", "no.such:thing", "evergreet.lifecycle:gone"])
def test_an_unknown_lifecycle_is_a_sentence(name: str) -> None:
    with pytest.raises(ConfigurationError, match="EVERGREET_LIFECYCLE="):
        lifecycle(name)
