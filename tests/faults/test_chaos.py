"""Two workers and a schedule of deaths that a seed has drawn: the books agree, whatever it was."""

import os
import random
from collections.abc import Callable

import pytest

from evergreet.audit import audit
from evergreet.campaign import Options
from evergreet.campaigns import launch
from evergreet.clock import DatabaseClock
from tests.faults import tasks
from tests.faults.books import disagreements
from tests.faults.children import Boundaries, Child
from tests.faults.scenario import ledger
from tests.faults.shop import NEWS, Place, note, shoppers
from tests.faults.sink import Sink
from tests.faults.stores import Store, opened

CONTACTS = int(os.environ.get("EVERGREET_CHAOS_CONTACTS", "200"))
DEATHS = int(os.environ.get("EVERGREET_CHAOS_DEATHS", "20"))
SEED = int(os.environ.get("EVERGREET_CHAOS_SEED", "20260310"))


def in_hand(place: Place) -> set[str]:
    """The rows that a death has left between intent and settle."""
    with opened(place.url) as database:
        return {key for key, row in ledger(database).items() if row["state"] in {"sending", "unknown"}}


@pytest.mark.timeout(600)
def test_the_books_agree_after_twenty_deaths(
    store: Store, spawn: Callable[..., Child], sink: Sink, capfd: pytest.CaptureFixture[str]
) -> None:
    print(f"seed {SEED}: {DEATHS} deaths, {CONTACTS} contacts")
    chance = random.Random(SEED)
    place = Place(store.copy(), sink.port, threads=2, window=3)
    with opened(place.url) as database:
        launch(database, NEWS, Options(), note, clock=DatabaseClock(), actor="chaos")
        shoppers(database, CONTACTS)
    deaths = 0
    while deaths < DEATHS:
        pair = [
            spawn(
                tasks.work_and_die, place, NEWS, 30,
                Boundaries(chance.randrange(5, 60), chance.choice(("before", "after"))),
            )
            for _ in range(2)
        ]  # fmt: skip
        ends = [child.end() for child in pair]
        deaths += sum(end[0] == "killed" for end in ends)
        if all(end[0] == "done" for end in ends):
            break  # nothing is left to die for
        store.deserted(place.url)
        with opened(place.url) as database:
            assert [finding for one in audit(database, DatabaseClock()) for finding in one.findings] == []
    doubtful = in_hand(place)
    store.deserted(place.url)
    assert spawn(tasks.work, place, NEWS).end()[0] == "done"
    sink.quiet()
    with opened(place.url) as database:
        rows = ledger(database)
        assert [finding for one in audit(database, DatabaseClock()) for finding in one.findings] == []
    print(deaths, len(doubtful), len(sink.mails))
    assert len(rows) == CONTACTS
    assert disagreements(rows, sink.by_key, doubtful) == []
    assert deaths >= DEATHS // 2
    store.drop(place.url)
