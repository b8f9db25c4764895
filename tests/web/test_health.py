"""The health check: up with the schema, down with the reason."""

from sqlalchemy import text

from evergreet.clock import FrozenClock
from evergreet.database import Database
from evergreet.settings import Settings
from evergreet.web.app import create_app
from tests.web.conftest import KEY, Call


def test_it_is_up_when_the_store_has_the_schema_of_this_program(call: Call) -> None:
    answer = call("GET", "/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert answer.json()["schema"]
    assert call("HEAD", "/health").status_code == 200


def test_it_is_down_with_a_schema_that_this_program_does_not_know(call: Call, database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    answer = call("GET", "/health")
    assert answer.status_code == 503
    assert answer.json()["status"] == "down"
    assert "does not know" in answer.json()["reason"]


def test_it_is_down_with_a_sentence_and_no_password_when_the_store_cannot_be_reached(call: Call) -> None:
    import asyncio

    import httpx
    from pydantic import SecretStr

    gone = Database("postgresql://shop:canary-password@127.0.0.1:1/none")
    app = create_app(gone, Settings(secret_keys=(SecretStr(KEY),)), FrozenClock.__new__(FrozenClock))

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://m.example") as client:
            return await client.get("/health")

    answer = asyncio.run(ask())
    assert answer.status_code == 503
    assert answer.json()["status"] == "down"
    assert "No connection" in answer.json()["reason"]
    assert "canary-password" not in answer.text
    gone.close()
