"""The report against figures counted by hand; who is compared with whom."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update
from sqlmodel import col

from evergreet.balance import Balance
from evergreet.campaign import TRANSACTIONAL, Campaign, Email, event
from evergreet.campaigns import required
from evergreet.conditions import attribute, did, same
from evergreet.conversions import BEFORE_HOLDOUT, GoalFigures, window_of
from evergreet.durations import days
from evergreet.erasure import erase
from evergreet.errors import DataError
from evergreet.lift import Group
from evergreet.merging.merging import alone, merge
from evergreet.report import CampaignReport, report
from evergreet.settings import Settings
from evergreet.tokens import Tokens
from models import Consent, Message
from tests.conftest import NOW
from tests.story import Story

DAY = timedelta(days=1)
TOKENS = Tokens(["test-key"])
PASSED: list[dict[str, Any]] = [
    {"state": "unknown", "reason": "time-out", "attempts": 1},
    {"state": "failed", "reason": "550 no such mailbox", "attempts": 1},
    {"state": "failed", "reason": "template: there is no 'size'"},
    {"state": "skipped", "reason": "goal_reached"},
    {"state": "skipped", "reason": "unless"},
    {"state": "skipped", "reason": "too_late"},
    {"state": "skipped", "reason": "frequency_cap"},
    {
        "state": "skipped",
        "reason": "no_consent",
        "attempts": 1,
    },  # tried once, nothing accepted; consent taken back since
    {"state": "deferred", "reason": "quiet_hours"},
    {"state": "planned", "attempts": 1},
]
"""What a message may look like that was not stopped before the holdout."""

STOPPED: list[dict[str, Any]] = [
    *[{"state": "skipped", "reason": str(reason).strip("'")} for reason in BEFORE_HOLDOUT],
    {"state": "deferred", "reason": "contact_paused"},
    {"state": "deferred", "reason": "provider_limit"},
    {"state": "unknown", "reason": "held_after_restore"},
    {"state": "failed", "reason": "poison: in hand when its worker died"},
    {"state": "planned"},
]
"""What it may look like when nobody has asked, or was to ask, the holdout."""

HALF = Campaign(
    name="half",
    topic="orders",
    trigger=event("order_placed", key="order_id"),
    steps=(
        Email("receipt", template="note", purpose=TRANSACTIONAL),
        Email("hello", template="note", after=days(1), unless=did("refund_requested")),
    ),
    goal=did("review_submitted", within=days(30)),
    holdout=50,
)


def reported(story: Story, campaign: Campaign = HALF, **arguments: object) -> CampaignReport:
    with story.database.read() as connection:
        return report(connection, required(connection, campaign.name), story.now, **arguments)  # type: ignore[arg-type]


def goal_of(story: Story, campaign: Campaign = HALF) -> GoalFigures:
    goal = reported(story, campaign).goal
    assert goal is not None
    return goal


def sides(story: Story, step: str = "hello") -> tuple[list[int], list[int]]:
    """Return who got the step and who was held out from it, as the ledger says."""
    mine = [row for row in story.messages if row.step_key == step]
    return (
        [row.contact_id for row in mine if row.state == "accepted"],
        [row.contact_id for row in mine if row.reason == "holdout"],
    )


def tell(story: Story, count: int = 40, campaign: Campaign = HALF) -> tuple[list[int], list[int]]:
    """Let so many contacts order, a day later get what they are due; return who got the mail and who was held out."""
    people = story.contacts(count, consents=["orders"])
    story.launch(campaign)
    story.happened("order_placed", *people)
    story.run(campaign)
    story.clock.advance(DAY)
    story.run(campaign)
    return sides(story)


def set_message(story: Story, contact: int, **values: object) -> None:
    """Rewrite the contact's marketing message, as another course of things would have left it."""
    state = values["state"]
    times = {
        "sent_at": NOW if state in {"sending", "accepted", "unknown"} else None,
        "unknown_since": NOW if state == "unknown" else None,
    }
    with story.database.write() as connection:
        connection.execute(
            update(Message)
            .where(col(Message.contact_id) == contact, col(Message.step_key) == "hello")
            .values(**{"attempts": 0, "reason": "", "chunk_id": None, **times, **values})
        )


