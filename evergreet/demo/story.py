"""The story the demo tells, step by step, with the same calls that the commands and flows make."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from evergreet.audit import audit
from evergreet.balance import Report
from evergreet.campaigns import count_by_state, launch, required, template_loader, version_of
from evergreet.clock import DatabaseClock
from evergreet.commands.opening import open_database
from evergreet.commands.printing import balance_table
from evergreet.database import Database, upgrade
from evergreet.demo.gallery import write_gallery
from evergreet.demo.narration import Narrator, Step
from evergreet.demo.shop import Shop, make_shop
from evergreet.enrollment import backfill
from evergreet.errors import EvergreetError
from evergreet.funnel import funnel
from evergreet.importing import contacts, events, suppressions
from evergreet.importing.mapping import Plan
from evergreet.importing.run import Importer, Job, run_import
from evergreet.importing.storing import Setting
from evergreet.lifecycle import Lifecycle, lifecycle
from evergreet.orchestration.server import temporary_server
from evergreet.registry import CampaignModule, find_campaign
from evergreet.settings import settings
from evergreet.stages import evaluate_stages

CAMPAIGN = "thank-you"
HISTORY = timedelta(days=14)
"""How far back the demo takes orders into the campaign."""

ACTOR = "demo"
SECOND_OF_A_COUPLE = "C00042"
"""A customer who shares mailbox and order with another, so that one of them gets no receipt of their own."""


def tell(folder: Path, console: Console) -> Report:
    """Do everything below `folder` and return what the campaign run reported."""
    folder = folder.resolve()
    _choose_settings(folder)
    narrator = Narrator(console)
    with temporary_server() as answered, open_database(checked=False) as database:
        upgrade(database)
        shop = _shop(narrator, folder / "data")
        _import(narrator, database, shop)
        rules = _evaluate(narrator, database)
        _connect(narrator, answered, folder / "prefect")
        module = _launch(narrator, database)
        report = _run(narrator, database, module)
        _show_balance(console, report)
        _audit(narrator, database)
        _show_funnel(console, database, rules)
    _show_mails(console, folder, report)
    return report


def _choose_settings(folder: Path) -> None:
    """Point the settings below the folder, whatever `.env` or the environment say otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        EVERGREET_DATABASE_URL=f"sqlite:///{folder / 'evergreet.db'}",
        EVERGREET_DATA_DIR=str(folder),
        EVERGREET_EMAIL="outbox",
        EVERGREET_OUTBOX_DIR=str(folder / "outbox"),
        EVERGREET_CAMPAIGNS="flows",
        EVERGREET_TEMPLATES="templates",
        EVERGREET_LIFECYCLE="experience",
    )
    settings.cache_clear()


def _shop(narrator: Narrator, folder: Path) -> Shop:
    with narrator.step("A sample shop") as step:
        shop = Shop(folder)
        if shop.finished:
            step.done("made before, in demo/data")
        else:
            until = datetime.now(UTC).replace(second=0, microsecond=0)
            shop = make_shop(folder, until=until)
            step.done("two years of customers and what they did, in demo/data")
        return shop


def _import(narrator: Narrator, database: Database, shop: Shop) -> None:
    """Import the files as `evergreet import` does."""
    kinds: list[tuple[str, Path, Callable[[Plan, Setting], Importer[Any]], tuple[str, ...]]] = [
        ("Customers", shop.contacts, contacts.ContactImport, contacts.FIELDS),
        ("Suppressed addresses", shop.suppressions, suppressions.SuppressionImport, suppressions.FIELDS),
        ("Events", shop.events, events.EventImport, events.FIELDS),
    ]
    for title, path, importer, fields in kinds:
        with narrator.step(f"{title}, from {path.name}") as step:
            summary = run_import(
                database, Job(path), importer, fields=fields, required={}, clock=DatabaseClock(),
                reporter=_Share(step),
            )  # fmt: skip
            known = f", {summary.duplicate:,} known already" if summary.duplicate else ""
            left_out = "".join(f"; {count:,} × {what}" for what, count in summary.warnings.items())
            step.done(f"{summary.read:,} read, {summary.stored:,} new{known}{left_out}")


@dataclass(frozen=True, slots=True)
class _Share:
    """Shows how much of a file is read."""

    step: Step

    def progress(self, phase: str, done: int, total: int | None) -> None:
        """Say it as a percentage."""
        if total:
            self.step.say(f"{100 * done // total} %")


def _evaluate(narrator: Narrator, database: Database) -> Lifecycle:
    with narrator.step("Stages of the lifecycle") as step:
        rules = lifecycle(settings().lifecycle)
        report = evaluate_stages(database, rules, DatabaseClock())
        step.done(f"{report.evaluated:,} customers looked at, {sum(report.entered.values()):,} moves recorded")
        return rules


