"""Every night the provider is asked whom it does not write to; the store is in order also where that fails."""

import asyncio
import logging

import pytest
from sqlalchemy import select
from sqlmodel import col

from evergreet.database import Database, upgrade
from evergreet.orchestration import maintain
from models import Suppression
from tests.connectors.email.sendgrid_lists import Lists


def test_it_reads_back_where_it_can_and_warns_where_it_cannot(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(maintain, "get_run_logger", lambda: logging.getLogger("a run"))
    database = Database(sqlite_url)
    upgrade(database)
    with Lists("SG.key") as provider:
        provider.lists["spam_reports"] = [{"email": "angry@a.example", "created": 1_770_000_000}]
        values = {"DATABASE_URL": sqlite_url, "EMAIL": "sendgrid", "SENDGRID_BASE_URL": provider.url}
        for name, value in values.items():
            monkeypatch.setenv(f"EVERGREET_{name}", value)
        for key in ("SG.key", "SG.other"):
            monkeypatch.setenv("EVERGREET_SENDGRID_API_KEY", key)
            with caplog.at_level(logging.INFO, "a run"):
                assert asyncio.run(maintain.maintain_store()).runs == 0
    told = [record.getMessage() for record in caplog.records if record.name == "a run"]
    assert "sendgrid, from the beginning: 1 complained; 1 of what they say is new here." in told
    assert told[-1].startswith("The provider's suppressions were not read to their end: SendGrid answers 401")
    with database.read() as connection:
        assert list(connection.execute(select(col(Suppression.address))).scalars()) == ["angry@a.example"]
    database.close()
