"""Steps that tell our own people or systems go through the one ledger, with other gates and without an address."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import time, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from sqlmodel import col

from evergreet import consent, erasure
from evergreet.audit import audit
from evergreet.campaign import (
    CAMPAIGN,
    INTERNAL,
    MARKETING,
    TRANSACTIONAL,
    Campaign,
    CrmTask,
    Email,
    Slack,
    Webhook,
    silence,
)
from evergreet.campaigns import required
from evergreet.clock import FrozenClock
from evergreet.composing import message_key
from evergreet.conditions import did
from evergreet.contracts import CrmRecord
from evergreet.database import Database
from evergreet.dormancy import ending_campaigns
from evergreet.durations import days, hours, minutes
from evergreet.errors import ConfigurationError, DefinitionError, Misconfigured, Permanent, Retryable
from evergreet.explain import explain
from evergreet.internal_rendering import InternalRenderer, Record
from evergreet.preview import SAMPLE, check_samples, read_sample, render
from evergreet.proving import prove
from evergreet.reconcile import reconcile
from evergreet.rendering import RenderError, Surroundings
from evergreet.report import report
from evergreet.settings import Settings
from evergreet.template_sources import TemplateSource, load_template
from evergreet.tokens import Tokens
from models import Contact
from tests.internal import BODY, TOLD, InternalStory, any_template

KEYS = ("test-key",)
HOOK = TOLD.steps[0]


@pytest.fixture
def stories(database: Database, clock: FrozenClock) -> InternalStory:
    """On each of both stores."""
    return InternalStory(database, clock, load=any_template)


@pytest.fixture
def story(sqlite_url: str, clock: FrozenClock) -> Iterator[InternalStory]:
    database = Database(sqlite_url)
    yield InternalStory(database, clock, load=any_template)
    database.close()


def is_in_order(story: InternalStory) -> bool:
    return not [finding for one in audit(story.database, story.clock) for finding in one.findings]


def test_each_contact_is_told_of_whatever_their_address_and_what_they_agreed_to(stories: InternalStory) -> None:
    story = stories
    shared = "shared@example.org"
    people = [
        story.contact("maya", address=shared),
        story.contact("ben", address=shared),
        story.contact("ana", address=None),
    ]
    with story.database.write() as connection:
        consent.suppress(connection, shared, scope="all", reason="asked", source="test", at=story.now)
    story.settings = Settings(secret_keys=KEYS, quiet_from=time(11), quiet_until=time(14), cap=1, cap_days=7)
    story.runs(TOLD, *people)
    assert story.states() == {"accepted": 9}
    assert {(row.channel, row.purpose, row.address) for row in story.messages} == {
        (channel, "internal", None) for channel in ("webhook", "slack", "crm")
    }
    assert sorted(json.loads(one.body)["name"] for one in story.webhooks.sent) == ["Ana", "Ben", "Maya"]
    assert {one.to for one in story.webhooks.sent} == {"warehouse"}
    assert sorted(one.text for one in story.slack.sent) == [f"*{n}* placed an order." for n in ("Ana", "Ben", "Maya")]
    task = next(one for one in story.crm.sent if one.title == "Call Maya")
    assert (task.record, task.due_at) == (CrmRecord("", shared), story.now + timedelta(days=2))
    row, contact = story.messages[0], story.rows(Contact)[0]
    key = message_key("told", "tell-warehouse", row.occurrence, f"{contact.source}:{contact.source_id}")
    assert key in {one.key for one in story.webhooks.sent}
    assert is_in_order(story)
    with story.database.read() as connection:
        lines = explain(connection, required(connection, "told"), people[0], now=story.now)
    told = {line.what: line.detail.partition(",")[0] for line in lines}
    assert told["tell-warehouse: accepted"] == "warehouse by keeper"
    assert (told["note: accepted"], told["call: accepted"]) == ("team by keeper", "the team by crm")


def test_the_gates_about_the_contact_and_the_campaign_hold(stories: InternalStory) -> None:
    story = stories
    told = replace(
        TOLD, steps=(replace(HOOK, after=days(1), unless=did("refund_requested")),), goal=did("renewed", within=days(9))
    )
    erased, paused, refunded, renewed, maya = (story.contact(name) for name in ("al", "bo", "cy", "di", "maya"))
    story.runs(told, erased, paused, refunded, renewed, maya)
    story.clock.advance(timedelta(hours=1))
    story.happened("refund_requested", refunded)
    story.happened("renewed", renewed)
    with story.database.write() as connection:
        erasure.erase(connection, erased, tokens=Tokens(list(KEYS)), at=story.now, actor="noor")
        paused_until = story.now + timedelta(days=2)
        connection.execute(update(Contact).where(col(Contact.id) == paused).values(paused_until=paused_until))
    story.clock.advance(timedelta(days=1))
    story.run(told)
    becomes = {row.contact_id: (row.state, row.reason) for row in story.messages}
    assert becomes == {
        erased: ("skipped", "erased"), paused: ("deferred", "contact_paused"), refunded: ("skipped", "unless"),
        renewed: ("skipped", "goal_reached"), maya: ("accepted", ""),
    }  # fmt: skip
    story.clock.advance(timedelta(days=9))
    story.run(told)
    assert {row.contact_id: row.reason for row in story.messages}[paused] == "too_late"


def test_who_is_held_out_sets_nothing_off_but_what_is_transactional(story: InternalStory) -> None:
    steps = (HOOK, replace(HOOK, key="bookkeeping", purpose=TRANSACTIONAL))
    held = replace(TOLD, steps=steps, holdout=100, goal=did("renewed", within=days(9)))
    story.runs(held, story.contact("maya"))
    assert {row.step_key: (row.state, row.reason) for row in story.messages} == {
        "tell-warehouse": ("skipped", "holdout"), "bookkeeping": ("accepted", ""),
    }  # fmt: skip
    with story.database.read() as connection:
        goal = report(connection, required(connection, "told"), story.now).goal
    assert goal is not None
    assert (goal.held_out.contacts, goal.treated.contacts) == (1, 0)


def test_the_last_word_of_a_campaign_is_the_last_to_the_contact(story: InternalStory) -> None:
    steps = (Email("bye", template="note"), Slack("gone", template="slack", after=days(1)))
    away = silence(days(90), after=("order_placed",))
    ends = Campaign(name="win-back", topic="offers", trigger=away, steps=steps, ends_mailing=True)
    story.launch(ends)
    story.launch(replace(ends, steps=(*steps, CrmTask("call", template="task", after=days(2)))))
    with story.database.read() as connection:
        (ending,) = ending_campaigns(connection)
    assert (ending.step_key, ending.others) == ("bye", ())
    with pytest.raises(DefinitionError, match="writes to the contact"):
        replace(ends, steps=steps[1:])


def test_what_systems_are_told_takes_no_place_under_a_cap(story: InternalStory) -> None:
    story.settings = Settings(secret_keys=KEYS, cap=1, cap_days=7)
    mixed = replace(TOLD, steps=(*TOLD.steps, Email("mail", template="note", after=hours(1))))
    story.runs(mixed, story.contact("maya", consents=("orders",)))
    story.clock.advance(timedelta(hours=1))
    story.run(mixed)
    assert story.states() == {"accepted": 4}


def test_what_was_not_taken_is_posted_again_under_its_id_and_every_attempt_is_on_the_row(story: InternalStory) -> None:
    story.webhooks.answers[""] = Retryable("The webhook warehouse answers 503", retry_after=timedelta(minutes=7))
    story.runs(replace(TOLD, steps=(HOOK,)), story.contact("maya"))
    story.run(replace(TOLD, steps=(HOOK,)))
    (row,) = story.messages
    assert (row.state, row.not_before) == ("planned", story.now + timedelta(minutes=7))
    story.webhooks.answers.clear()
    story.clock.advance(timedelta(minutes=7))
    story.run(replace(TOLD, steps=(HOOK,)))
    assert [(one.number, one.outcome) for one in story.attempts] == [(1, "returned"), (2, "accepted")]
    assert story.messages[0].provider_id == story.webhooks.sent[0].key
    assert is_in_order(story)


@pytest.mark.parametrize("asked", [False, True])
def test_a_doubt_is_held_and_repeated_only_where_the_step_asks_for_it(story: InternalStory, asked: bool) -> None:
    step = replace(HOOK, resend_after=minutes(10) if asked else None)
    told = replace(TOLD, steps=(step,))
    story.webhooks.answers[""] = Retryable("answers 503")  # this one certainly was not taken, and is no repeat
    story.runs(told, story.contact("maya"))
    story.webhooks.answers[""] = Retryable("it had the whole request", accepted="maybe")
    outcomes = ["returned", "unknown"]
    for again in (asked, False):
        story.clock.advance(timedelta(minutes=10))
        story.run(told)
        assert [row.state for row in story.messages] == ["unknown"]
        assert [one.outcome for one in story.attempts] == outcomes
        story.clock.advance(timedelta(minutes=10))
        found = reconcile(story.database, story.sender, story.settings, story.clock, also=(story.webhooks,))
        assert found.resolved == ({"resend": 1} if again else {})
        outcomes += ["unknown"] * again
    story.webhooks.answers.clear()
    story.run(told)
    assert (story.webhooks.sent, [one.outcome for one in story.attempts]) == ([], outcomes)
    assert is_in_order(story)


def test_a_fault_of_ours_there_keeps_nobody_else_waiting(story: InternalStory) -> None:
    story.slack.answers[""] = Misconfigured("no_service")
    mixed = replace(TOLD, steps=(TOLD.steps[1], HOOK, Email("receipt", template="note", purpose=TRANSACTIONAL)))
    story.launch(mixed)
    story.happened("order_placed", *story.contacts(3))
    report = story.run(mixed)
    assert (report.halted, report.providers) == ("no_service", {"keeper:team": "no_service"})
    assert (len(story.sender.sent), len(story.webhooks.sent)) == (3, 3)
    assert {row.state for row in story.messages if row.channel == "slack"} == {"planned"}
    story.slack.answers.clear()
    story.clock.advance(timedelta(hours=1))
    story.run(mixed)
    assert story.states() == {"accepted": 9}
    story.webhooks.answers[""] = Permanent("answers 422")
    story.runs(replace(TOLD, name="other", steps=(HOOK,)), story.contact("maya"))
    assert story.states()["failed: answers 422"] == 1


def test_one_destination_that_fails_is_left_alone_and_the_others_are_not(story: InternalStory) -> None:
    both = replace(TOLD, steps=(HOOK, Webhook("tell-team", to="team", template="body")))
    story.settings = Settings(secret_keys=KEYS, threads=1, breaker_failures=2)
    story.webhooks.answers["warehouse"] = Retryable("answers 503")
    story.launch(both)
    story.happened("order_placed", *story.contacts(5))
    report = story.run(both)
    assert {one.to for one in story.webhooks.sent} == {"team"}
    assert (len(story.webhooks.sent), len(story.attempts)) == (5, 7)
    assert list(report.providers) == ["keeper:warehouse"]


def test_a_step_that_cannot_be_done_is_refused_with_a_sentence(story: InternalStory) -> None:
    with pytest.raises(ConfigurationError, match=r"tells 'nowhere'.*EVERGREET_KEEPER_TO__NOWHERE.*team, warehouse"):
        story.run(replace(TOLD, steps=(Webhook("x", to="nowhere"),)))
    engine = story.engine()
    del engine.routes["crm"]
    with pytest.raises(ConfigurationError, match=r"CrmTask\(…\), step 'call'.*EVERGREET_CRM_TASKS"):
        engine.check_channels("told", TOLD.steps)
    with pytest.raises(DefinitionError, match=r"step 'x'.*Webhook\(…\) needs a folder with body.json"):
        story.launch(replace(TOLD, steps=(Webhook("x", to="warehouse", template="note"),)))
    for step, said in (
        (Email("x", template="note", purpose=INTERNAL), "writes to the contact"),
        (Slack("x", template="slack", purpose=MARKETING), "does not write to the contact"),
        (Webhook("x", to="Ware-House"), "a setting says where that is"),
    ):
        with pytest.raises(DefinitionError, match=said):
            replace(TOLD, steps=(step,))
    assert CAMPAIGN.validate_json(CAMPAIGN.dump_json(TOLD)) == TOLD


AROUND = Surroundings("Fernway", "Bristol", "https://www.fernway.example")
ODD = 'Max "*" <!channel> & \\\n{{ 1 }}'


def made(story: InternalStory, source: TemplateSource, **event: object) -> str:
    context, _ = read_sample("templates", "_base/webhook", story.settings)
    context = replace(context, contact={"first_name": ODD, "id": 1}, event=event)
    return InternalRenderer(source, AROUND).render(context, Record("k", "o", "shop", "c-1")).text


def test_no_value_ends_the_text_it_stands_in(story: InternalStory) -> None:
    body = '{"n": {{ contact.first_name }}, "m": {{ contact | tojson }}, "all": {{ event }}, "at": {{ occurred_at }}, '
    body += (
        '"no": {{ none }}, "hi": {{ _("Hello %(name)s", name=contact.first_name) }}{% if event.x %}, "x": 1{% endif %}}'
    )
    said = json.loads(made(story, TemplateSource("b", "b" * 64, {"b/body.json": body}), x=[1, None, {"y": 2.5}]))
    assert said["n"] == said["m"]["first_name"] == ODD
    assert (said["all"], said["no"], said["x"]) == ({"x": [1, None, {"y": 2.5}]}, None, 1)
    assert said["hi"] == f"Hello {ODD}"
    note = (
        "<{{ site_url }}|{{ contact.first_name }}> isn't \"here\" {% macro m(x) %}<b>{{ x }}{% endmacro %}{{ m('&') }}"
    )
    assert made(story, TemplateSource("s", "s" * 64, {"s/slack.txt": note})) == (
        '<https://www.fernway.example|Max "*" &lt;!channel&gt; &amp; \\\n{{ 1 }}> isn\'t "here" <b>&amp;'
    )


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("body.json", '{"name": "{{ contact.first_name }}"}', "what comes out is not JSON"),
        ("body.json", '{"name": {{ contact.nothing }}}', "line 1: there is no 'nothing'"),
        ("slack.txt", "{% if false %}x{% endif %}", "it is empty"),
    ],
)
def test_what_cannot_be_made_says_where_and_why(story: InternalStory, file: str, text: str, said: str) -> None:
    with pytest.raises(RenderError, match=f"t/{file}.*{said}"):
        made(story, TemplateSource("t", "t" * 64, {f"t/{file}": text, "t/title.txt": "t"}))


def test_a_template_is_looked_at_before_it_is_used(story: InternalStory, tmp_path: Path) -> None:
    root = tmp_path / "ours"
    for name, text in {
        "spring/body.json": '{"k": {{ key }}}',
        "spring/preview.json": "",
        "mixed/body.json": "1",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    sample = Path("templates/_base/webhook/preview.json") if Path("templates").is_dir() else None
    settings = Settings(secret_keys=KEYS, templates=str(root))
    standard = load_template(str(root), "_base/webhook")
    assert (standard.channel, list(standard.sources)) == ("webhook", ["_base/webhook/body.json"])
    context, _ = read_sample(str(root), "_base/webhook", settings)
    said = json.loads(render(settings, "_base/webhook", context).text)
    assert said["type"] == "thank_you.tell_warehouse"
    assert said["data"]["contact"] == {"id": 17, "source": "shop", "source_id": "c-17"}
    assert sample is None or said["data"]["event"]["order_id"] == "1042"
    ours = replace(TOLD, steps=(Webhook("w", to="warehouse", template="spring"),))
    (root / "spring/preview.json").write_text(
        json.dumps({"purpose": "internal", "occurred_at": "2026-03-10T12:00:00Z", "contact": {}})
    )
    check_samples(ours, settings)
    assert json.loads(render(settings, "spring", replace(context, contact={})).text) == {"k": SAMPLE.key}
    (root / "spring/body.json").write_text('{"k": "{{ key }}"}')
    with pytest.raises(RenderError, match=r"spring/body.json: what comes out is not JSON"):
        check_samples(ours, settings)
    (root / "mixed/subject.txt").write_text("two")
    with pytest.raises(DefinitionError, match="these are two messages"):
        load_template(str(root), "mixed")


def test_a_version_is_proved_for_people_without_an_address_too(story: InternalStory) -> None:
    strict = replace(BODY, sources={"body/body.json": '{"points": {{ contact.points }}}'})
    people = [story.contact("maya", address=None), story.contact("ben", attributes={"points": 3})]
    story.happened("order_placed", *people)
    with story.database.read() as connection:
        (proof,) = prove(connection, replace(TOLD, steps=(HOOK,)), {}, lambda _: strict, story.settings, story.now)
    assert (proof.contacts, len(proof.failures)) == (2, 1)