def test_the_answer_is_the_one_computed_by_hand(story: Story) -> None:
    treated, held = tell(story, 60)
    story.happened("review_submitted", *treated[:9], *held[:2])
    found = goal_of(story)
    assert found.treated == Group(len(treated), 9, len(treated) - 9)
    assert found.held_out == Group(len(held), 2, len(held) - 2)
    assert found.enrolled == Group(60, 11, 49)
    assert found.sent_to == len(treated)
    assert found.window == 30 * DAY
    assert found.lift is not None
    assert found.lift.difference == pytest.approx(9 / len(treated) - 2 / len(held))
    assert found.lift.relative == pytest.approx((9 / len(treated)) / (2 / len(held)) - 1)


def test_each_step_says_what_became_of_its_messages(story: Story) -> None:
    treated, held = tell(story, 20)
    story.contact("noconsent")
    story.happened("order_placed", story.contact("nomail", address=None))
    story.run(HALF)
    found = reported(story)
    receipt, hello = found.steps
    assert (receipt.key, receipt.purpose, hello.key, hello.purpose) == (
        "receipt", "transactional", "hello", "marketing",
    )  # fmt: skip
    assert receipt.balance == Balance(accepted=20, skipped=1)
    assert receipt.reasons == {"skipped: no_address": 1}
    assert hello.balance == Balance(accepted=len(treated), skipped=len(held))
    assert hello.reasons == {"skipped: holdout": len(held)}
    assert (found.enrollments, found.outside_audience, found.state) == (21, 0, "live")


def test_a_contact_with_two_enrollments_counts_once_and_converts_in_either(story: Story) -> None:
    treated, held = tell(story, 20)
    story.clock.advance(5 * DAY)
    story.happened("order_placed", *treated, *held)
    story.run(HALF)
    story.clock.advance(DAY)
    story.run(HALF)
    # Within 30 days of the second order, and not of the first:
    story.clock.advance(28 * DAY)
    story.happened("review_submitted", treated[0])
    found = goal_of(story)
    assert (found.treated, found.held_out) == (Group(len(treated), 1, len(treated) - 1), Group(len(held), 0, len(held)))
    assert reported(story).enrollments == 40


def test_who_converts_after_the_window_has_not_converted(story: Story) -> None:
    treated, held = tell(story, 20)
    story.clock.advance(28 * DAY)
    assert goal_of(story).enrolled.still_open == 20
    story.happened("review_submitted", treated[0])
    story.clock.advance(DAY)
    story.happened("review_submitted", treated[1], at=story.now + DAY / 2)
    story.clock.advance(DAY)
    found = goal_of(story)
    assert (found.treated, found.held_out) == (Group(len(treated), 1), Group(len(held), 0))


def test_transactional_steps_make_nobody_treated(one_store: Story) -> None:
    people = one_store.contacts(20, consents=["orders"])
    one_store.launch(HALF)
    one_store.happened("order_placed", *people)
    one_store.run(HALF)
    assert one_store.states() == {"accepted": 20}
    found = goal_of(one_store)
    assert (found.enrolled, found.treated, found.held_out) == (Group(20, 0, 20), Group(), Group())
    assert reported(one_store).sentences[0] == "Nobody has been held out yet, so the lift cannot be told."


def test_whose_message_passed_the_holdout_is_treated_whatever_became_of_it(story: Story) -> None:
    treated, held = tell(story)
    for contact, values in zip(treated[: len(PASSED)], PASSED, strict=True):
        set_message(story, contact, **values)
    found = goal_of(story)
    assert (found.treated.contacts, found.held_out.contacts) == (len(treated), len(held))
    unsent = len(PASSED) - 1  # all but the unknown one
    assert found.sent_to == len(treated) - unsent
    said = f"Of the {len(treated)} contacts with the campaign {len(treated) - unsent} were sent a message of it"
    assert any(line.startswith(said) for line in reported(story).sentences)


