"""A query is read as a CRM: by its times and ids, from any row on, and nothing is written."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from connectors.crm.sql import Sql
from connectors.crm.sql_settings import SqlSettings
from evergreet.contracts import Agreement, CrmContact
from evergreet.errors import DataError, Misconfigured, Retryable
from evergreet.testing import CrmConnectorContract

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
QUERY = "SELECT id, email, first_name, updated AS changed_at FROM customers -- the shop's;"


def sql(url: str, **settings: Any) -> Sql:
    """A connector in whose world it is NOW."""
    known = {"url": url, "query": QUERY, "page": 3, "connect_timeout": 1, "timeout": 1, **settings}
    return Sql(SqlSettings.model_validate(known), now=lambda: NOW)


class TestSql(CrmConnectorContract):
    entry_point = "sql"
    required_settings = ("EVERGREET_SQL_URL", "EVERGREET_SQL_QUERY")
    secrets = ("canary-password",)
    writes = False
    by_http = False

    @pytest.fixture
    def shop(self, tmp_path: Path) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(tmp_path / "shop.db", isolation_level=None)) as shop:
            shop.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, email UNIQUE, first_name, updated)")
            yield shop

    @pytest.fixture
    def connect(self, shop: sqlite3.Connection, tmp_path: Path) -> Callable[[], Sql]:
        return lambda: sql(f"sqlite:///{tmp_path}/shop.db")

    @pytest.fixture
    def unreachable(self) -> Sql:
        return sql("postgresql://reader:canary-password@127.0.0.1:1/shop")

    @pytest.fixture
    def put(self, shop: sqlite3.Connection) -> Callable[[str, str], str]:
        """Two changes have the same time, as clocks are coarse."""
        seconds = iter(range(10_000))

        def put(email: str, name: str) -> str:
            at = (NOW - timedelta(days=1) + timedelta(seconds=next(seconds) // 2)).isoformat(sep=" ")
            found = shop.execute(
                "INSERT INTO customers (email, first_name, updated) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET "
                "first_name = excluded.first_name, updated = excluded.updated RETURNING id",
                (email, name, at),
            ).fetchone()
            return str(found[0])

        return put


@pytest.fixture
def shop(fresh_postgres_url: str) -> Iterator[psycopg.Connection]:
    """A shop's database."""
    with psycopg.connect(fresh_postgres_url.replace("+psycopg", "", 1), autocommit=True) as shop:
        shop.execute(
            "CREATE TABLE customers (id uuid PRIMARY KEY, email text, first_name text, updated timestamptz, "
            "size numeric, born date, tags jsonb, picture bytea, news boolean, agreed timestamptz)"
        )
        yield shop


def add(shop: psycopg.Connection, number: int, updated: datetime, **values: Any) -> str:
    """Add a customer; return the id."""
    key = f"00000000-0000-0000-0000-{number:012}"
    known = {"id": key, "updated": updated, **values}
    shop.execute(
        f"INSERT INTO customers ({', '.join(known)}) VALUES ({', '.join(['%s'] * len(known))})".encode(),
        list(known.values()),
    )
    return key


def read(connector: Sql, cursor: str = "") -> tuple[list[CrmContact], list[tuple[str, str]], str]:
    """Read to the end."""
    contacts: list[CrmContact] = []
    unreadable: list[tuple[str, str]] = []
    more = True
    while more:
        page = connector.changed_since(cursor)
        contacts, unreadable = [*contacts, *page.contacts], [*unreadable, *page.unreadable]
        cursor, more = page.cursor, page.more
    return contacts, unreadable, cursor


def test_postgresql_is_read_by_its_own_types(shop: psycopg.Connection, fresh_postgres_url: str) -> None:
    at = NOW - timedelta(days=3, microseconds=1)
    keys = [add(shop, number, at, email=f"p{number}@example.com", size=number, born="1990-02-28", tags='["a"]',
                news=True, agreed=at) for number in range(5)]  # fmt: skip
    add(shop, 8, at, picture=b"\x89")
    endless = add(shop, 7, at, size="Infinity")
    shop.execute("INSERT INTO customers (id) VALUES ('00000000-0000-0000-0000-000000000009')")  # never changed
    query = (
        'SELECT id, email, size, born, tags, picture, updated AS "when", news AS "consent.news", agreed AS consent_at '
        "FROM customers WHERE coalesce(first_name, '') <> ':x' AND '{\"a\":1}'::jsonb ? 'a';"
    )
    url = fresh_postgres_url.replace("+psycopg", "", 1)
    contacts, unreadable, cursor = read(sql(url, query=query, changed_at_column="when", page=2))
    assert contacts[3] == CrmContact(
        keys[3], at, "p3@example.com", {"size": 3, "born": "1990-02-28", "tags": ["a"], "picture": None},
        (Agreement("news", True, at),),
    )  # fmt: skip
    assert [one.id for one in contacts] == [*keys, endless]
    assert unreadable == [("00000000-0000-0000-0000-000000000008", "it has a value of bytes, which is no text")]
    assert read(sql(url, query=query, changed_at_column="when"), cursor)[0] == []


