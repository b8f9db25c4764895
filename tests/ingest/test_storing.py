"""What posted messages leave in the store: contacts, events, who is meant by an id, and what waits."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from evergreet import consent, erasure
from evergreet.clock import FrozenClock
from evergreet.database import Database
from evergreet.importing.rejects import Rejected
from evergreet.ingest.messages import Message, Request, read_message
from evergreet.ingest.storing import store
from evergreet.tokens import Tokens
from tests.conftest import NOW


class Posting:
    """Stores messages as a request does, each with an id of its own unless it has one."""

    def __init__(self, database: Database, clock: FrozenClock) -> None:
        self.database = database
        self.clock = clock
        self.count = 0

    def __call__(self, *told: dict[str, Any]) -> dict[str, Rejected]:
        with self.database.write() as connection:
            return store(connection, self._read(told), "import", self.clock, self.clock.instant)

    def _read(self, told: Sequence[dict[str, Any]]) -> list[Message]:
        messages = []
        for one in told:
            self.count += 1
            read = read_message(one["type"], {"messageId": f"m{self.count}", **one}, Request(self.clock.instant))
            assert read is not None
            messages.append(read)
        return messages

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]

    def contacts(self) -> dict[str, str | None]:
        """Return addresses by the contacts' own ids."""
        return {str(name): email for name, email in self.query("SELECT source_id, email FROM contact")}

    def events(self) -> list[tuple[Any, ...]]:
        """Return the names of events, each with its contact's own id, as they were stored."""
        return self.query("SELECT c.source_id, e.name FROM event e JOIN contact c ON c.id = e.contact_id ORDER BY e.id")


@pytest.fixture
def post(database: Database, clock: FrozenClock) -> Posting:
    return Posting(database, clock)


def track(name: str, user: str | None = None, **told: Any) -> dict[str, Any]:
    return {"type": "track", "event": name, "userId": user, **told}


def identify(user: str | None = None, anonymous: str | None = None, **traits: Any) -> dict[str, Any]:
    return {"type": "identify", "userId": user, "anonymousId": anonymous, "traits": traits}


def alias(previous: str, user: str) -> dict[str, Any]:
    return {"type": "alias", "previousId": previous, "userId": user}


def test_a_hundred_messages_are_stored_in_as_many_statements_as_one(post: Posting) -> None:
    seen: list[str] = []
    event.listen(post.database.engine, "after_cursor_execute", lambda *told: seen.append(told[2]))
    post(identify("u0", email="u0@example.com"), track("a", "u0"))  # the first makes temporary tables
    counts = []
    for people in (1, 50):
        seen.clear()
        batch = [identify(f"n{people}-{n}", email=f"{people}-{n}@example.com") for n in range(people)]
        assert post(*batch, *(track("a", f"n{people}-{n}", timestamp=NOW.isoformat()) for n in range(people))) == {}
        counts.append(len(seen))
    assert counts[0] == counts[1] < 30, seen
    assert len(post.events()) == 52


def test_the_same_ids_again_do_nothing_whatever_they_say_now(post: Posting) -> None:
    first = [identify("u1", plan="free"), track("a", "u1"), track("b", None, anonymousId="x"), alias("old", "u1")]
    named = [{**one, "messageId": f"id{place}"} for place, one in enumerate(first)]
    post(*named, named[1])
    post.clock.advance(timedelta(minutes=1))
    before = [post.query(f"SELECT * FROM {table}") for table in ("contact", "event", "contact_alias", "posted_message")]
    post({**named[0], "traits": {"plan": "pro"}}, {**named[1], "event": "c"}, *named[2:])
    assert before == [
        post.query(f"SELECT * FROM {table}") for table in ("contact", "event", "contact_alias", "posted_message")
    ]
    assert post.events() == [("u1", "a")]