def test_who_was_stopped_before_the_holdout_is_in_no_group(one_store: Story) -> None:
    treated, held = tell(one_store)
    for contact, values in zip(treated[: len(STOPPED)], STOPPED, strict=True):
        set_message(one_store, contact, **values)
    found = goal_of(one_store)
    assert (found.treated.contacts, found.held_out.contacts) == (len(treated) - len(STOPPED), len(held))
    assert found.enrolled.contacts == 40


def test_who_is_held_out_from_all_campaigns_is_a_group_of_its_own(story: Story) -> None:
    treated, held = tell(story, 12)
    for contact in treated[:3]:
        set_message(story, contact, state="skipped", reason="global_holdout")
    story.happened("review_submitted", treated[0], treated[4])
    found = goal_of(story)
    assert (found.treated, found.held_out.contacts) == (Group(len(treated) - 3, 1, len(treated) - 4), len(held))
    assert found.held_out_of_all == Group(3, 1, 2)
    said = reported(story).sentences
    assert "compared with those held out from it" in said[0]
    assert "compared with those held out from all marketing" in said[2]
    assert reported(story).as_dict()["goal"]["lift_of_all"]["certain"] is False


def test_an_erased_contact_stays_in_the_group_it_was_in(story: Story) -> None:
    treated, held = tell(story, 20)
    story.happened("review_submitted", treated[0])
    before = goal_of(story)
    with story.database.write() as connection:
        for contact in (treated[0], held[0]):
            erase(connection, contact, tokens=TOKENS, at=story.now, actor="test")
    assert goal_of(story) == before


def test_who_was_erased_before_any_message_is_in_no_group(one_store: Story) -> None:
    people = one_store.contacts(10, consents=["orders"])
    one_store.launch(HALF)
    one_store.happened("order_placed", *people)
    one_store.run(HALF)
    with one_store.database.write() as connection:
        erase(connection, people[0], tokens=TOKENS, at=one_store.now, actor="test")
    one_store.clock.advance(DAY)
    one_store.run(HALF)
    found = goal_of(one_store)
    assert found.treated.contacts + found.held_out.contacts == 9


def test_a_holdout_that_begins_later_compares_only_who_was_enrolled_since(story: Story) -> None:
    """The campaign does nothing, and who comes back buys more: before, those were missing among the held-out only."""
    loyal, _ = tell(story, 40, replace(HALF, holdout=0))
    new = story.contacts(40, consents=["orders"])
    story.launch(HALF)
    story.happened("order_placed", *loyal[:30], *new)
    story.run(HALF)
    story.clock.advance(DAY)
    story.run(HALF)
    story.happened("review_submitted", *loyal[:30])
    found = goal_of(story)
    assert (found.enrolled, found.compared, found.holdout) == (Group(80, 30, 50), 70, 50)
    assert found.treated.contacts + found.held_out.contacts == 70
    assert found.treated.converted + found.held_out.converted == 30
    assert found.lift is not None
    assert not found.lift.certain
    assert found.changed_sides == 0
    said = "Compared are the 70 of 80 contacts who were enrolled with a holdout of 50%"
    assert any(line.startswith(said) for line in reported(story).sentences)


def test_a_holdout_that_has_ended_is_reported_as_it_was(one_store: Story) -> None:
    treated, held = tell(one_store, 20)
    before = goal_of(one_store)
    open_to_all = replace(HALF, holdout=0)
    one_store.launch(open_to_all)
    one_store.happened("order_placed", held[0], one_store.contact("late", consents=["orders"]))
    one_store.run(open_to_all)
    one_store.clock.advance(DAY)
    one_store.run(open_to_all)
    found = goal_of(one_store)
    assert (found.treated, found.held_out) == (before.treated, before.held_out)
    assert (found.enrolled.contacts, found.compared, found.changed_sides) == (21, 20, 0)
    assert len(treated) + len(held) == 20


