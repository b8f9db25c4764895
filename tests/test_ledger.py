"""Intent and settle: a window is written as a whole and only where every row is still what it was, or not at all."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, bindparam, insert, update
from sqlmodel import col

from evergreet import delivery, ledger, settling
from evergreet.campaign import Campaign, Email, event
from evergreet.contracts import EmailMessage, Outcome
from evergreet.errors import OwnershipLost, Permanent, Retryable
from evergreet.settings import Cap, Settings
from models import Attempt, Chunk, Message, Suppression
from tests.conftest import NOW
from tests.story import Story

NEWS = Campaign(name="news", topic="news", trigger=event("signed_up"), steps=(Email("welcome", template="note"),))
PEOPLE = ("ana", "ben", "cleo")
Change = Callable[[Connection], object]


def one(**values: Any) -> Change:
    """Somebody else changes one message of the window."""
    return lambda connection: connection.execute(update(Message).where(col(Message.id) == 2).values(**values))


def one_attempt(**values: Any) -> Change:
    """Somebody else changes the attempt of one message of the window."""
    return lambda connection: connection.execute(update(Attempt).where(col(Attempt.message_id) == 2).values(**values))


def another_chunk(connection: Connection) -> None:
    """One message of the window belongs to another chunk now."""
    given = Chunk.__table__.select().where(col(Chunk.id) == 1)  # type: ignore[attr-defined]
    row = dict(connection.execute(given).mappings().one()) | {"id": 99}
    connection.execute(insert(Chunk).values(row))
    one(chunk_id=99)(connection)


def raise_epoch(connection: Connection) -> None:
    """Somebody took the chunk over."""
    connection.execute(update(Chunk).values(epoch=Chunk.epoch + 1))


def before(monkeypatch: pytest.MonkeyPatch, story: Story, name: str, change: Change) -> None:
    """Let somebody else commit a change just before that move of the ledger."""
    real = getattr(delivery, name)

    def changed(*arguments: Any) -> Any:
        with story.database.write() as connection:
            change(connection)
        return real(*arguments)

    monkeypatch.setattr(delivery, name, changed)


def prepared(story: Story, *, consents: Sequence[str] = ("news",)) -> None:
    story.launch(NEWS)
    story.happened("signed_up", *(story.contact(name, consents=consents) for name in PEOPLE))


def as_written(story: Story) -> list[Any]:
    """Everything of the messages that an intent or a settle may write, but for the one somebody else changed."""
    rows = [row for row in story.messages if row.id != 2]
    return [(row.state, row.reason, row.chunk_id, row.attempts, row.sent_at, row.provider_id) for row in rows]


SETTLED_OTHERWISE: dict[str, Change] = {
    "another attempt": one(attempts=2),
    "no longer sending": one(state="unknown", reason="hold", chunk_id=None, unknown_since=NOW),
    "planned again": one(state="planned", sent_at=None),
    "out of the chunk": one(chunk_id=None),
    "another chunk": another_chunk,
    "attempt settled": one_attempt(outcome="unknown"),
    "attempt has another number": one_attempt(number=7),
    "another epoch": raise_epoch,
}


@pytest.mark.parametrize("what", SETTLED_OTHERWISE)
def test_a_window_with_one_row_that_is_not_ours_any_more_is_not_settled_at_all(
    story: Story, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    prepared(story)
    before(monkeypatch, story, "settle", SETTLED_OTHERWISE[what])
    with pytest.raises(OwnershipLost):
        story.run(NEWS)
    assert as_written(story) == [("sending", "", 1, 1, NOW, None)] * 2
    assert [row.outcome for row in story.attempts if row.message_id != 2] == ["", ""]
    assert len(story.sender.sent) == len(PEOPLE)


INTENDED_OTHERWISE: dict[str, Change] = {
    "no longer planned": one(state="skipped", reason="elsewhere", chunk_id=None),
    "already sending": one(state="sending", sent_at=NOW),
    "out of the chunk": one(chunk_id=None),
    "another chunk": another_chunk,
    "another epoch": raise_epoch,
}


@pytest.mark.parametrize("consents", [("news",), ()], ids=["go", "skip"])
@pytest.mark.parametrize("what", INTENDED_OTHERWISE)
def test_a_window_with_one_row_that_is_not_ours_any_more_is_neither_intended_nor_skipped(
    story: Story, monkeypatch: pytest.MonkeyPatch, what: str, consents: tuple[str, ...]
) -> None:
    prepared(story, consents=consents)
    before(monkeypatch, story, "write_intent", INTENDED_OTHERWISE[what])
    with pytest.raises(OwnershipLost):
        story.run(NEWS)
    assert as_written(story) == [("planned", "", 1, 0, None, None)] * 2
    assert story.attempts == []
    assert story.sender.sent == []


@pytest.mark.parametrize(
    ("module", "name"), [(ledger, "WRITE_ATTEMPTS"), (settling, "ACCEPT_ATTEMPTS"), (settling, "WRITE_ATTEMPTS")]
)
def test_an_attempt_that_cannot_be_written_takes_the_whole_move_back(
    story: Story, monkeypatch: pytest.MonkeyPatch, module: Any, name: str
) -> None:
    prepared(story)
    if module is settling and name == "WRITE_ATTEMPTS":
        story.sender.answers = {f"{person}@example.org": Permanent("no") for person in PEOPLE}
    less = getattr(module, name)
    if module is ledger:
        less = less.from_select(less._select_names, less.select.where(col(Message.id) != bindparam("but", 2)))
    else:
        less = less.where(col(Attempt.message_id) != 2)
    monkeypatch.setattr(module, name, less)
    with pytest.raises(OwnershipLost, match="2 rows instead of 3"):
        story.run(NEWS)
    state = {"planned": 3} if module is ledger else {"sending": 3}
    assert story.states() == state
    assert {row.outcome for row in story.attempts} == (set() if module is ledger else {""})


def test_each_message_of_a_window_gets_what_became_of_it(story: Story) -> None:
    story.launch(NEWS)
    names = (*PEOPLE, "dan", "eve")
    story.happened("signed_up", *(story.contact(name, consents=["news"]) for name in names))
    strange = 'it\'s "over" \\ {quota},\n\x00 ü\ud800'
    story.sender.answers = {
        "ben@example.org": Permanent(strange, address_invalid=True),
        "cleo@example.org": Retryable("busy", retry_after=timedelta(hours=2)),
        "dan@example.org": Retryable("lost", accepted="maybe"),
    }
    story.run(NEWS)
    said = 'it\'s "over" \\ {quota},\n ü?'
    found = [(row.state, row.reason, row.not_before, row.chunk_id, bool(row.provider_id)) for row in story.messages]
    assert found == [
        ("accepted", "", None, 1, True), ("failed", said, None, None, False),
        ("planned", "busy", NOW + timedelta(hours=2), None, False), ("unknown", "lost", None, None, False),
        ("accepted", "", None, 1, True),
    ]  # fmt: skip
    assert [(row.outcome, row.detail, row.settled_at) for row in story.attempts] == [
        ("accepted", "", NOW), ("failed", said, NOW), ("returned", "busy", NOW), ("unknown", "lost", NOW),
        ("accepted", "", NOW),
    ]  # fmt: skip
    assert len({row.provider_id for row in story.messages}) == 3
    assert [row.address for row in story.rows(Suppression)] == ["ben@example.org"]


def test_each_message_of_a_window_gets_its_own_reason(story: Story) -> None:
    story.settings = Settings(secret_keys=("test-key",), topic_caps={"news": Cap(messages=1, days=1)})
    story.launch(NEWS)
    ana = story.contact("ana", consents=["news"])
    story.happened("signed_up", ana)
    story.run(NEWS)
    story.clock.advance(timedelta(hours=1))
    ben, cleo = story.contact("ben", consents=["news"]), story.contact("cleo")
    dan = story.contact("dan", consents=["news"], paused_until=story.now + timedelta(hours=3))
    story.happened("signed_up", ana, ben, cleo, dan)
    story.run(NEWS)
    found = [(row.state, row.reason, row.not_before, row.chunk_id) for row in story.messages]
    assert found == [
        ("accepted", "", None, 1), ("deferred", "topic_cap", NOW + timedelta(days=1), None),
        ("accepted", "", None, 2), ("skipped", "no_consent", None, None),
        ("deferred", "contact_paused", NOW + timedelta(hours=4), None),
    ]  # fmt: skip


def test_an_outcome_too_few_leaves_the_window_in_doubt_and_nothing_half_written(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(story)

    def send(batch: Sequence[EmailMessage]) -> list[Outcome]:
        return type(story.sender).send(story.sender, batch)[:-1]

    monkeypatch.setattr(story.sender, "send", send)
    story.run(NEWS)
    assert story.states() == {"unknown: recorder answered 2 outcomes": 3}
    assert replace(story.sender).name == "recorder"


def test_what_stands_as_being_sent_though_nobody_has_it_in_hand_is_in_doubt_and_ends_the_chunk(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a fault brings that about; a run that took the chunk again and again would never end."""
    prepared(story)
    with monkeypatch.context() as patched:
        before(patched, story, "write_intent", raise_epoch)
        with pytest.raises(OwnershipLost):
            story.run(NEWS)
    with story.database.write() as connection:
        one(state="sending", attempts=1, sent_at=NOW)(connection)
        ours = {"run_id": 1, "worker_id": 1, "epoch": 1, "provider": "recorder", "started_at": NOW}
        connection.execute(insert(Attempt).values(message_id=2, number=1, outcome="", **ours))
        connection.execute(update(Chunk).values(owner_id=None))
    story.run(NEWS)
    assert story.states() == {"accepted": 2, "unknown: nobody had it in hand any more": 1}
    assert {(row.message_id, row.outcome) for row in story.attempts} == {
        (1, "accepted"), (2, "unknown"), (3, "accepted"),
    }  # fmt: skip
    assert story.run(NEWS).attempted == {}
