"""Gates: each reason, their order, and what transactional mail is spared."""

import itertools
import math
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from sqlalchemy import insert, update
from sqlmodel import col

from evergreet.campaign import TRANSACTIONAL, Campaign, Email, Options, event, silence
from evergreet.campaigns import register, stop
from evergreet.conditions import did
from evergreet.consent import pause_contact
from evergreet.database import Database
from evergreet.dormancy import ending_campaigns, last_word
from evergreet.durations import days
from evergreet.holdout import holdout_reason, in_holdout
from evergreet.routing import Route
from evergreet.settings import Settings
from evergreet.tokens import Tokens
from models import Consent, Contact, Suppression
from tests.story import Story, note

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
    half = Campaign(name="half", topic="orders", trigger=NEWS.trigger, steps=NEWS.steps, holdout=50.5)
    people = story.contacts(60, consents=["orders"])
    story.launch(half)
    story.happened("order_placed", *people)
    story.run(half)
    out = {
        row.id for row in story.rows(Contact) if holdout_reason(story.settings, half, row.source, row.source_id)
    }  # fmt: skip
    assert 10 < len(out) < 50
    assert story.states() == {"accepted": 60 - len(out), "skipped: holdout": len(out)}
    assert {row.contact_id for row in story.messages if row.state == "skipped"} == out


def test_a_global_holdout_holds_of_all_campaigns_and_comes_before_a_campaigns_own(story: Story) -> None:
    story.settings = Settings(secret_keys=("k",), holdout=50)
    other = Campaign(name="other", topic="orders", trigger=NEWS.trigger, steps=NEWS.steps, holdout=100)
    people = story.contacts(40, consents=["orders"])
    for campaign in (NEWS, other):
        story.launch(campaign)
    story.happened("order_placed", *people)
    for campaign in (NEWS, other):
        story.run(campaign)
    out = story.states()["skipped: global_holdout"] // 2
    assert 8 < out < 32
    assert story.states() == {
        "accepted": 40 - out, "skipped: global_holdout": 2 * out, "skipped: holdout": 40 - out,
    }  # fmt: skip


def test_a_contact_keeps_its_place_in_a_holdout_when_its_row_is_made_again(story: Story) -> None:
    """As after a restore from another export: other row ids, the same source ids."""
    half = Campaign(name="half", topic="orders", trigger=NEWS.trigger, steps=NEWS.steps, holdout=50)
    first = [holdout_reason(story.settings, half, "shop", f"C-{number}") for number in range(200)]
    assert {"holdout", None} == set(first)
    assert first == [holdout_reason(story.settings, half, "shop", f"C-{number}") for number in range(200)]
    elsewhere = [holdout_reason(story.settings, half, "crm", f"C-{number}") for number in range(200)]
    assert first != elsewhere, "another source's C-1 is another person"
    anew = Settings(secret_keys=("k",), holdout_salt="autumn")
    assert first != [holdout_reason(anew, half, "shop", f"C-{number}") for number in range(200)]


@pytest.mark.parametrize("percentage", [0.5, 1, 10, 12.5, 50, 90])
def test_a_holdout_is_as_large_as_it_says(percentage: float) -> None:
    count = 20_000
    share = percentage / 100
    five_sigma = 5 * math.sqrt(count * share * (1 - share))
    for salt in ("evergreet:all", "evergreet/win-back", "evergreet/news"):
        out = sum(in_holdout(percentage, salt, f"shop:C-{number}") for number in range(count))
        assert abs(out - count * share) < five_sigma


def test_nobody_is_held_out_at_0_and_everybody_at_100_percent() -> None:
    assert not any(in_holdout(0, "salt", f"shop:{number}") for number in range(1000))
    assert all(in_holdout(100, "salt", f"shop:{number}") for number in range(1000))


def test_a_higher_percentage_keeps_those_who_were_held_out_before() -> None:
    def out(percentage: float) -> set[int]:
        return {number for number in range(5000) if in_holdout(percentage, "evergreet/news", f"shop:{number}")}

    assert out(0.25) < out(0.5) < out(1) < out(1.5) < out(10) < out(20) < out(50)


def test_who_is_held_out_never_changes_from_release_to_release() -> None:
    out = [number for number in range(200) if in_holdout(10, "evergreet/news", f"shop:C-{number}")]
    assert out == [23, 30, 34, 36, 37, 81, 105, 119, 124, 154, 165, 167, 179, 185, 196]


def test_the_holdouts_of_two_campaigns_and_the_global_one_are_independent() -> None:
    count = 20_000
    salts = ("evergreet:all", "evergreet/news", "evergreet/win-back")
    members = {
        salt: {number for number in range(count) if in_holdout(20, salt, f"shop:{number}")} for salt in salts
    }  # fmt: skip
    for one, other in itertools.combinations(salts, 2):
        both = len(members[one] & members[other])
        assert abs(both - count * 0.04) < 5 * math.sqrt(count * 0.04 * 0.96)


WIN_BACK = Campaign(
    name="win-back",
    topic="offers",
    trigger=silence(days(60), after=("order_placed", "login"), broken_by=("email_link_clicked",)),
    steps=(
        Email("first", template="note", after=days(60), lateness=days(5)),
        Email("last", template="note", after=days(70), lateness=days(5)),
    ),
    ends_mailing=True,
)


def quiet_for(story: Story, *spans: timedelta) -> None:
    """Let time go by, with a run of the win-back campaign after each span."""
    for span in spans:
        story.clock.advance(span)
        story.run(WIN_BACK)


