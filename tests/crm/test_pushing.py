"""What has changed here is written back to a CRM: once, whatever ends it, and never what the CRM told itself."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

import pytest
from sqlalchemy import insert, literal, select, update
from sqlmodel import col
from typer.testing import CliRunner

from evergreet.cli import app
from evergreet.consent import agreed, resubscribe, suppress, unsubscribe, unsubscribe_everything
from evergreet.contracts import (
    Accepted,
    Agreement,
    Capabilities,
    CrmConsent,
    CrmContact,
    CrmLastMessage,
    CrmRecord,
    CrmStage,
    Outcome,
    Push,
)
from evergreet.crm import opening
from evergreet.crm.pushing import Pushed, push
from evergreet.crm.storing import Rules, store
from evergreet.database import ingest_position
from evergreet.errors import Misconfigured, Permanent, Retryable
from evergreet.orchestration import crm as orchestration
from models import Contact, Suppression, Transition
from tests.crm.crms import Crm
from tests.story import Story


class Sink(Crm):
    """Takes what is written; `answers` come first, one for each push."""

    capabilities: ClassVar[Capabilities] = Capabilities(channel="crm", batch_limit=10)

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[Push] = []
        self.answers: list[Outcome] = []
        self.batches: list[int] = []

    def push(self, batch: Sequence[Push]) -> list[Outcome]:
        """Take a batch."""
        self.batches.append(len(batch))
        outcomes: list[Outcome] = []
        for one in batch:
            outcomes.append(self.answers.pop(0) if self.answers else Accepted("1"))
            if isinstance(outcomes[-1], Accepted):
                self.taken.append(one)
        return outcomes

    def since(self) -> list[Push]:
        """Return what was taken since it was asked last."""
        taken, self.taken = self.taken, []
        return taken


@pytest.fixture
def sink() -> Sink:
    """A CRM with nothing written yet."""
    return Sink()


@pytest.fixture
def write(story: Story, sink: Sink) -> Callable[..., Pushed]:
    """Write back; nobody waits."""

    def writing(**options: object) -> Pushed:
        story.clock.advance(timedelta(minutes=15))
        return push(story.database, sink, story.clock, **{"wait": lambda _: None, **options})  # type: ignore[arg-type]

    return writing


def known(story: Story, number: str, name: str, *agreements: Agreement) -> CrmRecord:
    """Store a record that the CRM tells."""
    address = f"{name}@example.org"
    with story.database.write() as connection:
        told = CrmContact(number, story.now, address, {"first_name": name}, agreements)
        store(connection, "acme", [told], Rules(), story.clock, story.now)
    return CrmRecord(number, address)


def moves(story: Story, contact: int, stage: str) -> None:
    """Move a contact, as the lifecycle does."""
    with story.database.write() as connection:
        connection.execute(
            insert(Transition).values(
                contact_id=contact, to_stage=stage, at=story.now, cause="rule", recorded_at=story.now,
                position=ingest_position(connection),
            )
        )  # fmt: skip
        connection.execute(update(Contact).where(col(Contact.id) == contact).values(stage=stage, stage_since=story.now))


def test_what_has_changed_is_written_once(story: Story, sink: Sink, write: Callable[..., Pushed]) -> None:
    story.launch()
    maya = known(story, "7", "maya", Agreement("news", True, story.now), Agreement("offers", True, story.now))
    lee = known(story, "8", "lee")
    story.contact("nobody there", stage="purchase", stage_since=story.now)
    assert write().sentence == "acme: 0 written back to 0 records."  # what it told itself is no news to it
    moves(story, 1, "purchase")
    story.happened("order_placed", 1, 2)
    story.run()
    at = story.now
    with story.database.write() as connection:
        unsubscribe(connection, 1, "news", at=at, source="page")
        suppress(connection, "lee@example.org", scope="all", reason="complaint", source="webhook", at=at)
    assert write().sentence == "acme: 5 written back to 2 records."
    assert set(sink.since()) == {
        CrmStage(maya, "purchase", at), CrmLastMessage(maya, "thanks/receipt", at),
        CrmConsent(maya, granted=False, at=at, topic="news"), CrmLastMessage(lee, "thanks/receipt", at),
        CrmConsent(lee, granted=False, at=at),
    }  # fmt: skip
    assert write().taken == 0
    moves(story, 2, "loyalty")
    assert (write().taken, sink.since()) == (1, [CrmStage(lee, "loyalty", story.now - timedelta(minutes=15))])


def test_it_goes_on_after_a_fault_and_says_what_is_refused(
    story: Story, sink: Sink, write: Callable[..., Pushed]
) -> None:
    for number in range(3):
        known(story, str(number), f"p{number}")
        moves(story, number + 1, "purchase")
    sink.answers = [Accepted("1"), Permanent("There is no such stage."), Retryable("slow down")]
    waited: list[float] = []
    done = write(wait=waited.append)
    assert (done.taken, done.refused, done.reasons, waited) == (2, 1, {"There is no such stage.": 1}, [2])
    assert write().refused == 0  # not asked again until it changes
    for number in range(3):
        moves(story, number + 1, "loyalty")
    sink.answers = [Accepted("1"), Misconfigured("The key may not write.")]
    with pytest.raises(Misconfigured):
        write()
    sink.since()
    sink.answers = [Retryable("away", accepted="maybe")] * 100
    with pytest.raises(Retryable, match="away"):
        write()
    sink.answers = []
    assert write().records == 1  # what was taken beside the fault is not written again
    assert len(sink.since()) == 1


def test_the_command_and_the_flow_write_back(story: Story, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    if not story.database.is_sqlite:
        return  # the settings name the store, and both are the same to it
    known(story, "7", "maya")
    moves(story, 1, "purchase")
    monkeypatch.setenv("EVERGREET_DATABASE_URL", story.database.url.render_as_string(hide_password=False))
    monkeypatch.setenv("EVERGREET_CRM_WRITE", "acme")
    monkeypatch.setattr(opening, "open_connector", {"acme": sink, "read-only": Crm()}.__getitem__)
    assert CliRunner().invoke(app, ["crm", "push", "acme"]).output == "acme: 1 written back to 1 records.\n"
    refused = CliRunner().invoke(app, ["crm", "push", "read-only"]).exception
    assert str(refused) == "The connector 'read-only' cannot be written back to."
    moves(story, 1, "loyalty")
    monkeypatch.setattr(orchestration, "get_run_logger", lambda: logging.getLogger("a run"))
    asyncio.run(orchestration.read_crms())
    assert [push.stage for push in sink.since() if isinstance(push, CrmStage)] == ["purchase", "loyalty"]


def test_a_record_that_turns_up_later_is_told_what_was_said_before(
    story: Story, sink: Sink, write: Callable[..., Pushed]
) -> None:
    """Nothing about the contact has changed since the last push: the record has, which is new, or out of the bin."""
    ana = story.contact("ana", consents=["news"])
    write()
    known = CrmContact("7", story.now - timedelta(days=500), "ana@example.org")
    for record in (known, replace(known, changed_at=story.now, deleted=True), replace(known, changed_at=story.now)):
        story.clock.advance(timedelta(hours=2))
        with story.database.write() as connection:
            if record.deleted:
                unsubscribe(connection, ana, "news", at=story.now, source="page")
            store(connection, "acme", [record], Rules(), story.clock, story.now)
        write()
    assert [one.granted for one in sink.taken if isinstance(one, CrmConsent)] == [True, False]


def maya_of(story: Story) -> int:
    with story.database.read() as connection:
        return connection.execute(select(col(Contact.id)).where(col(Contact.source_id) == "7")).scalar_one()


def echoed(story: Story, record: CrmRecord, *topics: str, unsubscribed: bool = False) -> None:
    """Let the CRM tell a record that was changed just now, for whatever reason, as it was written to."""
    said = tuple(Agreement(topic, False, story.now) for topic in topics)
    with story.database.write() as connection:
        told = CrmContact(record.id, story.now, record.email, {}, said, unsubscribed=unsubscribed)
        store(connection, "acme", [told], Rules(), story.clock, story.now)


def gets_news(story: Story, contact: int) -> bool:
    with story.database.read() as connection:
        yes = connection.execute(select(agreed(literal(contact), "news"))).scalar_one()
        return bool(yes) and not connection.execute(select(col(Suppression.address))).all()


def test_what_comes_back_of_a_no_that_was_written_takes_no_later_yes_away(
    story: Story, sink: Sink, write: Callable[..., Pushed]
) -> None:
    """The record is changed for another reason meanwhile, and says the no with a later time than the yes."""
    maya = known(story, "7", "maya", Agreement("news", True, story.now))
    contact = maya_of(story)
    story.clock.advance(timedelta(hours=1))
    with story.database.write() as connection:
        unsubscribe(connection, contact, "news", at=story.now, source="page")
    write()
    assert sink.since() == [CrmConsent(maya, False, story.now - timedelta(minutes=15), "news")]
    with story.database.write() as connection:
        resubscribe(connection, contact, "news", at=story.now, source="page", wording="Yes")
    yes = story.now
    story.clock.advance(timedelta(minutes=5))
    echoed(story, maya, "news")
    assert gets_news(story, contact)
    write()
    assert sink.since() == [CrmConsent(maya, True, yes, "news")]
    echoed(story, maya, "news")
    assert not gets_news(story, contact), "since it was told the yes, a no is its own"


def test_who_comes_back_here_comes_back_there(story: Story, sink: Sink, write: Callable[..., Pushed]) -> None:
    maya = known(story, "7", "maya")
    contact = maya_of(story)
    story.clock.advance(timedelta(hours=1))
    with story.database.write() as connection:
        unsubscribe_everything(connection, contact, at=story.now, source="page")
    write()
    assert [one.granted for one in sink.since() if isinstance(one, CrmConsent)] == [False]
    with story.database.write() as connection:
        resubscribe(connection, contact, "news", at=story.now, source="page", wording="Yes")
    yes = story.now
    story.clock.advance(timedelta(minutes=5))
    echoed(story, maya, "news", "offers", unsubscribed=True)
    assert gets_news(story, contact)
    write()
    assert sink.since() == [CrmConsent(maya, True, yes, "news"), CrmConsent(maya, True, yes)]
    write()
    assert sink.since() == []
    echoed(story, maya, unsubscribed=True)
    assert not gets_news(story, contact), "since it was told the yes, a no is its own"
    write()
    assert sink.since() == [], "what the CRM told itself is not told to it"


def test_who_left_there_and_says_yes_here_is_no_yes_to_everything_there(
    story: Story, sink: Sink, write: Callable[..., Pushed]
) -> None:
    maya = known(story, "7", "maya")
    contact = maya_of(story)
    story.clock.advance(timedelta(hours=1))
    echoed(story, maya, unsubscribed=True)
    story.clock.advance(timedelta(hours=1))
    with story.database.write() as connection:
        resubscribe(connection, contact, "news", at=story.now, source="page", wording="Yes")
    write()
    assert [(one.topic, one.granted) for one in sink.since() if isinstance(one, CrmConsent)] == [("news", True)]
