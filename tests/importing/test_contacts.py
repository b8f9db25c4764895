"""Contacts: stored, merged, counted; consent, stages and suppressions that a file brings along."""

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from sqlmodel import col

from evergreet.database import ingest_position
from evergreet.errors import DataError
from models import Consent, Contact, Transition
from tests.conftest import NOW
from tests.importing.conftest import Loading, outcome


def _contact(load: Loading, source_id: str = "1") -> Any:
    with load.database.read() as connection:
        return connection.execute(
            select(*Contact.__table__.columns).where(col(Contact.source_id) == source_id)  # type: ignore[attr-defined]
        ).one()


def test_a_contact_is_stored_with_all_its_fields_checked(load: Loading) -> None:
    summary = load(
        "contacts",
        "id,email,phone,locale,timezone,created_at,first_name,points,vip\n"
        '1,Ann@Bücher.example,030 901820,de-AT,Europe/Vienna,2024-05-01T10:00:00Z,"Ann, the first",120,\n',
        maps={"source_id": "id", "vip:boolean": "vip"}, build={"region": "DE"}, source="shop",
    )  # fmt: skip
    assert outcome(summary) == (1, 1, 0, 0, 0)
    row = _contact(load)
    assert (row.source, row.email, row.address) == ("shop", "Ann@Bücher.example", "ann@xn--bcher-kva.example")
    assert (row.phone, row.locale, row.timezone) == ("+4930901820", "de_AT", "Europe/Vienna")
    assert row.attributes == {"first_name": "Ann, the first", "points": 120}
    assert row.created_at.isoformat() == "2024-05-01T10:00:00+00:00"
    assert (row.changed_at, len(row.content_hash)) == (NOW, 32)


def test_what_cannot_be_read_is_left_out_and_counted_and_the_person_stays(load: Loading) -> None:
    summary = load(
        "contacts",
        "source_id,email,phone,locale,timezone,created_at\n1,ann@@example.com,12,xx,Europe/Atlantis,1900-01-01T00:00:00Z\n2,,,,,\n",
    )
    assert outcome(summary) == (2, 2, 0, 0, 0)
    assert summary.warnings == {
        "email is not valid and was left out": 1, "phone is not valid and was left out": 1,
        "locale is not valid and was left out": 1, "timezone is not valid and was left out": 1,
        "created_at is not a usable time and was left out": 1,
    }  # fmt: skip
    row = _contact(load)
    assert (row.email, row.address, row.phone, row.locale, row.timezone, row.created_at) == (None,) * 5 + (NOW,)


def test_a_value_that_cannot_be_read_does_not_replace_a_good_one(load: Loading) -> None:
    load("contacts", "source_id,email,timezone\n1,ann@example.com,Europe/Vienna\n")
    assert outcome(load("contacts", "source_id,email,timezone\n1,ann@,Mars\n")) == (1, 0, 1, 0, 0)
    assert (_contact(load).email, _contact(load).timezone) == ("ann@example.com", "Europe/Vienna")


def test_the_same_file_again_changes_nothing(load: Loading) -> None:
    text = "source_id,email,points,consent.orders,stage,unsubscribed\n" + "".join(
        f"{number},p{number}@example.com,{number / 4},true,Purchase,{number % 2}\n" for number in range(50)
    )
    assert outcome(load("contacts", text, batch_rows=7)) == (50, 50, 0, 0, 0)
    tables = ("contact", "consent", "transition", "suppression")
    before = [load.query(f"SELECT * FROM {table} ORDER BY id") for table in tables]
    load.clock.advance(timedelta(days=1))
    assert outcome(load("contacts", text, batch_rows=11)) == (50, 0, 50, 0, 0)
    assert [load.query(f"SELECT * FROM {table} ORDER BY id") for table in tables] == before
    assert [len(rows) for rows in before] == [50, 50, 50, 25]


def test_columns_that_a_file_does_not_have_are_left_alone(load: Loading) -> None:
    load("contacts", "source_id,email,city,age\n1,ann@example.com,Rome,40\n")
    position = _contact(load).position
    load.clock.advance(timedelta(hours=1))
    assert outcome(load("contacts", "source_id,first_name,age\n1,Ann,\n")) == (1, 0, 0, 1, 0)
    row = _contact(load)
    assert row.email == "ann@example.com"
    assert row.attributes == {"city": "Rome", "first_name": "Ann"}, "an empty cell removes, a missing column does not"
    assert row.changed_at == NOW + timedelta(hours=1)
    assert row.position > position
    assert row.created_at == NOW


def test_an_empty_email_cell_takes_the_address_away(load: Loading) -> None:
    load("contacts", "source_id,email\n1,ann@example.com\n")
    assert outcome(load("contacts", "source_id,email\n1,\n")) == (1, 0, 0, 1, 0)
    assert (_contact(load).email, _contact(load).address) == (None, None)


