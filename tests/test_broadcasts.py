"""Broadcasts: what makes one an occurrence, who decides, and whom it goes to."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import update

from evergreet.audit import audit
from evergreet.broadcasts import announcements, cancel, confirm, give_word, occurrence_of
from evergreet.campaign import BroadcastOptions, Campaign, Email, Options, broadcast
from evergreet.campaigns import pause, stop
from evergreet.conditions import has_email
from evergreet.errors import EvergreetError
from evergreet.reconcile import hold
from evergreet.triggers import BroadcastTrigger
from models import Contact, Enrollment
from tests.story import Story

NEWS = Campaign(
    "news", broadcast("launch", key="id"), (Email("new", "note"),), topic="news", audience=has_email, confirm_above=2
)


def clean(story: Story) -> bool:
    return all(one.clean for one in audit(story.database, story.clock))


@pytest.mark.parametrize(
    ("key", "properties", "expected"),
    [
        ("id", {"id": "tent"}, "launch:tent"),
        ("id", {"id": 7}, "launch:7"),
        ("id", {"id": None}, "event:shop:p-1"),
        ("id", {}, "event:shop:p-1"),
        (None, {"id": "tent"}, "event:shop:p-1"),
        ("id", {"id": "x" * 1000}, ("launch:" + "x" * 1000)[:380]),
    ],
)
def test_the_occurrence_is_the_value_of_the_key_or_the_event_itself(
    key: str | None, properties: dict[str, object], expected: str
) -> None:
    event = SimpleNamespace(source="shop", source_id="p-1", properties=properties)
    assert occurrence_of(BroadcastTrigger("launch", key), event) == expected


def test_up_to_the_limit_it_goes_at_once_and_is_recorded(story: Story) -> None:
    story.contacts(2, consents=["news"])
    story.launch(NEWS)
    story.announces("launch", "p-1", id="tent")
    assert story.run(NEWS).enrolled == 2
    with story.database.read() as connection:
        (one,) = announcements(connection, "news")
    assert (one.state, one.recipients, one.decided_by) == ("frozen", 2, "at most 2")
    assert len(story.sender.sent) == 2
    assert clean(story)


def test_a_waiting_broadcast_is_not_counted_again_by_itself_and_is_confirmed_as_it_is_then(story: Story) -> None:
    story.contacts(3, consents=["news"])
    story.launch(NEWS)
    story.announces("launch", "p-1", id="tent")
    for _ in range(3):
        story.run(NEWS)
        story.clock.advance(timedelta(hours=1))
    story.contacts(1, consents=["news"])
    with story.database.write() as connection:
        connection.execute(update(Contact).where(Contact.__table__.c.id == 1).values(erased_at=story.now))  # type: ignore[attr-defined]
    with pytest.raises(EvergreetError, match="would go to 3 contacts now, more than the 2 confirmed"):
        confirm(story.database, "news", "launch:tent", 2, clock=story.clock, actor="mo")
    assert story.rows(Enrollment) == []
    assert confirm(story.database, "news", "launch:tent", 99, clock=story.clock, actor="mo") == 3
    assert clean(story)


def test_the_form_of_a_run_may_give_the_word_and_no_rehearsal_does(story: Story) -> None:
    with pytest.raises(ValidationError, match="confirm and recipients go together"):
        BroadcastOptions(confirm="launch:tent")
    word = BroadcastOptions(confirm="launch:tent", recipients=3)
    assert word.of_version() == {}
    story.contacts(3, consents=["news"])
    story.launch(NEWS)
    story.announces("launch", "p-1", id="tent")
    story.run(NEWS)
    for nothing in (Options(), BroadcastOptions(), word.model_copy(update={"dry_run": True})):
        give_word(story.database, "news", nothing, clock=story.clock, actor="mo")
    assert story.rows(Enrollment) == []
    give_word(story.database, "news", word, clock=story.clock, actor="the run of mo")
    with story.database.read() as connection:
        assert [(one.state, one.decided_by) for one in announcements(connection)] == [("frozen", "the run of mo")]
    with pytest.raises(EvergreetError, match="does not wait any more"):  # the same form once more
        give_word(story.database, "news", word, clock=story.clock, actor="mo")


@pytest.mark.parametrize("end", [pause, stop])
def test_nothing_is_confirmed_for_a_campaign_that_cannot_send(story: Story, end: Any) -> None:
    story.contacts(3, consents=["news"])
    story.launch(NEWS)
    story.announces("launch", "p-1", id="tent")
    story.run(NEWS)
    end(story.database, "news", clock=story.clock, actor="test")
    with pytest.raises(EvergreetError, match="only a live one can send"):
        confirm(story.database, "news", "launch:tent", 3, clock=story.clock, actor="mo")
    assert clean(story)


def test_a_broadcast_that_is_not_there_is_answered_with_where_to_look(story: Story) -> None:
    story.launch(NEWS)
    with pytest.raises(EvergreetError, match="`evergreet broadcasts` lists them"):
        cancel(story.database, "news", "launch:boat", clock=story.clock, actor="mo")
    with pytest.raises(EvergreetError, match="`evergreet broadcasts` lists them"):
        confirm(story.database, "news", "launch:boat", 3, clock=story.clock, actor="mo")


def test_the_version_at_the_time_of_the_word_decides_whom_it_goes_to(story: Story) -> None:
    story.contacts(3, consents=["news"])
    story.contact("mute", address=None)
    story.launch(NEWS)
    story.announces("launch", "p-1", id="tent")
    story.run(NEWS)
    wider = replace(NEWS, audience=~has_email)
    story.run(wider)
    assert confirm(story.database, "news", "launch:tent", 3, clock=story.clock, actor="mo") == 1
    story.run(wider)
    assert story.states() == {"skipped: no_address": 1}
    assert clean(story)


def test_a_word_for_what_the_campaign_no_longer_writes_about_sends_nothing(story: Story) -> None:
    story.contacts(3, consents=["news"])
    story.launch(NEWS)
    story.announces("launch", "p-1", id="tent")
    story.run(NEWS)
    story.run(replace(NEWS, trigger=broadcast("sale")))
    with pytest.raises(EvergreetError, match=r"does not write about 'launch' any more: .* cancel news launch:tent"):
        confirm(story.database, "news", "launch:tent", 3, clock=story.clock, actor="mo")
    assert story.rows(Enrollment) == []
    cancel(story.database, "news", "launch:tent", clock=story.clock, actor="mo")
    assert clean(story)


def test_after_a_restore_what_was_announced_before_waits_for_a_word_however_few_it_goes_to(story: Story) -> None:
    story.contacts(2, consents=["news"])
    story.launch(NEWS)
    backup = story.now
    story.clock.advance(timedelta(hours=1))
    story.announces("launch", "p-1", id="tent")  # it went out, and the backup does not know
    story.clock.advance(timedelta(hours=1))
    hold(story.database, backup, clock=story.clock, actor="mo")
    story.clock.advance(timedelta(minutes=1))
    assert story.run(NEWS).enrolled == 0
    story.announces("launch", "p-2", id="boat")
    assert story.run(NEWS).enrolled == 2
    with story.database.read() as connection:
        assert [(one.occurrence, one.state) for one in announcements(connection)] == [
            ("launch:boat", "frozen"), ("launch:tent", "waiting"),
        ]  # fmt: skip
    assert clean(story)
