"""A worker that is stopped, or whose connection breaks: it is refused when it wakes, or what it did is in sight."""

import json
from collections import Counter
from collections.abc import Callable
from signal import SIGCONT, SIGKILL, SIGSTOP

import pytest

from evergreet.audit import audit
from evergreet.campaign import TRANSACTIONAL, Campaign, Email, Options, event
from evergreet.campaigns import launch
from evergreet.clock import DatabaseClock, elapsed_clock
from tests.faults import tasks
from tests.faults.children import Child, context
from tests.faults.scenario import ledger
from tests.faults.shop import Place, note, shoppers
from tests.faults.sink import DEADLINE, Sink, until
from tests.faults.stores import PostgresStore, Store, opened
from tests.faults.typed import Typing

RECEIPTS = Campaign(
    name="receipts",
    trigger=event("order_placed"),
    steps=(Email("receipt", template="note", purpose=TRANSACTIONAL),),
)
ORDERS = 6
Spawn = Callable[..., Child]


def shop(place: Place) -> None:
    """Six orders in chunks of two."""
    with opened(place.url) as database:
        launch(database, RECEIPTS, Options(), note, clock=DatabaseClock(), actor="test")
        shoppers(database, ORDERS)


def states(place: Place) -> Counter[str]:
    with opened(place.url) as database:
        assert [finding for one in audit(database, DatabaseClock()) for finding in one.findings] == []
        return Counter(row["state"] for row in ledger(database).values())


def sent_twice(sink: Sink) -> list[str]:
    return [key for key, count in sink.by_key.items() if count > 1]


def stop(child: Child) -> None:
    child.signal(SIGSTOP)
    until(child.stopped, "the worker to stop")


def test_a_stopped_worker_whose_session_the_server_has_ended_is_refused_when_it_wakes(
    postgres_only: PostgresStore, spawn: Spawn, sink: Sink
) -> None:
    """It was waiting for the mail server's answer: the mail is out, its row unknown."""
    place = Place(postgres_only.copy(), sink.port, changes=(("owner_silence_seconds", 1),))
    shop(place)
    held = sink.holding("s0@example.org")
    stopped = spawn(tasks.work, place, RECEIPTS, 2)
    assert sink.arrived["s0@example.org"].wait(DEADLINE)
    stop(stopped)
    postgres_only.ownerless(place.url)
    assert spawn(tasks.work, place, RECEIPTS, 2).end() == ("done", {"accepted": ORDERS - 1})
    held.set()
    stopped.signal(SIGCONT)
    kind, error, sentence = stopped.end()
    assert (kind, error) == ("refused", "OwnershipLost")
    assert "lost its connection to the database" in sentence
    assert states(place) == {"accepted": ORDERS - 1, "unknown": 1}
    assert len(sink.mails) == ORDERS
    assert sent_twice(sink) == []
    postgres_only.drop(place.url)


def test_a_worker_that_wakes_in_time_hands_over_what_is_unknown_by_then(
    postgres_only: PostgresStore, spawn: Spawn, sink: Sink
) -> None:
    """Nobody can fence it between its last check and the socket; what it does is in sight, and it stops."""
    place = Place(postgres_only.copy(), sink.port, changes=(("owner_silence_seconds", 1),))
    shop(place)
    told, go = context.Pipe(duplex=False)
    stopped = spawn(tasks.work_until_told, place, RECEIPTS, 2, told)
    assert stopped.hear() == (tasks.HANDING_OVER,)
    stop(stopped)
    postgres_only.ownerless(place.url)
    assert spawn(tasks.work, place, RECEIPTS, 2).end() == ("done", {"accepted": ORDERS - 1})
    go.send(None)
    stopped.signal(SIGCONT)
    assert stopped.end()[:2] == ("refused", "OwnershipLost")
    assert states(place) == {"accepted": ORDERS - 1, "unknown": 1}
    assert len(sink.mails) == ORDERS
    assert sent_twice(sink) == []
    postgres_only.drop(place.url)


def test_a_worker_that_wakes_too_late_hands_nothing_over(
    postgres_only: PostgresStore, spawn: Spawn, sink: Sink
) -> None:
    place = Place(postgres_only.copy(), sink.port, changes=(("owner_silence_seconds", 1), ("hand_over_seconds", 1)))
    shop(place)
    told, go = context.Pipe(duplex=False)
    stopped = spawn(tasks.work_until_told, place, RECEIPTS, 2, told)
    assert stopped.hear() == (tasks.HANDING_OVER,)
    began = elapsed_clock()
    stop(stopped)
    postgres_only.ownerless(place.url)
    assert spawn(tasks.work, place, RECEIPTS, 2).end() == ("done", {"accepted": ORDERS - 1})
    until(lambda: elapsed_clock() > began + 1, "the window to be too old")
    go.send(None)
    stopped.signal(SIGCONT)
    assert stopped.end()[:2] == ("refused", "OwnershipLost")
    assert states(place) == {"accepted": ORDERS - 1, "unknown": 1}
    assert len(sink.mails) == ORDERS - 1
    postgres_only.drop(place.url)


