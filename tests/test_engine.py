"""The engine on both stores: who gets what, once, and what the ledger says."""

import threading
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlmodel import col

from evergreet.campaign import TRANSACTIONAL, Campaign, Email, Options, event
from evergreet.campaigns import hold_off, launch, pause, register, required, resume, state_of, stop, version_of
from evergreet.conditions import did
from evergreet.contracts import Accepted, Outcome
from evergreet.durations import days
from evergreet.engine import Engine
from evergreet.enrollment import enroll
from evergreet.errors import ConnectorError, Misconfigured, Permanent, Retryable
from evergreet.routing import Route
from evergreet.settings import Settings
from evergreet.template_sources import TemplateSource
from models import Contact, Run, Suppression
from tests.story import THANKS, Story, note

FOLLOW_UP = Campaign(
    name="follow-up",
    topic="orders",
    trigger=event("order_placed", key="order_id"),
    steps=(
        Email("receipt", template="note", purpose=TRANSACTIONAL),
        Email("check-in", template="note", after=days(7), unless=did("refund_requested")),
    ),
)


def test_a_customer_who_orders_gets_one_receipt(story: Story) -> None:
    ana = story.contact("ana")
    story.launch()
    story.happened("order_placed", ana)
    report = story.run()
    assert story.sender.recipients == ["ana@example.org"]
    assert report.balance.as_dict() == {
        "due": 1, "accepted": 1, "skipped": 0, "deferred": 0, "planned": 0, "sending": 0, "failed": 0, "unknown": 0,
        "pending": 0,
    }  # fmt: skip


def test_a_second_run_sends_nothing_twice(story: Story) -> None:
    story.launch()
    story.happened("order_placed", *story.contacts(120))
    assert story.run().attempted == {"accepted": 120}
    assert story.run().attempted == {}
    assert len(story.sender.sent) == len(set(story.sender.recipients)) == 120


def test_a_campaign_that_is_not_live_does_nothing_and_says_so(story: Story) -> None:
    story.happened("order_placed", story.contact("ana"))
    assert story.run().halted == "the campaign is draft"
    assert story.enrollments == []


def test_only_what_happens_after_the_launch_is_enrolled(story: Story) -> None:
    ana, ben = story.contact("ana"), story.contact("ben")
    story.happened("order_placed", ana)
    story.clock.advance(timedelta(minutes=1))
    story.launch()
    story.happened("order_placed", ana, at=story.now - timedelta(hours=1))  # arrives late, happened before
    story.happened("order_placed", ben)
    assert story.run().enrolled == 1
    assert story.sender.recipients == ["ben@example.org"]


def test_a_later_step_waits_as_a_row_and_is_sent_at_its_time(story: Story) -> None:
    ana = story.contact("ana", consents=["orders"])
    story.launch(FOLLOW_UP)
    story.happened("order_placed", ana)
    story.run(FOLLOW_UP)
    assert [(row.next_step, row.next_due_at) for row in story.enrollments] == [
        ("check-in", story.now + timedelta(days=7))
    ]
    story.clock.advance(timedelta(days=7) - timedelta(seconds=1))
    assert story.run(FOLLOW_UP).planned == 0
    story.clock.advance(timedelta(seconds=1))
    assert story.run(FOLLOW_UP).attempted == {"accepted": 1}
    assert [row.state for row in story.enrollments] == ["finished"]


def test_a_refund_before_its_time_skips_the_check_in_with_the_reason(story: Story) -> None:
    ana, ben = story.contact("ana", consents=["orders"]), story.contact("ben", consents=["orders"])
    story.happened("refund_requested", ben, at=story.now - timedelta(days=30))  # of another order
    story.launch(FOLLOW_UP)
    story.happened("order_placed", ana, ben)
    story.run(FOLLOW_UP)
    story.clock.advance(timedelta(days=2))
    story.happened("refund_requested", ana)
    story.clock.advance(timedelta(days=5))
    story.run(FOLLOW_UP)
    assert story.states() == {"accepted": 3, "skipped: unless": 1}


def test_a_permanent_refusal_fails_with_the_providers_reason(story: Story) -> None:
    story.launch()
    story.sender.answers["ana@example.org"] = Permanent("554 policy")
    story.happened("order_placed", story.contact("ana"), story.contact("ben"))
    story.run()
    assert story.states() == {"accepted": 1, "failed: 554 policy": 1}
    assert story.rows(Suppression) == []