def test_when_the_holdout_of_the_settings_changes_the_report_says_since_when_to_look(story: Story) -> None:
    campaign = replace(HALF, holdout=0)
    story.settings = Settings(secret_keys=("k",), holdout=50)
    tell(story, 20, campaign)
    first = story.messages
    story.settings = Settings(secret_keys=("k",), holdout=50, holdout_salt="anew")
    story.happened("order_placed", *{row.contact_id for row in first})
    story.run(campaign)
    story.clock.advance(DAY)
    story.run(campaign)
    found = goal_of(story)
    assert found.changed_sides > 2
    assert found.even_since == NOW + timedelta(seconds=1)
    said = reported(story).sentences
    assert said[0].startswith(f"{found.changed_sides} contacts were held out at one time and not at another")
    assert said[1].endswith("--since 2026-03-10T12:00:01Z.")
    even = reported(story, since=found.even_since).goal
    assert even is not None
    assert (even.changed_sides, even.treated.contacts + even.held_out_of_all.contacts) == (0, 20)


def test_who_unsubscribed_since_is_still_among_the_treated(story: Story) -> None:
    """They are stopped before the holdout now; held-out contacts have nothing to unsubscribe from."""
    treated, held = tell(story, 20)
    with story.database.write() as connection:
        connection.execute(
            insert(Consent).values(
                contact_id=treated[0], topic="orders", granted=False, at=story.now, source="link", wording=""
            )
        )
    start = story.now
    story.happened("order_placed", *treated, *held)
    story.run(HALF)
    story.clock.advance(DAY)
    story.run(HALF)
    assert story.states()["skipped: no_consent"] == 1
    found = reported(story, since=start).goal
    assert found is not None
    assert (found.treated.contacts, found.held_out.contacts) == (len(treated), len(held))
    assert found.sent_to == len(treated) - 1


def test_two_contacts_who_are_one_person_count_once(story: Story) -> None:
    everybody = replace(HALF, holdout=0)
    ana, ben = (story.contact(name, consents=["orders"]) for name in ("ana", "ben"))
    story.launch(everybody)
    story.happened("order_placed", ana, ben, order_id="A-1")
    story.run(everybody)
    story.clock.advance(DAY)
    story.happened("review_submitted", ana)
    with story.database.write() as connection:
        alone(connection)
        merge(connection, ana, ben, found_by="hand", actor="test", now=story.now)
    story.run(everybody)
    found = goal_of(story, everybody)
    assert (found.enrolled, found.treated) == (Group(1, 1), Group(1, 1))


def test_each_enrollment_is_judged_by_the_goal_of_its_version(story: Story) -> None:
    treated, held = tell(story, 20)
    other = replace(HALF, goal=did("referral_sent"))
    story.launch(other)
    new = story.contacts(4, consents=["orders"])
    story.happened("order_placed", *new)
    story.run(other)
    story.happened("referral_sent", treated[0], new[0], at=story.now + DAY)
    story.happened("review_submitted", held[0], new[1], at=story.now + DAY)
    story.clock.advance(DAY)
    found = goal_of(story)
    assert found.enrolled.converted == 2  # held[0] by a review, new[0] by a referral
    assert found.window is None
    assert found.enrolled.still_open == 22
    assert "has no window" in reported(story).sentences[-1]


def test_the_goal_may_ask_for_the_same_thing_as_in_the_causing_event(story: Story) -> None:
    same_order = replace(HALF, goal=did("review_submitted", where=same("order_id"), within=days(30)))
    people = story.contacts(6, consents=["orders"])
    story.launch(same_order)
    story.happened("order_placed", *people, order_id="A-1")
    story.run(same_order)
    story.clock.advance(DAY)
    story.happened("review_submitted", people[0], order_id="A-1")
    story.happened("review_submitted", people[1], order_id="B-2")
    assert goal_of(story, same_order).enrolled == Group(6, 1, 5)


