"""One shop with one of the shipped campaigns: days pass, and what came of them is told in lines."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert, select, update
from sqlmodel import col

from evergreet.audit import audit
from evergreet.balance import Report
from evergreet.campaign import Campaign, Options
from evergreet.campaigns import LoadTemplate, due_campaigns, required, template_loader
from evergreet.clock import FrozenClock
from evergreet.contracts import EmailMessage
from evergreet.database import Database, ingest_position
from evergreet.registry import find_campaign
from models import Contact, Event
from tests.story import Story


@dataclass
class Shop(Story):
    """A story with the templates as they are shipped, told on the clock of `zone`."""

    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("Europe/London"))
    campaign: Campaign = field(init=False)
    options: Options = field(default_factory=Options)
    told: int = 0

    def opens(self, name: str, at: datetime | str, **options: Any) -> None:
        """Set the clock, and launch the shipped campaign; nobody is held out, for chance tells no story."""
        self.clock.instant = self.moment(at)
        found = find_campaign("flows", name)
        self.campaign, self.options = replace(found.campaign, holdout=0), found.options(**options)
        self.launch(self.campaign, self.options)

    def moment(self, at: datetime | str) -> datetime:
        """Read a time such as `2026-03-10 09:00` on the clock of the zone."""
        return (at if isinstance(at, datetime) else datetime.fromisoformat(at).replace(tzinfo=self.zone)).astimezone(
            UTC
        )

    def customer(self, name: str, *topics: str, **columns: Any) -> int:
        """Store a contact in the zone of the story who agreed to these topics."""
        return self.contact(name, consents=topics, **{"timezone": self.zone.key, **columns})

    def until(self, at: datetime | str, *, every: timedelta = timedelta(hours=12)) -> list[str]:
        """Let time pass; look whether something is due at least so often, and when the ledger says that it is.

        Returns what was sent since the last time; the audit is clean at the end of it.
        """
        end = self.moment(at)
        assert end >= self.now
        while True:
            with self.database.read() as connection:
                if self.campaign.name in due_campaigns(connection, self.now):
                    self.works()
            if self.now >= end:
                self.audited()
                return self.sent()
            self.clock.instant = min(self._next_due(), self.now + every, end)

    def _next_due(self) -> datetime:
        times = [row.next_due_at for row in self.enrollments] + [row.not_before for row in self.messages]
        return min((time for time in times if time is not None and time > self.now), default=self.now + timedelta(365))

    def works_twice(self) -> list[str]:
        """Run the campaign twice at the same moment and then by two engines at once; return what was sent."""
        self.works()
        self.works()
        engines = [self.engine() for _ in range(2)]
        with ThreadPoolExecutor(len(engines)) as pool:
            reports = list(pool.map(lambda engine: engine.run(self.campaign, self.options), engines))
        assert [report.attempted for report in reports] == [{}, {}]
        assert self.works().enrolled == 0
        return self.sent()

    def works(self) -> Report:
        """Run the campaign once: the audit is clean, and the balance adds up to what is in the ledger."""
        report = self.run(self.campaign, self.options)
        assert report.halted is None
        assert report.balance.due == len([row for row in self.messages if row.campaign_id == self.campaign_id])
        if report.enrolled or report.excluded or report.planned or report.attempted:
            self.audited()
        return report

    def audited(self) -> None:
        """The audit of every campaign is clean."""
        assert [finding for one in audit(self.database, self.clock) for finding in one.findings] == []
        assert all(one.clean for one in audit(self.database, self.clock))

    @property
    def campaign_id(self) -> int:
        """The row of the campaign."""
        with self.database.read() as connection:
            return required(connection, self.campaign.name).id

    def sent(self) -> list[str]:
        """Return who was sent which step since the last time this was asked, and when."""
        new, self.told = self.sender.sent[self.told :], len(self.sender.sent)
        lines = [(message.date, _line(message, self.zone)) for message in new]
        return [line for _date, line in sorted(lines)]

    def letter(self, name: str) -> EmailMessage:
        """Return the newest email to somebody."""
        return next(each for each in reversed(self.sender.sent) if each.to.address.startswith(f"{name}@"))

    def fates(self) -> dict[str, list[str]]:
        """What became of everybody: the state of each step, with the reason where it was not sent."""
        with self.database.read() as connection:
            names: dict[int, str] = {
                row.id: row.source_id.rpartition("-")[0]
                for row in connection.execute(select(col(Contact.id), col(Contact.source_id)))
            }
        found: dict[str, list[str]] = {}
        for row in self.enrollments:
            if row.state == "excluded":
                found.setdefault(names[row.contact_id], []).append(f"excluded: {row.reason}")
        for row in self.messages:
            told = f"{row.step_key} {row.state}" + (f": {row.reason}" if row.reason else "")
            found.setdefault(names[row.contact_id], []).append(told)
        return found

    def corrected(self, name: str, contact: int, *, at: datetime | str, **properties: Any) -> None:
        """Tell the newest such event of a contact anew: a row with the next revision takes its place."""
        with self.database.write() as connection:
            told = connection.execute(
                select(Event)
                .where(col(Event.contact_id) == contact, col(Event.name) == name, ~col(Event.superseded))
                .order_by(col(Event.id).desc())
                .limit(1)
            ).one()
            connection.execute(update(Event).where(col(Event.id) == told.id).values(superseded=True))
            connection.execute(
                insert(Event).values(
                    contact_id=contact, name=name, occurred_at=self.moment(at), source=told.source,
                    source_id=told.source_id, revision=told.revision + 1, ingested_at=self.now,
                    position=ingest_position(connection), properties={**told.properties, **properties},
                )
            )  # fmt: skip

    def changed(self, contact: int, **columns: Any) -> None:
        """Change what is known of a contact."""
        with self.database.write() as connection:
            connection.execute(update(Contact).where(col(Contact.id) == contact).values(changed_at=self.now, **columns))


def _line(message: EmailMessage, zone: ZoneInfo) -> str:
    step = message.headers["Feedback-ID"].partition(":")[0]
    return f"{message.date.astimezone(zone):%Y-%m-%d %H:%M} {message.to.address.partition('@')[0]} {step}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the days of a story go by on SQLite; two engines at once work on either store. SQL has tests of its own."""
    left = [item for item in items if _is_told_already(item)]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


def _is_told_already(item: pytest.Item) -> bool:
    ours = item.path.parent == Path(__file__).parent and "shop" in getattr(item, "fixturenames", ())
    return ours and "[postgresql" in item.name and "twice_and_by_two" not in item.name


@pytest.fixture(scope="session")
def templates() -> LoadTemplate:
    """The templates as they are shipped, each read and checked once."""
    return cache(template_loader("templates"))


@pytest.fixture
def shop(database: Database, clock: FrozenClock, templates: LoadTemplate) -> Shop:
    """An empty shop."""
    return Shop(database, clock, load=templates)
