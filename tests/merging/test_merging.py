"""Contacts that are one person: nobody gets twice what either got, a no of either holds, and all can be undone."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from sqlmodel import col

from evergreet.audit import audit
from evergreet.campaign import TRANSACTIONAL, Campaign, Email, event, send_window
from evergreet.clock import FrozenClock
from evergreet.consent import resubscribe, suppress, unsubscribe, unsubscribe_everything
from evergreet.contracts import CrmContact, EmailMessage, Kind, Outcome, ProviderEvent, Verdict
from evergreet.crm.storing import Rules, store
from evergreet.database import Database, exclusive, ingest_position
from evergreet.durations import days
from evergreet.erasure import erase
from evergreet.errors import DataError, Retryable
from evergreet.feedback.applying import apply_waiting
from evergreet.feedback.storing import store as store_events
from evergreet.merging.alike import count, merge_alike
from evergreet.merging.merging import MOVING, alone, merge
from evergreet.merging.showing import merges
from evergreet.merging.undoing import undo
from evergreet.preferences import preferences_of
from evergreet.reconcile import reconcile
from evergreet.tokens import Tokens
from models import Consent, Contact, ContactMerge, CrmCursor, CrmRow, Enrollment, Event, Message, Suppression
from tests.conftest import NOW
from tests.story import THANKS, Recorder, Story

ONCE = Campaign(
    name="welcome", topic="news", trigger=event("signed_up"), re_entry="once",
    steps=(
        Email("hello", template="note"),
        Email("later", template="note", after=days(2)),
    ),
)  # fmt: skip
LATER = Campaign(
    name="care", topic="orders", trigger=event("order_placed", key="order_id"),
    steps=(Email("check", template="note", purpose=TRANSACTIONAL, after=days(1)),),
)  # fmt: skip


def joined(story: Story, loser: int, survivor: int) -> int:
    with story.database.write() as connection:
        alone(connection)
        return merge(connection, loser, survivor, found_by="hand", actor="test", now=story.now)


def undone(story: Story, number: int) -> int:
    with story.database.write() as connection:
        alone(connection)
        return undo(connection, number, actor="test", clock=story.clock, now=story.now)


def rows(story: Story, table: Any, *which: Any) -> list[Any]:
    with story.database.read() as connection:
        return list(connection.execute(select(table.__table__).where(*which).order_by(col(table.id))))


def content(story: Story) -> list[Any]:
    """All contacts as they are, but for when they were written last."""
    passing = {"changed_at", "position", "content_hash"}
    return [{name: v for name, v in row._mapping.items() if name not in passing} for row in rows(story, Contact)]


def owners(story: Story) -> list[Any]:
    """Whose every row is."""
    tables = [table for table in (*MOVING, Consent, Enrollment, Message) if table.__tablename__ != "contact_alias"]
    return [(table.__tablename__, row.id, row.contact_id) for table in tables for row in rows(story, table)]


def clean(story: Story) -> bool:
    found = [finding for one in audit(story.database, story.clock) for finding in one.findings]
    assert found == []
    return True


def test_nobody_gets_twice_what_either_got_and_undone_it_is_as_it_was(story: Story) -> None:
    for campaign in (THANKS, ONCE, LATER):
        story.launch(campaign)
    ana = story.contact(
        "ana", consents=["news", "orders"], stage="discovery", stage_since=story.now - timedelta(days=9)
    )
    ann = story.contact("ann", consents=["news", "orders"], stage="purchase", stage_since=story.now - timedelta(days=3))
    story.happened("signed_up", ana, ann)
    story.happened("order_placed", ann, order_id="7")
    story.happened("order_placed", ana, order_id="8")
    for campaign in (THANKS, ONCE, LATER):
        story.run(campaign)
    assert story.sender.recipients == ["ana@example.org"] * 2 + ["ann@example.org"] * 2
    assert clean(story)
    before = content(story), owners(story), rows(story, Enrollment)

    number = joined(story, ann, ana)
    assert clean(story)
    survivor, other = rows(story, Contact)
    assert (survivor.stage, survivor.address) == ("purchase", "ana@example.org")
    assert (other.merged_into, other.address, other.attributes, other.stage) == (ana, None, {}, None)
    (kept,) = rows(story, Enrollment, col(Enrollment.contact_id) == ann)
    assert (kept.occurrence, kept.state, kept.reason) == ("once", "stopped", "merged")
    assert {row.contact_id for row in rows(story, Event)} == {ana}
    assert len(rows(story, Message, col(Message.contact_id) == ana)) == 3

    assert undone(story, number) == ann
    assert clean(story)
    assert (content(story), owners(story), rows(story, Enrollment)) == before

    number = joined(story, ann, ana)
    story.sender.sent.clear()
    story.clock.advance(timedelta(hours=1))
    story.happened("signed_up", ana)
    for _ in range(2):
        story.clock.advance(timedelta(hours=24))
        for campaign in (ONCE, THANKS, LATER):
            story.run(campaign)
    # Of two welcomes one goes on, and each order is looked after once: at the address that is left.
    assert story.sender.recipients == ["ana@example.org"] * 3
    assert clean(story)
    story.happened("order_placed", ana, order_id="9")  # whose it was nobody can tell: it stays
    story.run(THANKS)
    undone(story, number)
    assert clean(story)
    for campaign in (ONCE, THANKS, LATER):
        story.run(campaign)
    assert clean(story)
    own = [row.properties["order_id"] for row in rows(story, Event, col(Event.contact_id) == ann) if row.properties]
    assert own.count("7") == 1
    assert "9" not in own


def test_of_two_enrollments_that_would_not_have_begun_so_near_each_other_one_goes_on(story: Story) -> None:
    basket = Campaign(
        name="basket", topic="orders", trigger=event("cart_left"), re_entry=days(3),
        steps=tuple(
            Email(key, template="note", after=days(after), window=send_window("mon-sun", 9, 17))
            for key, after in (("soon", 0), ("later", 2), ("last", 4))
        ),
    )  # fmt: skip
    story.clock.instant = NOW.replace(hour=18)  # both wait for the morning
    story.launch(basket)
    ana, ann = (story.contact(name, consents=["orders"]) for name in ("ana", "ann"))
    story.happened("cart_left", ann)
    story.run(basket)
    story.clock.advance(timedelta(hours=1))
    story.happened("cart_left", ana)
    story.run(basket)
    before = owners(story), rows(story, Enrollment), rows(story, Message)
    undone(story, joined(story, ann, ana))
    assert (owners(story), rows(story, Enrollment), rows(story, Message)) == before

    joined(story, ann, ana)
    for hours in (14, 72, 48):
        story.clock.advance(timedelta(hours=hours))
        story.run(basket)
        assert clean(story)
    assert story.sender.recipients == ["ana@example.org"] * 3
    assert story.states() == {"accepted": 3, "skipped: merged": 1}
    assert [(row.contact_id, row.state, row.reason) for row in rows(story, Enrollment)] == [
        (ana, "stopped", "merged"), (ana, "finished", ""),
    ]  # fmt: skip


def test_what_one_did_before_it_was_looked_at_counts_for_the_other(story: Story) -> None:
    """Events that no campaign has seen yet move, and go back with what followed from them."""
    story.launch()
    ana, ann = story.contact("ana"), story.contact("ann")
    story.happened("order_placed", ann, order_id="1")
    number = joined(story, ann, ana)
    story.run()
    assert story.sender.recipients == ["ana@example.org"]
    assert clean(story)
    undone(story, number)
    (enrollment,), (message,) = rows(story, Enrollment), rows(story, Message)
    assert (enrollment.contact_id, message.contact_id) == (ann, ann)
    assert clean(story)
    story.run()
    assert len(story.sender.sent) == 1


def test_what_a_provider_has_is_known_by_the_name_that_it_was_sent_under(story: Story) -> None:
    """The key of a message has the contact's name: after a merge it is asked for, and told of, by the old one."""

    class NoAnswer(Recorder):
        def send(self, batch: Sequence[EmailMessage]) -> list[Outcome]:
            super().send(batch)
            return [Retryable("no answer", accepted="maybe") for _ in batch]

    story.sender = NoAnswer()
    story.launch()
    ana, ann, bo = (story.contact(name) for name in ("ana", "ann", "bo"))
    story.happened("order_placed", ann, order_id="1")
    story.happened("order_placed", ana, order_id="2")
    story.run()
    joined(story, ann, ana)
    joined(story, ana, bo)
    assert {row.contact_id for row in rows(story, Message)} == {bo}
    told = {message.to.address: message for message in story.sender.sent}
    key = told["ann@example.org"].key
    delivered = ProviderEvent("1", Kind.DELIVERED, story.now, {}, row=told["ann@example.org"].row, key=key)
    with story.database.write() as connection:
        store_events(connection, "recorder", [delivered], story.now)
    assert apply_waiting(story.database, Tokens(story.settings.signing_keys), story.clock).resolved == 1
    story.clock.advance(timedelta(hours=1))
    done = reconcile(story.database, story.sender, story.settings, story.clock)
    assert done.resolved == {"found": 1}
    story.run()
    assert len(story.sender.sent) == 2
    assert clean(story)


