from datetime import timedelta

from sqlalchemy import select
from sqlmodel import col

from models import Suppression
from tests.conftest import NOW
from tests.importing.conftest import Loading, outcome


def test_suppressions_are_stored_normalised_with_reason_and_time(load: Loading) -> None:
    summary = load(
        "suppressions",
        "email,scope,reason,at\nAnn@Example.com,,bounce,2025-01-02T03:04:05Z\nbob@example.com,marketing,,\n",
        source="old-tool",
    )
    assert outcome(summary) == (2, 2, 0, 0, 0)
    assert load.query("SELECT address, scope, reason, source FROM suppression ORDER BY address") == [
        ("ann@example.com", "all", "bounce", "old-tool"),
        ("bob@example.com", "marketing", "imported", "old-tool"),
    ]
    with load.database.read() as connection:
        times = connection.execute(select(col(Suppression.at)).order_by(col(Suppression.address))).scalars().all()
    assert times == [NOW.replace(year=2025, month=1, day=2, hour=3, minute=4, second=5), NOW]


def test_a_suppression_only_grows(load: Loading) -> None:
    text = "email,scope\nann@example.com,{}\nann@example.com,marketing\n"
    assert outcome(load("suppressions", text.format("marketing"))) == (2, 1, 1, 0, 0)
    assert outcome(load("suppressions", text.format("all"))) == (2, 0, 1, 1, 0)
    assert outcome(load("suppressions", text.format("marketing"))) == (2, 0, 2, 0, 0)
    assert load.query("SELECT scope FROM suppression") == [("all",)]


def test_the_stronger_of_two_rows_counts_wherever_it_stands(load: Loading) -> None:
    for number, scopes in enumerate((("all", "marketing"), ("marketing", "all"))):
        for rows in (1, 10):
            address = f"p{number}{rows}@example.com"
            text = "email,scope\n" + "".join(f"{address},{scope}\n" for scope in scopes)
            assert load("suppressions", text, batch_rows=rows).stored == 1
    assert load.query("SELECT DISTINCT scope FROM suppression") == [("all",)]


def test_what_is_no_address_or_scope_is_rejected(load: Loading) -> None:
    summary = load("suppressions", f"email,scope,reason\nann,all,\n,all,\na@b.co,most,\nc@d.co,all,{'x' * 101}\n")
    assert outcome(summary) == (4, 0, 0, 0, 4)
    assert summary.reasons == {"invalid email": 1, "no email": 1, "unknown scope": 1, "too long": 1}


def test_the_contacts_of_a_suppressed_address_are_marked_as_changed(load: Loading) -> None:
    load("contacts", "source_id,email\n1,ann@example.com\n2,ANN@example.com\n3,bob@example.com\n")
    load.clock.advance(timedelta(hours=1))
    load("suppressions", "email\nann@example.com\n")
    assert load.count("SELECT count(DISTINCT position) FROM contact") == 2
    assert load.query(
        "SELECT source_id FROM contact WHERE position = (SELECT max(position) FROM contact) ORDER BY id"
    ) == [("1",), ("2",)]