def test_an_address_that_does_not_exist_is_suppressed(story: Story) -> None:
    story.launch()
    story.sender.answers["ana@example.org"] = Permanent("550 5.1.1 no such user", address_invalid=True)
    ana = story.contact("ana")
    story.happened("order_placed", ana)
    story.run()
    story.happened("order_placed", ana)
    story.run()
    assert story.states() == {"failed: 550 5.1.1 no such user": 1, "skipped: suppressed": 1}
    assert [(row.address, row.reason) for row in story.rows(Suppression)] == [("ana@example.org", "hard_bounce")]


def test_what_was_not_accepted_is_tried_again_with_a_growing_pause_and_then_fails(story: Story) -> None:
    story.settings = Settings(secret_keys=("k",), retries=2, retry_seconds=60)
    story.launch()
    story.sender.answers["ana@example.org"] = Retryable("421 busy")
    story.happened("order_placed", story.contact("ana"))
    pauses = []
    for _ in range(3):
        story.run()
        row = story.messages[0]
        if row.not_before is not None:
            pauses.append((row.not_before - story.now).total_seconds())
            assert story.run().attempted == {}, "before its time nothing is tried"
            story.clock.advance(row.not_before - story.now)
    assert pauses == [60, 120]
    assert story.states() == {"failed: gave up after 3 attempts: 421 busy": 1}
    assert [attempt.outcome for attempt in story.attempts] == ["returned"] * 3


def test_the_pause_a_provider_asks_for_is_kept(story: Story) -> None:
    story.launch()
    story.sender.answers["ana@example.org"] = Retryable("429", retry_after=timedelta(hours=2))
    story.happened("order_placed", story.contact("ana"))
    story.run()
    assert story.messages[0].not_before == story.now + timedelta(hours=2)


def test_a_doubt_is_visible_and_never_sent_again_by_itself(story: Story) -> None:
    story.launch()
    story.sender.answers["ana@example.org"] = Retryable("no answer after the dot", accepted="maybe")
    story.happened("order_placed", story.contact("ana"))
    story.run()
    story.sender.answers.clear()
    story.clock.advance(timedelta(days=1))
    assert story.run().attempted == {}
    assert story.states() == {"unknown: no answer after the dot": 1}


def test_a_connector_that_raises_anything_leaves_a_doubt(story: Story) -> None:
    story.launch()
    story.sender.answers["ana@example.org"] = RuntimeError("secret-token-in-message")
    story.happened("order_placed", story.contact("ana"))
    story.run()
    assert story.states() == {"unknown: recorder: RuntimeError": 1}


def test_a_fault_of_ours_halts_the_run_and_loses_nothing(story: Story) -> None:
    story.settings = Settings(secret_keys=("k",), threads=1, retries=0)
    story.launch()
    people = story.contacts(5)
    for index in range(5):
        story.sender.answers[f"c{index}@example.org"] = Misconfigured("535 wrong password")
    story.happened("order_placed", *people)
    report = story.run()
    assert report.halted == "535 wrong password"
    assert len(story.attempts) <= 2, "the first refusal stops the run"
    assert [row.state for row in story.rows(Run)] == ["halted"]
    story.sender.answers.clear()
    story.clock.advance(timedelta(hours=1))
    story.run()
    assert story.states() == {"accepted": 5}


def test_a_template_that_fails_for_one_contact_leaves_the_others_alone(story: Story) -> None:
    story.launch()
    story.happened("order_placed", story.contact("ana", attributes={}), story.contact("ben"))
    broken = story.contact("cleo")
    with story.database.write() as connection:  # first_name is None there; take the word away altogether
        connection.execute(
            update(Contact).where(col(Contact.id) == broken).values(attributes={"first_name": {"nested": 1}})
        )
    story.run()
    assert story.states() == {"accepted": 2}


def test_a_paused_campaign_sends_nothing_and_misses_nothing(story: Story) -> None:
    story.launch()
    pause(story.database, "thanks", clock=story.clock, actor="test", reason="wrong link")
    story.happened("order_placed", story.contact("ana"))
    assert story.run().halted == "the campaign is paused (wrong link)"
    assert story.sender.sent == []
    resume(story.database, "thanks", clock=story.clock, actor="test")
    story.run()
    assert story.sender.recipients == ["ana@example.org"]


def test_stopping_skips_what_is_planned_and_ends_who_is_on_the_way(story: Story) -> None:
    story.settings = Settings(secret_keys=("k",), retry_seconds=600)
    ana = story.contact("ana", consents=["orders"])
    story.launch(FOLLOW_UP)
    story.sender.answers["ana@example.org"] = Retryable("busy")
    story.happened("order_placed", ana)
    story.run(FOLLOW_UP)
    stop(story.database, "follow-up", clock=story.clock, actor="test")
    story.clock.advance(timedelta(days=30))
    assert story.run(FOLLOW_UP).halted == "the campaign is stopped"
    assert story.states() == {"skipped: campaign_stopped": 1}
    assert [row.state for row in story.enrollments] == ["stopped"]
    assert [row.state for row in story.rows(Run)] == ["completed"]


