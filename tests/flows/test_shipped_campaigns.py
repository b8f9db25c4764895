"""What is true of every campaign that comes along, whichever lifecycle is in use."""

import pytest

from evergreet.campaign import CAMPAIGN, Campaign
from evergreet.conditions import StageIs, leaves
from evergreet.life_stages import in_lifecycle
from evergreet.lifecycle import PRESETS, lifecycle
from evergreet.registry import CampaignModule, find_campaigns
from evergreet.settings import settings

NAMES = (
    "abandoned-cart", "anniversary-offer", "new-product-announcement", "onboarding-nudges", "review-request",
    "thank-you", "win-back",
)  # fmt: skip


@pytest.fixture(scope="module")
def shipped() -> dict[str, CampaignModule]:
    return find_campaigns("flows")


def test_these_campaigns_come_along(shipped: dict[str, CampaignModule]) -> None:
    assert set(NAMES) <= set(shipped)  # one of your own beside them is no fault


@pytest.mark.parametrize("name", NAMES)
def test_it_is_data_and_comes_back_equal_with_its_options_filled_in(
    shipped: dict[str, CampaignModule], name: str
) -> None:
    campaign = shipped[name].campaign.resolve(shipped[name].options())
    assert CAMPAIGN.validate_json(CAMPAIGN.dump_json(campaign)) == campaign
    assert CAMPAIGN.validate_python(CAMPAIGN.dump_python(campaign, mode="json")) == campaign


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("name", NAMES)
def test_it_names_only_stages_that_the_lifecycle_in_use_has(
    monkeypatch: pytest.MonkeyPatch, name: str, preset: str
) -> None:
    monkeypatch.setenv("EVERGREET_LIFECYCLE", preset)
    settings.cache_clear()
    campaign = find_campaigns("flows")[name].campaign
    used = lifecycle(preset)
    own = {stage.name for stage in used.stages}
    assert stages_of(campaign) <= own
    assert in_lifecycle(campaign, used) == campaign, "named already in its words"


def stages_of(campaign: Campaign) -> set[str]:
    """Every stage that a campaign names, in triggers and conditions."""
    conditions = [campaign.audience, campaign.goal, *(step.unless for step in campaign.steps)]
    conditions += [case.when for pick in campaign.picks for case in pick.cases]
    asked = [part for each in conditions if each is not None for part in leaves(each) if isinstance(part, StageIs)]
    return {trigger.stage for trigger in campaign.trigger.stages} | {name for part in asked for name in part.stages}
