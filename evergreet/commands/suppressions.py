"""Whom providers do not write to any more."""

from typing import Annotated

import typer

app = typer.Typer()
suppressions = typer.Typer(help="Read back whom a provider does not write to any more.", no_args_is_help=True)
app.add_typer(suppressions, name="suppressions")


@suppressions.command()
def pull(
    name: Annotated[
        str | None, typer.Argument(help="As in `evergreet connectors`.", show_default="the one that sends email")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Read the lists from their beginning.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Read a provider's bounces, complaints and unsubscriptions since the last time; the same again changes nothing.

    Example: evergreet suppressions pull sendgrid
    """
    from contextlib import closing

    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import open_database
    from evergreet.commands.printing import print_json
    from evergreet.contracts import SuppressionSource
    from evergreet.errors import ConfigurationError
    from evergreet.feedback.pulling import pull as read_back
    from evergreet.registry import open_connector
    from evergreet.settings import settings
    from evergreet.tokens import Tokens

    wanted = name or settings().email
    with open_database() as database, closing(open_connector(wanted)) as source:
        if not isinstance(source, SuppressionSource):
            raise ConfigurationError(f"The connector {wanted!r} has no lists of whom its provider does not write to.")
        pulled = read_back(database, source, Tokens(settings().signing_keys), DatabaseClock(), full=full)
    print_json(pulled.as_dict()) if json else typer.echo(pulled.sentence)
