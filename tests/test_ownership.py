"""Who is alive: one slot per worker, and locks that die with their holder."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from evergreet.audit import audit
from evergreet.clock import FrozenClock
from evergreet.database import Database, parse_url
from evergreet.errors import ConfigurationError, Retryable
from evergreet.ownership import FileLocks, held_slots, refuse_network_file_system, refuse_pooler
from evergreet.worker import Worker
from evergreet.workers import workers
from models import WorkerRow
from tests.conftest import NOW
from tests.faults.pooler import pooled
from tests.story import Story


def test_two_workers_have_two_slots_and_a_third_takes_the_one_that_is_free(
    database: Database, clock: FrozenClock
) -> None:
    with Worker.open(database, clock) as second:
        with Worker.open(database, clock) as first:
            assert {first.slot, second.slot} == {0, 1}
            assert held_slots(database, {0, 1, 2}) == {0, 1}
        assert held_slots(database, {0, 1, 2}) == {0}
        with Worker.open(database, clock) as third:
            assert third.slot == 1
    assert held_slots(database, {0, 1}) == set()


def test_a_worker_that_signs_off_leaves_nothing_to_take_over(story: Story) -> None:
    with Worker.open(story.database, story.clock):
        pass
    with Worker.open(story.database, story.clock) as later:
        assert later.take_over_the_dead() == 0
    assert [row.end for row in story.rows(WorkerRow)] == ["done", "done"]


def test_a_living_worker_is_not_taken_over(story: Story) -> None:
    with Worker.open(story.database, story.clock), Worker.open(story.database, story.clock) as other:
        assert other.take_over_the_dead() == 0
        views = workers(story.database, story.clock, silence_seconds=300)
        assert [(view.slot, view.alive, view.stalled) for view in views] == [(0, True, False), (1, True, False)]


def test_an_unlinked_lock_file_is_never_made_by_us(sqlite_url: str, tmp_path: Path) -> None:
    locks = FileLocks(tmp_path / "evergreet.db")
    assert locks.acquire(0)
    assert not FileLocks(tmp_path / "evergreet.db").acquire(0)
    locks.release(0)
    assert (tmp_path / "evergreet.db.worker-0.lock").exists()


@pytest.mark.parametrize(("kind", "refused"), [("nfs4", True), ("cifs", True), ("ext4", False), ("tmpfs", False)])
def test_a_network_file_system_is_refused_by_name(tmp_path: Path, kind: str, refused: bool) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        f"36 21 0:40 / {tmp_path} rw,relatime shared:1 - {kind} server:/export rw\n"
    )
    if refused:
        with pytest.raises(ConfigurationError, match=rf"network file system \({kind}\)"):
            refuse_network_file_system(tmp_path, str(mounts))
    else:
        refuse_network_file_system(tmp_path, str(mounts))


def test_a_direct_connection_to_the_server_is_no_pooler(fresh_postgres_url: str) -> None:
    engine = create_engine(parse_url(fresh_postgres_url))
    with engine.connect() as connection:
        refuse_pooler(connection)
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
    engine.dispose()


@pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="pgbouncer is not installed here")
def test_a_transaction_pooling_proxy_is_refused_by_name(fresh_postgres_url: str) -> None:
    with (
        pooled(fresh_postgres_url) as proxied,
        pytest.raises(ConfigurationError, match="PgBouncer"),
        Worker.open(Database(proxied), FrozenClock(NOW)),
    ):
        pass


def test_a_message_that_was_given_back_is_not_to_blame_for_a_later_death(story: Story) -> None:
    story.launch()
    story.happened("order_placed", story.contact("ana"))
    story.sender.answers = {"ana@example.org": Retryable("busy")}
    story.run()
    with story.database.write() as connection:  # as a worker leaves it that dies before it takes another in hand
        connection.execute(text("UPDATE worker SET ended_at = NULL, \"end\" = ''"))
        connection.execute(
            text("UPDATE chunk SET state = 'open', owner_id = (SELECT MAX(id) FROM worker), deaths = 1, in_hand = 1")
        )
        connection.execute(text("UPDATE message SET deaths = 1"))
    story.sender.answers = {}
    story.clock.advance(timedelta(hours=1))
    story.run()
    assert story.states() == {"accepted": 1}
    assert all(one.clean for one in audit(story.database, story.clock))
