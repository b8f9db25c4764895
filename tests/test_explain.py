"""Explain: every way in which somebody did not get a message has a sentence."""

from datetime import timedelta

import pytest

from evergreet.campaign import Campaign, Email
from evergreet.campaigns import pause, required
from evergreet.conditions import attribute
from evergreet.durations import days
from evergreet.errors import EvergreetError
from evergreet.explain import explain, find_contacts
from tests.story import THANKS, Story


def why(story: Story, contact: int, name: str = "thanks") -> list[str]:
    with story.database.read() as connection:
        lines = explain(connection, required(connection, name), contact)
        return [f"{line.what} ({line.detail})" if line.detail else line.what for line in lines]


def test_who_got_it_when_and_through_whom(story: Story) -> None:
    ana = story.contact("ana")
    story.launch()
    story.happened("order_placed", ana, order_id="A-1")
    story.run()
    assert why(story, ana) == [
        "enrolled (order_placed:A-1)",
        "receipt: accepted (ana@example.org by recorder, 2026-03-10 12:00 UTC)",
    ]


def test_who_was_outside_the_audience(story: Story) -> None:
    german = Campaign(name="thanks", trigger=THANKS.trigger, steps=THANKS.steps, audience=attribute("country") == "DE")
    ana = story.contact("ana")
    story.launch(german)
    story.happened("order_placed", ana, order_id="A-1")
    story.run(german)
    assert why(story, ana) == ["not enrolled: not_in_audience (order_placed:A-1)"]


def test_who_never_met_a_trigger(story: Story) -> None:
    ana = story.contact("ana")
    story.launch()
    story.run()
    assert why(story, ana) == ["never enrolled (the contact never met a trigger: order_placed)"]


def test_who_met_it_before_the_campaign_went_live(story: Story) -> None:
    ana = story.contact("ana")
    story.happened("order_placed", ana, at=story.now - timedelta(days=1))
    story.launch()
    story.run()
    assert why(story, ana) == ["order_placed: did not enroll (before the campaign went live (2026-03-10 12:00 UTC))"]


def test_who_is_waiting_for_the_next_run_or_the_next_step(story: Story) -> None:
    later = Campaign(
        name="thanks", topic="orders", trigger=THANKS.trigger,
        steps=(*THANKS.steps, Email("check-in", template="note", after=days(7))),
    )  # fmt: skip
    ana = story.contact("ana")
    story.launch(later)
    story.happened("order_placed", ana, order_id="A-1")
    assert why(story, ana) == ["order_placed: did not enroll (arrived after the last run; the next one will see it)"]
    story.run(later)
    assert why(story, ana)[-1] == "check-in: not due yet"


def test_a_skip_says_its_reason(story: Story) -> None:
    ana = story.contact("ana", address=None)
    story.launch()
    story.happened("order_placed", ana, order_id="A-1")
    story.run()
    assert why(story, ana)[-1] == "receipt: skipped (no_address)"


def test_a_campaign_that_was_never_live_says_so(story: Story) -> None:
    ana = story.contact("ana")
    story.run()
    assert why(story, ana) == ["never enrolled: the campaign is draft and was never live"]
    with pytest.raises(EvergreetError, match="is draft; only a live or paused one"):
        pause(story.database, "thanks", clock=story.clock, actor="test")


def test_contacts_are_found_by_address_id_and_source_id(story: Story) -> None:
    ana = story.contact("ana")
    with story.database.read() as connection:
        for written in ("ANA@example.org", str(ana), "ana-1"):
            assert [row.id for row in find_contacts(connection, written)] == [ana]
        with pytest.raises(EvergreetError, match="There is no contact 'nobody'"):
            find_contacts(connection, "nobody")
