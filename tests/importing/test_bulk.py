"""Many rows at once: what goes in by COPY, or by prepared inserts, is what a plain insert stores."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from evergreet.database import Database
from evergreet.importing.bulk import Same, insert_columns
from models import Event
from models import Table as Models
from models.base import EPOCH
from tests.conftest import NOW
from tests.importing.conftest import Loading, outcome

EVENT = Models.metadata.tables["event"]
SIGNS = [
    "\\",
    "\\N",
    "\\.",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\b",
    "\v",
    "\x7f",
    "\\\\n",
    "{",
    '"',
    "'",
    ",",
    "",
    "é",
    "😀",
    "\u2028",
]
WORDS = st.one_of(
    st.lists(st.sampled_from(SIGNS), max_size=6).map("".join),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=6,
)
ROWS = st.lists(
    st.tuples(WORDS, st.dictionaries(WORDS, VALUES, max_size=3), st.timedeltas(timedelta(0), timedelta(days=20_000))),
    max_size=8,
)


def _stored(database: Database) -> list[tuple[Any, ...]]:
    with database.read() as connection:
        wanted = [
            EVENT.c[name] for name in ("name", "properties", "occurred_at", "source_id", "superseded", "position")
        ]
        return [
            tuple(row) for row in connection.execute(select(*wanted, EVENT.c.contact_id).order_by(EVENT.c.source_id))
        ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_both_ways_store_the_same_rows(database: Database, rows: list[tuple[str, dict[str, Any], timedelta]]) -> None:
    same = {"source": "a", "ingested_at": NOW, "position": 3, "contact_id": None}
    plain = [
        {"name": name, "properties": properties, "occurred_at": EPOCH + span, "source_id": f"{name}{number}",
         "revision": 0, "superseded": number % 2 == 1, "content_hash": name, **same}
        for number, (name, properties, span) in enumerate(rows)
    ]  # fmt: skip
    with database.write() as connection:
        connection.execute(delete(Event))
        if plain:
            connection.execute(insert(EVENT), plain)
    expected = _stored(database)
    columns: dict[str, Any] = {name: Same(value) for name, value in same.items()}
    for name in plain[0] if plain else ():
        if name not in same:
            columns[name] = [row[name] for row in plain]
    with database.write() as connection:
        connection.execute(delete(Event))
        if plain:
            insert_columns(connection, EVENT, columns)
    assert _stored(database) == expected


def test_what_a_unique_rule_knows_is_refused_like_any_insert(database: Database) -> None:
    columns: dict[str, Any] = {
        "name": ["a", "b"], "occurred_at": Same(NOW), "properties": Same({}), "source": Same("s"),
        "source_id": ["1", "1"], "revision": Same(0), "superseded": Same(False), "content_hash": Same(""),
        "ingested_at": Same(NOW), "position": Same(1),
    }  # fmt: skip
    with pytest.raises(IntegrityError), database.write() as connection:
        insert_columns(connection, EVENT, columns)
    assert _stored(database) == []


def test_awkward_values_come_through_an_import_unchanged(load: Loading) -> None:
    long = "x" * 1_000_000
    texts = ["\\N", "\\.", "a\tb", "a\nb", "a\rb", "C:\\new\\table", '"quoted"', long]
    rows = [
        json.dumps({"source_id": str(number), "name": "a", "occurred_at": "2026-03-01T10:00:00Z", "value": text}) + "\n"
        for number, text in enumerate(texts)
    ]
    broken = ['{"source_id": "n", "name": "\\u0000", "occurred_at": "2026-03-01T10:00:00Z"}\n',
              '{"source_id": "s", "name": "a", "occurred_at": "2026-03-01T10:00:00Z", "v": "\\ud800"}\n']  # fmt: skip
    summary = load("events", "".join(rows + broken), name="a.jsonl")
    assert outcome(summary) == (10, 8, 0, 0, 2)
    assert summary.reasons == {"NUL character": 1, "broken character": 1}
    with load.database.read() as connection:
        found = connection.execute(select(EVENT.c.properties).order_by(EVENT.c.source_id)).scalars()
        assert [properties["value"] for properties in found] == texts
    assert outcome(load("events", "".join(rows), name="a.jsonl")) == (8, 0, 8, 0, 0)
