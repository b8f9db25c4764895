"""What a run tells: faults by kind and how many were survived, duplicates, losses, and what is unknown by its cause."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from shutil import which

from evergreet.clock import DatabaseClock
from evergreet.database import Database
from evergreet.errors import ConfigurationError
from evergreet.worker import Worker
from tests.chaos.faults import KINDS
from tests.chaos.rounds import Outcome
from tests.chaos.servers import PostgresServer, Server
from tests.faults.pooler import pooled

MOST = 20
"""Findings of a round that are printed."""


@dataclass
class Progress:
    """The rounds on one store so far."""

    seed: int
    kind: str
    log: bool = False
    outcomes: list[tuple[int, Outcome]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def left_out(self, server: Server) -> None:
        """Look at what this machine lacks, and at the proxy that must be refused."""
        if server.disk is None:
            self.missing.append("disk full: this process may not mount a small disk")
        if not isinstance(server, PostgresServer):
            return
        if which("pgbouncer") is None:
            self.missing.append("transaction-pooling proxy: pgbouncer is not installed")
        elif not refuses_pooler(server):
            self.wrong.append("a worker began behind a transaction-pooling proxy")

    def played(self, number: int, outcome: Outcome) -> None:
        """Take in a round, and print a line on it."""
        self.outcomes.append((number, outcome))
        books, plan = outcome.books, outcome.plan
        bad = f", {len(books.wrong)} VIOLATIONS" if books.wrong else ""
        print(
            f"{self.kind} round {number}: {plan.workers} workers, {plan.channel}, window {plan.window}, "
            f"{outcome.orders} orders, {books.messages} messages, {books.mails} mails, "
            f"{outcome.faults.total()} faults, {outcome.seconds:.0f} s{bad}",
            flush=True,
        )
        if self.log:
            for fault in outcome.log:
                print(f"    {fault.at:7.2f} s  {fault.kind}: {fault.about}")
        for finding in books.wrong[:MOST]:
            print(f"    ! {finding}")
        if len(books.wrong) > MOST:
            print(f"    ! … and {len(books.wrong) - MOST} more")
        if books.wrong:
            print(f"    again: {again(self.seed, self.kind, number)}", flush=True)


def again(seed: int, kind: str, number: int) -> str:
    """The command that plays a round again."""
    return f"python -m tests.chaos --seed {seed} --store {kind} --only {number} --log"


def refuses_pooler(server: PostgresServer) -> bool:
    """Whether a worker refuses to begin behind a proxy that shares sessions."""
    url = server.copy()
    try:
        with pooled(url) as proxied, suppress(ConfigurationError), Worker.open(Database(proxied), DatabaseClock()):
            return False
        return True
    finally:
        server.drop(url)


def report(progress: Progress) -> bool:
    """Print the sum of all rounds; return whether anything is wrong."""
    injected: Counter[str] = Counter()
    survived: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    resolved: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    for _, outcome in progress.outcomes:
        books = outcome.books
        injected += outcome.faults
        survived += outcome.faults if not books.wrong else Counter()
        unknown += books.unknown
        resolved += outcome.resolved
        sums.update(
            orders=outcome.orders, messages=books.messages, mails=books.mails, accepted=books.accepted,
            duplicates=books.duplicates, losses=books.losses, repeats=books.repeats,
            violations=len(books.wrong), workers=outcome.workers,
        )  # fmt: skip
    bad = bool(progress.wrong or sums["violations"])
    print(f"\n{progress.kind}, seed {progress.seed}, {len(progress.outcomes)} rounds, {sums['workers']} workers")
    print(f"  {'fault':26} injected  survived")
    for kind in KINDS:
        if injected[kind]:
            print(f"  {kind:26} {injected[kind]:8}  {survived[kind]:8}")
    print(f"  {'all':26} {injected.total():8}  {survived.total():8}")
    print(
        f"  {sums['orders']} orders, {sums['messages']} messages, {sums['accepted']} accepted; the provider took "
        f"{sums['mails']} mails\n"
        f"  duplicates {sums['duplicates']}, losses {sums['losses']}, repeats that were asked for {sums['repeats']}, "
        f"violations {sums['violations'] + len(progress.wrong)}"
    )
    causes = ", ".join(f"{cause} {count}" for cause, count in unknown.most_common())
    print(f"  attempts in doubt {unknown.total()}{': ' if causes else ''}{causes}")
    ways = ", ".join(f"{way} {count}" for way, count in resolved.most_common())
    print(f"  resolved {resolved.total()}{': ' if ways else ''}{ways}")
    for words in progress.missing:
        print(f"  left out: {words}")
    for words in progress.wrong:
        print(f"  ! {words}")
    print(f"  {'THE BOOKS DISAGREE' if bad else 'the books agree'}\n", flush=True)
    return bad
