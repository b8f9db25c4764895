"""The engine: one run moves everybody of one campaign who is due, in batches.

It is synchronous and knows neither Prefect nor flows: the connector, the clock, the rate limiter and the
reporter come in as arguments.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from sqlalchemy import Connection, insert, select, update
from sqlmodel import col

from evergreet.balance import Report, report_of
from evergreet.campaign import Campaign, Options, Step
from evergreet.campaigns import (
    LoadTemplate,
    State,
    Version,
    hold_off,
    record,
    register,
    required,
    template_source,
    version_of,
    versions_of,
)
from evergreet.channels import AnySender, writes_to_contacts
from evergreet.clock import Clock, DatabaseClock
from evergreet.composers import AnyComposer, composer_of
from evergreet.composing import Letter, read_letters
from evergreet.contracts import EmailSender, Reporter
from evergreet.database import Database, check_schema, exclusive
from evergreet.delivery import Delivery
from evergreet.dormancy import Ending, ending_campaigns
from evergreet.enrollment import enroll, schedule
from evergreet.errors import ConfigurationError
from evergreet.gates import Rules
from evergreet.ledger import ClaimedChunk, claim, defer_rest, release
from evergreet.planning import chunk_waiting, count_anew, plan_chunk
from evergreet.proving import prove
from evergreet.rehearsal import rehearse
from evergreet.routing import Route
from evergreet.settings import Settings
from evergreet.shards import Shard, check_run, shards_of, summary_of, together
from evergreet.step_checks import check_channels, never_open
from evergreet.steps import place_of
from evergreet.store import by_index
from evergreet.switchboard import Switchboard
from evergreet.tally import count_planned
from evergreet.tokens import Tokens
from evergreet.worker import Worker
from models import Run

Share: TypeAlias = Callable[[int, int], None]
"""Told the number of a run and how many of its messages are open, before the first is sent: it may start shards."""

SLOWER = timedelta(seconds=5)
"""How long a run waits for providers that want to be left alone for no longer."""

SHARDS_SECONDS = 0.2
"""How often a run that has nothing left looks whether its shards have."""


class Silent:
    """A reporter that tells nobody."""

    def progress(self, phase: str, done: int, total: int | None) -> None:
        """Say nothing."""


class Engine:
    """Runs campaigns on one database through a connector for each channel: `sender` for email, and the `others`.

    Each may be a route of several connectors.
    """

    def __init__(
        self,
        database: Database,
        sender: EmailSender | Route,
        settings: Settings,
        load: LoadTemplate,
        *,
        clock: Clock | None = None,
        reporter: Reporter | None = None,
        others: Iterable[AnySender | Route] = (),
    ) -> None:
        self.database = database
        routes = [one if isinstance(one, Route) else Route.of(one) for one in (sender, *others)]
        self.routes = {route.channel: route for route in routes}
        self.settings = settings
        self.load = load
        self.clock = clock or DatabaseClock()
        self.reporter = reporter or Silent()
        self.tokens = Tokens(settings.signing_keys)
        self.composers: dict[tuple[int, str], AnyComposer] = {}  # versions never change, so they serve all runs
        self._stopping = threading.Event()

    def request_stop(self) -> None:
        """Ask a run to end: what is in hand is settled, nothing new is begun. Safe from any thread or signal."""
        self._stopping.set()

    def run(
        self, campaign: Campaign, options: Options, *, budget: timedelta | None = None, worker: Worker | None = None,
        share: Share | None = None,
    ) -> Report:  # fmt: skip
        """Enroll, plan and send what is due now; return what was done and how the campaign stands.

        `budget` is the time after which no new window is begun; `Report.more` then says that work is left. A
        process that runs one campaign after another may open its `worker` once. `share` may let other processes
        `deliver` beside this run, which then ends when nothing is in their hands, and counts what they did as well.
        """
        check_schema(self.database)
        self.check_channels(campaign.name, campaign.steps)
        if options.dry_run:
            return rehearse(self, campaign, options)
        ends = None if budget is None else time.monotonic() + budget.total_seconds()

        def over() -> bool:
            return self._stopping.is_set() or (ends is not None and time.monotonic() >= ends)

        with nullcontext(worker) if worker is not None else self.worker() as own:
            with own.transaction() as connection:
                now = self.clock.now(connection)
                version = register(connection, campaign, options, self.load, now)
                state = required(connection, campaign.name)
                if state.state != "live":
                    return report_of(connection, state, halted=state.not_live)
                run_id = _begin_run(connection, own, state, now, {})
            warnings = never_open(campaign.name, version.campaign.steps, self.settings)
            warnings += self._prove(own, version) if version.new else ()
            running = _CampaignRun(self, own, version, state, run_id, options.batch_size, over, share=share)
            return replace(running.perform(), warnings=warnings)

    def check_channels(self, campaign: str, steps: Iterable[Step]) -> None:
        """Refuse steps of a channel that this engine has no connector for."""
        check_channels(campaign, steps, {channel: route.senders[0] for channel, route in self.routes.items()})

    def _prove(self, own: Worker, version: Version) -> tuple[str, ...]:
        """Try a new version on people who are there; what is wrong is told and kept in the audit log."""
        with own.transaction() as connection:
            now = self.clock.now(connection)
            proofs = prove(
                connection, version.campaign, version.options,
                lambda step: template_source(connection, version.templates[step.template]), self.settings, now,
            )  # fmt: skip
            record(
                connection, now, "engine", "prove", version.campaign.name, version=version.id,
                steps=[str(proof) for proof in proofs],
            )  # fmt: skip
        return tuple(f"New version: {proof}" for proof in proofs if not proof.sound)

    def deliver(self, name: str, run: int) -> Report:
        """Send, beside the campaign's run of that number, what it has planned: be one of its shards."""
        check_schema(self.database)
        with self.worker() as own:
            with own.transaction() as connection:
                now = self.clock.now(connection)
                state = required(connection, name)
                check_run(connection, state.id, run)
                if state.state != "live" or state.version_id is None:
                    return report_of(connection, state, halted=state.not_live)
                version = version_of(connection, state.version_id)
                self.check_channels(name, version.campaign.steps)
                run_id = _begin_run(connection, own, state, now, summary_of(run, {}))
            return _CampaignRun(self, own, version, state, run_id, 0, self._stopping.is_set, shard_of=run).perform()

    def wait(self, seconds: float) -> None:
        """Let time pass, and no more once a stop is requested."""
        self._stopping.wait(seconds)

    def worker(self) -> AbstractContextManager[Worker]:
        """Open a worker: what dead ones left behind is taken over first."""
        return Worker.open(self.database, self.clock, silence_seconds=self.settings.owner_silence_seconds)

    def prepare(self, connection: Connection, versions: dict[int, Version], state: State, now: datetime) -> int:
        """Compute due times that are missing, and count anew what a later event moves; return how many."""
        zone = self.settings.default_timezone
        moved = count_anew(connection, versions, state.id, now, zone)
        return moved + schedule(connection, versions, state.id, zone)


