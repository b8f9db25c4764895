"""Messages: look at them, and what people decide about getting them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from sqlalchemy import Connection

app = typer.Typer()

SOURCE = "command line"
Who = Annotated[str, typer.Argument(help="An email address, or the id of a contact.")]
Whom = Annotated[str, typer.Argument(help="An email address, a phone number, or the id of a contact (its email).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")]


@app.command()
def preview(
    name: Annotated[str | None, typer.Argument(help="The template, e.g. thank_you/receipt.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All messages, with their samples, on one page.")] = False,
    contact: Annotated[
        str | None,
        typer.Option(help="Address, id, or id in its source of a contact: render for them and their newest event."),
    ] = None,
    locale: Annotated[
        str | None, typer.Option(help="As somebody with this locale reads it, e.g. de_AT; default: the sample's.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write to; default: preview/ in the data folder.")] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Render a message, or all of them, and show it at the width of a phone and of a desktop.

    Example: evergreet preview thank_you/receipt --open

    Example: evergreet preview --all --locale de_AT --open
    """
    from evergreet.errors import DataError
    from evergreet.gallery import all_messages, write_page
    from evergreet.localization import locale_named
    from evergreet.settings import settings

    if every == (name is not None) or (every and contact is not None):
        raise DataError("Say which: the NAME of a message, for a --contact where you like, or --all with the samples.")
    if locale is not None and locale_named(locale) is None:
        raise DataError(f"--locale {locale}: there is no such locale; write one as in de, de_AT or pt_BR.")
    if name is not None:
        page, said = _preview_one(name, contact, locale, out)
    else:
        shown = all_messages(settings(), locale)
        page = write_page(out or settings().data_dir / "preview", shown, settings()).resolve()
        said = [sentence for one in shown for sentence in one.to_mend]
        typer.echo(f"{len(shown)} message{'' if len(shown) == 1 else 's'}\n{page}")
    for sentence in said:
        typer.secho(sentence, err=True, fg="red")
    if show:
        typer.launch(page.as_uri())
    if said:
        raise typer.Exit(1)


def _preview_one(name: str, contact: str | None, locale: str | None, out: Path | None) -> tuple[Path, list[str]]:
    """Write the page of one message; return it, and what is to be mended."""
    from dataclasses import replace

    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import open_database
    from evergreet.explain import find_contacts
    from evergreet.preview import for_contact, proofread, read_sample, render, write_preview
    from evergreet.rendering import Rendered
    from evergreet.settings import settings
    from evergreet.sms_rendering import RenderedSms
    from evergreet.template_sources import check_exists

    check_exists(settings().templates, name)
    context, event_name = read_sample(settings().templates, name, settings())
    if contact is not None:
        with open_database() as database, database.read() as connection:
            person = find_contacts(connection, contact)[0]
            now = DatabaseClock().now(connection)
            context = for_contact(connection, person.id, context, event_name, settings(), now)
    if locale is not None:
        context = replace(context, locale=locale)
    rendered = render(settings(), name, context)
    proof = proofread(settings(), name, context, rendered)
    folder = out or settings().data_dir / "preview" / name
    page = write_preview(folder, name, context, rendered, proof).resolve()
    said = [rendered.subject if isinstance(rendered, Rendered) else rendered.text]
    if isinstance(rendered, RenderedSms):
        said.append(str(rendered.segments))
    typer.echo("\n".join([*said, str(page)]))
    return page, list(proof.faults)


