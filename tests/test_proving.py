"""A new version is tried on the people it is for, before it meets them."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select
from sqlmodel import col
from typer.testing import CliRunner

from evergreet.campaign import (
    Campaign,
    Purpose,
    Triggers,
    anniversary,
    broadcast,
    event,
    silence,
    stage_entered,
)
from evergreet.cli import app
from evergreet.clock import FrozenClock
from evergreet.conditions import attribute
from evergreet.database import Database, ingest_position
from evergreet.durations import days
from evergreet.errors import DefinitionError
from evergreet.proving import PEOPLE, Proof, prove
from evergreet.rendering import Rendered, Renderer
from evergreet.template_sources import TemplateSource
from models import AuditLog, CampaignRow, Event, Transition
from tests.documents import ROOT
from tests.story import THANKS, Story

STRICT = TemplateSource(
    name="order",
    hash="1" * 64,
    sources={
        "order/subject.txt": "Order {{ event.order_id }}",
        "order/body.html": "<p>Hello {{ contact.first_name or 'there' }}: {{ event.amount }}</p>",
        "order/body.txt": "Hello {{ contact.first_name or 'there' }}: {{ event.amount }}",
    },
)


def strict(_name: str, _purpose: Purpose) -> TemplateSource:
    """A template that needs the amount of the order."""
    return STRICT


def proof(story: Story, campaign: Campaign = THANKS) -> Proof:
    with story.database.read() as connection:
        (found,) = prove(connection, campaign, {}, lambda _: STRICT, story.settings, story.now)
    return found


def test_a_step_is_made_for_those_who_met_the_trigger_last(story: Story) -> None:
    people = [story.contact(f"c{number}") for number in range(PEOPLE + 5)]
    story.happened("order_placed", *people[:5])  # without an amount, and too long ago to be looked at
    story.happened("order_placed", *people[5:], amount=12)
    assert proof(story) == Proof("receipt", PEOPLE)
    assert str(proof(story)) == f"receipt: made for {PEOPLE} of the {PEOPLE} contacts it was tried on"
    assert proof(story).sound


def test_a_contact_it_cannot_be_made_for_is_named_with_the_place_in_the_template(story: Story) -> None:
    ana, ben, cleo = (story.contact(name) for name in ("ana", "ben", "cleo"))
    story.happened("order_placed", ana, ben, amount=12)
    story.happened("order_placed", cleo)
    found = proof(story)
    assert found.contacts == 3
    (failure,) = found.failures
    assert failure.startswith(f"contact {cleo}: order/body.html, line 1: ")
    assert "amount" in failure
    assert not found.sound
    assert not found.hopeless
    assert f"made for 2 of the 3 contacts it was tried on; not for contact {cleo}" in str(found)


def test_only_those_in_the_audience_with_an_address_count(story: Story) -> None:
    story.happened("order_placed", story.contact("ana", attributes={"plan": "basic"}), story.contact("b", address=None))
    pro = replace(THANKS, audience=attribute("plan") == "pro")
    assert proof(story, pro) == Proof("receipt", 0)
    assert str(proof(story, pro)) == "receipt: nobody to try it on yet"
    assert len(proof(story).failures) == 1
    assert not proof(story).hopeless, "one may be odd"


@pytest.mark.parametrize(
    "trigger",
    [
        stage_entered("purchase"),
        silence(days(60), after=("order_placed",)),
        anniversary("order_placed"),
        broadcast("product_launched", key="order_id"),
        event("never") | event("order_placed"),
    ],
    ids=lambda trigger: trigger.parts[0].kind,
)
def test_each_kind_of_trigger_has_its_people(story: Story, trigger: Triggers) -> None:
    campaign = replace(THANKS, trigger=trigger)
    assert proof(story, campaign) == Proof("receipt", 0)
    ana = story.contact("ana", stage="purchase", stage_since=story.now)
    story.happened("order_placed", ana, amount=12)
    story.announces("product_launched", "p1", order_id="p1", amount=5)
    with story.database.write() as connection:
        connection.execute(
            insert(Transition).values(
                contact_id=ana, to_stage="purchase", at=story.now, cause="rule", recorded_at=story.now,
                cause_event_id=select(func.min(col(Event.id))).scalar_subquery(), position=ingest_position(connection),
            )
        )  # fmt: skip
    assert proof(story, campaign) == Proof("receipt", 1)


def test_a_message_that_differs_when_made_the_quick_way_is_told(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    story.happened("order_placed", *story.contacts(3), amount=12)
    honest = Renderer.render

    def lying(self: Renderer, context: Any) -> Rendered:
        rendered = honest(self, context)
        return replace(rendered, html=rendered.html + " ")

    monkeypatch.setattr(Renderer, "render", lying)
    assert proof(story).unlike == 6
    assert "differed when made the quick way" in str(proof(story))


def test_a_run_tells_once_what_is_wrong_with_a_new_version(story: Story) -> None:
    ana, ben = story.contact("ana"), story.contact("ben")
    story.happened("order_placed", ana)
    story.launch()
    story.happened("order_placed", ben, amount=12)
    assert story.run().warnings == ()  # what was launched is no new version
    story.load = strict
    (warning,) = story.run().warnings
    assert f"not for contact {ana}" in warning
    assert story.run().warnings == ()
    (logged,) = [row for row in story.rows(AuditLog) if row.action == "prove"]
    assert [f"New version: {step}" for step in logged.detail["steps"]] == [warning]


def test_what_can_be_made_for_nobody_is_not_launched(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "templates", tmp_path / "messages")
    body = tmp_path / "messages" / "thank_you" / "receipt" / "body.html"
    whole = body.read_text("utf-8")
    body.write_text(whole.replace("event.amount|default(none)", "event.amount + 1"), "utf-8")
    monkeypatch.setenv("EVERGREET_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("EVERGREET_TEMPLATES", str(tmp_path / "messages"))
    store = Story(Database(sqlite_url), FrozenClock(datetime.now(UTC)))
    store.happened("order_placed", *store.contacts(3))
    refused = CliRunner().invoke(app, ["launch", "thank-you"])
    assert isinstance(refused.exception, DefinitionError)
    assert str(refused.exception).startswith("thank-you was not launched. receipt: made for 0 of the 3 contacts")
    assert store.rows(CampaignRow) == []
    body.write_text(whole, "utf-8")
    assert "is live since" in CliRunner().invoke(app, ["launch", "thank-you"]).output
