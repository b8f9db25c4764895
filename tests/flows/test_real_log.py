"""A real event log through the campaigns: who was enrolled is counted again by plain SQL over the raw file."""

import csv
import gzip
import sqlite3
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select
from sqlmodel import col

from evergreet.audit import audit
from evergreet.campaigns import LoadTemplate, launch, required, version_of
from evergreet.clock import FrozenClock
from evergreet.database import Database
from evergreet.enrollment import enroll
from evergreet.presets.vocabulary import ACTIVITY, CART, PURCHASED
from evergreet.registry import find_campaigns
from models import CampaignRow, Contact, Enrollment
from tests.importing.conftest import Loading

BEGIN = datetime(2024, 1, 4, tzinfo=UTC)
"""Before the first event of the log; the last is of 29 June."""

STEP = timedelta(days=14)
END = BEGIN + 18 * STEP
"""Sixty days after the last event, and some."""

CAMPAIGNS = ("thank-you", "abandoned-cart", "win-back")


def raw(log: Path) -> sqlite3.Connection:
    """The log as it is, in a table with the number of its line."""
    store = sqlite3.connect(":memory:")
    store.execute("CREATE TABLE log (line INTEGER, person TEXT, name TEXT, at INTEGER)")
    with gzip.open(log, "rt", encoding="utf-8") as file:
        store.executemany(
            "INSERT INTO log SELECT ?, ?, ?, unixepoch(?)",
            ((n, row["user_id"], row["event"], row["timestamp"]) for n, row in enumerate(csv.DictReader(file))),
        )
    return store


def silent(
    store: sqlite3.Connection, after: tuple[str, ...], broken_by: tuple[str, ...], seconds: int, ripe: str
) -> list[tuple[str, int]]:
    """Who did one of `after` at what time, and none of both for so long; a window function over the raw rows."""
    words = [repr(tuple(dict.fromkeys(names))) for names in ((*after, *broken_by), after)]
    return store.execute(
        f"""WITH moves AS (SELECT person, name, at, line,
              lead(at) OVER (PARTITION BY person ORDER BY at, line) AS following
            FROM log WHERE name IN {words[0]})
            SELECT person, at FROM moves
            WHERE name IN {words[1]} AND (following IS NULL OR following > at + {seconds}) AND {ripe}
            ORDER BY person, at"""
    ).fetchall()


def spaced(found: list[tuple[str, int]], seconds: int) -> Counter[tuple[str, str]]:
    """Of these, which are taken so that they lie so far apart; the others are excluded."""
    last: dict[str, int] = {}
    counted: Counter[tuple[str, str]] = Counter()
    for person, at in found:
        taken = at - last.get(person, -seconds) >= seconds
        if taken:
            last[person] = at
        counted[person, "" if taken else "re_entry"] += 1
    return counted


def test_carts_purchases_and_quiet_customers_are_those_that_plain_sql_counts(
    database: Database, clock: FrozenClock, fixtures: Path, tmp_path: Path, templates: LoadTemplate
) -> None:
    """On one store they are told bit by bit, on the other when all was over: how it is told, no store knows."""
    step = STEP if database.is_sqlite else END - BEGIN
    log = fixtures / "data" / "retentioneering_ecom.csv.gz"
    clock.instant = BEGIN
    shipped = find_campaigns("flows")
    for name in CAMPAIGNS:
        launch(database, shipped[name].campaign, shipped[name].options(), templates, clock=clock, actor="test")
    load = Loading(database, clock, tmp_path)
    for part in parts(log, tmp_path, step):
        clock.instant += step
        if part is not None:
            load(
                "events", part, timezone="UTC", build={"create_contacts": True}, source="log",
                maps={"contact": "user_id", "email": "{user_id}@example.test", "name": "event",
                      "occurred_at": "timestamp", "source_id": "line"},
            )  # fmt: skip
        for name in CAMPAIGNS:
            with database.write() as connection:
                state = required(connection, name)
                assert state.version_id is not None
                enroll(connection, state, version_of(connection, state.version_id), clock.instant)
    assert clock.instant == END
    assert [one.findings for one in audit(database, clock)] == [(), (), ()]

    store = raw(log)
    carts = silent(store, CART, PURCHASED, 3600, "true")
    bought = "EXISTS (SELECT 1 FROM log WHERE log.person = moves.person AND name IN {} AND log.at <= moves.at)"
    quiet = silent(store, ACTIVITY, (), 60 * 86_400, bought.format(repr(PURCHASED)))
    purchases = store.execute("SELECT person, at FROM log WHERE name = 'purchase'").fetchall()
    assert enrolled(database, "abandoned-cart") == spaced(carts, 3 * 86_400)
    assert enrolled(database, "win-back") == spaced(quiet, 0)
    assert enrolled(database, "thank-you") == spaced(purchases, 0)

    by_reason = Counter(reason for _, reason in spaced(carts, 3 * 86_400).elements())
    assert (len(carts), by_reason[""], by_reason["re_entry"]) == (1016, 970, 46)
    assert (len(quiet), len({person for person, _ in quiet}), len(purchases)) == (354, 328, 470)
    store.close()


def parts(log: Path, folder: Path, length: timedelta) -> list[Path | None]:
    """Cut the log by time; each line keeps its number, and a part without lines is None."""
    slices: dict[int, list[dict[str, str]]] = {}
    with gzip.open(log, "rt", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file)):
            at = datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC)
            slices.setdefault((at - BEGIN) // length, []).append({"line": str(number), **row})
    made: list[Path | None] = []
    for index in range((END - BEGIN) // length):
        rows = slices.get(index)
        made.append(folder / f"part-{index}.csv" if rows else None)
        if rows:
            with (folder / f"part-{index}.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, rows[0])
                writer.writeheader()
                writer.writerows(rows)
    return made


def enrolled(database: Database, campaign: str) -> Counter[tuple[str, str]]:
    """Count the enrollments of a campaign by person, and by the reason where they were excluded."""
    with database.read() as connection:
        return Counter(
            connection.execute(
                select(col(Contact.source_id), col(Enrollment.reason))
                .join(Contact, col(Contact.id) == col(Enrollment.contact_id))
                .join(CampaignRow, col(CampaignRow.id) == col(Enrollment.campaign_id))
                .where(col(CampaignRow.name) == campaign)
            ).tuples()
        )
