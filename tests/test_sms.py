"""SMS through the ledger on both stores: the rules of email hold, by phone number and with a consent of their own."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import time, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col

from evergreet import erasure
from evergreet.audit import audit
from evergreet.campaign import CAMPAIGN, Email, Options, Sms, event
from evergreet.campaigns import required
from evergreet.clock import FrozenClock
from evergreet.composing import message_key
from evergreet.contracts import Found, Kind, ProviderEvent, Verdict
from evergreet.database import Database
from evergreet.delivery import Delivery
from evergreet.durations import days
from evergreet.engine import Engine
from evergreet.errors import ConfigurationError, DefinitionError, Permanent, Retryable
from evergreet.explain import explain, find_contacts
from evergreet.feedback.applying import apply_waiting
from evergreet.feedback.storing import store
from evergreet.proving import prove
from evergreet.reconcile import reconcile
from evergreet.settings import Cap, Settings
from evergreet.tokens import Tokens
from models import Consent, Contact, Event, Message, Suppression
from tests.story import Recorder
from tests.texting import BOTH, MAYA, NOOR, OFFERS, TEXT, Texter, TextStory, either

TOKENS = Tokens(["test-key"])


@pytest.fixture
def story(database: Database, clock: FrozenClock) -> TextStory:
    return TextStory(database, clock, load=either)


def is_in_order(story: TextStory) -> bool:
    return not [finding for one in audit(story.database, story.clock) for finding in one.findings]


def tell(story: TextStory, kind: Kind, verdict: Verdict = Verdict.NONE, **told: object) -> None:
    """Let the provider tell something and apply it."""
    event = ProviderEvent(id=f"e{next(story.counter)}", kind=kind, at=story.now, raw={"x": 1}, verdict=verdict)
    with story.database.write() as connection:
        store(connection, "texter", [replace(event, **told)], story.now)  # type: ignore[arg-type]
    apply_waiting(story.database, TOKENS, story.clock)


def test_both_channels_go_once_each_where_the_contact_is_reached_by_it(story: TextStory) -> None:
    maya = story.person(consents=())
    ben = story.person("ben", None, consents=())
    story.runs(BOTH, maya, ben)
    story.run(BOTH)
    assert story.sender.recipients == ["ben@example.org", "maya@example.org"]
    assert [(message.to, message.body) for message in story.texter.sent] == [
        (MAYA, "Hello Maya, your order is on its way.")
    ]
    rows = {(row.contact_id, row.step_key): (row.channel, row.state, row.reason, row.address) for row in story.messages}
    assert rows[maya, "shipped"] == ("sms", "accepted", "", MAYA)
    assert rows[maya, "receipt"] == ("email", "accepted", "", "maya@example.org")
    assert rows[ben, "shipped"] == ("sms", "skipped", "no_address", None)
    assert is_in_order(story)
    with story.database.read() as connection:
        assert [row.id for row in find_contacts(connection, MAYA)] == [maya]
        lines = explain(connection, required(connection, BOTH.name), maya, now=story.now)
    assert f"{MAYA} by texter" in "".join(line.detail for line in lines)


def test_marketing_needs_consent_to_sms_and_says_how_to_opt_out_the_first_time_only(story: TextStory) -> None:
    maya = story.person(locale="de")
    story.person("ben", NOOR, consents=("offers",))
    story.launch(OFFERS)
    for _ in range(2):
        story.happened("order_placed", maya, maya + 1)
        story.run(OFFERS)
        story.clock.advance(timedelta(days=1))
    assert story.texts == [
        "Hello Maya, your order is on its way.\nAntworten Sie STOP, um nichts mehr zu bekommen.",
        "Hello Maya, your order is on its way.",
    ]
    assert story.states() == {"accepted": 2, "skipped: no_consent": 2}
    assert {row.topic for row in story.messages} == {"offers/sms"}
    assert story.texter.sent[0].topic == "offers/sms"
    assert is_in_order(story)


def test_it_is_said_again_where_it_may_not_have_been_read(story: TextStory) -> None:
    """An earlier one that is in doubt, was not delivered, or went to another number tells nobody anything."""
    maya = story.person()
    story.texter.answers[MAYA] = Retryable("no answer", accepted="maybe")
    story.runs(OFFERS, maya)
    story.texter.answers.clear()
    story.happened("order_placed", maya)
    story.run(OFFERS)
    tell(story, Kind.SOFT_BOUNCED, row=story.messages[1].id, key=story.texter.sent[0].key)
    story.happened("order_placed", maya)
    story.run(OFFERS)
    with story.database.write() as connection:
        connection.execute(update(Message).values(address=NOOR).where(col(Message.id) == story.messages[2].id))
    story.happened("order_placed", maya)
    story.run(OFFERS)
    assert [text.count("STOP") for text in story.texts] == [1, 1, 1]


def test_what_may_have_been_accepted_is_unknown_and_its_webhook_ends_the_doubt(story: TextStory) -> None:
    maya = story.person()
    story.texter.answers[MAYA] = RuntimeError("the line broke")
    story.runs(OFFERS, maya)
    assert story.states() == {"unknown: texter: RuntimeError": 1}
    story.clock.advance(timedelta(hours=1))
    assert reconcile(story.database, story.sender, story.settings, story.clock, also=(story.texter,)).unknown == 1
    story.run(OFFERS)
    assert story.texts == []
    (row,), contact = story.messages, story.rows(Contact)[0]
    key = message_key("offers", "offer", row.occurrence, f"{contact.source}:{contact.source_id}")
    tell(story, Kind.DELIVERED, row=row.id, key=key, provider_id="SM1")
    assert story.states() == {"accepted": 1}
    assert (story.messages[0].delivery, story.messages[0].provider_id) == ("delivered", "SM1")
    assert "sms_delivered" in {fact.name for fact in story.rows(Event)}
    assert is_in_order(story)


class Finding(Texter):
    """One that can be asked."""

    def find(self, keys: Sequence[str]) -> dict[str, Found]:
        return {key: Found(False) for key in keys}


def test_only_a_connector_of_the_channel_is_asked_about_it(story: TextStory) -> None:
    """The one for email would say of every SMS that it does not have it, also where a restore lost who sent it."""
    story.texter = Finding(answers={MAYA: Retryable("no answer", accepted="maybe")})
    story.runs(OFFERS, story.person())
    with story.database.write() as connection:
        connection.execute(update(Message).values(provider=None))
    story.clock.advance(timedelta(hours=1))
    assert reconcile(story.database, story.sender, story.settings, story.clock).resolved == {}
    asked = reconcile(story.database, story.sender, story.settings, story.clock, also=(story.texter,))
    assert asked.resolved == {"not_found": 1}


def test_a_worker_that_dies_after_the_intent_leaves_a_doubt_and_nobody_gets_two(
    story: TextStory, monkeypatch: pytest.MonkeyPatch
) -> None:
    maya = story.person()

    def dies(*_: Any) -> None:
        raise SystemExit("killed")

    monkeypatch.setattr(Delivery, "_settle", dies)
    with pytest.raises(SystemExit):
        story.runs(OFFERS, maya)
    monkeypatch.undo()
    story.run(OFFERS)
    assert [row.state for row in story.messages] == ["unknown"]
    assert len(story.texts) == 1


def test_stop_between_planning_and_sending_wins_and_is_about_sms_alone(story: TextStory) -> None:
    maya = story.person(consents=("offers", "offers/sms"))
    also_hers = story.person("maya-2")
    story.runs(OFFERS, maya)
    tell(story, Kind.UNSUBSCRIBED, Verdict.UNSUBSCRIBED, address=MAYA)
    story.happened("order_placed", maya, also_hers)
    story.run(OFFERS)
    assert story.states() == {"accepted": 1, "skipped: suppressed": 2}
    assert [(row.address, row.scope, row.reason) for row in story.rows(Suppression)] == [
        (MAYA, "marketing", "unsubscribed")
    ]
    newest = {(row.contact_id, row.topic): row.granted for row in story.rows(Consent)}
    assert newest == {(maya, "offers"): True, (maya, "offers/sms"): False, (also_hers, "offers/sms"): False}
    story.runs(BOTH, maya)
    assert {row.state for row in story.messages if row.step_key == "shipped"} == {"accepted"}  # transactional


@pytest.mark.parametrize(
    ("outcome", "scope"),
    [
        (Permanent("not a mobile number", address_invalid=True), "all"),
        (Permanent("they sent STOP", unsubscribed=True), "marketing"),
        (Permanent("too long"), None),
    ],
)
def test_what_the_provider_says_of_a_number_holds_for_it(
    story: TextStory, outcome: Permanent, scope: str | None
) -> None:
    story.texter.answers[MAYA] = outcome
    story.runs(OFFERS, story.person())
    assert [(row.address, row.scope) for row in story.rows(Suppression)] == ([(MAYA, scope)] if scope else [])
    assert story.states() == {f"failed: {outcome.reason}": 1}


def test_somebody_erased_is_not_found_again_by_their_number(story: TextStory) -> None:
    maya = story.person()
    story.runs(OFFERS, maya)
    with story.database.write() as connection:
        erasure.erase(connection, maya, tokens=TOKENS, at=story.now, actor="noor")
    hashed = TOKENS.address_hashes(MAYA)[-1]
    assert story.messages[0].address == hashed
    assert {row.address for row in story.rows(Suppression)} == {hashed, TOKENS.address_hashes("maya@example.org")[-1]}
    again = story.person("again")
    story.happened("order_placed", again)
    story.run(OFFERS)
    assert story.states() == {"accepted": 1, "skipped: suppressed": 1}
    tell(story, Kind.UNSUBSCRIBED, Verdict.UNSUBSCRIBED, address=MAYA)
    assert MAYA not in {row.address for row in story.rows(Suppression)}


def test_one_number_gets_one_message_for_one_cause(story: TextStory) -> None:
    launched = replace(OFFERS, trigger=event("order_placed", key="order_id"), re_entry="once")
    people = [story.person(), story.person("noor")]
    story.runs(launched, *people)
    assert story.states() == {"accepted": 1, "skipped: duplicate_address": 1}


def test_a_topic_has_one_cap_and_quiet_hours_for_both_channels(story: TextStory) -> None:
    story.settings = Settings(secret_keys=("test-key",), topic_caps={"offers": Cap(messages=1, days=30)})
    mixed = replace(OFFERS, steps=(Email("mail", template="note"), Sms("text", template="text")))
    story.runs(mixed, story.person(consents=("offers", "offers/sms")))
    assert story.states() == {"accepted": 1, "skipped: topic_cap": 1}
    story.settings = Settings(secret_keys=("test-key",), quiet_from=time(11), quiet_until=time(14))
    quiet = replace(OFFERS, name="quiet")
    story.runs(quiet, story.person("noor", NOOR))
    assert story.states()["deferred: quiet_hours"] == 1


def test_without_a_connector_for_sms_nothing_is_run(story: TextStory) -> None:
    engine = Engine(story.database, Recorder(), story.settings, either, clock=story.clock)
    story.launch(BOTH)
    with pytest.raises(ConfigurationError, match=r"step 'shipped'.*EVERGREET_SMS"):
        engine.run(BOTH, Options())
    story.happened("order_placed", maya := story.person(consents=()))
    after = replace(BOTH, steps=(BOTH.steps[0], replace(BOTH.steps[1], after=days(1))))
    story.run(after)
    story.clock.advance(timedelta(days=1))
    report = engine.run(replace(BOTH, steps=BOTH.steps[:1]), Options())
    assert report.halted is not None
    assert "EVERGREET_SMS" in report.halted
    story.run(after)
    assert [(row.contact_id, row.state) for row in story.messages] == [(maya, "accepted"), (maya, "accepted")]


def test_a_step_and_its_template_are_of_one_channel(story: TextStory) -> None:
    with pytest.raises(DefinitionError, match=r"step 'x'.*Sms\(…\) needs a folder with sms.txt"):
        story.launch(replace(OFFERS, steps=(Sms("x", template="note"),)))
    with pytest.raises(DefinitionError, match=r"step 'x'.*subject.txt"):
        story.launch(replace(OFFERS, steps=(Email("x", template="text"),)))


def test_a_definition_survives_its_json_also_one_of_before_there_were_sms() -> None:
    for campaign in (OFFERS, BOTH):
        assert CAMPAIGN.validate_json(CAMPAIGN.dump_json(campaign)) == campaign
    with pytest.raises(DefinitionError, match="needs a topic"):
        replace(OFFERS, topic=None)
    with pytest.raises(DefinitionError, match="write the topic alone"):
        replace(OFFERS, topic="offers/sms")


def test_a_version_is_proved_for_those_with_a_number(story: TextStory) -> None:
    strict = replace(TEXT, sources={**TEXT.sources, "text/sms.txt": "{{ contact.points }} points"})
    people = [story.person(), story.person("ben", None), story.person("ana", NOOR, attributes={"points": 3})]
    story.happened("order_placed", *people)
    with story.database.read() as connection:
        (proof,) = prove(connection, OFFERS, {}, lambda _: strict, story.settings, story.now)
    assert (proof.contacts, len(proof.failures)) == (2, 1)
    assert "text/sms.txt, line 1" in proof.failures[0]
