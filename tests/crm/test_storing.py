"""What a CRM tells becomes contacts: whom it means, which side wins, and what of consent counts."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlmodel import col

from evergreet.clock import FrozenClock
from evergreet.consent import resubscribe, unsubscribe, unsubscribe_everything
from evergreet.contracts import Agreement, CrmContact
from evergreet.crm.storing import Rules, Stored, store
from evergreet.database import Database
from evergreet.erasure import erase
from evergreet.tokens import Tokens
from models import Consent, Contact, ContactAlias, CrmRow, Suppression, Transition
from tests.conftest import NOW
from tests.contacts import add_consent, add_contact
from tests.crm.crms import record

HOUR = timedelta(hours=1)
MAYA = "maya@example.com"
Tell = Callable[..., Stored]


def telling(database: Database, clock: FrozenClock) -> Tell:
    """Return what stores the records of a page."""

    def tell(*contacts: CrmContact, source: str = "acme", stages: Rules | None = None) -> Stored:
        with database.write() as connection:
            return store(connection, source, contacts, stages or Rules(), clock, NOW)

    return tell


@pytest.fixture
def embedded(sqlite_url: str) -> Any:
    """A database on SQLite, for what does not depend on the store."""
    opened = Database(sqlite_url)
    yield opened
    opened.close()


def rows(database: Database, table: Any) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(select(table.__table__).order_by(col(table.id))))


def counts(stored: Stored) -> tuple[int, int, int, int, int]:
    return stored.new, stored.changed, stored.unchanged, stored.gone, stored.joined


def test_a_record_becomes_a_contact_and_is_told_again_with_no_effect(database: Database, clock: FrozenClock) -> None:
    tell = telling(database, clock)
    agreed = (Agreement("news", True, NOW - HOUR, "Yes, write to me"),)
    maya = CrmContact(
        "7", NOW - HOUR, "Maya@Example.com",
        {"phone": "+4930901820", "locale": "de-AT", "first_name": "Maya", "size": 41, "stage": "lead", "fax": None},
        agreements=agreed,
    )  # fmt: skip
    lee = record("8", email="", first_name="Lee 李", birthday="1990-02-28")
    assert counts(tell(maya, lee)) == (2, 0, 0, 0, 0)
    before = rows(database, Contact), rows(database, Consent)
    assert counts(tell(maya, lee)) == (0, 0, 2, 0, 0)
    assert (rows(database, Contact), rows(database, Consent)) == before
    (first, second), (consent,) = before
    assert (first.source, first.source_id, first.email, first.address) == ("acme", "7", "Maya@Example.com", MAYA)
    assert (first.phone, first.locale, first.stage) == ("+4930901820", "de_AT", None)
    assert first.attributes == {"first_name": "Maya", "size": 41, "acme_stage": "lead"}
    assert (second.address, second.attributes) == (None, {"first_name": "Lee 李", "birthday": "1990-02-28"})
    assert (consent.topic, consent.granted, consent.at, consent.source, consent.wording) == (
        "news", True, NOW - HOUR, "crm:acme", "Yes, write to me",
    )  # fmt: skip


def test_what_was_changed_last_wins_value_by_value_whichever_crm_is_read_first(
    database: Database, clock: FrozenClock
) -> None:
    old, new = NOW - 5 * HOUR, NOW - 2 * HOUR
    for one, other in ((0, 1), (1, 0)):
        email = f"maya{one}@example.com"
        told = [
            ("acme", CrmContact(f"a{one}", old, email, {"city": "Graz", "size": 40})),
            ("umbra", CrmContact(f"u{one}", new, email, {"city": "Wien"})),
        ]
        for which in (one, other):
            telling(database, clock)(told[which][1], source=told[which][0])
        (contact,) = [row for row in rows(database, Contact) if row.address == email]
        assert contact.attributes == {"city": "Wien", "size": 40}


def test_what_a_crm_only_tells_again_takes_back_no_newer_value(database: Database, clock: FrozenClock) -> None:
    """A record is changed for some other reason: its old phone number is not news."""
    tell = telling(database, clock)
    with database.write() as connection:
        add_contact(connection, attributes={"city": "Linz"}, created_at=NOW - 9 * HOUR)
    tell(record("7", NOW - 8 * HOUR, city="Graz", size=40))
    tell(record("u", NOW - 3 * HOUR, city="Wien"), source="umbra")
    assert counts(tell(record("7", NOW - HOUR, city="Graz", size=41))) == (0, 1, 0, 0, 0)
    (contact,) = rows(database, Contact)
    assert contact.attributes == {"city": "Wien", "size": 41}
    tell(record("7", NOW, city=None, size=41))  # emptied there, now
    assert rows(database, Contact)[0].attributes == {"size": 41}
    assert counts(tell(record("7", NOW - 2 * HOUR, city="Bern"))) == (0, 0, 1, 0, 0)  # a page from before


def test_whom_a_record_means(database: Database, clock: FrozenClock) -> None:
    tell = telling(database, clock)
    with database.write() as connection:
        known = add_contact(connection, source="shop", source_id="s1")
        add_contact(connection, source="shop", source_id="s2")
    stored = tell(record("7"), record("8"), record("9"))
    assert counts(stored) == (1, 2, 0, 0, 2)  # one mailbox, three records: three people, two of them known
    contacts = {row.id: row for row in rows(database, Contact)}
    assert [contacts[row.contact_id].source_id for row in rows(database, CrmRow)] == ["s1", "s2", "9"]
    assert next((row.source_id, row.contact_id) for row in rows(database, ContactAlias)) == ("7", known)
    # The CRM has merged 7 into a record that nobody knows: it is the person of 7, also for what comes as 7.
    tell(CrmContact("70", NOW, "new@example.com", merged=("7",)))
    tell(CrmContact("7", NOW, deleted=True))
    assert rows(database, Contact)[0].address == "new@example.com"
    assert {row.source_id: row.contact_id for row in rows(database, ContactAlias)}["7"] == known
    assert {row.source_id: row.gone_at is None for row in rows(database, CrmRow)} == {
        "7": False, "70": True, "8": True, "9": True,
    }  # fmt: skip


def test_an_id_of_elsewhere_says_whom_a_record_means_whatever_its_address(
    embedded: Database, clock: FrozenClock
) -> None:
    with embedded.write() as connection:
        add_contact(connection, "old@example.com", source="shop", source_id="4711", created_at=NOW - HOUR)
        add_contact(connection, source="till", source_id="1")
    tell = telling(embedded, clock)
    rules = Rules(ids={"customer_no": "shop"})
    stored = tell(record("7", customer_no=4711.0), record("8", email="", customer_no="no such"), stages=rules)
    assert counts(stored) == (1, 1, 0, 0, 1)
    assert [(row.source, row.source_id, row.address) for row in rows(embedded, Contact)] == [
        ("shop", "4711", MAYA), ("till", "1", MAYA), ("acme", "8", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("told", "resubscribed", "leaves"),
    [(NOW - HOUR, NOW - 2 * HOUR, True), (NOW - HOUR, NOW - HOUR, True), (NOW - 2 * HOUR, NOW - HOUR, False)],
)
def test_an_unsubscription_counts_from_its_time_and_wins_where_the_times_are_the_same(
    embedded: Database, clock: FrozenClock, told: datetime, resubscribed: datetime, leaves: bool
) -> None:
    with embedded.write() as connection:
        number = add_contact(connection, created_at=NOW - 9 * HOUR)
        add_consent(connection, number, "news", at=NOW - 9 * HOUR)
        unsubscribe(connection, number, "news", at=NOW - 8 * HOUR, source="page")
        resubscribe(connection, number, "news", at=resubscribed, source="page", wording="again")
    left = CrmContact("7", told, MAYA, unsubscribed=True)
    tell = telling(embedded, clock)
    for _ in range(2):
        tell(left)
    assert [row.address for row in rows(embedded, Suppression)] == ([MAYA] if leaves else [])
    newest = rows(embedded, Consent)[-1]
    assert (newest.granted, newest.source) == ((False, "crm:acme") if leaves else (True, "page"))
    # Who comes back there is let go by what this CRM said, and by nothing else.
    tell(CrmContact("7", NOW, MAYA, agreements=(Agreement("news", True, NOW),)))
    assert rows(embedded, Suppression) == []
    assert rows(embedded, Consent)[-1].granted


def test_who_has_left_a_crm_gets_no_marketing_at_any_address(embedded: Database, clock: FrozenClock) -> None:
    """At the one that only we know, at one that the CRM tells later, and whatever else is wrong with the record."""
    tell = telling(embedded, clock)
    agreed = (Agreement("news", True, NOW - 9 * HOUR),)
    with embedded.write() as connection:
        shop = add_contact(connection, "old@example.com", source="acme", source_id="1", created_at=NOW - 9 * HOUR)
        add_consent(connection, shop, "news", at=NOW - 9 * HOUR)
        connection.execute(Contact.__table__.update().values(address="shop@example.com", told_at={  # type: ignore[attr-defined]
            "email": NOW.isoformat(), "address": NOW.isoformat(),
        }))  # fmt: skip
    tell(CrmContact("1", NOW - 5 * HOUR, "old@example.com", unsubscribed=True))
    tell(CrmContact("2", NOW - 5 * HOUR, "before@example.com", agreements=agreed, unsubscribed=True))
    tell(CrmContact("2", NOW - HOUR, "after@example.com", agreements=agreed, unsubscribed=True))
    tell(CrmContact("3", NOW - 6 * HOUR, "lee@example.com", agreements=agreed))
    refused = tell(CrmContact("3", NOW - 5 * HOUR, "lee@example.com", {"stage": "x" * 101}, unsubscribed=True))
    assert [name for name, _ in refused.rejected] == ["3"]
    left = {row.address: row.at for row in rows(embedded, Suppression)}
    names = ("old", "shop", "before", "after", "lee")
    assert left == {f"{name}@example.com": NOW - 5 * HOUR for name in names}
    assert {row.contact_id: row.granted for row in rows(embedded, Consent)} == {1: False, 2: False, 3: False}


def test_who_left_a_crm_and_then_left_us_is_not_brought_back_by_what_it_told_between(
    embedded: Database, clock: FrozenClock
) -> None:
    """They leave there, come back there, leave here, and only then the CRM is read."""
    tell = telling(embedded, clock)
    tell(CrmContact("7", NOW - 7 * HOUR, MAYA, agreements=(Agreement("news", True, NOW - 7 * HOUR),)))
    tell(CrmContact("7", NOW - 5 * HOUR, MAYA, unsubscribed=True))
    with embedded.write() as connection:
        unsubscribe_everything(connection, rows(embedded, Contact)[0].id, at=NOW - HOUR, source="page")
    tell(CrmContact("7", NOW - 2 * HOUR, MAYA, agreements=(Agreement("news", True, NOW - 2 * HOUR),)))
    assert [(row.reason, row.source) for row in rows(embedded, Suppression)] == [("unsubscribed", "page")]
    assert not max(rows(embedded, Consent), key=lambda row: row.at).granted


def test_a_no_that_a_crm_only_tells_again_takes_back_no_newer_yes(embedded: Database, clock: FrozenClock) -> None:
    """As HubSpot's opt-outs: they have no time of their own, so it is that of the record, which moves."""
    tell = telling(embedded, clock)

    def off(at: datetime, *topics: str) -> CrmContact:
        return CrmContact("7", at, MAYA, {"size": at.hour}, tuple(Agreement(topic, False, at) for topic in topics))

    tell(off(NOW - 9 * HOUR, "news"))
    with embedded.write() as connection:
        for topic in ("news", "orders"):
            resubscribe(connection, 1, topic, at=NOW - 5 * HOUR, source="page", wording="again")
    tell(off(NOW - 3 * HOUR, "news", "orders"))
    assert {row.topic: row.granted for row in rows(embedded, Consent)} == {"news": True, "orders": False}
    tell(off(NOW - 2 * HOUR))
    tell(off(NOW - HOUR, "news"))
    assert {row.topic: row.granted for row in rows(embedded, Consent)} == {"news": False, "orders": False}
    with embedded.write() as connection:
        resubscribe(connection, 1, "offers", at=NOW, source="page", wording="yes")
    tell(off(NOW + HOUR, "offers"))  # by a fast clock: now, at the latest
    assert not rows(embedded, Consent)[-1].granted


