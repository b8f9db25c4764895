"""docs/steps.md: its campaign can be written, its bodies are what comes out, its settings are read."""

import json
import re

import pytest

from connectors.internal.slack import Slack
from connectors.internal.webhook import Webhook
from evergreet.campaign import CAMPAIGN, Campaign
from evergreet.composing import surroundings_of
from evergreet.internal_rendering import InternalRenderer
from evergreet.preview import SAMPLE, read_sample, render
from evergreet.settings import Settings
from evergreet.step_checks import check_channels
from evergreet.template_sources import TemplateSource
from tests.documents import ROOT

PAGE = (ROOT / "docs" / "steps.md").read_text("utf-8")
SECRET = "whsec_Y2FuYXJ5LXNlY3JldC1kMG50LXRlbGwtaXQ="


def block(language: str) -> str:
    """The first example in that language."""
    return str(re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[0])


def test_the_campaign_and_the_settings_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, Campaign] = {}
    exec(block("python"), known)
    campaign = known["campaign"]
    assert CAMPAIGN.validate_json(CAMPAIGN.dump_json(campaign)) == campaign
    for line in block("sh").splitlines():
        name, _, value = line.partition("=")
        monkeypatch.setenv(name, SECRET if value == "whsec_…" else value.removesuffix("…"))
    settings = Settings()
    assert (settings.webhook, settings.slack, settings.crm_tasks) == ("webhook", "slack", "hubspot")
    webhook, slack = Webhook.from_environment(), Slack.from_environment()
    check_channels(campaign.name, campaign.steps[:-1], {"webhook": webhook, "slack": slack})
    webhook.close()
    slack.close()


def test_the_bodies_are_what_comes_out() -> None:
    context, _ = read_sample("templates", "_base/webhook", Settings())
    assert json.loads(render(Settings(), "_base/webhook", context).text) == json.loads(block("json"))
    source = TemplateSource("own", "0" * 64, {"own/body.json": block("jinja")})
    made = InternalRenderer(source, surroundings_of(Settings())).render(context, SAMPLE)
    assert json.loads(made.text) == {"customer": "Maya", "order": "1042", "gift": False}
