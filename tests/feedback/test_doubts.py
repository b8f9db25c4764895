"""A doubt ends when the provider tells of the message: early, late, after a death, after a restore."""

from datetime import timedelta

from sqlalchemy import text

from evergreet.audit import audit
from evergreet.campaign import TRANSACTIONAL, Campaign, Email, event
from evergreet.contracts import Kind
from evergreet.durations import hours
from evergreet.errors import Retryable
from evergreet.reconcile import Reconciled, hold, reconcile
from tests.feedback.telling import Provider
from tests.story import THANKS, Story


def doubt(story: Story, campaign: Campaign = THANKS) -> None:
    """One message whose fate is unknown, of a provider that cannot be asked."""
    story.launch(campaign)
    story.sender.knows = False
    story.sender.answers["ana@example.org"] = Retryable("cut off", accepted="maybe")
    story.happened("order_placed", story.contact("ana"))
    story.run(campaign)
    story.sender.answers.clear()
    assert story.states() == {"unknown: cut off": 1}
    story.clock.advance(timedelta(minutes=10))


def resolve(story: Story) -> Reconciled:
    return reconcile(story.database, story.sender, story.settings, story.clock)


def clean(story: Story) -> bool:
    return all(one.clean for one in audit(story.database, story.clock))


def test_what_is_told_resolves_the_doubt_at_once(story: Story, provider: Provider) -> None:
    doubt(story)
    assert provider.tells(provider.event(Kind.DELIVERED, provider_id="x-1")).resolved == 1
    (row,) = story.messages
    assert (row.state, row.reason, row.resolution, row.provider_id) == ("accepted", "", "webhook", "x-1")
    assert row.delivery == "delivered"
    assert [(a.outcome, a.detail) for a in story.attempts] == [("accepted", "told of by the provider's webhook")]
    assert resolve(story) == Reconciled({}, 0)
    assert clean(story)


def test_an_unknown_word_proves_nothing(story: Story, provider: Provider) -> None:
    doubt(story)
    provider.tells(provider.event(Kind.UNKNOWN))
    assert resolve(story) == Reconciled({}, 1)


def test_what_is_told_while_a_worker_sends_that_then_dies_is_not_lost(story: Story, provider: Provider) -> None:
    story.launch()
    story.happened("order_placed", story.contact("ana"))
    story.run()
    story.sender.knows = False
    with story.database.write() as connection:  # as a worker leaves it that dies before it settles
        connection.execute(text("UPDATE worker SET ended_at = NULL, \"end\" = ''"))
        connection.execute(text("UPDATE chunk SET state = 'open', owner_id = (SELECT MAX(id) FROM worker)"))
        connection.execute(text("UPDATE message SET state = 'sending', chunk_id = (SELECT MAX(id) FROM chunk)"))
        connection.execute(text("UPDATE attempt SET outcome = '', settled_at = NULL"))
        connection.execute(text("DELETE FROM tally"))
    assert provider.tells(provider.event(Kind.DELIVERED)).waiting == 1
    story.clock.advance(timedelta(minutes=10))
    assert resolve(story) == Reconciled({"webhook": 1}, 0)
    assert story.states() == {"accepted": 1}
    assert clean(story)


def test_what_was_told_before_a_row_came_into_doubt_counts(story: Story, provider: Provider) -> None:
    doubt(story)
    with story.database.write() as connection:
        connection.execute(
            text("UPDATE message SET state = 'failed', reason = 'x', sent_at = NULL, unknown_since = NULL")
        )
    provider.tells(provider.event(Kind.OPENED))
    with story.database.write() as connection:
        connection.execute(
            text("UPDATE message SET state = 'unknown', sent_at = changed_at, unknown_since = changed_at")
        )
    assert resolve(story) == Reconciled({"webhook": 1}, 0)
    assert clean(story)


def test_what_was_given_back_to_be_repeated_is_not_repeated_once_it_is_told_of(
    story: Story, provider: Provider
) -> None:
    again = Campaign(
        name="thanks", topic="orders", trigger=event("order_placed", key="order_id"),
        steps=(Email("receipt", template="note", purpose=TRANSACTIONAL, resend_after=hours(1)),),
    )  # fmt: skip
    doubt(story, again)
    told = provider.event(Kind.ACCEPTED)
    story.clock.advance(timedelta(hours=2))
    assert resolve(story).resolved == {"resend": 1}
    assert provider.tells(told).resolved == 1
    story.run(again)
    assert story.sender.sent == []
    assert story.states() == {"accepted": 1}
    assert clean(story)


def test_after_a_restore_the_row_is_found_by_its_key_even_when_it_is_made_later(
    story: Story, provider: Provider
) -> None:
    story.launch()
    story.happened("order_placed", story.contact("ana"), order_id="A-1")
    story.run()
    told, later = provider.event(Kind.DELIVERED), provider.event(Kind.OPENED)
    with story.database.write() as connection:  # the backup was made before it was enrolled
        for table in ("attempt", "message", "enrollment", "stretch", "tally"):
            connection.execute(text(f"DELETE FROM {table}"))
        connection.execute(text("UPDATE campaign SET scanned_to = scanned_from"))
    story.clock.advance(timedelta(minutes=10))
    assert provider.tells(told).results == {"no_such_row": 1}
    hold(story.database, story.now - timedelta(hours=1), clock=story.clock, actor="test")
    story.clock.advance(timedelta(minutes=10))
    story.run()
    with story.database.write() as connection:
        connection.execute(text("UPDATE message SET id = id + 1000"))
    assert story.states() == {"unknown: held_after_restore": 1}
    story.sender.knows = False
    story.clock.advance(timedelta(minutes=10))
    assert resolve(story) == Reconciled({"webhook": 1}, 0)
    assert [row.message_id for row in provider.stored] == [story.messages[0].id]
    assert provider.tells(later).results == {"no_such_row": 1}, "its row is not in doubt any more: nothing to resolve"
    assert clean(story)
