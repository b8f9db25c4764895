"""Take one thing out of a true ledger, or change it: the audit fails and says what it is."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import text

from evergreet.campaign import Campaign, Email, event, local
from evergreet.campaigns import stop
from evergreet.clock import FrozenClock
from evergreet.database import Database
from evergreet.durations import days
from evergreet.errors import Misconfigured, Permanent, Retryable
from evergreet.settings import Settings
from tests.conftest import NOW
from tests.faults.conftest import postgres, sqlite
from tests.faults.stores import Store, opened
from tests.faults.typed import Typing
from tests.story import Story

HELLO = Campaign(
    name="hello",
    topic="news",
    trigger=event("signed_up"),
    steps=(Email("welcome", template="note"), Email("follow-up", template="note", after=days(3), at=local(10))),
)
OVER = Campaign(
    name="over",
    topic="news",
    trigger=event("left"),
    steps=(Email("goodbye", template="note", after=days(1)), Email("come-back", template="note", after=days(30))),
)


@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def shop(request: pytest.FixtureRequest) -> Iterator[tuple[Store, str]]:
    """A ledger with rows in every state that lasts, in several stretches; built once, copied for each test."""
    made = (
        sqlite(request.getfixturevalue("sqlite_template"))
        if request.param == "sqlite"
        else postgres(request.getfixturevalue("postgres_url"))
    )
    for store in made:
        url = store.copy()
        with opened(url) as database:
            build(database)
        yield store, url
        store.drop(url)


def build(database: Database) -> None:
    clock = FrozenClock(NOW)
    story = Story(database, clock, settings=Settings(secret_keys=("test-key",), threads=1, window=2))
    people = {
        name: story.contact(name, consents=["news"], timezone="Europe/Rome")
        for name in ("ana", "ben", "cem", "dora", "eli", "fay", "gus", "hal")
    }
    for campaign in (HELLO, OVER):
        story.launch(campaign)
    silent = story.contact("silent")  # no consent
    story.happened("left", people["ana"], people["dora"])
    for names in (("ana", "ben"), ("cem", "dora"), ("eli",)):
        story.happened("signed_up", *(people[name] for name in names))
        story.run(HELLO)
    story.sender.answers = {
        "fay@example.org": Permanent("no such user"), "gus@example.org": Retryable("lost", accepted="maybe"),
        "dora@example.org": Retryable("later"), "eli@example.org": Misconfigured("who are you?"),
    }  # fmt: skip
    story.happened("signed_up", people["fay"], people["gus"], silent)
    story.run(HELLO)
    story.run(OVER)
    clock.advance(timedelta(days=1))
    story.run(OVER)
    stop(database, "over", clock=clock, actor="test")
    story.happened("signed_up", people["hal"])
    clock.advance(timedelta(days=3))
    paused = story.contact("ivy", consents=["news"], paused_until=clock.instant + timedelta(hours=1))
    story.happened("signed_up", paused)
    story.run(HELLO)


@pytest.fixture
def url(shop: tuple[Store, str]) -> Iterator[str]:
    store, base = shop
    made = store.copy(base)
    yield made
    store.drop(made)


def change(url: str, statement: str) -> None:
    """Run a statement that no constraint holds back."""
    with opened(url) as database, database.engine.connect() as connection:
        if database.is_sqlite:
            connection.connection.driver_connection.execute("PRAGMA foreign_keys = OFF")  # type: ignore[union-attr]
        else:
            connection.execute(text("SET session_replication_role = replica"))
        changed = connection.execute(text(statement)).rowcount
        connection.commit()
        assert changed == 1, f"{changed} rows changed: {statement}"


def row(table: str, which: str, *, last: bool = False, middle: bool = False) -> str:
    """Pick one row: the first of these, the last, or one of those in between."""
    ids = f"SELECT id FROM {table} WHERE {which} ORDER BY id {'DESC' if last else 'ASC'}"
    return f"id = ({ids} LIMIT 1{' OFFSET 1' if middle else ''})"


def gone(table: str, which: str, **pick: bool) -> str:
    return f"DELETE FROM {table} WHERE {row(table, which, **pick)}"


def other(table: str, change: str, which: str, **pick: bool) -> str:
    return f"UPDATE {table} SET {change} WHERE {row(table, which, **pick)}"


HERE = "campaign_id = (SELECT id FROM campaign WHERE name = 'hello')"
THERE = "campaign_id = (SELECT id FROM campaign WHERE name = 'over')"
ACCEPTED = f"{HERE} AND state = 'accepted'"
PLANNED = f"{HERE} AND state = 'planned' AND chunk_id IS NOT NULL"
SOURCE = "SELECT message_id, number + 1, run_id, worker_id, epoch, started_at, settled_at, outcome, detail FROM attempt"

MUTATIONS = {
    "the first message": (gone("message", HERE), "due steps without a message"),
    "a message in the middle": (gone("message", HERE, middle=True), "due steps without a message"),
    "the last message": (gone("message", HERE, last=True), "due steps without a message"),
    "a message that failed": (gone("message", f"{HERE} AND state = 'failed'"), "due steps without a message"),
    "a message that was skipped": (gone("message", f"{HERE} AND state = 'skipped'"), "due steps without a message"),
    "a message that is deferred": (gone("message", f"{HERE} AND state = 'deferred'"), "due steps without a message"),
    "a message in doubt": (gone("message", f"{HERE} AND state = 'unknown'"), "due steps without a message"),
    "a message that waits to be sent": (gone("message", PLANNED), "due steps without a message"),
    "a message of a campaign that is over": (
        gone("message", f"{THERE} AND state = 'accepted'"), "due steps without a message",
    ),
    "a message that the end of its campaign skipped": (
        gone("message", f"{THERE} AND state = 'skipped'"), "due steps without a message",
    ),
    "the first enrollment": (gone("enrollment", HERE), "triggers without an enrollment"),
    "an enrollment in the middle": (gone("enrollment", HERE, middle=True), "triggers without an enrollment"),
    "the last enrollment": (gone("enrollment", HERE, last=True), "triggers without an enrollment"),
    "an enrollment of a campaign that is over": (gone("enrollment", THERE), "triggers without an enrollment"),
    "the first stretch": (gone("stretch", HERE), "stretches of the cursor are missing"),
    "a stretch in the middle": (gone("stretch", HERE, middle=True), "stretches of the cursor are missing"),
    "the last stretch": (gone("stretch", HERE, last=True), "stretches of the cursor are missing"),
    "the only stretch": (gone("stretch", THERE), "stretches of the cursor are missing"),
    "an attempt": (gone("attempt", "outcome = 'accepted'"), "messages whose attempts are not all there"),
    "an attempt that was in vain": (gone("attempt", "outcome = 'returned'"), "messages whose attempts are not all"),
    "an event that enrolled somebody": (
        gone("event", "name = 'signed_up'"), "enrollments outside every scanned stretch",
    ),
    "a chunk with work in it": (gone("chunk", f"{HERE} AND state = 'open'"), "messages in a chunk that is not there"),
    "a version": (gone("campaign_version", HERE), "of a version that is not there"),
    "where a campaign began": (
        "UPDATE campaign SET scanned_from = scanned_from - 1 WHERE name = 'hello'",
        "stretches of the cursor are missing",
    ),
    "where its cursor stands": (
        "UPDATE campaign SET scanned_to = scanned_to + 1 WHERE name = 'hello'", "stretches of the cursor are missing",
    ),
    "since when a stretch counts": (
        other("stretch", "since = (SELECT max(at) FROM stretch)", HERE), "enrollments outside every scanned stretch",
    ),
    "how many a stretch enrolled": (
        other("stretch", "enrolled = enrolled + 1", HERE), "enrollments that stretches counted otherwise",
    ),
    "when a message was due": (
        other("message", "due_at = (SELECT max(due_at) FROM message)", ACCEPTED),
        "messages with another due time than their step",
    ),
    "to whom a message goes": (
        other("message", "contact_id = (SELECT max(id) FROM contact)", ACCEPTED),
        "messages that do not fit their enrollment",
    ),
    "whose passage an enrollment is": (
        other("enrollment", "contact_id = (SELECT max(id) FROM contact)", HERE), "triggers without an enrollment",
    ),
    "which campaign a message belongs to": (
        other("message", "campaign_id = 3 - campaign_id", ACCEPTED), "messages without an enrolled step",
    ),
    "which campaign a chunk belongs to": (
        other("chunk", "campaign_id = 3 - campaign_id", f"{HERE} AND state = 'open'"),
        "messages in a chunk that is not there",
    ),
    "which step a chunk is of": (
        other("chunk", "step_key = 'x'", f"{HERE} AND state = 'open'"), "messages in a chunk of another step",
    ),
    "which version a chunk is of": (
        other("chunk", "version_id = 3 - version_id", f"{HERE} AND state = 'open'"),
        "messages in a chunk of another step",
    ),
    "which attempt it was": (
        other("attempt", "number = 7", "outcome = 'accepted'"), "messages whose attempts are not all there",
    ),
    "whose attempt it was": (
        other("attempt", "message_id = (SELECT id FROM message WHERE attempts = 0 LIMIT 1)", "outcome = 'accepted'"),
        "messages whose attempts are not all there",
    ),
    "whose enrollment a message is": (
        other("message", "enrollment_id = 99999", ACCEPTED), "messages without an enrolled step",
    ),
    "which step a message is": (other("message", "step_key = 'x'", ACCEPTED), "messages without an enrolled step"),
    "how far somebody is": (
        other("enrollment", "next_step = 'welcome'", f"{HERE} AND state = 'finished'"),
        "messages for steps that were not reached",
    ),
    "who was outside the audience": (
        other("enrollment", "state = 'excluded'", f"{HERE} AND state = 'finished'"),
        "messages without an enrolled step",
    ),
    "whether anything is left for somebody": (
        other("enrollment", "state = 'finished', next_step = NULL, next_due_at = NULL", f"{HERE} AND state = 'active'"),
        "due steps without a message",
    ),
    "when somebody's next step is due": (
        other("enrollment", "next_due_at = (SELECT max(at) FROM audit_log)", f"{HERE} AND next_due_at IS NOT NULL"),
        "enrollments with another due time than their step",
    ),
    "a second acceptance": (
        "INSERT INTO attempt (message_id, number, run_id, worker_id, epoch, started_at, settled_at, outcome, detail) "
        f"{SOURCE} WHERE " + row("attempt", "outcome = 'accepted'"),
        "messages accepted more than once",
    ),
    "an acceptance of what failed": (
        other("attempt", "outcome = 'accepted'", "outcome = 'failed'"), "messages and attempts that disagree on accept",
    ),
    "a message that was never accepted": (
        other("message", "state = 'accepted', sent_at = changed_at", f"{HERE} AND state = 'skipped'"),
        "messages and attempts that disagree on accepted",
    ),
    "an attempt that is said to go on": (
        other("attempt", "outcome = ''", "outcome = 'failed'"), "messages and attempts that disagree on sending",
    ),
    "a message in nobody's hand": (
        other("message", "state = 'sending', sent_at = changed_at", PLANNED), "messages in hand without an owner",
    ),
    "a planned message outside every chunk": (
        other("message", "chunk_id = NULL", PLANNED), "planned messages that no worker will find",
    ),
    "a chunk with work in it that is called done": (
        other("chunk", "state = 'done'", f"{HERE} AND state = 'open'"), "planned messages in a chunk that is done",
    ),
    "a change of a tally": (gone("tally", HERE), "messages that the tally counts otherwise"),
    "how many are tallied": (
        other("tally", "messages = messages + 1", f"{THERE} AND state = 'skipped'"),
        "messages that the tally counts otherwise",
    ),
    "why something that is tallied failed": (
        other("tally", "reason = 'x'", f"{HERE} AND state = 'failed'"), "messages that the tally counts otherwise",
    ),
    "which event an enrollment came of": (
        other("enrollment", "cause_event_id = 99999", HERE), "rows that refer to what is not there",
    ),
    "which worker an attempt was made by": (
        other("attempt", "worker_id = 99999", "outcome = 'failed'"), "rows that refer to what is not there",
    ),
    "a deferred message without a time": (
        other("message", "not_before = NULL", f"{HERE} AND state = 'deferred'"), "deferred messages without a time",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", MUTATIONS)
def test_the_audit_names(url: str, typing: Typing, what: str) -> None:
    statement, finding = MUTATIONS[what]
    change(url, statement)
    answer = typing(url)("audit")
    assert answer.code == 1
    assert finding in answer.out
    assert "does not add up" in answer.out


def test_the_audit_of_an_untouched_ledger_is_clean(url: str, typing: Typing) -> None:
    answer = typing(url)("audit")
    assert answer.code == 0
    assert "does not add up" not in answer.out
