"""Bounces that come back by mail."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def bounces(
    maildir: Annotated[Path | None, typer.Option(help="Maildir that bounces are delivered into.")] = None,
    imap: Annotated[bool, typer.Option("--imap", help="Read the folder of EVERGREET_BOUNCES_IMAP_….")] = False,
    connector: Annotated[str, typer.Option(help="Whose messages come back, as in `evergreet connectors`.")] = "smtp",
    again: Annotated[bool, typer.Option("--again", help="Read the mails that were seen, too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Read bounces and complaints out of a mailbox, and act on those about our messages; run it from cron.

    Example: evergreet bounces --maildir /var/mail/bounces

    Example: evergreet bounces --imap
    """
    from contextlib import ExitStack

    from evergreet.bounces.imap import Imap
    from evergreet.bounces.maildir import Maildir
    from evergreet.bounces.taking import take
    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import open_database
    from evergreet.commands.printing import print_json
    from evergreet.contracts import ReportReader
    from evergreet.errors import ConfigurationError
    from evergreet.registry import connector_class
    from evergreet.settings import settings
    from evergreet.tokens import Tokens

    if (maildir is None) is not imap:
        raise ConfigurationError("Say where the bounces are: either --maildir PATH, or --imap.")
    reader = connector_class(connector)
    if not isinstance(reader, ReportReader):
        raise ConfigurationError(f"The provider of {connector!r} tells of bounces by webhook, not by mail.")
    with ExitStack() as opened:
        mailbox = opened.enter_context(Imap(settings())) if maildir is None else Maildir(maildir)
        database = opened.enter_context(open_database())
        taken, _ = take(database, reader, mailbox, Tokens(settings().signing_keys), DatabaseClock(), seen=again)
    print_json(taken.as_dict()) if json else typer.echo(taken.sentence)
