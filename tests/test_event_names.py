"""The events that a campaign names, wherever it does."""

from evergreet.campaign import Campaign, Email, broadcast, event, latest, pick, silence
from evergreet.conditions import did, first, has_email
from evergreet.durations import days
from evergreet.event_names import events_named


def test_every_event_that_a_campaign_waits_for_or_asks_for_is_named() -> None:
    campaign = Campaign(
        "all", event("a", "b") | silence(days(1), after=("c",), broken_by=("d",), having=("e",)) | broadcast("f"),
        (Email("one", "note", unless=~did("g"), counted_from=latest("h", same="id")),), topic="news",
        audience=has_email & (did("i") | first("j").at_least(days(3))), goal=did("k"),
        picks=(pick("tip", (did("l"), {"title": "L"})),),
    )  # fmt: skip
    assert events_named(campaign) == set("abcdefghijkl")