@app.command()
def unsubscribe(
    who: Who,
    topic: Annotated[str | None, typer.Option(help="The topic to take them off.")] = None,
    everything: Annotated[bool, typer.Option("--everything", help="Stop all marketing to their address.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take a person off a topic, or off all marketing.

    Example: evergreet unsubscribe maya@example.com --topic orders
    """
    from evergreet import consent
    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import open_database
    from evergreet.errors import DataError

    if everything == (topic is not None):
        raise DataError("Say which: --topic NAME for one topic, or --everything for all marketing.")
    with open_database() as database, database.write() as connection:
        contacts = _contacts(connection, who)
        at = DatabaseClock().now(connection)
        changed = False
        for contact_id in contacts:
            if topic is not None:
                changed |= consent.unsubscribe(connection, contact_id, topic, at=at, source=SOURCE)
            else:
                changed |= consent.unsubscribe_everything(connection, contact_id, at=at, source=SOURCE)
    what = f"topic {topic}" if topic is not None else "all marketing"
    said = f"Unsubscribed {_named(contacts)} from {what}." if changed else f"Nothing to do: off {what} already."
    _say(as_json, said, contacts=contacts, topic=topic, changed=changed)


@app.command()
def suppress(
    who: Whom,
    scope: Annotated[
        Literal["all", "marketing"], typer.Option(help="all: write nothing to it; marketing: receipts still go out.")
    ] = "all",
    reason: Annotated[str, typer.Option(help="Why; stored with it.")] = "asked",
    as_json: AsJson = False,
) -> None:
    """Never write to an address or phone number again, whether or not a contact has it.

    Example: evergreet suppress maya@example.com --scope marketing

    Example: evergreet suppress +4915123456789
    """
    from evergreet import consent
    from evergreet.channels import read_destination
    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import open_database
    from evergreet.errors import DataError
    from evergreet.explain import row_id

    if not 0 < len(reason) <= 100:
        raise DataError("--reason: write 1 to 100 characters.")
    with open_database() as database, database.write() as connection:
        number = row_id(who)
        address = read_destination(who) if number is None else _address_of(connection, number)
        if address is None:
            raise DataError(f"Contact {who} has no address: there is nothing to suppress.")
        changed = consent.suppress(
            connection,
            address,
            scope=scope,
            reason=reason,
            source=SOURCE,
            at=DatabaseClock().now(connection),
        )
    said = f"Suppressed {address} ({scope})." if changed else f"Nothing to do: {address} was suppressed already."
    _say(as_json, said, address=address, scope=scope, changed=changed)


@app.command()
def erase(
    who: Who,
    confirm: Annotated[
        str | None, typer.Option(help="The person's address once more (their id, where they have none).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Forget a person for good; keyed hashes of address and phone stay, so that no import brings them back.

    Example: evergreet erase maya@example.com --confirm maya@example.com
    """
    import getpass

    from evergreet.addresses import read_address
    from evergreet.clock import DatabaseClock
    from evergreet.commands.opening import open_database
    from evergreet.erasure import erase
    from evergreet.errors import DataError
    from evergreet.settings import settings
    from evergreet.tokens import Tokens

    with open_database() as database, database.write() as connection:
        contacts = _contacts(connection, who)
        address = _address_of(connection, contacts[0])
        given = read_address(confirm.strip()).normalised if confirm and "@" in confirm else confirm
        if given != (address or str(contacts[0])):
            raise DataError(
                f"This erases {_named(contacts)} for good, and nothing was erased yet. To do it, repeat the command "
                f"with --confirm and {'their address' if address else 'their id'}."
            )
        at, tokens = DatabaseClock().now(connection), Tokens(settings().signing_keys)
        done = [
            erase(connection, contact_id, tokens=tokens, at=at, actor=f"{SOURCE}: {getpass.getuser()}")
            for contact_id in contacts
        ]
    new = [one for one in done if not one.already]
    messages = sum(one.messages for one in new)
    said = (
        f"Erased {_named([one.contact_id for one in new])}; {messages} ledger rows keep a keyed hash in place of the "
        "address."
        if new
        else f"Nothing to do: {_named(contacts)} had been erased already."
    )
    _say(as_json, said, contacts=contacts, messages=messages, changed=bool(new))


def _contacts(connection: "Connection", who: str) -> list[int]:
    from evergreet.addresses import read_address
    from evergreet.errors import DataError
    from evergreet.explain import row_id
    from evergreet.mailboxes import contacts_of

    if (number := row_id(who)) is not None:
        return [number]
    address = read_address(who.strip()).normalised
    if found := contacts_of(connection, address):
        return found
    raise DataError(f"No contact has the address {address}. To never write to it: evergreet suppress {address}")


def _address_of(connection: "Connection", contact_id: int) -> str | None:
    from sqlalchemy import select
    from sqlmodel import col

    from evergreet.errors import DataError
    from models import Contact

    row = connection.execute(select(col(Contact.address)).where(col(Contact.id) == contact_id)).one_or_none()
    if row is None:
        raise DataError(f"There is no contact {contact_id}.")
    address: str | None = row.address
    return address


def _named(contacts: list[int]) -> str:
    return f"contact{'s' if len(contacts) > 1 else ''} {', '.join(map(str, contacts))}"


def _say(as_json: bool, sentence: str, **values: object) -> None:
    import json

    typer.echo(json.dumps(values) if as_json else sentence)
