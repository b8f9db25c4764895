"""Stages and moves."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from evergreet.lifecycle import Lifecycle, Rule

app = typer.Typer()
group = typer.Typer(
    help="Look at the lifecycle: its stages and rules, and how contacts go through it.", no_args_is_help=True
)
app.add_typer(group, name="lifecycle")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def stages(as_json: AsJson = False) -> None:
    """Move contacts between stages: by the events that came in since the last time, and by the passing of time.

    Running it twice changes nothing; two at once take turns.

    Example: evergreet stages
    """
    from dataclasses import asdict

    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import open_database
    from evergreet.commands.printing import RichReporter, print_json
    from evergreet.stages import evaluate_stages

    with open_database() as database, RichReporter() as reporter:
        report = evaluate_stages(database, _lifecycle(), DatabaseClock(), reporter=reporter)
    if as_json:
        print_json(asdict(report))
        return
    typer.echo(f"{report.evaluated} contacts with news evaluated, {report.moved} moves.")
    for stage in _lifecycle().stages:
        if count := report.entered.get(stage.name):
            typer.echo(f"  {stage.title}: {count} entered")


@group.command()
def show(as_json: AsJson = False) -> None:
    """Show the stages with the contacts in them now, and the rules in the order in which they are asked.

    Example: evergreet lifecycle show
    """
    from rich.markup import escape
    from rich.table import Table

    from evergreet.commands.opening import open_database
    from evergreet.commands.printing import console, print_json
    from evergreet.funnel import never_seen, stage_counts
    from evergreet.presets.vocabulary import meant

    lifecycle = _lifecycle()
    with open_database() as database, database.read() as connection:
        counts, unheard = stage_counts(connection), never_seen(connection, lifecycle)
    if as_json:
        print_json(_described(lifecycle, counts) | {"never_seen": unheard})
        return
    table = Table("stage", "title", "", "stands for", "contacts now", title=f"Lifecycle {lifecycle.name}")
    table.columns[4].justify = "right"
    for stage in lifecycle.stages:
        also = f"[dim]{', '.join(stage.also)}[/dim]"
        table.add_row(stage.name, stage.title, stage.about, also, str(counts.get(stage.name, 0)))
    for name, contacts in _elsewhere(lifecycle, counts).items():
        counted = f"not in this lifecycle; counts as {lifecycle.counts_as(name)}"
        table.add_row(f"[yellow]{name}[/yellow]", "", counted, "", str(contacts))
    if waiting := counts.get(None):
        table.add_row("[dim]none yet[/dim]", "", "evergreet stages begins with them", "", str(waiting))
    console().print(table)
    rules = Table("", "to", "from", "when", title="Rules: the first that holds moves the contact")
    for number, rule in enumerate(lifecycle.rules, start=1):
        rules.add_row(str(number), rule.to, ", ".join(rule.from_ or ("any other",)), _when(rule))
    console().print(rules)
    for name in unheard:
        close = f"; did you mean {close}?" if (close := meant(name)) else "."
        console().print(f"[yellow]No event {escape(name)} has ever come{close}[/yellow]")


@group.command()
def funnel(
    since: Annotated[
        str | None, typer.Option(help="Only moves from this time on, e.g. 2026-01-31 or 30d for 30 days ago.")
    ] = None,
    as_json: AsJson = False,
    picture: Annotated[Path | None, typer.Option(help="Also draw it: an SVG file, e.g. funnel.svg.")] = None,
) -> None:
    """Show, per stage: contacts now, how many ever entered, how many went on, the median time in it.

    Went on: later came into a stage further on, whichever. The median is that of visits that have ended.

    Example: evergreet lifecycle funnel --since 90d --picture funnel.svg
    """
    from rich.table import Table

    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import open_database, parse_since
    from evergreet.commands.printing import console, print_json
    from evergreet.funnel import funnel as figures_of
    from evergreet.funnel import stage_counts
    from evergreet.pictures import save
    from evergreet.pictures.funnel import draw_funnel, said

    with open_database() as database, database.read() as connection:
        start = parse_since(since, DatabaseClock().now(connection)) if since else None
        figures = figures_of(connection, _lifecycle(), start)
        waiting = stage_counts(connection).get(None, 0)
    if picture is not None:
        save(draw_funnel(_lifecycle(), figures, start), picture)
    if as_json:
        print_json(
            [
                {
                    "stage": one.name, "title": one.title, "now": one.now, "entered": one.entered,
                    "converted": one.converted, "conversion": one.conversion,
                    "median_seconds": one.median.total_seconds() if one.median is not None else None,
                }
                for one in figures
            ]
        )  # fmt: skip
        return
    title = f"Lifecycle funnel, moves since {start:%Y-%m-%d %H:%M} UTC" if start else "Lifecycle funnel"
    entered = "entered" if start else "ever entered"
    table = Table("stage", "contacts now", entered, "went on", "", "median time in it", title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    for one in figures:
        share = f"{one.conversion:.0%}" if one.conversion is not None and one is not figures[-1] else ""
        median = said(one.median) if one.median is not None else ""
        table.add_row(one.title, str(one.now), str(one.entered), str(one.converted), share, median)
    console().print(table)
    if waiting:
        console().print(f"{waiting} more are in no stage yet: evergreet stages begins with them.")
    if picture is not None:
        console().print(f"Drawn to {picture}.")


def _lifecycle() -> "Lifecycle":
    from evergreet.lifecycle import lifecycle
    from evergreet.settings import settings

    return lifecycle(settings().lifecycle)


def _described(lifecycle: "Lifecycle", counts: dict[str | None, int]) -> dict[str, Any]:
    from evergreet.conditions import CONDITION

    return {
        "name": lifecycle.name,
        "stages": [
            {
                "name": stage.name, "title": stage.title, "about": stage.about, "also": stage.also,
                "contacts": counts.get(stage.name, 0),
            }
            for stage in lifecycle.stages
        ],
        "rules": [
            {
                "to": rule.to, "from": rule.from_, "on": rule.on, "about": rule.about,
                "when": CONDITION.dump_python(rule.when, mode="json"),
            }
            for rule in lifecycle.rules
        ],
        "elsewhere": [
            {"name": name, "counts_as": lifecycle.counts_as(name), "contacts": contacts}
            for name, contacts in _elsewhere(lifecycle, counts).items()
        ],
        "without_stage": counts.get(None, 0),
    }  # fmt: skip


def _elsewhere(lifecycle: "Lifecycle", counts: dict[str | None, int]) -> dict[str, int]:
    """Return the contacts in stages that the lifecycle does not have: another one left them there."""
    own = {stage.name for stage in lifecycle.stages}
    return {name: contacts for name, contacts in sorted(counts.items(), key=str) if name and name not in own}


def _when(rule: "Rule") -> str:
    names = f"[dim]on {', '.join(rule.on)}[/dim]" if rule.on else "[dim]as time goes by[/dim]"
    return f"{rule.about}\n{names}" if rule.about else names
