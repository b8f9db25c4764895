"""Statements of both dialects: lists and rows as one parameter, and rows that are sought by their ids."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Executable, Integer, String, event, insert, select, text
from sqlalchemy.exc import NotSupportedError
from sqlmodel import col

from evergreet import ledger, settling
from evergreet.database import Database
from evergreet.gates import ANY_ERASED
from evergreet.store import among, by_index, given
from evergreet.tokens import Tokens
from models import Contact, Instant, Suppression
from models.base import Id
from tests.conftest import NOW
from tests.story import Story

MANY = 3_000


def test_ids_are_found_however_many_they_are(story: Story) -> None:
    ids = story.contacts(MANY)
    asked = select(col(Contact.id)).where(among(Contact.id, "ids")).order_by(col(Contact.id))
    with story.database.read() as connection:
        for some in (ids, ids[5:7], [ids[0], ids[0], 2**40], []):
            found = connection.execute(asked, {"ids": some}).scalars().all()
            assert found == sorted(set(some) & set(ids))


def test_rows_come_out_as_they_were_given(database: Database) -> None:
    rows = given("rows", number=Id, small=Integer(), said=String(), at=Instant())
    given_rows = [
        (2**40, -1, "plain", NOW),
        (1, 0, "", None),
        (2, 7, "quotes ' \" and \\ and {a,b} and NULL and null", datetime(1969, 7, 20, 20, 17, 40, 123456, tzinfo=UTC)),
        (3, 8, "ü 😀 \u2028 \x01 \n %s :now", datetime(2999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        (4, None, None, None),
        (5, 5, "123", None),
        (6, 6, "null", None),
    ]
    with database.read() as connection:
        assert connection.execute(select(rows), {"rows": given_rows}).tuples().all() == given_rows
        assert connection.execute(select(rows), {"rows": []}).all() == []


def test_a_moment_without_a_zone_is_refused_also_in_a_row(database: Database) -> None:
    rows = given("rows", at=Instant())
    with database.read() as connection, pytest.raises(Exception, match="not JSON serializable"):
        connection.execute(select(rows), {"rows": [(datetime(2026, 1, 1),)]})  # noqa: DTZ001


LANGUAGES = ("und", "en", "de-u-co-phonebk", "da", "es-u-co-trad", "et", "hu", "cs", "lt", "sv", "tr", "vi", "cy", "mt",
             "th", "ja", "zh", "ar", "haw", "und-u-ka-shifted", "da-u-ka-shifted", "hu-u-ka-shifted")  # fmt: skip
"""What orders letters in ways of its own, or passes over colons; for a server that was built with ICU."""


def test_a_hash_that_is_left_of_somebody_is_seen_in_every_collation(database: Database) -> None:
    """What asks whether there is any goes by the order of an index, and so by the collation of the database."""
    hashes = [f"hmac:{first}{second}" for first in "0123456789abcdef" for second in "0af"]
    hashes += Tokens(["one", "two"]).address_hashes("ana@example.org")
    with database.write() as connection:
        names = ["BINARY", "NOCASE", "RTRIM"]
        if not database.is_sqlite:
            usable = "SELECT collname FROM pg_collation WHERE collencoding IN (-1, pg_char_to_encoding('UTF8'))"
            try:
                with connection.begin_nested():
                    for language in LANGUAGES:
                        made = f"CREATE COLLATION \"in {language}\" (provider = icu, locale = '{language}')"
                        connection.execute(text(made))
            except NotSupportedError:  # built without ICU
                usable += " AND collprovider <> 'i'"
            names = list(connection.execute(text(usable)).scalars())
        for name in names:
            missed = [each for each in hashes if not _between(connection, each, name)]
            assert not missed, name


def _between(connection: Connection, value: str, collation: str) -> bool:
    quoted = f'"{collation}"'
    asked = text(f"SELECT :value COLLATE {quoted} >= 'hmac' AND :value COLLATE {quoted} <= 'hmad'")
    return bool(connection.execute(asked, {"value": value}).scalar_one())


@pytest.mark.parametrize(
    ("address", "any_erased"),
    [("hmac:00ff", True), ("hmac:ffff", True), ("hmac@example.org", False), ("hmad@example.org", False), (None, False)],
)
def test_only_a_hash_says_that_somebody_was_erased(database: Database, address: str | None, any_erased: bool) -> None:
    with database.write() as connection:
        if address is not None:
            connection.execute(insert(Suppression).values(address=address, reason="test", source="test", at=NOW))
        assert connection.execute(select(ANY_ERASED)).scalar_one() is any_erased


WINDOW: dict[str, Any] = {"messages": [1, 2], "chunk": 1, "now": NOW}
SEEKING: dict[str, tuple[Executable, dict[str, Any], str]] = {
    "settle, messages": (settling.WRITE_MESSAGES, WINDOW | {"outcomes": []}, "message"),
    "settle, attempts": (settling.WRITE_ATTEMPTS, WINDOW | {"outcomes": []}, "attempt"),
    "intent": (ledger.WRITE_SENDING["email"], WINDOW | {"through": "smtp"}, "message"),
    "intent of SMS": (ledger.WRITE_SENDING["sms"], WINDOW | {"through": "texter"}, "message"),
    "attempts of an intent": (ledger.WRITE_ATTEMPTS, WINDOW | {"run": 1, "worker": 1, "mine": 1}, "message"),
    "decisions": (ledger.WRITE_ENDED, WINDOW | {"ended": []}, "message"),
}


@pytest.mark.parametrize("name", SEEKING)
def test_a_window_is_sought_by_its_ids_though_the_tables_are_empty(database: Database, name: str) -> None:
    """A plan is kept while the tables grow: the one made for few rows must be the one for many."""
    statement, parameters, table = SEEKING[name]
    with database.write() as connection:
        connection.execute(select(by_index()))
        with _explained(connection) as plans:
            connection.execute(statement, parameters)
    (plan,) = plans
    if database.is_sqlite:
        assert f"SEARCH {table} USING" in plan, plan
        assert f"SCAN {table}" not in plan, plan
        assert plan.find("SCAN anon_1") < plan.find(f"SEARCH {table}"), plan  # else each row with each row
    else:
        assert f"on {table}" in plan, plan
        assert "id = ANY" in plan, plan
        assert "Seq Scan" not in plan, plan
        assert "Join Filter" not in plan, plan  # else each row with each row


@contextmanager
def _explained(connection: Connection) -> Iterator[list[str]]:
    """Collect how the store goes about the statements that are executed inside the block."""
    plans: list[str] = []
    how = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"

    def explain(_connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        cursor.execute(f"{how} {statement}", parameters)
        plans.append("\n".join(str(row[-1]) for row in cursor.fetchall()))

    event.listen(connection, "before_cursor_execute", explain)
    try:
        yield plans
    finally:
        event.remove(connection, "before_cursor_execute", explain)
