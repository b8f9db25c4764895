"""Evaluating a lifecycle on real stores: what moves contacts, in which order, and what never does."""

import csv
import gzip
import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update

from evergreet.clock import FrozenClock
from evergreet.conditions import attribute, did, in_stage_for
from evergreet.database import Database, exclusive, ingest_position
from evergreet.durations import days
from evergreet.errors import DefinitionError
from evergreet.lifecycle import Lifecycle, Rule, Stage, lifecycle
from evergreet.moves import CONTACT, set_stage
from evergreet.stages import CURSOR, StageReport, evaluate_stages
from models import Contact, Event, Table
from tests.conftest import NOW
from tests.faults.crossing import side_by_side, wait_until_blocked

EVENT, TRANSITION = Table.metadata.tables["event"], Table.metadata.tables["transition"]
EXPERIENCE = lifecycle("experience")


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


LONG_AGO = ago(days=400)


@dataclass
class Shop:
    """A store of contacts and events, and the questions tests ask it."""

    database: Database
    clock: FrozenClock
    rules: Lifecycle = EXPERIENCE
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def contact(self, *, created_at: datetime = LONG_AGO, **values: Any) -> int:
        number = next(self.numbers)
        with self.database.write() as connection:
            values = {"position": ingest_position(connection), "changed_at": NOW, **values}
            connection.execute(
                insert(Contact).values(id=number, source="test", source_id=str(number), created_at=created_at, **values)
            )
        return number

    def events(self, contact: int, *events: tuple[str, datetime], **properties: Any) -> list[str]:
        """Store events in one transaction; return their source ids."""
        ids = [str(next(self.numbers)) for _ in events]
        with self.database.write() as connection:
            position = ingest_position(connection)
            for source_id, (name, at) in zip(ids, events, strict=True):
                connection.execute(
                    insert(Event).values(
                        contact_id=contact, name=name, occurred_at=at, source="test", source_id=source_id,
                        properties=properties, ingested_at=NOW, position=position,
                    )
                )  # fmt: skip
        return ids

    def correct(self, source_id: str, **values: Any) -> None:
        """Store a correction, as the import does."""
        with self.database.write() as connection:
            old = connection.execute(
                select(EVENT).where(EVENT.c.source_id == source_id, EVENT.c.superseded.is_(False))
            ).one()
            connection.execute(update(EVENT).where(EVENT.c.id == old.id).values(superseded=True))
            row = {name: value for name, value in old._mapping.items() if name != "id"}
            row |= {"revision": old.revision + 1, "position": ingest_position(connection), **values}
            connection.execute(insert(EVENT).values(row))

    def evaluate(self, **options: Any) -> StageReport:
        return evaluate_stages(self.database, self.rules, self.clock, **options)

    def path(self, contact: int) -> list[str]:
        return [stage for _, stage, _, _ in self.moves(contact)]

    def moves(self, contact: int) -> list[tuple[str | None, str, datetime, str]]:
        columns = (TRANSITION.c.from_stage, TRANSITION.c.to_stage, TRANSITION.c.at, TRANSITION.c.cause)
        asked = select(*columns).where(TRANSITION.c.contact_id == contact).order_by(TRANSITION.c.id)
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(asked)]

    def stage(self, contact: int) -> tuple[str, datetime]:
        with self.database.read() as connection:
            row = connection.execute(
                select(CONTACT.c.stage, CONTACT.c.stage_since).where(CONTACT.c.id == contact)
            ).one()
        return row.stage, row.stage_since


@pytest.fixture
def shop(database: Database, clock: FrozenClock) -> Shop:
    return Shop(database, clock)


def test_contacts_begin_in_the_first_stage_at_their_earliest_event(shop: Shop) -> None:
    seen, silent = shop.contact(), shop.contact(created_at=ago(days=3))
    shop.events(seen, ("newsletter_opened", ago(days=9)), ("login", ago(days=10)), ("login", NOW + timedelta(days=1)))
    report = shop.evaluate()
    assert shop.moves(seen) == [(None, "awareness", ago(days=10), "created")]
    assert shop.moves(silent) == [(None, "awareness", ago(days=3), "created")]
    assert (report.entered, report.moved, report.evaluated) == ({"awareness": 2}, 2, 2)


