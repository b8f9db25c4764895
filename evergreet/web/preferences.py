"""`/preferences/{token}`: what somebody wants to read about and how often, a pause, or nothing; no scripts.

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
from evergreet.caps import SPACINGS
from evergreet.clock import Clock
from evergreet.database import Database
from evergreet.preferences import PAUSES, Preferences, Spacing, choose, preferences_of
from evergreet.tokens import Tokens
from evergreet.web.guard import BODY_LIMIT
from evergreet.web.pages import Pages, everything_button, spacing_wording, topic_wording
from evergreet.web.unsubscribe import masked, read_link

SOURCE = "preferences"
_FIELDS = 300
_PAUSES = {"keep": None, "end": 0} | {str(days): days for days in PAUSES}
_SPACINGS = {"usual": None} | {str(days): days for days in SPACINGS}


@dataclass(frozen=True, slots=True)
class Choices:
    """What was posted: the topics on the page, those that are wanted, how often, the pause, or all off."""

    shown: frozenset[str]
    wanted: frozenset[str]
    pause: str
    often: str | None
    action: str


async def choices_of(request: Request) -> Choices:
    """Read the form, urlencoded or multipart."""
    form: FormData = await request.form(max_files=0, max_fields=_FIELDS, max_part_size=BODY_LIMIT)
    shown, wanted = (frozenset(map(str, form.getlist(name))) for name in ("shown", "topic"))
    often = form.get("often")
    return Choices(
        shown, wanted, str(form.get("pause", "keep")), None if often is None else str(often),
        str(form.get("action", "")),
    )  # fmt: skip


def router(database: Database, tokens: Tokens, clock: Clock, pages: Pages) -> APIRouter:
    """Return the routes over this database."""
    routes = APIRouter()

    @routes.api_route("/preferences/{token}", methods=["GET", "HEAD"])
    def show(token: str) -> Response:
        contact = read_link(tokens, token).contact_id
        with database.read() as connection:
            known = _known(connection, contact, clock)
        return pages.preferences(known, masked(known.email), pages.place(known.locale, known.timezone))

    @routes.post("/preferences/{token}")
    def act(token: str, choices: Annotated[Choices, Depends(choices_of)]) -> Response:
        contact = read_link(tokens, token).contact_id
        known_words = choices.pause in _PAUSES and (choices.often is None or choices.often in _SPACINGS)
        if choices.action not in {"save", "everything"} or not known_words:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "The request did not say what to change")
        with database.write() as connection:
            known = _known(connection, contact, clock)
            place = pages.place(known.locale, known.timezone)
            at = clock.now(connection)
            if choices.action == "everything":
                wording = everything_button(place)
                consent.unsubscribe_everything(connection, contact, at=at, source=SOURCE, wording=wording)
            else:
                wordings = {topic: topic_wording(topic, place) for topic in choices.shown & known.topics.keys()}
                spacing = None
                if choices.often is not None:
                    days = _SPACINGS[choices.often]
                    spacing = Spacing(days, spacing_wording(days, place))
                pause = _PAUSES[choices.pause]
                choose(connection, known, choices.wanted, wordings, pause, spacing, at=at, source=SOURCE)
            known = _known(connection, contact, clock)
        return pages.preferences(known, masked(known.email), place, saved=True)

    return routes


def _known(connection: Connection, contact: int, clock: Clock) -> Preferences:
    known = preferences_of(connection, contact, clock.now(connection))
    if known is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return known
