"""The report of a campaign: its steps, its goal, and what it added."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from evergreet.lift import Group
    from evergreet.report import CampaignReport

app = typer.Typer()


@app.command()
def report(
    name: Annotated[str, typer.Argument(help="Name of the campaign, as `evergreet campaigns` lists it.")],
    since: Annotated[
        str | None, typer.Option(help="Only enrollments caused from this time on, e.g. 2026-01-31 or 30d.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    picture: Annotated[Path | None, typer.Option(help="Also draw the lift: an SVG file, e.g. lift.svg.")] = None,
) -> None:
    """Report what became of each step of a campaign, who converted, and how much the campaign added to that.

    With a holdout, contacts who got the campaign are compared with those held out from it.

    Example: evergreet report thank-you --since 90d --picture lift.svg
    """
    from evergreet.campaigns import required
    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import open_database, parse_since
    from evergreet.commands.printing import console, print_json
    from evergreet.pictures import save
    from evergreet.pictures.lift import draw_lift
    from evergreet.report import report as figures_of

    with open_database() as database, database.read() as connection:
        now = DatabaseClock().now(connection)
        start = parse_since(since, now) if since else None
        found = figures_of(connection, required(connection, name), now, start)
    if picture is not None:
        save(draw_lift(found), picture)
    if as_json:
        print_json(found.as_dict())
        return
    _print(found)
    if picture is not None:
        console().print(f"Drawn to {picture}.")


def _print(found: "CampaignReport") -> None:
    from rich.markup import escape
    from rich.table import Table

    from evergreet.commands.printing import console

    out = console()
    since = f", enrolled by what happened since {found.since:%Y-%m-%d %H:%M} UTC" if found.since else ""
    names = ("due", "accepted", "skipped", "deferred", "pending", "failed", "unknown")
    table = Table("step", *names, title=f"{found.campaign} ({found.state}){since}")
    for column in table.columns[1:]:
        column.justify = "right"
    for step in found.steps:
        table.add_row(f"{step.key} [dim]{step.purpose}[/dim]", *(str(getattr(step.balance, name)) for name in names))
        for reason, count in step.reasons.items():
            state, _, why = reason.partition(": ")
            state = "pending" if state in {"planned", "sending"} else state
            cells = (f"[dim]{count}[/dim]" if name == state else "" for name in names)
            table.add_row(f"  [dim]{escape(why)}[/dim]", *cells)
    out.print(table)
    out.print(f"{found.enrollments} enrollments; {found.outside_audience} more were outside the audience.")
    if found.goal is not None:
        goals = Table("goal", "contacts", "converted", "rate", "95% between", "may still convert")
        for column in goals.columns[1:]:
            column.justify = "right"
        goals.add_row("enrolled", *_cells(found.goal.enrolled))
        groups = {"held out": found.goal.held_out, "held out from all campaigns": found.goal.held_out_of_all}
        if any(group.contacts for group in groups.values()):
            for title, group in {"with the campaign": found.goal.treated, **groups}.items():
                if group.contacts:
                    goals.add_row(f"  {title}", *_cells(group))
        out.print(goals)
    for sentence in found.sentences:
        out.print(sentence)


def _cells(group: "Group") -> tuple[str, ...]:
    rate = "" if group.rate is None else f"{group.rate:.1%}"
    between = "" if group.interval is None else f"{group.interval[0]:.1%} and {group.interval[1]:.1%}"
    return str(group.contacts), str(group.converted), rate, between, str(group.still_open)
