"""A campaign's task for a human goes to HubSpot through the ledger: once, refused with a reason, or held in doubt."""

from contextlib import closing
from dataclasses import replace
from typing import Any

from connectors.calling import make_client
from connectors.crm.hubspot import HubSpot
from connectors.crm.hubspot_settings import HubSpotSettings
from evergreet.clock import FrozenClock
from evergreet.database import Database
from evergreet.reconcile import reconcile
from tests.connectors.crm.hubspot_sink import HubSpotSink
from tests.connectors.provider_sink import Told
from tests.internal import TOLD, InternalStory, any_template

CALL = replace(TOLD, steps=TOLD.steps[2:])


def test_a_task_is_made_once_refused_or_in_doubt(database: Database, clock: FrozenClock) -> None:
    with HubSpotSink("pat") as sink:
        settings = HubSpotSettings.model_validate({"token": "pat", "base_url": sink.url})
        with closing(HubSpot(settings, make_client(1))) as crm:
            story = InternalStory(database, clock, load=any_template, crm=crm)
            sink.add(1, "ana@example.org")
            known, nobody = (
                story.contact("ana", address="ana@example.org"),
                story.contact("ben", address="b@example.org"),
            )
            story.runs(CALL, known, nobody)
            becomes = {row.contact_id: (row.state, row.reason, row.provider_id) for row in story.messages}
            assert becomes[known] == ("accepted", "", "100")
            assert becomes[nobody] == ("failed", "HubSpot has no such contact.", None)
            (task,) = sink.made["tasks"]
            assert task["properties"]["hs_task_subject"] == "Call Ana"

            def loses(method: str, path: str, body: Any) -> Told | None:
                """Take it, and lose the answer."""
                if not path.endswith("tasks/batch/create"):
                    return None
                sink._make("tasks", body)
                return Told(504, b"gateway")

            sink.judge = loses
            story.happened("order_placed", known)
            story.run(CALL)
            sink.judge = lambda method, path, body: None
            reconcile(story.database, story.sender, story.settings, story.clock)
            story.run(CALL)
    assert len(sink.made["tasks"]) == 2, "what is in doubt is not made again"
    assert sorted(row.state for row in story.messages) == ["accepted", "failed", "unknown"]