def test_what_waits_for_somebody_who_was_merged_is_skipped_with_a_reason(story: Story) -> None:
    """The survivor has the same: a message that a worker has planned already goes to nobody."""
    story.launch(ONCE)
    ana, ann = (story.contact(name, consents=["news"]) for name in ("ana", "ann"))
    story.happened("signed_up", ana, ann)
    with story.database.write() as connection:
        connection.execute(Contact.__table__.update().values(paused_until=story.now + timedelta(hours=2)))  # type: ignore[attr-defined]
    story.run(ONCE)
    assert story.states() == {"deferred: contact_paused": 2}
    joined(story, ann, ana)
    story.clock.advance(timedelta(hours=3))
    story.run(ONCE)
    assert story.sender.recipients == ["ana@example.org"]
    assert sorted((row.state, row.reason) for row in rows(story, Message)) == [("accepted", ""), ("skipped", "merged")]
    assert clean(story)


def test_a_no_of_either_holds_also_one_of_an_old_link_and_one_since_holds_for_both(story: Story) -> None:
    ana, ann = story.contact("ana", consents=["news", "orders"]), story.contact("ann", consents=["news", "orders"])
    with story.database.write() as connection:
        unsubscribe(connection, ann, "news", at=story.now + timedelta(hours=1), source="page")
        suppress(connection, "ann@example.org", scope="all", reason="complaint", source="webhook", at=story.now)
    story.clock.advance(timedelta(hours=2))
    number = joined(story, ann, ana)
    (held,) = rows(story, Suppression, col(Suppression.address) == "ana@example.org")
    assert (held.scope, held.source) == ("marketing", f"merge:{number}")
    story.clock.advance(timedelta(hours=1))
    with story.database.write() as connection:
        chosen = preferences_of(connection, ann, story.now)
        assert chosen is not None
        assert chosen.contact_id == ana
        assert not any(chosen.topics.values())
        unsubscribe(connection, ann, "orders", at=story.now, source="one-click")
    newest = {row.topic: row.granted for row in rows(story, Consent, col(Consent.contact_id) == ana)}
    assert newest == {"news": False, "orders": False}
    story.clock.advance(timedelta(hours=1))
    undone(story, number)
    said = {
        row: {r.topic: r.granted for r in rows(story, Consent, col(Consent.contact_id) == row)} for row in (ana, ann)
    }
    assert said == {ana: {"news": True, "orders": False}, ann: {"news": False, "orders": False}}
    assert [row.address for row in rows(story, Suppression)] == ["ann@example.org"]
    with story.database.write() as connection:
        assert resubscribe(connection, ann, "orders", at=story.now, source="page", wording="yes")
    assert rows(story, Consent)[-1].contact_id == ann


