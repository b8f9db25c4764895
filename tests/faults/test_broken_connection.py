"""The connection to PostgreSQL breaks at a COMMIT: the worker stops with a sentence, the next run finishes."""

from typing import Any

import pytest
from sqlalchemy.engine.default import DefaultDialect

from evergreet.audit import audit
from evergreet.clock import FrozenClock
from evergreet.database import Database
from evergreet.errors import EvergreetError
from tests.conftest import NOW
from tests.faults.children import When, asker
from tests.faults.stores import PostgresStore, opened
from tests.faults.visits import visits
from tests.story import Story

CONTACTS = 2


def run_and_break(
    story: Story, store: PostgresStore, url: str, number: int | None, when: When = "before"
) -> tuple[list[str], str]:
    """Run, and break the worker's session at its n-th COMMIT; return who asked for each, and what was said."""
    commit = DefaultDialect.do_commit
    passed: list[str] = []

    def do_commit(dialect: Any, connection: Any) -> None:
        here = len(passed) == number
        passed.append(asker())
        if here and when == "before":
            store.end_owners(url)
        commit(dialect, connection)  # type: ignore[no-untyped-call]
        if here and when == "after":
            store.end_owners(url)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(DefaultDialect, "do_commit", do_commit)
        try:
            story.run()
        except EvergreetError as error:
            return passed, str(error)
    return passed, ""


def test_a_connection_that_breaks_at_a_commit(postgres_only: PostgresStore) -> None:
    base = postgres_only.copy()
    with opened(base) as database:
        story = Story(database, FrozenClock(NOW))
        story.launch()
        story.happened("order_placed", *story.contacts(CONTACTS))

    def live(number: int | None, when: When = "before") -> tuple[list[str], str]:
        url = postgres_only.copy(base)
        with opened(url) as database:
            story = Story(database, FrozenClock(NOW))
            told = run_and_break(story, postgres_only, url, number, when)
            finishes(story, database)
        postgres_only.drop(url)
        return told

    commits, sentence = live(None)
    assert sentence == ""
    assert len(commits) > 10
    told = {live(number, when)[1] for number, when in visits(commits)}
    postgres_only.drop(base)
    assert len(told - {""}) >= 1
    assert all("connection to the database" in sentence for sentence in told - {""}), told


def finishes(story: Story, database: Database) -> None:
    """Run once more: everybody has one mail, or is in doubt."""
    story.run()
    assert [one.findings for one in audit(database, story.clock)] == [()]
    states = story.states()
    doubtful = states.pop("unknown: the worker died between intent and settle", 0)
    assert states == ({"accepted": CONTACTS - doubtful} if doubtful < CONTACTS else {})
    assert len(story.sender.recipients) == len(set(story.sender.recipients)) >= CONTACTS - doubtful
