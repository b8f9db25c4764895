"""The disk of the database is full: a sentence, nothing half-written, and the next run goes on."""

import shutil
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from evergreet.database import parse_url
from tests.faults.disks import fill, hand_to_server, mount, unmount
from tests.faults.orders import ORDERS, finishes, shop, states
from tests.faults.sink import Sink
from tests.faults.stores import PostgresStore, SqliteStore
from tests.faults.typed import Type, Typing

MANY = 200
"""More than the free room in the pages that a database has already."""


@contextmanager
def page_limit() -> Iterator[Callable[[int], None]]:
    """Let no SQLite database grow beyond so many pages, also in connections that are open already."""
    limited: list[int] = []
    connections: list[sqlite3.Connection] = []

    def opening(connection: Any, _record: Any) -> None:
        connections.append(connection.driver_connection if hasattr(connection, "driver_connection") else connection)
        if limited:
            connection.execute(f"PRAGMA max_page_count = {limited[-1]}")

    def limit(pages: int) -> None:
        limited.append(pages)
        for connection in connections:
            with suppress(sqlite3.ProgrammingError):  # closed
                connection.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(Engine, "connect", opening)
    try:
        yield limit
    finally:
        event.remove(Engine, "connect", opening)


def pages(url: str) -> int:
    """How large the database is."""
    with closing(sqlite3.connect(str(parse_url(url).database))) as connection:
        (count,) = connection.execute("PRAGMA page_count").fetchone()
    return int(count)


def every_minute(type_in: Type) -> int:
    """Run again and again, as the dispatcher does; return how often the disk was full."""
    for failures in range(5):
        ran = type_in("run", "thank-you")
        if ran.code == 0:
            return failures
        assert "is full" in ran.sentence
    return 5


def test_a_disk_that_is_full_is_told_and_the_run_after_it_finishes(
    sqlite_store: SqliteStore, typing: Typing, sink: Sink
) -> None:
    base = sqlite_store.copy()
    shop(base, typing(base))
    for room in range(100):
        url = sqlite_store.copy(base)
        type_in = typing(url)
        sink.forget()
        with page_limit() as limit:
            limit(pages(url) + room)
            failures = every_minute(type_in)
        found = finishes(url, type_in, sink)
        if not failures:
            assert found == {"accepted": ORDERS}
            break
    assert 1 <= room < 99


def test_a_disk_that_becomes_full_while_mails_go_out_leaves_those_in_hand_in_doubt(
    sqlite_store: SqliteStore, typing: Typing, sink: Sink
) -> None:
    url = sqlite_store.copy()
    type_in = typing(url)
    shop(url, type_in, MANY)
    limited = threading.Event()
    with page_limit() as limit:

        def full(_recipient: str) -> None:
            if not limited.is_set():
                limited.set()
                limit(pages(url))

        sink.on_arrival = full
        assert every_minute(type_in) == 5
        in_hand = states(url).get("sending", 0)
    sink.on_arrival = None
    assert in_hand <= 4  # threads
    in_doubt = {"unknown: the worker died between intent and settle": in_hand} if in_hand else {}
    assert finishes(url, type_in, sink, MANY) == {"accepted": MANY - in_hand, **in_doubt}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if not mount(folder, 24):
        pytest.skip("mounting a small disk needs root and the right to mount")
    yield folder
    unmount(folder)


@pytest.mark.parametrize("room", [0, 48 << 10, 96 << 10, 144 << 10, 192 << 10])
def test_a_small_disk_under_sqlite(
    small_disk: Path, sqlite_template: Path, typing: Typing, sink: Sink, room: int
) -> None:
    shutil.copy(sqlite_template, small_disk / "evergreet.db")
    url = f"sqlite:///{small_disk / 'evergreet.db'}"
    type_in = typing(url)
    shop(url, type_in)
    filler = fill(small_disk, room)
    for _ in range(3):
        ran = type_in("run", "thank-you")
        assert ran.code == 0 or "The disk of the database" in ran.sentence
    filler.unlink()
    found = finishes(url, type_in, sink)
    assert not any("poison" in state for state in found)


@pytest.fixture
def small_postgres(small_disk: Path, postgres_only: PostgresStore) -> Iterator[str]:
    """A database on the small disk."""
    if not hand_to_server(small_disk, postgres_only):
        pytest.skip("the PostgreSQL server is on another machine")
    name = f"small_{uuid.uuid4().hex[:8]}"
    postgres_only.tablespace(name, small_disk)
    url = postgres_only.copy(tablespace=name)
    yield url
    postgres_only.drop(url)
    postgres_only.drop_tablespace(name)


def test_a_small_disk_under_postgresql(small_disk: Path, small_postgres: str, typing: Typing, sink: Sink) -> None:
    type_in = typing(small_postgres)
    shop(small_postgres, type_in)
    failures = 0
    for room in (0, 64 << 10):
        filler = fill(small_disk, room)
        failures += every_minute(type_in)
        filler.unlink()
    assert failures
    found = finishes(small_postgres, type_in, sink)
    assert not any("poison" in state for state in found)
