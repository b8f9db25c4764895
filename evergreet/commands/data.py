"""Data in: contacts, events, suppressions."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from evergreet.importing.mapping import MappingFile
    from evergreet.importing.run import Job, Summary

app = typer.Typer()
imports = typer.Typer(help="Load contacts, events and suppressions from files.", no_args_is_help=True)
app.add_typer(imports, name="import")

File = Annotated[Path, typer.Argument(help="A .csv or .jsonl file, plain or packed as .gz.")]
Source = Annotated[
    str | None, typer.Option(help="Where the rows come from; ids are unique within it.", show_default="import")
]
Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN",
        help="Which column is what; several. FIELD={a}@b.test fills in columns, amount:number types.",
    ),
]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="The same value for every row; several.")
]
Ignore = Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="A column to leave out; several.")]
MappingOption = Annotated[Path | None, typer.Option("--mapping", help="A YAML or TOML file with all this.")]
Timezone = Annotated[str | None, typer.Option(help="IANA zone of times that name none, e.g. Europe/Berlin.")]
Encoding = Annotated[str | None, typer.Option(help="Encoding of a file that is not UTF-8, e.g. cp1252.")]
Delimiter = Annotated[str | None, typer.Option(help="What separates columns; found in the header unless given.")]
Types = Annotated[
    Literal["auto", "text"] | None,
    typer.Option(
        help="Read plain numbers in CSV attributes and properties as numbers (auto), or nothing.", show_default="auto"
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="All rows or none, in one transaction.")]
Rejects = Annotated[Path | None, typer.Option(help="Where rejected rows are listed.", show_default="FILE.rejects.csv")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]

SOME_REJECTED = 3


@imports.command()
def contacts(
    file: File,
    source: Source = None,
    map_: Map = None,
    set_: Set = None,
    ignore: Ignore = None,
    mapping: MappingOption = None,
    timezone: Timezone = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    types: Types = None,
    region: Annotated[str | None, typer.Option(help="Country of phone numbers without +, e.g. DE.")] = None,
    strict: Strict = False,
    rejects: Rejects = None,
    as_json: AsJson = False,
) -> None:
    """Load contacts; those that are known get the columns of the file, the rest of them stays.

    Fields: source_id, email, phone, locale, timezone, created_at, stage, stage_at, unsubscribed,
    consent.TOPIC, consent_at, consent_source, consent_wording; any other column becomes an attribute.
    Exit code 0, or 3 when rows were rejected.

    Example: evergreet import contacts people.csv --source shop --map source_id=id
    """
    from functools import cache, partial

    from evergreet.importing import contacts as kind
    from evergreet.importing.people import known_region

    build = partial(kind.ContactImport, stages=cache(_stages), region=known_region(region) if region else None)
    advice = "Say which column identifies a contact: --map source_id=COLUMN (or --map source_id={email})."
    job = _job(
        file, _mapping(mapping), source=source, map_=map_, set_=set_, timezone=timezone, encoding=encoding,
        delimiter=delimiter, strict=strict, rejects=rejects, ignore=ignore, types=types,
    )  # fmt: skip
    _run("contacts", job, build, kind.FIELDS, {"source_id": advice}, as_json)


@imports.command()
def events(
    file: File,
    source: Source = None,
    map_: Map = None,
    set_: Set = None,
    ignore: Ignore = None,
    mapping: MappingOption = None,
    timezone: Timezone = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    types: Types = None,
    contact_source: Annotated[
        str | None, typer.Option(help="The source of the contacts' ids.", show_default="the source of the events")
    ] = None,
    create_contacts: Annotated[
        bool | None, typer.Option("--create-contacts/--known-contacts", help="Create contacts that are not there yet.")
    ] = None,
    strict: Strict = False,
    rejects: Rejects = None,
    as_json: AsJson = False,
) -> None:
    """Load events; the same file again changes nothing, other content under a known id is a correction.

    Fields: name, occurred_at, contact (its id), email, source_id, properties; any other column becomes a
    property. Without contact and email it is an event about the business. Exit code 0, or 3 when rows were
    rejected.

    Example: evergreet import events log.csv --map contact=user --map name=event --map occurred_at=time --timezone UTC
    """
    from functools import partial

    from evergreet.importing import events as kind

    file_says = _mapping(mapping)
    create = file_says.create_contacts if create_contacts is None else create_contacts
    build = partial(kind.EventImport, contact_source=contact_source, create_contacts=bool(create))
    required = {
        "name": "Say what happened: --map name=COLUMN, or --set name=order_placed when all rows are the same.",
        "occurred_at": "Say when it happened: --map occurred_at=COLUMN.",
    }
    job = _job(
        file, file_says, source=source, map_=map_, set_=set_, timezone=timezone, encoding=encoding,
        delimiter=delimiter, strict=strict, rejects=rejects, ignore=ignore, types=types,
    )  # fmt: skip
    _run("events", job, build, kind.FIELDS, required, as_json)


@imports.command()
def suppressions(
    file: File,
    source: Source = None,
    map_: Map = None,
    set_: Set = None,
    mapping: MappingOption = None,
    timezone: Timezone = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    scope: Annotated[
        Literal["all", "marketing"], typer.Option(help="What is stopped where the file does not say.")
    ] = "all",
    strict: Strict = False,
    rejects: Rejects = None,
    as_json: AsJson = False,
) -> None:
    """Load addresses that may not be written to: bounces, complaints, unsubscribes of an old tool.

    Fields: email, scope (all or marketing), reason, at. A suppression only grows. Exit code 0, or 3 when
    rows were rejected.

    Example: evergreet import suppressions do-not-mail.csv --map email=address --timezone UTC
    """
    from functools import partial

    from evergreet.importing import suppressions as kind

    build = partial(kind.SuppressionImport, scope=scope)
    required = {"email": "Say which column holds the address: --map email=COLUMN."}
    job = _job(
        file, _mapping(mapping), source=source, map_=map_, set_=set_, timezone=timezone, encoding=encoding,
        delimiter=delimiter, strict=strict, rejects=rejects,
    )  # fmt: skip
    _run("suppressions", job, build, kind.FIELDS, required, as_json)


def _mapping(path: Path | None) -> "MappingFile":
    from evergreet.importing.mapping import MappingFile, read_mapping_file

    return read_mapping_file(path) if path else MappingFile()


def _stages() -> list[str]:
    from evergreet.lifecycle import lifecycle
    from evergreet.settings import settings

    return [stage.name for stage in lifecycle(settings().lifecycle).stages]


def _job(
    file: Path, mapping: "MappingFile", *, source: str | None, map_: list[str] | None, set_: list[str] | None,
    timezone: str | None, encoding: str | None, delimiter: str | None, strict: bool, rejects: Path | None,
    ignore: list[str] | None = None, types: Literal["auto", "text"] | None = None,
) -> "Job":  # fmt: skip
    from evergreet.importing.mapping import Columns
    from evergreet.importing.run import Job

    return Job(
        path=file, source=source or mapping.source or "import",
        columns=Columns.from_options(map_ or [], set_ or [], ignore or [], types, mapping),
        timezone=timezone or mapping.timezone, encoding=encoding or mapping.encoding,
        delimiter=delimiter or mapping.delimiter, rejects=rejects, strict=strict,
    )  # fmt: skip


def _run(what: str, job: "Job", build: Any, fields: tuple[str, ...], required: dict[str, str], as_json: bool) -> None:
    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import open_database
    from evergreet.importing.progress import shown_progress
    from evergreet.importing.run import run_import

    with open_database() as database, shown_progress(job.path.name) as reporter:
        summary = run_import(
            database, job, build, fields=fields, required=required, clock=DatabaseClock(), reporter=reporter
        )
    _print(what, summary, as_json)
    if summary.rejected:
        raise typer.Exit(SOME_REJECTED)


def _print(what: str, summary: "Summary", as_json: bool) -> None:
    import json

    if as_json:
        typer.echo(json.dumps({"import": what, **summary.as_dict()}))
        return
    counts = [f"{name} {getattr(summary, name):,}" for name in ("stored", "duplicate", "corrected", "rejected")]
    if summary.withheld:
        counts.append(f"withheld {summary.withheld:,}")
    typer.echo(f"{what} from {summary.file}: read {summary.read:,} = {' + '.join(counts)}")
    if not summary.read:
        typer.echo("  The file has no rows.")
    if summary.contacts_created:
        typer.echo(f"  {summary.contacts_created:,} contacts created")
    for warning, count in summary.warnings.most_common():
        typer.echo(f"  {count:,} × {warning}")
    for reason, count in summary.reasons.most_common():
        typer.echo(f"  {count:,} rejected: {reason}")
    if summary.rejects_file:
        typer.echo(f"  The rejected rows with their reasons: {summary.rejects_file}")
    if summary.withheld:
        typer.echo("  Nothing was stored: --strict stores all rows or none.")
