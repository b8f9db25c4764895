"""People change their minds, and campaigns meet, while a window is between its gates and its commit."""

import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection

from evergreet import campaigns, consent, enrollment, erasure, planning
from evergreet.audit import audit
from evergreet.campaign import Campaign, Email, Options, event
from evergreet.clock import FrozenClock
from evergreet.contracts import EmailMessage, Outcome
from evergreet.database import Database
from evergreet.errors import Retryable
from evergreet.settings import Settings
from tests.conftest import NOW
from tests.faults.crossing import Moment, after_the_gates, before_the_intent, side_by_side, wait_until_blocked
from tests.faults.sink import until
from tests.story import Story

NEWS = Campaign(name="news", topic="news", trigger=event("signed_up"), steps=(Email("welcome", template="note"),))
SOON = NOW + timedelta(minutes=1)


@pytest.fixture
def story(database: Database, clock: FrozenClock) -> Story:
    return Story(database, clock)


def clean(story: Story) -> bool:
    return all(one.clean for one in audit(story.database, story.clock))


Act = Callable[[Connection, Story, int], object]


def over(connection: Connection) -> Any:
    """A database whose writing transaction is this one, and ends with it."""
    return SimpleNamespace(write=lambda: nullcontext(connection))


ACTS: dict[str, tuple[Act, dict[str, int]]] = {
    "unsubscribe": (
        lambda connection, _, ana: consent.unsubscribe(connection, ana, "news", at=SOON, source="page"),
        {"skipped: no_consent": 1},
    ),
    "suppress": (
        lambda connection, _, ana: consent.suppress(
            connection, "ana@example.org", scope="all", reason="asked", source="phone", at=SOON
        ),
        {"skipped: suppressed": 1},
    ),
    "erase": (
        lambda connection, story, ana: erasure.erase(
            connection, ana, tokens=story.engine().tokens, at=SOON, actor="test"
        ),
        {"skipped: erased": 1},
    ),
    "pause the contact": (
        lambda connection, _, ana: consent.pause_contact(connection, ana, NOW + timedelta(hours=1), at=SOON),
        {"deferred: contact_paused": 1},
    ),
    "pause the campaign": (
        lambda connection, story, _: campaigns.pause(over(connection), "news", clock=story.clock, actor="test"),
        {"planned": 1},
    ),
    "stop the campaign": (
        lambda connection, story, _: campaigns.stop(over(connection), "news", clock=story.clock, actor="test"),
        {"skipped: campaign_stopped": 1},
    ),
}


