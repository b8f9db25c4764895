"""A message that cannot be rendered, or that kills whoever renders it: the others are sent."""

from collections.abc import Callable

from evergreet.audit import audit
from evergreet.campaign import Options
from evergreet.campaigns import launch
from evergreet.clock import DatabaseClock, FrozenClock
from evergreet.database import Database
from tests.conftest import NOW
from tests.faults import tasks
from tests.faults.books import disagreements
from tests.faults.children import Child
from tests.faults.scenario import ledger, run
from tests.faults.shop import HELLO, NEWS, Place, happened, note, person, shoppers
from tests.faults.sink import Sink
from tests.faults.stores import Store, opened


def test_a_template_that_raises_for_one_contact_fails_for_that_one(database: Database, sink: Sink) -> None:
    clock = FrozenClock(NOW)
    with database.write() as connection:
        for name in ("ana", "ben", "cem"):
            person(connection, name, city=name != "ben")
    launch(database, HELLO, Options(), note, clock=clock, actor="test")
    happened(database, "signed_up", ["ana", "ben", "cem"])
    (report,) = run(database, Place("", sink.port), clock, HELLO)
    assert report.attempted == {"accepted": 2, "failed": 1}
    (failed,) = [row for row in ledger(database).values() if row["state"] == "failed"]
    assert failed["who"] == "ben"
    assert failed["reason"].startswith("template: note/body.html, line 1: there is no 'city' here")
    assert disagreements(ledger(database), sink.by_key, set()) == []
    assert all(one.clean for one in audit(database, clock))


def test_a_message_that_kills_its_worker_ends_as_poison_and_everybody_else_is_sent(
    store: Store, spawn: Callable[..., Child], sink: Sink
) -> None:
    """The first death says only which chunk it was; then messages are taken in hand one by one."""
    place = Place(store.copy(), sink.port, window=4)
    with opened(place.url) as database:
        launch(database, NEWS, Options(), note, clock=DatabaseClock(), actor="test")
        shoppers(database, 12)
    deaths = 0
    while (end := spawn(tasks.work_until_poisoned, place, NEWS, "s5@example.org").end()) is None:
        deaths += 1
        assert deaths <= 3
        store.deserted(place.url)
    assert deaths == 3
    assert end[0] == "done"
    with opened(place.url) as database:
        rows = ledger(database)
        assert all(one.clean for one in audit(database, DatabaseClock()))
    assert {row["who"] for row in rows.values() if row["state"] == "accepted"} == {
        f"s{number}" for number in range(12) if number != 5
    }
    (poison,) = [row for row in rows.values() if row["state"] != "accepted"]
    assert (poison["who"], poison["state"], poison["attempts"]) == ("s5", "failed", 0)
    assert poison["reason"].startswith("poison")
    assert disagreements(rows, sink.by_key, set()) == []
    store.drop(place.url)
