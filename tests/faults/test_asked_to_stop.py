"""A worker that is asked to stop (SIGTERM) settles what it has in hand, begins nothing new, and leaves no doubt."""

from collections import Counter
from collections.abc import Callable
from signal import SIGTERM

from evergreet.audit import audit
from evergreet.campaign import Options
from evergreet.campaigns import launch
from evergreet.clock import DatabaseClock
from tests.faults import tasks
from tests.faults.children import Child
from tests.faults.scenario import ledger
from tests.faults.shop import NEWS, Place, note, shoppers
from tests.faults.sink import DEADLINE, Sink
from tests.faults.stores import Store, opened

CONTACTS = 40


def states(place: Place) -> Counter[str]:
    with opened(place.url) as database:
        assert [finding for one in audit(database, DatabaseClock()) for finding in one.findings] == []
        return Counter(row["state"] for row in ledger(database).values())


def test_a_worker_that_is_asked_to_stop_settles_what_it_has_in_hand(
    store: Store, spawn: Callable[..., Child], sink: Sink
) -> None:
    """The mail server lets it wait for two answers meanwhile."""
    place = Place(store.copy(), sink.port, threads=2, window=3)
    with opened(place.url) as database:
        launch(database, NEWS, Options(), note, clock=DatabaseClock(), actor="test")
        shoppers(database, CONTACTS)
    answers = [sink.holding("s1@example.org"), sink.holding("s3@example.org")]
    worker = spawn(tasks.work_until_stopped, place, NEWS, 10)
    for name in ("s1", "s3"):
        assert sink.arrived[f"{name}@example.org"].wait(DEADLINE)
    worker.signal(SIGTERM)
    assert worker.hear() == (tasks.STOPPING,)
    for answer in answers:
        answer.set()
    kind, attempted = worker.end()
    assert kind == "done"
    assert attempted == {"accepted": 6}
    assert states(place) == {"accepted": 6, "planned": CONTACTS - 6}
    assert len(sink.mails) == 6
    assert spawn(tasks.work, place, NEWS).end() == ("done", {"accepted": CONTACTS - 6})
    assert set(sink.by_key.values()) == {1}
    store.drop(place.url)
