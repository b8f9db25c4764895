"""Requests that may be repeated: kept with the intent, repeated octet by octet while that is right, then deleted."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar

import pytest
from sqlalchemy import text

from evergreet.audit import audit
from evergreet.campaign import MARKETING, Campaign, Email, event
from evergreet.campaigns import pause
from evergreet.consent import suppress, unsubscribe
from evergreet.contracts import Accepted, Capabilities, EmailMessage, Outcome, RepeatableSender, Request
from evergreet.erasure import erase
from evergreet.errors import Permanent, Refused, Retryable
from evergreet.reconcile import Reconciled, assume_sent, hold, reconcile, retry
from evergreet.tokens import Tokens
from models import StoredRequest
from tests.story import Recorder, Story

NEWS = Campaign(
    name="news", topic="news", trigger=event("order_placed", key="order_id"),
    steps=(Email("letter", template="note", purpose=MARKETING),),
)  # fmt: skip


@dataclass
class Keyed(Recorder):
    """A provider that does what comes with one key once; `loses` is how many answers get lost on the way."""

    name: ClassVar[str] = "keyed"
    capabilities: ClassVar[Capabilities] = Capabilities(
        batch_limit=1000, window=50, find=False, idempotency=timedelta(hours=24)
    )
    loses: int = 0
    loses_at: int = 0
    stored: Callable[[], set[str]] | None = None
    most: int = 2
    refuses: frozenset[str] = frozenset()
    """Whom it refuses: alone for good, among others all of them."""
    heard: list[tuple[str, bytes]] = field(default_factory=list)
    answered: dict[str, list[Outcome]] = field(default_factory=dict)

    def prepare(self, batch: Sequence[EmailMessage]) -> tuple[list[Request], dict[int, Outcome]]:
        requests = []
        for start in range(0, len(batch), self.most):
            places = tuple(range(start, min(start + self.most, len(batch))))
            requests.append(Request("\n".join(batch[place].to.address for place in places).encode(), places))
        return requests, {}

    def hand_over(self, body: bytes, key: str, count: int) -> list[Outcome]:
        self.heard.append((key, body))
        assert self.stored is None or key in self.stored(), "written before it goes"
        if key not in self.answered:
            addresses = body.decode().splitlines()
            assert len(addresses) == count
            if self.refuses.intersection(addresses):
                if count > 1:
                    raise Refused("422 somebody")
                return [Permanent("422 invalid")]
            self.answered[key] = [self.answer(address) for address in addresses]
        if self.loses or len(self.heard) == self.loses_at:
            self.loses = max(self.loses - 1, 0)
            raise Retryable("cut off", accepted="maybe")
        return self.answered[key]

    def answer(self, address: str) -> Outcome:
        answer = self.answers.get(address, Accepted(f"k-{address}"))
        assert not isinstance(answer, Exception) or isinstance(answer, Permanent)
        return answer

    def find(self, keys: Sequence[str]) -> dict[str, object]:  # type: ignore[override]
        return {}


@pytest.fixture
def keyed(story: Story) -> Keyed:
    """Three messages in two requests, of which no answer arrived."""
    story.sender = keyed = Keyed(loses=1)
    assert isinstance(keyed, RepeatableSender)
    story.launch(NEWS)
    story.happened("order_placed", *story.contacts(2, consents=("news",)))
    story.run(NEWS)
    assert story.states() == {"unknown: cut off": 2}
    assert len(story.rows(StoredRequest)) == 1
    story.clock.advance(timedelta(minutes=10))
    return keyed


def resolve(story: Story) -> Reconciled:
    return reconcile(story.database, story.sender, story.settings, story.clock)


def clean(story: Story) -> bool:
    return all(one.clean for one in audit(story.database, story.clock))


def test_what_was_answered_leaves_no_request_behind(story: Story) -> None:
    story.sender = keyed = Keyed(answers={"c2@example.org": Permanent("550 no")})
    story.launch(NEWS)
    story.happened("order_placed", *story.contacts(3, consents=("news",)))
    story.run(NEWS)
    assert story.states() == {"accepted": 2, "failed: 550 no": 1}
    assert len({key for key, _ in keyed.heard}) == 2
    assert story.rows(StoredRequest) == []
    assert clean(story)


def test_the_identical_request_is_repeated_with_its_key_and_settles_the_doubt(story: Story, keyed: Keyed) -> None:
    keyed.answers["c1@example.org"] = Permanent("not asked again: the first answer stands")
    assert resolve(story) == Reconciled({"repeated": 2}, 0)
    assert keyed.heard[0] == keyed.heard[1]
    assert story.states() == {"accepted": 2}
    assert {(row.resolution, row.provider_id) for row in story.messages} == {
        ("repeated", "k-c0@example.org"), ("repeated", "k-c1@example.org"),
    }  # fmt: skip
    assert [attempt.outcome for attempt in story.attempts] == ["accepted", "accepted"]
    assert story.rows(StoredRequest) == []
    assert clean(story)


def test_a_refusal_of_the_repeat_settles_it_too(story: Story, keyed: Keyed) -> None:
    (request,) = story.rows(StoredRequest)
    keyed.answered[request.key] = [Accepted("k-1"), Permanent("550 no")]
    assert resolve(story) == Reconciled({"repeated": 2}, 0)
    assert story.states() == {"accepted": 1, "failed: 550 no": 1}
    assert clean(story)


def test_a_repeat_that_nobody_is_accepted_in_leaves_the_doubt(story: Story, keyed: Keyed) -> None:
    (request,) = story.rows(StoredRequest)
    keyed.answered[request.key] = [Permanent("400 the key was used before")] * 2
    assert resolve(story) == Reconciled({}, 2)
    assert story.states() == {"unknown: cut off": 2}
    assert clean(story)


def test_a_repeat_without_an_answer_is_tried_again_the_next_time(story: Story, keyed: Keyed) -> None:
    keyed.loses = 1
    assert resolve(story) == Reconciled({}, 2)
    assert resolve(story) == Reconciled({"repeated": 2}, 0)
    assert len({*keyed.heard}) == 1


def test_after_the_life_of_its_key_nothing_is_repeated(story: Story, keyed: Keyed) -> None:
    story.clock.advance(timedelta(hours=24) - timedelta(minutes=11))
    assert resolve(story) == Reconciled({}, 2)
    assert len(keyed.heard) == 1
    assert story.rows(StoredRequest) == []


def leaves(story: Story) -> None:
    with story.database.write() as connection:
        unsubscribe(connection, story.messages[0].contact_id, "news", at=story.now, source="page")


def bounces(story: Story) -> None:
    with story.database.write() as connection:
        suppress(connection, "c1@example.org", scope="marketing", reason="x", source="test", at=story.now)


def is_erased(story: Story) -> None:
    with story.database.write() as connection:
        erase(connection, story.messages[1].contact_id, tokens=Tokens(["test-key"]), at=story.now, actor="test")
    assert story.rows(StoredRequest) == [], "their mail is not kept either"


def is_paused(story: Story) -> None:
    pause(story.database, "news", clock=story.clock, actor="test")


@pytest.mark.parametrize("happens", [leaves, bounces, is_erased, is_paused])
def test_where_anybody_in_it_may_not_be_written_to_it_is_held(
    story: Story, keyed: Keyed, happens: Callable[[Story], None]
) -> None:
    happens(story)
    assert resolve(story) == Reconciled({}, 2)
    assert len(keyed.heard) == 1
    assert story.states() == {"unknown: cut off": 2}


def test_a_name_that_no_store_takes_does_not_keep_a_repeat_from_being_settled(story: Story, keyed: Keyed) -> None:
    (request,) = story.rows(StoredRequest)
    keyed.answered[request.key] = [Accepted("k\x00\ud800" + "x" * 2000), Accepted("k-2")]
    assert resolve(story) == Reconciled({"repeated": 2}, 0)
    assert {len(row.provider_id) for row in story.messages} == {998, 3}


def are_assumed_sent(story: Story) -> None:
    assert assume_sent(story.database, "news", clock=story.clock, actor="test", confirm=2) == 2


def are_restored(story: Story) -> None:
    """The books are those of yesterday: what was sent again since nobody knows."""
    hold(story.database, story.now - timedelta(days=1), clock=story.clock, actor="test")


@pytest.mark.parametrize("happens", [are_assumed_sent, are_restored])
def test_what_may_have_gone_another_way_is_not_repeated(
    story: Story, keyed: Keyed, happens: Callable[[Story], None]
) -> None:
    happens(story)
    assert "repeated" not in resolve(story).resolved
    assert len(keyed.heard) == 1


def test_a_request_of_an_earlier_attempt_is_not_repeated(story: Story, keyed: Keyed) -> None:
    (first,) = keyed.answered
    del keyed.answered[first]  # it never arrived
    assert retry(story.database, "news", "unknown", clock=story.clock, actor="test", confirm=2) == 2
    keyed.loses = 1
    story.run(NEWS)
    assert story.states() == {"unknown: cut off": 2}
    story.clock.advance(timedelta(minutes=10))
    assert resolve(story) == Reconciled({"repeated": 2}, 0)
    assert first not in keyed.answered, "which would have been a second mail"
    assert [key for key, _ in keyed.heard].count(first) == 1
    assert clean(story)


def test_two_who_repeat_at_once_settle_it_once(story: Story, keyed: Keyed) -> None:
    found: list[Reconciled] = []
    threads = [threading.Thread(target=lambda: found.append(resolve(story))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(one.resolved.get("repeated", 0) for one in found) == 2
    assert len({*keyed.heard}) == 1
    assert story.states() == {"accepted": 2}
    assert clean(story)


def test_a_request_in_a_living_workers_hands_is_not_repeated(story: Story, keyed: Keyed) -> None:
    with story.database.write() as connection:
        connection.execute(text("UPDATE message SET state = 'sending', reason = '', unknown_since = NULL"))
        connection.execute(text("UPDATE attempt SET outcome = '', settled_at = NULL"))
    assert resolve(story) == Reconciled({}, 0)
    assert len(keyed.heard) == 1
    assert len(story.rows(StoredRequest)) == 1


def test_a_request_that_comes_to_its_turn_too_late_is_given_back(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    story.sender = keyed = Keyed()
    story.launch(NEWS)
    story.happened("order_placed", *story.contacts(3, consents=("news",)))
    monkeypatch.setattr("evergreet.delivery.elapsed_clock", lambda: 10_000.0 if keyed.heard else 0.0)
    story.run(NEWS)
    assert len(keyed.heard) == 1
    assert sorted(story.states().values()) == [1, 2]
    assert {row.state for row in story.messages} == {"accepted", "planned"}
    assert clean(story)


def test_a_request_that_is_refused_as_a_whole_is_divided(story: Story) -> None:
    """Each smaller one is stored, with a key of its own, before it goes; the other one is never repeated."""
    story.sender = keyed = Keyed(most=50, refuses=frozenset({"c0@example.org", "c7@example.org"}))
    keyed.stored = lambda: {row.key for row in story.rows(StoredRequest)}
    story.launch(NEWS)
    story.happened("order_placed", *story.contacts(11, consents=("news",)))
    story.run(NEWS)
    assert story.states() == {"accepted": 9, "failed: 422 invalid": 2}
    taken = [address for key, body in keyed.heard if key in keyed.answered for address in body.decode().splitlines()]
    assert sorted(taken) == sorted(f"c{number}@example.org" for number in range(11) if number not in {0, 7})
    assert len({key for key, _ in keyed.heard}) == len(keyed.heard)
    assert story.rows(StoredRequest) == []
    assert clean(story)


def test_what_is_refused_of_everybody_in_the_same_words_is_our_fault(story: Story) -> None:
    story.sender = keyed = Keyed(most=50, refuses=frozenset(f"c{number}@example.org" for number in range(11)))
    story.launch(NEWS)
    story.happened("order_placed", *story.contacts(11, consents=("news",)))
    assert "the first, the middle and the last" in str(story.run(NEWS))
    assert len(keyed.heard) == 4
    assert {row.state for row in story.messages} == {"planned"}
    assert story.rows(StoredRequest) == []
    assert clean(story)


def test_a_doubt_among_smaller_requests_is_repeated_and_nobody_gets_two(story: Story) -> None:
    story.sender = keyed = Keyed(most=50, refuses=frozenset({"c0@example.org"}))
    story.launch(NEWS)
    story.happened("order_placed", *story.contacts(9, consents=("news",)))
    keyed.loses_at = 5
    story.run(NEWS)
    assert {row.state for row in story.messages} == {"accepted", "failed", "unknown", "planned"}
    story.clock.advance(timedelta(minutes=10))
    keyed.refuses = frozenset()  # also the first request would be taken by now
    assert resolve(story).unknown == 0
    story.run(NEWS)
    taken = [body for key, body in {*keyed.heard} if key in keyed.answered]
    assert sorted(b"\n".join(taken).decode().splitlines()) == [f"c{number}@example.org" for number in range(1, 9)]
    assert story.states() == {"accepted": 8, "failed: 422 invalid": 1}
    assert clean(story)


def test_a_worker_that_died_with_a_request_in_hand_leaves_it_to_be_repeated(story: Story, keyed: Keyed) -> None:
    with story.database.write() as connection:  # as a worker leaves it that dies before it settles
        connection.execute(text("UPDATE worker SET ended_at = NULL, \"end\" = ''"))
        connection.execute(text("UPDATE chunk SET state = 'open', owner_id = (SELECT MAX(id) FROM worker)"))
        connection.execute(
            text(
                "UPDATE message SET state = 'sending', reason = '', unknown_since = NULL, "
                "chunk_id = (SELECT MAX(id) FROM chunk)"
            )
        )
        connection.execute(text("UPDATE attempt SET outcome = '', settled_at = NULL"))
    assert resolve(story) == Reconciled({"repeated": 2}, 0)
    assert story.states() == {"accepted": 2}
    assert clean(story)