def _connect(narrator: Narrator, answered: Callable[[], str], home: Path) -> None:
    """Wait for the server, and let Prefect use it alone; Prefect reads these when it is first imported."""
    with narrator.step("A Prefect server of its own") as step:
        url = answered()
        for name in [name for name in os.environ if name.startswith("PREFECT_")]:
            del os.environ[name]
        os.environ.update(
            PREFECT_API_URL=url,
            PREFECT_HOME=str(home),
            PREFECT_LOGGING_LEVEL="CRITICAL",
            PREFECT_LOGGING_TO_API_ENABLED="false",
            DO_NOT_TRACK="1",
        )
        step.done(f"{url.removesuffix('/api')}, until the demo ends")


def _launch(narrator: Narrator, database: Database) -> CampaignModule:
    """Launch the campaign and take the orders of the last weeks in: counted first, then confirmed."""
    with narrator.step(f"Launching {CAMPAIGN}") as step:
        module = find_campaign(settings().campaigns, CAMPAIGN)
        clock = DatabaseClock()
        load = template_loader(settings().templates)
        state = launch(database, module.campaign, module.options(), load, clock=clock, actor=ACTOR)
        with database.read() as connection:
            assert state.version_id is not None
            version = version_of(connection, state.version_id)
            since = clock.now(connection) - HISTORY
        count = backfill(database, version, since, clock=clock, actor=ACTOR, confirm=None)
        if count:
            backfill(database, version, since, clock=clock, actor=ACTOR, confirm=count)
            step.done(f"live; {count:,} orders of the last {HISTORY.days} days taken in on request")
        else:
            step.done("live; no orders in its history that it does not know")
        return module


def _run(narrator: Narrator, database: Database, module: CampaignModule) -> Report:
    """Run the campaign's own flow once, as its deployment would."""
    from evergreet.orchestration.runs import RunFailed  # noqa: PLC0415 - Prefect reads `_connect`'s settings first

    with narrator.step("Running the flow through Prefect") as step:
        finished = threading.Event()
        watching = threading.Thread(target=_watch, args=(database, step, finished), daemon=True)
        watching.start()
        try:
            report: Report = asyncio.run(module.flow(module.options()))
        except RunFailed as error:
            raise EvergreetError(str(error)) from None
        finally:
            finished.set()
            watching.join()
        new = report.attempted.get("accepted", 0)
        step.done(f"{new:,} new; {report.balance.accepted - new:,} were already sent")
        return report


def _watch(database: Database, step: Step, finished: threading.Event) -> None:
    """Say every now and then how many messages are through."""
    while not finished.wait(0.5):
        with database.read() as connection:
            counts = count_by_state(connection, required(connection, CAMPAIGN).id)
        through = sum(count for (state, _), count in counts.items() if state not in {"planned", "sending"})
        step.say(f"{through:,} of {sum(counts.values()):,} messages through")


def _show_balance(console: Console, report: Report) -> None:
    console.print()
    console.print(balance_table(report.balance, report.reasons, f"{CAMPAIGN}, all so far"))


def _audit(narrator: Narrator, database: Database) -> None:
    """Recompute what was due from the events, independently of the engine."""
    with narrator.step("Audit") as step:
        (found,) = audit(database, DatabaseClock())
        if not found.clean:
            raise EvergreetError("The audit found: " + "; ".join(found.findings))
        step.done(f"{found.due:,} messages were due by the events, {found.in_ledger:,} are in the ledger")


def _show_funnel(console: Console, database: Database, rules: Lifecycle) -> None:
    """Show how many customers are in each stage, ever came to it, and went on from it."""
    with database.read() as connection:
        figures = funnel(connection, rules, None)
    most = max((one.entered for one in figures), default=0) or 1
    table = Table("Stage of the lifecycle", "now", "ever", "went on", "")
    for column in table.columns[1:4]:
        column.justify = "right"
    for one in figures:
        share = f"{one.conversion:.0%}" if one.conversion is not None else ""
        bar = f"[green]{'█' * round(30 * one.entered / most)}[/]"
        table.add_row(one.title, f"{one.now:,}", f"{one.entered:,}", share, bar)
    console.print()
    console.print(table)


def _show_mails(console: Console, folder: Path, report: Report) -> None:
    outbox, page = folder / "outbox", folder / "mails.html"
    mails = write_gallery(outbox, page, title="Mails of the Evergreet demo")
    console.print()
    console.print(f"{mails:,} mails as .eml files: {outbox / 'new'}", soft_wrap=True)
    console.print(f"Look at them: {page.as_uri()}", soft_wrap=True)
    if not report.attempted.get("accepted"):
        console.print(f"Nothing was sent twice: 0 new; {report.balance.accepted:,} were already sent.")
    console.print(
        f"Ask the ledger why somebody got no mail: EVERGREET_DATABASE_URL=sqlite:///{folder / 'evergreet.db'} "
        f"{Path(sys.executable).parent / 'evergreet'} explain {CAMPAIGN} {SECOND_OF_A_COUPLE}",
        soft_wrap=True,
    )
