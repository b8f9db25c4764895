"""Events: stored once, corrected, resolved to contacts, with or without ids."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update
from sqlmodel import col

from evergreet.errors import DataError
from models import Contact, Event
from tests.conftest import NOW
from tests.importing.conftest import Loading, outcome

AT = "2026-03-01T10:00:00Z"
CREATE = {"create_contacts": True}


def _rows(*rows: str, head: str = "source_id,name,contact,occurred_at,amount") -> str:
    return "\n".join([head, *rows, ""])


def _current(load: Loading) -> list[tuple[Any, ...]]:
    return load.query("SELECT source_id, name, revision FROM event WHERE NOT superseded ORDER BY source_id")


def test_an_event_is_stored_with_its_contact_time_and_properties(load: Loading) -> None:
    load("contacts", "source_id,email\nc1,ann@example.com\n")
    assert outcome(load("events", _rows(f"e1,order_placed,c1,{AT},19.90"))) == (1, 1, 0, 0, 0)
    from sqlalchemy import select

    with load.database.read() as connection:
        event = connection.execute(select(*Event.__table__.columns)).one()  # type: ignore[attr-defined]
    assert (event.source, event.source_id, event.name, event.contact_id) == ("import", "e1", "order_placed", 1)
    assert (event.occurred_at, event.ingested_at) == (datetime(2026, 3, 1, 10, tzinfo=UTC), NOW)
    assert (event.properties, event.revision, event.superseded) == ({"amount": 19.9}, 0, False)


def test_the_same_id_with_other_content_is_a_correction(load: Loading) -> None:
    text = _rows(f"e1,order_placed,c1,{AT},10", f"e2,order_placed,c1,{AT},20")
    assert outcome(load("events", text, build=CREATE)) == (2, 2, 0, 0, 0)
    position = load.count("SELECT max(position) FROM event")
    assert outcome(load("events", _rows(f"e1,order_placed,c1,{AT},11", f"e2,order_placed,c1,{AT},20"))) == (
        2,
        0,
        1,
        1,
        0,
    )
    assert _current(load) == [("e1", "order_placed", 1), ("e2", "order_placed", 0)]
    assert load.query("SELECT revision, superseded FROM event WHERE source_id = 'e1' ORDER BY revision") in (
        [(0, 1), (1, 0)], [(0, True), (1, False)],
    )  # fmt: skip
    assert load.count("SELECT position FROM event WHERE revision = 1") > position


def test_replaying_an_old_file_does_not_undo_a_correction(load: Loading) -> None:
    first, second = _rows(f"e1,order_placed,c1,{AT},10"), _rows(f"e1,order_placed,c1,{AT},11")
    load("events", first, build=CREATE)
    load("events", second)
    summary = load("events", first)
    assert outcome(summary) == (1, 0, 1, 0, 0)
    assert summary.warnings == {"equal to an older revision of its event, and left as it is": 1}
    assert _current(load) == [("e1", "order_placed", 1)]


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_corrections_within_one_file_are_kept_in_order_and_replayed_harmlessly(batch_rows: int, load: Loading) -> None:
    text = _rows(f"e1,a,c1,{AT},1", f"e1,a,c1,{AT},2", f"e1,a,c1,{AT},2", f"e1,a,c1,{AT},3", f"e2,a,c1,{AT},1")
    assert outcome(load("events", text, build=CREATE, batch_rows=batch_rows)) == (5, 2, 1, 2, 0)
    assert _current(load) == [("e1", "a", 2), ("e2", "a", 0)]
    before = load.query("SELECT * FROM event ORDER BY id")
    for rows in (1, 3):
        assert outcome(load("events", text, batch_rows=rows)) == (5, 0, 5, 0, 0)
    assert load.query("SELECT * FROM event ORDER BY id") == before


def test_a_correction_may_move_an_event_to_another_contact(load: Loading) -> None:
    load("events", _rows(f"e1,a,c1,{AT},1"), build=CREATE)
    assert load("events", _rows(f"e1,a,c2,{AT},1"), build=CREATE).corrected == 1
    assert load.query("SELECT c.source_id FROM event e JOIN contact c ON c.id = e.contact_id ORDER BY revision") == [
        ("c1",),
        ("c2",),
    ]


@pytest.mark.parametrize("batch_rows", [1, 3, 100])
def test_equal_rows_without_an_id_stay_as_many_as_they_are(batch_rows: int, load: Loading) -> None:
    head = "name,contact,occurred_at"
    text = _rows(*[f"view,c1,{AT}"] * 3, f"view,c2,{AT}", f"view,c1,{AT}", head=head)
    assert outcome(load("events", text, build=CREATE, batch_rows=batch_rows)) == (5, 5, 0, 0, 0)
    assert outcome(load("events", text, batch_rows=2)) == (5, 0, 5, 0, 0)
    assert outcome(load("events", text + f"view,c1,{AT}\n")) == (6, 1, 5, 0, 0)


def test_the_identity_of_a_row_without_id_does_not_depend_on_the_format(load: Loading) -> None:
    load("events", f"name,contact,occurred_at,amount,note\nview,7,{AT},5,\n", build=CREATE)
    row = '{"note": null, "amount": 5.0, "occurred_at": "2026-03-01T11:00:00+01:00", "contact": 7, "name": "view"}\n'
    assert outcome(load("events", row, name="a.jsonl")) == (1, 0, 1, 0, 0)


def test_an_event_of_an_unknown_contact_is_rejected_or_creates_it(load: Loading) -> None:
    text = _rows(f"e1,a,c1,{AT},1", f"e2,a,c2,{AT},1")
    load("contacts", "source_id\nc1\n")
    summary = load("events", text)
    assert outcome(summary) == (2, 1, 0, 0, 1)
    assert "unknown contact: there is no contact with the id 'c2'; import contacts first" in load.rejects
    summary = load("events", text, build=CREATE)
    assert (outcome(summary), summary.contacts_created) == ((2, 1, 1, 0, 0), 1)


def test_contacts_made_from_events_have_the_derived_address_and_begin_with_their_first_event(load: Loading) -> None:
    text = "user,what,when\nu1,a,2026-02-03\nu2,b,2026-01-05\nu1,a,2026-02-01\n,c,2026-01-01\nu1,a,2026-02-02\n"
    maps = {"contact": "user", "email": "{user}@Example.test", "name": "what", "occurred_at": "when"}
    for rows in (1, 2):
        summary = load("events", text, maps=maps, build=CREATE, timezone="UTC", batch_rows=rows)
    assert outcome(summary) == (5, 0, 4, 0, 1)
    assert summary.reasons == {"no contact": 1}
    assert load.query("SELECT source_id, email, address FROM contact ORDER BY source_id") == [
        ("u1", "u1@Example.test", "u1@example.test"), ("u2", "u2@Example.test", "u2@example.test"),
    ]  # fmt: skip
    for user in ("u1", "u2"):
        assert load.count(
            f"SELECT count(*) FROM contact c WHERE source_id = '{user}' AND created_at = "
            "(SELECT min(occurred_at) FROM event e WHERE e.contact_id = c.id)"
        ) == 1  # fmt: skip


def test_contacts_of_a_contacts_file_keep_their_beginning(load: Loading) -> None:
    load("contacts", "source_id,first_name\nc1,Ann\n")
    load("events", _rows(f"e1,a,c1,{AT},1"))
    with load.database.read() as connection:
        assert connection.execute(Contact.__table__.select()).one().created_at == NOW  # type: ignore[attr-defined]


def test_an_event_finds_its_contact_by_address(load: Loading) -> None:
    load("contacts", "source_id,email\n1,ann@example.com\n", source="crm")
    load("contacts", "source_id,email\n7,ann@example.com\n8,ANN@example.com\n", source="shop")
    text = (
        f"source_id,name,email,occurred_at\ne1,a,Ann@Example.com,{AT}\ne2,a,new@example.com,{AT}\ne3,a,broken@,{AT}\n"
    )
    assert outcome(load("events", text, source="shop")) == (3, 1, 0, 0, 2)
    assert load.query("SELECT c.source, c.source_id FROM event e JOIN contact c ON c.id = e.contact_id") == [
        ("shop", "7")
    ]
    summary = load("events", text, source="shop", build=CREATE)
    assert (outcome(summary), summary.contacts_created) == ((3, 1, 1, 0, 1), 1)
    assert load.query("SELECT source_id, address FROM contact WHERE source_id LIKE 'new%'") == [
        ("new@example.com",) * 2
    ]
    assert outcome(load("events", text, source="shop", build=CREATE)) == (3, 0, 2, 0, 1)


def test_contacts_may_have_another_source_than_events(load: Loading) -> None:
    load("contacts", "source_id\nc1\n", source="crm")
    text = _rows(f"e1,a,c1,{AT},1")
    assert load("events", text, source="shop").rejected == 1
    assert load("events", text, source="shop", build={"contact_source": "crm"}).stored == 1


def test_events_about_the_business_have_no_contact(load: Loading) -> None:
    assert load("events", f"name,occurred_at\nproduct_launched,{AT}\n").stored == 1
    rows = f'{{"name": "sale", "occurred_at": "{AT}"}}\n{{"name": "view", "contact": null, "occurred_at": "{AT}"}}\n'
    rows += f'{{"name": "view", "contact": "c1", "occurred_at": "{AT}"}}\n'
    summary = load("events", rows, name="a.jsonl", build=CREATE)
    assert outcome(summary) == (3, 2, 0, 0, 1)
    assert summary.reasons == {"no contact": 1}
    assert load.query("SELECT name, contact_id FROM event ORDER BY id") == [
        ("product_launched", None),
        ("sale", None),
        ("view", 1),
    ]


def test_events_of_somebody_erased_are_not_a_new_person(load: Loading) -> None:
    text = f"source_id,name,email,occurred_at\ne1,a,ann@example.com,{AT}\n"
    load("events", text, build=CREATE)
    with load.database.write() as connection:
        connection.execute(update(Contact).values(email=None, address=None, source_id="hmac:x", erased_at=NOW))
    summary = load("events", text, build=CREATE)
    assert (outcome(summary), summary.contacts_created) == ((1, 0, 1, 0, 0), 0)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"e1,,c1,{AT},1", "no name"),
        ("e1,a,c1,,1", "no occurred_at"),
        (f",a,c1,{AT},1", "no source_id"),
        (f"e1,a,,{AT},1", "no contact"),
        ("e1,a,c1,soon,1", "unreadable time"),
        ("e1,a,c1,2026-03-12T00:00:00Z,1", "time out of range"),
        ("e1,a,c1,1969-01-01T00:00:00Z,1", "time out of range"),
        (f"e1,{'a' * 101},c1,{AT},1", "too long"),
        (f"{'e' * 256},a,c1,{AT},1", "too long"),
        (f"e1,a,{'c' * 256},{AT},1", "too long"),
    ],
)
def test_a_row_that_cannot_be_used_is_rejected_and_the_others_stay(row: str, reason: str, load: Loading) -> None:
    summary = load("events", _rows(f"e0,a,c1,{AT},1", row, f"e9,a,c1,{AT},1"), build=CREATE)
    assert outcome(summary) == (3, 2, 0, 0, 1)
    assert summary.reasons == {reason: 1}
    assert load.rejects.splitlines()[1].replace('"', "").startswith(f"3,{reason}: ")


def test_times_without_a_zone_are_refused_before_anything_is_stored(load: Loading) -> None:
    text = _rows(*[f"e{number},a,c1,{AT},1" for number in range(20)], "e99,a,c1,2026-03-01 10:00:00,1")
    with pytest.raises(
        DataError, match=r"input.csv, line 22: occurred_at is '2026-03-01 10:00:00'.*--timezone"
    ) as caught:
        load("events", text, build=CREATE, batch_rows=5)
    assert "Nothing was stored" in str(caught.value)
    assert load.count("SELECT count(*) FROM event") == load.count("SELECT count(*) FROM contact") == 0
    assert load("events", text, build=CREATE, timezone="Europe/Berlin").stored == 21


def test_properties_may_come_as_an_object(load: Loading) -> None:
    rows = f'{{"name": "a", "occurred_at": "{AT}", "properties": {{"amount": 5, "tags": ["x"]}}, "extra": true}}\n'
    load("events", rows, name="a.jsonl")
    from sqlalchemy import select

    with load.database.read() as connection:
        assert connection.execute(select(col(Event.properties))).scalar_one() == {
            "amount": 5,
            "tags": ["x"],
            "extra": True,
        }


def test_another_program_with_the_same_event_at_the_same_moment_is_no_fault(
    load: Loading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event appears between the look and the insert: the batch is rolled back and comes out as a duplicate."""
    from evergreet.importing.events import EventImport

    looks = iter([True, False])
    look = EventImport._histories

    def late(self: EventImport, connection: Any, rows: Any) -> Any:
        found = look(self, connection, rows)
        if next(looks, False):
            connection.execute(
                insert(Event).values(
                    source="import", source_id="e1", name="a", occurred_at=NOW, properties={}, content_hash="x",
                    ingested_at=NOW, position=1,
                )
            )  # fmt: skip
        return found

    monkeypatch.setattr(EventImport, "_histories", late)
    assert outcome(load("events", _rows(f"e1,a,c1,{AT},1"), build=CREATE)) == (1, 1, 0, 0, 0)
    assert load.count("SELECT count(*) FROM event") == 1, "the rival's row was rolled back with the first try"


def test_file_order_is_kept_among_events_of_one_contact(load: Loading) -> None:
    moment = (NOW - timedelta(days=1)).isoformat()
    text = _rows(*[f"e{number},step{number},c{number % 2},{moment},1" for number in range(40)])
    load("events", text, build=CREATE, batch_rows=9)
    for contact in (1, 2):
        names = [row[0] for row in load.query(f"SELECT name FROM event WHERE contact_id = {contact} ORDER BY id")]
        assert names == sorted(names, key=lambda name: int(name.removeprefix("step")))
        assert len(names) == 20
