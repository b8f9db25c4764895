"""The schema, the order of ingestion, and what the store refuses."""

import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import col

import models.migrations
from evergreet.database import (
    Database,
    check_schema,
    ingest_position,
    known_revisions,
    parse_url,
    settled_position,
    upgrade,
)
from evergreet.errors import ConfigurationError, SchemaError
from evergreet.tally import count_by_state
from models import Contact, Table
from tests.conftest import NOW


def test_autogenerate_finds_no_difference_between_tables_and_migrations(database: Database) -> None:
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []


def test_migrations_are_numbered_in_the_order_in_which_they_follow_each_other() -> None:
    """`check_schema` goes by the names of the files, so that reading commands need not load Alembic."""
    script = ScriptDirectory(str(Path(str(models.migrations.__file__)).parent))
    assert known_revisions() == [revision.revision for revision in script.walk_revisions()][::-1]
    assert known_revisions()[-1] == script.get_current_head()


def test_upgrading_twice_changes_nothing(database: Database) -> None:
    upgrade(database)
    check_schema(database)


def test_after_an_upgrade_another_process_may_upgrade_as_well(database: Database) -> None:
    upgrade(database)
    if not database.is_sqlite:
        held = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database AND d.datname = current_database()"
        with database.read() as connection:
            assert connection.execute(text(f"{held} WHERE locktype = 'advisory'")).scalar_one() == 0