def test_a_campaign_without_a_goal_says_so(one_store: Story) -> None:
    plain = replace(HALF, goal=None)
    tell(one_store, 5, plain)
    found = reported(one_store, plain)
    assert found.goal is None
    assert found.as_dict()["goal"] is None
    assert found.sentences[0].startswith("The campaign has no goal")


def test_a_campaign_without_a_holdout_still_counts_its_conversions(one_store: Story) -> None:
    everybody = replace(HALF, holdout=0)
    treated, held = tell(one_store, 5, everybody)
    assert held == []
    one_store.happened("review_submitted", treated[0])
    found = reported(one_store, everybody)
    assert found.goal is not None
    assert (found.goal.enrolled, found.goal.lift) == (Group(5, 1, 4), None)
    assert found.sentences[0].startswith("Nobody is held out, so the lift cannot be told: write holdout=10")
    assert found.sentences[1].startswith("4 of 5 contacts may still convert")


def test_of_a_campaign_of_receipts_there_is_no_lift(one_store: Story) -> None:
    receipts = replace(HALF, steps=HALF.steps[:1])
    tell(one_store, 2, receipts)
    assert reported(one_store, receipts).sentences[0].startswith("All steps are transactional and go to everybody")


def test_when_all_are_held_out_there_is_nothing_to_compare(one_store: Story) -> None:
    nobody = replace(HALF, holdout=100)
    tell(one_store, 5, nobody)
    found = reported(one_store, nobody)
    assert found.goal is not None
    assert found.goal.lift is None
    assert "nothing to compare the held-out with" in found.sentences[0]


def test_zero_conversions_are_too_early_to_tell(one_store: Story) -> None:
    treated, held = tell(one_store, 12)
    found = reported(one_store)
    assert found.sentences[0].startswith(
        "Too early to tell: compared with those held out from it, the difference is 0.0"
    )
    machine = found.as_dict()["goal"]
    assert machine["lift"]["relative"] is None
    assert machine["lift"]["certain"] is False
    assert machine["held_out"]["interval"][0] == 0
    one_store.happened("review_submitted", *treated)
    assert any("no relative lift" in line for line in reported(one_store).sentences)
    assert held


def test_since_looks_at_enrollments_caused_from_then_on(story: Story) -> None:
    treated, held = tell(story, 12)
    start = story.now
    story.clock.advance(DAY)
    story.happened("order_placed", treated[0], held[0])
    story.run(HALF)
    story.clock.advance(DAY)
    story.run(HALF)
    story.happened("review_submitted", treated[0], treated[1])
    found = reported(story, since=start)
    assert found.goal is not None
    assert (found.goal.treated, found.goal.held_out) == (Group(1, 1), Group(1, 0, 1))
    assert [step.balance.due for step in found.steps] == [2, 2]
    assert found.enrollments == 2


def test_steps_of_older_versions_come_after_those_of_the_present(story: Story) -> None:
    tell(story, 4)
    story.launch(replace(HALF, steps=(Email("again", template="note", after=days(1)),)))
    assert [(step.key, step.balance.due) for step in reported(story).steps] == [
        ("again", 0), ("hello", 4), ("receipt", 4),
    ]  # fmt: skip


def test_a_campaign_that_was_only_named_is_a_sentence(one_store: Story) -> None:
    tell(one_store, 1)
    with one_store.database.read() as connection:
        state = replace(required(connection, "half"), id=999)
        with pytest.raises(DataError, match="'half' was never launched"):
            report(connection, state, one_store.now)


def test_a_goal_ends_with_its_longest_window() -> None:
    both = did("a", within=days(3)) & ~did("b", within=days(9))
    assert window_of(both) == 9 * DAY
    assert window_of(both | did("c")) is None
    assert window_of(both & (attribute("plan") == "gold")) is None