def ended(story: Story, *, consents: tuple[str, ...] = ("orders", "offers")) -> int:
    """A contact who ordered once, was silent, and got both steps of the series."""
    ana = story.contact("ana", consents=consents)
    story.launch(WIN_BACK)
    story.happened("order_placed", ana)
    quiet_for(story, timedelta(0), timedelta(days=61), timedelta(days=10))
    assert story.states() == {"accepted": 2}
    return ana


def test_who_got_the_last_word_and_stays_silent_gets_no_marketing_of_any_campaign(story: Story) -> None:
    ana = ended(story)
    invited = Campaign(name="invited", topic="orders", trigger=event("invited"), steps=NEWS.steps, holdout=100)
    receipt = Campaign(
        name="receipt", trigger=event("invited"), steps=(Email("r", template="note", purpose=TRANSACTIONAL),)
    )
    story.launch(invited)
    story.launch(receipt)
    story.happened("invited", ana)  # by the company: no sign of life of the contact
    story.happened("login", ana, at=story.now - timedelta(days=80))  # learned late, of before the silence
    story.clock.advance(timedelta(hours=1))
    story.happened("login", story.contact("ben"))  # somebody else is alive
    story.happened("page_viewed", ana)  # counts for nothing in this campaign
    story.run(invited)
    story.run(receipt)
    assert story.states() == {"accepted": 3, "skipped: dormant": 1}
    with story.database.read() as connection:
        last = last_word(connection, ana, story.now)
    assert last is not None
    assert (last.campaign, last.step) == ("win-back", "last")


@pytest.mark.parametrize("sign", ["login", "order_placed", "email_link_clicked"])
def test_any_sign_of_life_ends_the_silence(story: Story, sign: str) -> None:
    ana = ended(story)
    invited = Campaign(name="invited", topic="orders", trigger=event("invited"), steps=NEWS.steps)
    story.launch(invited)
    story.happened(sign, ana, at=story.now + timedelta(days=1))  # to come: not yet a sign
    story.happened("invited", ana)
    story.run(invited)
    assert story.states() == {"accepted": 2, "skipped: dormant": 1}
    story.clock.advance(timedelta(days=1))
    story.happened("invited", ana)
    story.run(invited)
    assert story.states() == {"accepted": 3, "skipped: dormant": 1}


def test_who_came_back_and_falls_silent_again_gets_the_whole_series_again(story: Story) -> None:
    ana = ended(story)
    quiet_for(story, timedelta(days=30))
    story.happened("login", ana)
    quiet_for(story, timedelta(0), timedelta(days=61), timedelta(days=10), timedelta(days=100))
    assert [row.step_key for row in story.messages] == ["first", "last"] * 2
    assert story.states() == {"accepted": 4}


def test_before_the_last_step_nobody_is_dormant(story: Story) -> None:
    ana = story.contact("ana", consents=["orders", "offers"])
    invited = Campaign(name="invited", topic="orders", trigger=event("invited"), steps=NEWS.steps)
    for campaign in (WIN_BACK, invited):
        story.launch(campaign)
    story.happened("order_placed", ana)
    quiet_for(story, timedelta(0), timedelta(days=61))
    story.happened("invited", ana)
    story.run(invited)
    assert story.states() == {"accepted": 2}


def test_a_last_word_that_was_never_sent_ends_nothing_and_one_in_doubt_does(story: Story) -> None:
    ana, ben = story.contact("ana", consents=["orders"]), story.contact("ben", consents=["orders", "offers"])
    story.sender.answers["ben@example.org"] = RuntimeError()
    invited = Campaign(name="invited", topic="orders", trigger=event("invited"), steps=NEWS.steps)
    for campaign in (WIN_BACK, invited):
        story.launch(campaign)
    story.happened("order_placed", ana, ben)
    quiet_for(story, timedelta(0), timedelta(days=61), timedelta(days=10))
    story.sender.answers.clear()
    story.happened("invited", ana, ben)
    story.run(invited)
    assert story.states() == {
        "skipped: no_consent": 2, "unknown: recorder: RuntimeError": 2, "accepted": 1, "skipped: dormant": 1,
    }  # fmt: skip


def test_what_ends_mailing_is_read_from_campaigns_that_were_ever_live(story: Story) -> None:
    with story.database.write() as connection:
        register(connection, WIN_BACK, Options(), note, story.now)
    with story.database.read() as connection:
        assert ending_campaigns(connection) == ()
    story.launch(WIN_BACK)
    story.launch(NEWS)
    with story.database.read() as connection:
        [ending] = ending_campaigns(connection)
    assert (ending.step_key, ending.events) == ("last", ("order_placed", "login", "email_link_clicked"))
    stop(story.database, "win-back", clock=story.clock, actor="test")
    with story.database.read() as connection:
        assert ending_campaigns(connection) == (ending,), "who got its last word keeps their peace"


def test_a_last_word_under_another_key_stays_the_last(story: Story) -> None:
    ana = ended(story)
    invited = Campaign(name="invited", topic="orders", trigger=event("invited"), steps=NEWS.steps)
    story.launch(invited)
    three = replace(WIN_BACK, steps=(*WIN_BACK.steps, Email("farewell", template="note", after=days(80))))
    story.run(three)
    story.happened("invited", ana)
    story.run(invited)
    assert story.states() == {"accepted": 2, "skipped: dormant": 1}
    ben = story.contact("ben", consents=["orders", "offers"])
    story.happened("order_placed", ben)
    for span in (61, 10):  # now `last` is not the last step
        story.clock.advance(timedelta(days=span))
        story.run(three)
    story.happened("invited", ben)
    story.run(invited)
    assert story.states() == {"accepted": 5, "skipped: dormant": 1}


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

    engine.routes["email"] = Route.of(story.sender, Meddling())
    engine.run(NEWS, Options())
    assert [(mail.to.address, mail.subject) for mail in story.sender.sent] == [("new@example.org", "Hello Neu")]