def test_what_happened_while_stopped_is_passed_over_after_a_new_launch(story: Story) -> None:
    ana, ben = story.contact("ana"), story.contact("ben")
    story.launch()
    stop(story.database, "thanks", clock=story.clock, actor="test")
    story.happened("order_placed", ana)
    story.clock.advance(timedelta(hours=1))
    story.launch()
    story.happened("order_placed", ben)
    story.run()
    assert story.sender.recipients == ["ben@example.org"]


def test_more_than_the_limit_per_day_pauses_the_campaign_before_it_is_exceeded(story: Story) -> None:
    limited = Campaign(name="limited", trigger=THANKS.trigger, steps=THANKS.steps, limit_per_day=10)
    story.launch(limited)
    story.happened("order_placed", *story.contacts(25))
    report = story.run(limited, Options(batch_size=5))
    assert len(story.sender.sent) == 10
    assert report.state == "paused"
    assert report.halted is not None
    assert "limit of 10 messages in 24 hours" in report.halted
    story.clock.advance(timedelta(days=1, seconds=1))
    resume(story.database, "limited", clock=story.clock, actor="test")
    story.run(limited, Options(batch_size=5))
    assert len(story.sender.sent) == 20


def test_a_dry_run_says_what_a_run_would_do_and_stores_nothing(story: Story) -> None:
    story.launch(FOLLOW_UP)
    story.happened("order_placed", *story.contacts(3), story.contact("nomail", address=None))
    report = story.run(FOLLOW_UP, Options(dry_run=True))
    assert (report.enrolled, report.planned, report.balance.planned) == (4, 4, 3)
    assert report.reasons == {"skipped: no_address": 1}
    assert story.enrollments == story.messages == story.sender.sent == []
    with story.database.read() as connection:
        state = state_of(connection, "follow-up")
    assert state is not None
    assert state.scanned_from == state.scanned_to, "the cursor has not moved"


def test_a_dry_run_plans_the_steps_that_are_due_one_after_the_other_as_a_run_does(story: Story) -> None:
    story.launch(FOLLOW_UP)
    story.happened("order_placed", *(story.contact(name, consents=["orders"]) for name in ("ana", "ben")))
    story.clock.advance(timedelta(days=8))
    said = story.run(FOLLOW_UP, Options(dry_run=True))
    done = story.run(FOLLOW_UP)
    assert said.planned == done.planned == 4
    assert (said.balance.planned, said.reasons) == (2, {"skipped: too_late": 2})
    assert (done.balance.accepted, done.reasons) == (2, {"skipped: too_late": 2})


def test_a_changed_text_reaches_the_newly_enrolled_and_not_those_on_the_way(story: Story) -> None:
    changed = Campaign(
        name="follow-up",
        topic="orders",
        trigger=FOLLOW_UP.trigger,
        steps=(FOLLOW_UP.steps[0], Email("check-in", template="note", after=days(3))),
    )
    ana, ben = story.contact("ana", consents=["orders"]), story.contact("ben", consents=["orders"])
    story.launch(FOLLOW_UP)
    story.happened("order_placed", ana)
    story.run(FOLLOW_UP)
    story.happened("order_placed", ben)
    story.run(changed)
    story.clock.advance(timedelta(days=3))
    story.run(changed)
    assert story.sender.recipients == ["ana@example.org", "ben@example.org", "ben@example.org"]
    story.clock.advance(timedelta(days=4))
    story.run(changed)
    assert story.sender.recipients.count("ana@example.org") == 2


def test_a_budget_ends_a_run_at_a_window_and_the_next_one_goes_on(story: Story) -> None:
    story.settings = Settings(secret_keys=("k",), threads=1)
    story.launch()
    story.happened("order_placed", *story.contacts(20))
    engine = story.engine()
    engine.request_stop()
    report = engine.run(THANKS, Options())
    assert report.more
    assert story.sender.sent == []
    assert story.run().attempted == {"accepted": 20}


@pytest.mark.parametrize("provider_id", ["x" * 2000, "nul \x00 byte", "half a pair \udcff"])
def test_what_was_accepted_is_accepted_whatever_the_provider_calls_it(story: Story, provider_id: str) -> None:
    one_order(story, Accepted(provider_id))
    assert story.states() == {"accepted": 1}
    assert len(story.messages[0].provider_id) <= 998


def test_a_refusal_is_written_however_it_is_worded(story: Story) -> None:
    one_order(story, Permanent("no \x00 such \udcff user"))
    assert story.states() == {"failed: no  such ? user": 1}


