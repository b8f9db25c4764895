"""Contacts that turned out to be one person."""

from typing import Annotated

import typer

app = typer.Typer()
contacts = typer.Typer(help="Merge contacts that are one person, and take them apart again.", no_args_is_help=True)
app.add_typer(contacts, name="contacts")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@contacts.command()
def merges(
    contact: Annotated[
        str | None, typer.Argument(help="Address, phone number, id, or id in its source.", show_default="all")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    json: Json = False,
) -> None:
    """List merges: who is whom, how that was found, which values it changed and what it moved.

    Example: evergreet contacts merges maya@example.com
    """
    from rich.markup import escape
    from rich.table import Table

    from evergreet.commands.opening import open_database
    from evergreet.commands.printing import console, print_json
    from evergreet.explain import find_contacts
    from evergreet.merging.showing import merges as found_merges

    with open_database() as database, database.read() as connection:
        whose = None if contact is None else [row.id for row in find_contacts(connection, contact)]
        found = found_merges(connection, whose, limit)
    if json:
        print_json([one.as_dict() for one in found])
        return
    table = Table("merge", "when (UTC)", "what", "values changed", "rows moved")
    for one in found:
        moved = ", ".join(f"{count} {name}" for name, count in one.moved.items())
        table.add_row(
            str(one.id), f"{one.at:%Y-%m-%d %H:%M}", escape(one.sentence), escape(", ".join(one.changed)), moved
        )
    console().print(table if found else "Nobody was merged.")


@contacts.command()
def merge(
    contact: Annotated[str | None, typer.Argument(help="Who is merged; without, all who have one address.")] = None,
    into: Annotated[str | None, typer.Argument(help="Whom they are merged into.")] = None,
    confirm: Annotated[int | None, typer.Option(help="The count that the command printed without it.")] = None,
) -> None:
    """Merge a contact into another; without any, all of different sources that have one address. Counts those first.

    Example: evergreet contacts merge 4711 maya@example.com

    Example: evergreet contacts merge --confirm 12
    """
    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import actor, open_database
    from evergreet.errors import DataError
    from evergreet.explain import find_contacts
    from evergreet.merging.alike import count, merge_alike
    from evergreet.merging.merging import alone
    from evergreet.merging.merging import merge as join

    clock = DatabaseClock()
    with open_database() as database:
        if contact is None:
            with database.read() as connection:
                there = count(connection)
            they = "1 contact" if there == 1 else f"{there} contacts"
            if confirm is None:
                how = f" `evergreet contacts merge --confirm {there}` does it." if there else ""
                typer.echo(f"{they} would be merged into others.{how}")
                return
            if confirm != there:
                raise DataError(f"{they} would be merged, not {confirm}. Nothing was done; look again.")
            merged = merge_alike(database, clock, actor=actor()).total
            typer.echo("1 contact was merged." if merged == 1 else f"{merged} contacts were merged.")
            return
        if into is None:
            raise DataError("Say whom they are merged into: evergreet contacts merge CONTACT INTO.")
        with database.write() as connection:
            alone(connection)
            both = []
            for written in (contact, into):
                found = find_contacts(connection, written)
                if len(found) > 1:
                    ids = ", ".join(str(row.id) for row in found)
                    raise DataError(f"{len(found)} contacts are {written!r}; say which one by its id ({ids}).")
                both.append(found[0].id)
            now = clock.now(connection)
            number = join(connection, both[0], both[1], found_by="hand", actor=actor(), now=now)
    typer.echo(f"Contact {both[0]} is contact {both[1]} now. `evergreet contacts unmerge {number}` takes them apart.")


@contacts.command()
def unmerge(
    number: Annotated[
        int, typer.Argument(help="Number of the merge, as `evergreet contacts merges` says.", max=2**63 - 1)
    ],
) -> None:
    """Take two contacts apart again: both are as they were, and what came since stays with the one that was left.

    They are not merged by themselves again.

    Example: evergreet contacts unmerge 7
    """
    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import actor, open_database
    from evergreet.merging.merging import alone
    from evergreet.merging.undoing import undo

    clock = DatabaseClock()
    with open_database() as database, database.write() as connection:
        alone(connection)
        contact = undo(connection, number, actor=actor(), clock=clock, now=clock.now(connection))
    typer.echo(f"Contact {contact} stands for itself again.")