@pytest.mark.parametrize("what", ACTS)
def test_what_commits_before_the_window_wins(story: Story, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    act, expected = ACTS[what]
    ana = story.contact("ana", consents=["news"])
    story.launch(NEWS)
    story.happened("signed_up", ana)
    moment = before_the_intent(monkeypatch)
    with side_by_side() as begin:
        run = begin(story.run, NEWS)
        moment.wait()
        with story.database.write() as connection:
            act(connection, story, ana)
            moment.go_on.set()
            wait_until_blocked(story.database, moment.go_on)
        run.result()
    assert story.sender.sent == []
    assert story.states() == expected
    assert clean(story)


@pytest.mark.parametrize("what", ACTS)
def test_what_commits_after_the_window_is_too_late_for_it(
    story: Story, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    act, _ = ACTS[what]
    ana = story.contact("ana", consents=["news"])
    story.launch(NEWS)
    story.happened("signed_up", ana)
    moment = after_the_gates(monkeypatch)
    about_to, done = threading.Event(), threading.Event()

    def decide() -> None:
        about_to.set()
        with story.database.write() as connection:
            act(connection, story, ana)
        done.set()

    with side_by_side() as begin:
        run = begin(story.run, NEWS)
        moment.wait()
        decided = begin(decide)
        wait_until_blocked(story.database, about_to)
        assert not done.is_set()
        moment.go_on.set()
        run.result()
        decided.result()
    assert story.sender.recipients == ["ana@example.org"]
    assert story.states() == {"accepted": 1}
    assert clean(story)


def other(campaign: Campaign, name: str) -> Campaign:
    return replace(campaign, name=name)


def test_two_campaigns_that_share_a_cap_of_one_send_one_message(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have asked for the contact; the second one's gates read only when the first one has committed."""
    story.settings = Settings(secret_keys=("test-key",), cap=1)
    ana = story.contact("ana", consents=["news"])
    for name in ("first", "second"):
        story.launch(other(NEWS, name))
    story.happened("signed_up", ana)
    moment = after_the_gates(monkeypatch)
    about_to = threading.Event()

    def second() -> None:
        about_to.set()
        story.run(other(NEWS, "second"))

    with side_by_side() as begin:
        runs = [begin(story.run, other(NEWS, "first"))]
        moment.wait()
        runs.append(begin(second))
        wait_until_blocked(story.database, about_to)
        moment.go_on.set()
        for run in runs:
            run.result()
    assert story.sender.recipients == ["ana@example.org"]
    assert story.states() == {"accepted": 1, "skipped: frequency_cap": 1}
    assert clean(story)


def test_two_contacts_with_one_address_get_one_message_from_two_workers(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each worker has one of the two; the gates of the second have said *go* when the first one commits."""
    once = replace(NEWS, re_entry="once")
    twins = [story.contact(name, address="home@example.org", consents=["news"]) for name in ("ana", "ben")]
    story.launch(once)
    story.happened("signed_up", *twins)
    rendered, decided = before_the_intent(monkeypatch), after_the_gates(monkeypatch)
    with side_by_side() as begin:
        first = begin(story.run, once, Options(batch_size=1))
        rendered.wait()
        second = begin(story.run, once, Options(batch_size=1))
        decided.wait()
        rendered.go_on.set()
        if not story.database.is_sqlite:  # there the first one waits for the second
            until(lambda: story.sender.sent, "the first one to send")
        decided.go_on.set()
        first.result()
        second.result()
    assert story.sender.recipients == ["home@example.org"]
    assert story.states() == {"accepted": 1, "skipped: duplicate_address": 1}
    assert clean(story)


def test_a_stop_while_a_message_is_in_hand_leaves_nobody_waiting_for_ever(story: Story) -> None:
    """What the provider refuses for now comes back after the stop: it is not planned again."""
    story.sender.answers["ana@example.org"] = Retryable("come back later")
    ana = story.contact("ana", consents=["news"])
    story.launch(NEWS)
    story.happened("signed_up", ana)
    hand_over = story.sender.send

    def stopped_meanwhile(batch: Sequence[EmailMessage]) -> list[Outcome]:
        campaigns.stop(story.database, "news", clock=story.clock, actor="test")
        return hand_over(batch)

    story.sender.send = stopped_meanwhile  # type: ignore[method-assign]
    story.run(NEWS)
    assert story.states() == {"skipped: campaign_stopped": 1}
    assert clean(story)


@pytest.mark.parametrize("where", ["settled_position", "insert_select_ignore", "new_chunk", "_advance"])
def test_a_stop_while_a_run_enrolls_or_plans_leaves_nobody_on_the_way(
    story: Story, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The run has seen that the campaign is live, and is about to enroll or to plan."""
    ana = story.contact("ana", consents=["news"])
    story.launch(NEWS)
    story.happened("signed_up", ana)
    part = enrollment if hasattr(enrollment, where) else planning
    moment, real, about_to = Moment(), getattr(part, where), threading.Event()

    def passing(*arguments: Any) -> Any:
        moment.pass_by()
        return real(*arguments)

    monkeypatch.setattr(part, where, passing)

    def stop() -> None:
        about_to.set()
        campaigns.stop(story.database, "news", clock=story.clock, actor="test")

    with side_by_side() as begin:
        run = begin(story.run, NEWS)
        moment.wait()
        stopped = begin(stop)
        wait_until_blocked(story.database, about_to, unless=stopped.done)
        moment.go_on.set()
        run.result()
        stopped.result()
    assert {row.state for row in story.enrollments} <= {"stopped", "finished"}
    assert set(story.states()) <= {"skipped: campaign_stopped", "accepted"}
    assert len(story.sender.sent) == story.states().get("accepted", 0)
    assert clean(story)
