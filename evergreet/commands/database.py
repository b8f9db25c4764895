"""`evergreet db`: the schema."""

import typer

app = typer.Typer()
db = typer.Typer(help="Create and check the database schema.", no_args_is_help=True)
app.add_typer(db, name="db")


@db.command()
def upgrade() -> None:
    """Bring the database to the schema of this program.

    Example: evergreet db upgrade
    """
    from evergreet.commands.opening import open_database
    from evergreet.database import schema_revisions
    from evergreet.database import upgrade as upgrade_schema

    with open_database(checked=False) as database:
        before, _ = schema_revisions(database)
        upgrade_schema(database)
        after, _ = schema_revisions(database)
        typer.echo(
            f"Schema at revision {after}." if before == after else f"Schema upgraded: {before or 'none'} to {after}."
        )


@db.command()
def check() -> None:
    """Say whether the database has the schema of this program; exit code 1 when not.

    Example: evergreet db check
    """
    from evergreet.commands.opening import open_database
    from evergreet.database import schema_revisions

    with open_database() as database:
        typer.echo(f"Schema at revision {schema_revisions(database)[0]}: as this program needs it.")
