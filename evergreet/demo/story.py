"""The story the demo tells, step by step, with the same calls that the commands and flows make."""

import asyncio
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from evergreet.audit import audit
from evergreet.balance import Balance, balance_of
from evergreet.campaigns import states, template_loader
from evergreet.clock import DatabaseClock
from evergreet.commands.opening import open_database
from evergreet.contracts import EmailSender
from evergreet.database import Database, upgrade
from evergreet.demo.gallery import write_gallery
from evergreet.demo.narration import Narrator
from evergreet.demo.shop import HISTORY, Shop, make_shop
from evergreet.demo.years import Years, remembering
from evergreet.errors import EvergreetError
from evergreet.funnel import funnel
from evergreet.lifecycle import lifecycle
from evergreet.orchestration.server import temporary_server
from evergreet.pictures import save
from evergreet.pictures.funnel import draw_funnel, said
from evergreet.registry import CampaignModule, find_campaigns
from evergreet.sending import opened_sender
from evergreet.settings import settings

CUSTOMERS, DAYS = "EVERGREET_DEMO_CUSTOMERS", "EVERGREET_DEMO_DAYS"
"""Another size of the shop, or fewer days to walk through: its history before them is taken as it is."""

USUAL_CUSTOMERS = 150
"""Two years of so many are lived through in two or three minutes."""

USUAL_LIFECYCLE = "experience"

SECOND_OF_A_COUPLE = "C00042"
"""A customer who shares mailbox and order with another, so that one of them gets no receipt of their own."""


def tell(folder: Path, console: Console) -> dict[str, Balance]:
    """Do everything below `folder` and return the balance of each campaign."""
    folder = folder.resolve()
    _choose_settings(folder)
    narrator = Narrator(console)
    with temporary_server() as answered, open_database(checked=False) as database:
        upgrade(database)
        shop = _shop(narrator, folder / "data")
        _connect(narrator, answered, folder / "prefect")
        campaigns = find_campaigns(settings().campaigns)
        sent = _walk(narrator, database, shop, campaigns, folder / "walked")
        sent += _run(narrator, campaigns)
        balances = _balances(database)
        _audit(narrator, database)
        _show_funnel(console, database, folder / "funnel.svg")
        _show_campaigns(console, balances)
    _show_mails(console, folder, balances, sent)
    return balances


def _choose_settings(folder: Path) -> None:
    """Point the settings below the folder, whatever is set elsewhere; the environment may choose the lifecycle."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        EVERGREET_DATABASE_URL=f"sqlite:///{folder / 'evergreet.db'}",
        EVERGREET_DATA_DIR=str(folder),
        EVERGREET_EMAIL="outbox",
        EVERGREET_OUTBOX_DIR=str(folder / "outbox"),
        EVERGREET_CAMPAIGNS="flows",
        EVERGREET_TEMPLATES="templates",
        EVERGREET_LIFECYCLE=os.environ.get("EVERGREET_LIFECYCLE") or USUAL_LIFECYCLE,
    )
    settings.cache_clear()


def _shop(narrator: Narrator, folder: Path) -> Shop:
    with narrator.step("A sample shop") as step:
        shop = Shop(folder)
        if shop.finished:
            step.done("made before, in demo/data")
        else:
            until = datetime.now(UTC).replace(second=0, microsecond=0)
            shop = make_shop(folder, until=until, customers=int(os.environ.get(CUSTOMERS, USUAL_CUSTOMERS)))
            step.done("two years of customers and what they did, in demo/data")
        return shop


def _walk(
    narrator: Narrator, database: Database, shop: Shop, campaigns: dict[str, CampaignModule], walked: Path
) -> int:
    """Let two years pass: what happened comes in day by day, stages move, campaigns write; return how many mails."""
    with narrator.step("Two years, day by day") as step, opened_sender("email") as sender:
        assert isinstance(sender, EmailSender)
        load = remembering(template_loader(settings().templates))
        rules = lifecycle(settings().lifecycle)
        span = timedelta(days=int(os.environ[DAYS])) if DAYS in os.environ else HISTORY
        years = Years(database, settings(), rules, campaigns, sender, load, walked, span)
        days = years.walk(shop, shop.until, lambda at, mails: step.say(f"{at:%d %B %Y}, {mails:,} mails"))
        step.done(f"{days:,} days, {years.sent.total():,} mails" if days else "walked before")
        return years.sent.total()


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


def _run(narrator: Narrator, campaigns: dict[str, CampaignModule]) -> int:
    """Run each campaign's own flow once, now, as its deployment would; return how many mails went out."""
    from evergreet.orchestration.runs import RunFailed  # noqa: PLC0415 - Prefect reads `_connect`'s settings first

    with narrator.step("Today, through Prefect") as step:
        sent = 0
        for name, module in campaigns.items():
            step.say(name)
            try:
                report = asyncio.run(module.flow(module.options()))
            except RunFailed as error:
                raise EvergreetError(str(error)) from None
            sent += report.attempted.get("accepted", 0)
        step.done(f"{len(campaigns)} flows, {sent:,} mails")
        return sent


