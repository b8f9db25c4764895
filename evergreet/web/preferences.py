"""`/preferences/{token}`: what somebody wants to read about, a pause, or nothing at all; a form without scripts.

The token is that of the unsubscribe link, and the only authority: there is no cookie, so no other page can let a
browser act in somebody's name, and whoever has the link could post the form as well. A GET changes nothing.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends
from sqlalchemy import Connection
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from evergreet import consent
from evergreet.clock import Clock
from evergreet.database import Database
from evergreet.preferences import PAUSES, Preferences, choose, preferences_of
from evergreet.tokens import Tokens
from evergreet.web.guard import BODY_LIMIT
from evergreet.web.pages import Pages
from evergreet.web.unsubscribe import masked, read_link

SOURCE = "preferences"
_FIELDS = 300
_PAUSES = {"keep": None, "end": 0} | {str(days): days for days in PAUSES}


@dataclass(frozen=True, slots=True)
class Choices:
    """What was posted: the topics that were on the page, those that are wanted, the pause, or everything off."""

    shown: frozenset[str]
    wanted: frozenset[str]
    pause: str
    action: str


async def choices_of(request: Request) -> Choices:
    """Read the form, urlencoded or multipart."""
    form: FormData = await request.form(max_files=0, max_fields=_FIELDS, max_part_size=BODY_LIMIT)
    shown, wanted = (frozenset(map(str, form.getlist(name))) for name in ("shown", "topic"))
    return Choices(shown, wanted, str(form.get("pause", "keep")), str(form.get("action", "")))


def router(database: Database, tokens: Tokens, clock: Clock, pages: Pages) -> APIRouter:
    """Return the routes over this database."""
    routes = APIRouter()

    @routes.api_route("/preferences/{token}", methods=["GET", "HEAD"])
    def show(token: str) -> Response:
        contact = read_link(tokens, token).contact_id
        with database.read() as connection:
            known = _known(connection, contact, clock)
        return pages.preferences(known, _mailbox(known))

    @routes.post("/preferences/{token}")
    def act(token: str, choices: Annotated[Choices, Depends(choices_of)]) -> Response:
        contact = read_link(tokens, token).contact_id
        if choices.action not in {"save", "everything"} or choices.pause not in _PAUSES:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "The request did not say what to change")
        with database.write() as connection:
            known = _known(connection, contact, clock)
            at = clock.now(connection)
            if choices.action == "everything":
                wording = pages.everything_button(known)
                consent.unsubscribe_everything(connection, contact, at=at, source=SOURCE, wording=wording)
            else:
                wordings = {topic: pages.topic_wording(known, topic) for topic in choices.shown & known.topics.keys()}
                choose(connection, known, choices.wanted, wordings, _PAUSES[choices.pause], at=at, source=SOURCE)
            known = _known(connection, contact, clock)
        return pages.preferences(known, _mailbox(known), saved=True)

    return routes


def _known(connection: Connection, contact: int, clock: Clock) -> Preferences:
    known = preferences_of(connection, contact, clock.now(connection))
    if known is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return known


def _mailbox(known: Preferences) -> str | None:
    return masked(known.email) if known.email else None