def test_the_events_of_one_batch_move_a_contact_step_by_step_in_their_order(shop: Shop) -> None:
    ann = shop.contact()
    shop.events(
        ann, ("order_delivered", ago(days=6)), ("order_placed", ago(days=8)), ("product_viewed", ago(days=10)),
        ("product_added", ago(days=9)), ("review_submitted", ago(days=5)), ("order_placed", ago(days=1)),
    )  # fmt: skip
    report = shop.evaluate()
    assert shop.moves(ann) == [
        (None, "awareness", ago(days=10), "created"),
        ("awareness", "engagement", ago(days=10), "rule"),
        ("engagement", "evaluation", ago(days=9), "rule"),
        ("evaluation", "purchase", ago(days=8), "rule"),
        ("purchase", "experience", ago(days=6), "rule"),
        ("experience", "bonding", ago(days=5), "rule"),
        ("bonding", "purchase", ago(days=1), "rule"),
    ]
    assert shop.stage(ann) == ("purchase", ago(days=1))
    assert report.entered["purchase"] == 2
    assert report.moved == 7


def test_each_move_names_the_event_that_caused_it(shop: Shop) -> None:
    ann = shop.contact()
    [_, order] = shop.events(ann, ("login", ago(days=3)), ("order_placed", ago(days=2)))
    shop.evaluate()
    with shop.database.read() as connection:
        cause = (
            select(TRANSITION.c.to_stage, EVENT.c.source_id, TRANSITION.c.recorded_at)
            .outerjoin(EVENT, EVENT.c.id == TRANSITION.c.cause_event_id)
            .order_by(TRANSITION.c.id)
        )
        assert [tuple(row) for row in connection.execute(cause)] == [
            ("awareness", None, NOW),
            ("purchase", order, NOW),
        ]


def test_several_events_at_the_same_moment_each_count_in_the_order_they_came(shop: Shop) -> None:
    ann = shop.contact()
    shop.events(ann, *((name, ago(days=2)) for name in ("product_viewed", "add_to_cart", "order_placed")))
    shop.evaluate()
    assert shop.path(ann) == ["awareness", "engagement", "evaluation", "purchase"]


def test_running_it_twice_changes_nothing(shop: Shop) -> None:
    ann = shop.contact()
    shop.events(ann, ("product_viewed", ago(days=40)), ("add_to_cart", ago(days=35)))
    first = shop.evaluate()
    assert first.entered == {"awareness": 1, "engagement": 2, "evaluation": 1}  # back again: an old cart
    before = shop.moves(ann)
    again = shop.evaluate()
    assert (again.entered, again.moved, again.evaluated) == ({}, 0, 0)
    assert shop.moves(ann) == before


def test_a_second_order_loops_back_and_an_old_one_does_not(shop: Shop) -> None:
    ann = shop.contact()
    shop.events(ann, ("order_placed", ago(days=9)), ("order_delivered", ago(days=5)))
    shop.evaluate()
    shop.events(ann, ("order_placed", ago(days=6)))
    shop.evaluate()
    assert shop.path(ann) == ["awareness", "purchase", "experience"]
    shop.events(ann, ("order_placed", ago(days=1)))
    shop.evaluate()
    assert shop.path(ann) == ["awareness", "purchase", "experience", "purchase"]


VISITS = Lifecycle(
    "visits",
    (Stage("new", "New"), Stage("warm", "Warm"), Stage("hot", "Hot")),
    (
        Rule("warm", on=("visit",), from_=("new",)),
        Rule("hot", on=("visit",), when=did("visit", at_least=3), from_=("warm",)),
        Rule("hot", on=("call",), when=did("visit", at_least=4, within=days(30)), from_=("new", "warm")),
        Rule("hot", on=("pay",), when=attribute("plan") == "gold", from_=("new", "warm")),
        Rule("warm", when=in_stage_for(days(10)), from_=("hot",)),
        Rule("new", when=in_stage_for(days(20)) & ~did("visit", within=days(20)), from_=("warm",)),
    ),
)


