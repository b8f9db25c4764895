"""Doubts: asked about, repeated only where somebody asked for it, held in sight otherwise."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text, update

from evergreet.audit import audit
from evergreet.campaign import TRANSACTIONAL, Campaign, Email, send_window
from evergreet.campaigns import stop, version_of
from evergreet.composing import Composer, read_letters
from evergreet.durations import hours
from evergreet.errors import EvergreetError, Permanent, Retryable
from evergreet.reconcile import Reconciled, assume_sent, hold, reconcile, retry
from models import Message
from tests.story import THANKS, Story


def doubt(story: Story, *, arrived: bool, campaign: Campaign = THANKS) -> None:
    """One message whose fate is unknown; `arrived` says whether the provider has it all the same."""
    story.launch(campaign)
    story.sender.answers["ana@example.org"] = Retryable("cut off", accepted="maybe")
    story.happened("order_placed", story.contact("ana"))
    story.run(campaign)
    story.sender.answers.clear()
    if arrived:
        with story.database.read() as connection:
            row = story.messages[0]
            version = version_of(connection, row.version_id)
            step = version.campaign.steps[0]
            assert isinstance(step, Email)
            composer = Composer(connection, version, step, story.settings, story.engine().tokens)
        with story.database.write() as connection:
            connection.execute(update(Message).values(state="planned", chunk_id=1, sent_at=None, unknown_since=None))
            letter = read_letters(connection, 1)[0]
            was = {"state": "unknown", "chunk_id": None, "sent_at": row.sent_at, "unknown_since": row.unknown_since}
            connection.execute(update(Message).values(was))
        story.sender.sent.append(composer.compose(letter, story.now))
    story.clock.advance(timedelta(minutes=10))


def resolve(story: Story) -> Reconciled:
    return reconcile(story.database, story.sender, story.settings, story.clock)


def clean(story: Story) -> bool:
    return all(one.clean for one in audit(story.database, story.clock))


def test_a_message_that_the_provider_has_becomes_accepted(story: Story) -> None:
    doubt(story, arrived=True)
    assert resolve(story) == Reconciled({"found": 1}, 0)
    assert story.states() == {"accepted": 1}
    assert story.messages[0].resolution == "found"
    assert clean(story)


def test_a_message_that_the_provider_certainly_lacks_is_sent(story: Story) -> None:
    doubt(story, arrived=False)
    assert resolve(story) == Reconciled({"not_found": 1}, 0)
    story.run()
    assert story.sender.recipients == ["ana@example.org"]
    assert [attempt.outcome for attempt in story.attempts] == ["returned", "accepted"]
    assert clean(story)


def test_a_provider_that_cannot_say_leaves_it_unknown(story: Story) -> None:
    doubt(story, arrived=False)
    story.sender.knows = False
    assert resolve(story) == Reconciled({}, 1)
    assert story.states() == {"unknown: cut off": 1}


def test_nothing_is_asked_while_a_hand_over_may_still_be_on_its_way(story: Story) -> None:
    doubt(story, arrived=False)
    story.clock.advance(-timedelta(minutes=9))
    assert resolve(story) == Reconciled({}, 1)


def test_a_step_that_opted_in_is_repeated_once_after_its_time(story: Story) -> None:
    eager = Campaign(
        name="eager",
        trigger=THANKS.trigger,
        steps=(Email("receipt", template="note", purpose=TRANSACTIONAL, resend_after=hours(1)),),
    )
    doubt(story, arrived=False, campaign=eager)
    story.sender.knows = False
    assert resolve(story).resolved == {}
    story.clock.advance(timedelta(hours=1))
    assert resolve(story).resolved == {"resend": 1}
    story.sender.answers["ana@example.org"] = Retryable("cut off again", accepted="maybe")
    story.run(eager)
    story.clock.advance(timedelta(days=1))
    assert resolve(story) == Reconciled({}, 1), "once"
    assert [attempt.number for attempt in story.attempts] == [1, 2]
    assert clean(story)


def test_assumed_sent_stays_unknown_and_is_never_repeated(story: Story) -> None:
    doubt(story, arrived=False)
    assert assume_sent(story.database, "thanks", clock=story.clock, actor="test", confirm=None) == 1
    assert story.messages[0].resolution is None
    with pytest.raises(EvergreetError, match="There are 1 unknown messages, not 2"):
        assume_sent(story.database, "thanks", clock=story.clock, actor="test", confirm=2)
    assume_sent(story.database, "thanks", clock=story.clock, actor="test", confirm=1)
    assert resolve(story) == Reconciled({}, 0)
    assert story.states() == {"unknown: cut off": 1}


def test_failed_messages_are_counted_and_then_tried_again(story: Story) -> None:
    story.launch()
    story.sender.answers["ana@example.org"] = Permanent("554 blocked by mistake")
    story.happened("order_placed", story.contact("ana"))
    story.run()
    story.sender.answers.clear()
    assert retry(story.database, "thanks", "failed", clock=story.clock, actor="test", confirm=None) == 1
    assert story.run().attempted == {}
    assert retry(story.database, "thanks", "failed", clock=story.clock, actor="test", confirm=1) == 1
    assert story.run().attempted == {"accepted": 1}
    assert [attempt.outcome for attempt in story.attempts] == ["failed", "accepted"]
    assert clean(story)


def test_accepted_messages_cannot_be_tried_again(story: Story) -> None:
    with pytest.raises(EvergreetError, match="only failed and unknown"):
        retry(story.database, "thanks", "accepted", clock=story.clock, actor="test", confirm=None)


def test_after_a_restore_what_was_due_since_the_backup_is_unknown_and_not_sent(story: Story) -> None:
    """The backup was made before these were sent; afterwards the events are imported again."""
    story.launch()
    backup = story.now
    story.happened("order_placed", story.contact("ana"))
    story.clock.advance(timedelta(hours=1))
    assert hold(story.database, backup, clock=story.clock, actor="test") == 0, "nothing is planned yet"
    story.run()
    assert story.sender.sent == []
    assert story.states() == {"unknown: held_after_restore": 1}
    story.clock.advance(timedelta(minutes=1))
    story.happened("order_placed", story.contact("ben"))
    story.run()
    assert story.sender.recipients == ["ben@example.org"], "what is due after the restore is sent"
    assert clean(story)


def test_rows_that_were_pending_in_the_backup_are_held_too(story: Story) -> None:
    story.launch()
    story.sender.answers["ana@example.org"] = Retryable("busy")
    story.happened("order_placed", story.contact("ana"))
    story.run()
    story.clock.advance(timedelta(hours=1))
    assert hold(story.database, story.now - timedelta(minutes=5), clock=story.clock, actor="test") == 1
    assert story.states() == {"unknown: held_after_restore": 1}
    assert clean(story)


def test_a_row_is_held_whose_address_somebody_else_was_written_to_since(story: Story) -> None:
    """It was given back; then another contact with this address had the same occurrence."""
    story.launch()
    story.sender.answers["x@example.org"] = Retryable("busy")
    story.happened("order_placed", story.contact("ana", address="x@example.org"), order_id="1")
    story.run()
    story.sender.answers.clear()
    story.happened("order_placed", story.contact("ben", address="x@example.org"), order_id="1")
    story.run()
    assert story.states() == {"accepted": 1, "planned: busy": 1}
    story.clock.advance(timedelta(hours=1))
    assert hold(story.database, story.now - timedelta(minutes=5), clock=story.clock, actor="test") == 1
    assert story.states() == {"accepted": 1, "unknown: held_after_restore": 1}
    assert clean(story)


def test_a_held_message_is_found_by_its_key_although_the_row_is_new(story: Story) -> None:
    story.launch()
    story.happened("order_placed", story.contact("ana"), order_id="A-1")
    story.run()
    sent = list(story.sender.sent)
    with story.database.write() as connection:
        for table in ("attempt", "message", "enrollment", "stretch", "tally"):
            connection.execute(text(f"DELETE FROM {table}"))
        connection.execute(text("UPDATE campaign SET scanned_to = scanned_from"))
    story.clock.advance(timedelta(minutes=10))
    hold(story.database, story.now - timedelta(hours=1), clock=story.clock, actor="test")
    story.clock.advance(timedelta(minutes=10))
    story.run()
    assert story.states() == {"unknown: held_after_restore": 1}
    assert resolve(story).resolved == {"found": 1}
    assert story.sender.sent == sent
    assert clean(story)


def test_a_late_event_answered_after_the_backup_is_held_although_it_was_due_before(story: Story) -> None:
    story.launch()
    ana, ben = story.contact("ana"), story.contact("ben")
    launched = story.now
    story.clock.advance(timedelta(days=5))
    backup = story.now - timedelta(hours=2)
    hold(story.database, backup, clock=story.clock, actor="test")
    story.happened("order_placed", ana, at=backup - timedelta(hours=1))
    story.happened("order_placed", ben, at=launched)  # too late already when the backup was made
    story.run()
    assert story.sender.sent == []
    assert story.states() == {"unknown: held_after_restore": 1, "skipped: too_late": 1}


def test_what_waited_for_its_window_past_its_lateness_is_held_as_well(story: Story) -> None:
    """Due on a Tuesday, sent on Monday after the backup: it was in time then, so it may have gone."""
    step = replace(THANKS.steps[0], window=send_window("mon", 9, 17))
    mondays = replace(THANKS, steps=(step,))
    story.launch(mondays)
    story.happened("order_placed", story.contact("ana"))
    story.clock.instant = datetime(2026, 3, 16, 10, tzinfo=UTC)
    hold(story.database, datetime(2026, 3, 16, 8, tzinfo=UTC), clock=story.clock, actor="test")
    story.run(mondays)
    assert story.states() == {"unknown: held_after_restore": 1}
    assert story.sender.sent == []


def test_a_doubt_that_is_resolved_after_the_stop_is_not_planned_again(story: Story) -> None:
    doubt(story, arrived=False)
    stop(story.database, "thanks", clock=story.clock, actor="test")
    resolve(story)
    assert story.states() == {"skipped: campaign_stopped": 1}
    story.launch()
    story.run()
    assert story.sender.sent == []
    assert clean(story)


def test_a_stopped_campaign_is_not_tried_again(story: Story) -> None:
    doubt(story, arrived=False)
    stop(story.database, "thanks", clock=story.clock, actor="test")
    with pytest.raises(EvergreetError, match="sends nothing more"):
        retry(story.database, "thanks", "unknown", clock=story.clock, actor="test", confirm=1)


def test_what_was_assumed_sent_is_not_among_those_to_try_again(story: Story) -> None:
    doubt(story, arrived=False)
    assume_sent(story.database, "thanks", clock=story.clock, actor="test", confirm=1)
    assert retry(story.database, "thanks", "unknown", clock=story.clock, actor="test", confirm=None) == 0


def test_what_a_dead_worker_had_in_hand_is_unknown_before_anything_is_asked(story: Story) -> None:
    story.launch()
    story.happened("order_placed", story.contact("ana"))
    story.run()
    with story.database.write() as connection:  # as a worker leaves it that dies before it settles
        connection.execute(text("UPDATE worker SET ended_at = NULL, \"end\" = ''"))
        connection.execute(text("UPDATE chunk SET state = 'open', owner_id = (SELECT MAX(id) FROM worker)"))
        connection.execute(text("UPDATE message SET state = 'sending', chunk_id = (SELECT MAX(id) FROM chunk)"))
        connection.execute(text("UPDATE attempt SET outcome = '', settled_at = NULL"))
        connection.execute(text("DELETE FROM tally"))
    story.clock.advance(timedelta(minutes=10))
    assert resolve(story) == Reconciled({"found": 1}, 0)
    assert clean(story)
