"""Steps that give somebody something to do, or note something, arrive in a CRM: at the right record, once."""

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert

from connectors.calling import make_client
from connectors.crm.hubspot import HubSpot
from connectors.crm.hubspot_settings import HubSpotSettings
from evergreet.campaign import CrmList, CrmNote
from evergreet.campaigns import required
from evergreet.clock import FrozenClock
from evergreet.crm.state import read
from evergreet.database import Database
from evergreet.errors import ConfigurationError, DefinitionError
from evergreet.explain import explain
from evergreet.settings import Settings
from models import CrmRow
from tests.connectors.crm.hubspot_sink import ContactList, HubSpotSink
from tests.internal import TOLD, Crm, InternalStory, any_template

CALL = replace(TOLD, steps=(*TOLD.steps[2:], CrmNote("note", template="task")))


@pytest.fixture
def sink() -> Iterator[HubSpotSink]:
    """A local HubSpot; a request that breaks one of its rules fails the test."""
    folder = os.environ.get("EVERGREET_FIXTURES")
    with HubSpotSink("token", Path(folder) / "specs" / "hubspot-from-sdk" if folder else None) as running:
        yield running
    assert running.faults == []


def test_a_call_and_a_note_stand_at_their_contact(database: Database, clock: FrozenClock, sink: HubSpotSink) -> None:
    settings = Settings(secret_keys=("test-key",), crm_tasks="hubspot")
    hubspot = HubSpot(HubSpotSettings.model_validate({"token": "token", "base_url": sink.url}), make_client(2))
    story = InternalStory(database, clock, settings=settings, load=any_template, crm=hubspot)
    for number, email in ((7, "other@example.org"), (8, "maya@example.org"), (9, "ben@example.org")):
        sink.add(number, email)
    maya, ben, ana = story.contact("maya"), story.contact("ben"), story.contact("ana")
    rows = [
        {"source": "hubspot", "source_id": "7", "contact_id": maya, "changed_at": story.now, "told": {}},
        {"source": "hubspot", "source_id": "8", "contact_id": maya, "changed_at": story.now + timedelta(1), "told": {},
         "gone_at": story.now},
        {"source": "other", "source_id": "9", "contact_id": maya, "changed_at": story.now, "told": {}},
    ]  # fmt: skip
    with database.write() as connection:
        for row in rows:
            connection.execute(insert(CrmRow).values(row))
    story.runs(CALL, maya, ben, ana)
    hubspot.close()
    made = {
        one["associations"][0]["to"]["id"]: (one["properties"]["hs_task_subject"], one["properties"]["hs_timestamp"])
        for one in sink.made["tasks"]
    }
    due = str(int((story.now + timedelta(days=2)).timestamp()) * 1000)
    assert made == {"7": ("Call Maya", due), "9": ("Call Ben", due)}
    noted = {
        one["associations"][0]["to"]["id"]: (one["properties"]["hs_note_body"], one["properties"]["hs_timestamp"])
        for one in sink.made["notes"]
    }
    now = str(int(story.now.timestamp()) * 1000)
    assert set(noted) == {"7", "9"}
    assert noted["9"][0].startswith("<p><strong>Call Ben</strong></p><p>About ")
    assert noted["9"][1] == now
    states = {(row.contact_id, row.step_key): row.state for row in story.messages}
    became = {maya: "accepted", ben: "accepted", ana: "failed"}
    assert states == {(who, step): state for who, state in became.items() for step in ("call", "note")}
    assert {row.provider for row in story.messages} == {"hubspot"}
    story.run(CALL)
    assert [len(sink.made[kind]) for kind in ("tasks", "notes")] == [2, 2]
    with database.read() as connection:
        (known,) = read(connection, "hubspot", [story.rows(CrmRow)[0].id])
    assert "message" not in known.state, "it was not sent to the contact"


def test_a_campaign_puts_people_on_a_list_and_takes_them_off_one(
    sqlite_url: str, clock: FrozenClock, sink: HubSpotSink
) -> None:
    with closing(Database(sqlite_url)) as database:
        steps = (CrmList("on", to="vip"), CrmList("off", to="news", member=False))
        settings = Settings(secret_keys=("test-key",), crm_tasks="hubspot")
        lists = {"vip": "41", "news": "42"}
        hubspot = HubSpot(
            HubSpotSettings.model_validate({"token": "token", "base_url": sink.url, "lists": lists}), make_client(1)
        )
        story = InternalStory(database, clock, settings=settings, load=any_template, crm=hubspot)
        sink.add(8, "maya@example.org")
        sink.lists = {"41": ContactList({1}), "42": ContactList({1, 8}, "DYNAMIC")}
        maya, ana = story.contact("maya"), story.contact("ana")
        campaign = replace(TOLD, steps=steps)
        story.launch(campaign)
        story.happened("order_placed", maya, ana)
        report = story.run(campaign)
        assert sink.lists["41"].members == {1, 8}
        assert "HubSpot itself works out who is on its list 42" in str(report.halted)
        states = {(row.contact_id, row.step_key): row.state for row in story.messages}
        assert states == {
            (maya, "on"): "accepted", (maya, "off"): "planned", (ana, "on"): "failed", (ana, "off"): "failed",
        }, "the list that is wrong is asked again, and hinders no other"  # fmt: skip
        sink.lists["42"].kind = "SNAPSHOT"
        clock.advance(timedelta(hours=1))
        story.run(campaign)
        assert sink.lists["42"].members == {1}
        with database.read() as connection:
            state = required(connection, campaign.name)
            told = str(explain(connection, state, maya, now=clock.now(connection)))
        assert "vip by hubspot" in told
        wrong = replace(campaign, name="wrong", steps=(CrmList("on", to="vips"),))
        with pytest.raises(
            ConfigurationError, match=r"EVERGREET_HUBSPOT_LISTS does not say which that is\. There are: news, vip"
        ):
            story.runs(wrong, maya)
        hubspot.close()
        other = InternalStory(database, clock, settings=settings, load=any_template, crm=Crm("crm"))
        with pytest.raises(ConfigurationError, match="the CRM 'crm' of EVERGREET_CRM_TASKS has none"):
            other.runs(replace(campaign, name="listless"), maya)
    with pytest.raises(DefinitionError, match="a setting says where that is"):
        replace(campaign, steps=(CrmList("on", to="VIP customers"),))
