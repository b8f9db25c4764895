"""`/c/{token}`: on to where a link of a message leads, and nowhere else; that somebody came is stored after the answer.

The token carries the address under our signature: what was not signed when the message was made is not redirected to.
A click is told like any event of a provider, under the name `links`, and applied as those are.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from hashlib import blake2b
from http import HTTPStatus
from typing import NamedTuple

from fastapi import APIRouter
from sqlalchemy import select
from sqlmodel import col
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from evergreet.clock import Clock
from evergreet.contracts import Kind, ProviderEvent
from evergreet.database import Database
from evergreet.feedback.storing import store
from evergreet.links import CLICKS
from evergreet.store import among
from evergreet.tokens import Click, InvalidToken, Tokens
from models import Contact, Message

SOURCE = "links"
"""What `provider_event.connector` says of our own clicks."""

WAITING_AT_MOST = 10_000
"""Clicks that are kept while the database does not take them; the next are led on and not counted."""

_PREFETCH = ("sec-purpose", "purpose", "x-purpose", "x-moz")
"""Headers by which a browser says that it looks ahead: https://developer.mozilla.org/docs/Web/HTTP/Headers/Sec-Purpose."""
_AHEAD = ("prefetch", "prerender", "preview")
_ROBOTS = ("bot", "crawl", "spider", "scanner", "preview", "curl/", "wget/", "python-", "go-http-client", "headless")
"""Parts of the names of programs that follow links on their own."""

LOG = logging.getLogger("evergreet.web")


class _Came(NamedTuple):
    click: Click
    machine: bool
    at: float


class Clicks:
    """Keeps clicks until they are stored, many in one transaction; `apply` is what applies them."""

    def __init__(self, database: Database, clock: Clock, apply: Callable[[], None]) -> None:
        self._database = database
        self._clock = clock
        self._apply = apply
        self._waiting: list[_Came] = []
        self._storing = threading.Lock()

    def came(self, click: Click, *, machine: bool) -> None:
        """Take a click; costs no more than that."""
        if len(self._waiting) < WAITING_AT_MOST:
            self._waiting.append(_Came(click, machine, time.monotonic()))

    def store(self) -> None:
        """Store what came, unless somebody in this process is at it, who then looks once more, and apply it."""
        while self._waiting and self._storing.acquire(blocking=False):
            try:
                came = self._waiting[:]
                self._write(came)
                del self._waiting[: len(came)]
            except Exception:
                LOG.exception("%d clicks wait to be stored with the next one", len(self._waiting))
                return
            finally:
                self._storing.release()
            self._apply()

    def _write(self, came: list[_Came]) -> None:
        with self._database.write() as connection:
            now, here = self._clock.now(connection), time.monotonic()
            rows = sorted({one.click.row for one in came})
            erased = set(connection.execute(_ERASED, {"rows": rows}).scalars())
            events = [
                _event(one, now - timedelta(seconds=max(0.0, here - one.at)))
                for one in came
                if one.click.row and one.click.row not in erased
            ]
            store(connection, SOURCE, events, now)


_ERASED = (
    select(col(Message.id))
    .join(Contact, col(Contact.id) == col(Message.contact_id))
    .where(among(Message.id, "rows"), col(Contact.erased_at).is_not(None))
)


def _event(one: _Came, at: datetime) -> ProviderEvent:
    """Return what a provider would tell of it; the same link again within the minute is the same click."""
    click = one.click
    told = f"{click.row}:{click.key}:{click.url}:{one.machine}:{at:%Y-%m-%dT%H:%M}"
    return ProviderEvent(
        blake2b(told.encode(), digest_size=16).hexdigest(), Kind.CLICKED, at, {}, row=click.row, key=click.key,
        url=click.url, machine=one.machine,
    )  # fmt: skip


def by_machine(method: str, headers: Mapping[str, str]) -> bool:
    """Say whether a request shows that nobody clicked: it asks for no page, looks ahead, or names a program."""
    agent = headers.get("user-agent", "").casefold()
    ahead = any(word in headers.get(name, "").casefold() for name in _PREFETCH for word in _AHEAD)
    return method == "HEAD" or ahead or not agent or any(word in agent for word in _ROBOTS)


def router(tokens: Tokens, clicks: Clicks) -> APIRouter:
    """Return the route that leads on."""
    routes = APIRouter()

    @routes.api_route(CLICKS + "{token}", methods=["GET", "HEAD"])
    def lead_on(request: Request, token: str) -> Response:
        try:
            click = tokens.read_click(token)
        except InvalidToken:
            raise HTTPException(HTTPStatus.NOT_FOUND) from None
        clicks.came(click, machine=by_machine(request.method, request.headers))
        return Response(
            status_code=HTTPStatus.FOUND, headers={"Location": click.url}, background=BackgroundTask(clicks.store)
        )

    return routes