@pytest.fixture
def visits(database: Database, clock: FrozenClock) -> Shop:
    return Shop(database, clock, VISITS)


def test_a_condition_without_within_counts_only_what_happened_in_this_stage(visits: Shop) -> None:
    ann = visits.contact()
    visits.events(ann, *(("visit", ago(days=day)) for day in (9, 8, 7)))
    visits.evaluate()
    assert visits.path(ann) == ["new", "warm"]  # the visit that made it warm is not one of three since
    visits.events(ann, ("visit", ago(days=6)))
    visits.evaluate()
    assert visits.moves(ann)[-1] == ("warm", "hot", ago(days=6), "rule")


def test_a_late_event_counts_where_within_looks_back_and_moves_now(visits: Shop) -> None:
    ann = visits.contact()
    visits.events(ann, *(("visit", ago(days=day)) for day in (9, 8, 7)), ("call", ago(days=5)))
    visits.evaluate()
    assert visits.path(ann) == ["new", "warm"]
    visits.events(ann, ("visit", ago(days=20)))
    visits.evaluate()
    assert visits.moves(ann)[-1] == ("warm", "hot", NOW, "rule")


def test_a_late_event_alone_moves_nobody(visits: Shop) -> None:
    ann = visits.contact()
    visits.events(ann, *(("visit", ago(days=day)) for day in (9, 8, 7, 6, 5)))
    visits.evaluate()
    assert visits.path(ann) == ["new", "warm", "hot"]
    before = visits.stage(ann)
    visits.events(ann, ("visit", ago(days=15)), ("call", ago(days=14)))
    visits.evaluate()
    assert visits.stage(ann) == before


def test_a_correction_lets_the_rules_be_asked_again_and_is_no_new_event(shop: Shop) -> None:
    big = Lifecycle(
        "big",
        (Stage("small", "Small"), Stage("big", "Big"), Stage("gone", "Gone")),
        (
            Rule("big", on=("order",), when=did("order", where={"size": "big"})),
            Rule("gone", on=("leave",), from_=("big",)),
        ),
    )
    shop.rules = big
    ann = shop.contact()
    shop.events(ann, ("login", ago(days=9)))
    [order] = shop.events(ann, ("order", ago(days=5)), size="small")
    shop.evaluate()
    assert shop.path(ann) == ["small"]
    shop.correct(order, properties={"size": "big"})
    shop.evaluate()
    assert shop.moves(ann)[-1] == ("small", "big", NOW, "rule")
    with shop.database.read() as connection:
        caused_by = select(EVENT.c.revision).join(TRANSITION, TRANSITION.c.cause_event_id == EVENT.c.id)
        assert connection.execute(caused_by).scalars().all() == [0]
    shop.clock.advance(timedelta(days=2))
    shop.events(ann, ("leave", ago(days=-1)))
    shop.evaluate()
    shop.correct(order, properties={"size": "big", "note": "again"})
    shop.evaluate()
    assert shop.path(ann) == ["small", "big", "gone"]


def test_an_event_corrected_before_it_was_read_counts_once_as_it_is_now(shop: Shop) -> None:
    ann = shop.contact()
    shop.events(ann, ("login", ago(days=9)))
    [order] = shop.events(ann, ("order_placed", ago(days=5)))
    shop.correct(order, occurred_at=ago(days=4))
    shop.evaluate()
    assert shop.moves(ann)[1:] == [("awareness", "purchase", ago(days=4), "rule")]
    with shop.database.read() as connection:
        caused_by = select(EVENT.c.revision).join(TRANSITION, TRANSITION.c.cause_event_id == EVENT.c.id)
        assert connection.execute(caused_by).scalars().all() == [0]


def test_a_corrected_event_at_the_very_beginning_of_the_stage_is_not_counted_again(visits: Shop) -> None:
    ann = visits.contact()
    [warmed, *_] = visits.events(ann, *(("visit", ago(days=day)) for day in (9, 8, 7)))
    visits.evaluate()
    visits.correct(warmed, properties={"page": "other"})
    visits.evaluate()
    assert visits.path(ann) == ["new", "warm"]


