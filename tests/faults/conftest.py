"""Stores that can be copied, a mail server with books of its own, and processes to kill."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.children import Child, start
from tests.faults.sink import Sink
from tests.faults.stores import SqliteStore, Store, postgres_store, quick_folder
from tests.faults.typed import Typing, type_on


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Makes databases; the test runs once on each kind."""
    if request.param == "sqlite":
        yield from sqlite(request.getfixturevalue("sqlite_template"))
    else:
        yield from postgres(request.getfixturevalue("postgres_url"))


@pytest.fixture
def sqlite_store(sqlite_template: Path) -> Iterator[Store]:
    yield from sqlite(sqlite_template)


@pytest.fixture
def postgres_only(postgres_url: str) -> Iterator[Store]:
    yield from postgres(postgres_url)


def sqlite(template: Path) -> Iterator[Store]:
    with tempfile.TemporaryDirectory(dir=quick_folder()) as folder:
        yield SqliteStore(template, Path(folder))


def postgres(template: str) -> Iterator[Store]:
    with postgres_store(template) as store:
        yield store


@pytest.fixture
def url(store: Store) -> Iterator[str]:
    """A fresh database with the schema; the test runs once on each kind."""
    made = store.copy()
    yield made
    store.drop(made)


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as running:
        yield running


@pytest.fixture
def spawn() -> Iterator[Callable[..., Child]]:
    """Start processes that have ended when the test has."""
    children: list[Child] = []

    def begin(task: Callable[..., Any], *arguments: Any) -> Child:
        children.append(start(task, *arguments))
        return children[-1]

    yield begin
    for child in children:
        child.close()


@pytest.fixture
def typing(sink: Sink, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typing:
    """Type commands on a database, as a person does."""
    return lambda url: type_on(url, sink.port, monkeypatch, capsys)
