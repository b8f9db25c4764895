"""The command line. Command modules import what they need when they run, so that `--help` stays fast."""

import sys
from pathlib import Path

import typer

from evergreet.commands import (
    bounces,
    broadcasts,
    campaigns,
    connectors,
    contacts,
    crm,
    data,
    database,
    lifecycle,
    messages,
    operations,
    prefect_yaml,
    report,
    suppressions,
    web,
)

app = typer.Typer(
    name="evergreet",
    help="Lifecycle marketing on Prefect, with a send ledger that balances.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # help as plain text: laying it out with Rich takes three times as long as all the rest
)
for module in (
    data, contacts, crm, suppressions, bounces, lifecycle, campaigns, broadcasts, messages, report, prefect_yaml,
    operations, connectors, database, web,
):  # fmt: skip
    app.add_typer(module.app)


def main() -> None:
    """Run a command; what a person can mend is a sentence on standard error and exit code 1."""
    from evergreet.errors import ConnectorError, EvergreetError

    # A company's own packages are found in the folder it runs in, as `python -m` and Prefect's runs find them; last,
    # so that a folder called `models` or `templates` there hides none of ours.
    sys.path.append(str(Path.cwd()))
    try:
        app()
    except (EvergreetError, ConnectorError) as error:
        typer.secho(str(error), err=True, fg="red")
        sys.exit(1)
    except KeyboardInterrupt:
        typer.secho("Stopped. What was done is stored; run the same command again to go on.", err=True)
        sys.exit(130)
