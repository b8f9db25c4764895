"""The connection to PostgreSQL breaks at any COMMIT: the worker stops with a sentence, the next run finishes."""

from typing import Any

import pytest
from sqlalchemy.engine.default import DefaultDialect

from evergreet.audit import audit
from evergreet.clock import FrozenClock
from evergreet.database import Database
from evergreet.errors import EvergreetError
from tests.conftest import NOW
from tests.faults.stores import PostgresStore, opened
from tests.story import Story

CONTACTS = 2


def run_and_break(story: Story, store: PostgresStore, url: str, number: int, when: str) -> tuple[bool, str]:
    """Run, and break the worker's session at its n-th COMMIT; return whether it came so far, and what it said."""
    commit = DefaultDialect.do_commit
    passed = 0

    def do_commit(dialect: Any, connection: Any) -> None:
        nonlocal passed
        passed += 1
        if passed == number and when == "before":
            store.end_owners(url)
        commit(dialect, connection)  # type: ignore[no-untyped-call]
        if passed == number and when == "after":
            store.end_owners(url)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(DefaultDialect, "do_commit", do_commit)
        try:
            story.run()
        except EvergreetError as error:
            return True, str(error)
    return passed >= number, ""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_that_breaks_at_any_commit(postgres_only: PostgresStore, when: str) -> None:
    base = postgres_only.copy()
    with opened(base) as database:
        story = Story(database, FrozenClock(NOW))
        story.launch()
        story.happened("order_placed", *story.contacts(CONTACTS))
    number, told = 0, set()
    reached = True
    while reached:
        number += 1
        url = postgres_only.copy(base)
        with opened(url) as database:
            story = Story(database, FrozenClock(NOW))
            reached, sentence = run_and_break(story, postgres_only, url, number, when)
            told.add(sentence)
            finishes(story, database)
        postgres_only.drop(url)
    postgres_only.drop(base)
    assert number > 15
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
