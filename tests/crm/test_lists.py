"""Lists of a CRM: whoever is on one has an attribute, which goes by what changes and by nothing else."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.event import listen
from sqlmodel import col

from evergreet.audience import count_audience
from evergreet.clock import FrozenClock
from evergreet.conditions import attribute
from evergreet.contracts import CrmContact, CrmMembers, CrmPage
from evergreet.crm import lists
from evergreet.crm.pulling import Pulled, pull
from evergreet.crm.storing import Rules
from evergreet.database import Database
from evergreet.erasure import erase
from evergreet.merging.undoing import undo
from evergreet.tokens import Tokens
from models import Contact, ContactMerge, CrmCursor, CrmMember
from tests.conftest import NOW
from tests.contacts import add_contact
from tests.crm.crms import Crm, record

Read = Callable[..., Pulled]


class WithLists(Crm):
    """Tells its lists behind the changes, two members at a time."""

    def __init__(self, *records: CrmContact, **members: set[int]) -> None:
        super().__init__(*records, page=100)
        self.members = members

    def parts(self) -> list[CrmMembers]:
        found = []
        for name, members in self.members.items():
            told, after = sorted(members), 0
            while len(told) > 2:
                found.append(CrmMembers(name, tuple(told[:2]), after, told[1]))
                told, after = told[2:], told[1]
            found.append(CrmMembers(name, tuple(told), after))
        return found

    def changed_since(self, cursor: str) -> CrmPage:
        changes, _, part = cursor.partition("/")
        parts = self.parts()
        if not part:
            page = super().changed_since(changes)
            return replace(page, cursor=f"{page.cursor}/0" if parts else page.cursor, more=bool(parts))
        self.asked.append(cursor)
        last = int(part) + 1 == len(parts)
        return CrmPage((), changes if last else f"{changes}/{int(part) + 1}", not last, members=(parts[int(part)],))


@pytest.fixture
def read(clock: FrozenClock) -> Read:
    """Read a CRM, an hour after the last time."""

    def reading(database: Database, crm: Crm, **options: Any) -> Pulled:
        clock.advance(timedelta(hours=1))
        return pull(database, crm, Rules(), clock, wait=lambda _: None, **options)

    return reading


@pytest.fixture
def embedded(sqlite_url: str) -> Iterator[Database]:
    """A database on SQLite, for what does not depend on the store."""
    opened = Database(sqlite_url)
    yield opened
    opened.close()


def people(*numbers: int) -> list[CrmContact]:
    return [record(str(number), email=f"p{number}@example.com") for number in numbers]


def on_it(database: Database, name: str = "vip") -> dict[str, Any]:
    """Return whose attribute says something, by the id of the CRM."""
    with database.read() as connection:
        found = connection.execute(select(col(Contact.source_id), col(Contact.attributes))).tuples()
        return {number: attributes[name] for number, attributes in found if name in attributes}


def test_who_is_on_a_list_is_an_audience_and_who_leaves_it_leaves_that(database: Database, read: Read) -> None:
    crm = WithLists(*people(1, 2, 3, 4, 5, 10), vip={1, 3, 4, 5, 10}, news=set())
    first = read(database, crm)
    assert (first.new, first.changed) == (6, 5)
    assert on_it(database) == dict.fromkeys(("1", "3", "4", "5", "10"), True)
    crm.members = {"vip": {2, 3, 10}, "news": {1}}
    assert read(database, crm).changed == 5
    assert on_it(database) == dict.fromkeys(("2", "3", "10"), True)
    assert on_it(database, "news") == {"1": True}
    with database.read() as connection:
        assert count_audience(connection, attribute("vip").exists(), NOW) == 3
        before = connection.execute(select(Contact)).all()
    assert read(database, crm).sentence == "acme: nothing has changed."
    with database.read() as connection:
        assert connection.execute(select(Contact)).all() == before, "told again it writes nothing"


def test_a_list_that_is_emptied_is_followed_in_bounded_transactions(
    embedded: Database, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "MOST", 3)
    crm = WithLists(*people(*range(1, 9)), vip=set(range(1, 9)))
    read(embedded, crm)
    crm.members = {"vip": set()}
    assert read(embedded, crm).changed == 8
    assert on_it(embedded) == {}


def test_who_leaves_a_list_is_found_without_reading_all_of_it(embedded: Database, read: Read) -> None:
    crm = WithLists(*people(*range(1, 9)), vip=set(range(1, 9)))
    read(embedded, crm)
    crm.members = {"vip": {1, 2, 3, 5}}
    plans: list[str] = []

    def look(connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if not many and "crm_" in statement and not statement.startswith("EXPLAIN"):
            cursor = connection.connection.cursor()
            plans.extend(row[3] for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

    listen(embedded.engine, "before_cursor_execute", look)
    assert read(embedded, crm).changed == 4
    whole = [line for line in plans if "crm_member" in line and "number" not in line and "row_id" not in line]
    whole += [line for line in plans if line.startswith(("SCAN crm_", "SCAN contact"))]
    whole += [line for line in plans if line.endswith("(source=?)") and "crm_cursor" not in line]
    assert any("crm_member" in line for line in plans)
    assert whole == []


def test_whom_nobody_knows_yet_is_on_it_once_they_are_known(embedded: Database, read: Read) -> None:
    crm = WithLists(*people(1), vip={1, 2})
    read(embedded, crm)
    crm.changes += people(2)
    assert read(embedded, crm).changed == 1
    assert on_it(embedded) == {"1": True, "2": True}


@pytest.mark.parametrize(("old", "new"), [(1, 7), (8, 2)])
def test_who_is_merged_into_another_record_is_off_the_list_at_no_time(
    embedded: Database, read: Read, old: int, new: int
) -> None:
    """The record that it is in now is told of in another part of the list, later or sooner."""
    email, others = f"p{old}@example.com", {3, 4, 5, 6}
    crm = WithLists(*people(old), vip={old, *others})
    read(embedded, crm)
    seen = []
    told = crm.changed_since
    crm.changed_since = lambda cursor: seen.append(on_it(embedded)) or told(cursor)  # type: ignore[func-returns-value,method-assign]
    crm.changes.append(replace(record(str(new), NOW + timedelta(minutes=1), email), merged=(str(old),)))
    crm.members = {"vip": {new, *others}}
    read(embedded, crm)
    assert seen == [{str(old): True}] * 4
    crm.members = {"vip": others}
    read(embedded, crm)
    assert on_it(embedded) == {}


@pytest.mark.parametrize("on", [True, False])
def test_who_was_a_contact_of_their_own_until_the_merge_is_on_no_list_any_more(
    embedded: Database, read: Read, on: bool
) -> None:
    """The record is that of the other contact now, who is on the list or not; they are merged here later, if at all."""
    crm = WithLists(*people(3, 1, 7), vip={1, 3})
    read(embedded, crm)
    for number, merged in ((1, 3), (7, 1)):
        told = record(str(number), NOW + timedelta(minutes=number), f"p{number}@example.com")
        crm.changes.append(replace(told, merged=(str(merged),)))
    crm.members = {"vip": {7} if on else set()}
    read(embedded, crm)
    assert on_it(embedded) == ({"7": True} if on else {})


def test_what_others_say_of_the_attribute_since_stays_until_the_list_changes(embedded: Database, read: Read) -> None:
    crm = WithLists(*people(1), vip={1})
    read(embedded, crm)
    with embedded.write() as connection:
        connection.execute(update(Contact).values(attributes={"vip": "gold"}))
    read(embedded, crm)
    assert on_it(embedded) == {"1": "gold"}


def test_a_part_of_another_pull_that_has_got_further_is_dropped(embedded: Database, read: Read) -> None:
    crm = WithLists(*people(1, 2), vip={1})
    read(embedded, crm)
    told = crm.changed_since

    def slow(cursor: str) -> CrmPage:
        page = told(cursor)
        if page.members:
            with embedded.write() as connection:
                connection.execute(update(CrmCursor).values(cursor="2"))
        return replace(page, members=tuple(replace(part, members=(2,)) for part in page.members), more=False)

    crm.changed_since = slow  # type: ignore[method-assign]
    with embedded.write() as connection:
        connection.execute(update(CrmCursor).values(cursor="2/0"))
    crm.page = 0
    read(embedded, crm)
    assert on_it(embedded) == {"1": True}


def test_who_is_erased_is_on_no_list_and_comes_on_none(database: Database, read: Read) -> None:
    crm = WithLists(*people(1, 2), vip={1})
    read(database, crm)
    with database.write() as connection:
        ids = connection.execute(select(col(Contact.id)).order_by(col(Contact.id))).scalars().all()
        for number in ids:
            erase(connection, number, tokens=Tokens(["key-of-the-test"]), at=NOW, actor="test")
    crm.members = {"vip": {1, 2}}
    read(database, crm)
    assert on_it(database) == {}
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(CrmMember)).scalar() == 0


def test_a_record_that_turns_out_to_be_somebody_else_is_told_of_anew(
    embedded: Database, clock: FrozenClock, read: Read
) -> None:
    with embedded.write() as connection:
        add_contact(connection, "p1@example.com")
    crm = WithLists(*people(1), vip={1})
    read(embedded, crm)
    with embedded.write() as connection:
        merge = connection.execute(select(col(ContactMerge.id))).scalar_one()
        apart = undo(connection, merge, actor="test", clock=clock, now=clock.now(connection))
    read(embedded, crm)
    with embedded.read() as connection:
        told = select(col(Contact.attributes)).where(col(Contact.id) == apart)
        assert connection.execute(told).scalar_one()["vip"] is True
