"""Settings that cannot be used: each is a sentence that names the variable, and never the value."""

import pytest

from connectors.crm.folder import Folder
from connectors.internal.webhook import Webhook
from evergreet.errors import ConfigurationError, Misconfigured
from evergreet.settings import settings


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("EVERGREET_TOPIC_CAPS", "{canary", "EVERGREET_TOPIC_CAPS: this is not JSON, such as "),
        ("EVERGREET_TOPIC_CAPS", '{"offers": "canary"}', "EVERGREET_TOPIC_CAPS_OFFERS: this has to be a JSON object, "),
        ("EVERGREET_DEFAULT_TIMEZONE", "Mars", "EVERGREET_DEFAULT_TIMEZONE: 'Mars' is not an IANA time zone"),
        (
            "EVERGREET_TOPIC_CAPS",
            '{"offers/sms": {"messages": 1, "days": 7}}',
            "EVERGREET_TOPIC_CAPS: 'offers/sms' is no ",
        ),
        ("EVERGREET_CAP", "0", "EVERGREET_CAP: a cap lets 1 message through or more; leave it out for no cap"),
        (
            "EVERGREET_TOPIC_CAPS",
            '{"offers": {"messages": 0, "days": 7}}',
            "EVERGREET_TOPIC_CAPS_OFFERS_MESSAGES: a cap lets 1 message through or more",
        ),
        ("EVERGREET_CAP_DAYS", "4000000", "EVERGREET_CAP_DAYS: Input should be less than or equal to 3650"),
        ("EVERGREET_QUIET_FROM", "21:00", "EVERGREET_QUIET_UNTIL: quiet hours have two ends: set "),
        ("EVERGREET_QUIET_UNTIL", "08:00", "EVERGREET_QUIET_UNTIL: quiet hours have two ends: set "),
        ("EVERGREET_QUIET_FROM", "21:00+02:00", "EVERGREET_QUIET_FROM: this is the time where each contact lives, "),
        ("EVERGREET_UTM_DOMAINS", "a.example, https://b.example", "EVERGREET_UTM_DOMAINS: 'https://b.example' is no "),
        (
            "EVERGREET_PUBLIC_URL",
            "http://mail.example",
            "EVERGREET_PUBLIC_URL: mailbox providers unsubscribe people over ",
        ),
        ("EVERGREET_PUBLIC_URL", "mail.example", "EVERGREET_PUBLIC_URL: links begin with it: write https://"),
        ("EVERGREET_SITE_URL", "https://shop.example/?a=b", "EVERGREET_SITE_URL: links begin with it: write https://"),
        ("EVERGREET_UTM_DOMAINS", "shop.example/path", "EVERGREET_UTM_DOMAINS: 'shop.example/path' is no domain"),
        ("EVERGREET_CHECKLIST", "[]", "EVERGREET_CHECKLIST: it names no milestone"),
        ("EVERGREET_CHECKLIST", '[{"event": "", "title": "One"}]', "EVERGREET_CHECKLIST_0_EVENT: "),
        ("EVERGREET_CHECKLIST", '[{"event": "a", "title": "A", "path": "a"}]', "EVERGREET_CHECKLIST_0_PATH: "),
        (
            "EVERGREET_CHECKLIST",
            '[{"event": "a", "titel": "A"}]',
            "EVERGREET_CHECKLIST_0_TITLE is not set; EVERGREET_CHECKLIST_0_TITEL: ",
        ),
        (
            "EVERGREET_CHECKLIST",
            '[{"event": "a", "title": "A"}, {"event": "a", "title": "B"}]',
            "EVERGREET_CHECKLIST: the event 'a' stands twice",
        ),
    ],
)
def test_a_wrong_setting_of_the_engine(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str) -> None:
    monkeypatch.setenv(variable, value)
    settings.cache_clear()
    with pytest.raises(ConfigurationError) as told:
        settings()
    assert str(told.value).startswith(f"The settings cannot be used. {said}")
    assert "canary" not in str(told.value)


def test_a_wrong_setting_of_a_connector(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured, match=r"^EVERGREET_FOLDER_PATH is not set\.$"):
        Folder.from_environment()
    monkeypatch.setenv("EVERGREET_FOLDER_COLUMNS", "{canary")
    with pytest.raises(Misconfigured, match=r'^EVERGREET_FOLDER_COLUMNS: this is not JSON, such as \["one", "two"\]'):
        Folder.from_environment()
    monkeypatch.setenv("EVERGREET_WEBHOOK_TO", '{"warehouse": "https://canary.example"}')
    with pytest.raises(
        Misconfigured, match=r"^EVERGREET_WEBHOOK_TO__WAREHOUSE: this has to be a JSON object, \{…\}\.$"
    ):
        Webhook.from_environment()
    monkeypatch.setenv("EVERGREET_WEBHOOK_TO", '{"warehouse": {"url": "http://b.example", "secret": "whsec_AA"}}')
    with pytest.raises(Misconfigured, match=r"^EVERGREET_WEBHOOK_TO__WAREHOUSE__URL: it would travel in plain text"):
        Webhook.from_environment()
