"""A round: some workers, one campaign after another, faults as the seed has drawn them, recovery, comparison."""

import random
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from sqlalchemy import func, select
from sqlmodel import col

from evergreet.campaign import Options
from evergreet.campaigns import launch
from evergreet.database import Database
from evergreet.engine import Engine
from evergreet.errors import EvergreetError
from evergreet.reconcile import reconcile
from models import Message
from tests.chaos.checks import Books, Evidence, compare
from tests.chaos.decisions import DECISIONS, Decisions
from tests.chaos.faults import Fault, Log
from tests.chaos.injections import Injector
from tests.chaos.provider import HTTP_FATES, PATIENCE, SMTP_FATES, Mailserver, SendGridServer, Weather
from tests.chaos.scene import Jumping, Scene, campaigns
from tests.chaos.servers import Server
from tests.chaos.webhooks import Webhooks
from tests.chaos.workers import Crew
from tests.faults.sink import Sink, until
from tests.faults.stores import opened, quick_folder

TICK_SECONDS = 0.6
"""The longest time between two faults; it is shorter where mails go out quickly."""
MAILS_PER_TICK = 12
PASSES = 14
"""Days in which everything must have come to an end: the last step is due after two days."""


@dataclass(frozen=True)
class Plan:
    """What a round is like, as its seed has drawn it."""

    seed: str
    channel: Literal["smtp", "sendgrid"]
    workers: int
    arriving: int
    ticks: int
    window: int
    batch: int
    share: float
    """Of hand-overs that something happens to."""
    kinds: tuple[str, ...] = ()
    """Faults in their order; empty: a shuffled deck of all."""
    blinded: str = ""
    standby: bool = False
    """Whether a mail server without faults takes what SendGrid does not."""

    @classmethod
    def draw(cls, seed: int, number: int, kind: str) -> "Plan":
        """Draw the n-th round on a kind of store."""
        name = f"{seed}/{kind}/{number}"
        chance = random.Random(name)
        return cls(
            seed=name, channel="sendgrid" if number % 2 else "smtp", workers=(4, 2, 8, 1)[number % 4],
            arriving=chance.randrange(4, 12), ticks=chance.randrange(16, 22), window=chance.choice((1, 3, 8)),
            batch=chance.choice((10, 25, 60)), share=chance.uniform(0.1, 0.25), standby=number % 4 == 1,
        )  # fmt: skip


@dataclass
class Outcome:
    """What became of a round."""

    plan: Plan
    books: Books
    log: list[Fault]
    orders: int
    workers: int
    seconds: float
    resolved: Counter[str]

    @property
    def faults(self) -> Counter[str]:
        """How often each fault was injected."""
        return Counter(fault.kind for fault in self.log)


def play(plan: Plan, server: Server) -> Outcome:
    """Play a round to its end and compare the books."""
    began = time.monotonic()
    log = Log()
    with tempfile.TemporaryDirectory(dir=quick_folder(), prefix="evergreet-round-") as folder:
        clock = Jumping(Path(folder) / "clock")
        clock.jump(timedelta(0))
        fates = SMTP_FATES if plan.channel == "smtp" else HTTP_FATES
        weather = Weather(plan.seed, log, fates, Path(folder) / "book", plan.share)
        url = server.copy()
        try:
            with (
                Mailserver(weather) if plan.channel == "smtp" else SendGridServer(weather) as sink,
                Sink() as standby,
                opened(url) as database,
            ):
                scene = Scene(
                    url=url, port=sink.port, threads=2, window=plan.window, timeout=PATIENCE, channel=plan.channel,
                    clock=clock, batch=plan.batch, blinded=plan.blinded, standby=standby.port if plan.standby else 0,
                    changes=(
                        ("retry_seconds", 1), ("retry_max_seconds", 60), ("hand_over_seconds", 30),
                        ("breaker_seconds", 1), ("breaker_max_seconds", 1),
                    ),
                )  # fmt: skip
                for campaign in campaigns(0):
                    launch(database, campaign, Options(), scene.load, clock=clock, actor="chaos")
                clock.jump(timedelta(hours=2))
                injector = _storm(plan, server, database, scene, log, sink)
                weather.calm = True
                sink.quiet()
                resolved = injector.resolved + _recover(database, injector.crew.scene)
                sink.quiet()
                standby.quiet()
                evidence = Evidence(
                    sink.by_key + standby.by_key,
                    weather,
                    injector.decisions,
                    injector.crew.hands,
                    set(log.counts()),
                    injector.people,
                    injector.perhaps,
                )
                books = compare(database, clock, evidence)
        finally:
            weather.close()
            server.drop(url)
    seconds = time.monotonic() - began
    return Outcome(plan, books, log.faults, len(injector.people), len(injector.crew.hands), seconds, resolved)