def test_a_no_to_a_message_of_before_holds_for_the_one_that_is_left(story: Story) -> None:
    """One moved with the merge, one stayed, as both had it; and what is undone takes back no no since."""
    story.launch(ONCE)
    names = ("ana", "ann", "bo", "bob", "cy", "cyd")
    ana, ann, bo, bob, cy, cyd = (story.contact(name, consents=["news"]) for name in names)
    story.happened("signed_up", ana, ann, bob, cy)
    story.run(ONCE)
    ours = {message.to.address.partition("@")[0]: message for message in story.sender.sent}
    with story.database.write() as connection:
        unsubscribe_everything(connection, cyd, at=story.now, source="page")
    joined(story, ann, ana), joined(story, bob, bo)
    number = joined(story, cyd, cy)
    story.clock.advance(timedelta(hours=1))
    told = [
        ProviderEvent(
            name, Kind.UNSUBSCRIBED, story.now, {}, verdict, f"{name}@example.org", ours[name].row, ours[name].key
        )
        for name, verdict in (("ann", Verdict.COMPLAINED), ("bob", Verdict.UNSUBSCRIBED), ("cy", Verdict.UNSUBSCRIBED))
    ]
    with story.database.write() as connection:
        store_events(connection, "recorder", told, story.now)
    assert apply_waiting(story.database, Tokens(story.settings.signing_keys), story.clock).results == {"applied": 3}
    undone(story, number)
    assert {row.address.partition("@")[0]: row.scope for row in rows(story, Suppression)} == {
        "ann": "all", "ana": "marketing", "bob": "marketing", "bo": "marketing", "cy": "marketing", "cyd": "marketing",
    }  # fmt: skip
    newest = {row.contact_id: row.granted for row in rows(story, Consent)}
    assert (newest[bo], newest[cy]) == (False, False)


