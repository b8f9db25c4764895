"""Broadcasts, and events by hand: what the business has to say, and whom it goes to."""

from typing import Annotated, Any, get_args

import typer

from evergreet.commands.listing import ListFirst

app = typer.Typer()


group = typer.Typer(cls=ListFirst, help="Look at broadcasts, and confirm or cancel those that wait for your word.")
app.add_typer(group, name="broadcasts")

Name = Annotated[str, typer.Argument(help="Name of the campaign, as `evergreet campaigns` lists it.")]
Occurrence = Annotated[str, typer.Argument(help="Which broadcast, as `evergreet broadcasts` lists it.")]


@group.command("list")
def list_broadcasts(
    name: Annotated[str | None, typer.Argument(help="Only this campaign.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """List the broadcasts: what waits and for how many, what went to whom. `list` may be left out.

    Example: evergreet broadcasts list new-product-announcement
    """
    from rich.table import Table

    from evergreet.broadcasts import announcements, waiting_for_a_word
    from evergreet.commands.opening import open_database
    from evergreet.commands.printing import console, print_json

    with open_database() as database, database.read() as connection:
        found = announcements(connection, name)
    if json:
        print_json(
            [
                {
                    "campaign": one.campaign, "occurrence": one.occurrence, "state": one.state,
                    "recipients": one.recipients, "at": one.at, "decided_by": one.decided_by,
                    "properties": one.properties,
                }
                for one in found
            ]
        )  # fmt: skip
        return
    table = Table("campaign", "occurrence", "state", "recipients", "event (UTC)", "decided by", "properties")
    for one in found:
        table.add_row(
            one.campaign, one.occurrence, one.state, f"{one.recipients:,}", f"{one.at:%Y-%m-%d %H:%M}", one.decided_by,
            ", ".join(f"{key}={value}" for key, value in one.properties.items()),
        )  # fmt: skip
    console().print(table if found else "There is no broadcast yet: an event such as product_launched makes one.")
    if question := waiting_for_a_word(found):
        typer.echo(question)


@group.command()
def confirm(
    name: Name,
    occurrence: Occurrence,
    recipients: Annotated[int, typer.Option(help="How many it may go to at most: the count that was shown.")],
) -> None:
    """Let a waiting broadcast go: its audience is frozen now, if it is no larger than you agreed to.

    Example: evergreet broadcasts confirm new-product-announcement product_launched:P-17 --recipients 12345
    """
    from evergreet.broadcasts import confirm as freeze
    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import actor, open_database

    with open_database() as database:
        frozen = freeze(database, name, occurrence, recipients, clock=DatabaseClock(), actor=actor())
    typer.echo(f"{name} {occurrence} goes to {frozen:,} contacts; the next run writes to them.")


@group.command()
def cancel(name: Name, occurrence: Occurrence) -> None:
    """Let a waiting broadcast go to nobody, for good.

    Example: evergreet broadcasts cancel new-product-announcement product_launched:P-17
    """
    from evergreet.broadcasts import cancel as end
    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import actor, open_database

    with open_database() as database:
        end(database, name, occurrence, clock=DatabaseClock(), actor=actor())
    typer.echo(f"{name} {occurrence} is cancelled; nobody gets it.")


@app.command()
def record(
    event: Annotated[str, typer.Argument(help="Name of the event, e.g. product_launched.")],
    properties: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="A property; several. Numbers are read as such, unless NAME:text."
        ),
    ] = None,
    contact: Annotated[
        str | None,
        typer.Option(help="Whom it is about: address, id, or id in its source. Without: about the business."),
    ] = None,
    id_: Annotated[
        str | None, typer.Option("--id", help="Its id: the same again changes nothing. Without one each is new.")
    ] = None,
    at: Annotated[str | None, typer.Option(help="When it happened: a time, or a span before now such as 2h.")] = None,
    source: Annotated[str, typer.Option(help="Where it comes from; ids are unique within it.")] = "record",
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Store one event by hand, about the business or about a contact, by the rules of an import.

    Example: evergreet record product_launched --id P-17 --set product_id=P-17 --set name="Trail Lantern"
    """
    from dataclasses import asdict

    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import open_database, parse_moment
    from evergreet.commands.printing import print_json
    from evergreet.importing.one_event import record_event

    clock = DatabaseClock()
    with open_database() as database:
        with database.read() as connection:
            moment = parse_moment(at, clock.now(connection)) if at is not None else None
        done = record_event(
            database, event, _properties(properties or []), contact=contact, source=source, source_id=id_, at=moment,
            clock=clock,
        )  # fmt: skip
    if json:
        print_json(asdict(done))
        return
    said = {
        "stored": "is stored",
        "duplicate": "is known already; nothing changed",
        "corrected": "is corrected; a correction starts no campaign",
    }
    about = "the business" if contact is None else contact
    typer.echo(
        f"{event} about {about} ({done.source}: {done.source_id}) of {done.occurred_at:%Y-%m-%d %H:%M} UTC "
        f"{said[done.result]}."
    )
    if done.first:
        typer.echo(f"It is the first event of this name here{_meant(event)}")


def _meant(event: str) -> str:
    """Ask whether a name of the vocabulary was meant that looks like this one."""
    from evergreet.presets.vocabulary import meant

    return f"; did you mean {close}?" if (close := meant(event)) else "."


def _properties(written: list[str]) -> dict[str, Any]:
    from evergreet.errors import DataError
    from evergreet.importing.rejects import Rejected
    from evergreet.importing.values import Kind, recognised, typed

    kinds: tuple[Kind, ...] = get_args(Kind)

    found: dict[str, Any] = {}
    for item in written:
        name, equals, value = item.partition("=")
        if not equals or not name.strip():
            raise DataError(f"--set {item!r}: write --set NAME=VALUE.")
        bare, _, wanted = name.strip().rpartition(":")
        kind = next((kind for kind in kinds if kind == wanted), None)
        try:
            if bare and kind is not None:
                found[bare] = typed(value, kind, bare)
            else:
                found[name.strip()] = recognised(value)
        except Rejected as problem:
            raise DataError(f"--set {item!r}: {problem}.") from None
    return found
