"""Unsubscribe, suppress, pause and erase: what is written, and that they wait for who has the contact in hand."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, text, update
from sqlmodel import col

from evergreet import consent, delivery, erasure
from evergreet.audit import audit
from evergreet.database import Database
from evergreet.errors import DataError, Permanent
from evergreet.settling import settle
from evergreet.tally import add_to_tally
from evergreet.tokens import Tokens
from models import (
    Attempt,
    AuditLog,
    CampaignRow,
    CampaignVersion,
    Consent,
    Contact,
    Enrollment,
    FrequencyChoice,
    Message,
    Run,
    Suppression,
    Tally,
    WorkerRow,
)
from tests.conftest import NOW
from tests.contacts import add_consent, add_contact
from tests.story import THANKS, Story

LATER = NOW + timedelta(hours=1)
TOKENS = Tokens(["an old key", "a new key"])


@pytest.fixture
def postgres(fresh_postgres_url: str) -> Iterator[Database]:
    opened = Database(fresh_postgres_url)
    yield opened
    opened.close()


def test_unsubscribing_records_time_source_and_wording_and_moves_the_contact(database: Database) -> None:
    with database.write() as connection:
        maya = add_contact(connection)
        add_consent(connection, maya)
    with database.write() as connection:
        assert consent.unsubscribe(connection, maya, "orders", at=LATER, source="page", wording="Stop these")
    with database.read() as connection:
        newest = consents(connection, maya)[-1]
        assert (newest.granted, newest.at, newest.source, newest.wording) == (False, LATER, "page", "Stop these")
        row = contact(connection, maya)
        assert row.changed_at == LATER
        assert row.position > 1


def test_unsubscribing_again_changes_nothing_and_is_on_record(database: Database) -> None:
    with database.write() as connection:
        maya = add_contact(connection)
        assert consent.unsubscribe(connection, maya, "orders", at=NOW, source="page")
    with database.write() as connection:
        assert not consent.unsubscribe(connection, maya, "orders", at=LATER, source="one-click")
    with database.read() as connection:
        assert [row.at for row in consents(connection, maya)] == [NOW, LATER]  # a yes between may be told later
        assert contact(connection, maya).changed_at == NOW


def test_unsubscribing_is_about_one_topic_and_about_the_mailbox(database: Database) -> None:
    with database.write() as connection:
        maya, twin = add_contact(connection), add_contact(connection)
        noor = add_contact(connection, "noor@example.com")
        for one in (maya, twin, noor):
            add_consent(connection, one, "orders")
            add_consent(connection, one, "news")
        consent.unsubscribe(connection, maya, "orders", at=LATER, source="page")
        assert granted(connection, maya) == granted(connection, twin) == {"news"}
        assert granted(connection, noor) == {"news", "orders"}


def test_a_consent_dated_into_the_future_does_not_outlive_a_no(database: Database) -> None:
    with database.write() as connection:
        maya = add_contact(connection)
        add_consent(connection, maya, at=NOW + timedelta(days=400))
        consent.unsubscribe(connection, maya, "orders", at=LATER, source="page")
        assert granted(connection, maya) == set()


def test_deciding_back_and_forth_in_the_same_moment_keeps_the_last_word(database: Database) -> None:
    with database.write() as connection:
        maya = add_contact(connection)
        for _ in range(3):
            assert consent.resubscribe(connection, maya, "orders", at=NOW, source="page", wording="Yes")
            assert granted(connection, maya) == {"orders"}
            assert consent.unsubscribe(connection, maya, "orders", at=NOW, source="page")
            assert granted(connection, maya) == set()


def test_unsubscribing_from_everything_stops_topics_of_later_and_leaves_receipts(database: Database) -> None:
    with database.write() as connection:
        maya = add_contact(connection)
        for topic in ("orders", "news"):
            add_consent(connection, maya, topic)
        assert consent.unsubscribe_everything(connection, maya, at=LATER, source="page", wording="All")
        assert not consent.unsubscribe_everything(connection, maya, at=LATER, source="page", wording="All")
        assert granted(connection, maya) == set()
        assert suppressions(connection) == {"maya@example.com": ("marketing", "unsubscribed")}


def test_unsubscribing_a_contact_without_address_from_everything_withdraws_its_topics(database: Database) -> None:
    with database.write() as connection:
        maya = add_contact(connection, None)
        add_consent(connection, maya)
        assert consent.unsubscribe_everything(connection, maya, at=LATER, source="page")
        assert granted(connection, maya) == set()
        assert suppressions(connection) == {}


def test_subscribing_again_lifts_what_the_reader_asked_for_and_only_for_that_topic(database: Database) -> None:
    with database.write() as connection:
        maya = add_contact(connection)
        for topic in ("orders", "news"):
            add_consent(connection, maya, topic)
        consent.unsubscribe_everything(connection, maya, at=LATER, source="page")
        assert consent.resubscribe(connection, maya, "news", at=LATER, source="page", wording="Yes please")
        assert not consent.resubscribe(connection, maya, "news", at=LATER, source="page", wording="Yes please")
        assert granted(connection, maya) == {"news"}
        assert suppressions(connection) == {}


@pytest.mark.parametrize(("scope", "reason"), [("all", "hard_bounce"), ("marketing", "complaint")])
def test_subscribing_again_does_not_lift_a_bounce_or_a_complaint(database: Database, scope: Any, reason: str) -> None:
    with database.write() as connection:
        maya = add_contact(connection)
        consent.suppress(connection, "maya@example.com", scope=scope, reason=reason, source="send", at=NOW)
        consent.resubscribe(connection, maya, "news", at=LATER, source="page", wording="Yes")
        assert suppressions(connection) == {"maya@example.com": (scope, reason)}


def test_a_suppression_only_grows(database: Database) -> None:
    def suppress(scope: Any, reason: str) -> bool:
        return consent.suppress(connection, "maya@example.com", scope=scope, reason=reason, source="t", at=LATER)

    with database.write() as connection:
        maya, twin = add_contact(connection), add_contact(connection)
        assert suppress("marketing", "asked")
        assert not suppress("marketing", "complaint")
        assert suppress("all", "hard_bounce")
        assert not suppress("marketing", "asked")
        assert suppressions(connection) == {"maya@example.com": ("all", "hard_bounce")}
        assert contact(connection, maya).changed_at == contact(connection, twin).changed_at == LATER


def test_an_address_without_contact_can_be_suppressed(database: Database) -> None:
    with database.write() as connection:
        assert consent.suppress(connection, "who@example.com", scope="all", reason="asked", source="t", at=NOW)
        assert suppressions(connection) == {"who@example.com": ("all", "asked")}


def test_a_contact_is_paused_and_released(database: Database) -> None:
    with database.write() as connection:
        maya = add_contact(connection)
        consent.pause_contact(connection, maya, LATER, at=NOW + timedelta(minutes=1))
        assert contact(connection, maya).paused_until == LATER
        consent.pause_contact(connection, maya, None, at=NOW + timedelta(minutes=2))
        row = contact(connection, maya)
        assert (row.paused_until, row.changed_at) == (None, NOW + timedelta(minutes=2))


@pytest.mark.parametrize(
    "act",
    [
        lambda connection: consent.unsubscribe(connection, 404, "orders", at=NOW, source="t"),
        lambda connection: consent.unsubscribe_everything(connection, 404, at=NOW, source="t"),
        lambda connection: consent.resubscribe(connection, 404, "orders", at=NOW, source="t", wording=""),
        lambda connection: consent.pause_contact(connection, 404, None, at=NOW),
        lambda connection: erasure.erase(connection, 404, tokens=TOKENS, at=NOW, actor="t"),
    ],
)
def test_a_contact_that_is_not_there_is_named(database: Database, act: Callable[[Connection], Any]) -> None:
    with pytest.raises(DataError, match="no contact 404"), database.write() as connection:
        act(connection)


def test_erasing_leaves_only_a_keyed_hash(database: Database) -> None:
    with database.write() as connection:
        maya = add_contact(
            connection, email="Maya@Example.com", phone="+441632960000", locale="en_GB", timezone="Europe/London",
            attributes={"first_name": "Maya", "city": "Bristol"}, source_id="maya@example.com",
        )  # fmt: skip
        add_consent(connection, maya)
        consent.suppress(connection, "maya@example.com", scope="marketing", reason="asked", source="t", at=NOW)
        message = add_message(connection, maya, "550 5.1.1 <Maya@Example.com> and maya@example.com are unknown")
    with database.write() as connection:
        erased = erasure.erase(connection, maya, tokens=TOKENS, at=LATER, actor="noor")
    assert (erased.already, erased.had_address, erased.messages) == (False, True, 1)
    hashed = TOKENS.address_hashes("maya@example.com")[-1]
    with database.read() as connection:
        row = contact(connection, maya)
        assert (row.email, row.address, row.phone, row.locale, row.timezone) == (None,) * 5
        assert (row.attributes, row.erased_at, row.changed_at) == ({}, LATER, LATER)
        phone = TOKENS.address_hashes("+441632960000")[-1]
        assert suppressions(connection) == {hashed: ("all", "erased"), phone: ("all", "erased")}
        ledger = connection.execute(select(Message).where(col(Message.id) == message)).one()
        assert (ledger.address, ledger.state, ledger.changed_at) == (hashed, "failed", NOW)
        log = connection.execute(select(AuditLog)).one()
        assert (log.actor, log.action, log.subject) == ("noor", "erase", f"contact {maya}")
        assert "maya" not in everything_stored(connection).lower()


def test_people_whose_addresses_changed_since_can_all_be_erased(story: Story) -> None:
    """They all have one occurrence, and no address, or the same one, is left of any."""
    once = replace(THANKS, re_entry="once")
    story.launch(once)
    people = story.contacts(4)
    story.happened("order_placed", *people)
    story.run(once)
    with story.database.write() as connection:
        connection.execute(update(Contact).values(address=None, email=None))
        connection.execute(update(Contact).where(col(Contact.id).in_(people[:2])).values(address="both@example.org"))
    for person in people:
        with story.database.write() as connection:
            erasure.erase(connection, person, tokens=TOKENS, at=LATER, actor="noor")
    assert not [message for message in story.messages if "@" in (message.address or "")]


def test_what_a_provider_says_of_somebody_who_was_erased_meanwhile_is_not_kept(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    story.launch()
    ana = story.contact("ana")
    story.happened("order_placed", ana)
    story.sender.answers = {"ana@example.org": Permanent("no such user: ana@example.org", address_invalid=True)}

    def erase_first(*arguments: Any) -> Any:
        with story.database.write() as connection:
            erasure.erase(connection, ana, tokens=Tokens(["test-key"]), at=story.now, actor="test")
        return settle(*arguments)

    monkeypatch.setattr(delivery, "settle", erase_first)
    story.run()
    assert story.states() == {"failed: (erased)": 1}
    assert [attempt.detail for attempt in story.attempts] == ["(erased)"]
    assert [row.reason for row in story.rows(Tally)] == ["(erased)"]
    assert all(one.clean for one in audit(story.database, story.clock))


def test_erasing_twice_changes_nothing(database: Database) -> None:
    with database.write() as connection:
        maya = add_contact(connection)
        erasure.erase(connection, maya, tokens=TOKENS, at=NOW, actor="noor")
        assert erasure.erase(connection, maya, tokens=TOKENS, at=LATER, actor="noor").already
        assert contact(connection, maya).erased_at == NOW


def test_erasing_someone_without_address_suppresses_nobody(database: Database) -> None:
    with database.write() as connection:
        maya = add_contact(connection, None, attributes={"first_name": "Maya"})
        erased = erasure.erase(connection, maya, tokens=TOKENS, at=NOW, actor="noor")
        assert (erased.had_address, suppressions(connection)) == (False, {})
        assert contact(connection, maya).attributes == {}


def test_how_often_is_chosen_for_the_mailbox_and_remembered_with_time_source_and_words(database: Database) -> None:
    with database.write() as connection:
        maya, twin, other = (
            add_contact(connection, address) for address in (*["maya@example.com"] * 2, "ada@example.com")
        )
        for days, at in ((7, NOW), (7, LATER), (None, LATER)):
            new = consent.choose_spacing(connection, maya, days, at=at, source="page", wording=f"{days} days")
            assert new is ((days, at) != (7, LATER))
            assert contact(connection, twin).spacing_days == days
        assert contact(connection, maya).changed_at == LATER
        assert contact(connection, other).changed_at == NOW
        rows = connection.execute(select(FrequencyChoice).order_by(col(FrequencyChoice.id))).all()
        told = [(row.contact_id, row.spacing_days, row.at, row.source, row.wording) for row in rows]
        assert told == [
            (each, days, at, "page", f"{days} days") for days, at in ((7, NOW), (None, LATER)) for each in (maya, twin)
        ]
        with pytest.raises(DataError, match="There is no contact 99"):
            consent.choose_spacing(connection, 99, 7, at=NOW, source="t")


@pytest.mark.parametrize(
    "act",
    [
        lambda connection, maya: consent.unsubscribe(connection, maya, "orders", at=LATER, source="t"),
        lambda connection, maya: consent.unsubscribe_everything(connection, maya, at=LATER, source="t"),
        lambda connection, maya: consent.suppress(
            connection, "maya@example.com", scope="all", reason="asked", source="t", at=LATER
        ),
        lambda connection, maya: erasure.erase(connection, maya, tokens=TOKENS, at=LATER, actor="t"),
        lambda connection, maya: consent.pause_contact(connection, maya, LATER, at=LATER),
        lambda connection, maya: consent.choose_spacing(connection, maya, 7, at=LATER, source="t"),
    ],
    ids=["unsubscribe", "everything", "suppress", "erase", "pause", "less often"],
)
def test_it_waits_for_a_window_that_has_the_contact_in_hand(
    postgres: Database, act: Callable[[Connection, int], Any]
) -> None:
    """A window locks its contacts, asks the gates and writes its intent: what comes meanwhile commits after it."""
    database = postgres
    with database.write() as connection:
        maya = add_contact(connection)
        add_contact(connection)  # one who shares the address
    failures: list[BaseException] = []

    def decide() -> None:
        try:
            with database.write() as connection:
                act(connection, maya)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=decide)
    with database.write() as window:
        window.execute(select(Contact).where(col(Contact.id) == maya).with_for_update())
        mine = window.execute(text("SELECT pg_backend_pid()")).scalar_one()
        thread.start()
        wait_until_blocked_by(database, mine)
        assert contact(window, maya).changed_at == NOW
    thread.join(30)
    assert not thread.is_alive()
    assert failures == []
    with database.read() as connection:
        assert contact(connection, maya).changed_at == LATER


def test_a_window_that_comes_after_sees_the_unsubscribe(postgres: Database) -> None:
    database = postgres
    with database.write() as connection:
        maya = add_contact(connection)
        add_consent(connection, maya)
    seen: list[set[str]] = []

    def window() -> None:
        with database.write() as connection:
            connection.execute(select(Contact).where(col(Contact.id) == maya).with_for_update())
            seen.append(granted(connection, maya))

    thread = threading.Thread(target=window)
    with database.write() as connection:
        consent.unsubscribe(connection, maya, "orders", at=LATER, source="t")
        mine = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        thread.start()
        wait_until_blocked_by(database, mine)
    thread.join(30)
    assert seen == [set()]


def wait_until_blocked_by(database: Database, pid: int) -> None:
    """Wait until another session waits for a lock that `pid` holds."""
    pause = threading.Event()
    for _ in range(600):
        with database.read() as connection:
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE :pid = ANY (pg_blocking_pids(pid))"
            if connection.execute(text(waiting), {"pid": pid}).scalar_one():
                return
        pause.wait(0.05)
    pytest.fail("nobody waited for the lock")


def contact(connection: Connection, contact_id: int) -> Any:
    return connection.execute(select(Contact).where(col(Contact.id) == contact_id)).one()


def consents(connection: Connection, contact_id: int) -> list[Any]:
    query = select(Consent).where(col(Consent.contact_id) == contact_id).order_by(col(Consent.at), col(Consent.id))
    return list(connection.execute(query))


def granted(connection: Connection, contact_id: int) -> set[str]:
    newest = {row.topic: row.granted for row in consents(connection, contact_id)}
    return {topic for topic, given in newest.items() if given}


def suppressions(connection: Connection) -> dict[str, tuple[str, str]]:
    return {row.address: (row.scope, row.reason) for row in connection.execute(select(Suppression))}


def everything_stored(connection: Connection) -> str:
    return "\n".join(
        str(tuple(row))
        for table in (Contact, Consent, Suppression, Message, Attempt, AuditLog, Enrollment, Tally)
        for row in connection.execute(select(table))
    )


def add_message(connection: Connection, contact_id: int, reason: str) -> int:
    def add(table: Any, **values: Any) -> int:
        return int(connection.execute(insert(table).values(**values).returning(table.id)).scalar_one())

    campaign = add(CampaignRow, name="thank-you", created_at=NOW)
    version = add(CampaignVersion, campaign_id=campaign, hash="h", definition={}, created_at=NOW)
    enrollment = add(
        Enrollment, campaign_id=campaign, version_id=version, contact_id=contact_id, occurrence="event:1",
        caused_at=NOW, enrolled_at=NOW,
    )  # fmt: skip
    message = add(
        Message, enrollment_id=enrollment, campaign_id=campaign, version_id=version, contact_id=contact_id,
        occurrence="event:1", step_key="receipt", purpose="transactional", due_at=NOW, state="failed", reason=reason,
        address="maya@example.com", changed_at=NOW,
    )  # fmt: skip
    add_to_tally(connection, campaign, {("failed", reason): 1})
    worker = add(WorkerRow, slot=1, host="h", pid=1, started_at=NOW)
    run = add(Run, campaign_id=campaign, worker_id=worker, started_at=NOW)
    add(
        Attempt, message_id=message, number=1, run_id=run, worker_id=worker, epoch=1, started_at=NOW, outcome="failed",
        detail=reason,
    )  # fmt: skip
    return message


@pytest.mark.parametrize(
    ("known", "new", "outweighed"),
    [
        ("crm:acme", "page", True), ("merge:1", "page", True), ("crm:acme", "crm:acme", False),
        ("crm:acme", "merge:1", False), ("merge:1", "crm:acme", False), ("page", "crm:acme", False),
    ],
)  # fmt: skip
def test_the_own_word_of_somebody_takes_the_place_of_one_that_may_be_taken_back(
    database: Database, known: str, new: str, *, outweighed: bool
) -> None:
    said, before = (SimpleNamespace(scope="marketing", source=source) for source in (new, known))
    assert consent.outweighs(said, before) is outweighed
    with database.write() as connection:
        for source in (known, new):
            consent.suppress(
                connection, "maya@example.com", scope="marketing", reason=consent.EVERYTHING, source=source, at=NOW
            )
        (stored,) = connection.execute(select(Suppression)).all()
    assert stored.source == (new if outweighed else known)