def test_what_was_sent_before_caps_per_topic_has_its_topic_after_the_upgrade(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/old.db")
    upgrade(database, "0001")
    with database.write() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        for statement in (
            """INSERT INTO campaign (id, name, state, state_reason, state_by, created_at)
               VALUES (1, 'c', 'live', '', '', 0)""",
            """INSERT INTO campaign_version VALUES (1, 1, 'h', '{"campaign": {"topic": "offers"}}', 0)""",
            """INSERT INTO contact (id, source, source_id, attributes, content_hash, created_at, changed_at, position)
               VALUES (1, 's', '1', '{}', '', 0, 0, 0)""",
            """INSERT INTO enrollment (id, campaign_id, version_id, contact_id, occurrence, caused_at, enrolled_at,
               state, reason) VALUES (1, 1, 1, 1, 'o', 0, 0, 'finished', '')""",
            """INSERT INTO message (id, enrollment_id, campaign_id, version_id, contact_id, occurrence, step_key,
               channel, purpose, due_at, state, reason, attempts, deaths, changed_at)
               VALUES (1, 1, 1, 1, 1, 'o', 's', 'email', 'marketing', 0, 'accepted', '', 1, 0, 0)""",
        ):
            connection.exec_driver_sql(statement)
    upgrade(database)
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT topic FROM message").scalar_one() == "offers"
    database.close()


def test_what_was_settled_before_it_was_tallied_is_in_the_tally_after_the_upgrade(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/old.db")
    upgrade(database, "0002")
    rows = (
        (1, "accepted", "", 7, "NULL", "NULL"), (2, "accepted", "", "NULL", "NULL", "NULL"),
        (3, "skipped", "holdout", "NULL", "NULL", "NULL"), (4, "failed", "no such user", 7, "NULL", "NULL"),
        (5, "unknown", "no answer", 7, "NULL", "NULL"), (6, "deferred", "quiet_hours", "NULL", "NULL", 9),
        (7, "planned", "", 7, 1, 9),
    )  # fmt: skip
    with database.write() as connection:
        for statement in (
            """INSERT INTO campaign (id, name, state, state_reason, state_by, created_at)
               VALUES (1, 'c', 'live', '', '', 0)""",
            "INSERT INTO campaign_version VALUES (1, 1, 'h', '{}', 0)",
            """INSERT INTO contact (id, source, source_id, attributes, content_hash, created_at, changed_at, position)
               VALUES (1, 's', '1', '{}', '', 0, 0, 0)""",
            """INSERT INTO chunk (id, campaign_id, version_id, step_key, priority, state, epoch, deaths, created_at)
               VALUES (1, 1, 1, 's', 1, 'open', 0, 0, 0)""",
        ):
            connection.exec_driver_sql(statement)
        for number, state, reason, sent_at, chunk, not_before in rows:
            connection.exec_driver_sql(
                f"""INSERT INTO enrollment (id, campaign_id, version_id, contact_id, occurrence, caused_at, enrolled_at,
                    state, reason) VALUES ({number}, 1, 1, 1, '{number}', 0, 0, 'finished', '')"""
            )
            connection.exec_driver_sql(
                f"""INSERT INTO message (id, enrollment_id, campaign_id, version_id, contact_id, occurrence, step_key,
                    channel, purpose, due_at, attempts, deaths, changed_at, state, reason, sent_at, chunk_id,
                    not_before) VALUES ({number}, {number}, 1, 1, 1, '{number}', 's', 'email', 'marketing', 0, 1, 0, 5,
                    '{state}', '{reason}', {sent_at}, {chunk}, {not_before})"""
            )
    upgrade(database)
    with database.read() as connection:
        assert count_by_state(connection, 1) == {
            ("accepted", ""): 2, ("skipped", "holdout"): 1, ("failed", "no such user"): 1,
            ("unknown", "no answer"): 1, ("deferred", "quiet_hours"): 1, ("planned", ""): 1,
        }  # fmt: skip
        times = "SELECT id, sent_at, unknown_since, not_before FROM message ORDER BY id"
        assert [tuple(row) for row in connection.exec_driver_sql(times)] == [
            (1, 7, None, None), (2, 5, None, None), (3, None, None, None), (4, None, None, None), (5, 7, 5, None),
            (6, None, None, 9), (7, None, None, None),
        ]  # fmt: skip
    database.close()


def test_an_unknown_schema_is_refused(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaError, match="does not know"):
        check_schema(database)


def test_a_database_without_tables_is_refused(tmp_path: object) -> None:
    with pytest.raises(SchemaError, match="evergreet db upgrade"):
        check_schema(Database(f"sqlite:///{tmp_path}/empty.db"))


@pytest.mark.parametrize("url", ["mysql://root@localhost/x", "nonsense", "sqlite://"])
def test_a_store_that_cannot_hold_the_ledger_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_url(url)


def test_commits_are_durable_on_every_connection(database: Database) -> None:
    question = "PRAGMA synchronous" if database.is_sqlite else "SHOW synchronous_commit"
    for engine in (database.engine, database.single()):
        with engine.connect() as connection:
            assert connection.execute(text(question)).scalar_one() == (2 if database.is_sqlite else "on")


def test_a_statement_sees_what_was_committed_before_it_whatever_the_database_is_set_to(fresh_postgres_url: str) -> None:
    """Gates are asked after the locks are taken; with one snapshot per transaction they would see what was before."""
    database = Database(fresh_postgres_url)
    with database.write() as connection:
        name = database.url.database
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'"))
    database.close()
    with database.write() as connection:
        assert connection.execute(text("SHOW transaction_isolation")).scalar_one() == "read committed"
    with database.single().connect() as connection:
        assert connection.execute(text("SHOW transaction_isolation")).scalar_one() == "read committed"
    database.close()


def test_nothing_commits_below_the_settled_position(database: Database) -> None:
    """Two transactions that commit in reverse order: the later commit is not below the cursor yet."""
    if database.is_sqlite:
        pytest.skip("SQLite has one writer at a time")
    first_has_position, second_committed = threading.Event(), threading.Event()
    positions: dict[str, int] = {}

    def slow() -> None:
        with database.write() as connection:
            positions["slow"] = ingest_position(connection)
            first_has_position.set()
            assert second_committed.wait(10)

    thread = threading.Thread(target=slow)
    thread.start()
    assert first_has_position.wait(10)
    with database.write() as connection:
        positions["fast"] = ingest_position(connection)
        _contact(connection, positions["fast"])
    with database.read() as connection:
        assert settled_position(connection) <= positions["slow"] < positions["fast"]
    second_committed.set()
    thread.join()
    with database.read() as connection:
        assert settled_position(connection) > positions["fast"]


def test_positions_rise_with_every_transaction(database: Database) -> None:
    seen = []
    for _ in range(3):
        with database.write() as connection:
            seen.append(ingest_position(connection))
            _contact(connection, seen[-1])
    assert seen == sorted(set(seen))
    with database.read() as connection:
        assert list(connection.execute(select(col(Contact.position)).order_by(col(Contact.id))).scalars()) == seen


def _contact(connection: Connection, position: int) -> None:
    connection.execute(
        insert(Contact).values(source="t", source_id=str(position), created_at=NOW, changed_at=NOW, position=position)
    )


def test_an_error_does_not_repeat_what_was_to_be_stored(database: Database) -> None:
    with pytest.raises(DBAPIError) as refused, database.write() as connection:
        connection.execute(text("INSERT INTO nowhere VALUES (:address)"), {"address": "ana@example.org"})
    assert "ana@" not in str(refused.value)