def test_late_events_are_looked_at_after_those_in_order(visits: Shop) -> None:
    ann = visits.contact()
    visits.events(ann, *(("visit", ago(days=day)) for day in (9, 8, 7)))
    visits.evaluate()
    visits.events(ann, ("visit", ago(days=20)), ("call", ago(days=5)))
    visits.evaluate()
    assert visits.moves(ann)[-1] == ("warm", "hot", ago(days=5), "rule")  # at the call, not as of now


def test_a_change_of_the_contacts_own_data_lets_the_rules_be_asked_again(visits: Shop) -> None:
    ann, ben = visits.contact(), visits.contact(attributes={"plan": "gold"})
    visits.events(ann, ("login", ago(days=9)), ("pay", ago(days=5)))
    visits.evaluate()
    assert visits.path(ann) == ["new"]
    with visits.database.write() as connection:
        connection.execute(update(CONTACT).values(attributes={"plan": "gold"}, position=ingest_position(connection)))
    visits.evaluate()
    assert visits.moves(ann)[-1] == ("new", "hot", NOW, "rule")
    assert visits.path(ben) == ["new"]  # gold, and never paid


def test_the_passing_of_time_moves_contacts_at_the_exact_moment(visits: Shop) -> None:
    ann = visits.contact()
    visits.events(ann, *(("visit", ago(days=day)) for day in (5, 4, 3, 2)))
    visits.evaluate()
    visits.clock.instant = ago(days=2) + timedelta(days=10, microseconds=-1)
    assert visits.evaluate().moved == 0
    visits.clock.advance(timedelta(microseconds=1))
    assert visits.evaluate().entered == {"warm": 1}
    assert visits.moves(ann)[-1] == ("hot", "warm", ago(days=-8), "time")
    visits.clock.advance(timedelta(days=20))
    visits.evaluate()
    assert visits.path(ann) == ["new", "warm", "hot", "warm", "new"]


def test_a_sweep_is_cut_into_transactions_and_misses_nobody(visits: Shop) -> None:
    people = [visits.contact() for _ in range(7)]
    for one in people:
        visits.events(one, *(("visit", ago(days=day)) for day in (35, 34, 33, 32)))
    visits.evaluate(batch=3)
    assert {tuple(visits.path(one)) for one in people} == {("new", "warm", "hot", "warm")}
    visits.clock.advance(timedelta(days=20))
    assert visits.evaluate(batch=7).entered == {"new": 7}


def test_a_customer_who_is_gone_for_half_a_year_goes_back(shop: Shop) -> None:
    ann = shop.contact()
    shop.events(
        ann, ("order_placed", ago(days=200)), ("order_delivered", ago(days=190)), ("review_submitted", ago(days=181))
    )
    shop.evaluate()
    assert shop.path(ann) == ["awareness", "purchase", "experience", "bonding", "engagement"]
    assert shop.moves(ann)[-1][2:] == (NOW, "time")


def test_an_event_of_the_future_moves_when_its_time_has_come(shop: Shop) -> None:
    ann = shop.contact()
    shop.events(ann, ("login", ago(days=1)), ("order_placed", NOW + timedelta(hours=1)))
    shop.events(ann, ("order_delivered", NOW + timedelta(hours=3)))
    shop.evaluate()
    assert shop.path(ann) == ["awareness"]
    shop.clock.advance(timedelta(minutes=59))
    shop.evaluate()
    assert shop.path(ann) == ["awareness"]
    shop.clock.advance(timedelta(minutes=1))
    shop.evaluate()
    assert shop.moves(ann)[-1] == ("awareness", "purchase", NOW + timedelta(hours=1), "rule")
    shop.events(ann, ("review_submitted", NOW + timedelta(hours=4)))
    shop.clock.advance(timedelta(minutes=119))
    assert shop.evaluate().moved == 0
    shop.clock.advance(timedelta(hours=2))
    shop.evaluate()
    assert shop.moves(ann)[-2:] == [
        ("purchase", "experience", NOW + timedelta(hours=3), "rule"),
        ("experience", "bonding", NOW + timedelta(hours=4), "rule"),
    ]
    assert shop.evaluate().moved == 0