@pytest.mark.parametrize("answer", [ConnectorError("hm"), Retryable("hm", accepted="perhaps")])  # type: ignore[arg-type]
def test_an_answer_that_does_not_say_it_was_not_accepted_is_a_doubt(story: Story, answer: ConnectorError) -> None:
    one_order(story, answer)
    assert [message.state for message in story.messages] == ["unknown"]


def test_a_provider_that_asks_for_eternity_does_not_end_the_run(story: Story) -> None:
    one_order(story, Retryable("later", retry_after=timedelta.max))
    assert story.states() == {"planned: later": 1}


def test_an_error_around_a_message_does_not_make_it_poison(story: Story) -> None:
    """The limiter's server is away for many ticks: nobody is to blame, and nobody may be missed."""

    class Away:
        def acquire(self, count: int) -> None:
            raise ConnectionError("the limiter is away")

    story.launch()
    story.happened("order_placed", *story.contacts(3))
    engine = Engine(story.database, Route.of(story.sender, Away()), story.settings, note, clock=story.clock)
    for _ in range(5):
        with pytest.raises(ConnectionError, match="is away"):
            engine.run(THANKS, Options())
    story.run()
    assert story.states() == {"accepted": 3}


def test_what_came_back_is_settled_while_the_limiter_lets_the_next_wait(story: Story) -> None:
    class Slow:
        asked = 0

        def acquire(self, count: int) -> None:
            self.asked += 1
            deadline = time.monotonic() + 30
            while self.asked == 2 and "accepted" not in story.states():
                assert time.monotonic() < deadline, "the first message is not settled while the second waits"

    story.launch()
    story.happened("order_placed", *story.contacts(2))
    route = Route.of(story.sender, Slow())
    Engine(story.database, route, story.settings, note, clock=story.clock).run(THANKS, Options())
    assert story.states() == {"accepted": 2}


def test_who_would_not_get_it_anyway_is_skipped_although_the_template_fails(story: Story) -> None:
    wants_city = TemplateSource(
        name="note", hash="1" * 64, sources={"note/subject.txt": "{{ contact.city }}", "note/body.html": "<p>Hello</p>"}
    )
    launch(story.database, THANKS, Options(), lambda *_: wants_city, clock=story.clock, actor="test")
    story.happened(
        "order_placed",
        story.contact("gone", erased_at=story.now), story.contact("mute", address=None), story.contact("ana"),
    )  # fmt: skip
    Engine(story.database, story.sender, story.settings, lambda *_: wants_city, clock=story.clock).run(
        THANKS, Options()
    )
    assert [message.state for message in story.messages] == ["skipped", "skipped", "failed"]
    assert [message.reason for message in story.messages][:2] == ["erased", "no_address"]


def test_enrollments_of_a_version_made_meanwhile_are_planned_too(story: Story) -> None:
    """Another process, with a newer definition, enrolls between this run's enrolling and planning."""
    newer = replace(THANKS, goal=did("order_placed"))

    class Meanwhile:
        done = False

        def progress(self, phase: str, done: int, total: int | None) -> None:
            if phase == "enrolled" and not self.done:
                self.done = True
                story.happened("order_placed", story.contact("ben"))
                with story.database.write() as connection:
                    version = register(connection, newer, Options(), note, story.now)
                    enroll(connection, required(connection, "thanks"), version, story.now)

    story.launch()
    story.happened("order_placed", story.contact("ana"))
    engine = Engine(story.database, story.sender, story.settings, note, clock=story.clock, reporter=Meanwhile())
    engine.run(THANKS, Options())
    assert story.sender.recipients == ["ana@example.org", "ben@example.org"]


def one_order(story: Story, answer: Outcome | ConnectorError) -> None:
    """One order, answered so."""
    story.launch()
    story.happened("order_placed", story.contact("ana"))
    story.sender.answers["ana@example.org"] = answer
    story.run()


def test_a_dry_run_of_another_definition_waits_for_a_run_and_not_the_run_for_it(story: Story) -> None:
    story.launch()
    story.happened("order_placed", story.contact("ana"))
    newer = replace(THANKS, topic="thanks")
    waits, done = threading.Event(), threading.Event()

    def rehearse() -> None:
        waits.set()
        story.run(newer, Options(dry_run=True))
        done.set()

    with story.database.write() as connection:  # as a run does
        hold_off(connection, "thanks")
        rehearsal = threading.Thread(target=rehearse)
        rehearsal.start()
        waits.wait()
        assert not done.wait(1), "it has to wait"
        version = version_of(connection, required(connection, "thanks").version_id or 0)
        enrolled = enroll(connection, required(connection, "thanks"), version, story.now)
    rehearsal.join()
    assert (enrolled.active, done.is_set()) == (1, True)
