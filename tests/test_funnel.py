"""The funnel against figures counted by hand."""

from datetime import timedelta

from sqlalchemy import insert

from evergreet.database import Database
from evergreet.funnel import StageFigures, funnel, stage_counts
from evergreet.lifecycle import Lifecycle, Stage, lifecycle
from models import Contact, Transition
from tests.conftest import NOW

THREE = Lifecycle("three", (Stage("a", "A"), Stage("b", "B"), Stage("c", "C")), ())
DAY = timedelta(days=1)


def walk(database: Database, number: int, *moves: tuple[str, int], erased: bool = False) -> None:
    """Store a contact and its moves, each `days` before now."""
    with database.write() as connection:
        connection.execute(
            insert(Contact).values(
                id=number, source="test", source_id=str(number), stage=moves[-1][0] if moves else None,
                stage_since=NOW, created_at=NOW, changed_at=NOW, erased_at=NOW if erased else None, position=1,
            )
        )  # fmt: skip
        for stage, days in moves:
            connection.execute(
                insert(Transition).values(
                    contact_id=number, to_stage=stage, at=NOW - days * DAY, cause="rule", recorded_at=NOW, position=1
                )
            )


def fill(database: Database) -> None:
    walk(database, 1, ("a", 100), ("b", 90), ("a", 80), ("b", 50))  # forward, back, forward: one who entered
    walk(database, 2, ("a", 100), ("c", 99))  # skips a stage: went on all the same
    walk(database, 3, ("a", 9))
    walk(database, 4, ("b", 20), ("a", 18))  # only back: did not go on
    walk(database, 5)
    walk(database, 6, ("c", 1), erased=True)


def test_the_figures_of_each_stage_are_those_counted_by_hand(database: Database) -> None:
    fill(database)
    with database.read() as connection:
        assert stage_counts(connection) == {"a": 2, "b": 1, "c": 1, None: 1}
        assert funnel(connection, THREE) == [
            StageFigures("a", "A", now=2, entered=4, converted=2, median=10 * DAY),
            StageFigures("b", "B", now=1, entered=2, converted=0, median=6 * DAY),
            StageFigures("c", "C", now=1, entered=2, converted=0, median=None),
        ]
        assert [one.conversion for one in funnel(connection, THREE)] == [0.5, 0.0, 0.0]


def test_since_leaves_out_older_moves(database: Database) -> None:
    fill(database)
    with database.read() as connection:
        a, b, c = funnel(connection, THREE, since=NOW - 80 * DAY)
    assert (a.now, a.entered, a.converted, a.median) == (2, 3, 1, 30 * DAY)
    assert (b.entered, b.median) == (2, 2 * DAY)
    assert (c.entered, c.converted) == (1, 0)


def test_an_empty_store_has_an_empty_funnel(database: Database) -> None:
    with database.read() as connection:
        assert [(one.now, one.entered, one.conversion, one.median) for one in funnel(connection, THREE)] == [
            (0, 0, None, None)
        ] * 3


def test_the_moves_of_two_who_were_merged_are_told_in_the_order_of_time(database: Database) -> None:
    walk(database, 1, ("a", 50), ("b", 10))  # stored first, …
    with database.write() as connection:
        for stage, days in (("a", 90), ("c", 40), ("a", 20)):  # … and what happened before and between, afterwards
            connection.execute(
                insert(Transition).values(
                    contact_id=1, to_stage=stage, at=NOW - days * DAY, cause="rule", recorded_at=NOW, position=2
                )
            )
    with database.read() as connection:
        a, b, c = funnel(connection, THREE)
    assert (a.entered, a.converted, a.median) == (1, 1, 10 * DAY)  # 40 days, 10 days, 10 days
    assert (b.entered, b.converted, b.median) == (1, 0, None)
    assert (c.entered, c.converted, c.median) == (1, 0, 20 * DAY)


def test_moves_that_another_lifecycle_made_count_as_what_stands_for_them(database: Database) -> None:
    walk(database, 1, ("awareness", 90), ("evaluation", 80), ("purchase", 70), ("experience", 60), ("bonding", 30))
    walk(database, 2, ("somewhere", 9), ("engagement", 5))
    with database.read() as connection:
        figures = {one.name: one for one in funnel(connection, lifecycle("loyalty"))}
        assert [(one.name, one.now, one.entered) for one in figures.values()] == [
            ("awareness", 0, 2), ("engagement", 1, 2), ("conversion", 0, 1), ("retention", 1, 1), ("loyalty", 0, 0),
        ]  # fmt: skip
        assert figures["conversion"].median == 10 * DAY
        assert figures["retention"].median is None  # came with `experience`, and `bonding` is the same here
        assert figures["awareness"].converted == 2
