"""Random rows written as CSV and as JSONL: what comes out is what went in, and the second time nothing changes."""

import csv
import io
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlmodel import col

from evergreet.importing.values import digest
from models import Event
from tests.conftest import NOW
from tests.importing.conftest import Loading, outcome

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
NUMBERS = st.integers(-(10**14), 10**14) | st.decimals(-9999, 9999, places=3).map(float)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["view", "order placed", "réturn"]),
            "contact": st.sampled_from(["1", "ann", "Zoë"]),
            "occurred_at": st.integers(0, 5).map(lambda days: (NOW - timedelta(days=days)).isoformat()),
            "note": TEXTS,
            "amount": st.none() | NUMBERS,
        }
    ),
    min_size=1, max_size=25,
)  # fmt: skip


def _as_csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _as_jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=index % 2 == 0) + "\n" for index, row in enumerate(rows))


def _expected(rows: list[dict[str, Any]]) -> Counter[tuple[str, datetime, str]]:
    return Counter(
        (
            row["name"],
            datetime.fromisoformat(row["occurred_at"]).astimezone(UTC),
            digest({key: row[key] for key in ("note", "amount") if row[key] not in (None, "")}),
        )
        for row in rows
    )


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@given(rows=ROWS, batch_rows=st.integers(1, 12))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_imported_is_what_was_written(
    load: Loading, form: str, rows: list[dict[str, Any]], batch_rows: int
) -> None:
    source = uuid4().hex
    text = _as_csv(rows) if form == "csv" else _as_jsonl(rows)
    path: Path = load.file(text, f"input.{form}")
    maps = {"note:text": "note", "amount:number": "amount"}
    options: dict[str, Any] = {"maps": maps, "build": {"create_contacts": True}, "source": source}
    count = len(rows)
    assert outcome(load("events", path, batch_rows=batch_rows, **options)) == (count, count, 0, 0, 0)
    assert outcome(load("events", path, **options)) == (count, 0, count, 0, 0)
    with load.database.read() as connection:
        stored = connection.execute(
            select(col(Event.name), col(Event.occurred_at), col(Event.properties)).where(col(Event.source) == source)
        ).all()
    assert Counter((row.name, row.occurred_at, digest(row.properties)) for row in stored) == _expected(rows)
