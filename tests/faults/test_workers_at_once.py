"""Two and four workers on one campaign: each message once."""

from collections.abc import Callable

import pytest
from sqlalchemy import func, select
from sqlmodel import col

from evergreet.audit import audit
from evergreet.campaign import Options
from evergreet.campaigns import launch
from evergreet.clock import DatabaseClock
from models import Attempt, WorkerRow
from tests.faults import tasks
from tests.faults.books import disagreements
from tests.faults.children import Child, context
from tests.faults.scenario import ledger
from tests.faults.shop import NEWS, Place, note, shoppers
from tests.faults.sink import Sink
from tests.faults.stores import Store, opened

Spawn = Callable[..., Child]


def shop(place: Place, contacts: int) -> None:
    with opened(place.url) as database:
        launch(database, NEWS, Options(), note, clock=DatabaseClock(), actor="test")
        shoppers(database, contacts)


def findings(place: Place) -> list[str]:
    with opened(place.url) as database:
        return [finding for one in audit(database, DatabaseClock()) for finding in one.findings]


@pytest.mark.parametrize(("workers", "contacts"), [(2, 400), (4, 400)])
def test_each_message_goes_out_once(store: Store, spawn: Spawn, sink: Sink, workers: int, contacts: int) -> None:
    place = Place(store.copy(), sink.port, threads=2, window=5)
    shop(place, contacts)
    together = context.Barrier(workers)
    children = [spawn(tasks.work_together, place, NEWS, 20, together) for _ in range(workers)]
    shares = [child.end()[1]["accepted"] for child in children]
    assert sum(shares) == contacts
    assert min(shares) >= 1
    assert set(sink.by_key.values()) == {1}
    assert len(sink.mails) == contacts
    with opened(place.url) as database:
        assert disagreements(ledger(database), sink.by_key, set()) == []
        with database.read() as connection:
            owners = connection.execute(select(func.count(col(Attempt.worker_id).distinct()))).scalar_one()
            still_open = connection.execute(
                select(func.count()).select_from(WorkerRow).where(col(WorkerRow.ended_at).is_(None))
            ).scalar_one()
    assert (owners, still_open) == (workers, 0)
    assert findings(place) == []
    store.drop(place.url)
