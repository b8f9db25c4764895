"""PostgreSQL rolls a transaction of a worker back because of another one: a sentence, and the next run goes on."""

import pytest
from sqlalchemy import text

from tests.faults.orders import finishes, shop
from tests.faults.sink import Sink
from tests.faults.stores import PostgresStore, opened
from tests.faults.typed import Typing

CONFLICT = """
CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION '%' USING ERRCODE = '%';
END $$
"""
TRIGGER = "CREATE TRIGGER conflict BEFORE UPDATE ON message FOR EACH ROW {when} EXECUTE FUNCTION conflict()"


@pytest.mark.parametrize(
    ("code", "words"),
    [("40001", "could not serialize access due to concurrent update"), ("40P01", "deadlock detected")],
)
@pytest.mark.parametrize("state", ["sending", "accepted"])
def test_a_window_that_the_store_rolls_back(
    postgres_only: PostgresStore, typing: Typing, sink: Sink, code: str, words: str, state: str
) -> None:
    """Before the hand-over nothing is in doubt; after it, what was in hand is."""
    url = postgres_only.copy()
    type_in = typing(url)
    shop(url, type_in, 6)
    function = CONFLICT.replace("%", words, 1).replace("%", code, 1)
    with opened(url) as database, database.write() as connection:
        connection.execute(text(function))
        connection.execute(text(TRIGGER.format(when=f"WHEN (NEW.state = '{state}')")))
    sentence = type_in("run", "thank-you").sentence
    assert words in sentence
    assert "Nothing is half-written; run it again." in sentence
    assert bool(sink.mails) == (state == "accepted")
    with opened(url) as database, database.write() as connection:
        connection.execute(text("DROP TRIGGER conflict ON message"))
    found = finishes(url, type_in, sink, 6)
    in_doubt = found.get("unknown: the worker died between intent and settle", 0)
    assert bool(in_doubt) == (state == "accepted")
    postgres_only.drop(url)