def test_what_somebody_unknown_did_waits_until_they_say_who_they_are(post: Posting) -> None:
    early = (NOW - timedelta(days=1)).isoformat()
    post(
        track("seen", anonymousId="x", timestamp=early),
        identify(None, "x", color="red"),
        track("other", anonymousId="y"),
    )
    assert (post.contacts(), post.events()) == ({}, [])
    post(track("login", "u1", anonymousId="x"))
    assert post.events() == [("u1", "seen"), ("u1", "login")]
    assert post.query("SELECT attributes FROM contact") in ([('{"color":"red"}',)], [({"color": "red"},)])
    post(track("later", anonymousId="x"))
    assert post.events()[-1] == ("u1", "later")
    assert post.query("SELECT name FROM posted_message WHERE anonymous_id IS NOT NULL") == [("other",)]
    post(track("elsewhere", "u2", anonymousId="x"), track("now", anonymousId="x"))
    assert post.events()[-1] == ("u2", "now"), "the last to say who they are is meant"


def test_what_waits_is_taken_by_a_batch_that_tells_in_any_order(post: Posting) -> None:
    post(track("first", anonymousId="x"), identify("u1", "x", email="maya@example.com"), track("last", "u1"))
    assert post.events() == [("u1", "first"), ("u1", "last")]


def test_an_alias_gives_a_contact_another_id(post: Posting) -> None:
    post(alias("new-prev", "new"), track("a", "new-prev"))
    post(track("b", "old"))
    post(alias("old", "renamed"), track("c", "renamed"))
    assert post.events() == [("new", "a"), ("old", "b"), ("old", "c")]
    post(alias("old", "new"), track("d", "old"), track("e", "renamed"))
    assert post.events()[-2:] == [("new", "d"), ("old", "e")], "both are known: what was stays, the id means the other"
    assert set(post.contacts()) == {"new", "old"}


def test_who_gave_an_address_before_having_an_account_is_one_contact(post: Posting) -> None:
    post(identify(None, "x", email="Maya@Example.com"), track("a", anonymousId="x"))
    post(identify("u1", None, email="maya@example.com", plan="pro"), track("b", "u1"))
    assert post.contacts() == {"maya@example.com": "maya@example.com"}
    assert post.events() == [("maya@example.com", "a"), ("maya@example.com", "b")]
    post(identify(None, "z", email="maya@example.com"), identify("u2", None, email="ben@example.com"))
    post(identify(None, "z2", email="ben@example.com"))
    assert post.contacts() == {"maya@example.com": "maya@example.com", "u2": "ben@example.com"}


def test_a_contact_that_was_imported_is_the_same_and_the_rules_of_consent_hold(post: Posting) -> None:
    post({**identify("u1", email="maya@example.com"), "traits": {"email": "maya@example.com", "consent.news": True}})
    ((contact,),) = post.query("SELECT id FROM contact")
    with post.database.write() as connection:
        at = NOW + timedelta(hours=1)
        consent.unsubscribe(connection, contact, "news", at=at, source="page", wording="")
    post.clock.advance(timedelta(hours=2))
    post(
        identify("u1", consent={"news": True}), identify("u2", email="b@example.com", unsubscribed=True, stage="loyal")
    )
    assert post.query("SELECT granted, source FROM consent ORDER BY id") == [(1, "identify"), (0, "page")]
    assert post.query("SELECT address, scope FROM suppression") == [("b@example.com", "marketing")]
    assert post.query("SELECT stage FROM contact WHERE stage IS NOT NULL") == []


def test_one_message_that_cannot_be_stored_keeps_no_other_from_it(post: Posting) -> None:
    told = [identify("u1", unsubscribed="maybe"), track("a", "u1"), identify("u2", email="no address", plan="pro")]
    assert {name: problem.reason for name, problem in post(*told).items()} == {"m1": "not yes or no"}
    assert (post.events(), post.contacts()) == ([("u1", "a")], {"u1": None, "u2": None})


def test_somebody_who_was_erased_stays_so_and_no_id_tells_their_address(post: Posting) -> None:
    post(identify("u1", email="maya@example.com"), alias("maya@example.com", "u1"), alias("old", "u1"))
    ((contact,),) = post.query("SELECT id FROM contact")
    with post.database.write() as connection:
        erasure.erase(connection, contact, tokens=Tokens(["a long enough key"]), at=NOW, actor="test")
    assert post.query("SELECT source_id FROM contact_alias") == [("old",)]
    post(identify("old", email="maya@example.com"), track("a", "old"))
    assert post.contacts() == {"u1": None}
