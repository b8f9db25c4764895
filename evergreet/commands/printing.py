"""What commands print: tables for people, JSON for machines, progress while they work."""

import sys
import time
from typing import TYPE_CHECKING, Any, Self

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:  # the engine takes a second to import, and most commands that print do without it
    from evergreet.balance import Balance, Report


def console(*, stderr: bool = False) -> Console:
    """The console, as wide as the terminal; without one it does not cut tables."""
    wide = None if sys.stdout.isatty() else 160
    return Console(stderr=stderr, width=wide, highlight=False)


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode())


def balance_table(balance: "Balance", reasons: dict[str, int], title: str) -> Table:
    """The balance as a sum, with the reasons below each state."""
    table = Table(title, "messages")
    table.columns[1].justify = "right"
    table.add_row("[bold]due[/bold]", f"[bold]{balance.due}[/bold]")
    for state in ("accepted", "skipped", "deferred", "pending", "failed", "unknown"):
        table.add_row(f"  {'= ' if state == 'accepted' else '+ '}{state}", str(getattr(balance, state)))
        for reason, count in reasons.items():
            name, _, why = reason.partition(": ")
            if name == state or (state == "pending" and name in {"planned", "sending"}):
                table.add_row(f"      [dim]{escape(why)}[/dim]", f"[dim]{count}[/dim]")
    return table


def print_report(report: "Report") -> None:
    """Print what a run did."""
    out = console()
    done = ", ".join(f"{count} {outcome}" for outcome, count in sorted(report.attempted.items())) or "nothing to send"
    what = "Would enroll" if report.dry_run else "Enrolled"
    out.print(f"{what} {report.enrolled} ({report.excluded} outside the audience), planned {report.planned}.")
    if not report.dry_run:
        out.print(f"This run: {done}.")
    out.print(
        balance_table(
            report.balance, report.reasons,
            f"{report.campaign}, " + ("as a run now would leave it" if report.dry_run else "all so far"),
        )
    )  # fmt: skip
    if report.dry_run:
        out.print("Pending is what would be sent. Nothing was stored.")
    for warning in report.warnings:
        out.print(f"[yellow]Look:[/yellow] {escape(warning)}")
    for name, said in report.providers.items():
        out.print(f"[red]{name} cannot be asked:[/red] {escape(said)}")
    if report.halted:
        out.print(f"[red]Halted:[/red] {escape(report.halted)}")
    if report.more:
        out.print("Work is left; the next run goes on.")


class RichReporter:
    """Shows progress on standard error: a bar on a terminal, a line every few seconds elsewhere."""

    def __init__(self) -> None:
        self.progress_bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty(),
        )  # fmt: skip
        self.tasks: dict[str, TaskID] = {}
        self.said_at = time.monotonic()

    def __enter__(self) -> Self:
        self.progress_bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress_bar.stop()

    def progress(self, phase: str, done: int, total: int | None) -> None:
        """Show that `done` of `total` are through `phase`."""
        if self.progress_bar.disable:
            if time.monotonic() - self.said_at > 2:
                self.said_at = time.monotonic()
                typer.echo(f"{phase} {done}" + (f" of {total}" if total else ""), err=True)
            return
        if phase not in self.tasks:
            self.tasks[phase] = self.progress_bar.add_task(phase, total=total)
        self.progress_bar.update(self.tasks[phase], completed=done, total=total)
