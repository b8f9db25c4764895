"""Two years in one go: the shop's history day by day through the same engine, with a clock that is moved.

What a day brings is stored as an import stores it, then the stages are evaluated and every campaign that has
something due is run, as `dispatch` does it every minute.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from evergreet.campaigns import LoadTemplate, due_campaigns, launch
from evergreet.clock import FrozenClock
from evergreet.contracts import EmailSender
from evergreet.database import Database
from evergreet.demo.shop import HISTORY, Shop
from evergreet.engine import Engine
from evergreet.importing import contacts, events, suppressions
from evergreet.importing.mapping import Columns, Plan, bind
from evergreet.importing.memory import RowMemory
from evergreet.importing.reading import open_source
from evergreet.importing.records import Record, read_records
from evergreet.importing.run import Importer
from evergreet.importing.storing import Setting
from evergreet.lifecycle import Lifecycle
from evergreet.registry import CampaignModule
from evergreet.settings import Settings
from evergreet.stages import evaluate_stages
from evergreet.worker import Worker

HOURS = (9, 18)
"""When the walk looks around each day, in UTC: it is daytime for every customer at some of them."""

ACTOR = "demo"


@dataclass(slots=True)
class Stream:
    """The rows of one file in order of time, stored as far as the clock has come."""

    importer: Importer[Any]
    rows: list[tuple[datetime, Record]]
    at: int = 0

    def store(self, database: Database, until: datetime) -> int:
        """Store what happened up to that moment; return how many rows."""
        begin = self.at
        while self.at < len(self.rows) and self.rows[self.at][0] <= until:
            self.at += 1
        taken = [self.importer.shape(record) for _, record in self.rows[begin : self.at]]
        if taken:
            with database.write() as connection:
                self.importer.store(connection, taken)
        return len(taken)


@dataclass(slots=True)
class Years:
    """The walk through the history; `done` is the file that remembers how far it has come."""

    database: Database
    settings: Settings
    lifecycle: Lifecycle
    campaigns: dict[str, CampaignModule]
    sender: EmailSender
    load: LoadTemplate
    done: Path
    span: timedelta = HISTORY
    sent: Counter[str] = field(default_factory=Counter)

    def walk(self, shop: Shop, until: datetime, told: Callable[[datetime, int], None]) -> int:
        """Go from the beginning of the history, or from where an earlier walk was stopped; return how many days."""
        days = 0
        clock = FrozenClock(until)
        with closing(RowMemory()) as memory:
            streams = [
                _stream(shop.contacts, "created_at", contacts.ContactImport, contacts.FIELDS, clock, memory),
                _stream(shop.suppressions, "at", suppressions.SuppressionImport, suppressions.FIELDS, clock, memory),
                _stream(shop.launches, "occurred_at", events.EventImport, events.FIELDS, clock, memory),
                _stream(shop.events, "occurred_at", events.EventImport, events.FIELDS, clock, memory),
            ]
            first = min(stream.rows[0][0] for stream in streams if stream.rows)
            clock.instant = self._come_to() or max(first, until - self.span)
            for stream in streams:
                stream.store(self.database, clock.instant)  # again after an interruption: it is known then
            for module in self.campaigns.values():
                launch(self.database, module.campaign, module.options(), self.load, clock=clock, actor=ACTOR)
            engine = Engine(self.database, self.sender, self.settings, self.load, clock=clock)
            with engine.worker() as worker:
                while clock.instant < until:
                    before, clock.instant = clock.instant, min(next_look(clock.instant), until)
                    self._live_through(engine, worker, clock, streams)
                    self.done.write_text(clock.instant.isoformat(), encoding="ascii")
                    told(clock.instant, self.sent.total())
                    days += clock.instant.date() > before.date()
        return days

    def _live_through(self, engine: Engine, worker: Worker, clock: FrozenClock, streams: list[Stream]) -> None:
        news = [stream.store(self.database, clock.instant) for stream in streams]
        if any(news) or clock.instant.hour == HOURS[0]:  # rules that depend on time alone: once a day
            evaluate_stages(self.database, self.lifecycle, clock)
        with self.database.read() as connection:
            due = due_campaigns(connection, clock.instant, look_anyway=timedelta(days=7))
        for name in due:
            module = self.campaigns[name]
            report = engine.run(module.campaign, module.options(), worker=worker)
            self.sent[name] += report.attempted.get("accepted", 0)

    def _come_to(self) -> datetime | None:
        """Return where an earlier walk was stopped."""
        try:
            return datetime.fromisoformat(self.done.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None


def next_look(moment: datetime) -> datetime:
    """Return the next moment at which the walk looks around."""
    today = moment.replace(minute=0, second=0, microsecond=0)
    looks = [today.replace(hour=hour) for hour in HOURS]
    return next((look for look in looks if look > moment), looks[0] + timedelta(days=1))


def _stream(
    path: Path, time: str, build: Callable[[Plan, Setting], Importer[Any]], names: tuple[str, ...],
    clock: FrozenClock, memory: RowMemory,
) -> Stream:  # fmt: skip
    with read_records(open_source(path, None)) as records:
        plan = bind(Columns(), records.columns, names, are_text=records.are_text, path=path)
        rows = [(datetime.fromisoformat(record.values[time]), record) for record in records]
    rows.sort(key=lambda row: row[0])
    return Stream(build(plan, Setting(path, "import", None, clock.instant, clock, memory)), rows)


def remembering(load: LoadTemplate) -> LoadTemplate:
    """Read each template once: nobody edits one during the walk."""
    return cache(load)
