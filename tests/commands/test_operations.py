"""The operators' commands as a person types them, on the embedded default."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from evergreet.cli import app
from evergreet.clock import FrozenClock
from evergreet.database import Database
from evergreet.durations import days
from evergreet.errors import EvergreetError, Permanent, Retryable
from evergreet.worker import Worker
from tests.story import THANKS, Story


@pytest.fixture
def store(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Story:
    """A ledger with one accepted, one failed and one unknown message."""
    monkeypatch.setenv("EVERGREET_DATABASE_URL", sqlite_url)
    story = Story(Database(sqlite_url), FrozenClock(datetime.now(UTC) - timedelta(hours=1)))
    story.launch()
    story.sender.answers = {"c1@example.org": Permanent("554 no"), "c2@example.org": Retryable("?", accepted="maybe")}
    story.happened("order_placed", *story.contacts(3))
    story.run()
    return story


def evergreet(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_a_clean_audit_exits_with_0_and_names_the_figures(store: Story) -> None:
    result = evergreet("audit")
    assert result.exit_code == 0
    assert "thanks: clean. 3 enrollments, 3 messages due, 3 in the ledger." in result.output


def test_a_ledger_that_lost_a_message_exits_with_1_and_names_it(store: Story) -> None:
    with store.database.write() as connection:
        connection.execute(text("DELETE FROM attempt WHERE message_id = 2"))
        connection.execute(text("DELETE FROM message WHERE id = 2"))
    result = evergreet("audit", "--json")
    assert result.exit_code == 1
    (found,) = json.loads(result.output)
    assert found["clean"] is False
    assert found["findings"] == [
        "due steps without a message (1): enrollment 2 receipt",
        "messages that the tally counts otherwise (1): failed 554 no: 0 there, 1 tallied",
    ]


def test_one_campaign_is_audited_whatever_the_others_lack(store: Story) -> None:
    later = replace(THANKS, name="later", steps=(replace(THANKS.steps[0], after=days(1)),))
    store.launch(later)
    store.happened("order_placed", *store.contacts(2))
    store.run(later)
    with store.database.write() as connection:
        connection.execute(text("DELETE FROM attempt WHERE message_id = 2"))
    assert evergreet("audit").exit_code == 1
    result = evergreet("audit", "--campaign", "later")
    assert result.exit_code == 0
    assert "later: clean. 2 enrollments, 0 messages due, 0 in the ledger." in result.output
    assert "thanks" not in result.output
    assert isinstance(evergreet("audit", "--campaign", "latter").exception, EvergreetError)


def test_failed_messages_are_retried_with_the_count_that_was_shown(store: Story) -> None:
    assert "1 failed messages; nothing was changed" in evergreet("retry", "thanks").output
    wrong = evergreet("retry", "thanks", "--confirm", "5")
    assert isinstance(wrong.exception, EvergreetError)
    assert "1 failed messages are planned again" in evergreet("retry", "thanks", "--confirm", "1").output
    assert store.states() == {"accepted": 1, "planned": 1, "unknown: ?": 1}


def test_the_report_says_how_doubts_ended_and_what_is_held_and_why(store: Story) -> None:
    held, answered = evergreet("reconcile", "--report"), json.loads(evergreet("reconcile", "--report", "--json").output)
    assert "Held" in held.output
    (one,) = answered["held"]
    assert (one["campaign"], one["step"], one["reason"], one["messages"]) == ("thanks", "receipt", "?", 1)
    assert one["ends"].startswith("nothing by itself")
    assert datetime.fromisoformat(one["oldest"]) == store.now
    assert answered["resolved"] == []
    evergreet("reconcile", "--assume-sent", "thanks", "--confirm", "1")
    answered = json.loads(evergreet("reconcile", "--report", "--json").output)
    assert answered["held"] == []
    assert [(one["resolution"], one["messages"]) for one in answered["resolved"]] == [("assumed_sent", 1)]
    assert "assumed_sent" in evergreet("reconcile", "--report").output
    assert "No message was ever in doubt" not in evergreet("reconcile", "--report").output


def test_unknown_messages_are_shown_and_may_be_taken_as_sent(store: Story) -> None:
    assert "still unknown: 1" in evergreet("reconcile").output
    assert "1 unknown messages; nothing was changed" in evergreet("reconcile", "--assume-sent", "thanks").output
    assert "taken as sent" in evergreet("reconcile", "--assume-sent", "thanks", "--confirm", "1").output
    nothing = {"resolved": {}, "unknown": 0, "set_aside": 0}
    assert json.loads(evergreet("reconcile", "--json").output) == nothing


def test_workers_are_listed_with_what_they_hold(store: Story) -> None:
    assert "No worker is at work." in evergreet("workers").output
    with Worker.open(store.database, store.clock) as worker:
        (listed,) = json.loads(evergreet("workers", "--json").output)
    assert (listed["id"], listed["alive"], listed["chunks"]) == (worker.id, True, 0)


def test_hold_says_how_many_are_unknown_now(store: Story) -> None:
    store.happened("order_placed", *store.contacts(2))
    assert "0 messages are unknown now" in evergreet("hold", "--since", "2h").output
    future = evergreet("hold", "--since", "2999-01-01")
    assert "lies in the future" in str(future.exception)


def test_a_maintenance_says_what_it_would_remove_before_it_does(store: Story) -> None:
    store.run()  # finds nothing to do
    with store.database.write() as connection:
        connection.execute(text("UPDATE run SET ended_at = 0"))
    assert "1 runs that ended before" in evergreet("maintain", "--dry-run").output
    assert json.loads(evergreet("maintain", "--json").output)["runs"] == 1
    assert "0 runs that ended before" in evergreet("maintain").output
