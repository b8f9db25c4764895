"""Whom providers do not write to any more."""

from typing import Annotated

import typer

app = typer.Typer()
suppressions = typer.Typer(help="Read back whom a provider does not write to any more.", no_args_is_help=True)
app.add_typer(suppressions, name="suppressions")


@suppressions.command()
def pull(
    name: Annotated[
        str | None, typer.Argument(help="As in `evergreet connectors`.", show_default="those that send email")
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
    from evergreet.sending import connectors_in_use
    from evergreet.settings import settings
    from evergreet.tokens import Tokens

    wanted = [name] if name else [one.name for one in connectors_in_use()["email"]]
    pulled = []
    with open_database() as database:
        for each in wanted:
            with closing(open_connector(each)) as source:
                if isinstance(source, SuppressionSource):
                    tokens = Tokens(settings().signing_keys)
                    pulled.append(read_back(database, source, tokens, DatabaseClock(), full=full))
    if not pulled:
        without = " and ".join(repr(each) for each in wanted)
        raise ConfigurationError(f"The connector {without} has no lists of whom its provider does not write to.")
    if json:
        print_json([one.as_dict() for one in pulled] if len(wanted) > 1 else pulled[0].as_dict())
        return
    for one in pulled:
        typer.echo(one.sentence)