def test_a_complaint_stays_whatever_a_crm_says(embedded: Database, clock: FrozenClock) -> None:
    tell = telling(embedded, clock)
    tell(CrmContact("7", NOW - HOUR, MAYA, unsubscribed=True))
    with embedded.write() as connection:
        connection.execute(
            Suppression.__table__.update().values(scope="all", reason="complaint")  # type: ignore[attr-defined]
        )
    tell(CrmContact("7", NOW, MAYA))
    assert [row.reason for row in rows(embedded, Suppression)] == ["complaint"]


def test_who_is_deleted_there_stays_and_loses_only_what_the_crm_said_of_consent(
    embedded: Database, clock: FrozenClock
) -> None:
    tell = telling(embedded, clock)
    tell(CrmContact("7", NOW - HOUR, MAYA, {"size": 40}, agreements=(Agreement("news", True, NOW - HOUR),)))
    (contact,) = rows(embedded, Contact)
    with embedded.write() as connection:
        add_consent(connection, contact.id, "orders", at=NOW - HOUR)
    for _ in range(2):
        tell(CrmContact("7", NOW, deleted=True))
    assert counts(tell(CrmContact("unheard-of", NOW, deleted=True))) == (0, 0, 1, 0, 0)
    assert rows(embedded, Contact)[0].attributes == {"size": 40}
    newest = {row.topic: row.granted for row in rows(embedded, Consent)}
    assert newest == {"news": False, "orders": True}
    (known,) = rows(embedded, CrmRow)
    assert (known.gone_at, known.told) == (NOW, {})
    assert counts(tell(record("7", NOW + HOUR, size=42))) == (0, 1, 0, 0, 0)  # taken out of the bin, by a fast clock
    assert rows(embedded, CrmRow)[0].gone_at is None


