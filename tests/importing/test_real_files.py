"""Files that nobody here wrote, counted again by plain SQL."""

from pathlib import Path

from tests.importing.conftest import Loading, outcome

MAPS = {"contact": "user_id", "email": "{user_id}@example.test", "name": "event", "occurred_at": "timestamp"}


def test_a_real_event_log_is_stored_to_the_last_row(load: Loading, fixtures: Path) -> None:
    log = fixtures / "data" / "retentioneering_ecom.csv.gz"
    build = {"create_contacts": True}
    summary = load("events", log, maps=MAPS, build=build, timezone="UTC")
    assert outcome(summary) == (31106, 31106, 0, 0, 0)
    assert summary.contacts_created == 600
    assert outcome(load("events", log, maps=MAPS, build=build, timezone="UTC", batch_rows=4000)) == (
        31106,
        0,
        31106,
        0,
        0,
    )

    session = (
        "properties ->> 'session_id'" if not load.database.is_sqlite else "json_extract(properties, '$.session_id')"
    )
    assert load.count("SELECT count(*) FROM contact WHERE address = source_id || '@example.test'") == 600
    assert load.count(f"SELECT count(DISTINCT {session}) FROM event") == 3605
    assert load.count(f"SELECT count(DISTINCT {session}) FROM event WHERE name = 'purchase'") == 470
    assert load.count(
        f"SELECT count(*) FROM (SELECT {session} FROM event WHERE name = 'add_to_cart' EXCEPT "
        f"SELECT {session} FROM event WHERE name = 'purchase') AS sessions"
    ) == 743  # fmt: skip
    assert load.count(
        "SELECT count(*) FROM (SELECT contact_id FROM event WHERE name = 'add_to_cart' EXCEPT "
        "SELECT contact_id FROM event WHERE name = 'purchase') AS people"
    ) == 194  # fmt: skip
    assert load.count("SELECT count(*) FROM event WHERE source_id LIKE '%\\:1'") == 30, "exact duplicates stay two"
    assert load.count("SELECT count(*) FROM event WHERE source_id LIKE '%\\:2'") == 0


def test_a_real_shop_is_three_files_that_belong_together(load: Loading, fixtures: Path) -> None:
    data = fixtures / "data"
    people = load("contacts", data / "jaffle_classic_raw_customers.csv", maps={"source_id": "id"}, source="jaffle")
    assert outcome(people) == (100, 100, 0, 0, 0)
    orders = load(
        "events", data / "jaffle_classic_raw_orders.csv", source="jaffle", timezone="America/New_York",
        maps={"source_id": "order-{id}", "contact": "user_id", "occurred_at": "order_date"},
        sets={"name": "order_placed"},
    )  # fmt: skip
    assert outcome(orders) == (99, 99, 0, 0, 0)
    assert load.count("SELECT count(DISTINCT contact_id) FROM event") == 62
    payments = load("contacts", data / "jaffle_classic_raw_payments.csv", source="payments", maps={"source_id": "id"})
    assert outcome(payments) == (113, 113, 0, 0, 0)