class _CampaignRun:
    """One run of one campaign by one worker."""

    def __init__(
        self, engine: Engine, worker: Worker, version: Version, state: State, run_id: int, batch_size: int,
        over: Callable[[], bool], *, share: Share | None = None, shard_of: int | None = None,
    ) -> None:  # fmt: skip
        self.engine = engine
        self.worker = worker
        self.version = version
        self.state = state
        self.run_id = run_id
        self.batch_size = batch_size
        self.over = over
        self.share = share
        self.shard_of = shard_of
        self.shards: list[Shard] = []
        self.versions = {version.id: version}
        self.enrolled = self.excluded = self.planned = 0
        self.attempted: Counter[str] = Counter()
        self.misconfigured: str | None = None
        self.fault_beside: str | None = None
        """A fault of ours where our own people or systems are told: all else goes on, and the report says it."""
        self.endings: tuple[Ending, ...] = ()
        self.rules: dict[tuple[int, str], Rules] = {}
        self.boards = {(channel, ""): Switchboard(route, engine.settings) for channel, route in engine.routes.items()}
        """By channel and, where it has some, by destination."""
        self.waiting: set[str] = set()
        """Steps that have messages and no provider that may be asked now."""

    def perform(self) -> Report:
        """Do it; the run's row says how it ended, also when it fails."""
        try:
            if self.shard_of is None:
                self._enroll()
                self._plan()
            more = self._deliver()
        except Exception as error:
            with suppress(Exception):  # the store may be what failed; the error itself goes on
                self._close_run("crashed")
                if not isinstance(error, MemoryError):  # that may well be the fault of the message in hand
                    self.worker.acquit()
            raise
        halted = self.misconfigured or self.fault_beside
        self._close_run("halted" if halted else "stopped" if more else "completed")
        with self.worker.transaction() as connection:
            state = required(connection, self.state.name)
            self._look_beside(connection)
            return report_of(
                connection, state, run_id=self.run_id, enrolled=self.enrolled, excluded=self.excluded,
                planned=self.planned, attempted=dict(self.attempted + together(self.shards)), more=more,
                shards={shard.id: shard.state for shard in self.shards},
                halted=halted or (None if state.state == "live" else state.not_live),
                providers=self._out(connection),
            )  # fmt: skip

    def _board(self, step: Step) -> Switchboard:
        to = place_of(step)
        if (step.channel, to) not in self.boards:
            route = self.engine.routes[step.channel].towards(to)
            self.boards[step.channel, to] = Switchboard(route, self.engine.settings)
        return self.boards[step.channel, to]

    def _out(self, connection: Connection) -> dict[str, str]:
        now = self.engine.clock.now(connection)
        return {name: said for board in self.boards.values() for name, said in board.out(connection, now).items()}

    def _enroll(self) -> None:
        engine = self.engine
        with self.worker.transaction() as connection:
            hold_off(connection, self.state.name)  # else a planner may say it is done up to a moment after ours
            now = engine.clock.now(connection)
            enrolled = enroll(connection, self.state, self.version, now, engine.settings.default_timezone)
        self.enrolled, self.excluded = enrolled.active, enrolled.excluded
        engine.reporter.progress("enrolled", self.enrolled, None)

    def _plan(self) -> None:
        """Plan what is due; a following step that is due as well is planned in the same run."""
        engine = self.engine
        while not self.over():
            with self.worker.transaction() as connection:
                exclusive(connection, f"plan:{self.state.name}")  # before anything is read: others plan and enroll too
                connection.execute(select(by_index()))  # what is due is few of many, whatever old statistics say
                self._learn_versions(connection)
                now = engine.clock.now(connection)
                if engine.prepare(connection, self.versions, self.state, now):
                    continue
                planned = plan_chunk(connection, self.state, self.versions, now, self.batch_size)
                again = chunk_waiting(connection, self.state, self.versions, now, self.batch_size)
            self.planned += planned
            if planned:
                engine.reporter.progress("planned", self.planned, None)
            if planned + again == 0:
                return

    def _learn_versions(self, connection: Connection) -> None:
        """Read the versions that are not known yet: another process may enroll on a newer one at any time."""
        self.versions |= versions_of(connection, self.state.id, known=self.versions)

    def _deliver(self) -> bool:
        """Claim chunks and work through them; return whether work is left."""
        with self.worker.transaction() as connection:
            self.endings = ending_campaigns(connection)
            total = count_planned(connection, self.state.id)
        if self.share is not None and not self.over():
            self.share(self.run_id, total)
        done = 0
        limit = self.version.campaign.limit_per_day
        with ThreadPoolExecutor(self.engine.settings.threads, thread_name_prefix="hand-over") as pool:
            while self.misconfigured is None:
                if self.over():
                    return True
                shared = self._shards_at_work()  # before the claim, which then sees what one that ended gave back
                chunk = claim(self.worker, self.state, limit, sorted(self.waiting))
                if chunk is not None:
                    done = self._work(chunk, pool, done, total)
                elif not (shared or self._shards_at_work()):  # again: one may have begun, and taken the last, just now
                    return False
                else:
                    self.worker.take_over_the_dead()
                    self.engine.wait(SHARDS_SECONDS)
        return True

    def _shards_at_work(self) -> bool:
        """Look what the shards have done, and say whether one may still have messages in hand."""
        if self.share is None:
            return False
        with self.worker.transaction() as connection:
            self._look_beside(connection)
        return any(shard.at_work for shard in self.shards)

    def _look_beside(self, connection: Connection) -> None:
        if self.share is not None:
            self.shards = shards_of(connection, self.state.id, self.run_id)

    def _refused(self, chunk: ClaimedChunk, step: Step) -> bool:
        """Give back a chunk whose channel has no connector: that of an older version than the one that was checked."""
        try:
            self.engine.check_channels(self.state.name, [step])
        except ConfigurationError as error:
            self.misconfigured = str(error)
            release(self.worker, chunk)
        return self.misconfigured is not None

    def _work(self, chunk: ClaimedChunk, pool: ThreadPoolExecutor, done: int, total: int) -> int:
        engine = self.engine
        if chunk.version_id not in self.versions:
            with self.worker.transaction() as connection:
                self.versions[chunk.version_id] = version_of(connection, chunk.version_id)
        version = self.versions[chunk.version_id]
        step = version.campaign.step(chunk.step_key)
        assert step is not None
        if self._refused(chunk, step):
            return done
        key, board = (version.id, step.key), self._board(step)

        def read(connection: Connection) -> tuple[datetime, list[Letter]]:
            read_at = engine.clock.now(connection)
            board.refresh(connection, read_at)
            if not board.anybody:
                return read_at, []
            return read_at, read_letters(
                connection, chunk.id, version.campaign.picks, read_at, step.channel, engine.settings.crm_tasks
            )

        with self.worker.transaction() as connection:
            if key not in engine.composers:
                engine.composers[key] = composer_of(connection, version, step, engine.settings, engine.tokens)
            read_at, letters = read(connection)
        if key not in self.rules:
            self.rules[key] = Rules(version.campaign, step, engine.settings, engine.tokens, self.endings)
        delivery = Delivery(
            self.worker, chunk, self.rules[key], engine.composers[key], board, engine.settings, self.run_id, pool,
            self.over,
        )  # fmt: skip
        elsewhere = together(self.shards).total()
        while letters:
            for settled in delivery.work(letters, read_at):
                engine.reporter.progress("sent", done + elsewhere + settled, total)
            if delivery.ended:
                break
            with self.worker.transaction() as connection:  # those whose contact changed in hand, or that move on
                read_at, letters = read(connection)
        fault = delivery.misconfigured or board.halted
        if writes_to_contacts(step.channel):
            self.misconfigured = fault
        elif fault is not None:  # nobody else waits for it
            self.fault_beside = self.fault_beside or fault
        if not board.anybody:
            self._wait(chunk, step, board)
        self.attempted.update(delivery.counts)
        release(self.worker, chunk)
        if self.shard_of is not None:  # the run it belongs to shows how far all are
            with self.worker.transaction() as connection:
                self._note(connection)
        return done + delivery.done

    def _wait(self, chunk: ClaimedChunk, step: Step, board: Switchboard) -> None:
        """Defer what is left of a chunk to tomorrow, or leave its step alone in this run: nobody may be asked now.

        A provider that only asks us to go slower is waited for, as long as time passes.
        """
        if board.pause is not None and board.pause <= SLOWER and board.waited_at != board.now:
            board.waited_at = board.now
            self.engine.wait(board.pause.total_seconds())
        elif board.tomorrow is None:
            self.waiting.add(step.key)
        elif deferred := defer_rest(self.worker, chunk, board.tomorrow):
            self.attempted["deferred"] += deferred

    def _close_run(self, ended: str) -> None:
        with self.worker.transaction() as connection:
            self._note(connection, state=ended, ended_at=self.engine.clock.now(connection))

    def _note(self, connection: Connection, **columns: Any) -> None:
        """Write into the run's row what was done so far."""
        attempted = dict(self.attempted)
        if self.shard_of is None:
            figures = {"enrolled": self.enrolled, "excluded": self.excluded, "planned": self.planned}
            summary = {**figures, "attempted": attempted}
        else:
            summary = summary_of(self.shard_of, attempted)
        connection.execute(update(Run).where(col(Run.id) == self.run_id).values(summary=summary, **columns))


def _begin_run(connection: Connection, worker: Worker, state: State, now: datetime, summary: dict[str, Any]) -> int:
    row = {"campaign_id": state.id, "worker_id": worker.id, "started_at": now, "summary": summary}
    return connection.execute(insert(Run).values(row).returning(col(Run.id))).scalar_one()