def test_json_rows_may_leave_fields_out(load: Loading) -> None:
    load(
        "contacts",
        '{"source_id": 1, "email": "ann@example.com", "attributes": {"tags": ["a"], "n": 1.0}}\n',
        name="a.jsonl",
    )
    again = (
        '{"source_id": "1", "attributes": {"n": 1}}\n{"source_id": "2", "email": "bob@example.com", "city": "Rome"}\n'
    )
    assert outcome(load("contacts", again, name="a.jsonl")) == (2, 1, 1, 0, 0)
    assert _contact(load).attributes == {"tags": ["a"], "n": 1.0}
    assert _contact(load).email == "ann@example.com"


def test_rows_without_an_id_are_rejected_with_line_and_row(load: Loading) -> None:
    summary = load(
        "contacts", "source_id,email\n1,ann@example.com\n,bob@example.com\n" + "x" * 256 + ",eve@example.com\n"
    )
    assert outcome(summary) == (3, 1, 0, 0, 2)
    assert summary.reasons == {"no source_id": 1, "too long": 1}
    assert load.rejects.splitlines()[:2] == ["line,reason,row", '3,no source_id: source_id is empty,",bob@example.com"']


def test_an_id_twice_in_a_file_with_other_content_is_rejected_every_time(load: Loading) -> None:
    text = "source_id,email\n1,ann@example.com\n2,bob@example.com\n1,ann@example.com\n1,eve@example.com\n"
    assert outcome(load("contacts", text, batch_rows=2)) == (4, 2, 1, 0, 1)
    assert outcome(load("contacts", text, batch_rows=100)) == (4, 0, 3, 0, 1)
    assert "5,id stands twice: source_id '1' is on line 2 with other content" in load.rejects
    assert _contact(load).email == "ann@example.com"


def test_a_file_without_an_id_column_says_what_to_write(load: Loading) -> None:
    with pytest.raises(DataError, match="no column 'source_id'; it has: mail, name"):
        load("contacts", "mail,name\na@b.co,Ann\n")
    assert outcome(load("contacts", "email,name\na@b.co,Ann\n", maps={"source_id": "{email}"})) == (1, 1, 0, 0, 0)
    assert _contact(load, "a@b.co").address == "a@b.co"


@pytest.mark.parametrize("value", ["maybe", "2"])
def test_what_is_neither_yes_nor_no_rejects_the_row(value: str, load_embedded: Loading) -> None:
    for column in ("consent.orders", "unsubscribed"):
        summary = load_embedded("contacts", f"source_id,email,{column}\n1,ann@example.com,{value}\n")
        assert outcome(summary) == (1, 0, 0, 0, 1)


def test_consent_is_stored_with_time_source_and_wording(load: Loading) -> None:
    load(
        "contacts",
        "source_id,consent.orders,consent.news,consent_at,consent_source,consent_wording\n"
        "1,yes,no,2025-01-02T03:04:05Z,signup form,Write to me\n2,,,,,\n",
        source="shop",
    )
    rows = load.query("SELECT topic, source, wording FROM consent WHERE granted ORDER BY id")
    assert rows == [("orders", "signup form", "Write to me")]
    assert load.count("SELECT count(*) FROM consent") == 2


def _say(load: Loading, granted: bool, days: int, source: str = "page") -> None:
    with load.database.write() as connection:
        connection.execute(
            insert(Consent).values(
                contact_id=1, topic="orders", granted=granted, at=NOW + timedelta(days=days), source=source
            )
        )


@pytest.mark.parametrize(
    ("known", "row", "counts"),
    [
        (True, "true,", False),
        (True, "false,", True),
        (False, "true,", False),  # a file of unknown age never signs somebody up again
        (False, f"true,{(NOW - timedelta(days=11)).isoformat()}", False),
        (False, f"true,{(NOW - timedelta(days=9)).isoformat()}", True),
        (True, f"false,{(NOW - timedelta(days=11)).isoformat()}", False),
        (True, f"false,{(NOW - timedelta(days=9)).isoformat()}", True),
    ],
)
def test_a_consent_in_a_file_counts_only_when_it_is_news(known: bool, row: str, counts: bool, load: Loading) -> None:
    load("contacts", "source_id\n1\n")
    _say(load, known, -10)
    summary = load("contacts", f"source_id,consent.orders,consent_at\n1,{row}\n")
    assert outcome(summary) == ((1, 0, 0, 1, 0) if counts else (1, 0, 1, 0, 0))
    assert load.count("SELECT count(*) FROM consent") == (2 if counts else 1)
    load.clock.advance(timedelta(days=2))
    assert outcome(load("contacts", f"source_id,consent.orders,consent_at\n1,{row}\n")) == (1, 0, 1, 0, 0)


def test_a_consent_of_tomorrow_does_not_outlive_a_withdrawal_of_today(load: Loading) -> None:
    tomorrow = (NOW + timedelta(hours=23)).isoformat()
    load("contacts", f"source_id,consent.orders,consent_at,stage,stage_at\n1,true,{tomorrow},Purchase,{tomorrow}\n")
    with load.database.read() as connection:
        assert connection.execute(select(col(Consent.at))).scalar_one() == NOW
        assert connection.execute(select(col(Transition.at))).scalar_one() == NOW


