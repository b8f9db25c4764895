"""CRMs: read them, and write back to them."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()
crm = typer.Typer(help="Read CRMs, and write back to them.", no_args_is_help=True)
app.add_typer(crm, name="crm")

SOME_REJECTED = 3
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@crm.command()
def pull(
    name: Annotated[str, typer.Argument(help="As in `evergreet connectors`.")],
    from_start: Annotated[bool, typer.Option("--from-start", help="Read all contacts again; nothing is lost.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop behind so many; the next one goes on.")] = None,
    rejects: Annotated[
        Path | None,
        typer.Option(help="File for records that cannot be used, with the reason.", show_default="NAME.rejects.csv"),
    ] = None,
    json: Json = False,
) -> None:
    """Read the contacts that have changed in a CRM since the last time; interrupted, it goes on where it was.

    Exit code 0, or 3 when records were rejected.

    Example: evergreet crm pull hubspot
    """
    from contextlib import closing

    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import open_database
    from evergreet.commands.printing import RichReporter, print_json
    from evergreet.crm.opening import open_source, rules_of
    from evergreet.crm.pulling import pull as read
    from evergreet.importing.rejects import RejectsFile

    refused = RejectsFile(rejects or Path(f"{name}.rejects.csv"), keep=not from_start or limit is not None)
    with open_database() as database, closing(open_source(name)) as source, refused, RichReporter() as reporter:
        pulled = read(
            database, source, rules_of(name), DatabaseClock(), from_start=from_start, limit=limit,
            refuse=lambda record, why: refused.add(refused.count + 1, why, record), reporter=reporter,
        )  # fmt: skip
    if json:
        print_json({**pulled.as_dict(), "rejects_file": str(refused.path) if refused.count else None})
    else:
        typer.echo(pulled.sentence)
        for warning, count in pulled.warnings.most_common():
            typer.echo(f"  {count:,} × {warning}")
        for reason, count in pulled.reasons.most_common():
            typer.echo(f"  {count:,} rejected: {reason}")
        if refused.count:
            typer.echo(f"  The rejected records with their reasons: {refused.path}")
    if pulled.rejected:
        raise typer.Exit(SOME_REJECTED)


@crm.command()
def push(
    name: Annotated[str, typer.Argument(help="As in `evergreet connectors`.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Stop behind so many records; the next one goes on.")] = None,
    json: Json = False,
) -> None:
    """Write back what has changed here: stages, last messages, what people agreed to. The same again changes nothing.

    Example: evergreet crm push hubspot
    """
    from contextlib import closing

    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import open_database
    from evergreet.commands.printing import RichReporter, print_json
    from evergreet.crm.opening import open_sink
    from evergreet.crm.pushing import push as write

    with open_database() as database, closing(open_sink(name)) as sink, RichReporter() as reporter:
        pushed = write(database, sink, DatabaseClock(), limit=limit, reporter=reporter)
    if json:
        print_json(pushed.as_dict())
        return
    typer.echo(pushed.sentence)
    for reason, count in pushed.reasons.most_common(10):
        typer.echo(f"  {count:,} refused: {reason}")
