"""The stages that campaigns name, in the words of the lifecycle that is in use."""

import pytest

from evergreet.campaign import Campaign, Email, event, pick, stage_entered
from evergreet.conditions import everyone, has_email, stage_is
from evergreet.errors import DefinitionError
from evergreet.life_stages import in_lifecycle
from evergreet.lifecycle import Lifecycle, Stage

TWO = Lifecycle(
    "two", (Stage("visitor", "Visitor", also=("awareness",)), Stage("first-buy", "First", also=("purchase",)),
            Stage("again", "Again", also=("purchase", "retention"))), ()
)  # fmt: skip
NOTE = Email("note", "note")


def test_a_stage_becomes_all_those_that_stand_for_it_once_each_and_in_order() -> None:
    campaign = Campaign(
        "c", stage_entered("retention") | event("order_placed") | stage_entered("purchase"), (NOTE,), topic="t"
    )
    translated = in_lifecycle(campaign, TWO)
    assert [getattr(part, "stage", part.kind) for part in translated.trigger.parts] == ["again", "event", "first-buy"]


def test_stages_are_found_wherever_a_condition_stands() -> None:
    asked = has_email & ~stage_is("purchase")
    campaign = Campaign(
        "c", event("e"), (Email("note", "note", unless=asked),), topic="t", audience=asked, goal=asked,
        picks=(pick("kind", (asked, {"of": "buyer"})),),
    )  # fmt: skip
    translated = in_lifecycle(campaign, TWO)
    meant = has_email & ~stage_is("first-buy", "again")
    assert (translated.audience, translated.goal, translated.steps[0].unless) == (meant, meant, meant)
    assert translated.picks[0].cases[0].when == meant
    assert in_lifecycle(translated, TWO) == translated


def test_a_stage_that_means_nothing_there_is_named_with_those_that_do() -> None:
    for campaign in (
        Campaign("c", stage_entered("advocacy"), (NOTE,), topic="t"),
        Campaign("c", event("e"), (NOTE,), topic="t", audience=everyone & stage_is("advocacy")),
    ):
        with pytest.raises(DefinitionError, match=r"campaign 'c': lifecycle 'two' has no stage 'advocacy'.*first-buy"):
            in_lifecycle(campaign, TWO)
