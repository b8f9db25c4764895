"""The application on a real socket in a thread, for clients that know nothing of it; and what it has stored."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from pydantic import SecretStr
from sqlalchemy import text

from evergreet.clock import DatabaseClock
from evergreet.database import Database
from evergreet.settings import Settings
from evergreet.web.app import create_app
from tests.documents import ROOT
from tests.web.conftest import KEY

WRITE_KEY = "your-write-key-0001"
"""As the page has it."""
PAGE_HOST = "http://127.0.0.1:8025"


def example(language: str) -> str:
    """Return the page's example in a language."""
    page = (ROOT / "docs/ingest.md").read_text("utf-8")
    code = page.partition(f"```{language}\n")[2].partition("```")[0]
    assert PAGE_HOST in code
    assert WRITE_KEY in code
    return code


@contextmanager
def serving(database: Database) -> Iterator[str]:
    """Serve on a free port; gives the address."""
    app = create_app(
        database, Settings(secret_keys=(SecretStr(KEY),), write_keys=(SecretStr(WRITE_KEY),)), DatabaseClock()
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)


def stored(database: Database, sql: str) -> list[tuple[Any, ...]]:
    """Ask in plain SQL."""
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]
