"""Tallies say what a count of the rows would, whoever settled them and however many did so at once."""

import threading
from collections import Counter

from sqlalchemy import Connection, func, insert, select
from sqlmodel import col

from evergreet.database import Database
from evergreet.tally import SPARE, add_to_tally, count_by_state, recount, tidy
from models import CampaignRow, Message, Tally
from tests.conftest import NOW
from tests.story import THANKS, Story

ACCEPTED, LATE = ("accepted", ""), ("skipped", "too_late")


def campaign_of(database: Database) -> int:
    with database.write() as connection:
        row = insert(CampaignRow).values(name="news", created_at=NOW).returning(col(CampaignRow.id))
        return connection.execute(row).scalar_one()


def rows_of(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(Tally)).scalar_one()


def test_a_tally_of_many_rows_becomes_one_of_few_and_says_the_same(database: Database) -> None:
    campaign = campaign_of(database)
    with database.write() as connection:
        for number in range(SPARE + 2):
            add_to_tally(connection, campaign, {ACCEPTED: 2, ("failed", "gone"): (-1) ** number, ("planned", ""): 1})
        told = count_by_state(connection, campaign)
        assert told == {ACCEPTED: 2 * (SPARE + 2)}
        tidy(connection, campaign)
        assert rows_of(connection) == 1
        assert count_by_state(connection, campaign) == told


def test_a_tally_of_many_reasons_is_left_as_it_is(database: Database) -> None:
    campaign = campaign_of(database)
    with database.write() as connection:
        add_to_tally(connection, campaign, {("failed", f"no user {number}"): 1 for number in range(2 * SPARE)})
        first = connection.execute(select(func.min(col(Tally.id)))).scalar_one()
        tidy(connection, campaign)
        assert connection.execute(select(func.min(col(Tally.id)))).scalar_one() == first


def test_what_is_added_while_a_tally_is_tidied_is_neither_lost_nor_doubled(database: Database) -> None:
    campaign = campaign_of(database)
    stop = threading.Event()
    added: Counter[tuple[str, str]] = Counter()
    lock = threading.Lock()

    def add(kind: tuple[str, str]) -> None:
        for _ in range(60):
            with database.write() as connection:
                add_to_tally(connection, campaign, {kind: 1})
            with lock:
                added[kind] += 1

    def tidy_again() -> None:
        while not stop.is_set():
            with database.write() as connection:
                tidy(connection, campaign, spare=0)

    adding = [threading.Thread(target=add, args=(kind,)) for kind in (ACCEPTED, ACCEPTED, LATE)]
    tidying = [threading.Thread(target=tidy_again) for _ in range(2)]
    for thread in (*adding, *tidying):
        thread.start()
    for thread in adding:
        thread.join()
    stop.set()
    for thread in tidying:
        thread.join()
    with database.read() as connection:
        assert count_by_state(connection, campaign) == added == {ACCEPTED: 120, LATE: 60}


def test_a_recount_replaces_what_was_wrong(story: Story) -> None:
    story.launch()
    story.happened("order_placed", story.contact("ana"), story.contact("ben", address=None))
    story.run()
    (campaign,) = {row.campaign_id for row in story.rows(Message)}
    with story.database.write() as connection:
        right = count_by_state(connection, campaign)
        add_to_tally(connection, campaign, {ACCEPTED: 5, LATE: 1})
        recount(connection, campaign)
        assert count_by_state(connection, campaign) == right
    assert right[ACCEPTED] == 1
    assert story.run(THANKS).balance.accepted == 1
