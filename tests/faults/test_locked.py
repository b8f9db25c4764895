"""Another process has locked the database: a sentence, nothing half-written, and the next run goes on."""

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from evergreet import database as stores
from evergreet import delivery, ledger
from evergreet.database import parse_url
from tests.faults.orders import ORDERS, finishes, shop, states
from tests.faults.sink import Sink
from tests.faults.typed import Typing


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for a lock."""
    monkeypatch.setattr(stores, "BUSY_SECONDS", 0.2)


@pytest.mark.usefixtures("impatient")
def test_a_database_that_another_process_has_locked_is_told_and_the_next_run_does_everything(
    sqlite_url: str, typing: Typing, sink: Sink
) -> None:
    type_in = typing(sqlite_url)
    shop(sqlite_url, type_in)
    with closing(sqlite3.connect(str(parse_url(sqlite_url).database), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "was locked by another process" in type_in("run", "thank-you").sentence
        assert sink.mails == []
        other.execute("ROLLBACK")
    assert finishes(sqlite_url, type_in, sink) == {"accepted": ORDERS}


@pytest.mark.usefixtures("impatient")
def test_a_lock_that_comes_while_a_mail_is_in_hand_leaves_that_one_in_doubt(
    sqlite_url: str, typing: Typing, sink: Sink
) -> None:
    type_in = typing(sqlite_url)
    shop(sqlite_url, type_in)
    other = sqlite3.connect(str(parse_url(sqlite_url).database), isolation_level=None, check_same_thread=False)

    def lock_at_the_third(_recipient: str) -> None:
        if len(sink.mails) == 3 and not other.in_transaction:
            other.execute("BEGIN IMMEDIATE")

    sink.on_arrival = lock_at_the_third
    with closing(other):
        assert "was locked by another process" in type_in("run", "thank-you").sentence
    sink.on_arrival = None
    in_hand = states(sqlite_url)["sending"]
    found = finishes(sqlite_url, type_in, sink)
    assert found["unknown: the worker died between intent and settle"] == in_hand
    assert found["accepted"] == ORDERS - in_hand


@pytest.mark.usefixtures("impatient")
def test_a_message_is_not_to_blame_for_a_lock_that_ends_its_worker(
    sqlite_url: str, typing: Typing, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a death messages are taken in hand one by one; the lock comes whenever the first one is."""
    type_in = typing(sqlite_url)
    shop(sqlite_url, type_in)
    real = ledger.write_intent

    def locked(*arguments: Any) -> Any:
        with closing(sqlite3.connect(str(parse_url(sqlite_url).database), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(delivery, "write_intent", locked)
        for _ in range(4):
            assert "was locked by another process" in type_in("run", "thank-you").sentence
    assert finishes(sqlite_url, type_in, sink) == {"accepted": ORDERS}
