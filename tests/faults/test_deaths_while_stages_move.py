"""Death before or after a COMMIT of an evaluation of stages: each move is made once, each mail sent once."""

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import func, select
from sqlmodel import col

from evergreet.audit import audit
from evergreet.campaign import Campaign, Email, Options, stage_entered
from evergreet.campaigns import launch
from evergreet.clock import FrozenClock
from evergreet.durations import days
from evergreet.lifecycle import lifecycle
from evergreet.stages import evaluate_stages
from models import Transition
from tests.conftest import NOW
from tests.faults.children import Boundaries
from tests.faults.forks import ForkServer
from tests.faults.scenario import Speak, ledger, run
from tests.faults.shop import Place, happened, note, person
from tests.faults.sink import Sink
from tests.faults.stores import Store, opened
from tests.faults.visits import visits

BOUGHT = Campaign(
    name="bought",
    topic="news",
    trigger=stage_entered("purchase"),
    steps=(Email("thanks", template="note", lateness=days(30)),),
)
Seen = tuple[dict[str, str], dict[str, int], list[str]]
PEOPLE = [f"p{number}" for number in range(4)]
VISITS = ("product_viewed", "search", "add_to_cart", "order_placed", "login")
PASSED = ("awareness", "engagement", "evaluation", "purchase", "experience")
FORTNIGHT = NOW + timedelta(days=15)
"""By then the rules that depend on time alone have moved everybody on."""


def visit(place: Place) -> None:
    """Four people have looked around and bought."""
    with opened(place.url) as database:
        with database.write() as connection:
            for name in PEOPLE:
                person(connection, name)
        launch(database, BOUGHT, Options(), note, clock=FrozenClock(NOW), actor="test")
        for name in VISITS:
            happened(database, name, PEOPLE)


def evaluate(speak: Speak, place: Place, boundaries: Boundaries) -> list[str]:
    """Move the stages in small transactions, and die where it is asked."""
    boundaries.dying = lambda label: speak(("killed", label))
    boundaries.install()
    with opened(place.url) as database:
        evaluate_stages(database, lifecycle("experience"), FrozenClock(FORTNIGHT), batch=1)
    return boundaries.labels


def finish(_speak: Speak, place: Place) -> Seen:
    """Evaluate once more and send; return everybody's state, the moves into each stage, the audit's findings."""
    clock = FrozenClock(FORTNIGHT)
    with opened(place.url) as database:
        evaluate_stages(database, lifecycle("experience"), clock, batch=1)
        run(database, place, clock, BOUGHT)
        with database.read() as connection:
            entered = connection.execute(
                select(col(Transition.to_stage), func.count()).group_by(col(Transition.to_stage))
            )
            times = dict(entered.tuples().all())
        findings = [finding for one in audit(database, clock) for finding in one.findings]
        states = {row["who"]: row["state"] for row in ledger(database).values()}
        return states, times, findings


def test_death_at_any_commit_of_an_evaluation(store: Store, sink: Sink) -> None:
    with ForkServer() as server:
        base = Place(store.copy(), sink.port)
        visit(base)
        place = replace(base, url=store.copy(base.url))
        _, labels = server.run(evaluate, place, Boundaries())
        store.drop(place.url)
        assert set(labels) == {"commit of stages.evaluate_stages", "commit of stages._move_in_time"}
        assert len(labels) > 2 * len(PEOPLE)
        for number, when in visits(labels):
            place = replace(base, url=store.copy(base.url))
            sink.forget()
            assert server.run(evaluate, place, Boundaries(number, when)) == ("killed", labels[number])
            store.deserted(place.url)
            everybody: Seen = (dict.fromkeys(PEOPLE, "accepted"), dict.fromkeys(PASSED, len(PEOPLE)), [])
            assert server.run(finish, place) == ("done", everybody), f"{when} {labels[number]} ({number})"
            assert sink.recipients == [f"{name}@example.org" for name in PEOPLE]
            store.drop(place.url)
        store.drop(base.url)
