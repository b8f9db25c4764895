"""The FastAPI application; `evergreet serve` runs it."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from evergreet.clock import Clock, DatabaseClock
from evergreet.contracts import Connector
from evergreet.database import Database
from evergreet.errors import EvergreetError
from evergreet.registry import open_connector
from evergreet.settings import Settings
from evergreet.tokens import Tokens
from evergreet.web import clicks, health, ingest, preferences, unsubscribe, webhooks
from evergreet.web.guard import POSTS, WITHOUT_TOKENS, BodyLimit, Headers
from evergreet.web.pages import Pages
from evergreet.web.posts import refusal


def create_app(
    database: Database,
    settings: Settings,
    clock: Clock | None = None,
    open_connector: Callable[[str], Connector] = open_connector,
) -> FastAPI:
    """Build the application over an open database; links are read with the keys of the settings."""
    clock, tokens = clock or DatabaseClock(), Tokens(settings.signing_keys)
    inbox = webhooks.Inbox(database, tokens, clock, open_connector, settings.event_names)

    clicked = clicks.Clicks(database, clock, inbox.apply)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(clicked.store)
        inbox.close()

    app = FastAPI(title="Evergreet", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    pages = Pages(settings)
    app.include_router(health.router(database))
    app.include_router(unsubscribe.router(database, tokens, clock, pages))
    app.include_router(preferences.router(database, tokens, clock, pages))
    app.include_router(clicks.router(tokens, clicked))
    app.include_router(webhooks.router(inbox))
    app.include_router(ingest.router(ingest.Intake(database, settings, clock)))
    app.add_middleware(BodyLimit)
    app.add_middleware(Headers, style_hash=pages.style_hash)
    logging.getLogger("uvicorn.access").addFilter(WITHOUT_TOKENS)

    @app.exception_handler(HTTPException)
    async def _refused(request: Request, error: HTTPException) -> Response:
        if _is_post(request):
            answer: Response = refusal(error.status_code, f"{error.detail.rstrip('.')}.")
            answer.headers.update(error.headers or {})
            return answer
        if error.status_code == HTTPStatus.NOT_FOUND:
            return pages.missing(_languages(request))
        sentence = error.detail if error.detail else HTTPStatus(error.status_code).phrase
        answer = pages.refused(f"{sentence.rstrip('.')}.", error.status_code, _languages(request))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    async def _unreadable(request: Request, _error: RequestValidationError) -> Response:
        return pages.missing(_languages(request))

    @app.exception_handler(EvergreetError)
    async def _unable(request: Request, error: EvergreetError) -> Response:
        logging.getLogger("evergreet.web").error("%s", error)
        return _later(request, pages)

    @app.exception_handler(SQLAlchemyError)
    async def _refused_by_store(request: Request, error: SQLAlchemyError) -> Response:
        logging.getLogger("evergreet.web").error("The database answered with %s", type(error).__name__, exc_info=error)
        return _later(request, pages)

    @app.exception_handler(Exception)
    async def _broken(request: Request, _error: Exception) -> Response:
        return _later(request, pages)

    return app


def _is_post(request: Request) -> bool:
    """Whether a program asks, which reads JSON, and not a person."""
    return request.url.path.startswith(POSTS)


def _languages(request: Request) -> str:
    return request.headers.get("accept-language", "")


def _later(request: Request, pages: Pages) -> Response:
    if _is_post(request):
        return refusal(HTTPStatus.SERVICE_UNAVAILABLE, "Nothing was stored; post it again.")
    answer = pages.later(_languages(request))
    answer.headers["Retry-After"] = "120"
    return answer
