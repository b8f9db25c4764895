"""`/u/{token}`: the unsubscribe link of an email, by one click of the mail program or by a person on the page.

RFC 8058: the POST needs no cookie and no login and is never redirected; a GET changes nothing, because mail
filters open every link they see. A link has no date and works again and again: the second time changes
nothing.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from sqlalchemy import Connection, select
from sqlmodel import col
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from evergreet import consent, mailboxes
from evergreet.clock import Clock
from evergreet.database import Database
from evergreet.tokens import InvalidToken, Tokens, Unsubscribe
from evergreet.web.guard import BODY_LIMIT
from evergreet.web.pages import Pages, everything_button, topic_button
from models import Contact

ONE_CLICK = ("List-Unsubscribe", "One-Click")


@dataclass(frozen=True, slots=True)
class Choice:
    """What was posted: by the mail program, or by a button of the page."""

    one_click: bool
    scope: str


async def choice_of(request: Request) -> Choice:
    """Read the form, urlencoded or multipart; anything else is no choice."""
    form = await request.form(max_files=0, max_fields=10, max_part_size=BODY_LIMIT)
    name, value = ONE_CLICK
    return Choice(one_click=form.get(name) == value, scope=str(form.get("scope", "")))


def router(database: Database, tokens: Tokens, clock: Clock, pages: Pages) -> APIRouter:
    """Return the routes over this database."""
    routes = APIRouter()

    @routes.api_route("/u/{token}", methods=["GET", "HEAD"])
    def ask(token: str) -> Response:
        link = read_link(tokens, token)
        with database.read() as connection:
            reader = _reader(connection, link)
        place = pages.place(reader.locale, reader.timezone)
        return pages.ask(link.topic, masked(reader.email), token, place)

    @routes.post("/u/{token}")
    def act(token: str, choice: Annotated[Choice, Depends(choice_of)]) -> Response:
        link = read_link(tokens, token)
        everything = choice.scope == "everything" and not choice.one_click
        if not (choice.one_click or choice.scope in {"topic", "everything"}):
            raise HTTPException(HTTPStatus.BAD_REQUEST, "The request did not say what to unsubscribe from")
        source = "one-click" if choice.one_click else "page"
        with database.write() as connection:
            reader = _reader(connection, link)
            place = pages.place(reader.locale, reader.timezone)
            at = clock.now(connection)
            if everything:
                wording = everything_button(place)
                consent.unsubscribe_everything(connection, link.contact_id, at=at, source=source, wording=wording)
            else:
                wording = "=".join(ONE_CLICK) if choice.one_click else topic_button(link.topic, place)
                consent.unsubscribe(connection, link.contact_id, link.topic, at=at, source=source, wording=wording)
        return pages.done(link.topic, masked(reader.email), token, place, everything=everything)

    return routes


def read_link(tokens: Tokens, token: str) -> Unsubscribe:
    """All that is wrong with a link looks the same, so that nobody learns by trying."""
    try:
        return tokens.read_unsubscribe(token)
    except InvalidToken:
        raise HTTPException(HTTPStatus.NOT_FOUND) from None


def _reader(connection: Connection, link: Unsubscribe) -> Any:
    """Return whose link it is: address, locale and timezone, empty where they were erased."""
    row = connection.execute(
        select(col(Contact.email), col(Contact.locale), col(Contact.timezone)).where(
            col(Contact.id) == mailboxes.standing_for(connection, link.contact_id)
        )
    ).one_or_none()
    if row is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return row


def masked(address: str | None) -> str | None:
    """Show enough of an address to be recognised by who has it: `m•••@example.com`."""
    if not address:
        return None
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}•••@{domain}"