def test_a_lifecycle_without_rules_lets_contacts_begin_and_stay(shop: Shop) -> None:
    shop.rules = Lifecycle("still", (Stage("here", "Here"),), ())
    ann = shop.contact()
    shop.events(ann, ("order_placed", ago(days=2)))
    assert shop.evaluate().entered == {"here": 1}
    assert shop.evaluate().moved == 0


def test_a_long_stretch_in_several_transactions_gives_the_same_as_one(shop: Shop, fixtures: Path) -> None:
    people = load_log(shop, fixtures, users=40)
    seen: list[int] = []

    class Stop(Exception):
        pass

    class Reporter:
        def progress(self, phase: str, done: int, total: int | None) -> None:
            seen.append(done)
            if len(seen) == 3:
                raise Stop

    with pytest.raises(Stop):
        shop.evaluate(batch=5, reporter=Reporter())
    assert 0 < seen[-1] < 40
    late = shop.contact()  # comes in the middle: belongs to the next stretch, or to this one, but to one
    shop.events(late, ("order_placed", ago(days=800)))
    report = shop.evaluate(batch=5)
    assert seen[-1] + report.evaluated >= 40
    shop.evaluate(batch=5)
    assert shop.path(late)[:2] == ["awareness", "purchase"]
    with shop.database.read() as connection:
        assert connection.execute(select(CURSOR.c.name)).scalars().all() == ["stages"]
        if connection.dialect.name == "postgresql":  # it asked by statistics that know the events
            known = text("SELECT reltuples FROM pg_class WHERE oid = 'event'::regclass")
            assert connection.execute(known).scalar_one() > 40
    check_by_hand(shop, people)


def test_two_evaluations_at_once_move_each_contact_once(shop: Shop) -> None:
    people = [shop.contact() for _ in range(20)]
    for one in people:
        shop.events(one, ("product_viewed", ago(days=9)), ("add_to_cart", ago(days=8)), ("order_placed", ago(days=7)))
    barrier = threading.Barrier(3)
    reports: list[StageReport] = []

    def work() -> None:
        barrier.wait(10)
        reports.append(shop.evaluate(batch=2))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(reports) == 3
    assert sum(report.moved for report in reports) == 20 * 4
    assert {tuple(shop.path(one)) for one in people} == {("awareness", "engagement", "evaluation", "purchase")}


def test_an_evaluation_waits_until_another_has_committed(fresh_postgres_url: str, clock: FrozenClock) -> None:
    """PostgreSQL only: SQLite has one writer at a time."""
    shop = Shop(Database(fresh_postgres_url), clock)
    ann = shop.contact()
    about_to = threading.Event()

    def work() -> StageReport:
        about_to.set()
        return shop.evaluate()

    with side_by_side() as start:
        with shop.database.write() as other:
            exclusive(other, "stages")
            late = start(work)
            wait_until_blocked(shop.database, about_to)
            other.execute(insert(Event).values(
                contact_id=ann, name="order_placed", occurred_at=ago(days=1), source="test", source_id="o",
                ingested_at=NOW, position=ingest_position(other),
            ))  # fmt: skip
        assert late.result(60).entered == {"awareness": 1, "purchase": 1}  # it read what the other had stored
    shop.database.close()


def test_time_moves_nobody_before_their_stage_has_begun(visits: Shop) -> None:
    ann = visits.contact()
    visits.rules = Lifecycle(
        "plans", VISITS.stages, (Rule("hot", when=attribute("plan") == "gold"), Rule("warm", on=("visit",)))
    )
    visits.evaluate()
    with visits.database.write() as connection:
        set_stage(connection, visits.rules, {ann: "warm"}, cause="crm", at=NOW + timedelta(days=1), now=NOW)
        connection.execute(update(CONTACT).values(attributes={"plan": "gold"}))
    assert visits.evaluate().moved == 0
    visits.clock.advance(timedelta(days=1))
    assert visits.evaluate().entered == {"hot": 1}


