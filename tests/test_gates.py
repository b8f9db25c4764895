"""Gates: each reason, their order, and what transactional mail is spared."""

from datetime import UTC, datetime, time, timedelta

import pytest
from sqlalchemy import insert, update
from sqlmodel import col

from evergreet.campaign import TRANSACTIONAL, Campaign, Email, Options, event
from evergreet.conditions import did
from evergreet.consent import pause_contact
from evergreet.database import Database
from evergreet.durations import days
from evergreet.holdout import holdout_reason
from evergreet.settings import Settings
from evergreet.tokens import Tokens
from models import Consent, Contact, Suppression
from tests.story import Story

NEWS = Campaign(
    name="news",
    topic="orders",
    trigger=event("order_placed", key="order_id"),
    steps=(Email("hello", template="note", unless=did("refund_requested")),),
    goal=did("review_submitted", within=days(30)),
)


def told(story: Story, contact: int, campaign: Campaign = NEWS) -> dict[str, int]:
    """Let the contact meet the trigger and run: what the ledger says."""
    story.launch(campaign)
    story.happened("order_placed", contact)
    story.run(campaign)
    return story.states()


def change(database: Database, contact: int, **columns: object) -> None:
    with database.write() as connection:
        connection.execute(update(Contact).where(col(Contact.id) == contact).values(**columns))


def suppressed(database: Database, address: str, scope: str = "all") -> None:
    with database.write() as connection:
        connection.execute(
            insert(Suppression).values(
                address=address, scope=scope, reason="test", source="test", at=datetime(2026, 1, 1, tzinfo=UTC)
            )
        )


def test_an_erased_contact_is_skipped(story: Story) -> None:
    ana = story.contact("ana", consents=["orders"])
    change(story.database, ana, erased_at=story.now)
    assert told(story, ana) == {"skipped: erased": 1}


def test_a_contact_without_an_address_is_skipped(story: Story) -> None:
    assert told(story, story.contact("ana", address=None, consents=["orders"])) == {"skipped: no_address": 1}


def test_a_suppressed_address_is_skipped(story: Story) -> None:
    suppressed(story.database, "ana@example.org")
    assert told(story, story.contact("ana", consents=["orders"])) == {"skipped: suppressed": 1}


def test_the_hash_that_is_left_of_an_erased_person_stops_mail_to_them(story: Story) -> None:
    suppressed(story.database, Tokens(["an-older-key", "test-key"]).address_hashes("ana@example.org")[0])
    story.settings = Settings(secret_keys=("an-older-key", "test-key"))
    assert told(story, story.contact("ana", consents=["orders"])) == {"skipped: suppressed": 1}


def test_without_consent_for_the_topic_marketing_mail_is_skipped(story: Story) -> None:
    assert told(story, story.contact("ana", consents=["news"])) == {"skipped: no_consent": 1}


def test_a_consent_that_was_taken_back_no_longer_counts(story: Story) -> None:
    ana = story.contact("ana", consents=["orders"])
    with story.database.write() as connection:
        connection.execute(
            insert(Consent).values(
                contact_id=ana, topic="orders", granted=False, at=story.now + timedelta(seconds=1), source="link",
                wording="",
            )
        )  # fmt: skip
    assert told(story, ana) == {"skipped: no_consent": 1}


def test_a_paused_contact_is_deferred_until_the_pause_ends_and_then_gets_it(story: Story) -> None:
    ana = story.contact("ana", consents=["orders"])
    until = story.now + timedelta(hours=5)
    with story.database.write() as connection:
        pause_contact(connection, ana, until, at=story.now)
    assert told(story, ana) == {"deferred: contact_paused": 1}
    assert story.messages[0].not_before == until
    story.clock.instant = until
    story.run(NEWS)
    assert story.states() == {"accepted": 1}


def test_a_pause_longer_than_the_step_may_be_late_skips(story: Story) -> None:
    ana = story.contact("ana", consents=["orders"])
    change(story.database, ana, paused_until=story.now + timedelta(days=3))
    assert told(story, ana) == {"skipped: contact_paused": 1}


def test_who_is_held_out_is_in_the_ledger_and_gets_nothing(story: Story) -> None:
    half = Campaign(name="half", topic="orders", trigger=NEWS.trigger, steps=NEWS.steps, holdout=50)
    people = story.contacts(60, consents=["orders"])
    story.launch(half)
    story.happened("order_placed", *people)
    story.run(half)
    out = sum(
        holdout_reason(story.settings, half, row.source, row.source_id) is not None for row in story.rows(Contact)
    )
    assert 10 < out < 50
    assert story.states() == {"accepted": 60 - out, "skipped: holdout": out}


def test_a_reached_goal_ends_marketing_steps(story: Story) -> None:
    ana = story.contact("ana", consents=["orders"])
    story.launch(NEWS)
    story.happened("review_submitted", ana, at=story.now - timedelta(days=1))  # before the trigger: no goal
    story.happened("order_placed", ana, at=story.now)
    story.clock.advance(timedelta(hours=1))
    story.happened("review_submitted", ana)
    story.run(NEWS)
    assert story.states() == {"skipped: goal_reached": 1}


def test_what_is_later_than_its_lateness_is_skipped(story: Story) -> None:
    ana = story.contact("ana", consents=["orders"])
    story.launch(NEWS)
    story.happened("order_placed", ana)
    story.clock.advance(timedelta(days=2, seconds=1))
    story.run(NEWS)
    assert story.states() == {"skipped: too_late": 1}