def test_a_stage_in_a_file_is_a_transition_caused_by_import(load: Loading) -> None:
    stages = {"stages": lambda: ["Awareness", "Purchase"]}
    text = "source_id,stage\n1,Purchase\n2,Nirvana\n3,\n"
    summary = load("contacts", text, build=stages)
    assert outcome(summary) == (3, 2, 0, 0, 1)
    assert "unknown stage: stage is 'Nirvana'; the lifecycle has Awareness, Purchase" in load.rejects
    assert load.query("SELECT from_stage, to_stage, cause, cause_event_id FROM transition") == [
        (None, "Purchase", "import", None)
    ]
    assert (_contact(load).stage, _contact(load).stage_since) == ("Purchase", NOW)
    load.clock.advance(timedelta(days=1))
    assert outcome(load("contacts", "source_id,stage\n1,Awareness\n", build=stages)) == (1, 0, 0, 1, 0)
    assert _contact(load).stage_since == NOW + timedelta(days=1)
    assert load.count("SELECT count(*) FROM transition WHERE from_stage = 'Purchase' AND to_stage = 'Awareness'") == 1


def test_a_file_that_repeats_a_stage_does_not_undo_what_the_rules_did(load: Loading) -> None:
    load("contacts", "source_id,stage\n1,Awareness\n")
    with load.database.write() as connection:
        connection.execute(update(Contact).values(stage="Purchase", stage_since=NOW))
        connection.execute(
            insert(Transition).values(
                contact_id=1, from_stage="Awareness", to_stage="Purchase", at=NOW, cause="rule", recorded_at=NOW,
                position=ingest_position(connection),
            )
        )  # fmt: skip
    assert outcome(load("contacts", "source_id,stage\n1,Awareness\n")) == (1, 0, 1, 0, 0)
    assert _contact(load).stage == "Purchase"
    older = (NOW - timedelta(days=1)).isoformat()
    assert outcome(load("contacts", f"source_id,stage,stage_at\n1,Awareness,{older}\n")) == (1, 0, 1, 0, 0)
    newer = (NOW + timedelta(hours=1)).isoformat()
    assert outcome(load("contacts", f"source_id,stage,stage_at\n1,Awareness,{newer}\n")) == (1, 0, 0, 1, 0)
    assert _contact(load).stage == "Awareness"


def test_unsubscribed_suppresses_marketing_and_never_weakens(load: Loading) -> None:
    load("suppressions", "email,scope,reason\nbob@example.com,all,complaint\n")
    text = (
        "source_id,email,unsubscribed\n1,Ann@example.com,true\n2,bob@example.com,yes\n3,,true\n4,joe@example.com,no\n"
    )
    summary = load("contacts", text)
    assert outcome(summary) == (4, 4, 0, 0, 0)
    assert summary.warnings == {"unsubscribed, but has no address to suppress": 1}
    assert load.query("SELECT address, scope, reason FROM suppression ORDER BY address") == [
        ("ann@example.com", "marketing", "unsubscribed"),
        ("bob@example.com", "all", "complaint"),
    ]
    assert outcome(load("contacts", text)) == (4, 0, 4, 0, 0)


def test_unsubscribed_uses_the_address_that_is_known(load: Loading) -> None:
    load("contacts", "source_id,email\n1,ann@example.com\n")
    load.clock.advance(timedelta(hours=1))
    assert outcome(load("contacts", "source_id,unsubscribed\n1,true\n")) == (1, 0, 0, 1, 0)
    assert load.query("SELECT address FROM suppression") == [("ann@example.com",)]
    assert _contact(load).changed_at == NOW + timedelta(hours=1)


def test_an_erased_contact_stays_erased(load: Loading) -> None:
    load("contacts", "source_id,email,first_name\n1,ann@example.com,Ann\n")
    with load.database.write() as connection:
        connection.execute(update(Contact).values(email=None, address=None, attributes={}, erased_at=NOW))
    summary = load("contacts", "source_id,email,first_name,consent.orders\n1,ann@example.com,Ann,true\n")
    assert outcome(summary) == (1, 0, 1, 0, 0)
    assert summary.warnings == {"contact was erased and stays so": 1}
    assert (_contact(load).email, _contact(load).attributes) == (None, {})
    assert load.count("SELECT count(*) FROM consent") == 0


def test_ids_are_unique_within_their_source_only(load: Loading) -> None:
    assert load("contacts", "source_id,email\n1,ann@example.com\n", source="shop").stored == 1
    assert load("contacts", "source_id,email\n1,bob@example.com\n", source="crm").stored == 1
    assert load.query("SELECT source, address FROM contact ORDER BY id") == [
        ("shop", "ann@example.com"),
        ("crm", "bob@example.com"),
    ]


def test_attributes_keep_the_types_of_json(load: Loading) -> None:
    attributes = {"i": 2**53 + 1, "f": 1.25, "b": False, "s": "007", "list": [1, "a", {"k": 0.5}], "u": "\u2028ß"}
    load("contacts", json.dumps({"source_id": "1", **attributes}) + "\n", name="a.jsonl")
    assert _contact(load).attributes == attributes
