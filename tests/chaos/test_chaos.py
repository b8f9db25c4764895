"""A minute of chaos with a fixed seed; and engines that break a rule, which the runner must not overlook."""

from collections.abc import Iterator

import pytest

from tests.chaos.blindness import BLINDED
from tests.chaos.report import Progress, report
from tests.chaos.rounds import Plan, play
from tests.chaos.servers import Server, running

SEED = 20260310


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("kind", "number"), [("sqlite", 1), ("postgresql", 0)])
def test_the_books_agree_after_a_round_of_faults(kind: str, number: int) -> None:
    """Two workers on SQLite and SendGrid, four on PostgreSQL and SMTP."""
    progress = Progress(SEED, kind, log=True)
    with running(kind) as server:
        outcome = play(Plan.draw(SEED, number, kind), server)
    progress.played(number, outcome)
    assert not report(progress)
    assert outcome.books.wrong == []
    assert len(outcome.faults) >= 15
    assert outcome.books.mails > outcome.orders


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("sqlite") as opened:
        yield opened


SIGNS = {
    "hands over before the intent": "was sent",
    "takes from the living": "",
    "retries what is unknown": "its attempts know of",
    "loses chunks": "planned messages in a chunk that is done",
}


@pytest.mark.parametrize("blinded", BLINDED)
def test_an_engine_that_breaks_a_rule_is_found_out(server: Server, blinded: str) -> None:
    """When the faults strike is left to the machine: on a busy one it may take more than one round."""
    wrong: list[str] = []
    for number in range(3):
        plan = Plan(
            seed=f"blind{number}", channel="smtp", workers=3, arriving=25, ticks=5, window=4, batch=15, share=0.3,
            kinds=("SIGKILL",), blinded=blinded,
        )  # fmt: skip
        wrong += play(plan, server).books.wrong
        if any(SIGNS[blinded] in finding for finding in wrong):
            return
    pytest.fail(f"three rounds, and it was not found out: {wrong}")