def test_of_two_values_the_one_that_was_changed_last_is_left_and_goes_back(story: Story) -> None:
    def at(**hours: int) -> dict[str, str]:
        return {f".{name}": (story.now - timedelta(hours=ago)).isoformat() for name, ago in hours.items()}

    ana = story.contact("ana", attributes={"city": "Graz", "size": 40, "only": 1}, told_at=at(city=1, size=9),
                        locale="de_AT", paused_until=story.now + timedelta(days=1))  # fmt: skip
    ann = story.contact("ann", attributes={"city": "Wien", "size": 41, "also": 2}, told_at=at(city=5, size=2),
                        phone="+447700900123")  # fmt: skip
    before = content(story)
    number = joined(story, ann, ana)
    (survivor, _) = rows(story, Contact)
    assert survivor.attributes == {"city": "Graz", "size": 41, "only": 1, "also": 2}
    assert (survivor.phone, survivor.locale) == ("+447700900123", "de_AT")
    with story.database.read() as connection:
        (told,) = merges(connection, [ann])
    assert told.changed == ("attributes", "phone")
    with story.database.write() as connection:
        connection.execute(
            Contact.__table__.update()  # type: ignore[attr-defined]
            .where(col(Contact.id) == ana)
            .values(locale="fr", attributes={**survivor.attributes, "size": 42, "new": 3})
        )
    undone(story, number)
    (survivor, other) = content(story)
    assert other == before[1]
    # What was changed of the survivor since stays changed.
    assert survivor == before[0] | {"locale": "fr", "attributes": {"city": "Graz", "size": 42, "only": 1, "new": 3}}


def test_who_was_merged_is_found_under_the_old_id_by_files_and_by_those_who_ask(story: Story, load: Any) -> None:
    ana, ann = story.contact("ana"), story.contact("ann")
    first, second = (row.source_id for row in rows(story, Contact))
    joined(story, ann, ana)
    load("contacts", f"source_id,size,color\n{second},41,red\n{first},42,\nnew,43,\n", source="test")
    known = {row.source_id: row.attributes for row in rows(story, Contact)}
    assert known[first] == {"first_name": "Ana", "size": 42}
    assert known[second] == {}
    load("events", f"contact,name,occurred_at\n{second},ping,2026-03-01T00:00:00Z\n", source="test")
    assert [row.contact_id for row in rows(story, Event)] == [ana]


def test_contacts_of_different_sources_with_one_address_are_merged_but_no_family(story: Story) -> None:
    ana, ann = story.contact("ana"), story.contact("ana", source="till")
    story.contact("bo"), story.contact("bo")  # one source knows two of them
    story.contact("bo", source="till")
    cleo = story.contact("cleo")
    with story.database.write() as connection:  # a CRM knows one of them as a record, and another with the same address
        connection.execute(
            insert(CrmRow).values(source="acme", source_id="1", contact_id=cleo, changed_at=story.now, told={})
        )
    story.contact("cleo", source="acme")
    with story.database.read() as connection:
        assert count(connection) == 1
    assert merge_alike(story.database, story.clock, actor="test").by == {"address": 1}
    (merged,) = rows(story, ContactMerge)
    assert (merged.loser_id, merged.survivor_id) == (ann, ana)
    undone(story, merged.id)
    assert merge_alike(story.database, story.clock, actor="test").total == 0  # somebody knew better