def test_erased_contacts_do_not_move(shop: Shop) -> None:
    gone, known = shop.contact(erased_at=NOW), shop.contact()
    shop.events(known, ("order_placed", ago(days=9)))
    shop.evaluate()
    with shop.database.write() as connection:
        connection.execute(update(CONTACT).values(erased_at=NOW))
    shop.events(known, ("order_delivered", ago(days=1)))
    assert shop.evaluate().moved == 0
    shop.clock.advance(timedelta(days=50))
    assert shop.evaluate().moved == 0
    assert shop.path(gone) == []
    assert shop.path(known) == ["awareness", "purchase"]


def test_a_file_or_a_crm_sets_the_stage(shop: Shop) -> None:
    ann, ben, cem, dora = (shop.contact() for _ in range(4))
    shop.events(ben, ("order_placed", ago(days=3)))
    with shop.database.write() as connection:
        connection.execute(update(CONTACT).where(CONTACT.c.id == dora).values(erased_at=NOW))
    shop.clock.instant = ago(days=2)
    with shop.database.write() as connection:  # before the first evaluation: no stage yet
        assert set_stage(connection, EXPERIENCE, {cem: "bonding"}, cause="import", at=ago(days=4), now=NOW) == 1
    shop.evaluate()
    with shop.database.write() as connection:
        wanted = {ann: "evaluation", ben: "bonding", cem: "bonding", dora: "bonding", 999_999: "bonding"}
        assert set_stage(connection, EXPERIENCE, wanted, cause="crm", at=ago(days=1), now=NOW) == 2
        assert set_stage(connection, EXPERIENCE, {ann: "bonding"}, cause="crm", at=ago(days=5), now=NOW) == 0
        assert set_stage(connection, EXPERIENCE, {}, cause="crm", at=NOW, now=NOW) == 0
    assert shop.moves(ann)[-1] == ("awareness", "evaluation", ago(days=1), "crm")
    assert shop.moves(ben)[-1] == ("purchase", "bonding", ago(days=1), "crm")
    assert shop.moves(cem) == [(None, "bonding", ago(days=4), "import")]
    assert shop.moves(dora) == []
    shop.clock.instant = NOW
    shop.events(ben, ("order_delivered", ago(days=2)), ("order_placed", ago(hours=5)))
    shop.evaluate()
    assert shop.moves(ben)[-1] == ("bonding", "purchase", ago(hours=5), "rule")


def test_a_stage_that_the_lifecycle_does_not_have_is_refused_before_anything_is_written(shop: Shop) -> None:
    ann, ben = shop.contact(), shop.contact()
    with shop.database.write() as connection, pytest.raises(DefinitionError, match="no stage 'vip'"):
        set_stage(connection, EXPERIENCE, {ann: "bonding", ben: "vip"}, cause="crm", at=NOW, now=NOW)
    assert shop.moves(ann) == []


def test_every_evaluation_only_appends(shop: Shop, fixtures: Path) -> None:
    load_log(shop, fixtures, users=10)
    asked = select(TRANSITION).order_by(TRANSITION.c.id)
    shop.clock.instant = datetime(2024, 4, 1, tzinfo=UTC)
    shop.evaluate()
    with shop.database.read() as connection:
        before = connection.execute(asked).all()
    shop.clock.instant = datetime(2024, 9, 1, tzinfo=UTC)
    shop.evaluate()
    with shop.database.read() as connection:
        after = connection.execute(asked).all()
    assert after[: len(before)] == before
    assert len(after) > len(before) > 10
    for one in {row.contact_id for row in after}:
        path = [row for row in after if row.contact_id == one]
        assert [row.from_stage for row in path[1:]] == [row.to_stage for row in path[:-1]]
        assert [row.at for row in path] == sorted(row.at for row in path)


# The real log, folded by hand: the preset's rules once more, in plain Python over the file.

LOG_END = datetime(2024, 7, 1, tzinfo=UTC)
LOOKING = {"product_view", "catalog", "search", "filter_results"}
WEIGHING = {"add_to_cart", "cart", "wishlist_add", "compare", "shipping_details", "payment_details"}
KNOWN = LOOKING | WEIGHING | {"purchase", "support_chat"}