def test_a_transaction_that_is_committed_late_is_not_missed(shop: psycopg.Connection, fresh_postgres_url: str) -> None:
    first = add(shop, 1, NOW - timedelta(seconds=5))
    connector = sql(fresh_postgres_url, overlap=60)
    contacts, _, cursor = read(connector)
    assert [one.id for one in contacts] == [first]
    late = add(shop, 0, NOW - timedelta(seconds=20))
    contacts, _, cursor = read(connector, cursor)
    assert [one.id for one in contacts] == [late, first]  # told again it does no harm
    shop.execute("UPDATE customers SET updated = %s", [NOW - timedelta(minutes=2)])
    contacts, _, cursor = read(sql(fresh_postgres_url, overlap=60), "")
    assert read(connector, cursor)[0] == []  # nothing was changed in the last minute: nothing is read again
    shop.execute("UPDATE customers SET updated = %s", [NOW - timedelta(seconds=5)])
    just_a_page = sql(fresh_postgres_url, overlap=60, page=2)
    _, _, cursor = read(just_a_page)
    later = add(shop, 3, NOW - timedelta(seconds=20))
    assert later in [one.id for one in read(just_a_page, cursor)[0]]


@pytest.mark.parametrize("unit", [1, 1000])
def test_times_that_are_counts_are_read_again_as_well(tmp_path: Path, unit: int) -> None:
    """In seconds since 1970, or milliseconds: what is committed late is not missed there either."""
    path = tmp_path / "shop.db"
    count = int(NOW.timestamp()) * unit
    with closing(sqlite3.connect(path)) as shop:
        shop.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT, changed_at INTEGER)")
        shop.execute("INSERT INTO customers VALUES (1, 'p1@example.com', ?)", [count - 5 * unit])
        shop.commit()
        query = "SELECT id, email, changed_at FROM customers"
        connector = sql(f"sqlite:///{path}", query=query, overlap=60)
        contacts, _, cursor = read(connector)
        assert [one.id for one in contacts] == ["1"]
        shop.execute("INSERT INTO customers VALUES (2, 'p2@example.com', ?)", [count - 20 * unit])
        shop.execute("INSERT INTO customers VALUES (3, 'p3@example.com', NULL)")
        shop.commit()
    contacts, _, cursor = read(connector, cursor)
    assert [one.id for one in contacts] == ["2", "1"]
    assert "Rows without changed_at or id are there, and are not read." in connector.check()


def test_nothing_can_be_written_and_a_slow_query_ends(
    shop: psycopg.Connection, fresh_postgres_url: str, tmp_path: Path
) -> None:
    add(shop, 1, NOW)
    writing = "SELECT id, now() AS changed_at, nextval('counted') AS n FROM customers"
    shop.execute("CREATE SEQUENCE counted")
    with pytest.raises(Misconfigured, match="read-only transaction"):
        sql(fresh_postgres_url, query=writing).check()
    with pytest.raises(Misconfigured, match="syntax error"):
        sql(fresh_postgres_url, query="DELETE FROM customers RETURNING *").check()
    with pytest.raises(Retryable, match="statement timeout"):
        sql(fresh_postgres_url, query="SELECT id, updated AS changed_at, pg_sleep(30) FROM customers").check()
    path = tmp_path / "shop.db"
    sqlite3.connect(path).close()
    endless = (
        "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT max(id) AS id, 1 AS changed_at FROM n"
    )
    with pytest.raises(Retryable, match="interrupted"):
        sql(f"sqlite:///{path}", query=endless).check()


def test_what_is_wrong_is_a_sentence_without_the_password(fresh_postgres_url: str, tmp_path: Path) -> None:
    (tmp_path / "no.db").write_text("this is no database, whatever its name says")
    for url, query, kind, says in (
        ("no url", QUERY, Misconfigured, "not a database URL"),
        ("unheard://u:canary@h/d", QUERY, Misconfigured, "driver that is not installed"),
        (f"sqlite:///{tmp_path}/nowhere.db", QUERY, Misconfigured, "there is no file"),
        (f"sqlite:///{tmp_path}/no.db", QUERY, Misconfigured, "not a database"),
        ("postgresql://u:canary@127.0.0.1:1/shop", QUERY, Retryable, "did not answer"),
        (fresh_postgres_url, QUERY, Misconfigured, 'relation "customers" does not exist'),
        (fresh_postgres_url, "SELECT 1 AS id", Misconfigured, "changed_at"),
        (fresh_postgres_url, "SELECT 1 AS id, '{}'::jsonb AS changed_at", Misconfigured, "cast the column"),
    ):  # fmt: skip
        with pytest.raises(kind, match=says) as told:
            sql(url, query=query).changed_since("")
        assert "canary" not in str(told.value)
        assert "\n" not in str(told.value)
    with closing(sql("postgresql://127.0.0.1:1/shop?password=canary&user=u")) as connector:
        assert "canary" not in repr(connector)
    with closing(sql(fresh_postgres_url)) as connector, pytest.raises(DataError, match="--from-start"):
        connector.changed_since('[["int", "x"], ["int", "1"]]')
