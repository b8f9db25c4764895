"""What a maintenance removes, and that nobody gets another mail for it."""

import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text
from sqlmodel import col

from evergreet import maintenance
from evergreet.audit import audit
from evergreet.contracts import Kind
from evergreet.maintenance import Maintained, maintain
from models import Attempt, Contact, Event, Message, PostedMessage, Run, StoredRequest, Suppression, WorkerRow
from tests.feedback.telling import Provider
from tests.story import Story


@pytest.fixture
def old(story: Story) -> Story:
    """A run that sent two mails, three that found nothing, and one that has not ended, 100 days ago; and one today."""
    story.launch()
    story.happened("order_placed", *story.contacts(2))
    for _ in range(4):
        story.run()
        story.clock.advance(timedelta(minutes=1))
    with story.database.write() as connection:
        worker = connection.execute(
            insert(WorkerRow).values(slot=900, host="h", pid=1, started_at=story.now).returning(col(WorkerRow.id))
        ).scalar_one()
        connection.execute(insert(Run).values(campaign_id=1, worker_id=worker, started_at=story.now))
    story.clock.advance(timedelta(days=100))
    story.run()
    return story


def count(story: Story, table: type[Run | WorkerRow | Attempt | Message]) -> int:
    with story.database.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def tidy(story: Story, **options: Any) -> Maintained:
    return maintain(
        story.database, story.clock, **{"keep_days": 90, "keep_payload_days": 90, "keep_posted_days": 90, **options}
    )


def test_a_maintenance_removes_old_idle_runs_and_nothing_else(old: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "LOOKED_AT", 2)
    monkeypatch.setattr(maintenance, "REMOVED", 1)
    before = audit(old.database, old.clock)
    planned = tidy(old, keep_days=90, dry_run=True)
    assert (count(old, Run), count(old, WorkerRow)) == (6, 6)
    assert "3 runs" in planned.sentences[0]
    done = tidy(old, keep_days=90)
    assert planned.runs == done.runs == 3
    assert (count(old, Run), count(old, WorkerRow)) == (3, 6), "those stay that sent, have not ended, or are of today"
    assert (count(old, Attempt), count(old, Message)) == (2, 2)
    assert audit(old.database, old.clock) == before
    assert tidy(old, keep_days=90).runs == 0


def test_what_is_young_stays(old: Story) -> None:
    assert tidy(old, keep_days=101).runs == 0


def test_nobody_gets_another_mail_for_a_maintenance(old: Story) -> None:
    tidy(old, keep_days=1)
    old.run()
    assert len(old.sender.sent) == 2
    old.happened("order_placed", *old.contacts(1))
    old.run()
    assert len(old.sender.sent) == 3
    assert [one.findings for one in audit(old.database, old.clock)] == [()]


def test_what_providers_told_long_ago_is_emptied_and_nothing_else_changes(
    old: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "LOOKED_AT", 2)
    monkeypatch.setattr(maintenance, "REMOVED", 1)
    provider = Provider(old)
    told = [provider.event(Kind.HARD_BOUNCED), provider.event(Kind.OPENED), provider.event(Kind.UNKNOWN)]
    provider.tells(*told)
    provider.stores(provider.event(Kind.OPENED))
    request = {"connector": "another", "body": b"x", "messages": [1], "at": old.now}
    with old.database.write() as connection:
        for hours in (1, 2, 24 * 365):
            ends = old.now + timedelta(hours=hours)
            connection.execute(insert(StoredRequest).values(**request, key=str(hours), ends_at=ends))
        connection.execute(text("UPDATE provider_event SET result = 'failed: E' WHERE applied_at IS NULL"))
    old.clock.advance(timedelta(days=50))
    provider.tells(provider.event(Kind.CLICKED, url="https://x.example/"))
    old.clock.advance(timedelta(days=45))
    tables: tuple[type[Any], ...] = (Message, Attempt, Event, Contact, Suppression)
    before, books = [old.rows(table) for table in tables], audit(old.database, old.clock)
    rows = [{**row._asdict(), "payload": {}} for row in provider.stored]
    planned = tidy(old, dry_run=True)
    assert (planned.payloads, planned.requests) == (3, 2)
    assert [row.payload != {} for row in provider.stored] == [True] * 5
    done = tidy(old)
    assert (done.payloads, done.requests) == (3, 2)
    assert [row.payload != {} for row in provider.stored] == [False, False, False, True, True], "set aside, and young"
    assert [{**row._asdict(), "payload": {}} for row in provider.stored] == rows
    assert [row.key for row in old.rows(StoredRequest)] == [str(24 * 365)]
    assert provider.tells(*told).results == {}, "an event that is told again is known"
    assert [old.rows(table) for table in tables] == before
    assert audit(old.database, old.clock) == books
    assert (tidy(old).payloads, tidy(old).requests) == (0, 0)


def test_what_was_posted_long_ago_about_nobody_known_is_removed(story: Story) -> None:
    for days, name in ((91, "old"), (1, "young")):
        told = {
            "source": "import",
            "message_id": name,
            "kind": "track",
            "anonymous_id": "x",
            "name": "a",
            "content": {},
        }
        at = story.now - timedelta(days=days)
        with story.database.write() as connection:
            connection.execute(insert(PostedMessage).values(**told, at=at, received_at=at))
    assert [tidy(story, dry_run=True).posted, tidy(story).posted, tidy(story).posted] == [1, 1, 0]
    assert [row.message_id for row in story.rows(PostedMessage)] == ["young"]


def test_statistics_that_are_far_behind_are_renewed(story: Story) -> None:
    story.contacts(2000)
    if not story.database.is_sqlite:
        story.database.close()  # PostgreSQL counts what has changed at the latest when a session ends
        changed = text("SELECT n_mod_since_analyze FROM pg_stat_user_tables WHERE relname = 'contact'")
        deadline = time.monotonic() + 20
        while True:
            with story.database.read() as connection:
                if connection.execute(changed).scalar_one() or time.monotonic() > deadline:
                    break
            time.sleep(0.02)
    analyzed = tidy(story, keep_days=1).analyzed
    assert analyzed == (() if story.database.is_sqlite else ("contact",))