def load_log(shop: Shop, fixtures: Path, users: int = 10_000) -> dict[int, list[tuple[datetime, str]]]:
    """Load the log of the first users, and return what each contact did, in order."""
    people: dict[str, list[tuple[datetime, str]]] = {}
    with gzip.open(fixtures / "data" / "retentioneering_ecom.csv.gz", "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            at = datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC)
            people.setdefault(row["user_id"], []).append((at, row["event"]))
    chosen = {number: people[user] for number, user in enumerate(sorted(people)[:users], start=1)}
    shop.numbers = itertools.count(len(chosen) + 1_000_000)
    shop.clock.instant = LOG_END
    with shop.database.write() as connection:
        position = ingest_position(connection)
        stamps = {"source": "log", "created_at": LOG_END, "changed_at": LOG_END, "position": position}
        connection.execute(insert(Contact), [{"id": one, "source_id": str(one), **stamps} for one in chosen])
        connection.execute(
            insert(Event),
            [
                {"contact_id": one, "name": name, "occurred_at": at, "source": "log",
                 "source_id": f"{one}/{index}", "properties": {}, "ingested_at": LOG_END, "position": position}
                for one, done in chosen.items() for index, (at, name) in enumerate(done)
            ],
        )  # fmt: skip
    return {one: sorted(done, key=lambda each: each[0]) for one, done in chosen.items()}


def fold(done: list[tuple[datetime, str]], now: datetime) -> list[tuple[str, datetime]]:
    path = [("awareness", done[0][0])]
    for at, name in done:
        stage = path[-1][0]
        if name == "purchase" and stage != "purchase":
            path.append(("purchase", at))
        elif name == "support_chat" and stage in {"purchase", "bonding"}:
            path.append(("experience", at))
        elif name in WEIGHING and stage in {"awareness", "engagement"}:
            path.append(("evaluation", at))
        elif name in LOOKING and stage == "awareness":
            path.append(("engagement", at))
    while following := _in_time(done, *path[-1], now):
        path.append((following, now))
    return path


def _in_time(done: list[tuple[datetime, str]], stage: str, since: datetime, now: datetime) -> str | None:
    def lately(names: set[str], span: int) -> bool:
        return any(name in names and now - at <= timedelta(days=span) for at, name in done)

    waited = (now - since) / timedelta(days=1)
    if stage == "purchase" and waited >= 14:
        return "experience"
    if stage == "experience" and waited >= 30 and not lately({"support_chat"}, 30) and lately(LOOKING | WEIGHING, 30):
        return "bonding"
    if stage == "evaluation" and waited >= 30 and not lately(WEIGHING, 30):
        return "engagement"
    if stage == "engagement" and waited >= 90 and not lately(KNOWN, 90):
        return "awareness"
    if stage in {"experience", "bonding"} and waited >= 180 and not lately(KNOWN, 180):
        return "engagement"
    return None


def check_by_hand(shop: Shop, people: dict[int, list[tuple[datetime, str]]]) -> Counter[str]:
    asked = select(TRANSITION.c.contact_id, TRANSITION.c.to_stage, TRANSITION.c.at).order_by(TRANSITION.c.id)
    found: dict[int, list[tuple[str, datetime]]] = {}
    with shop.database.read() as connection:
        for one, stage, at in connection.execute(asked):
            found.setdefault(one, []).append((stage, at))
    for one, done in people.items():
        assert found[one] == fold(done, LOG_END), one
    return Counter(found[one][-1][0] for one in people)


def test_the_stages_of_the_real_log_are_those_of_a_fold_by_hand(shop: Shop, fixtures: Path) -> None:
    people = load_log(shop, fixtures)
    report = shop.evaluate()
    assert report.evaluated == len(people) == 600
    ends = check_by_hand(shop, people)
    with shop.database.read() as connection:
        stages = connection.execute(select(CONTACT.c.stage)).scalars()
        assert Counter(stages) == ends
    assert report.entered["purchase"] >= 300
    assert shop.evaluate().moved == 0
