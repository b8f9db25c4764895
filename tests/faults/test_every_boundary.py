"""Death before and after every COMMIT and every write to a socket: the ledger is true after a restart.

`tests.faults.visits` says which of them a run visits. On PostgreSQL it is those around the network when there is little
time: what differs between the stores is how ownership ends.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import evergreet
from tests.faults import scenario
from tests.faults.books import disagreements
from tests.faults.children import Boundaries, When
from tests.faults.forks import ForkServer
from tests.faults.shop import QUIET, Place
from tests.faults.sink import Mail, Sink
from tests.faults.stores import Store
from tests.faults.visits import visits

EXPECTED = {
    "receipts/receipt": {"zoe": "unknown", "yan": "accepted"},
    "hello/welcome": {
        "ana": "accepted", "dora": "skipped: no_consent", "eli": "accepted",
        "fay": "failed: The server refused the recipient: 550 5.7.1", "gus": "accepted",
        "hal": "failed: template: ", "ida": "skipped: no_address",
    },
    "hello/follow-up": {
        "ana": "accepted", "dora": "skipped: no_consent", "eli": "skipped: unless",
        "fay": "skipped: unless", "gus": "skipped: unless", "hal": "skipped: unless", "ida": "skipped: no_address",
    },
}  # fmt: skip
"""What becomes of everybody where nobody dies; who was in hand at a death may also be unknown."""

NOT_OF_A_RUN = {
    "worker.ping": "only reads, while hand-overs take their time",
    "worker.acquit": "only after the store has failed (test_locked)",
    "enrollment.backfill": "an operator's command: one transaction, nothing is sent",
    "broadcasts.confirm": "an operator's command: one transaction, nothing is sent",
    "broadcasts.cancel": "an operator's command: one transaction, nothing is sent",
    "campaigns.stop": "an operator's command: one transaction, nothing is sent",
    "campaigns._move": "an operator's command: one transaction, nothing is sent",
    "reconcile._find": "asks the provider; SMTP cannot be asked (test_deaths_while_asking)",
    "stages.evaluate_stages": "comes before the runs (test_deaths_while_stages_move)",
    "stages._move_in_time": "comes before the runs (test_deaths_while_stages_move)",
    "reconcile.assume_sent": "an operator's command: one transaction, nothing is sent",
    "reconcile.retry": "an operator's command: one transaction, nothing is sent",
    "reconcile.hold": "an operator's command: one transaction, nothing is sent",
    "delivery._settle": "forgets stored requests to a provider with idempotency keys (test_deaths_while_repeating)",
    "delivery._divided": "smaller requests to a provider with idempotency keys (test_deaths_while_repeating)",
    "breakers.ask_again": "an operator's command: one transaction, nothing is sent",
    "ledger.defer_rest": "only with a limit per day (tests.test_rates)",
    "ledger.put_off": "only with several providers (tests.test_failover)",
    "repeats.repeat": "asks a provider with idempotency keys (test_deaths_while_repeating)",
    "engine._prove": "a note in the audit log, before a new version is registered",
    "engine._shards_at_work": "only reads, in a run that has shards",
    "engine.deliver": "a shard of a large run: its windows are those of any run",
    "maintenance.maintain": "an operator's command: nothing is sent",
    "maintenance._empty_payloads": "an operator's command: nothing is sent",
    "maintenance._remove": "an operator's command: nothing is sent",
    "maintenance._analyze": "an operator's command: nothing is sent",
}

AROUND = ("ledger.claim", "ledger._write_intent", "settling.settle", "worker._take_over", "the content")


class Explorer:
    """One shop on one store, to be killed again and again on one day of its life."""

    def __init__(self, store: Store, server: ForkServer, sink: Sink) -> None:
        self.store = store
        self.server = server
        self.sink = sink
        sink.refuse["fay@example.org"] = "550 5.7.1 not from you"
        self.place = Place("", sink.port, changes=QUIET)
        self.base = store.copy()
        died = server.run(
            scenario.prepare, replace(self.place, url=self.base), Boundaries("write of the content", "after")
        )
        assert died == ("killed", "write of the content")
        self.remember(scenario.FIRST)
        place = self.fresh()
        server.warm_up(scenario.recover, place, self.phase)
        store.drop(place.url)

    def remember(self, phase: str) -> None:
        """Begin each life from here: this database, and these books of the mail server."""
        self.sink.quiet()
        self.phase = phase
        self.booked: list[Mail] = list(self.sink.mails)

    def night(self) -> None:
        """Let the first day pass: from now on each life begins with the second."""
        place = self.fresh()
        assert self.play(place, Boundaries())[0] == "done"
        self.store.drop(self.base)
        self.base = place.url
        self.remember(scenario.SECOND)

    def fresh(self) -> Place:
        """A shop as it was remembered."""
        self.sink.mails[:] = self.booked
        self.sink.refuse_next["gus@example.org"] = ["451 4.2.1 tomorrow"] if self.phase == scenario.FIRST else []
        return replace(self.place, url=self.store.copy(self.base))

    def play(self, place: Place, boundaries: Boundaries) -> Any:
        """Live the day; return the last word."""
        day = scenario.first_day if self.phase == scenario.FIRST else scenario.second_day
        return self.server.run(day, place, boundaries)

    def boundaries(self) -> list[str]:
        """Live the day to its end; return its boundaries in their order."""
        place = self.fresh()
        said = self.play(place, Boundaries())
        self.store.drop(place.url)
        assert said[0] == "done"
        labels: list[str] = said[1]
        return labels

    def kill(self, number: int, when: When) -> tuple[Place, Any]:
        """Kill it there; return where, and its last word."""
        place = self.fresh()
        return place, self.play(place, Boundaries(number, when))

    def die(self, labels: list[str], number: int, when: When) -> list[str]:
        """Kill it there, start again, and say what is wrong then."""
        place, said = self.kill(number, when)
        if said != ("killed", labels[number]):  # autovacuum may have held the cursor back: all came one run later
            self.store.drop(place.url)
            place, said = self.kill(number, when)
        if said != ("killed", labels[number]):
            return [f"not visited: {said}"]
        self.sink.quiet()
        self.store.deserted(place.url)
        self.sink.refuse_next.clear()
        _, told = self.server.run(scenario.recover, place, self.phase)
        self.sink.quiet()
        self.store.drop(place.url)
        in_flight = {key for key, row in told["crashed"].items() if row["state"] in {"sending", "unknown"}}
        wrong = [f"audit of the crash: {finding}" for finding in told["findings"]]
        wrong += [f"audit: {finding}" for finding in told["findings_at_the_end"]]
        wrong += disagreements(told["rows"], self.sink.by_key, in_flight)
        wrong += unexpected(told["rows"], in_flight)
        doubtful = {row["who"] for key, row in told["crashed"].items() if key in in_flight} - {"zoe"}
        if doubtful and not between_intent_and_settle(labels, number, when):
            wrong.append(f"in hand although no window was: {doubtful}")
        return wrong


def between_intent_and_settle(labels: list[str], number: int, when: When) -> bool:
    """Whether the last COMMIT before this death was an intent: with one thread nothing else comes before its settle."""
    passed = labels[: number + 1] if when == "after" else labels[:number]
    commits = [label for label in passed if "commit of" in label]
    return bool(commits) and commits[-1].endswith("write_intent")


def unexpected(rows: dict[str, dict[str, Any]], in_flight: set[str]) -> Iterator[str]:
    """Compare with what was to become of everybody."""
    seen: Counter[str] = Counter()
    for key, row in rows.items():
        seen[row["step"]] += 1
        expected = EXPECTED[row["step"]][row["who"]]
        became = f"{row['state']}: {row['reason']}"
        if not became.startswith(expected) and not (row["state"] == "unknown" and key in in_flight):
            yield f"{row['step']} of {row['who']} is {became} instead of {expected}"
    for step, people in EXPECTED.items():
        if seen[step] != len(people):
            yield f"{step} has {seen[step]} rows instead of {len(people)}"


@pytest.mark.timeout(900)
def test_death_at_any_boundary_leaves_the_ledger_true(store: Store, sink: Sink) -> None:
    with ForkServer() as server:
        explorer = Explorer(store, server, sink)
        visited = explore(explorer)
        explorer.night()
        visited |= explore(explorer)
        store.drop(explorer.base)
    assert not_visited(visited) == []
    words = ("EHLO", "MAIL", "RCPT", "DATA", "the content", "RSET", "QUIT")
    assert {f"write of {word}" for word in words} <= visited


def explore(explorer: Explorer) -> set[str]:
    """Die at boundaries of the day; return what all of them are called."""
    labels = explorer.boundaries()
    print("\n".join(f"{number:3} {label}" for number, label in enumerate(labels)))
    around_the_network = explorer.store.kind == "postgresql"
    wrong = {
        f"{when} {labels[number]} (boundary {number})": found
        for number, when in visits(labels, of=lambda label: not around_the_network or label.endswith(AROUND))
        if (found := explorer.die(labels, number, when))
    }
    assert wrong == {}
    return {label.partition(": ")[2] for label in labels}


def not_visited(visited: set[str]) -> list[str]:
    """Name the functions that write to the store during a run, by the source, and whose COMMIT was not among these."""
    folder = Path(evergreet.__file__).parent
    writing = {
        f"{part.stem}.{function.name}"
        for part in folder.glob("*.py")
        for function in ast.walk(ast.parse(part.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef) and any(_writes(node) for node in ast.walk(function))
    }
    assert writing >= set(NOT_OF_A_RUN), "an exception is for nobody"
    return sorted(name for name in writing - set(NOT_OF_A_RUN) if f"commit of {name}" not in visited)


def _writes(node: ast.AST) -> bool:
    return isinstance(node, ast.With) and any(
        isinstance(item.context_expr, ast.Call)
        and isinstance(item.context_expr.func, ast.Attribute)
        and item.context_expr.func.attr in {"transaction", "write"}
        for item in node.items
    )