def test_a_window_that_is_too_old_is_given_back_unsent(store: Store, spawn: Spawn, sink: Sink) -> None:
    """Nobody has taken its chunk: it goes on, and does not hand over what it had in hand while it was stopped."""
    place = Place(store.copy(), sink.port, changes=(("hand_over_seconds", 1), ("retry_seconds", 1)))
    shop(place)
    told, go = context.Pipe(duplex=False)
    stopped = spawn(tasks.work_until_told, place, RECEIPTS, 2, told)
    assert stopped.hear() == (tasks.HANDING_OVER,)
    began = elapsed_clock()
    stop(stopped)
    until(lambda: elapsed_clock() > began + 1, "the window to be too old")
    go.send(None)
    stopped.signal(SIGCONT)
    assert stopped.end() == ("done", {"accepted": ORDERS - 1, "returned": 1})
    assert len(sink.mails) == ORDERS - 1
    with opened(place.url) as database:
        reasons = [row["reason"] for row in ledger(database).values() if row["state"] == "planned"]
    assert reasons == ["not handed over within 1 s of the intent"]

    def sent() -> bool:
        spawn(tasks.work, place, RECEIPTS).end()
        return len(sink.mails) == ORDERS

    until(sent, "the pause before the next try to be over")
    assert states(place) == {"accepted": ORDERS}
    assert sent_twice(sink) == []
    store.drop(place.url)


def test_on_sqlite_a_stopped_worker_keeps_what_it_owns_and_shows_as_stalled_until_it_is_dead(
    sqlite_store: Store, spawn: Spawn, sink: Sink, typing: Typing, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(sqlite_store.copy(), sink.port)
    shop(place)
    told, _ = context.Pipe(duplex=False)
    stopped = spawn(tasks.work_until_told, place, RECEIPTS, 2, told)
    assert stopped.hear() == (tasks.HANDING_OVER,)
    stop(stopped)
    assert spawn(tasks.work, place, RECEIPTS, 2).end() == ("done", {"accepted": ORDERS - 2})
    assert states(place) == {"accepted": ORDERS - 2, "sending": 1, "planned": 1}
    monkeypatch.setenv("EVERGREET_OWNER_SILENCE_SECONDS", "1")
    type_in = typing(place.url)

    def seen() -> dict[str, object]:
        (view,) = json.loads(type_in("workers", "--json").out)
        return {name: view[name] for name in ("pid", "alive", "stalled", "chunks", "in_hand")}

    until(lambda: seen()["stalled"], "the worker to count as stalled")
    assert seen() == {"pid": stopped.pid, "alive": True, "stalled": True, "chunks": 1, "in_hand": 1}
    stopped.signal(SIGKILL)
    assert stopped.end() == (tasks.HANDING_OVER,)
    assert not seen()["alive"]
    assert spawn(tasks.work, place, RECEIPTS, 2).end() == ("done", {"accepted": 1})
    assert states(place) == {"accepted": ORDERS - 1, "unknown": 1}
    assert sent_twice(sink) == []
    assert type_in("workers", "--json").out.strip() == "[]"


def test_a_session_that_an_administrator_ends_is_lost_with_what_it_owned(
    postgres_only: PostgresStore, typing: Typing, sink: Sink
) -> None:
    place = Place(postgres_only.copy(), sink.port)
    type_in = typing(place.url)
    assert type_in("launch", "thank-you").code == 0
    with opened(place.url) as database:
        shoppers(database, ORDERS)

    def end_the_session(_recipient: str) -> None:
        if len(sink.mails) == 1:
            assert postgres_only.end_owners(place.url) == 1

    sink.on_arrival = end_the_session
    assert "lost its connection to the database, and with it what it owned" in type_in("run", "thank-you").sentence
    in_hand = states(place)["sending"]
    assert in_hand
    assert type_in("run", "thank-you").code == 0
    found = states(place)
    assert found == {"accepted": ORDERS - in_hand, "unknown": in_hand}
    assert sent_twice(sink) == []
    postgres_only.drop(place.url)
