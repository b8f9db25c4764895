"""What a run reads of a large ledger: no more than there is to do, whatever old statistics say."""

from dataclasses import replace

from sqlalchemy import text
from sqlalchemy.event import listen

from evergreet.campaign import Email, Options
from evergreet.clock import FrozenClock
from evergreet.database import Database
from evergreet.enrollment import schedule
from tests.story import THANKS, Story

NEWS = replace(THANKS, steps=(Email("receipt", template="note"),))
READ = text("SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables")


def _reads(url: str) -> dict[str, int]:
    """How many rows of each table were read so far; a server's process tells at the latest when it ends."""
    database = Database(url)
    with database.read() as connection:
        reads = {name: int(count) for name, count in connection.execute(READ)}
    database.close()
    return reads


def test_on_postgresql_a_row_is_read_a_few_times_however_many_chunks_there_are(
    fresh_postgres_url: str, clock: FrozenClock
) -> None:
    database = Database(fresh_postgres_url)
    story = Story(database, clock)
    story.launch(NEWS)
    with database.write() as connection:
        connection.execute(text("ANALYZE"))  # while nothing is there: that is what a first run has to go by
    story.happened("order_placed", *story.contacts(2000, consents=["orders"]))
    assert story.run(NEWS, Options(batch_size=50)).attempted == {"accepted": 2000}
    database.close()
    done = _reads(fresh_postgres_url)
    assert done["enrollment"] / 2000 < 12
    assert done["message"] / 2000 < 15
    assert story.run(NEWS).attempted == {}
    database.close()
    again = _reads(fresh_postgres_url)
    assert again["enrollment"] - done["enrollment"] < 20
    assert again["message"] - done["message"] < 20


def test_what_has_no_time_yet_is_found_by_its_own_index(story: Story, clock: FrozenClock) -> None:
    story.launch(NEWS)
    with story.database.write() as connection:
        asked: list[str] = []
        listen(connection, "before_cursor_execute", lambda c, cursor, statement, *rest: asked.append(statement))
        schedule(connection, {}, 1, "UTC")
    assert "enrollment.state = 'active'" in asked[-1]  # in the words of the index, else it is not used