def test_exactly_at_its_lateness_it_is_still_sent(story: Story) -> None:
    ana = story.contact("ana", consents=["orders"])
    story.launch(NEWS)
    story.happened("order_placed", ana)
    story.clock.advance(timedelta(days=2))
    story.run(NEWS)
    assert story.states() == {"accepted": 1}


def test_two_contacts_with_one_address_and_one_cause_get_one_message(story: Story) -> None:
    ana = story.contact("ana", address="family@example.org", consents=["orders"])
    ben = story.contact("ben", address="family@example.org", consents=["orders"])
    story.launch(NEWS)
    story.happened("order_placed", ana, order_id="A-1")
    story.happened("order_placed", ben, order_id="A-1")
    story.happened("order_placed", ben, order_id="A-2")
    story.run(NEWS)
    assert story.states() == {"accepted": 2, "skipped: duplicate_address": 1}


def test_the_second_window_sees_the_address_of_the_first(story: Story) -> None:
    story.settings = Settings(secret_keys=("k",), window=1, threads=1)
    test_two_contacts_with_one_address_and_one_cause_get_one_message(story)


def test_quiet_hours_defer_to_their_end_where_the_contact_lives(story: Story) -> None:
    story.settings = Settings(secret_keys=("k",), quiet_from=time(21), quiet_until=time(8))
    tokyo = story.contact("aki", timezone="Asia/Tokyo", consents=["orders"])  # 12:00 UTC is 21:00 there
    assert told(story, tokyo) == {"deferred: quiet_hours": 1}
    assert story.messages[0].not_before == datetime(2026, 3, 10, 23, 0, tzinfo=UTC)
    story.clock.instant = datetime(2026, 3, 10, 23, 0, tzinfo=UTC)
    story.run(NEWS)
    assert story.states() == {"accepted": 1}


def test_the_cap_counts_all_campaigns_and_ranks_within_a_window(story: Story) -> None:
    story.settings = Settings(secret_keys=("k",), cap=2, cap_days=7)
    ana = story.contact("ana", consents=["orders"])
    story.launch(NEWS)
    story.happened("order_placed", ana, ana, ana)
    story.run(NEWS)
    assert story.states() == {"accepted": 2, "skipped: frequency_cap": 1}


def test_a_cap_that_frees_in_time_defers(story: Story) -> None:
    story.settings = Settings(secret_keys=("k",), cap=1, cap_days=1)
    ana = story.contact("ana", consents=["orders"])
    story.launch(NEWS)
    story.happened("order_placed", ana)
    story.run(NEWS)
    story.clock.advance(timedelta(hours=6))
    story.happened("order_placed", ana)
    story.run(NEWS)
    assert story.states() == {"accepted": 1, "deferred: frequency_cap": 1}
    story.clock.advance(timedelta(hours=18))
    story.run(NEWS)
    assert story.states() == {"accepted": 2}


def test_a_message_whose_fate_is_unknown_uses_up_the_cap(story: Story) -> None:
    story.settings = Settings(secret_keys=("k",), cap=1, cap_days=7)
    ana = story.contact("ana", consents=["orders"])
    story.sender.answers["ana@example.org"] = RuntimeError()
    story.launch(NEWS)
    story.happened("order_placed", ana, ana)
    story.run(NEWS)
    assert story.states() == {"unknown: recorder: RuntimeError": 1, "skipped: frequency_cap": 1}


@pytest.mark.parametrize("scope", ["marketing", "all"])
def test_transactional_mail_needs_no_consent_but_never_goes_to_a_dead_address(story: Story, scope: str) -> None:
    receipt = Campaign(
        name="receipt", trigger=NEWS.trigger, steps=(Email("receipt", template="note", purpose=TRANSACTIONAL),),
        holdout=100, goal=did("order_placed"),
    )  # fmt: skip
    story.settings = Settings(secret_keys=("k",), cap=1, quiet_from=time(0), quiet_until=time(23, 59))
    suppressed(story.database, "ana@example.org", scope)
    expected = {"skipped: suppressed": 1} if scope == "all" else {"accepted": 1}
    assert told(story, story.contact("ana"), receipt) == expected


def test_the_first_gate_in_the_order_gives_the_reason(story: Story) -> None:
    """Everything is wrong with this contact; one thing after the other is mended."""
    ana = story.contact("ana", address=None)
    change(story.database, ana, erased_at=story.now)
    story.launch(NEWS)
    story.happened("order_placed", ana)
    story.run(NEWS)
    change(story.database, ana, erased_at=None)
    story.happened("order_placed", ana)
    story.run(NEWS)
    change(story.database, ana, address="ana@example.org", email="ana@example.org")
    suppressed(story.database, "ana@example.org")
    story.happened("order_placed", ana)
    story.run(NEWS)
    assert [row.reason for row in story.messages] == ["erased", "no_address", "suppressed"]


def test_a_contact_that_changes_between_rendering_and_intent_is_rendered_again(story: Story) -> None:
    """The limiter is asked between the two: there the contact gets a new address and a new name."""
    ana = story.contact("ana", consents=["orders"])
    story.launch(NEWS)
    story.happened("order_placed", ana)
    engine = story.engine()
    changed: list[int] = []

    class Meddling:
        def acquire(self, count: int) -> None:
            if not changed:
                changed.append(count)
                change(
                    story.database, ana, address="new@example.org", email="new@example.org",
                    attributes={"first_name": "Neu"}, changed_at=story.now + timedelta(seconds=1),
                )  # fmt: skip

    engine.limiter = Meddling()
    engine.run(NEWS, Options())
    assert [(mail.to.address, mail.subject) for mail in story.sender.sent] == [("new@example.org", "Hello Neu")]
