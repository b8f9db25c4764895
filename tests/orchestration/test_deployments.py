"""What Prefect says about deployments, mirrored into the ledger."""

from evergreet.campaigns import State, pause, required, resume
from evergreet.clock import FrozenClock
from evergreet.database import Database
from evergreet.orchestration.deployments import mirror_pauses
from models import AuditLog
from tests.story import Story


def state(story: Story) -> State:
    with story.database.read() as connection:
        return required(connection, "thanks")


def launched(database: Database, clock: FrozenClock) -> Story:
    story = Story(database, clock)
    story.launch()
    return story


def test_a_paused_deployment_pauses_its_campaign_and_a_resumed_one_resumes_it(
    database: Database, clock: FrozenClock
) -> None:
    story = launched(database, clock)

    mirror_pauses(database, {"thanks": True})
    assert (state(story).state, state(story).by) == ("paused", "prefect")
    assert "resume it there" in state(story).reason

    mirror_pauses(database, {"thanks": False})
    assert state(story).state == "live"


def test_what_a_person_paused_is_not_resumed_by_prefect(database: Database, clock: FrozenClock) -> None:
    story = launched(database, clock)
    pause(database, "thanks", clock=clock, actor="ann", reason="copy is being rewritten")

    mirror_pauses(database, {"thanks": False})

    assert (state(story).state, state(story).by) == ("paused", "ann")


def test_a_resume_on_the_command_line_does_not_overrule_a_paused_deployment(
    database: Database, clock: FrozenClock
) -> None:
    story = launched(database, clock)
    mirror_pauses(database, {"thanks": True})
    resume(database, "thanks", clock=clock, actor="ann")

    mirror_pauses(database, {"thanks": True})

    assert (state(story).state, state(story).by) == ("paused", "prefect")


def test_a_campaign_without_deployment_is_left_alone(database: Database, clock: FrozenClock) -> None:
    story = launched(database, clock)
    mirror_pauses(database, {"another": True})
    assert state(story).state == "live"


def test_nothing_is_written_where_nothing_changed(database: Database, clock: FrozenClock) -> None:
    story = launched(database, clock)
    mirror_pauses(database, {"thanks": True})
    before = len(story.rows(AuditLog))
    mirror_pauses(database, {"thanks": True})
    assert len(story.rows(AuditLog)) == before