def test_stages_are_ours_unless_the_setting_names_the_crm(embedded: Database, clock: FrozenClock) -> None:
    tell = telling(embedded, clock)
    with embedded.write() as connection:
        add_contact(connection, stage="purchase", stage_since=NOW - 3 * HOUR, created_at=NOW - 9 * HOUR)
    tell(record("7", NOW - 2 * HOUR, stage="loyalty"))
    (contact,) = rows(embedded, Contact)
    assert (contact.stage, contact.attributes) == ("purchase", {"acme_stage": "loyalty"})
    stages = Rules(frozenset({"purchase", "loyalty"}), move=True)
    told = tell(record("7", NOW - HOUR, stage="customer"), stages=stages)
    assert sum(told.warnings.values()) == 1
    tell(record("7", NOW, stage="loyalty"), stages=stages)
    (contact,), (move,) = rows(embedded, Contact), rows(embedded, Transition)
    assert (contact.stage, contact.stage_since) == ("loyalty", NOW)
    assert (move.from_stage, move.to_stage, move.cause) == ("purchase", "loyalty", "crm")


def test_what_cannot_be_used_is_refused_with_a_reason_and_keeps_no_other_from_it(
    database: Database, clock: FrozenClock
) -> None:
    stored = telling(database, clock)(
        record("1"), record("2", note="NUL \0"), record("3" * 256), record("4", score=float("nan")),
        record("5", when=NOW), record("6", big=2**70), CrmContact("", NOW),
        record("a\0b"), record("\ud800"), CrmContact(" 10 ", NOW, merged=("x\0", "y" * 256)),
        CrmContact("8", NOW, agreements=(Agreement("t" * 101, True, NOW),)), record("9", email="no address", a=1),
        record("11", big=10**5000), stages=Rules(ids={"note": "shop", "big": "shop"}),
    )  # fmt: skip
    assert sorted(row.source_id for row in rows(database, Contact)) == ["1", "10", "5", "9"]
    assert {name for name, _ in stored.rejected} == {"2", "3" * 256, "4", "6", "", "8", "a\0b", "\ud800", "11"}
    assert stored.warnings["email is not valid and was left out"] == 1


def test_of_who_was_erased_nothing_comes_back(embedded: Database, clock: FrozenClock) -> None:
    tell = telling(embedded, clock)
    tell(record("7", NOW - HOUR, first_name="Maya"))
    (contact,) = rows(embedded, Contact)
    with embedded.write() as connection:
        erase(connection, contact.id, tokens=Tokens(["key-of-the-test"]), at=NOW, actor="test")
    assert rows(embedded, CrmRow)[0].told == {}
    tell(CrmContact("7", NOW, MAYA, {"first_name": "Maya", "size": 40}, unsubscribed=True))
    (after,) = rows(embedded, Contact)
    assert (after.address, after.attributes, after.told_at) == (None, {}, None)
    assert rows(embedded, CrmRow)[0].told == {}
    assert [row.reason for row in rows(embedded, Suppression)] == ["erased"]
