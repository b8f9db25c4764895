"""The application over a database with one contact, and a way to call it without a server."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from evergreet.clock import FrozenClock
from evergreet.database import Database
from evergreet.settings import Settings
from evergreet.tokens import Tokens
from evergreet.web.app import create_app
from tests.contacts import add_consent, add_contact

KEY = "a key that only this test has"
Call = Callable[..., httpx.Response]


@pytest.fixture
def call(database: Database, clock: FrozenClock) -> Call:
    """Send a request to the application; it is not redirected and has no cookies."""
    return caller(create_app(database, Settings(secret_keys=(SecretStr(KEY),)), clock))


def caller(app: FastAPI) -> Call:
    """Return what sends requests to an application without a server."""

    def send(method: str, path: str, **arguments: Any) -> httpx.Response:
        async def request() -> httpx.Response:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="https://mail.fernway.example") as client:
                return await client.request(method, path, **arguments)

        return asyncio.run(request())

    return send


@pytest.fixture
def maya(database: Database) -> int:
    """A contact who agreed to two topics."""
    with database.write() as connection:
        contact = add_contact(connection)
        for topic in ("orders", "news"):
            add_consent(connection, contact, topic)
    return contact


@pytest.fixture
def link(maya: int) -> str:
    """The unsubscribe link in a mail to her about orders."""
    return f"/u/{Tokens([KEY]).sign_unsubscribe(maya, 'orders')}"