def _storm(
    plan: Plan, server: Server, database: Database, scene: Scene, log: Log, sink: Mailserver | SendGridServer
) -> Injector:
    chance = random.Random(f"{plan.seed} storm")
    crew = Crew(scene)
    injector = Injector(server, database, crew, chance, log, Decisions())
    kinds = list(plan.kinds)
    if not kinds:
        kinds = injector.deck()
        chance.shuffle(kinds)
    webhooks = Webhooks(sink, chance, log) if isinstance(sink, SendGridServer) else None
    try:
        for tick in range(plan.ticks):
            injector.orders([f"p{tick}-{number}" for number in range(plan.arriving)])
            crew.fill_up(plan.workers)
            if tick == 0:
                until(lambda: all(hand.said for hand in crew.at_work), "the workers to begin")
            _let_work(sink, chance.randrange(MAILS_PER_TICK))
            injector.inject(kinds[tick % len(kinds)])
            injector.inject(chance.choice(DECISIONS))
            if webhooks is not None:
                webhooks.tell(database, crew.scene)
            if tick % 4 == 3:
                injector.resolved.update(_resolve(database, crew.scene))
        crew.dismiss()
        if webhooks is not None:
            webhooks.tell(database, crew.scene, last=True)
            injector.resolved["told by webhook"] += webhooks.resolved
    finally:
        crew.end()
    return injector


def _resolve(database: Database, scene: Scene) -> Counter[str]:
    """Resolve what is unknown while workers are at work; return how."""
    with scene.route() as route, suppress(EvergreetError):  # the store may be locked by them
        sender, *others = route.senders
        return Counter(reconcile(database, sender, scene.settings, scene.clock, also=others).resolved)
    return Counter()


def _let_work(sink: Mailserver | SendGridServer, mails: int) -> None:
    """Wait until so many more mails have gone out, or until it has been long enough."""
    ends, enough = time.monotonic() + TICK_SECONDS, len(sink.mails) + mails
    until(lambda: len(sink.mails) >= enough or time.monotonic() >= ends, "the end of a tick")


def _recover(database: Database, scene: Scene) -> Counter[str]:
    """Run in peace until nothing is left, and resolve what is unknown; return how that was resolved."""
    resolved: Counter[str] = Counter()
    with scene.route() as route:
        sender, *others = route.senders
        engine = Engine(database, route, scene.settings, scene.load, clock=scene.clock)
        for number in range(PASSES):
            if number >= 4 and not open_messages(database):
                break
            for campaign in campaigns(scene.edition):
                engine.run(campaign, Options(batch_size=scene.batch))
            resolved.update(reconcile(database, sender, scene.settings, scene.clock, also=others).resolved)
            scene.clock.jump(timedelta(hours=30))
    return resolved


def open_messages(database: Database) -> int:
    """Count what has not come to an end."""
    still = col(Message.state).in_(("planned", "sending", "deferred"))
    with database.read() as connection:
        return connection.execute(select(func.count()).where(still)).scalar_one()
