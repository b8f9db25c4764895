"""A mail server that is down, slow, choosy or gone in the middle: the right states in the ledger, end to end."""

import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlmodel import col

from evergreet.audit import audit
from evergreet.balance import Report
from evergreet.campaign import Options
from evergreet.campaigns import launch
from evergreet.clock import FrozenClock
from evergreet.database import Database
from models import Suppression
from tests.faults.books import disagreements
from tests.faults.scenario import ledger, run
from tests.faults.shop import NEWS, Place, note, shoppers
from tests.faults.sink import Sink

CONTACTS = 6


class Mailing:
    """A campaign to six contacts through the real connector, at a time that can be moved."""

    def __init__(self, database: Database, sink: Sink) -> None:
        self.database = database
        self.sink = sink
        self.place = Place("", sink.port, threads=2, window=2)
        self.clock = FrozenClock(datetime.now(UTC) - timedelta(seconds=1))
        launch(database, NEWS, Options(), note, clock=self.clock, actor="test")
        self.clock.advance(timedelta(minutes=1))
        shoppers(database, CONTACTS)

    def run(self) -> Report:
        (report,) = run(self.database, self.place, self.clock, NEWS)
        assert [one.findings for one in audit(self.database, self.clock)] == [()]
        return report

    def later(self) -> Report:
        """Run when every pause is over."""
        self.clock.advance(timedelta(hours=7))
        return self.run()

    def states(self) -> dict[str, str]:
        """State and the beginning of the reason, by contact."""
        return {row["who"]: f"{row['state']}: {row['reason']}" for row in ledger(self.database).values()}

    def end(self, *in_doubt: str) -> None:
        """Compare with the books of the mail server."""
        rows = ledger(self.database)
        doubtful = {key for key, row in rows.items() if row["who"] in in_doubt}
        assert disagreements(rows, self.sink.by_key, doubtful) == []
        assert len(rows) == CONTACTS


@pytest.fixture
def mailing(database: Database, sink: Sink) -> Mailing:
    return Mailing(database, sink)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port: int = unused.getsockname()[1]
    return port


def test_a_server_that_is_down_gets_everything_when_it_is_up(mailing: Mailing) -> None:
    up, mailing.place = mailing.place, replace(mailing.place, port=closed_port())
    assert mailing.run().attempted == {"returned": CONTACTS}
    assert {state.partition(" to ")[0] for state in mailing.states().values()} == {"planned: No connection"}
    assert mailing.run().attempted == {}  # the pause is not over
    mailing.place = up
    assert mailing.later().attempted == {"accepted": CONTACTS}
    mailing.end()


def test_a_server_that_stays_down_is_given_up_with_the_reason(mailing: Mailing) -> None:
    mailing.place = replace(mailing.place, port=closed_port(), changes=(("retries", 2), ("breaker_failures", 9)))
    for _ in range(3):
        mailing.later()
    assert all(
        state.startswith("failed: gave up after 3 attempts: No connection") for state in mailing.states().values()
    )
    mailing.end()


def test_a_server_that_is_slow_before_the_dot_has_nothing_and_after_it_perhaps(mailing: Mailing) -> None:
    """Who comes after in the same hand-over is tried on another connection."""
    mailing.place = replace(mailing.place, timeout=0.5)
    mailing.sink.silent.add("s0@example.org")
    mailing.sink.holding("s1@example.org")
    assert mailing.run().attempted == {"accepted": 4, "returned": 1, "unknown": 1}
    states = mailing.states()
    assert states["s0"].startswith("planned: The server was lost at RCPT")
    assert states["s1"].startswith("unknown: The server had the whole message")
    mailing.sink.silent.clear()
    assert mailing.later().attempted == {"accepted": 1}
    mailing.end("s1")


def test_recipients_that_are_refused_do_not_touch_the_others(mailing: Mailing) -> None:
    mailing.sink.refuse = {
        "s0@example.org": "550 5.1.1 no such user", "s1@example.org": "550 5.7.1 not from you",
        "s2@example.org": "450 4.2.0 come back later",
    }  # fmt: skip
    mailing.sink.refuse_next["s3@example.org"] = ["451 4.7.1 greylisted"]
    assert mailing.run().attempted == {"accepted": 2, "failed": 2, "returned": 2}
    with mailing.database.read() as connection:
        suppressed = connection.execute(select(col(Suppression.address), col(Suppression.reason))).all()
    assert [tuple(row) for row in suppressed] == [("s0@example.org", "hard_bounce")]
    assert mailing.later().attempted == {"accepted": 1, "returned": 1}
    mailing.sink.refuse.clear()
    assert mailing.later().attempted == {"accepted": 1}
    assert mailing.states()["s1"].startswith("failed: The server refused the recipient: 550 5.7.1")
    mailing.end()


def test_a_connection_lost_before_the_content_is_tried_again_and_after_it_never(mailing: Mailing) -> None:
    """While the content is on its way nobody but the server knows how much of it arrived."""
    mailing.sink.lose_at_data["s0@example.org"] = 1
    mailing.sink.lose_in_content["s1@example.org"] = 1
    mailing.sink.lose_answer["s2@example.org"] = 1
    assert mailing.run().attempted == {"accepted": 3, "returned": 1, "unknown": 2}
    states = mailing.states()
    assert states["s0"].startswith("planned: The server was lost at DATA, before it had the message")
    assert states["s1"].startswith("unknown: The server had the whole message")
    assert states["s2"].startswith("unknown: The server had the whole message")
    assert mailing.later().attempted == {"accepted": 1}
    assert mailing.later().attempted == {}
    assert "s1@example.org" not in mailing.sink.recipients
    mailing.end("s1", "s2")
