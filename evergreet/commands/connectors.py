"""Connectors: list and check."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from datetime import timedelta

    from evergreet.contracts import Connector

app = typer.Typer()
connectors = typer.Typer(invoke_without_command=True)
app.add_typer(connectors, name="connectors")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@connectors.callback()
def list_connectors(
    context: typer.Context,
    json: Json = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the table of the docs, from the classes.")
    ] = False,
) -> None:
    """List the connectors that are installed, or check one.

    Example: evergreet connectors

    Example: evergreet connectors check smtp
    """
    if context.invoked_subcommand is not None:
        return
    from rich.markup import escape
    from rich.table import Table

    from evergreet.commands.printing import console, print_json

    rows = _installed()
    if json:
        print_json(rows)
        return
    if markdown:
        typer.echo(_in_markdown())
        return
    table = Table("connector", "what it can do", "from")
    for row in rows:
        does = escape(row["does"]) if row["error"] is None else f"[red]{escape(row['error'])}[/red]"
        sends = f" (sends {row['capabilities']['channel']} now)" if row["in_use"] and row["capabilities"] else ""
        table.add_row(row["name"] + sends, does, row["package"])
    console().print(table)


@connectors.command()
def check(name: Annotated[str, typer.Argument(help="As in `evergreet connectors`.")], json: Json = False) -> None:
    """Make a harmless live call with a connector's own settings; exit code 1 and a sentence when something is wrong.

    Example: evergreet connectors check smtp
    """
    from contextlib import closing

    from evergreet.commands.printing import print_json
    from evergreet.errors import ConfigurationError, ConnectorError
    from evergreet.registry import open_connector

    try:
        with closing(open_connector(name)) as connector:
            found = connector.check()
    except (ConfigurationError, ConnectorError) as error:
        if not json:
            raise
        print_json({"name": name, "ok": False, "found": str(error)})
        raise typer.Exit(1) from None
    if json:
        print_json({"name": name, "ok": True, "found": found})
    else:
        typer.echo(found)


@connectors.command()
def status(json: Json = False) -> None:
    """Say of each connector that sends what it was given today, and if it is not asked now, why and until when.

    Example: evergreet connectors status
    """
    from rich.markup import escape
    from rich.table import Table

    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import open_database
    from evergreet.commands.printing import console, print_json
    from evergreet.sending import standings

    with open_database() as database:
        found = standings(database, DatabaseClock())
    if json:
        print_json([one.as_dict() for one in found])
        return
    table = Table("connector", "sends", "share", "today", "now")
    for one in found:
        now = f"[red]{escape(one.out)}[/red]" if one.out else "is asked"
        today = "" if one.limit is None else f"{one.given:,} of {one.limit:,}"
        table.add_row(one.name, one.channel, one.share, today, now)
    console().print(table)


@connectors.command()
def resume(name: Annotated[str, typer.Argument(help="As in `evergreet connectors status`.")]) -> None:
    """Ask a provider that is out again from now on, without waiting for the end of its pause.

    Example: evergreet connectors resume sendgrid
    """
    from evergreet.breakers import ask_again
    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import actor, open_database
    from evergreet.errors import DataError

    with open_database() as database:
        if not ask_again(database, name, clock=DatabaseClock(), actor=actor()):
            raise DataError(f"{name} is not out: `evergreet connectors status` says who is.")
    typer.echo(f"{name} is asked again from the next run on.")


OTHERS = {"webhook": "posts webhooks to other systems", "slack": "writes notes to your team"}
"""What connectors do that write to nobody, by channel."""


def _installed() -> list[dict[str, Any]]:
    """Describe what is installed; a connector that cannot be imported is listed with the reason."""
    from dataclasses import asdict

    from evergreet.errors import ConfigurationError
    from evergreet.registry import connector_class, connector_entries
    from evergreet.sending import connectors_in_use

    in_use = {one.name for named in connectors_in_use().values() for one in named}
    rows = []
    for name, entry in connector_entries().items():
        row = {
            "name": name,
            "in_use": name in in_use,
            "does": "",
            "capabilities": None,
            "package": f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown",
            "class": entry.value,
            "error": None,
        }
        try:
            kind = connector_class(name)
            row["does"], row["capabilities"] = _in_words(kind), asdict(kind.capabilities)
        except ConfigurationError as error:
            row["error"] = str(error)
        rows.append(row)
    return rows


def _in_markdown() -> str:
    """Write the table of what our connectors can do, as it stands in docs/connectors.md."""
    from evergreet.registry import connector_class, connector_entries

    def yes(able: object) -> str:
        return "yes" if able else "no"

    lines = [
        "| connector | sends | batch | window | connections | can be asked (`find`) | idempotency key | webhooks "
        "| suppressions | proven by |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, entry in sorted(connector_entries().items()):
        if entry.dist is None or entry.dist.name != "evergreet":
            continue
        kind = connector_class(name)
        can = kind.capabilities
        channel = f"crm: {' and '.join(_of_crm(kind))}" if can.channel == "crm" else can.channel
        lines.append(
            f"| [`{name}`](connectors/{name}.md) | {channel} | {can.batch_limit} | {can.window} "
            f"| {can.connections} | {yes(can.find)} | {_life(can.idempotency)} | {yes(can.webhooks)} "
            f"| {yes(can.suppressions)} | {', '.join(can.proven_by)} |"
        )
    return "\n".join(lines)


def _life(span: "timedelta | None") -> str:
    if span is None:
        return "no"
    minutes = int(span.total_seconds() // 60)
    return f"{minutes // 60} hours" if minutes % 60 == 0 else f"{minutes} minutes"


def _of_crm(kind: "type[Connector]") -> list[str]:
    """Say which protocols of `evergreet.contracts.crm` a class has."""
    return [said for method, said in (("changed_since", "reads"), ("push", "writes")) if hasattr(kind, method)]


def _in_words(kind: "type[Connector]") -> str:
    capabilities = kind.capabilities
    if capabilities.channel == "events":
        return "tells what customers do"
    if capabilities.channel == "crm":
        told = ", is told what changes" if capabilities.webhooks else ""
        return f"{' and '.join(_of_crm(kind))} contacts of a CRM{told}"
    if capabilities.channel in OTHERS:
        return OTHERS[capabilities.channel]
    words = [
        f"sends {'SMS' if capabilities.channel == 'sms' else capabilities.channel}",
        f"up to {capabilities.batch_limit} a batch",
        f"windows of {capabilities.window}",
        f"{capabilities.connections} connections",
    ]
    if capabilities.idempotency is not None:
        words.append(f"repeats are safe for {_life(capabilities.idempotency)}")
    words += [
        said
        for able, said in (
            (capabilities.find, "can be asked for unknown messages"),
            (capabilities.webhooks, "reports deliveries"),
            (capabilities.suppressions, "tells whom it does not write to"),
            (capabilities.sandbox, "has a sandbox"),
        )
        if able
    ]
    return ", ".join(words)