def _balances(database: Database) -> dict[str, Balance]:
    with database.read() as connection:
        return {state.name: balance_of(connection, state.id)[0] for state in states(connection)}


def _show_campaigns(console: Console, balances: dict[str, Balance]) -> None:
    """Show the balance of each campaign as a line, and their sum."""
    parts = ("accepted", "skipped", "deferred", "pending", "failed", "unknown")
    table = Table("Campaign", "due", *(f"{'=' if part == 'accepted' else '+'} {part}" for part in parts))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, one in balances.items():
        table.add_row(name, f"{one.due:,}", *(f"{getattr(one, part):,}" for part in parts))
    table.add_section()
    sums = [sum(getattr(one, part) for one in balances.values()) for part in ("due", *parts)]
    table.add_row("all", *(f"[bold]{number:,}[/]" for number in sums))
    console.print()
    console.print(table)


def _audit(narrator: Narrator, database: Database) -> None:
    """Recompute what was due from the events, independently of the engine."""
    with narrator.step("Audit") as step:
        found = audit(database, DatabaseClock())
        if faults := [finding for one in found for finding in one.findings]:
            raise EvergreetError("The audit found: " + "; ".join(faults))
        due, there = sum(one.due for one in found), sum(one.in_ledger for one in found)
        step.done(f"{due:,} messages were due by the events, {there:,} are in the ledger")


def _show_funnel(console: Console, database: Database, picture: Path) -> None:
    """Show how many customers are in each stage, ever came to it, went on from it, and when; draw it as well."""
    rules = lifecycle(settings().lifecycle)
    with database.read() as connection:
        figures = funnel(connection, rules)
    save(draw_funnel(rules, figures), picture)
    most = max((one.entered for one in figures), default=0) or 1
    table = Table("Stage of the lifecycle", "now", "ever", "went on", "median time in it", "")
    for column in table.columns[1:5]:
        column.justify = "right"
    for one in figures:
        share = f"{one.conversion:.0%}" if one.conversion is not None and one is not figures[-1] else ""
        median = said(one.median) if one.median is not None else ""
        bar = f"[green]{'█' * round(30 * one.entered / most)}[/]"
        table.add_row(one.title, f"{one.now:,}", f"{one.entered:,}", share, median, bar)
    console.print()
    console.print(table)
    console.print(f"As a picture: {picture.as_uri()}", soft_wrap=True)


def _show_mails(console: Console, folder: Path, balances: dict[str, Balance], sent: int) -> None:
    outbox, page = folder / "outbox", folder / "mails.html"
    mails, shown = write_gallery(outbox, page, title="Mails of the Evergreet demo")
    console.print()
    console.print(f"{mails:,} mails as .eml files: {outbox / 'new'}", soft_wrap=True)
    console.print(f"Look at the newest {shown:,} of them, some of each kind: {page.as_uri()}", soft_wrap=True)
    if not sent:
        accepted = sum(one.accepted for one in balances.values())
        console.print(f"Nothing was sent twice: 0 new; {accepted:,} were already sent.")
    command = Path(sys.executable).parent / "evergreet"
    model = "" if settings().lifecycle == USUAL_LIFECYCLE else f"EVERGREET_LIFECYCLE={settings().lifecycle} "
    where = f"{model}EVERGREET_DATABASE_URL=sqlite:///{folder / 'evergreet.db'} {command}"
    console.print(f"Ask why somebody got no mail: {where} explain thank-you {SECOND_OF_A_COUPLE}", soft_wrap=True)
    console.print(f"Ask what an offer brought: {where} report anniversary-offer", soft_wrap=True)
    console.print(f"Ask who went on in the last months: {where} lifecycle funnel --since 90d", soft_wrap=True)