def test_contacts_that_their_crm_has_merged_are_merged(story: Story, crm: Any) -> None:
    crm(("1", "a@example.org"), ("2", "b@example.org"))
    crm(("2", "b@example.org", ("1",)))
    with story.database.write() as connection:
        connection.execute(insert(CrmCursor).values(source="acme", cursor="x", at=story.now))
    assert merge_alike(story.database, story.clock, actor="test").by == {"id": 1}
    other, survivor = rows(story, Contact)
    assert (other.source_id, other.merged_into, survivor.address) == ("1", survivor.id, "b@example.org")
    crm(("1", "c@example.org"))  # told under the old id
    assert rows(story, Contact)[1].address == "c@example.org"


def test_a_record_that_was_found_to_be_about_somebody_known_is_taken_apart(story: Story, crm: Any) -> None:
    ana = story.contact("ana")
    before = content(story)
    crm(("7", "ana@example.org"))
    (merge_,) = rows(story, ContactMerge)
    assert (merge_.survivor_id, merge_.loser_id, merge_.found_by) == (ana, None, "address")
    apart = undone(story, merge_.id)
    assert content(story)[0] == before[0]
    own = rows(story, Contact)[1]
    assert (own.id, own.source, own.source_id, own.address) == (apart, "acme", "7", "ana@example.org")
    crm(("7", "new@example.org"))
    assert [row.address for row in rows(story, Contact)] == ["ana@example.org", "new@example.org"]
    with pytest.raises(DataError, match="was undone"):
        undone(story, merge_.id)


def test_who_is_erased_is_erased_with_all_that_merges_keep(story: Story) -> None:
    story.launch()
    ana, ann = story.contact("ana"), story.contact("ann")
    story.happened("order_placed", ana, ann)
    story.run()
    number = joined(story, ann, ana)
    with story.database.write() as connection:
        erase(connection, ann, tokens=Tokens(["key-of-the-test"]), at=story.now, actor="test")
    everything = [str(row) for table in (Contact, ContactMerge, Message, Suppression) for row in rows(story, table)]
    assert not [row for row in everything if "@example.org" in row or "Ann" in row]
    assert len(rows(story, Suppression)) == 2
    with pytest.raises(DataError, match="was erased"):
        undone(story, number)


def test_what_cannot_be_merged_is_said_in_a_sentence(story: Story) -> None:
    ana, ann, bo = (story.contact(name) for name in ("ana", "ann", "bo"))
    number = joined(story, ann, ana)
    for loser, survivor, says in ((ann, bo, "merged into"), (bo, bo, "with itself"), (bo, 999, "no contact 999")):
        with pytest.raises(DataError, match=says):
            joined(story, loser, survivor)
    joined(story, ana, bo)
    assert [row.merged_into for row in rows(story, Contact)] == [bo, bo, None]
    with pytest.raises(DataError, match="is merged into"):
        undone(story, number)


@pytest.fixture
def crm(story: Story) -> Any:
    """Tell what a CRM says: id, address and merged ids."""

    def tell(*told: tuple[Any, ...]) -> None:
        story.clock.advance(timedelta(minutes=1))
        contacts = [CrmContact(one[0], story.now, one[1], merged=one[2] if len(one) > 2 else ()) for one in told]
        with story.database.write() as connection:
            store(connection, "acme", contacts, Rules(), story.clock, story.now)

    return tell


def test_a_merge_waits_for_what_is_being_stored_about_either(fresh_postgres_url: str, clock: FrozenClock) -> None:
    """Otherwise an event would be left with somebody who is nobody any more."""
    database = Database(fresh_postgres_url)
    story = Story(database, clock)
    ana, ann = story.contact("ana"), story.contact("ann")
    with ThreadPoolExecutor(1) as threads:
        with database.write() as connection:
            exclusive(connection, "import:test")  # as whoever stores events does, before looking contacts up
            waiting = threads.submit(joined, story, ann, ana)
            deadline = time.monotonic() + 20
            while not connection.execute(_WAITING).scalar_one():
                assert time.monotonic() < deadline
                assert not waiting.done()
            position = ingest_position(connection)
            connection.execute(
                insert(Event).values(
                    contact_id=ann, name="ping", occurred_at=story.now, source="test", source_id="1",
                    ingested_at=story.now, position=position, properties={},
                )
            )  # fmt: skip
        waiting.result(timeout=20)
    assert [row.contact_id for row in rows(story, Event)] == [ana]
    database.close()


_WAITING = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
